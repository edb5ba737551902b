/* wait.c: the one way in which winipc waits for kernel objects.
 *
 * WaitForMultipleObjects cannot be interrupted by Ctrl+C, so a long wait is
 * made of slices with a look at pending signals between them. */
#include "core.h"

DWORD
wi_wait(const HANDLE *handles, DWORD count, BOOL all, uint64_t timeout_ms)
{
    ULONGLONG start = GetTickCount64();
    uint64_t remaining = timeout_ms;
    for (;;) {
        DWORD slice =
            remaining < WI_WAIT_SLICE_MS ? (DWORD)remaining : WI_WAIT_SLICE_MS;
        DWORD result, err;
        WI_CALL(err,
                result = WaitForMultipleObjects(count, handles, all, slice));
        if (result == WAIT_FAILED) {
            PyObject *what =
                PyUnicode_FromFormat("%u handles", (unsigned int)count);
            if (what != NULL) {
                wi_raise(err, "WaitForMultipleObjects", what);
                Py_DECREF(what);
            }
            return WAIT_FAILED;
        }
        if (result != WAIT_TIMEOUT) {
            return result;
        }
        if (PyErr_CheckSignals() < 0) {
            return WAIT_FAILED;
        }
        if (timeout_ms == WI_FOREVER) {
            continue;
        }
        ULONGLONG waited = GetTickCount64() - start;
        if (waited >= timeout_ms || remaining <= slice) {
            return WAIT_TIMEOUT;
        }
        remaining = timeout_ms - waited;
    }
}

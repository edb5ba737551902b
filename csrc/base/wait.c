/* wait.c: the one way in which winipc waits for kernel objects.
 *
 * WaitForMultipleObjects cannot be interrupted by Ctrl+C, so a long wait is
 * made of slices with a look at pending signals between them. */
#include "core.h"

DWORD
wi_wait(const HANDLE *handles, DWORD count, BOOL all, uint64_t timeout_ms,
        DWORD slice_ms)
{
    ULONGLONG start = GetTickCount64();
    uint64_t left = timeout_ms;
    DWORD err, result;
    WI_CALL_GIL(err, result = WaitForMultipleObjects(count, handles, all, 0));
    while (result == WAIT_TIMEOUT && left > 0) {
        DWORD slice = left < slice_ms ? (DWORD)left : slice_ms;
        WI_CALL(err,
                result = WaitForMultipleObjects(count, handles, all, slice));
        if (result == WAIT_TIMEOUT && PyErr_CheckSignals() < 0) {
            return WAIT_FAILED;
        }
        if (timeout_ms != WI_FOREVER) {
            ULONGLONG gone = GetTickCount64() - start;
            left = gone >= timeout_ms || left <= slice ? 0 : timeout_ms - gone;
        }
    }
    if (result == WAIT_FAILED) {
        wi_raise_format(err, "WaitForMultipleObjects", "%lu handles",
                        (unsigned long)count);
    }
    return result;
}

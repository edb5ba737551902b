/* wait.c: the one way in which winipc waits for kernel objects.
 *
 * Ctrl+C does not interrupt WaitForMultipleObjects. So a long wait is made of
 * slices, with a check for pending signals between them. The caller holds the
 * GIL, which a wait gives up. */
#include "core.h"

/* Wait for one slice. A message that was sent to a window of this thread ends
 * it early: the result is WAIT_TIMEOUT, and *early is TRUE. */
static DWORD
wait_slice(const HANDLE *handles, DWORD count, wi_wait_kind kind,
           DWORD slice_ms, BOOL *early)
{
    if (kind != WI_WAIT_SERVING) {
        return WaitForMultipleObjects(count, handles, kind == WI_WAIT_ALL,
                                      slice_ms);
    }
    DWORD result = MsgWaitForMultipleObjectsEx(count, handles, slice_ms,
                                               QS_SENDMESSAGE, 0);
    *early = result == WAIT_OBJECT_0 + count;
    if (*early) {
        MSG message; /* stays empty: the call delivers the sent messages */
        PeekMessageW(&message, NULL, 0, 0, PM_NOREMOVE | PM_QS_SENDMESSAGE);
        result = WAIT_TIMEOUT;
    }
    return result;
}

DWORD
wi_wait(const HANDLE *handles, DWORD count, wi_wait_kind kind,
        uint64_t timeout_ms, DWORD slice_ms)
{
    ULONGLONG start = GetTickCount64();
    uint64_t left = timeout_ms;
    BOOL early = FALSE;
    DWORD err, result;
    WI_CALL_GIL(err, result = WaitForMultipleObjects(count, handles,
                                                     kind == WI_WAIT_ALL, 0));
    while (result == WAIT_TIMEOUT && left > 0) {
        DWORD slice = left < slice_ms ? (DWORD)left : slice_ms;
        WI_CALL(err, result = wait_slice(handles, count, kind, slice, &early));
        if (result == WAIT_TIMEOUT && PyErr_CheckSignals() < 0) {
            return WAIT_FAILED;
        }
        if (timeout_ms != WI_FOREVER) {
            ULONGLONG gone = GetTickCount64() - start;
            left = gone >= timeout_ms || (left <= slice && !early)
                       ? 0
                       : timeout_ms - gone;
        }
    }
    if (result == WAIT_FAILED) {
        wi_raise_format(err, "WaitForMultipleObjects", "%lu handles",
                        (unsigned long)count);
    }
    return result;
}

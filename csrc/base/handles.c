/* handles.c: see handles.h. */
#include "handles.h"

BOOL
wi_exits_within(HANDLE process, DWORD patience)
{
    DWORD code = STILL_ACTIVE;
    /* A process may exit with STILL_ACTIVE (259): only a wait tells that. */
    return WaitForSingleObject(process, patience) == WAIT_OBJECT_0 ||
           (GetExitCodeProcess(process, &code) && code != STILL_ACTIVE);
}

BOOL
wi_has_exited(HANDLE process)
{
    return wi_exits_within(process, 0);
}

wchar_t *
wi_image_path(HANDLE process, DWORD *length)
{
    wchar_t *path =
        HeapAlloc(GetProcessHeap(), 0, WI_PATH_ROOM * sizeof(*path));
    if (path == NULL) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    *length = WI_PATH_ROOM;
    if (!QueryFullProcessImageNameW(process, 0, path, length)) {
        DWORD err = GetLastError();
        wi_heap_free(path);
        SetLastError(err);
        return NULL;
    }
    return path;
}

DWORD
wi_window_pid(HWND hwnd, DWORD *tid)
{
    DWORD pid = 0;
    DWORD thread = GetWindowThreadProcessId(hwnd, &pid);
    if (tid != NULL) {
        *tid = thread;
    }
    return thread == 0 ? 0 : pid;
}

uint64_t
wi_filetime(FILETIME time)
{
    return ((uint64_t)time.dwHighDateTime << 32) | time.dwLowDateTime;
}

uint64_t
wi_filetime_now(void)
{
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return wi_filetime(now);
}

void *
wi_token_information(HANDLE token, TOKEN_INFORMATION_CLASS kind)
{
    DWORD size = 0;
    GetTokenInformation(token, kind, NULL, 0, &size);
    void *information =
        size == 0 ? NULL : HeapAlloc(GetProcessHeap(), 0, size);
    if (information != NULL &&
        !GetTokenInformation(token, kind, information, size, &size)) {
        DWORD err = GetLastError();
        wi_heap_free(information);
        SetLastError(err);
        return NULL;
    }
    return information;
}

TOKEN_USER *
wi_current_user(void)
{
    HANDLE token;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        return NULL;
    }
    TOKEN_USER *user = wi_token_information(token, TokenUser);
    DWORD err = GetLastError();
    CloseHandle(token);
    SetLastError(err);
    return user;
}

void
wi_heap_free(void *memory)
{
    if (memory != NULL) {
        HeapFree(GetProcessHeap(), 0, memory);
    }
}

HANDLE
wi_open_process(DWORD rights, DWORD pid)
{
    HANDLE process;
    DWORD err;
    /* Shorter than giving the GIL up and taking it back. */
    WI_CALL_GIL(err, process = OpenProcess(rights, FALSE, pid));
    if (process == NULL) {
        /* ERROR_INVALID_PARAMETER (87): there is no such process. */
        wi_raise_format_as(err == ERROR_INVALID_PARAMETER
                               ? PyExc_ProcessLookupError
                               : PyExc_OSError,
                           err, "OpenProcess", "pid %lu", (unsigned long)pid);
    }
    return process;
}

int
wi_duplicate_to(DWORD pid, HANDLE handle, DWORD rights, PyObject *label,
                HANDLE *copy)
{
    HANDLE process = wi_open_process(PROCESS_DUP_HANDLE, pid);
    if (process == NULL) {
        return -1;
    }
    BOOL ok;
    DWORD err;
    WI_CALL(err, ok = DuplicateHandle(
                     GetCurrentProcess(), handle, process, copy, rights, FALSE,
                     rights == 0 ? DUPLICATE_SAME_ACCESS : 0));
    CloseHandle(process);
    if (!ok) {
        wi_raise(err, "DuplicateHandle", label);
        return -1;
    }
    return 0;
}

/* handles.h: facts about processes, windows and handles that several rooms ask
 * for. No Python, so any thread may call them; wi_open_process and
 * wi_duplicate_to raise, and want the GIL. */
#ifndef WINIPC_BASE_HANDLES_H
#define WINIPC_BASE_HANDLES_H

#include "core.h"

/* Whether the process has exited. The handle may lack SYNCHRONIZE or the right
 * to query, not both. */
BOOL wi_has_exited(HANDLE process);

/* Or whether it does so within `patience` milliseconds. */
BOOL wi_exits_within(HANDLE process, DWORD patience);

/* Such a patience for a process that suddenly denies everything: it is dying. */
#define WI_DYING_MS 100

/* Characters of a path, with its NUL: none is longer. */
#define WI_PATH_ROOM 32768

/* The path of its executable, of any length; wi_heap_free it. NULL with the last
 * error. *length is in characters, without the NUL. */
wchar_t *wi_image_path(HANDLE process, DWORD *length);

/* The id of a window's process and, unless tid is NULL, of its thread; 0 when
 * there is no such window. */
DWORD wi_window_pid(HWND hwnd, DWORD *tid);

/* Now, as FILETIME counts: 100 ns since 1601, UTC. */
uint64_t wi_filetime_now(void);
uint64_t wi_filetime(FILETIME time);

/* Information of a token, whatever its size; wi_heap_free it. NULL with the last
 * error. */
void *wi_token_information(HANDLE token, TOKEN_INFORMATION_CLASS kind);

/* The user of this process; wi_heap_free it. NULL with the last error. */
TOKEN_USER *wi_current_user(void);

void wi_heap_free(void *memory);

/* Open a process. NULL with ProcessLookupError or another OSError set. */
HANDLE wi_open_process(DWORD rights, DWORD pid);

/* Duplicate a handle into the process pid, with its rights (rights 0) or with
 * these; *copy is the number there. label names the object in the error. The
 * caller pins the handle. 0, or -1 with an exception set. */
int wi_duplicate_to(DWORD pid, HANDLE handle, DWORD rights, PyObject *label,
                    HANDLE *copy);

#endif

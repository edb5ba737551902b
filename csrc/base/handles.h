/* handles.h: facts about processes, windows and handles that several files
 * need. They use no Python, so any thread may ask, with or without the GIL;
 * wi_open_process and wi_duplicate_to raise, and need the GIL. */
#ifndef WINIPC_BASE_HANDLES_H
#define WINIPC_BASE_HANDLES_H

#include "core.h"

/* Whether the process has exited. The handle may lack SYNCHRONIZE or the right
 * to query, but not both. */
BOOL wi_has_exited(HANDLE process);

/* Whether it has exited, or exits within `patience` milliseconds. */
BOOL wi_exits_within(HANDLE process, DWORD patience);

/* The patience for a process that denies a right it gave before: a dying
 * process denies everything. */
#define WI_DYING_MS 100

/* Characters of the longest path, with its NUL. */
#define WI_PATH_ROOM 32768

/* The path of a process's executable; free it with wi_heap_free. *length is in
 * characters, without the NUL. NULL with the last error. */
wchar_t *wi_image_path(HANDLE process, DWORD *length);

/* The id of a window's process and, unless tid is NULL, of its thread; 0 when
 * there is no such window. */
DWORD wi_window_pid(HWND hwnd, DWORD *tid);

/* Now, as FILETIME counts: 100 ns since 1601, UTC. */
uint64_t wi_filetime_now(void);
uint64_t wi_filetime(FILETIME time);

/* Information of a token, whatever its size; free it with wi_heap_free. NULL
 * with the last error. */
void *wi_token_information(HANDLE token, TOKEN_INFORMATION_CLASS kind);

/* The user of this process; free it with wi_heap_free. NULL with the last
 * error. */
TOKEN_USER *wi_current_user(void);

void wi_heap_free(void *memory);

/* Open a process. NULL with ProcessLookupError or another OSError set. */
HANDLE wi_open_process(DWORD rights, DWORD pid);

/* Duplicate a handle into the process pid, with the given rights, or with the
 * handle's own if rights is 0. *copy is the handle's number in that process.
 * label names the object in an error. The caller pins the handle. */
int wi_duplicate_to(DWORD pid, HANDLE handle, DWORD rights, PyObject *label,
                    HANDLE *copy);

#endif

/* nt.h: the few calls of ntdll that have no Win32 spelling.
 *
 * winternl.h has some of these in some compilers; declared here under names
 * of our own types, they are the same everywhere. ntdll.lib links them. */
#ifndef WINIPC_BASE_NT_H
#define WINIPC_BASE_NT_H

#include <windows.h>

typedef LONG wi_ntstatus;
#define WI_NT_SUCCESS(status) ((wi_ntstatus)(status) >= 0)
#define WI_STATUS_OBJECT_TYPE_MISMATCH ((wi_ntstatus)0xC0000024)

typedef struct {
    LONG type; /* 0 notification = manual reset, 1 synchronization = auto */
    LONG state;
} wi_event_info;

typedef struct {
    LONG count; /* 1 free, 0 and less taken */
    BOOLEAN owned_by_caller;
    BOOLEAN abandoned;
} wi_mutant_info;

typedef struct {
    LONG count;
    LONG maximum;
} wi_semaphore_info;

typedef struct {
    ULONG attributes;
    ACCESS_MASK granted;
    ULONG handle_count;
    ULONG pointer_count;
    ULONG reserved[10];
} wi_object_basic_info;

typedef struct {
    void *base;
    ULONG attributes; /* SEC_FILE, SEC_RESERVE, ... */
    LARGE_INTEGER size;
} wi_section_info;

__declspec(dllimport) wi_ntstatus NTAPI NtQueryEvent(HANDLE handle, int info,
                                                     void *out, ULONG size,
                                                     ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQueryMutant(HANDLE handle, int info,
                                                      void *out, ULONG size,
                                                      ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQuerySection(HANDLE section,
                                                       int info, void *out,
                                                       SIZE_T size,
                                                       SIZE_T *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQuerySemaphore(HANDLE handle,
                                                         int info, void *out,
                                                         ULONG size,
                                                         ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQueryObject(HANDLE handle, int info,
                                                      void *out, ULONG size,
                                                      ULONG *got);
__declspec(dllimport) ULONG NTAPI RtlNtStatusToDosError(wi_ntstatus status);

#endif

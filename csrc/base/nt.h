/* nt.h: the few calls of ntdll that have no Win32 spelling.
 *
 * Some compilers have some of these in winternl.h. Declared here, with types
 * of our own names, they are the same everywhere. ntdll.lib links them. */
#ifndef WINIPC_BASE_NT_H
#define WINIPC_BASE_NT_H

#include <windows.h>

typedef LONG wi_ntstatus;
#define WI_NT_SUCCESS(status) ((wi_ntstatus)(status) >= 0)
#define WI_STATUS_OBJECT_TYPE_MISMATCH ((wi_ntstatus)0xC0000024)
#define WI_STATUS_NO_MORE_ENTRIES ((wi_ntstatus)0x8000001A)
#define WI_STATUS_LENGTH_MISMATCH ((wi_ntstatus)0xC0000004)
#define WI_STATUS_NOT_IMPLEMENTED ((wi_ntstatus)0xC0000002)
#define WI_STATUS_NO_MEMORY ((wi_ntstatus)0xC0000017)

#define WI_SYSTEM_HANDLES 64        /* SystemExtendedHandleInformation */
#define WI_THREAD_START 9           /* ThreadQuerySetWin32StartAddress */
#define WI_OBJECT_BASIC 0           /* ObjectBasicInformation */
#define WI_OBJECT_NAME 1            /* ObjectNameInformation */
#define WI_OBJECT_TYPE 2            /* ObjectTypeInformation */
#define WI_MAPPED_FILE_NAME 2       /* MemoryMappedFilenameInformation */
#define WI_DIRECTORY_QUERY 0x1u     /* DIRECTORY_QUERY */
#define WI_UNICODE_STRING_MAX 32766 /* characters */

typedef struct {
    USHORT length; /* in bytes */
    USHORT maximum;
    wchar_t *buffer;
} wi_unicode_string;

typedef struct {
    ULONG length;
    HANDLE root;
    wi_unicode_string *name;
    ULONG attributes;
    void *security;
    void *quality;
} wi_object_attributes;

typedef struct {
    wi_unicode_string name;
    wi_unicode_string type;
} wi_directory_entry;

typedef struct {
    void *object; /* 0 where the caller may not see kernel addresses */
    ULONG_PTR pid;
    ULONG_PTR handle;
    ULONG access;
    USHORT trace;
    USHORT type;
    ULONG attributes;
    ULONG reserved;
} wi_handle_entry;

typedef struct {
    ULONG_PTR count;
    ULONG_PTR reserved;
    wi_handle_entry entries[1];
} wi_handle_list;

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
__declspec(dllimport) wi_ntstatus NTAPI NtQuerySystemInformation(int info,
                                                                 void *out,
                                                                 ULONG size,
                                                                 ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI
NtQueryVirtualMemory(HANDLE process, void *address, int info, void *out,
                     SIZE_T size, SIZE_T *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQueryInformationThread(
    HANDLE thread, int info, void *out, ULONG size, ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI NtOpenDirectoryObject(
    HANDLE *out, ACCESS_MASK access, wi_object_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI
NtQueryDirectoryObject(HANDLE handle, void *out, ULONG size, BOOLEAN single,
                       BOOLEAN restart, ULONG *context, ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI NtOpenSection(
    HANDLE *out, ACCESS_MASK access, wi_object_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI NtOpenMutant(
    HANDLE *out, ACCESS_MASK access, wi_object_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI
NtOpenEvent(HANDLE *out, ACCESS_MASK access, wi_object_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI NtOpenSemaphore(
    HANDLE *out, ACCESS_MASK access, wi_object_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI NtCompareObjects(HANDLE a, HANDLE b);
__declspec(dllimport) wi_ntstatus NTAPI NtSuspendProcess(HANDLE process);
__declspec(dllimport) wi_ntstatus NTAPI NtResumeProcess(HANDLE process);
__declspec(dllimport) wi_ntstatus NTAPI NtWriteVirtualMemory(HANDLE process,
                                                             void *address,
                                                             const void *data,
                                                             SIZE_T size,
                                                             SIZE_T *written);
__declspec(dllimport) ULONG NTAPI RtlNtStatusToDosError(wi_ntstatus status);

#endif

/* catalog.c: what named kernel objects exist, and which processes hold them.
 *
 * NtQueryDirectoryObject lists a directory of the object manager; objects are
 * opened by their full path with the one right that asks them for their state;
 * NtQuerySystemInformation(SystemExtendedHandleInformation) lists the handles
 * of all processes. Handles are compared by the object's address where Windows
 * shows it; since Windows 11 24H2 (and under Wine) it is 0 for ordinary users,
 * and then the handle is duplicated and given to NtCompareObjects.
 *
 * All functions keep nothing. Whatever the kernel answers is checked against
 * the buffer that it was given, and buffers have an upper bound. */
#include "base/core.h"

#include "base/nt.h"

#include <stdlib.h>

/* Entries of one directory, and bytes of one handle list, at most. */
#define CATALOG_MAX_ENTRIES (1ul << 20)
#define CATALOG_MAX_BYTES ((ULONG)1 << 30)

#define CATALOG_MAX_CHARS 32766 /* of a UNICODE_STRING */

#define CATALOG_NO_MORE_ENTRIES ((wi_ntstatus)0x8000001A)
#define CATALOG_LENGTH_MISMATCH ((wi_ntstatus)0xC0000004)
#define CATALOG_HANDLES 64      /* SystemExtendedHandleInformation */
#define CATALOG_START_ADDRESS 9 /* ThreadQuerySetWin32StartAddress */

#define DIRECTORY_QUERY_RIGHT 0x0001u
#define OBJECT_QUERY_RIGHT 0x0001u

typedef struct {
    USHORT length; /* in bytes */
    USHORT maximum;
    wchar_t *buffer;
} catalog_string;

typedef struct {
    ULONG length;
    HANDLE root;
    catalog_string *name;
    ULONG attributes;
    void *security;
    void *quality;
} catalog_attributes;

typedef struct {
    catalog_string name;
    catalog_string type;
} catalog_entry;

typedef struct {
    void *object; /* 0 where the caller may not see kernel addresses */
    ULONG_PTR pid;
    ULONG_PTR handle;
    ULONG access;
    USHORT trace;
    USHORT type;
    ULONG attributes;
    ULONG reserved;
} catalog_handle;

typedef struct {
    ULONG_PTR count;
    ULONG_PTR reserved;
    catalog_handle handles[1];
} catalog_handles;

typedef struct {
    void *base;
    ULONG attributes;
    LARGE_INTEGER size;
} catalog_section_info;

typedef wi_ntstatus(NTAPI *catalog_open_fn)(HANDLE *out, ACCESS_MASK access,
                                            catalog_attributes *attributes);
typedef wi_ntstatus(NTAPI *catalog_compare_fn)(HANDLE a, HANDLE b);

__declspec(dllimport) wi_ntstatus NTAPI NtOpenDirectoryObject(
    HANDLE *out, ACCESS_MASK access, catalog_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI
NtQueryDirectoryObject(HANDLE handle, void *out, ULONG size, BOOLEAN single,
                       BOOLEAN restart, ULONG *context, ULONG *got);
__declspec(dllimport) wi_ntstatus NTAPI
NtOpenSection(HANDLE *out, ACCESS_MASK access, catalog_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI
NtOpenMutant(HANDLE *out, ACCESS_MASK access, catalog_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI
NtOpenEvent(HANDLE *out, ACCESS_MASK access, catalog_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI NtOpenSemaphore(
    HANDLE *out, ACCESS_MASK access, catalog_attributes *attributes);
__declspec(dllimport) wi_ntstatus NTAPI NtQuerySection(HANDLE handle, int info,
                                                       void *out, SIZE_T size,
                                                       SIZE_T *got);
__declspec(dllimport) wi_ntstatus NTAPI NtQuerySystemInformation(int info,
                                                                 void *out,
                                                                 ULONG size,
                                                                 ULONG *got);

__declspec(dllimport) wi_ntstatus NTAPI NtQueryInformationThread(
    HANDLE thread, int info, void *out, ULONG size, ULONG *got);

/* ---------------------------------------------------------------- helpers */

/* str that is an object manager path, into attributes that borrow *wide. Free
 * *wide with PyMem_Free. 0, or -1 with an exception. */
static int
catalog_path(PyObject *path, wchar_t **wide, catalog_string *name,
             catalog_attributes *attributes)
{
    if (wi_wide_name(path, wide) < 0) {
        return -1;
    }
    size_t length = *wide == NULL ? 0 : wcslen(*wide);
    if (length == 0 || length > CATALOG_MAX_CHARS) {
        PyErr_Format(PyExc_ValueError, "%R is no path of an object", path);
        PyMem_Free(*wide);
        return -1;
    }
    name->length = (USHORT)(length * sizeof(wchar_t));
    name->maximum = name->length;
    name->buffer = *wide;
    memset(attributes, 0, sizeof(*attributes));
    attributes->length = sizeof(*attributes);
    attributes->name = name;
    return 0;
}

static PyObject *
catalog_raise(wi_ntstatus status, const char *api, PyObject *name)
{
    return wi_raise(RtlNtStatusToDosError(status), api, name);
}

/* str of a string that the kernel laid into buffer. NULL with ValueError when
 * it leaves the buffer. */
static PyObject *
catalog_text(const catalog_string *text, const char *buffer, size_t size)
{
    uintptr_t begin = (uintptr_t)buffer, at = (uintptr_t)text->buffer;
    if (text->length % sizeof(wchar_t) != 0 || at < begin ||
        at - begin > size || text->length > size - (at - begin)) {
        PyErr_SetString(PyExc_ValueError,
                        "the kernel's answer leaves its buffer");
        return NULL;
    }
    return PyUnicode_FromWideChar(text->buffer,
                                  text->length / sizeof(wchar_t));
}

/* ---------------------------------------------------------- directories */

PyDoc_STRVAR(catalog_list_doc,
             "_list_directory($module, path, /)\n--\n\n"
             "(name, type) of all objects in a directory of the object "
             "manager.\n\n"
             "Win32: NtOpenDirectoryObject, NtQueryDirectoryObject");

static PyObject *
catalog_list(PyObject *module, PyObject *path)
{
    wchar_t *wide;
    catalog_string name;
    catalog_attributes attributes;
    HANDLE directory = NULL;
    ULONG size = 4096, context = 0, got;
    char *buffer = NULL;
    PyObject *result = NULL;
    WI_UNUSED(module);
    if (catalog_path(path, &wide, &name, &attributes) < 0) {
        return NULL;
    }
    wi_ntstatus status =
        NtOpenDirectoryObject(&directory, DIRECTORY_QUERY_RIGHT, &attributes);
    PyMem_Free(wide);
    if (!WI_NT_SUCCESS(status)) {
        return catalog_raise(status, "NtOpenDirectoryObject", path);
    }
    buffer = PyMem_Malloc(size);
    result = PyList_New(0);
    if (buffer == NULL || result == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (ULONG count = 0; count < CATALOG_MAX_ENTRIES;) {
        /* One at a time: Wine has no other way. */
        memset(buffer, 0, sizeof(catalog_entry));
        status = NtQueryDirectoryObject(directory, buffer, size, TRUE, FALSE,
                                        &context, &got);
        if (status == CATALOG_NO_MORE_ENTRIES) {
            break;
        }
        if (!WI_NT_SUCCESS(status)) {
            /* Two strings of 64 KiB each are the longest there can be. */
            DWORD err = RtlNtStatusToDosError(status);
            if (size < 4 * 65536 &&
                (err == ERROR_INSUFFICIENT_BUFFER || err == ERROR_BAD_LENGTH ||
                 err == ERROR_MORE_DATA)) {
                PyMem_Free(buffer);
                size *= 4;
                buffer = PyMem_Malloc(size);
                if (buffer == NULL) {
                    PyErr_NoMemory();
                    goto failed;
                }
                continue;
            }
            catalog_raise(status, "NtQueryDirectoryObject", path);
            goto failed;
        }
        count++;
        catalog_entry *entry = (catalog_entry *)buffer;
        PyObject *row = PyTuple_New(2);
        PyObject *entry_name = catalog_text(&entry->name, buffer, size);
        PyObject *entry_type = catalog_text(&entry->type, buffer, size);
        if (row == NULL || entry_name == NULL || entry_type == NULL) {
            Py_XDECREF(row);
            Py_XDECREF(entry_name);
            Py_XDECREF(entry_type);
            goto failed;
        }
        PyTuple_SetItem(row, 0, entry_name);
        PyTuple_SetItem(row, 1, entry_type);
        int failed = PyList_Append(result, row);
        Py_DECREF(row);
        if (failed) {
            goto failed;
        }
    }
    goto done;
failed:
    Py_CLEAR(result);
done:
    PyMem_Free(buffer);
    CloseHandle(directory);
    return result;
}

/* ----------------------------------------------------------- one object */

static const struct {
    const char *type;
    const char *api;
    catalog_open_fn open;
} catalog_kinds[] = {
    {"Section", "NtOpenSection", NtOpenSection},
    {"Mutant", "NtOpenMutant", NtOpenMutant},
    {"Event", "NtOpenEvent", NtOpenEvent},
    {"Semaphore", "NtOpenSemaphore", NtOpenSemaphore},
};

/* Open an object by path and type; NULL with an exception. */
static HANDLE
catalog_open(PyObject *path, const char *type, ACCESS_MASK access)
{
    wchar_t *wide;
    catalog_string name;
    catalog_attributes attributes;
    HANDLE handle = NULL;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(catalog_kinds); i++) {
        if (strcmp(type, catalog_kinds[i].type) != 0) {
            continue;
        }
        if (catalog_path(path, &wide, &name, &attributes) < 0) {
            return NULL;
        }
        wi_ntstatus status =
            catalog_kinds[i].open(&handle, access, &attributes);
        PyMem_Free(wide);
        if (!WI_NT_SUCCESS(status)) {
            catalog_raise(status, catalog_kinds[i].api, path);
            return NULL;
        }
        return handle;
    }
    PyErr_Format(PyExc_ValueError, "no objects of type %s are listed", type);
    return NULL;
}

PyDoc_STRVAR(catalog_size_doc,
             "_object_size($module, path, type, /)\n--\n\n"
             "Open the object at a path; its size in bytes if it is a "
             "section.\n\n"
             "Win32: NtOpenSection, NtOpenMutant, NtOpenEvent, "
             "NtOpenSemaphore, NtQuerySection");

static PyObject *
catalog_size(PyObject *module, PyObject *args)
{
    PyObject *path;
    const char *type;
    WI_UNUSED(module);
    if (!PyArg_ParseTuple(args, "Os:_object_size", &path, &type)) {
        return NULL;
    }
    HANDLE handle = catalog_open(path, type, OBJECT_QUERY_RIGHT);
    if (handle == NULL) {
        return NULL;
    }
    if (strcmp(type, "Section") != 0) {
        CloseHandle(handle);
        Py_RETURN_NONE;
    }
    catalog_section_info info;
    memset(&info, 0, sizeof(info));
    wi_ntstatus status = NtQuerySection(handle, 0, &info, sizeof(info), NULL);
    CloseHandle(handle);
    if (!WI_NT_SUCCESS(status)) {
        return catalog_raise(status, "NtQuerySection", path);
    }
    return PyLong_FromLongLong(info.size.QuadPart);
}

PyDoc_STRVAR(catalog_open_doc,
             "_open_object($module, path, type, access, /)\n--\n\n"
             "A handle, the caller's to close, of the object at a path.\n\n"
             "Win32: NtOpenSection, NtOpenMutant, NtOpenEvent, "
             "NtOpenSemaphore");

static PyObject *
catalog_open_object(PyObject *module, PyObject *args)
{
    PyObject *path;
    const char *type;
    DWORD access;
    WI_UNUSED(module);
    if (!PyArg_ParseTuple(args, "OsO&:_open_object", &path, &type,
                          wi_u32_converter, &access)) {
        return NULL;
    }
    HANDLE handle = catalog_open(path, type, access);
    return handle == NULL ? NULL
                          : PyLong_FromSize_t((size_t)(uintptr_t)handle);
}

PyDoc_STRVAR(catalog_close_doc, "_close_handle($module, handle, /)\n--\n\n"
                                "Win32: CloseHandle");

static PyObject *
catalog_close(PyObject *module, PyObject *value)
{
    HANDLE handle;
    WI_UNUSED(module);
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    if (!CloseHandle(handle)) {
        return wi_raise(GetLastError(), "CloseHandle", value);
    }
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------- holders */

/* All handles of all processes; free with LocalFree. NULL with *status. */
static catalog_handles *
catalog_all_handles(wi_ntstatus *status, ULONG_PTR *count)
{
    ULONG size = 1u << 20, got = 0;
    for (;;) {
        catalog_handles *all = LocalAlloc(LMEM_FIXED, size);
        if (all == NULL) {
            *status = (wi_ntstatus)0xC0000017; /* STATUS_NO_MEMORY */
            return NULL;
        }
        *status = NtQuerySystemInformation(CATALOG_HANDLES, all, size, &got);
        if (WI_NT_SUCCESS(*status)) {
            /* Never more than lie in the buffer, whatever count says. */
            ULONG_PTR room = (size - offsetof(catalog_handles, handles)) /
                             sizeof(catalog_handle);
            *count = all->count < room ? all->count : room;
            return all;
        }
        LocalFree(all);
        if (*status != CATALOG_LENGTH_MISMATCH || size >= CATALOG_MAX_BYTES) {
            return NULL;
        }
        size *= 2;
    }
}

/* Whether two handles of this process are of one object: 1, 0, or -1 when
 * that cannot be told. */
static int
catalog_same(HANDLE a, HANDLE b, catalog_compare_fn compare)
{
    if (compare != NULL) {
        return WI_NT_SUCCESS(compare(a, b));
    }
    /* Windows 8.1 has no NtCompareObjects: named objects differ by name. */
    union {
        catalog_string string;
        char bytes[2048];
    } x, y;
    if (!WI_NT_SUCCESS(NtQueryObject(a, 1, &x, sizeof(x), NULL)) ||
        !WI_NT_SUCCESS(NtQueryObject(b, 1, &y, sizeof(y), NULL))) {
        return -1;
    }
    return x.string.length > 0 && x.string.length == y.string.length &&
           memcmp(x.string.buffer, y.string.buffer, x.string.length) == 0;
}

typedef struct {
    ULONG_PTR pid;
    DWORD handles; /* of the object */
    DWORD error;   /* why the process could not be looked into, or 0 */
} catalog_holder;

static int
catalog_by_pid(const void *a, const void *b)
{
    const catalog_handle *x = a, *y = b;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Count the handles of one process; entries are those of its handles. */
static void
catalog_look_into(catalog_holder *holder, const catalog_handle *entries,
                  ULONG_PTR count, const catalog_handle *own, HANDLE handle,
                  catalog_compare_fn compare)
{
    HANDLE process = NULL;
    DWORD self = GetCurrentProcessId();
    for (ULONG_PTR i = 0; i < count; i++) {
        const catalog_handle *entry = &entries[i];
        if (entry->type != own->type ||
            (entry->pid == self && entry->handle == own->handle)) {
            continue;
        }
        if (own->object != NULL && entry->object != NULL) {
            holder->handles += entry->object == own->object;
            continue;
        }
        if (entry->pid == self) {
            holder->handles +=
                catalog_same(handle, (HANDLE)entry->handle, compare) > 0;
            continue;
        }
        if (process == NULL) {
            process =
                OpenProcess(PROCESS_DUP_HANDLE, FALSE, (DWORD)entry->pid);
            if (process == NULL) {
                /* 87: it has ended since, and holds nothing. */
                DWORD err = GetLastError();
                holder->error = err == ERROR_INVALID_PARAMETER ? 0 : err;
                return;
            }
        }
        HANDLE copy;
        if (DuplicateHandle(process, (HANDLE)entry->handle,
                            GetCurrentProcess(), &copy, 0, FALSE, 0)) {
            holder->handles += catalog_same(handle, copy, compare) > 0;
            CloseHandle(copy);
        }
    }
    if (process != NULL) {
        CloseHandle(process);
    }
}

PyDoc_STRVAR(catalog_holders_doc,
             "_holders($module, handle, /)\n--\n\n"
             "(pid, handles, winerror) for each process that has a handle of\n"
             "the same object, or (winerror not 0) may not be looked into.\n"
             "The handle given is not counted.\n\n"
             "Win32: NtQuerySystemInformation, OpenProcess, DuplicateHandle, "
             "NtCompareObjects");

static PyObject *
catalog_holders(PyObject *module, PyObject *value)
{
    HANDLE handle;
    wi_ntstatus status = 0;
    ULONG_PTR count = 0, found = 0;
    const catalog_handle *own = NULL;
    catalog_handle mine;
    catalog_holder *holders = NULL;
    catalog_handles *all;
    WI_UNUSED(module);
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    catalog_compare_fn compare =
        (catalog_compare_fn)(void (*)(void))GetProcAddress(
            GetModuleHandleW(L"ntdll.dll"), "NtCompareObjects");
    Py_BEGIN_ALLOW_THREADS
    DWORD self = GetCurrentProcessId();
    all = catalog_all_handles(&status, &count);
    for (ULONG_PTR i = 0; i < count && own == NULL; i++) {
        if (all->handles[i].pid == self &&
            all->handles[i].handle == (ULONG_PTR)handle) {
            mine = all->handles[i];
            own = &mine;
        }
    }
    if (own != NULL) {
        qsort(all->handles, count, sizeof(*all->handles), catalog_by_pid);
        holders = LocalAlloc(LMEM_ZEROINIT, (count + 1) * sizeof(*holders));
    }
    for (ULONG_PTR i = 0; holders != NULL && i < count;) {
        ULONG_PTR end = i;
        while (end < count && all->handles[end].pid == all->handles[i].pid) {
            end++;
        }
        catalog_holder *holder = &holders[found];
        holder->pid = all->handles[i].pid;
        catalog_look_into(holder, all->handles + i, end - i, own, handle,
                          compare);
        found += holder->handles > 0 || holder->error != 0;
        if (holder == &holders[found]) {
            memset(holder, 0, sizeof(*holder));
        }
        i = end;
    }
    LocalFree(all);
    Py_END_ALLOW_THREADS
    if (!WI_NT_SUCCESS(status)) {
        return catalog_raise(status, "NtQuerySystemInformation", value);
    }
    if (own == NULL) {
        return wi_raise(ERROR_INVALID_HANDLE, "NtQuerySystemInformation",
                        value);
    }
    if (holders == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *result = PyList_New(0);
    for (ULONG_PTR i = 0; result != NULL && i < found; i++) {
        PyObject *row = Py_BuildValue("(nkk)", (Py_ssize_t)holders[i].pid,
                                      (unsigned long)holders[i].handles,
                                      (unsigned long)holders[i].error);
        if (row == NULL || PyList_Append(result, row) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(row);
    }
    LocalFree(holders);
    return result;
}

/* ------------------------------------------------------ sections held */

#define CATALOG_FILE_SECTION 0x01800000u /* SEC_FILE | SEC_IMAGE */

/* A row for a section that has a name, and no file behind it: (path, size).
 * None for another, NULL on an error. */
static PyObject *
catalog_section_row(HANDLE section)
{
    union {
        catalog_string string;
        char bytes[2048];
    } name;
    catalog_section_info info;
    memset(&info, 0, sizeof(info));
    if (!WI_NT_SUCCESS(NtQueryObject(section, 1, &name, sizeof(name), NULL)) ||
        name.string.length == 0 ||
        !WI_NT_SUCCESS(
            NtQuerySection(section, 0, &info, sizeof(info), NULL)) ||
        (info.attributes & CATALOG_FILE_SECTION)) {
        Py_RETURN_NONE;
    }
    PyObject *path =
        catalog_text(&name.string, name.bytes, sizeof(name.bytes));
    return path == NULL ? NULL
                        : Py_BuildValue("(NL)", path, info.size.QuadPart);
}

/* The handles of sections that a process has, in this one; count of them. */
static ULONG_PTR
catalog_copy_sections(DWORD pid, HANDLE probe, HANDLE **copies,
                      wi_ntstatus *status, DWORD *err)
{
    ULONG_PTR count = 0, found = 0;
    int type = -1;
    HANDLE self = GetCurrentProcess();
    catalog_handles *all = catalog_all_handles(status, &count);
    if (all == NULL) {
        return 0;
    }
    for (ULONG_PTR i = 0; i < count && type < 0; i++) {
        if (all->handles[i].pid == GetCurrentProcessId() &&
            all->handles[i].handle == (ULONG_PTR)probe) {
            type = all->handles[i].type;
        }
    }
    HANDLE process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, pid);
    *err = process == NULL ? GetLastError() : 0;
    *copies = process == NULL
                  ? NULL
                  : LocalAlloc(LMEM_FIXED, (count + 1) * sizeof(HANDLE));
    for (ULONG_PTR i = 0; *copies != NULL && i < count; i++) {
        const catalog_handle *entry = &all->handles[i];
        if (entry->pid == pid && entry->type == type &&
            DuplicateHandle(process, (HANDLE)entry->handle, self,
                            &(*copies)[found], OBJECT_QUERY_RIGHT, FALSE, 0)) {
            found++;
        }
    }
    if (process != NULL) {
        CloseHandle(process);
    }
    LocalFree(all);
    return found;
}

PyDoc_STRVAR(catalog_sections_doc,
             "_held_sections($module, pid, /)\n--\n\n"
             "(path, size) of each named section without a file that a "
             "process\nhas a handle of, once for each handle.\n\n"
             "Win32: NtQuerySystemInformation, DuplicateHandle, "
             "NtQueryObject, NtQuerySection");

static PyObject *
catalog_held_sections(PyObject *module, PyObject *value)
{
    DWORD pid, err = 0;
    wi_ntstatus status = 0;
    HANDLE *copies = NULL;
    ULONG_PTR count = 0;
    WI_UNUSED(module);
    if (!wi_u32_converter(value, &pid)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    /* One of our own shows the number that stands for sections. */
    HANDLE probe = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL,
                                      PAGE_READONLY, 0, 1, NULL);
    if (probe == NULL) {
        err = GetLastError();
    }
    else {
        count = catalog_copy_sections(pid, probe, &copies, &status, &err);
        CloseHandle(probe);
    }
    Py_END_ALLOW_THREADS
    PyObject *result = NULL;
    if (!WI_NT_SUCCESS(status)) {
        catalog_raise(status, "NtQuerySystemInformation", value);
    }
    else if (err != 0) {
        wi_raise(err, "OpenProcess", value);
    }
    else if (copies == NULL) {
        PyErr_NoMemory();
    }
    else {
        result = PyList_New(0);
    }
    for (ULONG_PTR i = 0; i < count; i++) {
        if (result != NULL) {
            PyObject *row = catalog_section_row(copies[i]);
            if (row == NULL ||
                (row != Py_None && PyList_Append(result, row) < 0)) {
                Py_CLEAR(result);
            }
            Py_XDECREF(row);
        }
        CloseHandle(copies[i]);
    }
    LocalFree(copies);
    return result;
}

/* ------------------------------------------------------------ own handles */

/* What a handle of this process is called: the object's name, the id of a
 * process or thread, or nothing. New reference. */
static PyObject *
catalog_handle_name(HANDLE handle, PyObject *type)
{
    union {
        catalog_string string;
        char bytes[2048];
    } name;
    if (PyUnicode_CompareWithASCIIString(type, "Process") == 0) {
        return PyUnicode_FromFormat("pid %lu", GetProcessId(handle));
    }
    if (PyUnicode_CompareWithASCIIString(type, "Thread") == 0) {
        return PyUnicode_FromFormat("id %lu", GetThreadId(handle));
    }
    /* Asking a pipe for its name waits for whoever reads it. */
    if (PyUnicode_CompareWithASCIIString(type, "File") != 0 &&
        WI_NT_SUCCESS(NtQueryObject(handle, 1, &name, sizeof(name), NULL)) &&
        name.string.length > 0) {
        return catalog_text(&name.string, name.bytes, sizeof(name.bytes));
    }
    return PyUnicode_FromString("");
}

PyDoc_STRVAR(catalog_own_doc,
             "_own_handles($module, /)\n--\n\n"
             "(handle, type, name) of each handle of this process; the name "
             "may be empty.\n\n"
             "Win32: NtQuerySystemInformation, NtQueryObject");

static PyObject *
catalog_own_handles(PyObject *module, PyObject *unused)
{
    wi_ntstatus status = 0;
    ULONG_PTR count = 0;
    catalog_handles *all;
    DWORD self = GetCurrentProcessId();
    WI_UNUSED(module);
    WI_UNUSED(unused);
    Py_BEGIN_ALLOW_THREADS
    all = catalog_all_handles(&status, &count);
    Py_END_ALLOW_THREADS
    if (all == NULL) {
        PyObject *label = PyUnicode_FromString("this process");
        if (label != NULL) {
            catalog_raise(status, "NtQuerySystemInformation", label);
            Py_DECREF(label);
        }
        return NULL;
    }
    PyObject *result = PyList_New(0);
    for (ULONG_PTR i = 0; result != NULL && i < count; i++) {
        union {
            catalog_string string;
            char bytes[1024];
        } info;
        HANDLE handle = (HANDLE)all->handles[i].handle;
        if (all->handles[i].pid != self ||
            !WI_NT_SUCCESS(
                NtQueryObject(handle, 2, &info, sizeof(info), NULL))) {
            continue; /* another's, or closed since */
        }
        PyObject *type =
            catalog_text(&info.string, info.bytes, sizeof(info.bytes));
        PyObject *name =
            type == NULL ? NULL : catalog_handle_name(handle, type);
        PyObject *row =
            name == NULL
                ? NULL
                : Py_BuildValue("(nSS)", (Py_ssize_t)handle, type, name);
        if (row == NULL || PyList_Append(result, row) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(row);
        Py_XDECREF(name);
        Py_XDECREF(type);
    }
    LocalFree(all);
    return result;
}

PyDoc_STRVAR(catalog_start_doc,
             "_thread_start($module, id, /)\n--\n\n"
             "The address at which a thread began, or None when it has "
             "ended.\n\n"
             "Win32: OpenThread, NtQueryInformationThread");

static PyObject *
catalog_thread_start(PyObject *module, PyObject *value)
{
    DWORD id;
    void *start = NULL;
    WI_UNUSED(module);
    if (!wi_u32_converter(value, &id)) {
        return NULL;
    }
    HANDLE thread = OpenThread(THREAD_QUERY_INFORMATION, FALSE, id);
    if (thread == NULL) {
        Py_RETURN_NONE;
    }
    wi_ntstatus status = NtQueryInformationThread(
        thread, CATALOG_START_ADDRESS, &start, sizeof(start), NULL);
    CloseHandle(thread);
    if (!WI_NT_SUCCESS(status)) {
        Py_RETURN_NONE;
    }
    return PyLong_FromVoidPtr(start);
}

static PyMethodDef catalog_methods[] = {
    {"_list_directory", catalog_list, METH_O, catalog_list_doc},
    {"_object_size", catalog_size, METH_VARARGS, catalog_size_doc},
    {"_open_object", catalog_open_object, METH_VARARGS, catalog_open_doc},
    {"_close_handle", catalog_close, METH_O, catalog_close_doc},
    {"_holders", catalog_holders, METH_O, catalog_holders_doc},
    {"_held_sections", catalog_held_sections, METH_O, catalog_sections_doc},
    {"_own_handles", catalog_own_handles, METH_NOARGS, catalog_own_doc},
    {"_thread_start", catalog_thread_start, METH_O, catalog_start_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_catalog_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(state);
    return PyModule_AddFunctions(module, catalog_methods);
}

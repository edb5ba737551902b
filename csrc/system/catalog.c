/* catalog.c: what named kernel objects exist, and which processes hold them.
 *
 *     _core._list_directory(r"\BaseNamedObjects")     # [(name, type)]
 *     handle, size = _core._open_object(path, "Section", 1)
 *     _core._holders([handle])                        # [[(pid, handles, err)]]
 *     _core._own_handles()                            # [(handle, type, name)]
 *     _core._thread_start(id)                         # an address
 *
 * NtQueryDirectoryObject lists a directory of the object manager; objects are
 * opened by their full path with the one right that asks them for their state;
 * NtQuerySystemInformation(SystemExtendedHandleInformation) lists the handles
 * of all processes. Handles are compared by the object's address where Windows
 * shows it; since Windows 11 24H2 (and under Wine) it is 0 for ordinary users,
 * and then the handle is duplicated and given to NtCompareObjects.
 *
 * Owner: the caller, of the handles that it is given; nothing else is kept.
 * Thread: any. GIL: the lists of handles are made and searched without it.
 * Each answer of the kernel is checked against the buffer that it was given, and
 * buffers have an upper bound. */
#include "base/core.h"
#include "base/handles.h"
#include "base/nt.h"

#include <stdlib.h>

/* Entries of one directory, and bytes of one handle list, at most. */
#define CATALOG_MAX_ENTRIES (1ul << 20)
#define CATALOG_MAX_BYTES ((ULONG)1 << 30)

/* An answer has at most two strings of 64 KiB each. */
#define CATALOG_ANSWER ((ULONG)2 * 65536 + 128)

/* ---------------------------------------------------------------- helpers */

/* str that is an object manager path, into attributes that borrow *wide. Free
 * *wide with PyMem_Free. */
static int
catalog_path(PyObject *path, wchar_t **wide, wi_unicode_string *name,
             wi_object_attributes *attributes)
{
    if (wi_wide_name(path, wide) < 0) {
        return -1;
    }
    size_t length = *wide == NULL ? 0 : wcslen(*wide);
    if (length == 0 || length > WI_UNICODE_STRING_MAX) {
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
catalog_text(const wi_unicode_string *text, const void *buffer, size_t size)
{
    uintptr_t begin = (uintptr_t)buffer, at = (uintptr_t)text->buffer;
    if (text->length == 0) {
        return PyUnicode_FromString("");
    }
    if (text->length % sizeof(wchar_t) != 0 || at < begin ||
        at - begin > size || text->length > size - (at - begin)) {
        PyErr_SetString(PyExc_ValueError,
                        "the kernel's answer leaves its buffer");
        return NULL;
    }
    return PyUnicode_FromWideChar(text->buffer,
                                  text->length / sizeof(wchar_t));
}

/* What NtQueryObject says, WI_OBJECT_NAME or _TYPE, which both begin with a
 * string; empty if it says nothing. */
static PyObject *
catalog_query(HANDLE handle, int info)
{
    wi_unicode_string *text = PyMem_Malloc(CATALOG_ANSWER);
    if (text == NULL) {
        return PyErr_NoMemory();
    }
    wi_ntstatus status =
        NtQueryObject(handle, info, text, CATALOG_ANSWER, NULL);
    PyObject *result = WI_NT_SUCCESS(status)
                           ? catalog_text(text, text, CATALOG_ANSWER)
                           : PyUnicode_FromString("");
    PyMem_Free(text);
    return result;
}

/* ---------------------------------------------------------- directories */

static PyObject *
catalog_list(PyObject *Py_UNUSED(module), PyObject *path)
{
    wchar_t *wide;
    wi_unicode_string name;
    wi_object_attributes attributes;
    HANDLE directory = NULL;
    ULONG context = 0, got;
    if (catalog_path(path, &wide, &name, &attributes) < 0) {
        return NULL;
    }
    wi_ntstatus status =
        NtOpenDirectoryObject(&directory, WI_DIRECTORY_QUERY, &attributes);
    PyMem_Free(wide);
    if (!WI_NT_SUCCESS(status)) {
        return catalog_raise(status, "NtOpenDirectoryObject", path);
    }
    wi_directory_entry *entry = PyMem_Malloc(CATALOG_ANSWER);
    PyObject *result = entry == NULL ? PyErr_NoMemory() : PyList_New(0);
    for (ULONG i = 0; result != NULL && i < CATALOG_MAX_ENTRIES; i++) {
        /* One at a time: Wine has no other way. */
        memset(entry, 0, sizeof(*entry));
        status = NtQueryDirectoryObject(directory, entry, CATALOG_ANSWER, TRUE,
                                        FALSE, &context, &got);
        if (status == WI_STATUS_NO_MORE_ENTRIES) {
            break;
        }
        if (!WI_NT_SUCCESS(status)) {
            catalog_raise(status, "NtQueryDirectoryObject", path);
            Py_CLEAR(result);
            break;
        }
        PyObject *text = catalog_text(&entry->name, entry, CATALOG_ANSWER);
        PyObject *type =
            text ? catalog_text(&entry->type, entry, CATALOG_ANSWER) : NULL;
        wi_append(&result, type ? PyTuple_Pack(2, text, type) : NULL);
        Py_XDECREF(type);
        Py_XDECREF(text);
    }
    PyMem_Free(entry);
    CloseHandle(directory);
    return result;
}

/* ----------------------------------------------------------- one object */

static const struct {
    const char *type;
    const char *api;
    wi_ntstatus(NTAPI *open)(HANDLE *out, ACCESS_MASK access,
                             wi_object_attributes *attributes);
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
    wi_unicode_string name;
    wi_object_attributes attributes;
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

static PyObject *
catalog_open_object(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *path, *result;
    const char *type;
    DWORD access;
    wi_section_info info;
    if (!PyArg_ParseTuple(args, "OsO&:_open_object", &path, &type,
                          wi_u32_converter, &access)) {
        return NULL;
    }
    HANDLE handle = catalog_open(path, type, access);
    if (handle == NULL) {
        return NULL;
    }
    BOOL sized =
        WI_NT_SUCCESS(NtQuerySection(handle, 0, &info, sizeof(info), NULL));
    result =
        sized ? Py_BuildValue("(nL)", (Py_ssize_t)handle, info.size.QuadPart)
              : Py_BuildValue("(nO)", (Py_ssize_t)handle, Py_None);
    if (result == NULL) {
        CloseHandle(handle);
    }
    return result;
}

static PyObject *
catalog_close(PyObject *Py_UNUSED(module), PyObject *value)
{
    HANDLE handle;
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    if (!CloseHandle(handle)) {
        return wi_raise(GetLastError(), "CloseHandle", value);
    }
    Py_RETURN_NONE;
}

/* --------------------------------------------------- handles of everyone */

/* All handles of all processes, *count of them; wi_heap_free frees them. NULL
 * with *status. */
static wi_handle_list *
catalog_all_handles(wi_ntstatus *status, ULONG_PTR *count)
{
    *count = 0;
    for (ULONG size = 1u << 20;; size *= 2) {
        wi_handle_list *all = HeapAlloc(GetProcessHeap(), 0, size);
        if (all == NULL) {
            *status = WI_STATUS_NO_MEMORY;
            return NULL;
        }
        *status = NtQuerySystemInformation(WI_SYSTEM_HANDLES, all, size, NULL);
        if (WI_NT_SUCCESS(*status)) {
            /* Never more than lie in the buffer, whatever count says. */
            ULONG_PTR room = (size - offsetof(wi_handle_list, entries)) /
                             sizeof(wi_handle_entry);
            *count = all->count < room ? all->count : room;
            return all;
        }
        wi_heap_free(all);
        if (*status != WI_STATUS_LENGTH_MISMATCH ||
            size >= CATALOG_MAX_BYTES) {
            return NULL;
        }
    }
}

/* The entry of a handle of this process, or NULL. */
static const wi_handle_entry *
catalog_find(const wi_handle_list *all, ULONG_PTR count, HANDLE handle)
{
    DWORD self = GetCurrentProcessId();
    for (ULONG_PTR i = 0; i < count; i++) {
        if (all->entries[i].pid == self &&
            all->entries[i].handle == (ULONG_PTR)handle) {
            return &all->entries[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- holders */

/* An object whose holders are wanted. */
typedef struct {
    HANDLE handle;         /* the caller's */
    wi_handle_entry entry; /* what the list says of it; pid 0: nothing */
    DWORD handles;         /* that the process looked into has */
    DWORD error;           /* why that could not be looked into, or 0 */
} catalog_target;

typedef struct {
    size_t target; /* its index */
    ULONG_PTR pid;
    DWORD handles;
    DWORD error;
} catalog_row;

typedef struct {
    catalog_target *targets;
    size_t count;
    catalog_row *rows; /* HeapAlloc */
    size_t used, room;
    wi_ntstatus status; /* of the list of handles */
    BOOL no_memory;
} catalog_search;

/* Whether the entry may be a handle of the target's object. */
static BOOL
catalog_may_be(const catalog_target *target, const wi_handle_entry *entry)
{
    return target->entry.pid != 0 && entry->type == target->entry.type;
}

/* Whether the caller has given this handle of this process. */
static BOOL
catalog_given(const catalog_search *search, ULONG_PTR handle)
{
    for (size_t i = 0; i < search->count; i++) {
        if (search->targets[i].handle == (HANDLE)handle) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Count one handle for the targets whose object it is. */
static void
catalog_count(catalog_search *search, const wi_handle_entry *entry,
              HANDLE copy)
{
    for (size_t i = 0; i < search->count; i++) {
        catalog_target *target = &search->targets[i];
        if (!catalog_may_be(target, entry)) {
            continue;
        }
        BOOL addressed = entry->object != NULL && target->entry.object != NULL;
        if (addressed
                ? entry->object == target->entry.object
                : copy != NULL &&
                      WI_NT_SUCCESS(NtCompareObjects(target->handle, copy))) {
            target->handles++;
        }
    }
}

/* Whether some target can be told from the entry only by a handle of this
 * process. */
static BOOL
catalog_needs_copy(const catalog_search *search, const wi_handle_entry *entry)
{
    for (size_t i = 0; i < search->count; i++) {
        const catalog_target *target = &search->targets[i];
        if (catalog_may_be(target, entry) &&
            (entry->object == NULL || target->entry.object == NULL)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Count the handles of one process; entries are those of its handles. */
static void
catalog_look_into(catalog_search *search, const wi_handle_entry *entries,
                  ULONG_PTR count)
{
    HANDLE process = NULL;
    const BOOL own = entries->pid == GetCurrentProcessId();
    DWORD err = 0;
    for (ULONG_PTR i = 0; i < count; i++) {
        HANDLE copy = NULL;
        if (own && catalog_given(search, entries[i].handle)) {
            continue;
        }
        if (!catalog_needs_copy(search, &entries[i])) {
            catalog_count(search, &entries[i], NULL);
            continue;
        }
        if (own) {
            catalog_count(search, &entries[i], (HANDLE)entries[i].handle);
            continue;
        }
        if (process == NULL && err == 0) {
            process =
                OpenProcess(PROCESS_DUP_HANDLE, FALSE, (DWORD)entries[i].pid);
            err = process == NULL ? GetLastError() : 0;
        }
        if (err == ERROR_INVALID_PARAMETER) {
            return; /* it has ended since, and holds nothing */
        }
        for (size_t t = 0; err != 0 && t < search->count; t++) {
            if (catalog_may_be(&search->targets[t], &entries[i])) {
                search->targets[t].error = err;
            }
        }
        if (process != NULL &&
            DuplicateHandle(process, (HANDLE)entries[i].handle,
                            GetCurrentProcess(), &copy, 0, FALSE, 0)) {
            catalog_count(search, &entries[i], copy);
            CloseHandle(copy);
        }
    }
    if (process != NULL) {
        CloseHandle(process);
    }
}

/* Note what was found in one process, and begin anew. */
static void
catalog_note(catalog_search *search, ULONG_PTR pid)
{
    for (size_t i = 0; i < search->count; i++) {
        catalog_target *target = &search->targets[i];
        if (target->handles == 0 && target->error == 0) {
            continue;
        }
        if (search->used == search->room) {
            size_t room = 2 * search->room + 64;
            size_t bytes = room * sizeof(*search->rows);
            catalog_row *more =
                search->rows == NULL
                    ? HeapAlloc(GetProcessHeap(), 0, bytes)
                    : HeapReAlloc(GetProcessHeap(), 0, search->rows, bytes);
            if (more == NULL) {
                search->no_memory = TRUE;
                return;
            }
            search->rows = more;
            search->room = room;
        }
        catalog_row *row = &search->rows[search->used++];
        row->target = i;
        row->pid = pid;
        row->handles = target->handles;
        row->error = target->error;
        target->handles = target->error = 0;
    }
}

static int
catalog_by_pid(const void *a, const void *b)
{
    const wi_handle_entry *x = a, *y = b;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Look into all processes, without the GIL. */
static void
catalog_look(catalog_search *search)
{
    ULONG_PTR count;
    wi_handle_list *all = catalog_all_handles(&search->status, &count);
    if (all == NULL) {
        return;
    }
    for (size_t i = 0; i < search->count; i++) {
        catalog_target *target = &search->targets[i];
        const wi_handle_entry *own = catalog_find(all, count, target->handle);
        if (own != NULL) {
            target->entry = *own;
        }
    }
    qsort(all->entries, count, sizeof(*all->entries), catalog_by_pid);
    for (ULONG_PTR i = 0, end; i < count && !search->no_memory; i = end) {
        ULONG_PTR pid = all->entries[i].pid;
        for (end = i; end < count && all->entries[end].pid == pid;) {
            end++;
        }
        catalog_look_into(search, all->entries + i, end - i);
        catalog_note(search, pid);
    }
    wi_heap_free(all);
}

/* A list for each target, of what was found. */
static PyObject *
catalog_found(const catalog_search *search)
{
    PyObject *result = PyList_New((Py_ssize_t)search->count);
    for (size_t i = 0; result != NULL && i < search->count; i++) {
        PyObject *rows = PyList_New(0);
        if (rows == NULL || PyList_SetItem(result, (Py_ssize_t)i, rows) < 0) {
            Py_CLEAR(result);
        }
    }
    for (size_t i = 0; result != NULL && i < search->used; i++) {
        const catalog_row *found = &search->rows[i];
        PyObject *row = Py_BuildValue("(nkk)", (Py_ssize_t)found->pid,
                                      found->handles, found->error);
        if (row == NULL ||
            PyList_Append(PyList_GetItem(result, (Py_ssize_t)found->target),
                          row) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(row);
    }
    return result;
}

static PyObject *
catalog_holders(PyObject *Py_UNUSED(module), PyObject *handles)
{
    catalog_search search = {0};
    PyObject *list = PySequence_List(handles), *result = NULL;
    if (list == NULL) {
        return NULL;
    }
    search.count = (size_t)PyList_Size(list);
    search.targets = PyMem_Calloc(search.count + 1, sizeof(*search.targets));
    if (search.targets == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < search.count; i++) {
        if (!wi_handle_converter(PyList_GetItem(list, (Py_ssize_t)i),
                                 &search.targets[i].handle)) {
            goto done;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    catalog_look(&search);
    Py_END_ALLOW_THREADS
    if (!WI_NT_SUCCESS(search.status)) {
        catalog_raise(search.status, "NtQuerySystemInformation", list);
        goto done;
    }
    if (search.no_memory) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < search.count; i++) {
        if (search.targets[i].entry.pid == 0) {
            wi_raise(ERROR_INVALID_HANDLE, "NtQuerySystemInformation",
                     PyList_GetItem(list, (Py_ssize_t)i));
            goto done;
        }
    }
    result = catalog_found(&search);
done:
    wi_heap_free(search.rows);
    PyMem_Free(search.targets);
    Py_DECREF(list);
    return result;
}

/* ------------------------------------------------------------ own handles */

/* What a handle of this process is called: the object's name, the id of a
 * process or thread, or nothing. New reference. */
static PyObject *
catalog_handle_name(HANDLE handle, PyObject *type)
{
    if (PyUnicode_CompareWithASCIIString(type, "Process") == 0) {
        return PyUnicode_FromFormat("pid %lu", GetProcessId(handle));
    }
    if (PyUnicode_CompareWithASCIIString(type, "Thread") == 0) {
        return PyUnicode_FromFormat("id %lu", GetThreadId(handle));
    }
    /* Asking a pipe for its name waits until its reader is done. */
    if (PyUnicode_CompareWithASCIIString(type, "File") == 0) {
        return PyUnicode_FromString("");
    }
    return catalog_query(handle, WI_OBJECT_NAME);
}

static PyObject *
catalog_own_handles(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    wi_ntstatus status = 0;
    ULONG_PTR count = 0;
    wi_handle_list *all;
    DWORD self = GetCurrentProcessId();
    Py_BEGIN_ALLOW_THREADS
    all = catalog_all_handles(&status, &count);
    Py_END_ALLOW_THREADS
    if (all == NULL) {
        return wi_raise_format(RtlNtStatusToDosError(status),
                               "NtQuerySystemInformation", "this process");
    }
    PyObject *result = PyList_New(0);
    for (ULONG_PTR i = 0; result != NULL && i < count; i++) {
        HANDLE handle = (HANDLE)all->entries[i].handle;
        if (all->entries[i].pid != self) {
            continue;
        }
        PyObject *type = catalog_query(handle, WI_OBJECT_TYPE);
        if (type != NULL && PyUnicode_GetLength(type) == 0) {
            Py_DECREF(type);
            continue; /* closed since */
        }
        PyObject *name =
            type == NULL ? NULL : catalog_handle_name(handle, type);
        wi_append(&result, name == NULL
                               ? NULL
                               : Py_BuildValue("(nSN)", (Py_ssize_t)handle,
                                               type, name));
        Py_XDECREF(type);
    }
    wi_heap_free(all);
    return result;
}

static PyObject *
catalog_thread_start(PyObject *Py_UNUSED(module), PyObject *value)
{
    DWORD id;
    void *start = NULL;
    if (!wi_u32_converter(value, &id)) {
        return NULL;
    }
    HANDLE thread = OpenThread(THREAD_QUERY_INFORMATION, FALSE, id);
    if (thread == NULL) {
        Py_RETURN_NONE;
    }
    wi_ntstatus status = NtQueryInformationThread(thread, WI_THREAD_START,
                                                  &start, sizeof(start), NULL);
    CloseHandle(thread);
    if (!WI_NT_SUCCESS(status)) {
        Py_RETURN_NONE;
    }
    return PyLong_FromVoidPtr(start);
}

static PyMethodDef catalog_methods[] = {
    {"_list_directory", catalog_list, METH_O,
     PyDoc_STR("_list_directory($module, path, /)\n--\n\n"
               "Win32: NtOpenDirectoryObject, NtQueryDirectoryObject")},
    {"_open_object", catalog_open_object, METH_VARARGS,
     PyDoc_STR("_open_object($module, path, type, access, /)\n--\n\n"
               "Win32: NtOpenSection and its likes, NtQuerySection")},
    {"_close_handle", catalog_close, METH_O,
     PyDoc_STR("_close_handle($module, handle, /)\n--\n\n"
               "Win32: CloseHandle")},
    {"_holders", catalog_holders, METH_O,
     PyDoc_STR("_holders($module, handles, /)\n--\n\n"
               "For each handle a (pid, handles, winerror) of each process.")},
    {"_own_handles", catalog_own_handles, METH_NOARGS,
     PyDoc_STR("_own_handles($module, /)\n--\n\n"
               "Win32: NtQuerySystemInformation, NtQueryObject")},
    {"_thread_start", catalog_thread_start, METH_O,
     PyDoc_STR("_thread_start($module, id, /)\n--\n\n"
               "Win32: OpenThread, NtQueryInformationThread")},
    {NULL, NULL, 0, NULL},
};

int
wi_catalog_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, catalog_methods);
}

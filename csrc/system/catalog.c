/* catalog.c: what named kernel objects exist, and which processes hold them.
 *
 *     _core._list_directory(r"\BaseNamedObjects")     # [(name, type)]
 *     handle, size = _core._open_object(path, "Section", 1)
 *     _core._holders([handle], [None])                # [[(pid, handles, err)]]
 *     _core._own_handles()                            # [(handle, type, name)]
 *     _core._thread_start(id)                         # an address
 *
 * NtQueryDirectoryObject lists a directory of the object manager; objects are
 * opened by their full path with the one right that asks them for their state;
 * NtQuerySystemInformation(SystemExtendedHandleInformation) lists the handles
 * of all processes. Handles are compared by the object's address where Windows
 * shows it; since Windows 11 24H2 (and under Wine) it is 0 for ordinary users.
 * Then the handle is duplicated, and NtCompareObjects compares it with a few
 * targets. Among many it is asked for its name, and NtCompareObjects decides about
 * targets of this name: calls grow with the handles of everyone, not with how often
 * one of them could be one of the targets. A target in a directory that has a name
 * is the only object with its name.
 *
 * Owner: the caller, of the handles that it is given; nothing else is kept.
 * Thread: any. GIL: the lists of handles are made and searched without it.
 * Each answer of the kernel is checked against the buffer that it was given, and
 * buffers have an upper bound. */
#include "base/core.h"
#include "base/handles.h"
#include "base/nt.h"

#include <stdlib.h>

/* The most entries of one directory, and the most bytes of one handle list. */
#define CATALOG_MAX_ENTRIES (1ul << 20)
#define CATALOG_MAX_BYTES ((ULONG)1 << 30)

/* An answer has at most two strings of 64 KiB each. */
#define CATALOG_ANSWER ((ULONG)2 * 65536 + 128)

/* ---------------------------------------------------------------- helpers */

/* Make attributes of a str that is a path of the object manager. They borrow
 * *wide and *name; free *wide with PyMem_Free. */
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

/* A str of a string that the kernel put into buffer; ValueError if it leaves
 * the buffer. */
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

/* The name or the type of an object (WI_OBJECT_NAME or _TYPE; both answers
 * begin with a string); an empty str if NtQueryObject fails. */
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

/* The most entries that an answer can hold. */
#define CATALOG_ENTRIES (CATALOG_ANSWER / sizeof(wi_directory_entry))

/* Append the entries of an answer, of which an empty one is the last if there
 * are fewer than count, to *result: each at a multiple of step, the first being at
 * *index, which advances. On failure *result is NULL with an exception. */
static void
catalog_append(PyObject **result, const wi_directory_entry *answer,
               size_t count, ULONG step, ULONG *index)
{
    const wi_directory_entry *at = answer, *end = answer + count;
    for (; *result != NULL && at < end && at->name.buffer != NULL; at++) {
        if ((*index)++ % step != 0) {
            continue;
        }
        PyObject *text = catalog_text(&at->name, answer, CATALOG_ANSWER);
        PyObject *type =
            text ? catalog_text(&at->type, answer, CATALOG_ANSWER) : NULL;
        wi_append(result, type ? PyTuple_Pack(2, text, type) : NULL);
        Py_XDECREF(type);
        Py_XDECREF(text);
    }
}

static PyObject *
catalog_list(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *path;
    DWORD step = 1;
    wchar_t *wide;
    wi_unicode_string name;
    wi_object_attributes attributes;
    HANDLE directory = NULL;
    ULONG context = 0, index = 0, got;
    BOOL single = FALSE;
    if (!PyArg_ParseTuple(args, "O|O&:_list_directory", &path,
                          wi_u32_converter, &step) ||
        catalog_path(path, &wide, &name, &attributes) < 0) {
        return NULL;
    }
    step = step == 0 ? 1 : step;
    wi_ntstatus status =
        NtOpenDirectoryObject(&directory, WI_DIRECTORY_QUERY, &attributes);
    PyMem_Free(wide);
    if (!WI_NT_SUCCESS(status)) {
        return catalog_raise(status, "NtOpenDirectoryObject", path);
    }
    wi_directory_entry *entry = PyMem_Malloc(CATALOG_ANSWER);
    PyObject *result = entry == NULL ? PyErr_NoMemory() : PyList_New(0);
    for (ULONG i = 0; result != NULL && i < CATALOG_MAX_ENTRIES; i++) {
        /* Many at a time: each call makes the system skip those before. */
        memset(entry, 0, single ? sizeof(*entry) : CATALOG_ANSWER);
        status = NtQueryDirectoryObject(directory, entry, CATALOG_ANSWER,
                                        single, FALSE, &context, &got);
        if (status == WI_STATUS_NOT_IMPLEMENTED && !single) {
            single = TRUE; /* Wine 8 */
            continue;
        }
        if (status == WI_STATUS_NO_MORE_ENTRIES) {
            break;
        }
        if (!WI_NT_SUCCESS(status)) {
            catalog_raise(status, "NtQueryDirectoryObject", path);
            Py_CLEAR(result);
            break;
        }
        catalog_append(&result, entry, single ? 1 : CATALOG_ENTRIES, step,
                       &index);
        if (single) {
            context += step - 1;
            index += step - 1;
        }
    }
    PyMem_Free(entry);
    CloseHandle(directory);
    return result;
}

/* ----------------------------------------------------------- one object */

static const struct {
    const char *type;
    const wchar_t *wide;
    const char *api;
    wi_ntstatus(NTAPI *open)(HANDLE *out, ACCESS_MASK access,
                             wi_object_attributes *attributes);
} catalog_kinds[] = {
    {"Section", L"Section", "NtOpenSection", NtOpenSection},
    {"Mutant", L"Mutant", "NtOpenMutant", NtOpenMutant},
    {"Event", L"Event", "NtOpenEvent", NtOpenEvent},
    {"Semaphore", L"Semaphore", "NtOpenSemaphore", NtOpenSemaphore},
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
        strcmp(type, "Section") == 0 &&
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

/* ----------------------------------------------- handles of all processes */

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
            /* The count is not trusted: no more than the buffer can have. */
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

/* ---------------------------------------------------------------- holders */

/* An object whose holders are wanted. */
typedef struct {
    HANDLE handle;           /* the caller's */
    wi_handle_entry *own;    /* its place in the list, or NULL */
    wi_handle_entry entry;   /* a copy of that */
    wi_unicode_string *path; /* by which it was opened, or NULL; HeapAlloc */
    wi_unicode_string *name; /* NULL: by the object's address; HeapAlloc */
    BOOL only;               /* it alone has this name */
    DWORD handles;           /* that the process looked into has */
    DWORD error;             /* why that could not be looked into, or 0 */
} catalog_target;

typedef struct {
    size_t target; /* its index */
    ULONG_PTR pid;
    DWORD handles;
    DWORD error;
} catalog_row;

/* What to do with handles of a type. */
enum { CATALOG_SKIP, CATALOG_COMPARE, CATALOG_ASK_NAME };

/* So many targets of a type are compared with no call for the name. */
#define CATALOG_FEW 3

typedef struct {
    char what;         /* CATALOG_SKIP, ... */
    DWORD targets;     /* of this type */
    ULONG_PTR refused; /* the last process that could not be opened */
} catalog_type;

typedef struct {
    catalog_target *targets;
    size_t count;
    catalog_target **order;   /* sorted, see catalog_by_object */
    catalog_target **touched; /* targets that the current process has */
    size_t touches;
    BOOL addressed; /* the list has the addresses of the objects */
    catalog_type types[USHRT_MAX + 1];
    catalog_row *rows; /* HeapAlloc */
    size_t used, room;
    wi_ntstatus status; /* of the list of handles */
    BOOL no_memory;
} catalog_search;

/* Whether an object may be asked for its name. Not a pipe: Windows would wait
 * until the pipe's reader is done. */
static BOOL
catalog_may_ask(HANDLE handle)
{
    union {
        wi_unicode_string name;
        char room[512]; /* the types that may be asked have short names */
    } type = {{0}};
    if (WI_NT_SUCCESS(NtQueryObject(handle, WI_OBJECT_TYPE, &type,
                                    sizeof(type), NULL))) {
        for (size_t i = 0; i < Py_ARRAY_LENGTH(catalog_kinds); i++) {
            if (CompareStringOrdinal(
                    type.name.buffer, type.name.length / (int)sizeof(wchar_t),
                    catalog_kinds[i].wide, -1, FALSE) == CSTR_EQUAL) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/* Characters of a name by which targets are found, at most. */
#define CATALOG_NAME 500

/* The name of an object, an empty one if it has none, is not to be asked, or has
 * a longer one: NtCompareObjects tells apart what has equal names. NULL if there is
 * no memory. */
static wi_unicode_string *
catalog_name(HANDLE handle, BOOL ask)
{
    const ULONG size =
        sizeof(wi_unicode_string) + (CATALOG_NAME + 1) * sizeof(wchar_t);
    wi_unicode_string *name = HeapAlloc(GetProcessHeap(), 0, size);
    if (name != NULL &&
        !(ask && WI_NT_SUCCESS(NtQueryObject(handle, WI_OBJECT_NAME, name,
                                             size, NULL)))) {
        memset(name, 0, sizeof(*name));
    }
    return name;
}

/* Sort targets so that those of one object are neighbours: by type, then by
 * address if it is known, else by name. Two objects may have the same name, or
 * none. */
static int
catalog_by_object(const void *a, const void *b)
{
    const catalog_target *x = *(catalog_target *const *)a;
    const catalog_target *y = *(catalog_target *const *)b;
    if (x->entry.type != y->entry.type) {
        return x->entry.type < y->entry.type ? -1 : 1;
    }
    if (x->name == NULL || y->name == NULL) {
        uintptr_t one = (uintptr_t)x->entry.object;
        uintptr_t other = (uintptr_t)y->entry.object;
        return one < other ? -1 : one > other;
    }
    if (x->name->length != y->name->length) {
        return x->name->length < y->name->length ? -1 : 1;
    }
    return memcmp(x->name->buffer, y->name->buffer, x->name->length);
}

static int
catalog_by_handle(const void *a, const void *b)
{
    const wi_handle_entry *x = a, *y = b;
    if (x->pid != y->pid) {
        return x->pid < y->pid ? -1 : 1;
    }
    return x->handle < y->handle ? -1 : x->handle > y->handle;
}

/* Count a handle of a target in the current process, or note the error. */
static void
catalog_touch(catalog_search *search, catalog_target *target, DWORD error)
{
    if (target->handles == 0 && target->error == 0) {
        search->touched[search->touches++] = target;
    }
    target->handles += error == 0;
    target->error = error;
}

/* Count one handle for the targets whose object it is. copy is a handle of
 * this process of the same object; NULL if the entry tells its address. */
static void
catalog_count(catalog_search *search, const wi_handle_entry *entry,
              HANDLE copy)
{
    catalog_target wanted = {.entry = *entry}, *key = &wanted;
    if (copy != NULL) {
        BOOL ask = search->types[entry->type].what == CATALOG_ASK_NAME;
        if (ask && !catalog_may_ask(copy)) {
            return; /* the handle's number is another object's by now */
        }
        wanted.name = catalog_name(copy, ask);
        search->no_memory = search->no_memory || wanted.name == NULL;
    }
    catalog_target **end = search->order + search->count;
    catalog_target **at = search->no_memory
                              ? NULL
                              : bsearch(&key, search->order, search->count,
                                        sizeof(key), catalog_by_object);
    while (at != NULL && at > search->order &&
           catalog_by_object(at - 1, &key) == 0) {
        at--;
    }
    for (; at != NULL && at < end && catalog_by_object(at, &key) == 0; at++) {
        if (copy == NULL || (*at)->only ||
            WI_NT_SUCCESS(NtCompareObjects((*at)->handle, copy))) {
            catalog_touch(search, *at, 0);
        }
    }
    wi_heap_free(wanted.name);
}

/* Note for all targets of the entry's type, once, that the entry's process
 * could not be opened. */
static void
catalog_refused(catalog_search *search, const wi_handle_entry *entry,
                DWORD error)
{
    catalog_type *type = &search->types[entry->type];
    if (type->refused == entry->pid) {
        return;
    }
    type->refused = entry->pid;
    for (size_t i = 0; i < search->count; i++) {
        if (search->targets[i].entry.type == entry->type) {
            catalog_touch(search, &search->targets[i], error);
        }
    }
}

/* Count the handles of one process; entries are those of its handles. */
static void
catalog_look_into(catalog_search *search, const wi_handle_entry *entries,
                  ULONG_PTR count)
{
    const BOOL own = entries->pid == GetCurrentProcessId();
    HANDLE process = own ? GetCurrentProcess() : NULL;
    DWORD err = 0;
    for (ULONG_PTR i = 0; i < count && !search->no_memory; i++) {
        const wi_handle_entry *entry = &entries[i];
        HANDLE copy = NULL;
        if (search->types[entry->type].what == CATALOG_SKIP ||
            entry->handle == 0) {
            continue;
        }
        if (search->addressed && entry->object != NULL) {
            catalog_count(search, entry, NULL);
            continue;
        }
        if (process == NULL && err == 0) {
            process =
                OpenProcess(PROCESS_DUP_HANDLE, FALSE, (DWORD)entry->pid);
            err = process == NULL ? GetLastError() : 0;
        }
        if (err == ERROR_INVALID_PARAMETER) {
            return; /* the process has ended, and holds nothing */
        }
        if (process == NULL) {
            catalog_refused(search, entry, err);
        }
        /* The handle itself may be closed meanwhile; a copy stays. */
        else if (DuplicateHandle(process, (HANDLE)entry->handle,
                                 GetCurrentProcess(), &copy, 0, FALSE, 0)) {
            catalog_count(search, entry, copy);
            CloseHandle(copy);
        }
    }
    if (process != NULL && !own) {
        CloseHandle(process);
    }
}

/* Make room for `more` rows. */
static BOOL
catalog_make_room(catalog_search *search, size_t more)
{
    if (search->room - search->used >= more) {
        return TRUE;
    }
    size_t room = 2 * search->room + more;
    size_t bytes = room * sizeof(*search->rows);
    catalog_row *rows =
        search->rows == NULL
            ? HeapAlloc(GetProcessHeap(), 0, bytes)
            : HeapReAlloc(GetProcessHeap(), 0, search->rows, bytes);
    if (rows == NULL) {
        return FALSE;
    }
    search->rows = rows;
    search->room = room;
    return TRUE;
}

/* Make rows of what was found in one process, and reset the targets. */
static void
catalog_note(catalog_search *search, ULONG_PTR pid)
{
    if (!catalog_make_room(search, search->touches)) {
        search->no_memory = TRUE;
        return;
    }
    for (size_t i = 0; i < search->touches; i++) {
        catalog_target *target = search->touched[i];
        search->rows[search->used++] =
            (catalog_row){.target = (size_t)(target - search->targets),
                          .pid = pid,
                          .handles = target->handles,
                          .error = target->error};
        target->handles = target->error = 0;
    }
    search->touches = 0;
}

/* Whether two paths are of the same directory. */
static BOOL
catalog_same_directory(const wi_unicode_string *a, const wi_unicode_string *b)
{
    size_t i = a->length / sizeof(wchar_t), j = b->length / sizeof(wchar_t);
    while (i > 0 && a->buffer[i - 1] != L'\\') {
        i--;
    }
    while (j > 0 && b->buffer[j - 1] != L'\\') {
        j--;
    }
    return i > 0 && i == j &&
           memcmp(a->buffer, b->buffer, i * sizeof(wchar_t)) == 0;
}

/* Note what the target is found by. Its path is its name if that is so for the
 * known one, which is of the same directory, or NULL. FALSE if there is no memory. */
static BOOL
catalog_set_name(catalog_target *target, BOOL ask, const catalog_target *known)
{
    wi_unicode_string *path = target->path;
    if (ask && path != NULL && known != NULL &&
        catalog_same_directory(path, known->name)) {
        target->name = path;
        target->path = NULL;
        target->only = TRUE;
        return TRUE;
    }
    target->name = catalog_name(target->handle, ask);
    target->only =
        ask && path != NULL && target->name != NULL &&
        path->length == target->name->length &&
        memcmp(path->buffer, target->name->buffer, path->length) == 0;
    return target->name != NULL;
}

/* Find each target in the sorted list, and choose how its holders are found.
 * The caller's handles of the targets do not count: their numbers become 0.
 * FALSE if a target is not in the list, or memory is short. */
static BOOL
catalog_prepare(catalog_search *search, wi_handle_list *all, ULONG_PTR count)
{
    search->addressed = TRUE;
    for (size_t i = 0; i < search->count; i++) {
        catalog_target *target = &search->targets[i];
        wi_handle_entry key = {.pid = GetCurrentProcessId(),
                               .handle = (ULONG_PTR)target->handle};
        search->order[i] = target;
        target->own =
            bsearch(&key, all->entries, count, sizeof(key), catalog_by_handle);
        if (target->own == NULL) {
            return FALSE;
        }
        target->entry = *target->own;
        if (target->entry.object == NULL) {
            search->addressed = FALSE;
        }
        search->types[target->entry.type].targets++;
    }
    const catalog_target *known = NULL;
    for (size_t i = 0; i < search->count; i++) {
        catalog_target *target = &search->targets[i];
        catalog_type *type = &search->types[target->entry.type];
        target->own->handle = 0;
        if (type->what == CATALOG_SKIP) {
            BOOL many = type->targets > CATALOG_FEW;
            type->what = many && catalog_may_ask(target->handle)
                             ? CATALOG_ASK_NAME
                             : CATALOG_COMPARE;
        }
        if (search->addressed) {
            continue;
        }
        if (!catalog_set_name(target, type->what == CATALOG_ASK_NAME, known)) {
            search->no_memory = TRUE;
            return FALSE;
        }
        known = target->only ? target : known;
    }
    qsort(search->order, search->count, sizeof(*search->order),
          catalog_by_object);
    return TRUE;
}

/* Search the handles of all processes. The caller has given up the GIL. */
static void
catalog_look(catalog_search *search)
{
    ULONG_PTR count;
    wi_handle_list *all = catalog_all_handles(&search->status, &count);
    if (all == NULL) {
        return;
    }
    qsort(all->entries, count, sizeof(*all->entries), catalog_by_handle);
    BOOL ready = catalog_prepare(search, all, count);
    for (ULONG_PTR i = 0, end; ready && i < count; i = end) {
        ULONG_PTR pid = all->entries[i].pid;
        for (end = i; end < count && all->entries[end].pid == pid;) {
            end++;
        }
        catalog_look_into(search, all->entries + i, end - i);
        catalog_note(search, pid);
        ready = !search->no_memory;
    }
    wi_heap_free(all);
}

/* A list of lists: what was found for each target. */
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

static void
catalog_search_free(catalog_search *search)
{
    for (size_t i = 0; search != NULL && i < search->count; i++) {
        wi_heap_free(search->targets[i].name);
        wi_heap_free(search->targets[i].path);
    }
    if (search != NULL) {
        wi_heap_free(search->rows);
        PyMem_Free(search->touched);
        PyMem_Free(search->order);
        PyMem_Free(search->targets);
        PyMem_Free(search);
    }
}

/* A str as a string for HeapFree, or NULL for None and what is too long. -1 with an
 * exception. */
static int
catalog_string(PyObject *text, wi_unicode_string **result)
{
    wchar_t *wide;
    *result = NULL;
    if (wi_wide_name(text, &wide) < 0) {
        return -1;
    }
    size_t length = wide == NULL ? 0 : wcslen(wide);
    if (length > 0 && length <= CATALOG_NAME) {
        size_t bytes = length * sizeof(wchar_t);
        wi_unicode_string *string =
            HeapAlloc(GetProcessHeap(), 0, sizeof(*string) + bytes);
        if (string == NULL) {
            PyMem_Free(wide);
            PyErr_NoMemory();
            return -1;
        }
        string->length = string->maximum = (USHORT)bytes;
        string->buffer = (wchar_t *)(string + 1);
        memcpy(string->buffer, wide, bytes);
        *result = string;
    }
    PyMem_Free(wide);
    return 0;
}

/* A search for the holders of these handles; NULL with an exception. */
static catalog_search *
catalog_search_new(PyObject *list, PyObject *paths)
{
    if (PyList_Size(list) != PyList_Size(paths)) {
        PyErr_SetString(PyExc_ValueError, "each handle has a path, or None");
        return NULL;
    }
    catalog_search *search = PyMem_Calloc(1, sizeof(*search));
    if (search == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    size_t count = (size_t)PyList_Size(list);
    search->targets = PyMem_Calloc(count + 1, sizeof(*search->targets));
    search->order = PyMem_Calloc(count + 1, sizeof(*search->order));
    search->touched = PyMem_Calloc(count + 1, sizeof(*search->touched));
    if (search->targets == NULL || search->order == NULL ||
        search->touched == NULL) {
        PyErr_NoMemory();
        catalog_search_free(search);
        return NULL;
    }
    search->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!wi_handle_converter(PyList_GetItem(list, (Py_ssize_t)i),
                                 &search->targets[i].handle) ||
            catalog_string(PyList_GetItem(paths, (Py_ssize_t)i),
                           &search->targets[i].path) < 0) {
            catalog_search_free(search);
            return NULL;
        }
    }
    return search;
}

static PyObject *
catalog_holders(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *handles, *names, *result = NULL;
    if (!PyArg_ParseTuple(args, "OO:_holders", &handles, &names)) {
        return NULL;
    }
    PyObject *list = PySequence_List(handles), *paths = PySequence_List(names);
    catalog_search *search =
        list && paths ? catalog_search_new(list, paths) : NULL;
    if (search == NULL) {
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    catalog_look(search);
    Py_END_ALLOW_THREADS
    if (!WI_NT_SUCCESS(search->status)) {
        catalog_raise(search->status, "NtQuerySystemInformation", list);
        goto done;
    }
    if (search->no_memory) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < search->count; i++) {
        if (search->targets[i].entry.pid == 0) {
            wi_raise(ERROR_INVALID_HANDLE, "NtQuerySystemInformation",
                     PyList_GetItem(list, (Py_ssize_t)i));
            goto done;
        }
    }
    result = catalog_found(search);
done:
    catalog_search_free(search);
    Py_XDECREF(paths);
    Py_XDECREF(list);
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
    /* A pipe would answer only when its reader is done. */
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
            continue; /* it was closed meanwhile */
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
    {"_list_directory", catalog_list, METH_VARARGS,
     PyDoc_STR("_list_directory($module, path, step=1, /)\n--\n\n"
               "All entries, or those at multiples of step.\n\n"
               "Win32: NtOpenDirectoryObject, NtQueryDirectoryObject")},
    {"_open_object", catalog_open_object, METH_VARARGS,
     PyDoc_STR("_open_object($module, path, type, access, /)\n--\n\n"
               "Win32: NtOpenSection and its likes, NtQuerySection")},
    {"_close_handle", catalog_close, METH_O,
     PyDoc_STR("_close_handle($module, handle, /)\n--\n\n"
               "Win32: CloseHandle")},
    {"_holders", catalog_holders, METH_VARARGS,
     PyDoc_STR("_holders($module, handles, paths, /)\n--\n\n"
               "For each handle a (pid, handles, winerror) of each process.\n"
               "The path by which it was opened, or None, spares calls.")},
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

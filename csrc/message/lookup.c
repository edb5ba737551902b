/* lookup.c: windows of any process, found and asked about.
 *
 *     >>> _core._find_window("Untitled - Notepad", None, False)
 *     0x3065A
 *     >>> _core._window_class(0x3065A), _core._window_title(0x3065A)
 *     ('Notepad', 'Untitled - Notepad')
 *     >>> _core._window_process(0x3065A)   # (process id, thread id)
 *     (4711, 4712)
 *
 * Nothing here owns a window; any thread may call it. What may block runs
 * without the GIL. Wraps FindWindowEx, EnumWindows, GetClassName,
 * InternalGetWindowText, GetWindowThreadProcessId and IsWindow. */
#include "base/handles.h"
#include "message.h"

/* ---------------------------------------------------------------- handles */

int
wi_hwnd_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_param_converter(value, &number)) {
        return 0;
    }
    /* Handles of windows are 32 bits wide, extended either way. */
    if (number == 0 ||
        (number > UINT32_MAX && number < 0xFFFFFFFF80000000ULL)) {
        PyErr_Format(PyExc_ValueError, "%R is not a window handle", value);
        return 0;
    }
    *(HWND *)out = (HWND)(uintptr_t)number;
    return 1;
}

PyObject *
wi_hwnd_to_python(HWND hwnd)
{
    return PyLong_FromUnsignedLongLong((uintptr_t)hwnd & UINT32_MAX);
}

/* ---------------------------------------------------------------- look-up */

/* What windows are looked for by. Each is NULL for any; the class may be an
 * atom instead of a name, as FindWindowEx takes it. */
typedef struct {
    wchar_t *title, *class_name;
    ATOM atom;
    int message_only;
} lookup_filter;

static int
lookup_filter_init(lookup_filter *filter, PyObject *args, const char *format)
{
    PyObject *title, *class_arg;
    DWORD atom;
    memset(filter, 0, sizeof(*filter));
    if (!PyArg_ParseTuple(args, format, &title, &class_arg,
                          &filter->message_only)) {
        return -1;
    }
    if (!PyLong_Check(class_arg)) {
        if (wi_wide_name(class_arg, &filter->class_name) < 0) {
            return -1;
        }
    }
    else if (!wi_u32_converter(class_arg, &atom)) {
        return -1;
    }
    else if (atom == 0 || atom > 0xFFFF) {
        PyErr_Format(PyExc_ValueError, "%R is not the atom of a class",
                     class_arg);
        return -1;
    }
    else {
        filter->atom = (ATOM)atom;
    }
    if (wi_wide_name(title, &filter->title) < 0) {
        PyMem_Free(filter->class_name);
        return -1;
    }
    return 0;
}

static void
lookup_filter_clear(lookup_filter *filter)
{
    PyMem_Free(filter->title);
    PyMem_Free(filter->class_name);
}

PyDoc_STRVAR(
    find_window_doc,
    "_find_window($module, title, class_name, message_only, /)\n--\n\n"
    "The newest window with this title and class, or 0.");

static PyObject *
find_window(PyObject *Py_UNUSED(module), PyObject *args)
{
    lookup_filter filter;
    HWND hwnd;
    if (lookup_filter_init(&filter, args, "OOp:_find_window") < 0) {
        return NULL;
    }
    /* FindWindowEx's last error is meaningless when no window matches. */
    Py_BEGIN_ALLOW_THREADS
    hwnd = FindWindowExW(filter.message_only ? HWND_MESSAGE : NULL, NULL,
                         filter.atom != 0 ? MAKEINTATOM(filter.atom)
                                          : filter.class_name,
                         filter.title);
    Py_END_ALLOW_THREADS
    lookup_filter_clear(&filter);
    return wi_hwnd_to_python(hwnd);
}

/* Window handles, gathered without the GIL. */
typedef struct {
    HWND *items;
    size_t count, room;
    BOOL failed;
} hwnd_list;

static BOOL CALLBACK
hwnd_list_add(HWND hwnd, LPARAM lparam)
{
    hwnd_list *list = (hwnd_list *)lparam;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 256;
        HWND *items = list->items == NULL
                          ? HeapAlloc(GetProcessHeap(), 0, room * sizeof(HWND))
                          : HeapReAlloc(GetProcessHeap(), 0, list->items,
                                        room * sizeof(HWND));
        if (items == NULL) {
            list->failed = TRUE;
            return FALSE;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = hwnd;
    return TRUE;
}

/* The order may change during the walk, so that some come twice: a bound ends
 * what would go round. */
#define HWND_LIST_STEPS 65536

static void
hwnd_list_message_only(hwnd_list *list)
{
    for (int step = 0; step < HWND_LIST_STEPS && !list->failed; step++) {
        HWND last = list->count > 0 ? list->items[list->count - 1] : NULL;
        HWND next = FindWindowExW(HWND_MESSAGE, last, NULL, NULL);
        if (next != NULL) {
            hwnd_list_add(next, (LPARAM)list);
        }
        else if (last == NULL || GetWindow(last, GW_HWNDLAST) == last) {
            break;
        }
        else {
            /* It died or is about to, which takes it out of the list first,
             * or a new one has its handle: go on behind the one before. */
            list->count--;
        }
    }
}

static BOOL
lookup_same(const wchar_t *one, int length, const wchar_t *other)
{
    return CompareStringOrdinal(one, length, other, -1, TRUE) == CSTR_EQUAL;
}

/* Whether a window is looked for; titles and classes are compared as
 * FindWindowEx does. text has room for the title, a NUL and one more. */
static BOOL
lookup_matches(const lookup_filter *filter, HWND hwnd, wchar_t *text, int room)
{
    wchar_t name[257];
    return (filter->title == NULL ||
            lookup_same(text, InternalGetWindowText(hwnd, text, room),
                        filter->title)) &&
           (filter->class_name == NULL ||
            lookup_same(name, GetClassNameW(hwnd, name, Py_ARRAY_LENGTH(name)),
                        filter->class_name)) &&
           (filter->atom == 0 ||
            GetClassLongW(hwnd, GCW_ATOM) == filter->atom);
}

PyDoc_STRVAR(find_windows_doc,
             "_find_windows($module, title, class_name, message_only, /)\n"
             "--\n\n"
             "All top-level windows of the desktop, or all message-only\n"
             "ones, with this title and class, as a list of handles. One\n"
             "may come twice.");

static PyObject *
find_windows(PyObject *Py_UNUSED(module), PyObject *args)
{
    lookup_filter filter;
    hwnd_list list = {NULL, 0, 0, FALSE};
    PyObject *result = NULL;
    if (lookup_filter_init(&filter, args, "OOp:_find_windows") < 0) {
        return NULL;
    }
    size_t room = filter.title == NULL ? 2 : wcslen(filter.title) + 2;
    wchar_t *text = PyMem_Malloc(room * sizeof(*text));
    if (text == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    if (filter.message_only) {
        hwnd_list_message_only(&list);
    }
    else {
        EnumWindows(hwnd_list_add, (LPARAM)&list);
    }
    size_t kept = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (lookup_matches(&filter, list.items[i], text, (int)room)) {
            list.items[kept++] = list.items[i];
        }
    }
    list.count = kept;
    Py_END_ALLOW_THREADS
    result = list.failed ? PyErr_NoMemory() : PyList_New(0);
    for (size_t i = 0; result != NULL && i < list.count; i++) {
        PyObject *hwnd = wi_hwnd_to_python(list.items[i]);
        if (hwnd == NULL || PyList_Append(result, hwnd) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(hwnd);
    }
done:
    wi_heap_free(list.items);
    PyMem_Free(text);
    lookup_filter_clear(&filter);
    return result;
}

/* ---------------------------------------------------- queries on a window */

PyDoc_STRVAR(window_class_doc,
             "_window_class($module, hwnd, /)\n--\n\nThe class name.");

static PyObject *
window_class(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    wchar_t name[257];
    int length;
    Py_BEGIN_ALLOW_THREADS
    length = GetClassNameW(hwnd, name, Py_ARRAY_LENGTH(name));
    Py_END_ALLOW_THREADS
    if (length == 0) {
        /* ERROR_INVALID_WINDOW_HANDLE (1400) on Windows, 87 on Wine. */
        return wi_raise_format_as(PyExc_FileNotFoundError,
                                  ERROR_INVALID_WINDOW_HANDLE, "GetClassNameW",
                                  "window %p", (void *)hwnd);
    }
    return PyUnicode_FromWideChar(name, length);
}

PyDoc_STRVAR(window_title_doc,
             "_window_title($module, hwnd, /)\n--\n\n"
             "The title, as the desktop has it: the window's thread is not\n"
             "asked, so a hung one does no harm.");

static PyObject *
window_title(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    for (int room = 256;; room *= 4) {
        wchar_t *text = PyMem_Malloc((size_t)room * sizeof(wchar_t));
        if (text == NULL) {
            return PyErr_NoMemory();
        }
        int length;
        Py_BEGIN_ALLOW_THREADS
        length = InternalGetWindowText(hwnd, text, room);
        Py_END_ALLOW_THREADS
        if (length < room - 1 || room > 1 << 20) {
            PyObject *result = PyUnicode_FromWideChar(text, length);
            PyMem_Free(text);
            return result;
        }
        PyMem_Free(text);
    }
}

PyDoc_STRVAR(window_process_doc,
             "_window_process($module, hwnd, /)\n--\n\n"
             "(process id, thread id), (0, 0) when there is no such window.");

static PyObject *
window_process(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    DWORD tid;
    DWORD pid = wi_window_pid(hwnd, &tid);
    return Py_BuildValue("kk", (unsigned long)pid, (unsigned long)tid);
}

PyDoc_STRVAR(window_is_doc,
             "_window_is($module, hwnd, what, /)\n--\n\n"
             "Whether the window exists (0), is visible (1), is hung (2).");

static PyObject *
window_is(PyObject *Py_UNUSED(module), PyObject *args)
{
    HWND hwnd;
    int what;
    if (!PyArg_ParseTuple(args, "O&i:_window_is", wi_hwnd_converter, &hwnd,
                          &what)) {
        return NULL;
    }
    BOOL result;
    Py_BEGIN_ALLOW_THREADS
    result = what == 0   ? IsWindow(hwnd)
             : what == 1 ? IsWindowVisible(hwnd)
                         : IsHungAppWindow(hwnd);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(result);
}

static PyMethodDef lookup_functions[] = {
    {"_find_window", find_window, METH_VARARGS, find_window_doc},
    {"_find_windows", find_windows, METH_VARARGS, find_windows_doc},
    {"_window_class", window_class, METH_O, window_class_doc},
    {"_window_title", window_title, METH_O, window_title_doc},
    {"_window_process", window_process, METH_O, window_process_doc},
    {"_window_is", window_is, METH_VARARGS, window_is_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_lookup_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, lookup_functions);
}

/* lookup.c: finds windows of any process, and asks about them.
 *
 *     >>> _core._find_window("Untitled - Notepad", None, False)
 *     0x3065A
 *     >>> _core._window_class(0x3065A), _core._window_title(0x3065A)
 *     ('Notepad', 'Untitled - Notepad')
 *     >>> _core._window_process(0x3065A)   # (process id, thread id)
 *     (4711, 4712)
 *
 * Owner: nothing here owns a window. Thread: any. GIL: kept, as Windows itself
 * answers these calls and asks no thread of a window; _window_order gives it
 * up. Wraps FindWindowEx, EnumWindows, EnumChildWindows, GetClassName,
 * InternalGetWindowText, GetWindowThreadProcessId, GetAncestor, IsWindow,
 * IsHungAppWindow and SetWindowPos. */
#include "base/handles.h"
#include "message.h"

/* ---------------------------------------------------------------- handles */

int
wi_hwnd_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_param_converter(value, &number)) {
        return wi_wrong_type("a window handle must be an int", value);
    }
    /* A window handle has 32 bits, extended with zeros or with its sign. */
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

/* Which windows to find. A title or class that is NULL matches any; the class
 * may be an atom instead of a name, as for FindWindowEx. */
typedef struct {
    wchar_t *title, *class_name;
    int message_only;
    HWND parent;   /* of the windows to find, or NULL for all top-level ones */
    wchar_t *text; /* room for a title of title's length, a NUL and one more */
    int room;
    PyObject *found;
} lookup_filter;

static void
lookup_filter_clear(lookup_filter *filter)
{
    PyMem_Free(filter->title);
    PyMem_Free(filter->text);
    if (!IS_INTRESOURCE(filter->class_name)) {
        PyMem_Free(filter->class_name);
    }
}

static int
lookup_filter_init(lookup_filter *filter, PyObject *args)
{
    PyObject *title, *class_arg;
    DWORD atom;
    memset(filter, 0, sizeof(*filter));
    if (!PyArg_ParseTuple(args, "OOp|O&", &title, &class_arg,
                          &filter->message_only, wi_hwnd_converter,
                          &filter->parent)) {
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
        filter->class_name = MAKEINTATOM(atom);
    }
    if (wi_wide_name(title, &filter->title) < 0) {
        lookup_filter_clear(filter);
        return -1;
    }
    return 0;
}

static PyObject *
find_window(PyObject *Py_UNUSED(module), PyObject *args)
{
    lookup_filter filter;
    if (lookup_filter_init(&filter, args) < 0) {
        return NULL;
    }
    /* FindWindowEx's last error is meaningless when no window matches. */
    HWND hwnd = FindWindowExW(filter.message_only ? HWND_MESSAGE : NULL, NULL,
                              filter.class_name, filter.title);
    lookup_filter_clear(&filter);
    return wi_hwnd_to_python(hwnd);
}

static BOOL
lookup_same(const wchar_t *one, int length, const wchar_t *other)
{
    return CompareStringOrdinal(one, length, other, -1, TRUE) == CSTR_EQUAL;
}

/* Whether the filter takes a window. Compares titles and classes as
 * FindWindowEx does. */
static BOOL
lookup_matches(const lookup_filter *filter, HWND hwnd)
{
    wchar_t name[257];
    if (filter->title != NULL &&
        !lookup_same(filter->text,
                     InternalGetWindowText(hwnd, filter->text, filter->room),
                     filter->title)) {
        return FALSE;
    }
    if (filter->class_name != NULL && IS_INTRESOURCE(filter->class_name)) {
        return GetClassLongW(hwnd, GCW_ATOM) == (uintptr_t)filter->class_name;
    }
    return filter->class_name == NULL ||
           lookup_same(name, GetClassNameW(hwnd, name, Py_ARRAY_LENGTH(name)),
                       filter->class_name);
}

static BOOL CALLBACK
lookup_add(HWND hwnd, LPARAM lparam)
{
    lookup_filter *filter = (lookup_filter *)lparam;
    if (lookup_matches(filter, hwnd)) {
        wi_append(&filter->found, wi_hwnd_to_python(hwnd));
    }
    return filter->found != NULL;
}

/* A child of a message-only window is not one of those that are looked for. */
static BOOL CALLBACK
lookup_add_child(HWND hwnd, LPARAM lparam)
{
    HWND parent = ((lookup_filter *)lparam)->parent;
    return GetAncestor(hwnd, GA_PARENT) != parent || lookup_add(hwnd, lparam);
}

/* Find message-only windows. They have one common parent, which lists them all
 * at once; the parent of any one of them is that. FindWindowEx would have to
 * ask for the window after one that may be dying, and then the server of Wine
 * 10 never answers. */
static void
lookup_message_only(lookup_filter *filter)
{
    HWND any;
    do {
        any = FindWindowExW(HWND_MESSAGE, NULL, NULL, NULL);
        filter->parent = any == NULL ? NULL : GetAncestor(any, GA_PARENT);
    } while (any != NULL && filter->parent == NULL);
    if (any != NULL) {
        EnumChildWindows(filter->parent, lookup_add_child, (LPARAM)filter);
    }
}

static PyObject *
find_windows(PyObject *Py_UNUSED(module), PyObject *args)
{
    lookup_filter filter;
    if (lookup_filter_init(&filter, args) < 0) {
        return NULL;
    }
    filter.room = filter.title == NULL ? 0 : (int)wcslen(filter.title) + 2;
    filter.text = PyMem_Malloc((size_t)filter.room * sizeof(*filter.text));
    filter.found = filter.text == NULL ? PyErr_NoMemory() : PyList_New(0);
    if (filter.found == NULL) {
        /* no memory */
    }
    else if (filter.message_only) {
        lookup_message_only(&filter);
    }
    else if (filter.parent == NULL) {
        EnumWindows(lookup_add, (LPARAM)&filter);
    }
    else if (IsWindow(filter.parent)) {
        EnumChildWindows(filter.parent, lookup_add, (LPARAM)&filter);
    }
    else {
        wi_raise_format_as(PyExc_FileNotFoundError,
                           ERROR_INVALID_WINDOW_HANDLE, "EnumChildWindows",
                           "window %p", (void *)filter.parent);
    }
    if (PyErr_Occurred()) {
        Py_CLEAR(filter.found);
    }
    lookup_filter_clear(&filter);
    return filter.found;
}

/* ---------------------------------------------------- queries on a window */

static PyObject *
window_class(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    wchar_t name[257];
    int length = GetClassNameW(hwnd, name, Py_ARRAY_LENGTH(name));
    if (length == 0) {
        /* ERROR_INVALID_WINDOW_HANDLE (1400) on Windows, 87 on Wine. */
        return wi_raise_format_as(PyExc_FileNotFoundError,
                                  ERROR_INVALID_WINDOW_HANDLE, "GetClassNameW",
                                  "window %p", (void *)hwnd);
    }
    return PyUnicode_FromWideChar(name, length);
}

/* The title that the desktop has: it can be had of a hung window too. */
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
        int length = InternalGetWindowText(hwnd, text, room);
        if (length < room - 1 || room > 1 << 20) {
            PyObject *result = PyUnicode_FromWideChar(text, length);
            PyMem_Free(text);
            return result;
        }
        PyMem_Free(text);
    }
}

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

/* (its parent or 0, its control id). The desktop and the parent of all
 * message-only windows count as no parent. */
static PyObject *
window_place(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    HWND parent = GetAncestor(hwnd, GA_PARENT);
    if (parent == NULL || GetAncestor(parent, GA_PARENT) == NULL) {
        return Py_BuildValue("ii", 0, 0);
    }
    return Py_BuildValue("Ni", wi_hwnd_to_python(parent), GetDlgCtrlID(hwnd));
}

/* Whether a window exists (what = 0), is visible (1) or is hung (2). */
static PyObject *
window_is(PyObject *Py_UNUSED(module), PyObject *args)
{
    HWND hwnd;
    int what;
    if (!PyArg_ParseTuple(args, "O&i", wi_hwnd_converter, &hwnd, &what)) {
        return NULL;
    }
    return PyBool_FromLong(what == 0   ? IsWindow(hwnd)
                           : what == 1 ? IsWindowVisible(hwnd)
                                       : IsHungAppWindow(hwnd));
}

/* Put a window above all others, so that FindWindow finds it first, or below
 * all others. */
static PyObject *
window_order(PyObject *Py_UNUSED(module), PyObject *args)
{
    HWND hwnd;
    int top;
    if (!PyArg_ParseTuple(args, "O&p:_window_order", wi_hwnd_converter, &hwnd,
                          &top)) {
        return NULL;
    }
    BOOL ok;
    DWORD err;
    WI_CALL(err,
            ok = SetWindowPos(hwnd, top ? HWND_TOPMOST : HWND_BOTTOM, 0, 0, 0,
                              0, SWP_NOMOVE | SWP_NOSIZE | SWP_NOACTIVATE));
    if (!ok) {
        return wi_raise_format(err, "SetWindowPos", "window %p", (void *)hwnd);
    }
    Py_RETURN_NONE;
}

static PyMethodDef lookup_functions[] = {
    {"_find_window", find_window, METH_VARARGS,
     "_find_window($module, title, class_name, message_only, /)\n--\n\n"
     "The topmost one, or 0. Win32: FindWindowEx."},
    {"_find_windows", find_windows, METH_VARARGS,
     "_find_windows($module, title, class_name, message_only, parent=0, /)"
     "\n--\n\nWin32: EnumWindows, EnumChildWindows."},
    {"_window_class", window_class, METH_O,
     "_window_class($module, hwnd, /)\n--\n\nWin32: GetClassName."},
    {"_window_title", window_title, METH_O,
     "_window_title($module, hwnd, /)\n--\n\nWin32: InternalGetWindowText."},
    {"_window_process", window_process, METH_O,
     "_window_process($module, hwnd, /)\n--\n\n"
     "(process id, thread id). Win32: GetWindowThreadProcessId."},
    {"_window_place", window_place, METH_O,
     "_window_place($module, hwnd, /)\n--\n\n"
     "(parent, id). Win32: GetAncestor, GetDlgCtrlID."},
    {"_window_is", window_is, METH_VARARGS,
     "_window_is($module, hwnd, what, /)\n--\n\n"
     "Whether it exists (what = 0), is visible (1) or is hung (2).\n\n"
     "Win32: IsWindow, IsWindowVisible, IsHungAppWindow."},
    {"_window_order", window_order, METH_VARARGS,
     "_window_order($module, hwnd, top, /)\n--\n\nWin32: SetWindowPos."},
    {NULL, NULL, 0, NULL},
};

int
wi_lookup_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, lookup_functions);
}

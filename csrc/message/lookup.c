/* lookup.c: windows of any process, found and asked about.
 *
 *     >>> _core._find_window(None, "Untitled - Notepad", False)
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

PyDoc_STRVAR(
    find_window_doc,
    "_find_window($module, class_name, title, message_only, /)\n--\n\n"
    "The newest window with this class and title, or 0.");

static PyObject *
find_window(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *class_arg, *title_arg;
    int message_only;
    wchar_t *class_name = NULL, *title = NULL;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "OOp:_find_window", &class_arg, &title_arg,
                          &message_only)) {
        return NULL;
    }
    if (wi_wide_name(class_arg, &class_name) < 0 ||
        wi_wide_name(title_arg, &title) < 0) {
        goto done;
    }
    HWND hwnd;
    /* FindWindowEx's last error is meaningless when no window matches. */
    Py_BEGIN_ALLOW_THREADS
    hwnd = FindWindowExW(message_only ? HWND_MESSAGE : NULL, NULL, class_name,
                         title);
    Py_END_ALLOW_THREADS
    result = wi_hwnd_to_python(hwnd);
done:
    PyMem_Free(class_name);
    PyMem_Free(title);
    return result;
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

PyDoc_STRVAR(enum_windows_doc,
             "_enum_windows($module, message_only, /)\n--\n\n"
             "All top-level windows of the desktop, or all message-only\n"
             "ones, as a list of handles.");

static PyObject *
enum_windows(PyObject *Py_UNUSED(module), PyObject *arg)
{
    hwnd_list list = {NULL, 0, 0, FALSE};
    int message_only = PyObject_IsTrue(arg);
    if (message_only < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    if (message_only) {
        /* The order may change under us: a bound ends what would go round. */
        HWND hwnd = NULL;
        while (list.count < 65536 &&
               (hwnd = FindWindowExW(HWND_MESSAGE, hwnd, NULL, NULL)) !=
                   NULL &&
               hwnd_list_add(hwnd, (LPARAM)&list)) {
        }
    }
    else {
        EnumWindows(hwnd_list_add, (LPARAM)&list);
    }
    Py_END_ALLOW_THREADS
    PyObject *result = list.failed ? PyErr_NoMemory() : PyList_New(0);
    for (size_t i = 0; result != NULL && i < list.count; i++) {
        PyObject *hwnd = wi_hwnd_to_python(list.items[i]);
        if (hwnd == NULL || PyList_Append(result, hwnd) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(hwnd);
    }
    if (list.items != NULL) {
        HeapFree(GetProcessHeap(), 0, list.items);
    }
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
    {"_enum_windows", enum_windows, METH_O, enum_windows_doc},
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

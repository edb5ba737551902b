/* waits.c: waits for one or all of up to 64 objects or numbers of handles.
 *
 *     index = _core._wait((mutex, event, 1234), 5.0)    # -1: time-out
 *     index = _core._wait((mutex, semaphore), 5.0, True)    # all: 0
 *     _core._can_give_back(event), _core._give_back([event])
 *
 * Owner: the caller's tuple; a wait pins each object. Thread: any; the calling
 * thread holds a mutex that a wait took. GIL: given up to wait. Windows waits
 * for at most 64 handles; winipc.sync.waits makes longer waits of several. */
#include "waitable.h"

typedef struct {
    PyObject *tuple;                           /* keeps the objects alive */
    DWORD count;                               /* each of them pinned */
    SyncObject *objects[MAXIMUM_WAIT_OBJECTS]; /* NULL for a number */
    HANDLE handles[MAXIMUM_WAIT_OBJECTS];
} waits_set;

/* -------------------------------------------------------------- arguments */

int
sync_target(wi_state *state, PyObject *value, SyncObject **object,
            HANDLE *handle)
{
    *object = NULL;
    if (PyObject_TypeCheck(value, state->waitable_type)) {
        SyncObject *self = (SyncObject *)value;
        if (wi_check_open(self, self->handle) < 0) {
            return -1;
        }
        self->pins++;
        *object = self;
        *handle = self->handle;
        return 0;
    }
    if (!PyIndex_Check(value)) {
        PyErr_Format(PyExc_TypeError,
                     "a wait takes Mutex, Event, Semaphore or the number of a "
                     "handle, not %R",
                     (PyObject *)Py_TYPE(value));
        return -1;
    }
    return wi_handle_converter(value, handle) ? 0 : -1;
}

static void
waits_clear(waits_set *set)
{
    for (DWORD i = 0; i < set->count; i++) {
        if (set->objects[i] != NULL) {
            set->objects[i]->pins--;
        }
    }
    Py_CLEAR(set->tuple);
}

/* Refuse a handle that is given twice: WaitForMultipleObjects would fail with
 * ERROR_INVALID_PARAMETER (87), which does not say why. */
static int
waits_add(waits_set *set, wi_state *state, PyObject *value)
{
    DWORD at = set->count;
    if (sync_target(state, value, &set->objects[at], &set->handles[at]) < 0) {
        return -1;
    }
    set->count++;
    for (DWORD i = 0; i < at; i++) {
        if (set->handles[i] == set->handles[at]) {
            PyErr_SetString(PyExc_ValueError,
                            "the same object is given twice");
            return -1;
        }
    }
    return 0;
}

static int
waits_init(waits_set *set, wi_state *state, PyObject *objects)
{
    set->count = 0;
    set->tuple = PySequence_Tuple(objects);
    if (set->tuple == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(set->tuple);
    int failed = count < 1 || count > MAXIMUM_WAIT_OBJECTS;
    if (count == 0) {
        PyErr_SetString(PyExc_ValueError, "there is no object to wait for");
    }
    else if (failed) {
        PyErr_Format(PyExc_ValueError, "a wait takes 1 to %d objects, not %zd",
                     MAXIMUM_WAIT_OBJECTS, count);
    }
    for (Py_ssize_t i = 0; i < count && !failed; i++) {
        failed = waits_add(set, state, PyTuple_GetItem(set->tuple, i)) < 0;
    }
    if (failed) {
        waits_clear(set);
    }
    return failed ? -1 : 0;
}

/* ------------------------------------------------------------------ waits */

/* Note that the wait took the objects from `first` up to `end` for the calling
 * thread. AbandonedError if a mutex among them was abandoned. Windows does not
 * say which one: all are marked, except those that this thread held before. */
static int
waits_took(wi_state *state, waits_set *set, DWORD first, DWORD end,
           int abandoned)
{
    SyncObject *mutex = NULL;
    for (DWORD i = first; i < end; i++) {
        SyncObject *object = set->objects[i];
        if (object != NULL && object->kind == SYNC_MUTEX) {
            int mine =
                object->held > 0 && object->owner == GetCurrentThreadId();
            sync_taken(object, abandoned && !mine);
            if (mutex == NULL && !mine) {
                mutex = object;
            }
        }
    }
    if (!abandoned) {
        return 0;
    }
    if (mutex != NULL) {
        sync_raise_abandoned(mutex, "WaitForMultipleObjects");
        return -1;
    }
    /* It was given by its number; of several, it is not known which. */
    size_t handle = (size_t)(uintptr_t)set->handles[first];
    int single = end - first == 1;
    PyObject *label =
        single ? PyUnicode_FromFormat("handle %zu", handle)
               : PyUnicode_FromFormat("one of %u handles", (unsigned int)end);
    PyObject *number = single ? PyLong_FromSize_t(handle) : Py_NewRef(Py_None);
    if (label != NULL && number != NULL) {
        wi_raise_abandoned(state, "WaitForMultipleObjects", label, number);
    }
    Py_XDECREF(label);
    Py_XDECREF(number);
    return -1;
}

PyDoc_STRVAR(
    waits_wait_doc,
    "_wait($module, objects, timeout, all=False, slices=True, /)\n--\n\n"
    "The index of the object that ended the wait, or -1 for a time-out.\n"
    "With slices the thread checks for signals ten times a second;\n"
    "slices=False is for a thread that Ctrl+C need not reach.\n\n"
    "Win32: WaitForMultipleObjects");

static PyObject *
waits_wait(PyObject *module, PyObject *args)
{
    wi_state *state = PyModule_GetState(module);
    PyObject *objects;
    uint64_t timeout_ms;
    int all = 0, slices = 1;
    waits_set set;
    if (!PyArg_ParseTuple(args, "OO&|pp:_wait", &objects, wi_timeout_converter,
                          &timeout_ms, &all, &slices) ||
        waits_init(&set, state, objects) < 0) {
        return NULL;
    }
    DWORD result =
        wi_wait(set.handles, set.count, all ? WI_WAIT_ALL : WI_WAIT_ANY,
                timeout_ms, slices ? WI_WAIT_SLICE_MS : INFINITE);
    int failed = result == WAIT_FAILED;
    long index = -1;
    if (!failed && result != WAIT_TIMEOUT) {
        int abandoned = result >= WAIT_ABANDONED_0;
        DWORD at = result - (abandoned ? WAIT_ABANDONED_0 : WAIT_OBJECT_0);
        index = all ? 0 : (long)at;
        failed = waits_took(state, &set, all ? 0 : at,
                            all ? set.count : at + 1, abandoned) < 0;
    }
    waits_clear(&set);
    return failed ? NULL : PyLong_FromLong(index);
}

PyDoc_STRVAR(waits_check_timeout_doc,
             "_check_timeout($module, timeout, /)\n--\n\n"
             "Check a time-out: seconds as a float, or None for forever.");

static PyObject *
waits_check_timeout(PyObject *Py_UNUSED(module), PyObject *value)
{
    uint64_t timeout_ms;
    if (!wi_timeout_converter(value, &timeout_ms)) {
        return NULL;
    }
    if (timeout_ms == WI_FOREVER) {
        Py_RETURN_NONE;
    }
    return PyNumber_Float(value);
}

PyDoc_STRVAR(waits_can_give_back_doc,
             "_can_give_back($module, object, /)\n--\n\n"
             "Whether a wait that took this object can be undone.\n\n"
             "Win32: NtQueryEvent, NtQuerySemaphore, GetExitCodeProcess");

static PyObject *
waits_can_give_back(PyObject *module, PyObject *value)
{
    SyncObject *object;
    HANDLE handle;
    if (sync_target(PyModule_GetState(module), value, &object, &handle) < 0) {
        return NULL;
    }
    sync_undo undo = sync_undo_of(object, handle);
    if (object != NULL) {
        object->pins--;
    }
    return PyBool_FromLong(undo != SYNC_UNDO_FINAL);
}

PyDoc_STRVAR(waits_give_back_doc, "_give_back($module, objects, /)\n--\n\n"
                                  "Undo a wait that took these objects.\n\n"
                                  "Win32: SetEvent, ReleaseSemaphore");

static PyObject *
waits_give_back(PyObject *module, PyObject *objects)
{
    PyObject *tuple = PySequence_Tuple(objects);
    Py_ssize_t count = tuple == NULL ? 0 : PyTuple_Size(tuple);
    for (Py_ssize_t i = 0; i < count; i++) {
        SyncObject *object;
        HANDLE handle;
        if (sync_target(PyModule_GetState(module), PyTuple_GetItem(tuple, i),
                        &object, &handle) < 0) {
            PyErr_Clear(); /* it was closed meanwhile: go on with the others */
            continue;
        }
        sync_give_back(handle, sync_undo_of(object, handle));
        if (object != NULL) {
            object->pins--;
        }
    }
    Py_XDECREF(tuple);
    return tuple == NULL ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef waits_methods[] = {
    {"_wait", waits_wait, METH_VARARGS, waits_wait_doc},
    {"_check_timeout", waits_check_timeout, METH_O, waits_check_timeout_doc},
    {"_can_give_back", waits_can_give_back, METH_O, waits_can_give_back_doc},
    {"_give_back", waits_give_back, METH_O, waits_give_back_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_waits_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    if (PyModule_AddFunctions(module, waits_methods) < 0) {
        return -1;
    }
    return PyModule_AddIntConstant(module, "WAIT_SLICE_MS", WI_WAIT_SLICE_MS);
}

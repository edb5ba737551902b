/* waits.c: waits for one or all of up to 64 objects, and of handle numbers.
 *
 *     index = _core._wait_any((mutex, event, 1234), 5.0)    # -1: time-out
 *     taken = _core._wait_all((mutex, semaphore), 5.0)
 *
 * Owner: the caller's tuple; each object is pinned during the wait. A mutex
 * is the calling thread's then. Waits run without the GIL. Windows waits for
 * 64 handles at most: winipc.sync.waits makes waits for more of these. */
#include "waitable.h"

/* Three outcomes of a wait; WAITS_FAILED has an exception set. */
typedef enum { WAITS_FAILED = -1, WAITS_LATE, WAITS_TOOK } waits_outcome;

typedef struct {
    PyObject *tuple; /* keeps the objects alive */
    DWORD count;
    DWORD pinned;                              /* how many are pinned */
    SyncObject *objects[MAXIMUM_WAIT_OBJECTS]; /* NULL for a number */
    HANDLE handles[MAXIMUM_WAIT_OBJECTS];
} waits_set;

/* -------------------------------------------------------------- arguments */

static void
waits_clear(waits_set *set)
{
    for (DWORD i = 0; i < set->pinned; i++) {
        if (set->objects[i] != NULL) {
            set->objects[i]->pins--;
        }
    }
    Py_CLEAR(set->tuple);
}

/* Look at each item; a number's __index__ may run any Python code. */
static int
waits_parse(waits_set *set, wi_state *state)
{
    for (DWORD i = 0; i < set->count; i++) {
        PyObject *value = PyTuple_GetItem(set->tuple, i);
        if (PyObject_TypeCheck(value, state->waitable_type)) {
            set->objects[i] = (SyncObject *)value;
        }
        else if (!PyIndex_Check(value)) {
            PyErr_Format(PyExc_TypeError,
                         "a wait takes Mutex, Event, Semaphore or the number "
                         "of a handle, not %R",
                         (PyObject *)Py_TYPE(value));
            return -1;
        }
        else if (!wi_handle_converter(value, &set->handles[i])) {
            return -1;
        }
    }
    return 0;
}

/* Pin the objects, which may have been closed while the numbers were parsed.
 * WaitForMultipleObjects refuses the same handle twice with a bare 87. */
static int
waits_pin(waits_set *set)
{
    for (DWORD i = 0; i < set->count; i++) {
        SyncObject *object = set->objects[i];
        if (object != NULL) {
            if (object->handle == NULL) {
                PyErr_Format(PyExc_ValueError, "object %lu is closed",
                             (unsigned long)i);
                return -1;
            }
            object->pins++;
            set->handles[i] = object->handle;
        }
        set->pinned = i + 1;
        for (DWORD j = 0; j < i; j++) {
            if (set->handles[j] == set->handles[i]) {
                PyErr_SetString(PyExc_ValueError,
                                "the same object is given twice");
                return -1;
            }
        }
    }
    return 0;
}

static int
waits_init(waits_set *set, wi_state *state, PyObject *objects)
{
    memset(set, 0, sizeof(*set));
    set->tuple = PySequence_Tuple(objects);
    if (set->tuple == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(set->tuple);
    if (count < 1 || count > MAXIMUM_WAIT_OBJECTS) {
        PyErr_Format(PyExc_ValueError, "a wait takes 1 to %d objects, not %zd",
                     MAXIMUM_WAIT_OBJECTS, count);
    }
    else {
        set->count = (DWORD)count;
        if (waits_parse(set, state) == 0 && waits_pin(set) == 0) {
            return 0;
        }
    }
    waits_clear(set);
    return -1;
}

/* ---------------------------------------------------------------- results */

/* AbandonedError about mutexes that are known by number only: `mutex` is the
 * number, or None where it may be any of them. Steals both references. */
static int
waits_raise_abandoned(wi_state *state, PyObject *label, PyObject *number)
{
    if (label != NULL && number != NULL) {
        wi_raise_abandoned(state, "WaitForMultipleObjects", label, number);
    }
    Py_XDECREF(label);
    Py_XDECREF(number);
    return -1;
}

/* Book what the wait took for the calling thread; -1 with AbandonedError. */
static int
waits_took(wi_state *state, waits_set *set, DWORD index, int abandoned)
{
    SyncObject *object = set->objects[index];
    size_t number = (size_t)(uintptr_t)set->handles[index];
    if (object == NULL && abandoned) {
        return waits_raise_abandoned(
            state, PyUnicode_FromFormat("handle %zu", number),
            PyLong_FromSize_t(number));
    }
    if (object == NULL || object->kind != SYNC_MUTEX) {
        return 0;
    }
    sync_taken(object, abandoned);
    if (abandoned) {
        sync_raise_abandoned(object, "WaitForMultipleObjects");
        return -1;
    }
    return 0;
}

/* Book all mutexes; AbandonedError when one or more were abandoned. Which of
 * them it was Windows does not tell, so all are marked, but for those that
 * this thread held already. */
static int
waits_took_all(wi_state *state, waits_set *set, int abandoned)
{
    SyncObject *first = NULL;
    for (DWORD i = 0; i < set->count; i++) {
        SyncObject *object = set->objects[i];
        if (object != NULL && object->kind == SYNC_MUTEX) {
            int mine =
                object->held > 0 && object->owner == GetCurrentThreadId();
            sync_taken(object, abandoned && !mine);
            if (first == NULL && !mine) {
                first = object;
            }
        }
    }
    if (abandoned && first != NULL) {
        sync_raise_abandoned(first, "WaitForMultipleObjects");
        return -1;
    }
    if (abandoned) {
        return waits_raise_abandoned(
            state,
            PyUnicode_FromFormat("one of %lu handles",
                                 (unsigned long)set->count),
            Py_NewRef(Py_None));
    }
    return 0;
}

/* ------------------------------------------------------------------- waits */

/* Wait with a look at Ctrl+C now and then, or without. *index is that of the
 * object that ended the wait for one. */
static waits_outcome
waits_wait(waits_set *set, BOOL all, uint64_t timeout_ms, int slices,
           DWORD *index, int *abandoned)
{
    DWORD err;
    DWORD result = WaitForMultipleObjects(set->count, set->handles, all, 0);
    err = GetLastError();
    if (result == WAIT_TIMEOUT && timeout_ms > 0) {
        if (slices) {
            result = wi_wait(set->handles, set->count, all, timeout_ms);
            if (result == WAIT_FAILED) {
                return WAITS_FAILED;
            }
        }
        else {
            DWORD ms = timeout_ms < INFINITE ? (DWORD)timeout_ms : INFINITE;
            WI_CALL(err, result = WaitForMultipleObjects(
                             set->count, set->handles, all, ms));
        }
    }
    if (result == WAIT_FAILED) {
        wi_raise_format(err, "WaitForMultipleObjects", "%lu handles",
                        (unsigned long)set->count);
        return WAITS_FAILED;
    }
    if (result == WAIT_TIMEOUT) {
        return WAITS_LATE;
    }
    *abandoned = result >= WAIT_ABANDONED_0;
    *index = result - (*abandoned ? WAIT_ABANDONED_0 : WAIT_OBJECT_0);
    return WAITS_TOOK;
}

PyDoc_STRVAR(waits_any_doc,
             "_wait_any($module, /, objects, timeout=None, slices=True)\n"
             "--\n\n"
             "Index of the object that ended the wait, or -1 for a timeout.\n"
             "slices=False is for a thread that needs no Ctrl+C: it sleeps\n"
             "through, where others look for signals ten times a second.\n\n"
             "Win32: WaitForMultipleObjects");

static PyObject *
waits_any(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"objects", "timeout", "slices", NULL};
    wi_state *state = PyModule_GetState(module);
    PyObject *objects;
    uint64_t timeout_ms = WI_FOREVER;
    int slices = 1, abandoned = 0;
    waits_set set;
    DWORD index = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O&p:_wait_any", keywords,
                                     &objects, wi_timeout_converter,
                                     &timeout_ms, &slices) ||
        waits_init(&set, state, objects) < 0) {
        return NULL;
    }
    waits_outcome outcome =
        waits_wait(&set, FALSE, timeout_ms, slices, &index, &abandoned);
    if (outcome == WAITS_TOOK &&
        waits_took(state, &set, index, abandoned) < 0) {
        outcome = WAITS_FAILED;
    }
    waits_clear(&set);
    if (outcome == WAITS_FAILED) {
        return NULL;
    }
    return PyLong_FromLong(outcome == WAITS_TOOK ? (long)index : -1);
}

PyDoc_STRVAR(waits_all_doc,
             "_wait_all($module, /, objects, timeout=None)\n--\n\n"
             "True when all were taken, False for a timeout.\n\n"
             "Win32: WaitForMultipleObjects");

static PyObject *
waits_all(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"objects", "timeout", NULL};
    wi_state *state = PyModule_GetState(module);
    PyObject *objects;
    uint64_t timeout_ms = WI_FOREVER;
    int abandoned = 0;
    waits_set set;
    DWORD index;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O&:_wait_all", keywords,
                                     &objects, wi_timeout_converter,
                                     &timeout_ms) ||
        waits_init(&set, state, objects) < 0) {
        return NULL;
    }
    waits_outcome outcome =
        waits_wait(&set, TRUE, timeout_ms, 1, &index, &abandoned);
    if (outcome == WAITS_TOOK && waits_took_all(state, &set, abandoned) < 0) {
        outcome = WAITS_FAILED;
    }
    waits_clear(&set);
    return outcome == WAITS_FAILED ? NULL
                                   : PyBool_FromLong(outcome == WAITS_TOOK);
}

PyDoc_STRVAR(
    waits_check_timeout_doc,
    "_check_timeout($module, timeout, /)\n--\n\n"
    "A timeout as every wait takes it: seconds, or None for forever.");

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
             "_can_give_back($module, handle, /)\n--\n\n"
             "Whether a wait that took the handle can be undone.\n\n"
             "Win32: NtQueryEvent, NtQuerySemaphore, GetExitCodeProcess");

static PyObject *
waits_can_give_back(PyObject *Py_UNUSED(module), PyObject *value)
{
    HANDLE handle;
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    return PyBool_FromLong(sync_undo_of(handle) != SYNC_UNDO_FINAL);
}

PyDoc_STRVAR(waits_give_back_doc, "_give_back($module, handle, /)\n--\n\n"
                                  "Undo a wait that took the handle.\n\n"
                                  "Win32: SetEvent, ReleaseSemaphore");

static PyObject *
waits_give_back(PyObject *Py_UNUSED(module), PyObject *value)
{
    HANDLE handle;
    if (!wi_handle_converter(value, &handle)) {
        return NULL;
    }
    sync_give_back(handle, sync_undo_of(handle));
    Py_RETURN_NONE;
}

static PyMethodDef waits_methods[] = {
    {"_wait_any", WI_WORDS(waits_any), waits_any_doc},
    {"_wait_all", WI_WORDS(waits_all), waits_all_doc},
    {"_check_timeout", waits_check_timeout, METH_O, waits_check_timeout_doc},
    {"_can_give_back", waits_can_give_back, METH_O, waits_can_give_back_doc},
    {"_give_back", waits_give_back, METH_O, waits_give_back_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_waits_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, waits_methods);
}

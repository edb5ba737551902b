/* mutex.c: Mutex, a lock that one thread of one process holds at a time.
 *
 *     mutex = Mutex._open("Local\\lock", access)
 *     mutex.acquire(timeout=5)      # AbandonedError: its thread ended
 *     mutex.held, mutex.abandoned
 *     mutex.release()
 *     with mutex:                   # acquires and releases
 *         ...
 *
 * Owner: the object owns its handle. Thread: any; the mutex belongs to the
 * thread that took it, and only that thread can release it. GIL: given up to
 * wait.
 *
 * Each object notes which thread took the mutex through it, and how often:
 * Windows tells that to the owning thread only. */
#include "waitable.h"

/* ---------------------------------------------------------------- helpers */

void
sync_raise_abandoned(SyncObject *self, const char *api)
{
    PyObject *label = sync_label(self);
    if (label != NULL) {
        wi_raise_abandoned(self->state, api, label, (PyObject *)self);
        Py_DECREF(label);
    }
}

void
sync_taken(SyncObject *self, int abandoned)
{
    DWORD me = GetCurrentThreadId();
    if (self->owner == me && !abandoned) {
        self->held++;
    }
    else {
        self->owner = me;
        self->held = 1;
        self->abandoned = 0;
    }
    if (abandoned) {
        self->abandoned = 1;
    }
}

/* Note that the calling thread has released it once. */
static void
mutex_released(SyncObject *self)
{
    if (self->owner == GetCurrentThreadId() && self->held > 0 &&
        --self->held == 0) {
        self->owner = 0;
        self->abandoned = 0;
    }
}

int
sync_is_held(SyncObject *self)
{
    if (self->handle == NULL || self->held == 0) {
        return 0;
    }
    /* The thread may have released it through another handle, or may be gone.
     * The kernel knows, if the handle has the right to ask. */
    int mine = self->owner == GetCurrentThreadId();
    sync_info info;
    if (!WI_NT_SUCCESS(sync_ask(SYNC_MUTEX, self->handle, &info))) {
        HANDLE thread = OpenThread(SYNCHRONIZE, FALSE, self->owner);
        if (thread == NULL) {
            return 0;
        }
        DWORD result = WaitForSingleObject(thread, 0);
        CloseHandle(thread);
        return result == WAIT_TIMEOUT;
    }
    return info.mutex.count <= 0 && !info.mutex.abandoned &&
           (!mine || info.mutex.owned_by_caller);
}

int
wi_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                uint64_t *timeout_ms, int *accept)
{
    static const char *const names[] = {"timeout", "abandoned", NULL};
    PyObject *given[2];
    if (wi_fast_args("acquire", names, 0, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    PyObject *abandoned = given[1];
    if (abandoned != NULL) {
        int is_str = PyUnicode_Check(abandoned);
        *accept = is_str &&
                  PyUnicode_CompareWithASCIIString(abandoned, "accept") == 0;
        if (!*accept && !(is_str && PyUnicode_CompareWithASCIIString(
                                        abandoned, "raise") == 0)) {
            PyErr_Format(PyExc_ValueError,
                         "abandoned must be 'raise' or 'accept', not %R",
                         abandoned);
            return -1;
        }
    }
    return wi_timeout_converter(given[0] == NULL ? Py_None : given[0],
                                timeout_ms)
               ? 0
               : -1;
}

/* ---------------------------------------------------------------- methods */

PyDoc_STRVAR(
    mutex_acquire_doc,
    "acquire($self, timeout=None, abandoned='raise')\n--\n\n"
    "Take the mutex for the calling thread: True, or False after `timeout`.\n"
    "\n"
    "`timeout` is in seconds, None for forever. Ctrl+C ends the wait. A\n"
    "thread that holds the mutex may take it again, and has to release it as\n"
    "often. Waits without the GIL.\n\n"
    "With abandoned='accept', AbandonedError becomes the result True, and "
    "the\n"
    "attribute `abandoned` says so.\n\n"
    "Raises:\n"
    "    AbandonedError: The thread that held the mutex ended without\n"
    "        releasing it. Then the caller holds the mutex: check what it\n"
    "        protects, and release it.\n\n"
    "Win32: WaitForSingleObject");

static PyObject *
mutex_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    uint64_t timeout_ms;
    DWORD result;
    int accept = 0;
    if (wi_acquire_args(args, nargs, kwnames, &timeout_ms, &accept) < 0 ||
        sync_wait((SyncObject *)op, timeout_ms, &result) < 0) {
        return NULL;
    }
    if (result == WAIT_ABANDONED_0 && !accept) {
        sync_raise_abandoned((SyncObject *)op, "WaitForSingleObject");
        return NULL;
    }
    return PyBool_FromLong(result != WAIT_TIMEOUT);
}

PyDoc_STRVAR(
    mutex_release_doc,
    "release($self, /)\n--\n\n"
    "Release the mutex once; each acquire() needs one release().\n\n"
    "Call it on the object that took the mutex: if the thread that holds\n"
    "the mutex collects that object, the mutex is released too.\n\n"
    "Raises:\n"
    "    OSError: The calling thread does not hold the mutex (winerror\n"
    "        288, ERROR_NOT_OWNER).\n\n"
    "Win32: ReleaseMutex");

static PyObject *
mutex_release(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SyncObject *self = (SyncObject *)op;
    DWORD err;
    BOOL ok;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = ReleaseMutex(self->handle));
    if (!ok) {
        return sync_raise(self, err,
                          err == ERROR_NOT_OWNER
                              ? "this thread does not hold the mutex"
                              : NULL,
                          "ReleaseMutex");
    }
    mutex_released(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(mutex_enter_doc,
             "__enter__($self, /)\n--\n\n"
             "acquire(), and return the mutex.\n\n"
             "If it was abandoned, it is released again and AbandonedError\n"
             "is raised: the block does not run.\n\n"
             "Win32: WaitForSingleObject");

static PyObject *
mutex_enter(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SyncObject *self = (SyncObject *)op;
    DWORD result;
    if (sync_wait(self, WI_FOREVER, &result) < 0) {
        return NULL;
    }
    if (result == WAIT_ABANDONED_0) {
        /* No __exit__ follows. No other code ran since the wait, so the handle
         * is open. */
        ReleaseMutex(self->handle);
        mutex_released(self);
        sync_raise_abandoned(self, "WaitForSingleObject");
        return NULL;
    }
    /* Python 3.14 would let Ctrl+C in before the block, and no __exit__ follows
     * then either. */
    if (PyErr_CheckSignals() < 0) {
        ReleaseMutex(self->handle);
        mutex_released(self);
        return NULL;
    }
    return Py_NewRef(op);
}

PyDoc_STRVAR(mutex_exit_doc, "__exit__($self, /, *exc)\n--\n\nrelease().");

static PyObject *
mutex_get_held(PyObject *op, void *Py_UNUSED(closure))
{
    SyncObject *self = (SyncObject *)op;
    return PyBool_FromLong(self->owner == GetCurrentThreadId() &&
                           sync_is_held(self));
}

static PyObject *
mutex_get_held_by_any(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(sync_is_held((SyncObject *)op));
}

static PyObject *
mutex_get_depth(PyObject *op, void *Py_UNUSED(closure))
{
    SyncObject *self = (SyncObject *)op;
    return PyLong_FromSsize_t(self->owner == GetCurrentThreadId() ? self->held
                                                                  : 0);
}

/* Whether a thread of any process holds it, as Windows says. */
static PyObject *
mutex_get_taken(PyObject *op, void *Py_UNUSED(closure))
{
    sync_info info;
    return sync_query((SyncObject *)op, &info) < 0
               ? NULL
               : PyBool_FromLong(info.mutex.count <= 0);
}

static PyMethodDef mutex_methods[] = {
    {"acquire", WI_FAST(mutex_acquire), mutex_acquire_doc},
    {"release", mutex_release, METH_NOARGS, mutex_release_doc},
    {"__enter__", mutex_enter, METH_NOARGS, mutex_enter_doc},
    {"__exit__", mutex_release, METH_VARARGS, mutex_exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef mutex_getset[] = {
    {"held", mutex_get_held, NULL,
     "Whether the calling thread took it through this object.", NULL},
    {"_held_by_any", mutex_get_held_by_any, NULL,
     "Whether a live thread took it through this object.", NULL},
    {"_depth", mutex_get_depth, NULL,
     "How often the calling thread took it through this object.", NULL},
    {"_taken", mutex_get_taken, NULL,
     "Whether a thread of any process holds it. Win32: NtQueryMutant.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef mutex_members[] = {
    {"abandoned", T_BOOL, offsetof(SyncObject, abandoned), Py_READONLY,
     "Whether the mutex was abandoned when it was taken. False again after\n"
     "its release."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(mutex_doc, "A Win32 mutex.");

static PyType_Slot mutex_slots[] = {
    {Py_tp_doc, (void *)mutex_doc},
    {Py_tp_methods, mutex_methods},
    {Py_tp_members, mutex_members},
    {Py_tp_getset, mutex_getset},
    {0, NULL},
};

static PyType_Spec mutex_spec = {
    .name = "winipc._core.Mutex",
    .basicsize = sizeof(SyncObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = mutex_slots,
};

int
wi_mutex_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &mutex_spec, state->waitable_type,
                          &state->mutex_type);
}

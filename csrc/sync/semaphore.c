/* semaphore.c: Semaphore, a count that processes take from.
 *
 *     semaphore = Semaphore._open("Local\\slots", access)
 *     semaphore.acquire(timeout=1)  # True; waits while the count is 0
 *     semaphore.release()           # the count before
 *     semaphore.value, semaphore.maximum
 *     with semaphore:               # acquires and releases
 *         ...
 *
 * Owner: the object owns its handle; a unit of the count has no owner. Thread:
 * any. GIL: given up to wait. */
#include "waitable.h"

/* ---------------------------------------------------------------- methods */

PyDoc_STRVAR(semaphore_acquire_doc,
             "acquire($self, timeout=None)\n--\n\n"
             "Take one from the count: True, or False after `timeout`.\n\n"
             "`timeout` is in seconds, None for forever. Ctrl+C ends the\n"
             "wait. Any thread; waits without the GIL.\n\n"
             "Win32: WaitForSingleObject");

static PyObject *
semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    return sync_wait_method((SyncObject *)op, "acquire", args, nargs, kwnames);
}

static PyObject *
semaphore_give(SyncObject *self, LONG count)
{
    LONG previous = 0;
    DWORD err;
    BOOL ok;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = ReleaseSemaphore(self->handle, count, &previous));
    if (!ok) {
        return sync_raise(self, err,
                          err == ERROR_TOO_MANY_POSTS
                              ? "the count would pass the maximum"
                              : NULL,
                          "ReleaseSemaphore");
    }
    return PyLong_FromLong(previous);
}

PyDoc_STRVAR(semaphore_release_doc,
             "release($self, count=1, /)\n--\n\n"
             "Add `count` to the semaphore; return the count before.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    OSError: The count would pass the maximum; nothing is\n"
             "        added (winerror 298, ERROR_TOO_MANY_POSTS).\n"
             "    ValueError: `count` is less than 1.\n\n"
             "Win32: ReleaseSemaphore");

static PyObject *
semaphore_release(PyObject *op, PyObject *args)
{
    int count = 1;
    if (!PyArg_ParseTuple(args, "|i:release", &count)) {
        return wi_name_int("count", args);
    }
    if (count < 1) {
        PyErr_SetString(PyExc_ValueError, "count must be at least 1");
        return NULL;
    }
    return semaphore_give((SyncObject *)op, count);
}

PyDoc_STRVAR(semaphore_enter_doc, "__enter__($self, /)\n--\n\n"
                                  "acquire(), and return the semaphore.");

static PyObject *
semaphore_enter(PyObject *op, PyObject *Py_UNUSED(unused))
{
    DWORD result;
    if (sync_wait((SyncObject *)op, WI_FOREVER, &result) < 0) {
        return NULL;
    }
    /* As for a mutex. */
    if (PyErr_CheckSignals() < 0) {
        WI_KEEP_ERROR
        Py_XDECREF(semaphore_give((SyncObject *)op, 1));
        WI_END_KEEP_ERROR
        return NULL;
    }
    return Py_NewRef(op);
}

PyDoc_STRVAR(semaphore_exit_doc, "__exit__($self, /, *exc)\n--\n\nrelease().");

static PyObject *
semaphore_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    PyObject *previous = semaphore_give((SyncObject *)op, 1);
    if (previous == NULL) {
        return NULL;
    }
    Py_DECREF(previous);
    Py_RETURN_NONE;
}

static PyObject *
semaphore_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    sync_info info;
    return sync_query((SyncObject *)op, &info) < 0
               ? NULL
               : PyLong_FromLong(info.semaphore.count);
}

static PyObject *
semaphore_get_maximum(PyObject *op, void *Py_UNUSED(closure))
{
    sync_info info;
    return sync_query((SyncObject *)op, &info) < 0
               ? NULL
               : PyLong_FromLong(info.semaphore.maximum);
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", WI_FAST(semaphore_acquire), semaphore_acquire_doc},
    {"release", semaphore_release, METH_VARARGS, semaphore_release_doc},
    {"__enter__", semaphore_enter, METH_NOARGS, semaphore_enter_doc},
    {"__exit__", semaphore_exit, METH_VARARGS, semaphore_exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"value", semaphore_get_value, NULL,
     "The count now; it may change at once.", NULL},
    {"maximum", semaphore_get_maximum, NULL,
     "The largest count that it can have.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(semaphore_doc, "A Win32 semaphore.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "winipc._core.Semaphore",
    .basicsize = sizeof(SyncObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = semaphore_slots,
};

int
wi_semaphore_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &semaphore_spec, state->waitable_type,
                          &state->semaphore_type);
}

/* event.c: Event, a flag that processes set and wait for.
 *
 *     event = Event._open("Local\\ready", access)
 *     event.set()
 *     event.wait(timeout=1)         # auto reset: True for one waiter
 *     event.is_set(), event.manual
 *     event.reset()
 *     event.close()
 *
 * Owner: the object owns its handle. Thread: any. GIL: given up to wait. */
#include "waitable.h"

/* ---------------------------------------------------------------- methods */

static PyObject *
event_change(PyObject *op, BOOL(WINAPI *change)(HANDLE), const char *api)
{
    SyncObject *self = (SyncObject *)op;
    DWORD err;
    BOOL ok;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = change(self->handle));
    if (!ok) {
        return sync_raise(self, err, NULL, api);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_set_doc,
             "set($self, /)\n--\n\n"
             "Set the event. A manual-reset event ends all waits until\n"
             "reset(); an auto-reset event ends exactly one.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    PermissionError: The event was opened without\n"
             "        SyncAccess.MODIFY_STATE.\n\n"
             "Win32: SetEvent");

static PyObject *
event_set(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return event_change(op, SetEvent, "SetEvent");
}

PyDoc_STRVAR(event_reset_doc,
             "reset($self, /)\n--\n\n"
             "Reset the event: waits block until the next set().\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    PermissionError: The event was opened without\n"
             "        SyncAccess.MODIFY_STATE.\n\n"
             "Win32: ResetEvent");

static PyObject *
event_reset(PyObject *op, PyObject *Py_UNUSED(unused))
{
    return event_change(op, ResetEvent, "ResetEvent");
}

PyDoc_STRVAR(event_wait_doc,
             "wait($self, timeout=None)\n--\n\n"
             "Wait until the event is set: True, or False after `timeout`.\n\n"
             "::\n\n"
             "    event.set()  # in any process\n"
             "    print(event.wait(timeout=5))  # True\n"
             "    print(event.wait(timeout=0))  # False\n\n"
             "`timeout` is in seconds, None for forever. Ctrl+C ends the\n"
             "wait. A wait that an auto-reset event ends resets the event.\n"
             "Any thread; waits without the GIL.\n\n"
             "Win32: WaitForSingleObject");

static PyObject *
event_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    return sync_wait_method((SyncObject *)op, "wait", args, nargs, kwnames);
}

PyDoc_STRVAR(event_is_set_doc,
             "is_set($self, /)\n--\n\n"
             "Whether the event is set now. It does not reset the event.\n\n"
             "Raises:\n"
             "    PermissionError: The event was opened without\n"
             "        SyncAccess.QUERY_STATE.\n\n"
             "Win32: NtQueryEvent");

static PyObject *
event_is_set(PyObject *op, PyObject *Py_UNUSED(unused))
{
    sync_info info;
    return sync_query((SyncObject *)op, &info) < 0
               ? NULL
               : PyBool_FromLong(info.event.state != 0);
}

static PyObject *
event_get_manual(PyObject *op, void *Py_UNUSED(closure))
{
    if (((SyncObject *)op)->manual < 0) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(((SyncObject *)op)->manual);
}

static PyMethodDef event_methods[] = {
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"reset", event_reset, METH_NOARGS, event_reset_doc},
    {"wait", WI_FAST(event_wait), event_wait_doc},
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef event_getset[] = {
    {"manual", event_get_manual, NULL,
     "True for a manual-reset event, False for an auto-reset one; None if\n"
     "the handle lacks the right to ask.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(event_doc, "A Win32 event.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "winipc._core.Event",
    .basicsize = sizeof(SyncObject),
    .flags = WI_SUBTYPE_FLAGS,
    .slots = event_slots,
};

int
wi_event_init(PyObject *module, wi_state *state)
{
    return wi_add_subtype(module, &event_spec, state->waitable_type,
                          &state->event_type);
}

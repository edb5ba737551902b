/* send.c: Message, one received window message.
 *
 * Wraps a wi_message: the copy that the window procedure made of the data.
 * The copy is constant and lives as long as the object, which every exported
 * buffer keeps alive; so views need no counter, and any thread may use it.
 *
 * The type has no GC: an instance refers to nothing but its type, which never
 * refers back. */
#include "message.h"

typedef struct {
    PyObject_HEAD
    wi_message *message; /* one reference, owned; never NULL once made */
} CopyDataObject;

PyObject *
wi_copydata_new(PyTypeObject *type, wi_message *message)
{
    CopyDataObject *self = wi_alloc(type);
    if (self == NULL) {
        wi_message_unref(message);
        return NULL;
    }
    self->message = message;
    return (PyObject *)self;
}

wi_message *
wi_copydata_message(PyObject *self)
{
    return ((CopyDataObject *)self)->message;
}

static void
copydata_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    wi_message_unref(((CopyDataObject *)self)->message);
    release(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------- properties */

static PyObject *
copydata_get_message(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(wi_copydata_message(self)->number);
}

static PyObject *
copydata_get_id(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(wi_copydata_message(self)->id);
}

static PyObject *
copydata_get_sender(PyObject *self, void *Py_UNUSED(closure))
{
    wi_message *message = wi_copydata_message(self);
    return PyLong_FromUnsignedLongLong(
        message->number == WM_COPYDATA ? message->wparam : 0);
}

static PyObject *
copydata_get_pid(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(wi_copydata_message(self)->pid);
}

static PyObject *
copydata_get_wparam(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(wi_copydata_message(self)->wparam);
}

static PyObject *
copydata_get_lparam(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(wi_copydata_message(self)->lparam);
}

static PyObject *
copydata_get_time(PyObject *self, void *Py_UNUSED(closure))
{
    /* FILETIME counts 100 ns from 1601; Python counts seconds from 1970. */
    uint64_t time = wi_copydata_message(self)->time;
    return PyFloat_FromDouble((double)(int64_t)(time - 116444736000000000ULL) /
                              1e7);
}

static PyGetSetDef copydata_getset[] = {
    {"message", copydata_get_message, NULL,
     "The message's number: 0x4A (WM_COPYDATA), or that of a plain message.",
     NULL},
    {"id", copydata_get_id, NULL,
     "What kind of data it is: dwData of WM_COPYDATA, 64 bits; else 0.", NULL},
    {"sender", copydata_get_sender, NULL,
     "The window that claims to have sent it, or 0.", NULL},
    {"pid", copydata_get_pid, NULL,
     "The process that owned the sender's window on arrival; 0 when there\n"
     "was no such window, and so nobody to verify.",
     NULL},
    {"wparam", copydata_get_wparam, NULL, "wParam, unsigned.", NULL},
    {"lparam", copydata_get_lparam, NULL, "lParam, signed; 0 for WM_COPYDATA.",
     NULL},
    {"time", copydata_get_time, NULL,
     "When it arrived, in seconds since 1970 as time.time() has it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --------------------------------------------------------- bytes in there */

static int
copydata_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    wi_message *message = wi_copydata_message(self);
    return PyBuffer_FillInfo(view, self, message->data,
                             (Py_ssize_t)message->size, 1, flags);
}

static Py_ssize_t
copydata_length(PyObject *self)
{
    return (Py_ssize_t)wi_copydata_message(self)->size;
}

static PyObject *
copydata_bytes(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    wi_message *message = wi_copydata_message(self);
    return PyBytes_FromStringAndSize((const char *)message->data,
                                     (Py_ssize_t)message->size);
}

static int
copydata_bool(PyObject *Py_UNUSED(self))
{
    return 1; /* a message without data is a message still */
}

static PyMethodDef copydata_methods[] = {
    {"__bytes__", copydata_bytes, METH_NOARGS,
     "__bytes__($self, /)\n--\n\nA copy of the data."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(copydata_doc,
             "One received message, with its data as a read-only buffer.");

static PyType_Slot copydata_slots[] = {
    {Py_tp_doc, (void *)copydata_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_dealloc, copydata_dealloc},
    {Py_tp_methods, copydata_methods},
    {Py_tp_getset, copydata_getset},
    {Py_bf_getbuffer, copydata_getbuffer},
    {Py_sq_length, copydata_length},
    {Py_nb_bool, copydata_bool},
    {0, NULL},
};

static PyType_Spec copydata_spec = {
    .name = "winipc._core.Message",
    .basicsize = sizeof(CopyDataObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = copydata_slots,
};

int
wi_copydata_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &copydata_spec, &state->copydata_type);
}

/* message.c: Message, one received window message.
 *
 *     message = window.receive()
 *     memoryview(message)              # the data, without a copy
 *     bytes(message), len(message)
 *     message.id, message.sender, message.pid, message.time
 *     message.message, message.wparam, message.lparam
 *
 * Owns one reference to a wi_message: the copy that the window procedure made
 * of the data. The copy is constant and lives as long as the object, which
 * every exported buffer keeps alive; so views need no counter, and any thread
 * may use it. No call here gives up the GIL.
 *
 * The type has no GC: an instance refers to nothing but its type, which never
 * refers back. */
#include "message.h"

typedef struct {
    PyObject_HEAD
    wi_message *message; /* one reference, owned; never NULL once made */
} MessageObject;

/* ------------------------------------------------- wParam, lParam, LRESULT */

int
wi_param_converter(PyObject *value, void *out)
{
    PyObject *index =
        PyLong_Check(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (index == NULL) {
        return 0;
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    uint64_t bits = (uint64_t)number;
    if (overflow > 0) {
        bits = PyLong_AsUnsignedLongLong(index);
    }
    else if (overflow < 0) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit in 64 bits", value);
    }
    Py_DECREF(index);
    if (overflow != 0 && PyErr_Occurred()) {
        return 0;
    }
    *(uint64_t *)out = bits;
    return 1;
}

/* ----------------------------------------------------------------- create */

PyObject *
wi_message_object_new(PyTypeObject *type, wi_message *message)
{
    MessageObject *self = wi_alloc(type);
    if (self == NULL) {
        wi_message_unref(message);
        return NULL;
    }
    self->message = message;
    return (PyObject *)self;
}

static wi_message *
message_of(PyObject *self)
{
    return ((MessageObject *)self)->message;
}

static void
message_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    wi_message_unref(((MessageObject *)self)->message);
    release(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------- properties */

static PyObject *
message_get_message(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(message_of(self)->number);
}

static PyObject *
message_get_id(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(message_of(self)->id);
}

static PyObject *
message_get_sender(PyObject *self, void *Py_UNUSED(closure))
{
    wi_message *message = message_of(self);
    /* 32 bits, as hwnd has them: senders may extend the sign. */
    return PyLong_FromUnsignedLongLong(
        message->number == WM_COPYDATA ? message->wparam & UINT32_MAX : 0);
}

static PyObject *
message_get_pid(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(message_of(self)->pid);
}

static PyObject *
message_get_wparam(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(message_of(self)->wparam);
}

static PyObject *
message_get_lparam(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(message_of(self)->lparam);
}

static PyObject *
message_get_time(PyObject *self, void *Py_UNUSED(closure))
{
    /* FILETIME counts 100 ns from 1601; Python counts seconds from 1970. */
    uint64_t time = message_of(self)->time;
    return PyFloat_FromDouble((double)(int64_t)(time - 116444736000000000ULL) /
                              1e7);
}

static PyGetSetDef message_getset[] = {
    {"message", message_get_message, NULL,
     "The message's number: 0x4A (WM_COPYDATA), or that of a plain message.",
     NULL},
    {"id", message_get_id, NULL,
     "What kind of data it is: dwData of WM_COPYDATA, 64 bits; else 0.", NULL},
    {"sender", message_get_sender, NULL,
     "The window that claims to have sent it, or 0.", NULL},
    {"pid", message_get_pid, NULL,
     "The process that owned the sender's window on arrival; 0 when there\n"
     "was no such window.",
     NULL},
    {"wparam", message_get_wparam, NULL, "wParam, unsigned.", NULL},
    {"lparam", message_get_lparam, NULL, "lParam, signed; 0 for WM_COPYDATA.",
     NULL},
    {"time", message_get_time, NULL,
     "When it arrived, in seconds since 1970 as time.time() has it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ----------------------------------------------------------------- buffer */

static int
message_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    wi_message *message = message_of(self);
    return PyBuffer_FillInfo(view, self, message->data,
                             (Py_ssize_t)message->size, 1, flags);
}

static Py_ssize_t
message_length(PyObject *self)
{
    return (Py_ssize_t)message_of(self)->size;
}

static PyObject *
message_bytes(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    wi_message *message = message_of(self);
    return PyBytes_FromStringAndSize((const char *)message->data,
                                     (Py_ssize_t)message->size);
}

static int
message_bool(PyObject *Py_UNUSED(self))
{
    return 1; /* also without data */
}

static PyMethodDef message_methods[] = {
    {"__bytes__", message_bytes, METH_NOARGS,
     "__bytes__($self, /)\n--\n\nA copy of the data."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(message_doc,
             "One received message, with its data as a read-only buffer.");

static PyType_Slot message_slots[] = {
    {Py_tp_doc, (void *)message_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_dealloc, message_dealloc},
    {Py_tp_methods, message_methods},
    {Py_tp_getset, message_getset},
    {Py_bf_getbuffer, message_getbuffer},
    {Py_sq_length, message_length},
    {Py_nb_bool, message_bool},
    {0, NULL},
};

static PyType_Spec message_spec = {
    .name = "winipc._core.Message",
    .basicsize = sizeof(MessageObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = message_slots,
};

int
wi_message_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &message_spec, &state->message_type);
}

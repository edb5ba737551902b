/* message.c: Message, one received window message.
 *
 *     message = window.receive()
 *     memoryview(message)              # the data, without a copy
 *     bytes(message), len(message)
 *     message.id, message.sender, message.pid, message.time
 *     message.message, message.wparam, message.lparam
 *
 * Owner: the object owns one reference to a wi_message, the copy that the
 * window procedure made of the data. The copy is constant and lives as long as
 * the object, and every exported buffer keeps the object alive; so nothing
 * counts the buffers. Thread: any. GIL: kept.
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
    PyObject *index = PyLong_CheckExact(value) ? value : PyNumber_Index(value);
    if (index == NULL) {
        return wi_wrong_type("an int is needed", value);
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    unsigned long long bits = (unsigned long long)number;
    if (overflow > 0) {
        number = 0;
        bits = PyLong_AsUnsignedLongLong(index);
        overflow = PyErr_Occurred() != NULL;
    }
    if (index != value) {
        Py_DECREF(index);
    }
    BOOL fits = number < 0 ? number >= INTPTR_MIN : bits <= UINTPTR_MAX;
    if (overflow != 0 || !fits) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit in %d bits", value,
                     (int)sizeof(uintptr_t) * 8);
        return 0;
    }
    *(uint64_t *)out = (uintptr_t)bits;
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

/* FILETIME counts 100 ns from 1601; Python counts seconds from 1970. */
#define MESSAGE_EPOCH 116444736000000000ULL

enum { GET_MESSAGE, GET_ID, GET_SENDER, GET_PID, GET_WPARAM, GET_LPARAM };

static PyObject *
message_get(PyObject *self, void *which)
{
    const wi_message *message = message_of(self);
    switch ((int)(uintptr_t)which) {
    case GET_MESSAGE:
        return PyLong_FromUnsignedLong(message->number);
    case GET_ID:
        return PyLong_FromUnsignedLongLong(message->id);
    case GET_SENDER:
        /* 32 bits, as `hwnd` has: a sender may have extended the sign. */
        return PyLong_FromUnsignedLongLong(
            message->number == WM_COPYDATA ? message->wparam & UINT32_MAX : 0);
    case GET_PID:
        return PyLong_FromUnsignedLong(message->pid);
    case GET_WPARAM:
        return PyLong_FromUnsignedLongLong(message->wparam);
    default:
        return PyLong_FromLongLong(message->lparam);
    }
}

static PyObject *
message_get_time(PyObject *self, void *Py_UNUSED(closure))
{
    int64_t time = (int64_t)(message_of(self)->time - MESSAGE_EPOCH);
    return PyFloat_FromDouble((double)time / 1e7);
}

#define MESSAGE_GET(name, which, doc)                                         \
    {name, message_get, NULL, doc, (void *)which}

static PyGetSetDef message_getset[] = {
    MESSAGE_GET("message", GET_MESSAGE,
                "The message's number: 0x4A for WM_COPYDATA, another one\n"
                "for a plain message."),
    MESSAGE_GET("id", GET_ID,
                "dwData of WM_COPYDATA, 64 bits, by which a sender says\n"
                "what the data is; 0 for a plain message."),
    MESSAGE_GET("sender", GET_SENDER,
                "The window that a WM_COPYDATA claims to come from, or 0."),
    MESSAGE_GET("pid", GET_PID,
                "The process that owned the window `sender` on arrival, or 0 "
                "if there\nwas no such window."),
    MESSAGE_GET("wparam", GET_WPARAM, "wParam, unsigned."),
    MESSAGE_GET("lparam", GET_LPARAM, "lParam, signed; 0 for WM_COPYDATA."),
    {"time", message_get_time, NULL,
     "When it arrived, in seconds since 1970, as time.time() counts.", NULL},
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
    return 1; /* a message without data is true too */
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
    .flags = WI_SUBTYPE_FLAGS,
    .slots = message_slots,
};

int
wi_message_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &message_spec, &state->message_type);
}

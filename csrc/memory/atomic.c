/* atomic.c: Atomic, one number in shared memory for interlocked operations.
 *
 *     n = mapping.atomic(8, "u64")           # Atomic(buffer, 8, "u64")
 *     n.add(1)                               # the number before
 *     n.compare_exchange(2, 100)             # 2 if it was written
 *     n.value = 5                            # load() and store()
 *     n.and_(6), n.or_(1), n.xor(3), n.exchange(0)
 *     n.release()                            # or leave its `with`
 *
 * Owner: the object owns a buffer of the memory, which keeps the memory in
 * place; the constructor checks range and alignment once. Thread: any thread
 * of any process may use the number, and the GIL does not protect it. GIL:
 * kept, since giving it up costs far more than the operation; given up for
 * memory of a file, whose page may take long to come in. */
#include "atomic.h"

#include "base/bytes.h"
#include "base/number.h"

typedef enum {
    ATOMIC_LOAD,
    ATOMIC_STORE,
    ATOMIC_EXCHANGE,
    ATOMIC_COMPARE_EXCHANGE,
    ATOMIC_ADD,
    ATOMIC_AND,
    ATOMIC_OR,
    ATOMIC_XOR
} atomic_op;

/* How many operands it has: a value, or expected and desired. */
WI_INLINE int
atomic_operands(atomic_op op)
{
    return op == ATOMIC_LOAD ? 0 : op == ATOMIC_COMPARE_EXCHANGE ? 2 : 1;
}

/* -------------------------------------------------------------- operation */

WI_INLINE uint64_t
atomic_run(atomic_op op, void *at, unsigned width, uint64_t a, uint64_t b)
{
    switch (op) {
    case ATOMIC_LOAD:
        return wi_atomic_load(at, width);
    case ATOMIC_STORE:
    case ATOMIC_EXCHANGE:
        return wi_atomic_exchange(at, width, a);
    case ATOMIC_COMPARE_EXCHANGE:
        return wi_atomic_swap(at, width, a, b);
    case ATOMIC_ADD:
        return wi_atomic_add(at, width, a);
    default:
        break;
    }
    uint64_t before = wi_atomic_load(at, width);
    for (;;) {
        uint64_t after = op == ATOMIC_AND  ? before & a
                         : op == ATOMIC_OR ? before | a
                                           : before ^ a;
        uint64_t seen = wi_atomic_swap(at, width, before, after);
        if (seen == before) {
            return before;
        }
        before = seen;
    }
}

/* ----------------------------------------------------------------- number */

typedef struct {
    PyObject_HEAD
    Py_buffer buffer; /* obj is NULL when released */
    char *at;         /* the number, within the buffer */
    const wi_number *kind;
    PyObject *file; /* the mapping of a file that it lies in, or NULL */
    PyObject *weakrefs;
} AtomicObject;

typedef struct {
    atomic_op op;
    void *at;
    unsigned size;
    uint64_t operands[2];
    uint64_t before;
} atomic_work;

static void
atomic_work_now(void *arg)
{
    atomic_work *work = arg;
    work->before = atomic_run(work->op, work->at, work->size,
                              work->operands[0], work->operands[1]);
}

WI_INLINE PyObject *
atomic_do(PyObject *self, atomic_op op, const char *name,
          PyObject *const *args, Py_ssize_t nargs)
{
    AtomicObject *number = (AtomicObject *)self;
    const int count = atomic_operands(op);
    if (nargs != count) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d arguments (%zd given)",
                     name, count, nargs);
        return NULL;
    }
    uint64_t operands[2] = {0, 0}, before;
    for (int i = 0; i < count; i++) {
        if (wi_number_from(number->kind, args[i], op == ATOMIC_ADD,
                           &operands[i]) < 0) {
            return NULL;
        }
    }
    if (number->buffer.obj == NULL) {
        PyErr_SetString(PyExc_ValueError, "Atomic is released");
        return NULL;
    }
    if (op != ATOMIC_LOAD && number->buffer.readonly) {
        wi_raise_readonly(self, number->buffer.obj);
        return NULL;
    }
    if (number->file == NULL) {
        before = atomic_run(op, number->at, number->kind->size, operands[0],
                            operands[1]);
    }
    else {
        atomic_work work = {.op = op,
                            .at = number->at,
                            .size = number->kind->size,
                            .operands = {operands[0], operands[1]}};
        if (wi_bytes_guarded(number->file, atomic_work_now, &work) < 0) {
            return NULL;
        }
        before = work.before;
    }
    if (op == ATOMIC_STORE) {
        Py_RETURN_NONE;
    }
    return wi_number_to_python(number->kind, before);
}

/* Find the number's address. ValueError unless it lies in the buffer and is
 * aligned. */
static int
atomic_check(AtomicObject *self, Py_ssize_t offset)
{
    const Py_ssize_t size = self->kind->size;
    if (offset > self->buffer.len || size > self->buffer.len - offset) {
        PyErr_Format(PyExc_ValueError,
                     "%zd bytes at offset %zd are not within %zd bytes", size,
                     offset, self->buffer.len);
        return -1;
    }
    self->at = (char *)self->buffer.buf + offset;
    if ((uintptr_t)self->at % size != 0) {
        PyErr_Format(PyExc_ValueError,
                     "an interlocked %s needs an address that is a multiple "
                     "of %zd, not %p",
                     self->kind->name, size, self->at);
        return -1;
    }
    return 0;
}

static PyObject *
atomic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer", "offset", "type", NULL};
    PyObject *source, *offset_arg = NULL, *name = NULL;
    const wi_number *kind = &WI_NUMBER_KINDS[WI_NUMBER_i64];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO:Atomic", names,
                                     &source, &offset_arg, &name) ||
        (name != NULL && (kind = wi_number_named(name, NULL)) == NULL)) {
        return NULL;
    }
    if (kind->family == 'f') {
        PyErr_Format(PyExc_ValueError,
                     "an interlocked number is an integer, not %s",
                     kind->name);
        return NULL;
    }
    Py_ssize_t offset =
        offset_arg == NULL ? 0 : wi_bytes_offset(offset_arg, PY_SSIZE_T_MAX);
    if (offset < 0) {
        return NULL;
    }
    AtomicObject *self = wi_alloc(type);
    if (self == NULL) {
        return NULL;
    }
    self->kind = kind;
    if (wi_bytes_get_view(source, &self->buffer) < 0) {
        goto fail;
    }
    self->file = Py_XNewRef(wi_bytes_guarded_source(source));
    if (atomic_check(self, offset) < 0) {
        goto fail;
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Giving a buffer back may run Python code, which must find it released. */
static int
atomic_clear(PyObject *self)
{
    AtomicObject *number = (AtomicObject *)self;
    Py_buffer buffer = number->buffer;
    memset(&number->buffer, 0, sizeof(number->buffer));
    PyBuffer_Release(&buffer); /* harmless when there is none */
    Py_CLEAR(number->file);
    return 0;
}

static PyObject *
atomic_release(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    atomic_clear(self);
    Py_RETURN_NONE;
}

static PyObject *
atomic_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(self);
}

static void
atomic_finalize(PyObject *self)
{
    WI_KEEP_ERROR
    atomic_clear(self);
    WI_END_KEEP_ERROR
}

static int
atomic_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((AtomicObject *)self)->buffer.obj);
    Py_VISIT(((AtomicObject *)self)->file);
    return 0;
}

static PyObject *
atomic_repr(PyObject *self)
{
    AtomicObject *number = (AtomicObject *)self;
    if (number->buffer.obj == NULL) {
        return PyUnicode_FromString("<Atomic released>");
    }
    PyObject *value = atomic_do(self, ATOMIC_LOAD, "load", NULL, 0);
    if (value == NULL) {
        return NULL;
    }
    PyObject *result = PyUnicode_FromFormat(
        "<Atomic %s %R at %p>", number->kind->name, value, number->at);
    Py_DECREF(value);
    return result;
}

static PyObject *
atomic_get_value(PyObject *self, void *Py_UNUSED(closure))
{
    return atomic_do(self, ATOMIC_LOAD, "load", NULL, 0);
}

static int
atomic_set_value(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "value cannot be deleted");
        return -1;
    }
    PyObject *none = atomic_do(self, ATOMIC_STORE, "store", &value, 1);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static PyObject *
atomic_get_type(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((AtomicObject *)self)->kind->name);
}

static PyObject *
atomic_get_readonly(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((AtomicObject *)self)->buffer.readonly);
}

/* ------------------------------------------------------------------ tables */

/* X(method, constant, arguments, documentation) */
#define ATOMIC_OPERATIONS(X)                                                  \
    X(load, ATOMIC_LOAD, "", "The number, read in one piece.")                \
    X(store, ATOMIC_STORE, "value, ",                                         \
      "Write a number in one piece; a full barrier.")                         \
    X(exchange, ATOMIC_EXCHANGE, "value, ",                                   \
      "Write a number and return the one before.")                            \
    X(compare_exchange, ATOMIC_COMPARE_EXCHANGE, "expected, desired, ",       \
      "Write `desired` if the number is `expected`; return what it was.\n\n"  \
      "It has written if the result equals `expected`.")                      \
    X(add, ATOMIC_ADD, "value, ",                                             \
      "Add, and return the number before. The sum wraps around.")             \
    X(and_, ATOMIC_AND, "value, ", "Bitwise and; return the number before.")  \
    X(or_, ATOMIC_OR, "value, ", "Bitwise or; return the number before.")     \
    X(xor, ATOMIC_XOR, "value, ",                                             \
      "Bitwise exclusive or; return the number before.")

#define ATOMIC_METHOD(method, constant, arguments, doc)                       \
    static PyObject *atomic_method_##method(                                  \
        PyObject *self, PyObject *const *args, Py_ssize_t nargs)              \
    {                                                                         \
        return atomic_do(self, constant, #method, args, nargs);               \
    }

ATOMIC_OPERATIONS(ATOMIC_METHOD)

#define ATOMIC_ROW(method, constant, arguments, doc)                          \
    {#method, WI_METHOD(atomic_method_##method), METH_FASTCALL,               \
     #method "($self, " arguments "/)\n--\n\n" doc},

static PyMethodDef atomic_methods[] = {
    ATOMIC_OPERATIONS(ATOMIC_ROW){
        "release", atomic_release, METH_NOARGS,
        "release($self)\n--\n\nGive the buffer back; twice is harmless."},
    {"__enter__", atomic_enter, METH_NOARGS, NULL},
    {"__exit__", atomic_release, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef atomic_getset[] = {
    {"value", atomic_get_value, atomic_set_value,
     "load() and store() as an attribute.", NULL},
    {"type", atomic_get_type, NULL, "The type of the number, \"i64\".", NULL},
    {"readonly", atomic_get_readonly, NULL, "Only load() works then.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef atomic_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(AtomicObject, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    atomic_doc,
    "Atomic(buffer, offset=0, type='i64')\n--\n\n"
    "One number in shared memory, for interlocked operations.\n\n"
    "`mapping.atomic(offset, type)` makes one, as does the same method of\n"
    "other memory. The constructor takes any buffer; its memory cannot be\n"
    "closed or resized before release(). The type is i8 i16 i32 i64 u8 u16\n"
    "u32 or u64, or its struct code; the address must be a multiple of its\n"
    "size. load() is an acquire, and all other operations are full barriers.\n"
    "Any thread of any process may use the number at the same time.\n\n"
    "Raises:\n"
    "    ValueError: The offset is not inside or not aligned, or the type\n"
    "        is one of floating point.\n\n"
    "Win32: InterlockedCompareExchange.");

static PyType_Slot atomic_slots[] = {
    {Py_tp_doc, (void *)atomic_doc},   {Py_tp_new, atomic_new},
    {Py_tp_finalize, atomic_finalize}, {Py_tp_traverse, atomic_traverse},
    {Py_tp_clear, atomic_clear},       {Py_tp_repr, atomic_repr},
    {Py_tp_methods, atomic_methods},   {Py_tp_members, atomic_members},
    {Py_tp_getset, atomic_getset},     {0, NULL},
};

static PyType_Spec atomic_spec = {
    .name = "winipc.Atomic",
    .basicsize = sizeof(AtomicObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = atomic_slots,
};

int
wi_atomic_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &atomic_spec, NULL);
}

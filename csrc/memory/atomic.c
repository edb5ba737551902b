/* atomic.c: interlocked operations for Python.
 *
 * Three ways to the same operations: methods of objects that start with
 * WI_BYTES_HEAD (a section, a mapping), functions atomic_<op>(buffer, ...)
 * for any buffer, and the object Atomic, one number in a buffer, which checks
 * everything once and then takes only the operands.
 *
 * The memory is shared with other processes, so the GIL protects nothing:
 * each operation is one interlocked instruction, at an aligned address. The
 * GIL is kept, as it is far cheaper than giving it up. */
#include "atomic.h"

#include <structmember.h>

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

/* How many operands: value, or expected and desired. */
WI_INLINE int
atomic_operands(atomic_op op)
{
    return op == ATOMIC_LOAD ? 0 : op == ATOMIC_COMPARE_EXCHANGE ? 2 : 1;
}

/* ----------------------------------------------------------------- format */

typedef struct {
    unsigned width; /* 1, 2, 4 or 8 */
    int is_signed;
    char code;
} atomic_format;

static const atomic_format ATOMIC_DEFAULT = {8, 1, 'q'};

/* A code of the struct module; long has 4 bytes, as everywhere in Windows. */
static int
atomic_format_of(PyObject *format, atomic_format *out)
{
    if (format == NULL) {
        *out = ATOMIC_DEFAULT;
        return 0;
    }
    if (!PyUnicode_Check(format)) {
        PyErr_Format(PyExc_TypeError, "format must be str, not %R",
                     (PyObject *)Py_TYPE(format));
        return -1;
    }
    Py_UCS4 code =
        PyUnicode_GetLength(format) == 1 ? PyUnicode_ReadChar(format, 0) : 0;
    switch (code) {
    case 'b':
    case 'B':
        out->width = 1;
        break;
    case 'h':
    case 'H':
        out->width = 2;
        break;
    case 'i':
    case 'I':
    case 'l':
    case 'L':
        out->width = 4;
        break;
    case 'q':
    case 'Q':
        out->width = 8;
        break;
    default:
        PyErr_Format(PyExc_ValueError,
                     "format must be one of b B h H i I l L q Q, not %R",
                     format);
        return -1;
    }
    out->is_signed = code >= 'a';
    out->code = (char)code;
    return 0;
}

static int
atomic_overflow(PyObject *value, const atomic_format *format)
{
    PyErr_Format(PyExc_OverflowError, "%R does not fit in format '%c'", value,
                 format->code);
    return -1;
}

/* An operand as the low bits of a 64-bit number. What is added may also be
 * negative where the format is unsigned: it wraps, as the sum does. */
static int
atomic_operand(PyObject *value, const atomic_format *format, int wraps,
               uint64_t *out)
{
    PyObject *index =
        PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    int failed = 0;
    int overflow;
    unsigned bits = format->width * 8;
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    if (overflow == 0 && number == -1 && PyErr_Occurred()) {
        failed = -1;
    }
    else if (overflow == 0) {
        long long high = bits == 64 ? INT64_MAX : (1LL << (bits - 1)) - 1;
        long long low = -high - 1;
        if (!format->is_signed) {
            high = bits == 64 ? INT64_MAX : (1LL << bits) - 1;
            low = wraps ? low : 0;
        }
        *out = (uint64_t)number;
        if (number < low || number > high) {
            failed = atomic_overflow(value, format);
        }
    }
    else if (overflow > 0 && bits == 64 && !format->is_signed) {
        *out = PyLong_AsUnsignedLongLong(index);
        if (*out == UINT64_MAX && PyErr_Occurred()) {
            PyErr_Clear();
            failed = atomic_overflow(value, format);
        }
    }
    else {
        failed = atomic_overflow(value, format);
    }
    Py_DECREF(index);
    return failed;
}

static PyObject *
atomic_result(uint64_t bits, const atomic_format *format)
{
    if (format->is_signed) {
        switch (format->width) {
        case 1:
            return PyLong_FromLong((int8_t)bits);
        case 2:
            return PyLong_FromLong((int16_t)bits);
        case 4:
            return PyLong_FromLong((int32_t)bits);
        default:
            return PyLong_FromLongLong((int64_t)bits);
        }
    }
    return PyLong_FromUnsignedLongLong(bits);
}

/* -------------------------------------------------------------- operation */

#define ATOMIC_RUN(bits)                                                      \
    switch (op) {                                                             \
    case ATOMIC_LOAD:                                                         \
        return wi_atomic_load##bits(at);                                      \
    case ATOMIC_STORE:                                                        \
    case ATOMIC_EXCHANGE:                                                     \
        return wi_atomic_exchange##bits(at, (uint##bits##_t)a);               \
    case ATOMIC_COMPARE_EXCHANGE:                                             \
        return wi_atomic_compare_exchange##bits(at, (uint##bits##_t)a,        \
                                                (uint##bits##_t)b);           \
    case ATOMIC_ADD:                                                          \
        return wi_atomic_add##bits(at, (uint##bits##_t)a);                    \
    case ATOMIC_AND:                                                          \
        return wi_atomic_and##bits(at, (uint##bits##_t)a);                    \
    case ATOMIC_OR:                                                           \
        return wi_atomic_or##bits(at, (uint##bits##_t)a);                     \
    case ATOMIC_XOR:                                                          \
        return wi_atomic_xor##bits(at, (uint##bits##_t)a);                    \
    }                                                                         \
    return 0;

static uint64_t
atomic_run8(atomic_op op, void *at, uint64_t a, uint64_t b)
{
    ATOMIC_RUN(8)
}

static uint64_t
atomic_run16(atomic_op op, void *at, uint64_t a, uint64_t b)
{
    ATOMIC_RUN(16)
}

static uint64_t
atomic_run32(atomic_op op, void *at, uint64_t a, uint64_t b)
{
    ATOMIC_RUN(32)
}

static uint64_t
atomic_run64(atomic_op op, void *at, uint64_t a, uint64_t b)
{
    ATOMIC_RUN(64)
}

static int
atomic_check_aligned(const void *at, const atomic_format *format)
{
    if ((uintptr_t)at % format->width != 0) {
        PyErr_Format(PyExc_ValueError,
                     "an interlocked '%c' needs an address that is a multiple "
                     "of %u, not %p",
                     format->code, format->width, at);
        return -1;
    }
    return 0;
}

static uint64_t
atomic_run(atomic_op op, void *at, unsigned width, const uint64_t *operands)
{
    switch (width) {
    case 1:
        return atomic_run8(op, at, operands[0], operands[1]);
    case 2:
        return atomic_run16(op, at, operands[0], operands[1]);
    case 4:
        return atomic_run32(op, at, operands[0], operands[1]);
    default:
        return atomic_run64(op, at, operands[0], operands[1]);
    }
}

static PyObject *
atomic_perform(atomic_op op, void *at, const atomic_format *format,
               const uint64_t *operands)
{
    if (atomic_check_aligned(at, format) < 0) {
        return NULL;
    }
    uint64_t before = atomic_run(op, at, format->width, operands);
    if (op == ATOMIC_STORE) {
        Py_RETURN_NONE;
    }
    return atomic_result(before, format);
}

/* The same where a page of a file may fail to come in. */
typedef struct {
    atomic_op op;
    void *at;
    unsigned width;
    const uint64_t *operands;
    uint64_t before;
} atomic_work;

static void
atomic_work_now(void *arg)
{
    atomic_work *work = arg;
    work->before = atomic_run(work->op, work->at, work->width, work->operands);
}

static PyObject *
atomic_perform_guarded(PyObject *self, atomic_op op, void *at,
                       const atomic_format *format, const uint64_t *operands)
{
    atomic_work work = {op, at, format->width, operands, 0};
    if (atomic_check_aligned(at, format) < 0 ||
        wi_bytes_guarded(self, atomic_work_now, &work) < 0) {
        return NULL;
    }
    if (op == ATOMIC_STORE) {
        Py_RETURN_NONE;
    }
    return atomic_result(work.before, format);
}

/* An offset that is not negative. -1 with an exception. */
static Py_ssize_t
atomic_offset(PyObject *value)
{
    if (PyLong_CheckExact(value)) {
        Py_ssize_t offset = PyLong_AsSsize_t(value);
        if (offset >= 0) {
            return offset;
        }
        PyErr_Clear(); /* too large, or negative: said below */
    }
    return wi_bytes_offset(value, PY_SSIZE_T_MAX);
}

/* Operands of op from given[]. 0, or -1 with an exception. */
static int
atomic_operands_of(atomic_op op, PyObject *const *given,
                   const atomic_format *format, uint64_t *operands)
{
    operands[0] = operands[1] = 0;
    for (int i = 0; i < atomic_operands(op); i++) {
        if (atomic_operand(given[i], format, op == ATOMIC_ADD, &operands[i]) <
            0) {
            return -1;
        }
    }
    return 0;
}

/* The offset of a number of this width within size bytes. -1 on error. */
static int
atomic_check_range(Py_ssize_t offset, Py_ssize_t size, unsigned width)
{
    if (offset > size || (Py_ssize_t)width > size - offset) {
        PyErr_Format(PyExc_ValueError,
                     "%u bytes at offset %zd are not within %zd bytes", width,
                     offset, size);
        return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- methods */

/* Names of the arguments: the object's own methods skip the first. */
static const char *const atomic_names_0[] = {"buffer", "offset", "format",
                                             NULL};
static const char *const atomic_names_1[] = {"buffer", "offset", "value",
                                             "format", NULL};
static const char *const atomic_names_2[] = {"buffer",  "offset", "expected",
                                             "desired", "format", NULL};
static const char *const *const atomic_names[] = {
    atomic_names_0, atomic_names_1, atomic_names_2};

WI_INLINE PyObject *
atomic_on_object(PyObject *self, atomic_op op, const char *name,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int count = atomic_operands(op);
    PyObject *given[4];
    atomic_format format;
    uint64_t operands[2];
    if (kwnames == NULL && nargs == count + 1) {
        /* By far the most frequent form: nothing is left to sort out. */
        for (Py_ssize_t i = 0; i < nargs; i++) {
            given[i] = args[i];
        }
        given[nargs] = NULL;
    }
    else if (wi_fast_args(name, atomic_names[count] + 1, count + 1, args,
                          nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (atomic_format_of(given[count + 1], &format) < 0 ||
        atomic_operands_of(op, given + 1, &format, operands) < 0) {
        return NULL;
    }
    Py_ssize_t offset = atomic_offset(given[0]);
    if (offset < 0) {
        return NULL;
    }
    wi_bytes *bytes = &((wi_bytes_object *)self)->bytes;
    if ((op == ATOMIC_LOAD ? wi_bytes_check_open(self)
                           : wi_bytes_check_writable(self)) < 0 ||
        atomic_check_range(offset, bytes->size, format.width) < 0) {
        return NULL;
    }
    char *at = bytes->base + offset;
    if (bytes->guarded) {
        return atomic_perform_guarded(self, op, at, &format, operands);
    }
    return atomic_perform(op, at, &format, operands);
}

static PyObject *
atomic_on_buffer(atomic_op op, const char *name, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    int count = atomic_operands(op);
    PyObject *given[5];
    PyObject *result = NULL;
    atomic_format format;
    uint64_t operands[2];
    Py_buffer buffer;
    if (wi_fast_args(name, atomic_names[count], count + 2, args, nargs,
                     kwnames, given) < 0 ||
        atomic_format_of(given[count + 2], &format) < 0 ||
        atomic_operands_of(op, given + 2, &format, operands) < 0) {
        return NULL;
    }
    Py_ssize_t offset = wi_bytes_offset(given[1], PY_SSIZE_T_MAX);
    if (offset < 0 ||
        PyObject_GetBuffer(given[0], &buffer,
                           op == ATOMIC_LOAD ? PyBUF_SIMPLE : PyBUF_WRITABLE) <
            0) {
        return NULL;
    }
    if (atomic_check_range(offset, buffer.len, format.width) == 0) {
        char *at = (char *)buffer.buf + offset;
        PyObject *region = wi_bytes_guarded_source(given[0]);
        result = region != NULL ? atomic_perform_guarded(region, op, at,
                                                         &format, operands)
                                : atomic_perform(op, at, &format, operands);
    }
    PyBuffer_Release(&buffer);
    return result;
}

/* ----------------------------------------------------------------- Atomic */

typedef struct {
    PyObject_HEAD
    Py_buffer buffer; /* obj is NULL when released */
    char *at;         /* the number, within the buffer */
    atomic_format format;
    PyObject *region; /* the mapping of a file that it lies in, or NULL */
    PyObject *weakrefs;
} AtomicObject;

WI_INLINE PyObject *
atomic_on_number(PyObject *self, atomic_op op, const char *name,
                 PyObject *const *args, Py_ssize_t nargs)
{
    AtomicObject *number = (AtomicObject *)self;
    int count = atomic_operands(op);
    uint64_t operands[2];
    if (nargs != count) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d arguments (%zd given)",
                     name, count, nargs);
        return NULL;
    }
    if (atomic_operands_of(op, args, &number->format, operands) < 0) {
        return NULL;
    }
    if (number->buffer.obj == NULL) {
        PyErr_SetString(PyExc_ValueError, "Atomic is released");
        return NULL;
    }
    if (op != ATOMIC_LOAD && number->buffer.readonly) {
        PyErr_SetString(PyExc_TypeError, "Atomic is read-only");
        return NULL;
    }
    if (number->region != NULL) {
        return atomic_perform_guarded(number->region, op, number->at,
                                      &number->format, operands);
    }
    return atomic_perform(op, number->at, &number->format, operands);
}

static PyObject *
atomic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer", "offset", "format", NULL};
    PyObject *source, *offset_arg = NULL, *format_arg = NULL;
    atomic_format format;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO:Atomic", names,
                                     &source, &offset_arg, &format_arg) ||
        atomic_format_of(format_arg, &format) < 0) {
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
    /* Read-only memory is fine as long as it is only loaded from. */
    if (PyObject_GetBuffer(source, &self->buffer, PyBUF_WRITABLE) < 0) {
        PyErr_Clear();
        if (PyObject_GetBuffer(source, &self->buffer, PyBUF_SIMPLE) < 0) {
            goto fail;
        }
    }
    if (atomic_check_range(offset, self->buffer.len, format.width) < 0) {
        goto fail;
    }
    self->at = (char *)self->buffer.buf + offset;
    self->format = format;
    self->region = Py_XNewRef(wi_bytes_guarded_source(source));
    if (atomic_check_aligned(self->at, &format) < 0) {
        goto fail;
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Giving a buffer back may run Python, which finds it released by then. */
static int
atomic_clear(PyObject *self)
{
    AtomicObject *number = (AtomicObject *)self;
    Py_buffer buffer = number->buffer;
    memset(&number->buffer, 0, sizeof(number->buffer));
    PyBuffer_Release(&buffer); /* harmless when there is none */
    Py_CLEAR(number->region);
    return 0;
}

static PyObject *
atomic_release(PyObject *self, PyObject *ignored)
{
    WI_UNUSED(ignored);
    atomic_clear(self);
    Py_RETURN_NONE;
}

static PyObject *
atomic_enter(PyObject *self, PyObject *ignored)
{
    WI_UNUSED(ignored);
    return Py_NewRef(self);
}

static void
atomic_finalize(PyObject *self)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    atomic_clear(self);
    PyErr_Restore(type, value, traceback);
}

static int
atomic_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((AtomicObject *)self)->buffer.obj);
    Py_VISIT(((AtomicObject *)self)->region);
    return 0;
}

static PyObject *
atomic_repr(PyObject *self)
{
    AtomicObject *number = (AtomicObject *)self;
    if (number->buffer.obj == NULL) {
        return PyUnicode_FromString("<Atomic released>");
    }
    PyObject *value = atomic_on_number(self, ATOMIC_LOAD, "load", NULL, 0);
    if (value == NULL) {
        return NULL;
    }
    PyObject *result = PyUnicode_FromFormat(
        "<Atomic '%c' %R at %p>", number->format.code, value, number->at);
    Py_DECREF(value);
    return result;
}

static PyObject *
atomic_get_value(PyObject *self, void *closure)
{
    WI_UNUSED(closure);
    return atomic_on_number(self, ATOMIC_LOAD, "load", NULL, 0);
}

static int
atomic_set_value(PyObject *self, PyObject *value, void *closure)
{
    WI_UNUSED(closure);
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "value cannot be deleted");
        return -1;
    }
    PyObject *none = atomic_on_number(self, ATOMIC_STORE, "store", &value, 1);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static PyObject *
atomic_get_format(PyObject *self, void *closure)
{
    WI_UNUSED(closure);
    return PyUnicode_FromStringAndSize(&((AtomicObject *)self)->format.code,
                                       1);
}

static PyObject *
atomic_get_readonly(PyObject *self, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((AtomicObject *)self)->buffer.readonly);
}

/* ----------------------------------------------------- the three families */

#define ATOMIC_FORMATS                                                        \
    "\n\nformat is one of b B h H i I l L q Q (1, 2, 4 or 8 bytes); the\n"    \
    "address must be a multiple of its width."

/* clang-format off */
#define ATOMIC_DOC(op, arguments, text)                                       \
    const char wi_atomic_method_##op##_doc[] =                                \
        "atomic_" #op "($self, offset, " arguments "format='q')\n--\n\n"      \
        text ATOMIC_FORMATS;                                                  \
    static const char atomic_function_##op##_doc[] =                          \
        "atomic_" #op "($module, buffer, offset, " arguments "format='q')\n"  \
        "--\n\n" text ATOMIC_FORMATS;                                         \
    static const char atomic_number_##op##_doc[] =                            \
        #op "($self, " arguments "/)\n--\n\n" text;
/* clang-format on */

ATOMIC_DOC(load, "",
           "The number, read in one piece.\n\n"
           "Win32: a plain read with a barrier.")
ATOMIC_DOC(store, "value, ",
           "Write a number in one piece; a full barrier.\n\n"
           "Win32: InterlockedExchange.")
ATOMIC_DOC(exchange, "value, ",
           "Write a number and return the one before.\n\n"
           "Win32: InterlockedExchange.")
ATOMIC_DOC(compare_exchange, "expected, desired, ",
           "Write `desired` if the number is `expected`; return what it was.\n"
           "The write took place when the result equals `expected`.\n\n"
           "Win32: InterlockedCompareExchange.")
ATOMIC_DOC(add, "value, ",
           "Add, and return the number before. The sum wraps around.\n\n"
           "Win32: InterlockedExchangeAdd.")
ATOMIC_DOC(and, "value, ",
           "Bitwise and; return the number before.\n\n"
           "Win32: InterlockedAnd.")
ATOMIC_DOC(or, "value, ",
           "Bitwise or; return the number before.\n\nWin32: InterlockedOr.")
ATOMIC_DOC(xor, "value, ",
           "Bitwise exclusive or; return the number before.\n\n"
           "Win32: InterlockedXor.")

#define ATOMIC_FAMILY(op, constant)                                           \
    PyObject *wi_atomic_method_##op(PyObject *self, PyObject *const *args,    \
                                    Py_ssize_t nargs, PyObject *kwnames)      \
    {                                                                         \
        return atomic_on_object(self, constant, "atomic_" #op, args, nargs,   \
                                kwnames);                                     \
    }                                                                         \
    static PyObject *atomic_function_##op(                                    \
        PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, \
        PyObject *kwnames)                                                    \
    {                                                                         \
        return atomic_on_buffer(constant, "atomic_" #op, args, nargs,         \
                                kwnames);                                     \
    }                                                                         \
    static PyObject *atomic_number_##op(                                      \
        PyObject *self, PyObject *const *args, Py_ssize_t nargs)              \
    {                                                                         \
        return atomic_on_number(self, constant, #op, args, nargs);            \
    }

ATOMIC_FAMILY(load, ATOMIC_LOAD)
ATOMIC_FAMILY(store, ATOMIC_STORE)
ATOMIC_FAMILY(exchange, ATOMIC_EXCHANGE)
ATOMIC_FAMILY(compare_exchange, ATOMIC_COMPARE_EXCHANGE)
ATOMIC_FAMILY(add, ATOMIC_ADD)
ATOMIC_FAMILY(and, ATOMIC_AND)
ATOMIC_FAMILY(or, ATOMIC_OR)
ATOMIC_FAMILY(xor, ATOMIC_XOR)

#define ATOMIC_NUMBER_METHOD(op, spelled)                                     \
    {spelled, (PyCFunction)(void (*)(void))atomic_number_##op, METH_FASTCALL, \
     atomic_number_##op##_doc},

static PyMethodDef atomic_number_methods[] = {
    ATOMIC_NUMBER_METHOD(load, "load") ATOMIC_NUMBER_METHOD(store, "store")
        ATOMIC_NUMBER_METHOD(exchange, "exchange")
            ATOMIC_NUMBER_METHOD(compare_exchange, "compare_exchange")
                ATOMIC_NUMBER_METHOD(add, "add")
                    ATOMIC_NUMBER_METHOD(and, "and_")
                        ATOMIC_NUMBER_METHOD(or, "or_") ATOMIC_NUMBER_METHOD(
                            xor, "xor"){"release", atomic_release, METH_NOARGS,
                                        "release($self)\n--\n\nLet go of the "
                                        "buffer; may be called twice."},
    {"__enter__", atomic_enter, METH_NOARGS, NULL},
    {"__exit__", atomic_release, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef atomic_getset[] = {
    {"value", atomic_get_value, atomic_set_value,
     "load() and store() as an attribute.", NULL},
    {"format", atomic_get_format, NULL, "The struct code of the number.",
     NULL},
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
    "Atomic(buffer, offset=0, format='q')\n--\n\n"
    "One number in shared memory, for interlocked operations.\n\n"
    "`buffer` is a SharedSection, a SharedMapping or anything with the\n"
    "buffer protocol; it cannot be closed or resized before release().\n"
    "format is one of b B h H i I l L q Q (1, 2, 4 or 8 bytes); the address\n"
    "must be a multiple of its width. All operations but load() are full\n"
    "barriers, and load() acquires; any thread of any process may use the\n"
    "number at the same time.\n\n"
    "Raises ValueError for a misaligned or outlying offset.\n\n"
    "Win32: InterlockedExchangeAdd, InterlockedCompareExchange, ...");

static PyType_Slot atomic_slots[] = {
    {Py_tp_doc, (void *)atomic_doc},
    {Py_tp_new, atomic_new},
    {Py_tp_finalize, atomic_finalize},
    {Py_tp_traverse, atomic_traverse},
    {Py_tp_clear, atomic_clear},
    {Py_tp_repr, atomic_repr},
    {Py_tp_methods, atomic_number_methods},
    {Py_tp_members, atomic_members},
    {Py_tp_getset, atomic_getset},
    {0, NULL},
};

static PyType_Spec atomic_spec = {
    .name = "winipc.Atomic",
    .basicsize = sizeof(AtomicObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = atomic_slots,
};

#define ATOMIC_FUNCTION(op)                                                   \
    {"atomic_" #op, (PyCFunction)(void (*)(void))atomic_function_##op,        \
     METH_FASTCALL | METH_KEYWORDS, atomic_function_##op##_doc},

static PyMethodDef atomic_functions[] = {
    WI_ATOMIC_OPERATIONS(ATOMIC_FUNCTION){NULL, NULL, 0, NULL},
};

int
wi_atomic_init(PyObject *module, wi_state *state)
{
    if (wi_add_type(module, &atomic_spec, &state->atomic_type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, atomic_functions);
}

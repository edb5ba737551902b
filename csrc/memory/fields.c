/* fields.c: the fields of a structure as attributes, for Record and StructView.
 *
 *     class StructView(_core.Fields): ...
 *     view = StructView(mapping, layout, 64)
 *     view.speed, view["speed"]                 # the same field
 *     view.speed = 1.5
 *
 * The layout has a dict `_numbers`: of each field that is one number, its offset
 * and its struct code. Those are loaded from, and stored to, memory of ours or
 * bytes here. Everything else is done by the Python class, and so is every error:
 * `_get(name)` and `_put(name, value)`, which raise LookupError for other names.
 *
 * Owner: an object keeps its memory alive, but does not pin it. Thread: any. GIL:
 * kept; memory of a file, which needs it given up, is left to Python. */
#include "base/bytes.h"
#include "base/number.h"

typedef struct {
    PyObject_HEAD
    PyObject *layout;
    PyObject *numbers; /* name -> offset * 256 + struct code */
    PyObject *memory;
    Py_ssize_t offset; /* of the structure in the memory */
    char is_bytes;     /* the memory is bytes */
    char is_ours;      /* the memory starts with WI_BYTES_HEAD */
} FieldsObject;

static PyObject *
fields_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *layout, *memory;
    Py_ssize_t offset = 0;
    /* A copy of a record has no offset, and is what has to be quick. */
    if (PyTuple_Size(args) == 2) {
        layout = PyTuple_GetItem(args, 0);
        memory = PyTuple_GetItem(args, 1);
    }
    else if (!PyArg_ParseTuple(args, "OO|n:Fields", &layout, &memory,
                               &offset)) {
        return NULL;
    }
    PyObject *numbers = PyObject_GetAttrString(layout, "_numbers");
    FieldsObject *self = numbers == NULL ? NULL : wi_alloc(type);
    if (self == NULL) {
        Py_XDECREF(numbers);
        return NULL;
    }
    self->layout = Py_NewRef(layout);
    self->numbers = numbers;
    self->memory = Py_NewRef(memory);
    self->offset = offset;
    self->is_bytes = PyBytes_Check(memory) != 0;
    self->is_ours =
        !self->is_bytes && PyType_GetSlot(Py_TYPE(memory), Py_bf_getbuffer) ==
                               (void *)wi_bytes_getbuffer;
    return (PyObject *)self;
}

static int
fields_clear(PyObject *op)
{
    FieldsObject *self = (FieldsObject *)op;
    Py_CLEAR(self->layout);
    Py_CLEAR(self->numbers);
    Py_CLEAR(self->memory);
    return 0;
}

/* It owns nothing but references: no finaliser, which costs as much as the rest. */
static void
fields_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    fields_clear(op);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

static int
fields_traverse(PyObject *op, visitproc visit, void *arg)
{
    FieldsObject *self = (FieldsObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->layout);
    Py_VISIT(self->numbers);
    Py_VISIT(self->memory);
    return 0;
}

/* Where the number with this name is; NULL, perhaps with an exception, for
 * whatever is not done here. */
WI_INLINE char *
fields_find(FieldsObject *self, PyObject *name, int write,
            const wi_number **kind)
{
    PyObject *place = self->numbers == NULL
                          ? NULL
                          : PyDict_GetItemWithError(self->numbers, name);
    if (place == NULL) {
        return NULL;
    }
    const uint64_t number = PyLong_AsUnsignedLongLong(place);
    const char code = (char)(number & 0xff);
    const wi_number *found = WI_NUMBER_KINDS;
    while (found->code != code) {
        if (++found == WI_NUMBER_KINDS + Py_ARRAY_LENGTH(WI_NUMBER_KINDS)) {
            return NULL;
        }
    }
    *kind = found;
    const Py_ssize_t at = self->offset + (Py_ssize_t)(number >> 8);
    char *base = NULL;
    Py_ssize_t size = 0;
    if (self->is_ours && wi_bytes_is_open(self->memory)) {
        const wi_bytes *bytes = &((wi_bytes_object *)self->memory)->bytes;
        base =
            bytes->guarded || (write && bytes->readonly) ? NULL : bytes->base;
        size = bytes->size;
    }
    else if (self->is_bytes && !write) {
        base = PyBytes_AsString(self->memory);
        size = PyBytes_Size(self->memory);
    }
    return base == NULL || at < 0 || at > size - found->size ? NULL
                                                             : base + at;
}

WI_INLINE PyObject *
fields_number(PyObject *op, PyObject *name)
{
    const wi_number *kind;
    const char *at = fields_find((FieldsObject *)op, name, 0, &kind);
    return at == NULL
               ? NULL
               : wi_number_to_python(kind, wi_number_load(at, kind->size));
}

static PyObject *
fields_get(PyObject *op, PyObject *name)
{
    PyObject *value = fields_number(op, name);
    if (value == NULL && !PyErr_Occurred()) {
        value = PyObject_CallMethod(op, "_get", "(O)", name);
    }
    return value;
}

/* A LookupError about a field is an AttributeError about an attribute. */
static void
fields_no_attribute(void)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_LookupError)) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = PyObject_Str(value);
    if (text != NULL) {
        PyErr_SetObject(PyExc_AttributeError, text);
    }
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

static PyObject *
fields_get_attribute(PyObject *op, PyObject *name)
{
    PyObject *value = fields_number(op, name);
    if (value != NULL || PyErr_Occurred()) {
        return value;
    }
    value = PyObject_GenericGetAttr(op, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_CallMethod(op, "_get", "(O)", name);
        if (value == NULL) {
            fields_no_attribute();
        }
    }
    return value;
}

static int
fields_put(PyObject *op, PyObject *name, PyObject *value)
{
    const wi_number *kind;
    uint64_t bits;
    if (value == NULL) {
        return wi_raise_about(op, PyExc_TypeError, "keeps its fields");
    }
    char *at = fields_find((FieldsObject *)op, name, 1, &kind);
    if (at != NULL) {
        if (wi_number_from(kind, value, 0, &bits) == 0) {
            /* A conversion can run Python that closes the memory. */
            at = fields_find((FieldsObject *)op, name, 1, &kind);
            if (at != NULL) {
                wi_number_store(at, kind->size, bits);
                return 0;
            }
        }
        /* Python says which field it is. */
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError) &&
            !PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
    }
    else if (PyErr_Occurred()) {
        return -1;
    }
    PyObject *none = PyObject_CallMethod(op, "_put", "(OO)", name, value);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static int
fields_put_attribute(PyObject *op, PyObject *name, PyObject *value)
{
    int result = fields_put(op, name, value);
    if (result < 0) {
        fields_no_attribute();
    }
    return result;
}

static PyMemberDef fields_members[] = {
    {"_layout", T_OBJECT, offsetof(FieldsObject, layout), Py_READONLY, NULL},
    {"_memory", T_OBJECT, offsetof(FieldsObject, memory), Py_READONLY, NULL},
    {"_offset", T_PYSSIZET, offsetof(FieldsObject, offset), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(fields_doc,
             "Fields(layout, memory, offset=0, /)\n--\n\n"
             "A structure in memory: what Record and StructView share.");

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, (void *)fields_doc},
    {Py_tp_new, fields_new},
    {Py_tp_dealloc, fields_dealloc},
    {Py_tp_traverse, fields_traverse},
    {Py_tp_clear, fields_clear},
    {Py_tp_getattro, fields_get_attribute},
    {Py_tp_setattro, fields_put_attribute},
    {Py_mp_subscript, fields_get},
    {Py_mp_ass_subscript, fields_put},
    {Py_tp_members, fields_members},
    {0, NULL},
};

static PyType_Spec fields_spec = {
    .name = "winipc._core.Fields",
    .basicsize = sizeof(FieldsObject),
    .flags = WI_TYPE_FLAGS,
    .slots = fields_slots,
};

int
wi_fields_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    PyTypeObject *type;
    if (wi_add_type(module, &fields_spec, &type) < 0) {
        return -1;
    }
    Py_DECREF(type); /* the module has it */
    return 0;
}

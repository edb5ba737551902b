/* fields.c: the fields of a structure as attributes, for Record and StructView.
 *
 *     class Layout(_core.Layout): ...
 *     layout.unpack(data).speed                 # a Record's
 *     class StructView(_core.Fields): ...
 *     view = StructView(mapping, layout, 64)
 *     view.speed, view["speed"]                 # the same field
 *     view.speed = 1.5
 *
 * The layout's dict `_numbers` has the offset and the struct code of each
 * field that is one number. C loads such a field from memory of ours or from
 * bytes, and stores it to memory of ours. The Python class does everything
 * else, and raises all errors: `_get(name)` and `_put(name, value)` raise
 * LookupError for a name that is no field.
 *
 * Owner: an object keeps its memory alive, but does not pin it. Thread: any. GIL:
 * kept; memory of a file needs it given up, and is left to Python. */
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

/* ----------------------------------------------------------- of a layout */

/* What unpack() needs of a layout, so that making a record costs no more than
 * making bytes. */
typedef struct {
    PyObject_HEAD
    PyObject *numbers; /* as in FieldsObject */
    PyObject *record;  /* the class of its records, one of ours */
    Py_ssize_t size;   /* bytes */
} LayoutObject;

static PyObject *
layout_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
           PyObject *Py_UNUSED(kwargs))
{
    return wi_alloc(type); /* Python's __init__ does the rest */
}

static int
layout_clear(PyObject *op)
{
    Py_CLEAR(((LayoutObject *)op)->numbers);
    Py_CLEAR(((LayoutObject *)op)->record);
    return 0;
}

static int
layout_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((LayoutObject *)op)->numbers);
    Py_VISIT(((LayoutObject *)op)->record);
    return 0;
}

/* ----------------------------------------------------------------- fields */

static void
fields_fill(FieldsObject *self, PyObject *layout, PyObject *numbers,
            PyObject *memory)
{
    self->layout = Py_NewRef(layout);
    self->numbers = Py_NewRef(numbers);
    self->memory = Py_NewRef(memory);
    self->is_bytes = PyBytes_Check(memory) != 0;
}

static PyObject *
fields_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *layout, *memory;
    Py_ssize_t offset = 0;
    if (!PyArg_ParseTuple(args, "OO|n:Fields", &layout, &memory, &offset)) {
        return NULL;
    }
    PyObject *numbers = PyObject_GetAttrString(layout, "_numbers");
    FieldsObject *self = numbers == NULL ? NULL : wi_alloc(type);
    if (self != NULL) {
        fields_fill(self, layout, numbers, memory);
        self->offset = offset;
        self->is_ours = !self->is_bytes &&
                        PyType_GetSlot(Py_TYPE(memory), Py_bf_getbuffer) ==
                            (void *)wi_bytes_getbuffer;
    }
    Py_XDECREF(numbers);
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

/* These types have a dealloc and no finaliser: they own nothing but
 * references, and calling a finaliser takes as long as all the rest. */
static void
fields_free(PyObject *op, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    clear(op);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(op);
    Py_DECREF(type);
}

static void
fields_dealloc(PyObject *op)
{
    fields_free(op, fields_clear);
}

static void
layout_dealloc(PyObject *op)
{
    fields_free(op, layout_clear);
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

/* The address of a number whose entry in the table is `place`. NULL, perhaps
 * with an exception, if Python has to do it. */
WI_INLINE char *
fields_at(FieldsObject *self, PyObject *place, int write,
          const wi_number **kind)
{
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

WI_INLINE char *
fields_find(FieldsObject *self, PyObject *name, int write,
            const wi_number **kind)
{
    PyObject *place = self->numbers == NULL
                          ? NULL
                          : PyDict_GetItemWithError(self->numbers, name);
    return place == NULL ? NULL : fields_at(self, place, write, kind);
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

/* Turn the LookupError about a field into an AttributeError. Python adds what it
 * suggests to one without a name, so one whose text has a suggestion gets it. */
static void
fields_no_attribute(PyObject *name)
{
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_LookupError)) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = PyObject_Str(value);
    PyObject *error =
        text == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(PyExc_AttributeError, text, NULL);
    if (error != NULL) {
        Py_ssize_t length = PyUnicode_GetLength(text);
        if (PyUnicode_FindChar(text, '?', 0, length, 1) < 0 ||
            PyObject_SetAttrString(error, "name", name) == 0) {
            PyErr_SetObject(PyExc_AttributeError, error);
        }
    }
    Py_XDECREF(error);
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
            fields_no_attribute(name);
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
            /* The conversion may have run code that closes the memory. */
            if (!PyLong_CheckExact(value) && !PyFloat_CheckExact(value)) {
                at = fields_find((FieldsObject *)op, name, 1, &kind);
            }
            if (at != NULL) {
                wi_number_store(at, kind->size, bits);
                return 0;
            }
        }
        /* Let Python raise these again: it names the field. */
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
        fields_no_attribute(name);
    }
    return result;
}

static PyObject *
fields_all_numbers(PyObject *op, PyObject *Py_UNUSED(unused))
{
    FieldsObject *self = (FieldsObject *)op;
    PyObject *numbers = self->numbers, *name, *place;
    PyObject *result = PyDict_New();
    Py_ssize_t next = 0;
    while (result != NULL && PyDict_Next(numbers, &next, &name, &place)) {
        const wi_number *kind;
        const char *at = fields_at(self, place, 0, &kind);
        PyObject *value =
            at == NULL
                ? fields_get(op, name)
                : wi_number_to_python(kind, wi_number_load(at, kind->size));
        if (value == NULL || PyDict_SetItem(result, name, value) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(value);
    }
    return result;
}

static PyMethodDef fields_methods[] = {
    {"_all_numbers", fields_all_numbers, METH_NOARGS,
     PyDoc_STR("_all_numbers($self, /)\n--\n\n"
               "A dict of the values of all fields that `_numbers` has.")},
    {NULL, NULL, 0, NULL},
};

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
    {Py_tp_methods, fields_methods},
    {Py_tp_members, fields_members},
    {0, NULL},
};

static PyType_Spec fields_spec = {
    .name = "winipc._core.Fields",
    .basicsize = sizeof(FieldsObject),
    .flags = WI_TYPE_FLAGS,
    .slots = fields_slots,
};

/* ----------------------------------------------------------------- Layout */

PyDoc_STRVAR(layout_unpack_doc,
             "unpack($self, /, buffer, offset=0)\n--\n\n"
             "The values of the structure at `offset`; more bytes may\n"
             "follow.\n\n"
             "Raises:\n"
             "    ValueError: There are fewer bytes.");

static PyObject *
layout_unpack(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "offset", NULL};
    LayoutObject *self = (LayoutObject *)op;
    PyObject *given[2];
    if (wi_fast_args("unpack", names, 1, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (given[1] == NULL && PyBytes_CheckExact(given[0]) &&
        PyBytes_Size(given[0]) == self->size && self->numbers != NULL &&
        self->record != NULL && PyType_Check(self->record) &&
        PyType_GetSlot((PyTypeObject *)self->record, Py_tp_new) ==
            (void *)fields_new) {
        FieldsObject *record = wi_alloc((PyTypeObject *)self->record);
        if (record != NULL) {
            fields_fill(record, op, self->numbers, given[0]);
        }
        return (PyObject *)record;
    }
    return given[1] == NULL
               ? PyObject_CallMethod(op, "_unpack", "(O)", given[0])
               : PyObject_CallMethod(op, "_unpack", "(OO)", given[0],
                                     given[1]);
}

static PyMethodDef layout_methods[] = {
    {"unpack", WI_FAST(layout_unpack), layout_unpack_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef layout_members[] = {
    {"_numbers", T_OBJECT, offsetof(LayoutObject, numbers), 0, NULL},
    {"_record", T_OBJECT, offsetof(LayoutObject, record), 0, NULL},
    {"size", T_PYSSIZET, offsetof(LayoutObject, size), 0,
     PyDoc_STR("The size of the structure in bytes.")},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(layout_doc, "The part of winipc.Layout that is in C.");

static PyType_Slot layout_slots[] = {
    {Py_tp_doc, (void *)layout_doc}, {Py_tp_new, layout_new},
    {Py_tp_dealloc, layout_dealloc}, {Py_tp_traverse, layout_traverse},
    {Py_tp_clear, layout_clear},     {Py_tp_methods, layout_methods},
    {Py_tp_members, layout_members}, {0, NULL},
};

static PyType_Spec layout_spec = {
    .name = "winipc._core.Layout",
    .basicsize = sizeof(LayoutObject),
    .flags = WI_TYPE_FLAGS,
    .slots = layout_slots,
};

int
wi_fields_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    if (wi_add_type(module, &fields_spec, NULL) < 0) {
        return -1;
    }
    return wi_add_type(module, &layout_spec, NULL);
}

/* number.c: finds the kind of a number by its name, and converts from Python.
 *
 *     wi_number_named("u32")        # or "I", "<I", "L"
 *
 * It owns nothing. The caller holds the GIL. */
#include "number.h"

static const wi_number *
number_of_code(char code)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(WI_NUMBER_KINDS); i++) {
        if (WI_NUMBER_KINDS[i].code == code) {
            return &WI_NUMBER_KINDS[i];
        }
    }
    return NULL;
}

/* Find a kind by its name ("i32") or its struct code. A byte order may precede
 * the code if it is this machine's: "<i", "=i", "@i". NULL if there is none. */
static const wi_number *
number_find(const char *text, Py_ssize_t length)
{
    if (length == 1) {
        return number_of_code(text[0]);
    }
    if (text[0] == '<' || text[0] == '=' || text[0] == '@') {
        return length == 2 ? number_of_code(text[1]) : NULL;
    }
    /* Computed: a search would take most of the time of a get(). */
    const int first = text[0] == 'i'   ? WI_NUMBER_i8
                      : text[0] == 'u' ? WI_NUMBER_u8
                                       : WI_NUMBER_f32 - 2;
    const int size = text[1] == '8'   ? 0
                     : text[1] == '1' ? 1
                     : text[1] == '3' ? 2
                                      : 3;
    const wi_number *kind = &WI_NUMBER_KINDS[first + size];
    const char *name = kind->name; /* of two letters or three */
    return text[0] == name[0] && text[1] == name[1] && text[2] == name[2] &&
                   length == 2 + (name[2] != '\0')
               ? kind
               : NULL;
}

WI_NOINLINE static void
number_unknown(PyObject *name, const char *call)
{
    PyErr_Clear(); /* no str, or half of a surrogate pair */
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError,
                     "a type of numbers is a str such as 'i32', not %.60R%s%s",
                     name, call == NULL ? "" : ": ", call == NULL ? "" : call);
        return;
    }
    PyErr_Format(PyExc_ValueError,
                 "no type of numbers %R: there are i8 i16 i32 i64 u8 u16 u32 "
                 "u64 f32 f64, and the struct codes b h i l q B H I L Q f d",
                 name);
}

const wi_number *
wi_number_named(PyObject *name, const char *call)
{
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(name, &length);
    const wi_number *kind =
        text != NULL && length > 0 ? number_find(text, length) : NULL;
    if (kind == NULL) {
        number_unknown(name, call);
    }
    return kind;
}

WI_NOINLINE static int
number_overflow(const wi_number *kind, PyObject *value)
{
    PyErr_Format(PyExc_OverflowError, "%R does not fit in %s ('%c')", value,
                 kind->name, kind->code);
    return -1;
}

/* A function apart, so that the path of an integer saves no registers for it. */
WI_NOINLINE static int
number_from_float(const wi_number *kind, PyObject *value, uint64_t *bits)
{
    double wide = PyFloat_AsDouble(value);
    if (wide == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    *bits = 0;
    if (kind->size == sizeof(wide)) {
        memcpy(bits, &wide, sizeof(wide));
        return 0;
    }
    float narrow = (float)wide;
    /* A finite double must not become an infinite float. */
    if (wide - wide == 0 && narrow - narrow != 0) {
        return number_overflow(kind, value);
    }
    memcpy(bits, &narrow, sizeof(narrow));
    return 0;
}

int
wi_number_from(const wi_number *kind, PyObject *value, int wraps,
               uint64_t *bits)
{
    if (kind->family == 'f') {
        return number_from_float(kind, value, bits);
    }
    PyObject *index = PyLong_CheckExact(value) ? value : PyNumber_Index(value);
    if (index == NULL) {
        return wi_not_an_int(kind->name, value);
    }
    int overflow;
    const unsigned spare = 64 - kind->size * 8u;
    const int is_signed = kind->family == 'i';
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    *bits = (uint64_t)number;
    int fits =
        overflow == 0 &&
        (((is_signed || wraps) &&
          (int64_t)(*bits << spare) >> spare == number) ||
         (!is_signed && number >= 0 && *bits << spare >> spare == *bits));
    if (overflow > 0 && spare == 0 && !is_signed) {
        *bits = PyLong_AsUnsignedLongLong(index);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    if (index != value) {
        Py_DECREF(index);
    }
    return fits ? 0 : number_overflow(kind, value);
}

/* ------------------------------------------------------------------ module */

static PyObject *
number_code(PyObject *Py_UNUSED(module), PyObject *name)
{
    const wi_number *kind = wi_number_named(name, NULL);
    if (kind == NULL) {
        return NULL;
    }
    /* "l" and "L" become "i" and "I". */
    kind = number_find(kind->name, (Py_ssize_t)strlen(kind->name));
    return PyUnicode_FromStringAndSize(&kind->code, 1);
}

static PyMethodDef number_functions[] = {
    {"_number_code", number_code, METH_O,
     PyDoc_STR(
         "_number_code(type, /)\n--\n\n"
         "The struct code of a type of numbers, however it is spelled.")},
    {NULL, NULL, 0, NULL},
};

int
wi_number_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, number_functions);
}

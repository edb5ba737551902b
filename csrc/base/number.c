/* number.c: kinds of numbers by their names, and numbers from Python. */
#include "number.h"

const wi_number *
wi_number_named(PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError,
                     "a type of numbers is a str such as 'i32', not %R",
                     (PyObject *)Py_TYPE(name));
        return NULL;
    }
    Py_UCS4 code =
        PyUnicode_GetLength(name) == 1 ? PyUnicode_ReadChar(name, 0) : 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(WI_NUMBER_KINDS); i++) {
        const wi_number *kind = &WI_NUMBER_KINDS[i];
        if (code != 0
                ? code == (Py_UCS4)kind->code
                : PyUnicode_CompareWithASCIIString(name, kind->name) == 0 ||
                      PyUnicode_CompareWithASCIIString(name,
                                                       kind->long_name) == 0) {
            return kind;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "no type of numbers %R: there are i8 i16 i32 i64 u8 u16 u32 "
                 "u64 f32 f64, and the struct codes b h i l q B H I L Q f d",
                 name);
    return NULL;
}

static int
number_overflow(const wi_number *kind, PyObject *value)
{
    PyErr_Format(PyExc_OverflowError, "%R does not fit in %s ('%c')", value,
                 kind->name, kind->code);
    return -1;
}

static int
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
    /* A finite number must not become infinite on its way. */
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
    PyObject *index =
        PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    int overflow;
    const unsigned width = kind->size * 8u;
    const int is_signed = kind->family == 'i';
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    int fits = overflow == 0;
    *bits = (uint64_t)number;
    if (overflow > 0 && width == 64 && !is_signed) {
        *bits = PyLong_AsUnsignedLongLong(index);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    else if (width < 64) {
        long long high =
            is_signed ? (1LL << (width - 1)) - 1 : (1LL << width) - 1;
        long long low = is_signed || wraps ? -(1LL << (width - 1)) : 0;
        fits = fits && number >= low && number <= high;
    }
    else if (!is_signed && !wraps) {
        fits = fits && number >= 0;
    }
    Py_DECREF(index);
    return fits ? 0 : number_overflow(kind, value);
}

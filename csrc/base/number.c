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

WI_NOINLINE static int
number_overflow(const wi_number *kind, PyObject *value)
{
    PyErr_Format(PyExc_OverflowError, "%R does not fit in %s ('%c')", value,
                 kind->name, kind->code);
    return -1;
}

/* Apart, so that an integer does not save its registers. */
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
    PyObject *index = PyLong_CheckExact(value) ? value : PyNumber_Index(value);
    if (index == NULL) {
        return -1;
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

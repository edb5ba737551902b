/* args.c: converters from Python arguments to Win32 values.
 *
 * PyArg_Parse's codes k, I, H and K wrap silently. Here a pid, a window handle
 * or an address that does not fit is an OverflowError. */
#include "core.h"

#include <math.h>

int
wi_wrong_type(const char *wanted, PyObject *value)
{
    PyObject *error = PyErr_Occurred();
    PyObject *type =
        error == NULL || PyErr_GivenExceptionMatches(error, PyExc_TypeError)
            ? PyType_GetName(Py_TYPE(value))
            : NULL;
    if (type != NULL) {
        PyErr_Format(PyExc_TypeError, "%s, not %U", wanted, type);
        Py_DECREF(type);
    }
    return 0;
}

int
wi_not_an_int(const char *name, PyObject *value)
{
    char wanted[64];
    PyOS_snprintf(wanted, sizeof(wanted), "%s must be an int", name);
    return wi_wrong_type(wanted, value) - 1;
}

int
wi_int_arg(const char *name, PyObject *value,
           int (*convert)(PyObject *, void *), void *out)
{
    return value == NULL || convert(value, out) ? 0
                                                : wi_not_an_int(name, value);
}

PyObject *
wi_name_int(const char *name, PyObject *args)
{
    if (PyTuple_Size(args) == 1) {
        wi_not_an_int(name, PyTuple_GetItem(args, 0));
    }
    return NULL;
}

int
wi_check_str(const char *name, PyObject *value)
{
    char wanted[64];
    PyOS_snprintf(wanted, sizeof(wanted), "%s must be a str", name);
    return PyUnicode_Check(value) ? 0 : wi_wrong_type(wanted, value) - 1;
}

int
wi_size_converter(PyObject *value, void *out)
{
    Py_ssize_t *size = out;
    *size = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (*size < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "size must be >= 0");
        }
        return wi_not_an_int("size", value) + 1;
    }
    return 1;
}

int
wi_u64_converter(PyObject *value, void *out)
{
    PyObject *index = PyLong_CheckExact(value) ? value : PyNumber_Index(value);
    if (index == NULL) {
        return wi_wrong_type("an int is needed", value);
    }
    unsigned long long number = PyLong_AsUnsignedLongLong(index);
    if (index != value) {
        Py_DECREF(index);
    }
    if (number == (unsigned long long)-1 && PyErr_Occurred()) {
        return 0;
    }
    *(uint64_t *)out = number;
    return 1;
}

int
wi_u32_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_u64_converter(value, &number)) {
        return 0;
    }
    if (number > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit in 32 bits", value);
        return 0;
    }
    *(DWORD *)out = (DWORD)number;
    return 1;
}

int
wi_address_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_u64_converter(value, &number)) {
        return wi_wrong_type("an address must be an int", value);
    }
    if (number > UINTPTR_MAX) {
        PyErr_Format(PyExc_OverflowError, "%R is not an address here", value);
        return 0;
    }
    *(uintptr_t *)out = (uintptr_t)number;
    return 1;
}

int
wi_handle_converter(PyObject *value, void *out)
{
    uintptr_t number;
    if (!wi_address_converter(value, &number)) {
        return wi_wrong_type("a handle must be an int", value);
    }
    if (number == 0 || (HANDLE)number == INVALID_HANDLE_VALUE) {
        PyErr_Format(PyExc_ValueError, "%R is not a handle", value);
        return 0;
    }
    *(HANDLE *)out = (HANDLE)number;
    return 1;
}

int
wi_timeout_converter(PyObject *value, void *out)
{
    uint64_t *ms = out;
    if (value == Py_None) {
        *ms = WI_FOREVER;
        return 1;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return wi_wrong_type("timeout must be a number of seconds or None",
                             value);
    }
    if (!(seconds >= 0.0)) { /* NaN as well */
        PyErr_SetString(PyExc_ValueError,
                        "timeout must be a number of seconds >= 0, or None");
        return 0;
    }
    /* A thousand years is as good as forever, and fits. */
    *ms = seconds > 3.2e10 ? WI_FOREVER : (uint64_t)ceil(seconds * 1000.0);
    return 1;
}

int
wi_wide_name(PyObject *name, wchar_t **out)
{
    *out = NULL;
    if (name == NULL || name == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(name)) {
        return wi_wrong_type("name must be a str or None", name) - 1;
    }
    *out = PyUnicode_AsWideCharString(name, NULL);
    return *out == NULL ? -1 : 0;
}

int
wi_fast_args(const char *function, const char *const *names,
             Py_ssize_t required, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, PyObject **out)
{
    Py_ssize_t known = 0;
    for (; known < nargs && names[known] != NULL; known++) {
        out[known] = args[known];
    }
    for (; names[known] != NULL; known++) {
        out[known] = NULL;
    }
    if (kwnames == NULL && nargs >= required && nargs <= known) {
        return 0; /* the common case */
    }
    if (nargs > known) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %zd arguments (%zd given)", function,
                     known, nargs);
        return -1;
    }
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_Size(kwnames);
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *keyword = PyTuple_GetItem(kwnames, k);
        Py_ssize_t i = known - 1; /* it is usually the last */
        while (i >= 0 &&
               PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) {
            i--;
        }
        if (i < 0) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got an unexpected keyword argument %R",
                         function, keyword);
            return -1;
        }
        if (out[i] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got multiple values for argument %R", function,
                         keyword);
            return -1;
        }
        out[i] = args[nargs + k];
    }
    for (Py_ssize_t i = 0; i < required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() misses its argument '%s'",
                         function, names[i]);
            return -1;
        }
    }
    return 0;
}

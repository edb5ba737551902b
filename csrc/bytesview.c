/* bytesview.c: index, slice, read, write and export a range of memory.
 *
 * Every bound is checked against the object as it is after the arguments are
 * converted, since a conversion can run Python code that closes the object.
 * Memory that a call uses without the GIL is pinned meanwhile. */
#include "bytesview.h"

#define BYTES_OF(self) (&((wi_bytes_object *)(self))->bytes)

/* From here on a copy is long enough to be worth giving up the GIL. */
#define BYTES_UNLOCKED_COPY (256 * 1024)

/* -------------------------------------------------------------- arguments */

int
wi_fast_args(const char *function, const char *const *names,
             Py_ssize_t required, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, PyObject **out)
{
    Py_ssize_t known = 0;
    for (; names[known] != NULL; known++) {
        out[known] = known < nargs ? args[known] : NULL;
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
        Py_ssize_t i = 0;
        while (i < known &&
               PyUnicode_CompareWithASCIIString(keyword, names[i]) != 0) {
            i++;
        }
        if (i == known) {
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

static int
bytes_raise(PyObject *self, PyObject *exception, const char *what)
{
    PyObject *name = PyType_GetName(Py_TYPE(self));
    if (name != NULL) {
        PyErr_Format(exception, "%U %s", name, what);
        Py_DECREF(name);
    }
    return -1;
}

int
wi_bytes_check_open(PyObject *self)
{
    if (BYTES_OF(self)->base == NULL) {
        return bytes_raise(self, PyExc_ValueError, "is closed");
    }
    return 0;
}

int
wi_bytes_check_writable(PyObject *self)
{
    if (wi_bytes_check_open(self) < 0) {
        return -1;
    }
    if (BYTES_OF(self)->readonly) {
        return bytes_raise(self, PyExc_TypeError, "is read-only");
    }
    return 0;
}

int
wi_bytes_check_unpinned(PyObject *self)
{
    Py_ssize_t pins = BYTES_OF(self)->pins;
    if (pins == 0) {
        return 0;
    }
    PyErr_Format(PyExc_BufferError,
                 "cannot close %R: %zd buffer%s exported or in use "
                 "(memoryview, NumPy array, ...)",
                 self, pins, pins == 1 ? " is" : "s are");
    return -1;
}

Py_ssize_t
wi_bytes_offset(PyObject *value, Py_ssize_t limit)
{
    Py_ssize_t number = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (number < 0 || number > limit) {
        PyErr_Format(PyExc_ValueError, "%zd is not in the range 0 to %zd",
                     number, limit);
        return -1;
    }
    return number;
}

/* The range that read() and read_into() are asked for. Converts first, then
 * looks at the object. 0, or -1 with an exception. */
static int
bytes_range(PyObject *self, PyObject *offset_arg, PyObject *size_arg,
            Py_ssize_t *offset, Py_ssize_t *size)
{
    *offset = 0;
    *size = -1;
    if (offset_arg != NULL) {
        *offset = wi_bytes_offset(offset_arg, PY_SSIZE_T_MAX);
        if (*offset < 0) {
            return -1;
        }
    }
    if (size_arg != NULL && size_arg != Py_None) {
        *size = wi_bytes_offset(size_arg, PY_SSIZE_T_MAX);
        if (*size < 0) {
            return -1;
        }
    }
    if (wi_bytes_check_open(self) < 0) {
        return -1;
    }
    Py_ssize_t whole = BYTES_OF(self)->size;
    if (*offset > whole || (*size >= 0 && *size > whole - *offset)) {
        PyErr_Format(PyExc_ValueError,
                     "bytes %zd to %zd+%zd are not within %zd bytes", *offset,
                     *offset, *size < 0 ? 0 : *size, whole);
        return -1;
    }
    if (*size < 0) {
        *size = whole - *offset;
    }
    return 0;
}

/* ---------------------------------------------------------------- copying */

int
wi_bytes_copy(PyObject *self, void *target, const void *source,
              Py_ssize_t size)
{
    if (size < BYTES_UNLOCKED_COPY) {
        memmove(target, source, (size_t)size);
        return 0;
    }
    BYTES_OF(self)->pins++;
    Py_BEGIN_ALLOW_THREADS
    memmove(target, source, (size_t)size);
    Py_END_ALLOW_THREADS
    BYTES_OF(self)->pins--;
    return 0;
}

const char wi_bytes_read_doc[] =
    "read($self, /, offset=0, size=None)\n--\n\n"
    "A copy of `size` bytes from `offset`; None for all up to the end.\n\n"
    "Raises ValueError when the range leaves the memory.";

PyObject *
wi_bytes_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"offset", "size", NULL};
    PyObject *given[2];
    Py_ssize_t offset, size;
    if (wi_fast_args("read", names, 0, args, nargs, kwnames, given) < 0 ||
        bytes_range(self, given[0], given[1], &offset, &size) < 0) {
        return NULL;
    }
    const char *source = BYTES_OF(self)->base + offset;
    if (size < BYTES_UNLOCKED_COPY) {
        return PyBytes_FromStringAndSize(source, size);
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, size);
    if (result != NULL && wi_bytes_copy(self, PyBytes_AsString(result),
                                        source, size) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

const char wi_bytes_read_into_doc[] =
    "read_into($self, target, /, offset=0, size=None)\n--\n\n"
    "Copy bytes from `offset` into a writable buffer; return how many.\n\n"
    "`size` is by default what `target` takes, or what there is if that is\n"
    "less. Raises ValueError when the range leaves the memory or `target`.";

PyObject *
wi_bytes_read_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const char *const names[] = {"target", "offset", "size", NULL};
    PyObject *given[3];
    PyObject *result = NULL;
    Py_buffer target;
    Py_ssize_t offset, size;
    if (wi_fast_args("read_into", names, 1, args, nargs, kwnames, given) <
            0 ||
        PyObject_GetBuffer(given[0], &target, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (bytes_range(self, given[1], given[2], &offset, &size) < 0) {
        goto done;
    }
    if (size > target.len) {
        if (given[2] != NULL && given[2] != Py_None) {
            PyErr_Format(PyExc_ValueError,
                         "%zd bytes do not fit in a buffer of %zd", size,
                         target.len);
            goto done;
        }
        size = target.len;
    }
    if (wi_bytes_copy(self, target.buf, BYTES_OF(self)->base + offset, size) <
        0) {
        goto done;
    }
    result = PyLong_FromSsize_t(size);
done:
    PyBuffer_Release(&target);
    return result;
}

const char wi_bytes_write_doc[] =
    "write($self, data, /, offset=0)\n--\n\n"
    "Copy `data` (anything with the buffer protocol) to `offset`; return how\n"
    "many bytes.\n\n"
    "Raises ValueError, and writes nothing, when it does not fit; TypeError\n"
    "when the memory is read-only.";

PyObject *
wi_bytes_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const char *const names[] = {"data", "offset", NULL};
    PyObject *given[2];
    PyObject *result = NULL;
    Py_buffer data;
    Py_ssize_t offset = 0;
    if (wi_fast_args("write", names, 1, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (given[1] != NULL) {
        offset = wi_bytes_offset(given[1], PY_SSIZE_T_MAX);
        if (offset < 0) {
            return NULL;
        }
    }
    if (PyObject_GetBuffer(given[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (wi_bytes_check_writable(self) < 0) {
        goto done;
    }
    Py_ssize_t whole = BYTES_OF(self)->size;
    if (offset > whole || data.len > whole - offset) {
        PyErr_Format(PyExc_ValueError,
                     "%zd bytes at offset %zd do not fit in %zd", data.len,
                     offset, whole);
        goto done;
    }
    if (wi_bytes_copy(self, BYTES_OF(self)->base + offset, data.buf,
                      data.len) < 0) {
        goto done;
    }
    result = PyLong_FromSsize_t(data.len);
done:
    PyBuffer_Release(&data);
    return result;
}

/* ------------------------------------------------------------ subscripts */

Py_ssize_t
wi_bytes_length(PyObject *self)
{
    if (wi_bytes_check_open(self) < 0) {
        return -1;
    }
    return BYTES_OF(self)->size;
}

/* An index as [] takes it, into 0 .. size - 1. -1 with an exception. */
static Py_ssize_t
bytes_index(PyObject *self, PyObject *key)
{
    Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if ((index == -1 && PyErr_Occurred()) || wi_bytes_check_open(self) < 0) {
        return -1;
    }
    Py_ssize_t size = BYTES_OF(self)->size;
    if (index < 0) {
        index += size;
    }
    if (index < 0 || index >= size) {
        return bytes_raise(self, PyExc_IndexError, "index out of range");
    }
    return index;
}

/* A slice as [] takes it. The number of bytes, or -1 with an exception. */
static Py_ssize_t
bytes_slice(PyObject *self, PyObject *key, Py_ssize_t *start,
            Py_ssize_t *step)
{
    Py_ssize_t stop;
    if (PySlice_Unpack(key, start, &stop, step) < 0 ||
        wi_bytes_check_open(self) < 0) {
        return -1;
    }
    return PySlice_AdjustIndices(BYTES_OF(self)->size, start, &stop, *step);
}

static PyObject *
bytes_key_error(PyObject *key)
{
    PyErr_Format(PyExc_TypeError, "indices must be integers or slices, not %R",
                 (PyObject *)Py_TYPE(key));
    return NULL;
}

PyObject *
wi_bytes_item(PyObject *self, Py_ssize_t index)
{
    if (wi_bytes_check_open(self) < 0) {
        return NULL;
    }
    if (index < 0 || index >= BYTES_OF(self)->size) {
        bytes_raise(self, PyExc_IndexError, "index out of range");
        return NULL;
    }
    return PyLong_FromLong((unsigned char)BYTES_OF(self)->base[index]);
}

PyObject *
wi_bytes_subscript(PyObject *self, PyObject *key)
{
    if (PyIndex_Check(key)) {
        Py_ssize_t index = bytes_index(self, key);
        return index < 0 ? NULL : wi_bytes_item(self, index);
    }
    if (!PySlice_Check(key)) {
        return bytes_key_error(key);
    }
    Py_ssize_t start, step;
    Py_ssize_t size = bytes_slice(self, key, &start, &step);
    if (size < 0) {
        return NULL;
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, size);
    if (result == NULL) {
        return NULL;
    }
    char *target = PyBytes_AsString(result);
    const char *source = BYTES_OF(self)->base;
    if (step == 1) {
        if (wi_bytes_copy(self, target, source + start, size) < 0) {
            Py_CLEAR(result);
        }
        return result;
    }
    for (Py_ssize_t i = 0, at = start; i < size; i++, at += step) {
        target[i] = source[at];
    }
    return result;
}

static int
bytes_set_index(PyObject *self, PyObject *key, PyObject *value)
{
    Py_ssize_t byte = PyNumber_AsSsize_t(value, PyExc_ValueError);
    if (byte == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (byte < 0 || byte > 255) {
        PyErr_SetString(PyExc_ValueError, "a byte must be in range(0, 256)");
        return -1;
    }
    Py_ssize_t index = bytes_index(self, key);
    if (index < 0 || wi_bytes_check_writable(self) < 0) {
        return -1;
    }
    BYTES_OF(self)->base[index] = (char)byte;
    return 0;
}

static int
bytes_set_slice(PyObject *self, PyObject *key, PyObject *value)
{
    int failed = -1;
    PyObject *copy = NULL;
    Py_buffer data;
    Py_ssize_t start, step;
    if (PyObject_GetBuffer(value, &data, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    Py_ssize_t size = bytes_slice(self, key, &start, &step);
    if (size < 0 || wi_bytes_check_writable(self) < 0) {
        goto done;
    }
    if (size != data.len) {
        PyErr_Format(PyExc_ValueError,
                     "%zd bytes cannot replace a slice of %zd", data.len,
                     size);
        goto done;
    }
    char *target = BYTES_OF(self)->base;
    if (step == 1) {
        failed = wi_bytes_copy(self, target + start, data.buf, size);
        goto done;
    }
    /* The value may be a view of this very memory: read it whole first. */
    copy = PyBytes_FromStringAndSize(data.buf, data.len);
    if (copy == NULL) {
        goto done;
    }
    const char *source = PyBytes_AsString(copy);
    for (Py_ssize_t i = 0, at = start; i < size; i++, at += step) {
        target[at] = source[i];
    }
    failed = 0;
done:
    Py_XDECREF(copy);
    PyBuffer_Release(&data);
    return failed;
}

int
wi_bytes_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
    if (value == NULL) {
        return bytes_raise(self, PyExc_TypeError,
                           "does not support item deletion");
    }
    if (PyIndex_Check(key)) {
        return bytes_set_index(self, key, value);
    }
    if (PySlice_Check(key)) {
        return bytes_set_slice(self, key, value);
    }
    bytes_key_error(key);
    return -1;
}

/* ----------------------------------------------------------------- buffer */

int
wi_bytes_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    wi_bytes *bytes = BYTES_OF(self);
    if (wi_bytes_check_open(self) < 0) {
        view->obj = NULL;
        return -1;
    }
    if (PyBuffer_FillInfo(view, self, bytes->base, bytes->size,
                          bytes->readonly, flags) < 0) {
        return -1;
    }
    bytes->pins++;
    return 0;
}

void
wi_bytes_releasebuffer(PyObject *self, Py_buffer *view)
{
    WI_UNUSED(view);
    BYTES_OF(self)->pins--;
}

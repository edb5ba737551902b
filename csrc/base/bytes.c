/* bytes.c: index, slice, read, write, find and export a range of memory.
 *
 * Every bound is checked against the object as it is after the arguments are
 * converted, since a conversion can run Python code that closes the object.
 * Memory that a call uses without the GIL is pinned meanwhile. Small copies
 * keep the GIL, since giving it up costs more than they do. Memory that a
 * file is behind is touched under a guard (guard.c): bringing in one of its
 * pages may fail, and that is an OSError here. */
#include "bytes.h"

#include "guard.h"

#define BYTES_OF(self) (&((wi_bytes_object *)(self))->bytes)

/* The longest work that is done with the GIL held. */
#define BYTES_KEEP_GIL 4096

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
wi_bytes_is_open(PyObject *self)
{
    return BYTES_OF(self)->base != NULL && !BYTES_OF(self)->closed;
}

int
wi_bytes_check_open(PyObject *self)
{
    if (!wi_bytes_is_open(self)) {
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
                 "(memoryview, NumPy array, running call, ...)",
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

void
wi_bytes_unpin(PyObject *self)
{
    wi_bytes *bytes = BYTES_OF(self);
    if (--bytes->pins == 0 && bytes->orphan != NULL) {
        PyObject *type, *value, *traceback;
        void (*release)(PyObject *) = bytes->orphan;
        bytes->orphan = NULL;
        PyErr_Fetch(&type, &value, &traceback);
        release(self);
        PyErr_Restore(type, value, traceback);
    }
}

void
wi_bytes_close_later(PyObject *self, void (*release)(PyObject *))
{
    wi_bytes *bytes = BYTES_OF(self);
    bytes->closed = 1;
    if (bytes->pins > 0) {
        bytes->orphan = release;
        return;
    }
    bytes->orphan = NULL;
    release(self);
}

PyObject *
wi_bytes_exit(PyObject *self, PyObject *args, void (*release)(PyObject *))
{
    PyObject *error = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
    Py_ssize_t pins = BYTES_OF(self)->pins;
    if (error != NULL && error != Py_None && pins > 0) {
        PyObject *note = PyUnicode_FromFormat(
            "hint: the memory of %R stays until %zd buffer%s of it "
            "(memoryview, "
            "NumPy array, running call, ...) %s gone",
            self, pins, pins == 1 ? "" : "s", pins == 1 ? "is" : "are");
        PyObject *done =
            note == NULL ? NULL
                         : PyObject_CallMethod(error, "add_note", "O", note);
        if (done == NULL) {
            PyErr_Clear(); /* the exception itself matters more */
        }
        Py_XDECREF(done);
        Py_XDECREF(note);
    }
    wi_bytes_close_later(self, release);
    Py_RETURN_NONE;
}

int
wi_bytes_check_range(PyObject *self, Py_ssize_t offset, Py_ssize_t size,
                     const char *what)
{
    Py_ssize_t whole = BYTES_OF(self)->size;
    if (offset < 0 || size < 0) {
        PyErr_Format(PyExc_ValueError, "%s: %s must not be negative, not %zd",
                     what, offset < 0 ? "offset" : "size",
                     offset < 0 ? offset : size);
        return 0;
    }
    if (offset > whole || size > whole - offset) {
        PyErr_Format(PyExc_ValueError,
                     "%s: %zd bytes at offset %zd do not fit in the %zd of %R",
                     what, size, offset, whole, self);
        return 0;
    }
    return 1;
}

/* ------------------------------------------------------------------- work */

enum { WORK_MOVE, WORK_STEP_OUT, WORK_STEP_IN, WORK_FIND };

/* One piece of work on the memory, in plain C values: it may run without the
 * GIL and under a guard. */
typedef struct {
    int kind;
    char *to;
    const char *from;
    size_t size;      /* bytes, or steps */
    Py_ssize_t step;  /* WORK_STEP_*: of the side that is the region */
    size_t sub_size;  /* WORK_FIND: of what is looked for, in `to` */
    ptrdiff_t result; /* WORK_FIND: where in `from`, or -1 */
    PyObject *other;  /* the other side where its pages may fail, borrowed */
    DWORD other_err;  /* they did */
} bytes_work;

static ptrdiff_t
bytes_find_in(const char *from, size_t size, const char *sub, size_t sub_size)
{
    if (sub_size > size) {
        return -1;
    }
    if (sub_size == 0) {
        return 0;
    }
    const char *at = from;
    const char *last = from + (size - sub_size);
    while (at <= last) {
        at = memchr(at, sub[0], (size_t)(last - at) + 1);
        if (at == NULL) {
            return -1;
        }
        if (memcmp(at, sub, sub_size) == 0) {
            return at - from;
        }
        at++;
    }
    return -1;
}

static void
bytes_work_now(void *arg)
{
    bytes_work *work = arg;
    switch (work->kind) {
    case WORK_MOVE:
        memmove(work->to, work->from, work->size);
        break;
    case WORK_STEP_OUT:
        for (size_t i = 0; i < work->size; i++) {
            work->to[i] = work->from[(Py_ssize_t)i * work->step];
        }
        break;
    case WORK_STEP_IN:
        for (size_t i = 0; i < work->size; i++) {
            work->to[(Py_ssize_t)i * work->step] = work->from[i];
        }
        break;
    default:
        work->result =
            bytes_find_in(work->from, work->size, work->to, work->sub_size);
        break;
    }
}

/* The work with the other side's pages guarded. */
static void
bytes_work_both(void *arg)
{
    bytes_work *work = arg;
    if (work->other == NULL) {
        bytes_work_now(work);
        return;
    }
    const wi_bytes *other = BYTES_OF(work->other);
    work->other_err = wi_guarded(bytes_work_now, work, other->base,
                                 other->base + other->size);
}

static DWORD
bytes_work_guarded(wi_bytes *bytes, bytes_work *work)
{
    if (bytes->guarded) {
        return wi_guarded(bytes_work_both, work, bytes->base,
                          bytes->base + bytes->size);
    }
    bytes_work_both(work);
    return ERROR_SUCCESS;
}

int
wi_bytes_page_error(PyObject *self, DWORD err)
{
    if (err == ERROR_SUCCESS) {
        return 0;
    }
    PyObject *label = PyObject_Repr(self);
    if (label != NULL) {
        wi_raise(err, "touching a page of the file", label);
        Py_DECREF(label);
    }
    return -1;
}

/* Do the work; the caller has checked that self is open and the range.
 * 0, or -1 with OSError set when a page of the file did not come in. */
static int
bytes_do(PyObject *self, bytes_work *work)
{
    wi_bytes *bytes = BYTES_OF(self);
    DWORD err;
    if (work->size <= BYTES_KEEP_GIL) {
        err = bytes_work_guarded(bytes, work);
    }
    else {
        bytes->pins++;
        Py_BEGIN_ALLOW_THREADS
        err = bytes_work_guarded(bytes, work);
        Py_END_ALLOW_THREADS
        wi_bytes_unpin(self);
    }
    if (work->other_err != ERROR_SUCCESS) {
        return wi_bytes_page_error(work->other, work->other_err);
    }
    return wi_bytes_page_error(self, err);
}

int
wi_bytes_guarded(PyObject *self, wi_guarded_fn work, void *arg)
{
    wi_bytes *bytes = BYTES_OF(self);
    if (!bytes->guarded) {
        work(arg);
        return 0;
    }
    return wi_bytes_page_error(
        self, wi_guarded(work, arg, bytes->base, bytes->base + bytes->size));
}

PyObject *
wi_bytes_guarded_source(PyObject *source)
{
    while (source != NULL && PyMemoryView_Check(source)) {
        /* What it is a view of keeps living as long as the view does. */
        source = PyObject_GetAttrString(source, "obj");
        if (source == NULL) {
            PyErr_Clear(); /* released meanwhile */
            return NULL;
        }
        Py_DECREF(source);
    }
    /* Ours are those whose buffers come from here. */
    return source != NULL &&
                   PyType_GetSlot(Py_TYPE(source), Py_bf_getbuffer) ==
                       (void *)wi_bytes_getbuffer &&
                   BYTES_OF(source)->guarded
               ? source
               : NULL;
}

int
wi_bytes_copy(PyObject *self, void *target, const void *source,
              Py_ssize_t size)
{
    bytes_work work = {
        .kind = WORK_MOVE, .to = target, .from = source, .size = (size_t)size};
    return bytes_do(self, &work);
}

/* An offset or size; OverflowError when it does not fit, -1 with exception. */
WI_INLINE Py_ssize_t
bytes_ssize(PyObject *value)
{
    if (PyLong_CheckExact(value)) {
        return PyLong_AsSsize_t(value);
    }
    return PyNumber_AsSsize_t(value, PyExc_OverflowError);
}

int
wi_bytes_optional(PyObject *value, Py_ssize_t missing, Py_ssize_t *out)
{
    if (value == NULL || value == Py_None) {
        *out = missing;
        return 0;
    }
    *out = bytes_ssize(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The contiguous bytes of any buffer. Release *view after a 0; *copy is
 * freed with it (PyMem_Free) and holds what was not contiguous. */
static int
bytes_of_any(PyObject *data, Py_buffer *view, void **copy)
{
    *copy = NULL;
    if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) == 0) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_BufferError)) {
        return -1;
    }
    PyErr_Clear();
    if (PyObject_GetBuffer(data, view, PyBUF_FULL_RO) < 0) {
        return -1;
    }
    *copy = PyMem_Malloc(view->len > 0 ? (size_t)view->len : 1);
    if (*copy == NULL) {
        PyErr_NoMemory();
    }
    else if (PyBuffer_ToContiguous(*copy, view, view->len, 'C') == 0) {
        view->buf = *copy;
        return 0;
    }
    PyMem_Free(*copy);
    PyBuffer_Release(view);
    return -1;
}

static PyObject *
bytes_get(PyObject *self, Py_ssize_t offset, Py_ssize_t size)
{
    const char *from = BYTES_OF(self)->base + offset;
    if (size <= BYTES_KEEP_GIL && !BYTES_OF(self)->guarded) {
        return PyBytes_FromStringAndSize(from, size);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL) {
        return NULL;
    }
    bytes_work work = {.kind = WORK_MOVE,
                       .to = PyBytes_AsString(bytes),
                       .from = from,
                       .size = (size_t)size};
    if (bytes_do(self, &work) < 0) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

const char wi_bytes_read_doc[] =
    "read($self, /, size=-1, offset=0)\n--\n\n"
    "Copy `size` bytes at `offset` (-1 or None: all that follow).\n\n"
    "Raises ValueError when they are not all inside, and OSError\n"
    "(winerror 999 or 998) when a page of a mapped file cannot be read.\n"
    "Any thread; more than 4 KiB is copied without the GIL.\n\n"
    "Win32: none, a copy of mapped memory.";

PyObject *
wi_bytes_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"size", "offset", NULL};
    PyObject *values[2];
    Py_ssize_t size, offset;
    if (kwnames == NULL && nargs <= 2) {
        values[0] = nargs > 0 ? args[0] : NULL;
        values[1] = nargs > 1 ? args[1] : NULL;
    }
    else if (wi_fast_args("read", names, 0, args, nargs, kwnames, values) <
             0) {
        return NULL;
    }
    if (wi_bytes_optional(values[0], -1, &size) < 0 ||
        wi_bytes_optional(values[1], 0, &offset) < 0 ||
        wi_bytes_check_open(self) < 0) {
        return NULL;
    }
    if (size == -1 && offset >= 0 && offset <= BYTES_OF(self)->size) {
        size = BYTES_OF(self)->size - offset;
    }
    if (!wi_bytes_check_range(self, offset, size, "read")) {
        return NULL;
    }
    return bytes_get(self, offset, size);
}

const char wi_bytes_read_into_doc[] =
    "read_into($self, buffer, /, offset=0)\n--\n\n"
    "Fill a writable buffer from `offset` on; return its size.\n\n"
    "Raises ValueError when the mapping has fewer bytes there, and\n"
    "OSError (winerror 999 or 998) when a page of a mapped file cannot\n"
    "be read. Any thread; more than 4 KiB is copied without the GIL.\n\n"
    "Win32: none, a copy of mapped memory.";

PyObject *
wi_bytes_read_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "offset", NULL};
    PyObject *values[2], *result = NULL;
    Py_ssize_t offset;
    Py_buffer view;
    if (wi_fast_args("read_into", names, 1, args, nargs, kwnames, values) <
            0 ||
        wi_bytes_optional(values[1], 0, &offset) < 0 ||
        PyObject_GetBuffer(values[0], &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (wi_bytes_check_open(self) == 0 &&
        wi_bytes_check_range(self, offset, view.len, "read_into")) {
        bytes_work work = {.kind = WORK_MOVE,
                           .to = view.buf,
                           .from = BYTES_OF(self)->base + offset,
                           .size = (size_t)view.len,
                           .other = wi_bytes_guarded_source(values[0])};
        if (bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(view.len);
        }
    }
    PyBuffer_Release(&view);
    return result;
}

const char wi_bytes_write_doc[] =
    "write($self, data, /, offset=0)\n--\n\n"
    "Copy any bytes-like object to `offset`; return its size.\n\n"
    "Raises ValueError when it does not fit, TypeError when the\n"
    "mapping is read-only, and OSError (winerror 999 or 998) when a\n"
    "page of a mapped file cannot be brought in: a part may be written.\n"
    "Any thread; more than 4 KiB is copied without the GIL.\n\n"
    "Win32: none, a copy into mapped memory.";

PyObject *
wi_bytes_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const char *const names[] = {"data", "offset", NULL};
    PyObject *values[2], *result = NULL;
    Py_ssize_t offset;
    if (kwnames == NULL && nargs > 0 && nargs <= 2) {
        values[0] = args[0];
        values[1] = nargs == 2 ? args[1] : NULL;
    }
    else if (wi_fast_args("write", names, 1, args, nargs, kwnames, values) <
             0) {
        return NULL;
    }
    if (wi_bytes_optional(values[1], 0, &offset) < 0) {
        return NULL;
    }
    if (PyBytes_CheckExact(values[0]) && !BYTES_OF(self)->guarded) {
        /* Short and common: no buffer to take and release. */
        Py_ssize_t size = PyBytes_Size(values[0]);
        if (size <= BYTES_KEEP_GIL) {
            if (wi_bytes_check_open(self) < 0 ||
                wi_bytes_check_writable(self) < 0 ||
                !wi_bytes_check_range(self, offset, size, "write")) {
                return NULL;
            }
            memcpy(BYTES_OF(self)->base + offset, PyBytes_AsString(values[0]),
                   (size_t)size);
            return PyLong_FromSsize_t(size);
        }
    }
    Py_buffer view;
    void *copy;
    if (bytes_of_any(values[0], &view, &copy) < 0) {
        return NULL;
    }
    if (wi_bytes_check_open(self) == 0 && wi_bytes_check_writable(self) == 0 &&
        wi_bytes_check_range(self, offset, view.len, "write")) {
        bytes_work work = {.kind = WORK_MOVE,
                           .to = BYTES_OF(self)->base + offset,
                           .from = view.buf,
                           .size = (size_t)view.len,
                           .other = wi_bytes_guarded_source(values[0])};
        if (bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(view.len);
        }
    }
    PyBuffer_Release(&view);
    PyMem_Free(copy);
    return result;
}

const char wi_bytes_find_doc[] =
    "find($self, sub, /, start=0, end=None)\n--\n\n"
    "The lowest offset in [start, end) where `sub` begins, or -1.\n\n"
    "`start` and `end` are cut to the mapping as bytes.find() does.\n"
    "A peer that writes meanwhile may move what was found.\n"
    "Any thread; more than 4 KiB is searched without the GIL.\n\n"
    "Win32: none, a look at mapped memory.";

PyObject *
wi_bytes_find(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"sub", "start", "end", NULL};
    PyObject *values[3], *result = NULL;
    Py_ssize_t start, end;
    Py_buffer view;
    void *copy;
    if (wi_fast_args("find", names, 1, args, nargs, kwnames, values) < 0 ||
        wi_bytes_optional(values[1], 0, &start) < 0 ||
        wi_bytes_optional(values[2], PY_SSIZE_T_MAX, &end) < 0 ||
        bytes_of_any(values[0], &view, &copy) < 0) {
        return NULL;
    }
    if (wi_bytes_check_open(self) == 0) {
        Py_ssize_t size = BYTES_OF(self)->size;
        end = end < 0 ? end + size : end > size ? size : end;
        end = end < 0 ? 0 : end;
        start = start < 0 ? start + size : start;
        start = start < 0 ? 0 : start;
        bytes_work work = {.kind = WORK_FIND, .result = -1};
        if (start <= end) {
            work.to = view.buf;
            work.sub_size = (size_t)view.len;
            work.other = wi_bytes_guarded_source(values[0]);
            work.from = BYTES_OF(self)->base + start;
            work.size = (size_t)(end - start);
        }
        if (start > end || bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(
                work.result < 0 ? -1 : start + (Py_ssize_t)work.result);
        }
    }
    PyBuffer_Release(&view);
    PyMem_Free(copy);
    return result;
}

/* ---------------------------------------------------------------- numbers */

/* Where `size` bytes at the offset in `value` are, or NULL with exception. */
WI_INLINE char *
bytes_number_at(PyObject *self, PyObject *value, Py_ssize_t size,
                const char *what)
{
    Py_ssize_t offset = bytes_ssize(value);
    if (offset == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (wi_bytes_check_open(self) < 0 ||
        !wi_bytes_check_range(self, offset, size, what)) {
        return NULL;
    }
    return BYTES_OF(self)->base + offset;
}

static int
bytes_number_move(PyObject *self, void *to, const void *from, size_t size)
{
    bytes_work work = {
        .kind = WORK_MOVE, .to = to, .from = from, .size = size};
    return bytes_do(self, &work);
}

static int
bytes_long(PyObject *value, long long *out)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    *out = PyLong_AsLongLong(index);
    Py_DECREF(index);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
bytes_ulong(PyObject *value, unsigned long long *out)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    *out = PyLong_AsUnsignedLongLong(index);
    Py_DECREF(index);
    return *out == (unsigned long long)-1 && PyErr_Occurred() ? -1 : 0;
}

static int
bytes_double(PyObject *value, double *out)
{
    *out = PyFloat_AsDouble(value);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A number at its natural alignment is read and written by one access, so a
 * peer never sees half of it (of 8 bytes only in a 64-bit process). */
#define BYTES_NUMBER(name, type, wide, from_py, to_py, fits)                  \
    PyObject *wi_bytes_get_##name(PyObject *self, PyObject *offset)           \
    {                                                                         \
        const char *at =                                                      \
            bytes_number_at(self, offset, sizeof(type), "get_" #name);        \
        type number;                                                          \
        if (at == NULL) {                                                     \
            return NULL;                                                      \
        }                                                                     \
        if (BYTES_OF(self)->guarded) {                                        \
            if (bytes_number_move(self, &number, at, sizeof(type)) < 0) {     \
                return NULL;                                                  \
            }                                                                 \
        }                                                                     \
        else if ((uintptr_t)at % sizeof(type) == 0) {                         \
            number = *(const volatile type *)at;                              \
        }                                                                     \
        else {                                                                \
            memcpy(&number, at, sizeof(type));                                \
        }                                                                     \
        return to_py(number);                                                 \
    }                                                                         \
    PyObject *wi_bytes_set_##name(PyObject *self, PyObject *const *args,      \
                                  Py_ssize_t nargs)                           \
    {                                                                         \
        wide value;                                                           \
        if (nargs != 2) {                                                     \
            PyErr_SetString(PyExc_TypeError,                                  \
                            "set_" #name "() takes offset and value");        \
            return NULL;                                                      \
        }                                                                     \
        if (from_py(args[1], &value) < 0) {                                   \
            return NULL;                                                      \
        }                                                                     \
        type number = (type)value;                                            \
        if (!(fits)) {                                                        \
            PyErr_Format(PyExc_OverflowError, "%R does not fit in " #name,    \
                         args[1]);                                            \
            return NULL;                                                      \
        }                                                                     \
        char *at =                                                            \
            bytes_number_at(self, args[0], sizeof(type), "set_" #name);       \
        if (at == NULL || wi_bytes_check_writable(self) < 0) {                \
            return NULL;                                                      \
        }                                                                     \
        if (BYTES_OF(self)->guarded) {                                        \
            if (bytes_number_move(self, at, &number, sizeof(type)) < 0) {     \
                return NULL;                                                  \
            }                                                                 \
        }                                                                     \
        else if ((uintptr_t)at % sizeof(type) == 0) {                         \
            *(volatile type *)at = number;                                    \
        }                                                                     \
        else {                                                                \
            memcpy(at, &number, sizeof(type));                                \
        }                                                                     \
        return Py_NewRef(Py_None);                                            \
    }

BYTES_NUMBER(i8, int8_t, long long, bytes_long, PyLong_FromLong,
             (long long)number == value)
BYTES_NUMBER(i16, int16_t, long long, bytes_long, PyLong_FromLong,
             (long long)number == value)
BYTES_NUMBER(i32, int32_t, long long, bytes_long, PyLong_FromLong,
             (long long)number == value)
BYTES_NUMBER(i64, int64_t, long long, bytes_long, PyLong_FromLongLong, 1)
BYTES_NUMBER(u8, uint8_t, unsigned long long, bytes_ulong, PyLong_FromLong,
             (unsigned long long)number == value)
BYTES_NUMBER(u16, uint16_t, unsigned long long, bytes_ulong, PyLong_FromLong,
             (unsigned long long)number == value)
BYTES_NUMBER(u32, uint32_t, unsigned long long, bytes_ulong,
             PyLong_FromUnsignedLong, (unsigned long long)number == value)
BYTES_NUMBER(u64, uint64_t, unsigned long long, bytes_ulong,
             PyLong_FromUnsignedLongLong, 1)
/* A finite number must not become infinite on its way. */
BYTES_NUMBER(f32, float, double, bytes_double, PyFloat_FromDouble,
             value - value != 0 || number - number == 0)
BYTES_NUMBER(f64, double, double, bytes_double, PyFloat_FromDouble, 1)

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
bytes_slice(PyObject *self, PyObject *key, Py_ssize_t *start, Py_ssize_t *step)
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
    unsigned char byte;
    if (wi_bytes_copy(self, &byte, BYTES_OF(self)->base + index, 1) < 0) {
        return NULL;
    }
    return PyLong_FromLong(byte);
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
    if (step == 1 || size == 0) {
        return bytes_get(self, size == 0 ? 0 : start, size);
    }
    PyObject *result = PyBytes_FromStringAndSize(NULL, size);
    if (result == NULL) {
        return NULL;
    }
    bytes_work work = {.kind = WORK_STEP_OUT,
                       .to = PyBytes_AsString(result),
                       .from = BYTES_OF(self)->base + start,
                       .size = (size_t)size,
                       .step = step};
    if (bytes_do(self, &work) < 0) {
        Py_CLEAR(result);
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
    char source = (char)byte;
    return wi_bytes_copy(self, BYTES_OF(self)->base + index, &source, 1);
}

static int
bytes_set_slice(PyObject *self, PyObject *key, PyObject *value)
{
    int failed = -1;
    PyObject *copy = NULL;
    void *flat;
    Py_buffer data;
    Py_ssize_t start, step;
    if (bytes_of_any(value, &data, &flat) < 0) {
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
    if (size == 0) {
        failed = 0;
        goto done;
    }
    bytes_work work = {.kind = WORK_MOVE,
                       .to = BYTES_OF(self)->base + start,
                       .from = data.buf,
                       .size = (size_t)size};
    work.other = wi_bytes_guarded_source(value);
    if (step != 1) {
        /* The value may be a view of this very memory: read it first. */
        copy = PyBytes_FromStringAndSize(NULL, data.len);
        if (copy == NULL) {
            goto done;
        }
        bytes_work first = {.kind = WORK_MOVE,
                            .to = PyBytes_AsString(copy),
                            .from = data.buf,
                            .size = (size_t)size,
                            .other = work.other};
        if (bytes_do(self, &first) < 0) {
            goto done;
        }
        work.kind = WORK_STEP_IN;
        work.from = first.to;
        work.step = step;
        work.other = NULL;
    }
    failed = bytes_do(self, &work);
done:
    Py_XDECREF(copy);
    PyBuffer_Release(&data);
    PyMem_Free(flat);
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
    wi_bytes_unpin(self);
}

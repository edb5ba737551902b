/* bytes.c: memory of this process that Python may read, write and export.
 *
 *     m[0], m[:4], len(m)           # int, bytes; m[:4] = b"abcd"
 *     m.read(4, offset=8)           # a copy; read_into() fills a buffer
 *     m.write(b"abcd", 8)           # any buffer, strided ones too
 *     m.find(b"cd")                 # 10
 *     m.get(8, "u32")               # set(8, "u32", 5)
 *     memoryview(m)                 # no copy, and pins the memory
 *
 * Any thread. The object's own type maps and frees the memory; a pin keeps it
 * while a call uses it without the GIL. Short work on memory keeps the GIL,
 * since giving it up costs more. Memory of a file is different: bringing in
 * a page may take seconds and may fail, so it is touched without the GIL and
 * under a guard (guard.c), and a page that did not come in is an OSError.
 *
 * Every bound is checked against the object as it is after the arguments are
 * converted: a conversion can run Python code that closes the object. */
#include "bytes.h"

#include "guard.h"
#include "number.h"

#define BYTES_OF(self) (&((wi_bytes_object *)(self))->bytes)

/* The most bytes of one piece of work with the GIL held: a copy of that many
 * takes about a microsecond; giving up the GIL and taking it back takes a
 * fifth of one. */
#define BYTES_KEEP_GIL 65536

WI_INLINE int
bytes_check_writable(PyObject *self)
{
    if (wi_bytes_check_open(self) < 0) {
        return -1;
    }
    return BYTES_OF(self)->readonly ? wi_raise_readonly(self, self) : 0;
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
        return wi_not_an_int("offset", value);
    }
    if (number < 0 || number > limit) {
        PyErr_Format(PyExc_ValueError, "%zd is not in the range 0 to %zd",
                     number, limit);
        return -1;
    }
    return number;
}

PyObject *
wi_bytes_close(PyObject *self, PyObject *Py_UNUSED(unused))
{
    const wi_bytes *bytes = BYTES_OF(self);
    if (bytes->closed || bytes->finalised) {
        Py_RETURN_NONE; /* it goes with its last pin */
    }
    if (wi_bytes_check_unpinned(self) < 0 || bytes->release(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Release the memory where no exception can be raised. */
static void
bytes_let_go(PyObject *self)
{
    if (BYTES_OF(self)->release(self) < 0) {
        PyErr_WriteUnraisable(self);
    }
}

void
wi_bytes_unpin(PyObject *self)
{
    wi_bytes *bytes = BYTES_OF(self);
    if (--bytes->pins == 0 && (bytes->closed || bytes->finalised)) {
        WI_KEEP_ERROR
        bytes_let_go(self);
        WI_END_KEEP_ERROR
    }
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

typedef enum {
    WORK_MOVE,
    WORK_STEP_OUT, /* every step-th byte of this memory */
    WORK_STEP_IN,
    WORK_FLATTEN, /* a strided buffer */
    WORK_FIND,
    WORK_LOAD, /* a number: one access where it is aligned */
    WORK_STORE,
} work_kind;

/* One piece of work on the memory, in plain C values: it may run without the
 * GIL and under a guard. */
typedef struct {
    work_kind kind;
    char *to;
    const char *from;
    size_t size;           /* bytes, or steps */
    Py_ssize_t step;       /* WORK_STEP_*: of the side that is this memory */
    const Py_buffer *view; /* WORK_FLATTEN: instead of `from` */
    const char *sub;       /* WORK_FIND: what is looked for */
    size_t sub_size;
    ptrdiff_t result; /* WORK_FIND: where in `from`, or -1 */
    PyObject *file;   /* the other side if its pages may fail, borrowed */
    DWORD file_err;   /* the error if they did */
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

/* The items of a buffer in C order. */
static void
bytes_flatten(char *to, const Py_buffer *view)
{
    Py_ssize_t at[PyBUF_MAX_NDIM] = {0};
    for (Py_ssize_t left = view->len; left > 0; left -= view->itemsize) {
        memcpy(to, PyBuffer_GetPointer(view, at), (size_t)view->itemsize);
        to += view->itemsize;
        for (int d = view->ndim - 1; d >= 0 && ++at[d] == view->shape[d];
             d--) {
            at[d] = 0;
        }
    }
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
    case WORK_FLATTEN:
        bytes_flatten(work->to, work->view);
        break;
    case WORK_FIND:
        work->result =
            bytes_find_in(work->from, work->size, work->sub, work->sub_size);
        break;
    case WORK_LOAD:
        *(uint64_t *)work->to =
            wi_number_load(work->from, (unsigned)work->size);
        break;
    default:
        wi_number_store(work->to, (unsigned)work->size,
                        *(const uint64_t *)work->from);
        break;
    }
}

/* Do the work, with the other side's pages guarded. */
static void
bytes_work_both(void *arg)
{
    bytes_work *work = arg;
    if (work->file == NULL) {
        bytes_work_now(work);
        return;
    }
    const wi_bytes *other = BYTES_OF(work->file);
    work->file_err = wi_guarded(bytes_work_now, work, other->base,
                                other->base + other->size);
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

int
wi_bytes_guarded(PyObject *self, wi_guarded_fn work, void *arg)
{
    wi_bytes *bytes = BYTES_OF(self);
    DWORD err;
    if (!bytes->guarded) {
        work(arg);
        return 0;
    }
    Py_INCREF(self); /* a caller may only borrow it */
    bytes->pins++;
    Py_BEGIN_ALLOW_THREADS
    err = wi_guarded(work, arg, bytes->base, bytes->base + bytes->size);
    Py_END_ALLOW_THREADS
    wi_bytes_unpin(self);
    int result = wi_bytes_page_error(self, err);
    Py_DECREF(self);
    return result;
}

/* Do the work. The caller has checked the range, and that self is open. self
 * is NULL if only the other side is memory of ours. */
static int
bytes_do(PyObject *self, bytes_work *work)
{
    int failed = 0;
    if (self != NULL && BYTES_OF(self)->guarded) {
        failed = wi_bytes_guarded(self, bytes_work_both, work);
    }
    else if (work->file == NULL && work->size <= BYTES_KEEP_GIL) {
        bytes_work_now(work);
    }
    else {
        if (self != NULL) {
            BYTES_OF(self)->pins++;
        }
        Py_BEGIN_ALLOW_THREADS
        bytes_work_both(work);
        Py_END_ALLOW_THREADS
        if (self != NULL) {
            wi_bytes_unpin(self);
        }
    }
    return failed == 0 ? wi_bytes_page_error(work->file, work->file_err) : -1;
}

int
wi_bytes_copy(PyObject *self, void *target, const void *source,
              Py_ssize_t size)
{
    bytes_work work = {
        .kind = WORK_MOVE, .to = target, .from = source, .size = (size_t)size};
    return bytes_do(self, &work);
}

/* ------------------------------------------------------- the other side */

/* The object of ours that a buffer or a view of it comes from, borrowed; NULL
 * for another. */
static PyObject *
bytes_behind(PyObject *source)
{
    if (PyBytes_CheckExact(source) || PyByteArray_CheckExact(source)) {
        return NULL; /* for speed */
    }
    while (source != NULL && PyMemoryView_Check(source)) {
        /* A reference to it is not needed: the view keeps it alive. */
        source = PyObject_GetAttrString(source, "obj");
        if (source == NULL) {
            PyErr_Clear(); /* released meanwhile */
            return NULL;
        }
        Py_DECREF(source);
    }
    /* An object is ours if its buffer comes from here. */
    return source != NULL &&
                   PyType_GetSlot(Py_TYPE(source), Py_bf_getbuffer) ==
                       (void *)wi_bytes_getbuffer
               ? source
               : NULL;
}

PyObject *
wi_bytes_guarded_source(PyObject *source)
{
    source = bytes_behind(source);
    return source != NULL && BYTES_OF(source)->guarded ? source : NULL;
}

int
wi_raise_readonly(PyObject *self, PyObject *memory)
{
    memory = bytes_behind(memory);
    const char *how = memory == NULL ? NULL : BYTES_OF(memory)->to_write;
    PyObject *name = PyType_GetName(Py_TYPE(self));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, "%U is read-only%s", name,
                     how == NULL ? "" : how);
        Py_DECREF(name);
    }
    return -1;
}

int
wi_bytes_get_view(PyObject *source, Py_buffer *view)
{
    if (PyObject_GetBuffer(source, view, PyBUF_WRITABLE) == 0) {
        return 0;
    }
    PyErr_Clear(); /* exporters say "read-only" by different exceptions */
    return PyObject_GetBuffer(source, view, PyBUF_SIMPLE);
}

/* Say what makes bytes of data, if that is known; keep the TypeError if not. */
static void
take_raise_hint(PyObject *data)
{
    PyObject *type, *value, *traceback, *name;
    int is_text = PyUnicode_Check(data);
    PyErr_Fetch(&type, &value, &traceback);
    if ((is_text || PyObject_HasAttrString(data, "__bytes__")) &&
        (name = PyType_GetName(Py_TYPE(data))) != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "bytes are needed, not %U: %s gives them", name,
                     is_text ? "text.encode()" : "bytes(...) of it");
        Py_DECREF(name);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    else {
        PyErr_Restore(type, value, traceback);
    }
}

int
wi_bytes_take(PyObject *data, Py_buffer *view, int flags)
{
    if (PyObject_GetBuffer(data, view, flags) == 0) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        take_raise_hint(data);
    }
    return -1;
}

int
wi_source_take(wi_source *source, PyObject *data, int private_copy)
{
    work_kind kind = WORK_MOVE;
    if (PyBytes_CheckExact(data) && private_copy != WI_COPY) {
        /* The common case: no slots to look up, and no file behind it. */
        source->copy = NULL;
        source->bytes = PyBytes_AsString(data);
        source->size = PyBytes_Size(data);
        source->file = NULL;
        return PyBuffer_FillInfo(&source->view, data, (void *)source->bytes,
                                 source->size, 1, PyBUF_SIMPLE);
    }
    if (wi_bytes_take(data, &source->view, PyBUF_SIMPLE) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError)) {
            return -1;
        }
        PyErr_Clear();
        if (PyObject_GetBuffer(data, &source->view, PyBUF_FULL_RO) < 0) {
            return -1;
        }
        kind = WORK_FLATTEN;
    }
    source->copy = NULL;
    source->bytes = source->view.buf;
    source->size = source->view.len;
    source->file = wi_bytes_guarded_source(data);
    if (kind == WORK_MOVE &&
        !(private_copy == WI_COPY ||
          (private_copy == WI_COPY_OF_FILE && source->file != NULL))) {
        return 0;
    }
    source->copy = PyMem_Malloc(source->size > 0 ? (size_t)source->size : 1);
    if (source->copy == NULL) {
        PyErr_NoMemory();
    }
    else {
        bytes_work work = {.kind = kind,
                           .to = source->copy,
                           .from = source->bytes,
                           .view = &source->view,
                           .size = (size_t)source->size,
                           .file = source->file};
        if (bytes_do(NULL, &work) == 0) {
            source->bytes = source->copy;
            source->file = NULL;
            return 0;
        }
    }
    wi_source_release(source);
    return -1;
}

void
wi_source_release(wi_source *source)
{
    PyBuffer_Release(&source->view);
    if (source->copy != NULL) {
        PyMem_Free(source->copy);
    }
}

/* ------------------------------------------------------ read, write, find */

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
wi_bytes_optional(const char *name, PyObject *value, Py_ssize_t missing,
                  Py_ssize_t *out)
{
    if (value == NULL || value == Py_None) {
        *out = missing;
        return 0;
    }
    *out = bytes_ssize(value);
    if (*out == -1 && PyErr_Occurred()) {
        return wi_not_an_int(name, value);
    }
    return 0;
}

/* The result of the work as new bytes. The collector does not track bytes, so
 * making them runs no finaliser, which could close self. */
static PyObject *
bytes_make(PyObject *self, bytes_work *work)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)work->size);
    if (bytes != NULL) {
        work->to = PyBytes_AsString(bytes);
        if (bytes_do(self, work) < 0) {
            Py_CLEAR(bytes);
        }
    }
    return bytes;
}

WI_NOINLINE static PyObject *
bytes_get_much(PyObject *self, const char *from, Py_ssize_t size)
{
    bytes_work work = {.kind = WORK_MOVE, .from = from, .size = (size_t)size};
    return bytes_make(self, &work);
}

WI_INLINE PyObject *
bytes_get(PyObject *self, Py_ssize_t offset, Py_ssize_t size)
{
    const char *from = BYTES_OF(self)->base + offset;
    return size <= BYTES_KEEP_GIL && !BYTES_OF(self)->guarded
               ? PyBytes_FromStringAndSize(from, size)
               : bytes_get_much(self, from, size);
}

static const char bytes_read_doc[] =
    "read($self, /, size=-1, offset=0)\n--\n\n"
    "Copy and return `size` bytes at `offset` (-1 or None: all that follow).\n"
    "\n"
    "::\n\n"
    "    mapping.write(b\"hello\", 16)\n"
    "    print(mapping.read(5, 16))  # b'hello'\n\n"
    "Any thread; more than 64 KiB, and any memory of a file, is copied\n"
    "without the GIL.\n\n"
    "Raises:\n"
    "    ValueError: They are not all inside.\n"
    "    OSError: A page of a mapped file cannot be read (winerror 999,\n"
    "        ERROR_SWAPERROR, or 998, ERROR_NOACCESS).\n\n"
    "Win32: none, a copy of mapped memory.";

static PyObject *
bytes_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
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
    if (wi_bytes_optional(names[0], values[0], -1, &size) < 0 ||
        wi_bytes_optional(names[1], values[1], 0, &offset) < 0 ||
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

static const char bytes_read_into_doc[] =
    "read_into($self, buffer, /, offset=0)\n--\n\n"
    "Fill a writable buffer from `offset` on; return its size in bytes.\n\n"
    "Any thread; more than 64 KiB, and any memory of a file, is copied\n"
    "without the GIL.\n\n"
    "Raises:\n"
    "    ValueError: Fewer bytes follow `offset`.\n"
    "    OSError: A page of a mapped file cannot be read, as in read().\n\n"
    "Win32: none, a copy of mapped memory.";

static PyObject *
bytes_read_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const char *const names[] = {"buffer", "offset", NULL};
    PyObject *values[2], *result = NULL;
    Py_ssize_t offset;
    Py_buffer view;
    if (wi_fast_args("read_into", names, 1, args, nargs, kwnames, values) <
            0 ||
        wi_bytes_optional(names[1], values[1], 0, &offset) < 0 ||
        PyObject_GetBuffer(values[0], &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    bytes_work work = {.kind = WORK_MOVE,
                       .to = view.buf,
                       .size = (size_t)view.len,
                       .file = wi_bytes_guarded_source(values[0])};
    if (wi_bytes_check_open(self) == 0 &&
        wi_bytes_check_range(self, offset, view.len, "read_into")) {
        work.from = BYTES_OF(self)->base + offset;
        if (bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(view.len);
        }
    }
    PyBuffer_Release(&view);
    return result;
}

/* The start of what is short and common, which needs no buffer to take and
 * release: bytes; and a bytearray, which keeps its size as long as the caller
 * keeps the GIL. Else NULL. */
WI_INLINE const char *
bytes_short(PyObject *data, Py_ssize_t *size)
{
    if (PyBytes_CheckExact(data)) {
        *size = PyBytes_Size(data);
        return *size <= BYTES_KEEP_GIL ? PyBytes_AsString(data) : NULL;
    }
#ifndef Py_GIL_DISABLED
    if (PyByteArray_CheckExact(data)) {
        *size = PyByteArray_Size(data);
        return *size <= BYTES_KEEP_GIL ? PyByteArray_AsString(data) : NULL;
    }
#endif
    return NULL;
}

static const char bytes_write_doc[] =
    "write($self, data, /, offset=0)\n--\n\n"
    "Copy any bytes-like object to `offset`; return its size in bytes.\n\n"
    "Any thread; more than 64 KiB, and any memory of a file, is copied\n"
    "without the GIL.\n\n"
    "Raises:\n"
    "    ValueError: The data does not fit.\n"
    "    TypeError: The memory is read-only.\n"
    "    OSError: A page of a mapped file cannot be read, as in read(); a\n"
    "        part may be written then.\n\n"
    "Win32: none, a copy into mapped memory.";

static PyObject *
bytes_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
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
    if (wi_bytes_optional("write(data, offset): offset", values[1], 0,
                          &offset) < 0) {
        return NULL;
    }
    Py_ssize_t size;
    const char *from =
        BYTES_OF(self)->guarded ? NULL : bytes_short(values[0], &size);
    if (from != NULL) {
        if (bytes_check_writable(self) < 0 ||
            !wi_bytes_check_range(self, offset, size, "write")) {
            return NULL;
        }
        memcpy(BYTES_OF(self)->base + offset, from, (size_t)size);
        return PyLong_FromSsize_t(size);
    }
    wi_source source;
    if (wi_source_take(&source, values[0], WI_NO_COPY) < 0) {
        return NULL;
    }
    if (bytes_check_writable(self) == 0 &&
        wi_bytes_check_range(self, offset, source.size, "write")) {
        bytes_work work = {.kind = WORK_MOVE,
                           .to = BYTES_OF(self)->base + offset,
                           .from = source.bytes,
                           .size = (size_t)source.size,
                           .file = source.file};
        if (bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(source.size);
        }
    }
    wi_source_release(&source);
    return result;
}

static const char bytes_find_doc[] =
    "find($self, sub, /, start=0, end=None)\n--\n\n"
    "The lowest offset where `sub` lies in [start, end), or -1.\n\n"
    "`start` and `end` mean what they mean to bytes.find(). A peer that\n"
    "writes meanwhile may move what was found. Any thread; more than 64\n"
    "KiB, and any memory of a file, is searched without the GIL.\n\n"
    "Raises:\n"
    "    OSError: A page of a mapped file cannot be read, as in read().\n\n"
    "Win32: none, a look at mapped memory.";

static PyObject *
bytes_find(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    static const char *const names[] = {"sub", "start", "end", NULL};
    PyObject *values[3], *result = NULL;
    Py_ssize_t start, end;
    wi_source source;
    if (wi_fast_args("find", names, 1, args, nargs, kwnames, values) < 0 ||
        wi_bytes_optional(names[1], values[1], 0, &start) < 0 ||
        wi_bytes_optional(names[2], values[2], PY_SSIZE_T_MAX, &end) < 0 ||
        wi_source_take(&source, values[0], WI_NO_COPY) < 0) {
        return NULL;
    }
    if (wi_bytes_check_open(self) == 0) {
        Py_ssize_t size = BYTES_OF(self)->size;
        end = end < 0 ? end + size : end > size ? size : end;
        end = end < 0 ? 0 : end;
        start = start < 0 ? start + size : start;
        start = start < 0 ? 0 : start;
        bytes_work work = {.kind = WORK_FIND,
                           .sub = source.bytes,
                           .sub_size = (size_t)source.size,
                           .result = -1,
                           .file = source.file};
        if (start <= end) {
            work.from = BYTES_OF(self)->base + start;
            work.size = (size_t)(end - start);
        }
        if (start > end || bytes_do(self, &work) == 0) {
            result = PyLong_FromSsize_t(
                work.result < 0 ? -1 : start + (Py_ssize_t)work.result);
        }
    }
    wi_source_release(&source);
    return result;
}

/* ---------------------------------------------------------------- numbers */

/* Where a number at this offset is, or NULL with an exception. */
WI_INLINE char *
bytes_number_at(PyObject *self, const wi_number *kind, PyObject *offset_arg)
{
    Py_ssize_t offset = bytes_ssize(offset_arg);
    if (offset == -1 && PyErr_Occurred()) {
        wi_not_an_int("offset", offset_arg);
        return NULL;
    }
    if (wi_bytes_check_open(self) < 0) {
        return NULL;
    }
    /* A range inside costs no call. A negative offset is a large size_t. */
    Py_ssize_t room = BYTES_OF(self)->size - kind->size;
    if ((room < 0 || (size_t)offset > (size_t)room) &&
        !wi_bytes_check_range(self, offset, kind->size, kind->name)) {
        return NULL;
    }
    return BYTES_OF(self)->base + offset;
}

WI_INLINE PyObject *
bytes_get_number(PyObject *self, const wi_number *kind, PyObject *offset)
{
    const char *at = bytes_number_at(self, kind, offset);
    if (at == NULL) {
        return NULL;
    }
    if (!BYTES_OF(self)->guarded) {
        return wi_number_to_python(kind, wi_number_load(at, kind->size));
    }
    uint64_t bits;
    bytes_work work = {.kind = WORK_LOAD,
                       .to = (char *)&bits,
                       .from = at,
                       .size = kind->size};
    return bytes_do(self, &work) < 0 ? NULL : wi_number_to_python(kind, bits);
}

WI_INLINE PyObject *
bytes_set_number(PyObject *self, const wi_number *kind, PyObject *offset,
                 PyObject *value)
{
    uint64_t bits;
    if (wi_number_from(kind, value, 0, &bits) < 0) {
        return NULL;
    }
    char *at = bytes_number_at(self, kind, offset);
    if (at == NULL || bytes_check_writable(self) < 0) {
        return NULL;
    }
    if (!BYTES_OF(self)->guarded) {
        wi_number_store(at, kind->size, bits);
        Py_RETURN_NONE;
    }
    bytes_work work = {.kind = WORK_STORE,
                       .to = at,
                       .from = (const char *)&bits,
                       .size = kind->size};
    if (bytes_do(self, &work) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static const char bytes_get_doc[] =
    "get($self, offset, type, /)\n--\n\n"
    "The number of this type at `offset`, which is little-endian.\n\n"
    "::\n\n"
    "    mapping.set(8, \"f64\", 1.5)\n"
    "    print(mapping.get(8, \"f64\"))  # 1.5\n\n"
    "Types are i8 i16 i32 i64 u8 u16 u32 u64 f32 f64, or their codes of\n"
    "the struct module. An aligned number is read in one access; one of 8\n"
    "bytes only in a 64-bit process.\n\n"
    "Raises:\n"
    "    ValueError: The type is unknown, or the number is not inside.\n"
    "    OSError: A page of a mapped file cannot be read, as in read().\n\n"
    "Win32: none, a read of mapped memory.";

static PyObject *
bytes_get_any(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "get() takes an offset and a type");
        return NULL;
    }
    const wi_number *kind = wi_number_named(args[1], "get(offset, type)");
    return kind == NULL ? NULL : bytes_get_number(self, kind, args[0]);
}

static const char bytes_set_doc[] =
    "set($self, offset, type, value, /)\n--\n\n"
    "Put a number of this type at `offset`, as get() reads it.\n\n"
    "Raises:\n"
    "    OverflowError: `value` does not fit in the type.\n"
    "    TypeError: The memory is read-only.\n"
    "    ValueError: The type is unknown, or the number is not inside.\n"
    "    OSError: A page of a mapped file cannot be read, as in read().\n\n"
    "Win32: none, a write to mapped memory.";

static PyObject *
bytes_set_any(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError,
                        "set() takes an offset, a type and a value");
        return NULL;
    }
    const wi_number *kind =
        wi_number_named(args[1], "set(offset, type, value)");
    return kind == NULL ? NULL
                        : bytes_set_number(self, kind, args[0], args[2]);
}

/* ------------------------------------------------------------ subscripts */

static Py_ssize_t
bytes_length(PyObject *self)
{
    if (wi_bytes_check_open(self) < 0) {
        return -1;
    }
    return BYTES_OF(self)->size;
}

/* The index of `[key]` as 0 .. size - 1; -1 with an exception. */
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
        return wi_raise_about(self, PyExc_IndexError, "index out of range");
    }
    return index;
}

static PyObject *
bytes_key_error(PyObject *key)
{
    PyErr_Format(PyExc_TypeError, "indices must be integers or slices, not %R",
                 (PyObject *)Py_TYPE(key));
    return NULL;
}

static PyObject *
bytes_item(PyObject *self, Py_ssize_t index)
{
    if (wi_bytes_check_open(self) < 0) {
        return NULL;
    }
    if (index < 0 || index >= BYTES_OF(self)->size) {
        wi_raise_about(self, PyExc_IndexError, "index out of range");
        return NULL;
    }
    unsigned char byte;
    if (!BYTES_OF(self)->guarded) {
        byte = (unsigned char)BYTES_OF(self)->base[index];
    }
    else if (wi_bytes_copy(self, &byte, BYTES_OF(self)->base + index, 1) < 0) {
        return NULL;
    }
    return PyLong_FromLong(byte);
}

static PyObject *
bytes_subscript(PyObject *self, PyObject *key)
{
    if (PyIndex_Check(key)) {
        Py_ssize_t index = bytes_index(self, key);
        return index < 0 ? NULL : bytes_item(self, index);
    }
    if (!PySlice_Check(key)) {
        return bytes_key_error(key);
    }
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step) < 0 ||
        wi_bytes_check_open(self) < 0) {
        return NULL;
    }
    Py_ssize_t size =
        PySlice_AdjustIndices(BYTES_OF(self)->size, &start, &stop, step);
    if (step == 1 || size == 0) {
        return bytes_get(self, size == 0 ? 0 : start, size);
    }
    bytes_work work = {.kind = WORK_STEP_OUT,
                       .from = BYTES_OF(self)->base + start,
                       .size = (size_t)size,
                       .step = step};
    return bytes_make(self, &work);
}

static int
bytes_set_index(PyObject *self, PyObject *key, PyObject *value)
{
    Py_ssize_t byte = PyNumber_AsSsize_t(value, PyExc_ValueError);
    if (byte == -1 && PyErr_Occurred()) {
        return wi_not_an_int("a byte", value);
    }
    if (byte < 0 || byte > 255) {
        PyErr_SetString(PyExc_ValueError, "a byte must be in range(0, 256)");
        return -1;
    }
    Py_ssize_t index = bytes_index(self, key);
    if (index < 0 || bytes_check_writable(self) < 0) {
        return -1;
    }
    char source = (char)byte;
    return wi_bytes_copy(self, BYTES_OF(self)->base + index, &source, 1);
}

static int
bytes_set_slice(PyObject *self, PyObject *key, PyObject *value)
{
    int failed = -1;
    wi_source data;
    Py_ssize_t start, stop, step;
    /* With steps the value may be a view of this very memory: read it first. */
    if (PySlice_Unpack(key, &start, &stop, &step) < 0 ||
        wi_source_take(&data, value, step == 1 ? WI_NO_COPY : WI_COPY) < 0) {
        return -1;
    }
    if (bytes_check_writable(self) == 0) {
        Py_ssize_t size =
            PySlice_AdjustIndices(BYTES_OF(self)->size, &start, &stop, step);
        bytes_work work = {.kind = step == 1 ? WORK_MOVE : WORK_STEP_IN,
                           .to = BYTES_OF(self)->base + start,
                           .from = data.bytes,
                           .size = (size_t)size,
                           .step = step,
                           .file = data.file};
        if (size != data.size) {
            PyErr_Format(PyExc_ValueError,
                         "%zd bytes cannot replace a slice of %zd", data.size,
                         size);
        }
        else {
            failed = size == 0 ? 0 : bytes_do(self, &work);
        }
    }
    wi_source_release(&data);
    return failed;
}

static int
bytes_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
    if (value == NULL) {
        return wi_raise_about(self, PyExc_TypeError,
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

/* -------------------------------------------------------------------- end */

/* The end of a `with`. If something is pinned, the object counts as closed
 * from now on, and the last pin frees the memory. Returns how many pins. */
static PyObject *
bytes_leave(PyObject *self, PyObject *Py_UNUSED(unused))
{
    wi_bytes *bytes = BYTES_OF(self);
    if (bytes->pins > 0) {
        bytes->closed = 1;
    }
    return PyLong_FromSsize_t(bytes->pins);
}

static void
bytes_finalize(PyObject *self)
{
    wi_bytes *bytes = BYTES_OF(self);
    WI_KEEP_ERROR
    if (wi_bytes_is_open(self)) {
        wi_warn_unclosed(self);
    }
    bytes->finalised = 1;
    if (bytes->pins == 0) { /* a memoryview in the same cycle may pin it */
        bytes_let_go(self);
    }
    WI_END_KEEP_ERROR
}

static PyObject *
bytes_get_size(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(wi_bytes_is_open(self) ? BYTES_OF(self)->size
                                                     : 0);
}

static PyObject *
bytes_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!wi_bytes_is_open(self));
}

static PyObject *
bytes_get_address(PyObject *self, void *Py_UNUSED(closure))
{
    return wi_bytes_check_open(self) < 0
               ? NULL
               : PyLong_FromVoidPtr(BYTES_OF(self)->base);
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

static void
bytes_releasebuffer(PyObject *self, Py_buffer *Py_UNUSED(view))
{
    wi_bytes_unpin(self);
}

/* ------------------------------------------------------------------- type */

static PyMethodDef bytes_methods[] = {
    {"read", WI_FAST(bytes_read), bytes_read_doc},
    {"read_into", WI_FAST(bytes_read_into), bytes_read_into_doc},
    {"write", WI_FAST(bytes_write), bytes_write_doc},
    {"find", WI_FAST(bytes_find), bytes_find_doc},
    {"get", WI_METHOD(bytes_get_any), METH_FASTCALL, bytes_get_doc},
    {"set", WI_METHOD(bytes_set_any), METH_FASTCALL, bytes_set_doc},
    {"_leave", bytes_leave, METH_NOARGS,
     "_leave($self, /)\n--\n\nClose it if it is pinned; the number of pins."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef bytes_getset[] = {
    {"size", bytes_get_size, NULL, "How many bytes may be used.", NULL},
    {"address", bytes_get_address, NULL,
     "The address of the first byte in this process.", NULL},
    {"closed", bytes_get_closed, NULL,
     "Whether close() or the end of a with block closed it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(bytes_doc,
             "Memory of this process: what mappings, their views, sections\n"
             "and GlobalMemory have in common.");

static PyType_Slot bytes_slots[] = {
    {Py_tp_doc, (void *)bytes_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_traverse, wi_traverse},
    {Py_tp_finalize, bytes_finalize},
    {Py_tp_iter, PySeqIter_New},
    {Py_tp_methods, bytes_methods},
    {Py_tp_getset, bytes_getset},
    {Py_mp_length, bytes_length},
    {Py_sq_length, bytes_length},
    {Py_mp_subscript, bytes_subscript},
    {Py_mp_ass_subscript, bytes_ass_subscript},
    {Py_sq_item, bytes_item},
    {Py_bf_getbuffer, wi_bytes_getbuffer},
    {Py_bf_releasebuffer, bytes_releasebuffer},
    {0, NULL},
};

static PyType_Spec bytes_spec = {
    .name = "winipc._core.Memory",
    .basicsize = sizeof(wi_bytes_object),
    .flags = WI_TYPE_FLAGS,
    .slots = bytes_slots,
};

int
wi_bytes_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &bytes_spec, &state->bytes_type);
}

/* snapshot.c: Snapshot, whole records out of memory that a peer keeps writing.
 *
 *     s = Snapshot.over(mapping, 24)          # or foreign(), any layout
 *     s.read(timeout=1.0)                     # 24 bytes, never half of two
 *     s.write(record)                         # by the only writer
 *     s.sequence, s.kind, s.size
 *     s.close()                               # it pins the mapping
 *
 * It owns a buffer of the memory. Any thread may read; the caller sees to it
 * that there is one writer at a time. Waiting, long copies and all copies of a file run
 * without the GIL, and a page of a file that does not come in is an OSError.
 *
 * Two protocols, both with one writer and any number of readers, none of which
 * takes a lock:
 *
 * seqlock   The sequence is odd while the writer is at work and grows by two
 *           for each record. A reader copies between two looks at it and
 *           keeps the copy when it saw the same even number twice.
 * double    Two copies of the record; the lowest bit of the sequence tells
 *           which is whole. The writer fills the other and then adds one. A
 *           reader keeps its copy when the sequence is still the same. A
 *           writer that dies leaves a whole record behind.
 *
 * A read of the sequence acquires, and so does a fence before the second one;
 * it is written by interlocked operations, which are full barriers. The caller
 * says where the sequence and the records are, so that foreign structures can
 * be read as well. */
#include "atomic.h"

#include "base/bytes.h"

/* The longest copy, and the number of tries, with the GIL held. */
#define SNAPSHOT_KEEP_GIL 4096
#define SNAPSHOT_GIL_TRIES 64

/* How many bytes to copy without the GIL between two looks at the clock and
 * at signals: a large record takes its time. */
#define SNAPSHOT_SLICE (16u << 20)

typedef struct {
    PyObject_HEAD
    Py_buffer view;    /* of the memory; view.obj is NULL when closed */
    char *sequence;    /* where the number is, aligned */
    char *data;        /* the record, or the first of two */
    Py_ssize_t size;   /* of one record */
    Py_ssize_t stride; /* from the first to the second */
    Py_ssize_t calls;  /* in flight without the GIL */
    unsigned width;    /* bytes of the sequence: 4 or 8 */
    char twice;        /* "double", not "seqlock" */
    char guarded;      /* a file is behind the memory */
} SnapshotObject;

/* ---------------------------------------------------------------- protocol */

static uint64_t
snapshot_sequence(const SnapshotObject *self)
{
    return self->width == 8 ? wi_atomic_load64(self->sequence)
                            : wi_atomic_load32(self->sequence);
}

/* One try. TRUE when `to` is a whole record, that of *sequence. */
static BOOL
snapshot_try(const SnapshotObject *self, char *to, uint64_t *sequence)
{
    uint64_t before = snapshot_sequence(self);
    const char *from = self->data;
    *sequence = before;
    if (before & 1) {
        if (!self->twice) {
            return FALSE;
        }
        from += self->stride;
    }
    memcpy(to, from, (size_t)self->size);
    WI_ACQUIRE();
    return snapshot_sequence(self) == before;
}

/* One record, by the only writer. A number left odd by a writer that died in
 * the middle of a seqlock stays odd until this record is whole. */
static void
snapshot_put(SnapshotObject *self, const char *from)
{
    uint64_t before = snapshot_sequence(self);
    char *to = self->data;
    if (self->twice) {
        to += before & 1 ? 0 : self->stride;
    }
    else if (!(before & 1)) {
        wi_atomic_swap(self->sequence, self->width, before, before + 1);
        before++;
    }
    memcpy(to, from, (size_t)self->size);
    wi_atomic_swap(self->sequence, self->width, before, before + 1);
}

/* -------------------------------------------------------------------- work */

enum { JOB_READ, JOB_LOOK, JOB_WRITE };

typedef struct {
    SnapshotObject *self;
    int kind;
    char *to;          /* JOB_READ: one record */
    const char *from;  /* JOB_WRITE: one record */
    uint64_t tries;    /* JOB_READ: how often to try */
    uint64_t failed;   /* JOB_READ: tries that met the writer */
    uint64_t sequence; /* JOB_READ, JOB_LOOK: the last one seen */
    BOOL done;         /* JOB_READ: the record is whole */
} snapshot_job;

static void
snapshot_pause(uint64_t failed)
{
    if (failed % 256 == 0) {
        Sleep(failed % 4096 == 0 ? 1 : 0);
    }
    else if (failed % 16 == 0) {
        SwitchToThread();
    }
    else {
        YieldProcessor();
    }
}

static void
snapshot_work(void *arg)
{
    snapshot_job *job = arg;
    switch (job->kind) {
    case JOB_READ:
        while (job->tries-- > 0) {
            if (snapshot_try(job->self, job->to, &job->sequence)) {
                job->done = TRUE;
                return;
            }
            snapshot_pause(++job->failed);
        }
        break;
    case JOB_LOOK:
        job->sequence = snapshot_sequence(job->self);
        break;
    default:
        snapshot_put(job->self, job->from);
        break;
    }
}

/* Run a job, without the GIL if asked. 0, or -1 with OSError. */
static int
snapshot_run(snapshot_job *job, BOOL unlocked)
{
    SnapshotObject *self = job->self;
    const char *low = self->view.buf;
    const char *high = low + self->view.len;
    DWORD err = ERROR_SUCCESS;
    if (!unlocked && !self->guarded) {
        snapshot_work(job);
        return 0;
    }
    self->calls++;
    Py_BEGIN_ALLOW_THREADS
    if (self->guarded) {
        err = wi_guarded(snapshot_work, job, low, high);
    }
    else {
        snapshot_work(job);
    }
    Py_END_ALLOW_THREADS
    self->calls--;
    if (err == ERROR_SUCCESS) {
        return 0;
    }
    wi_raise(err, "touching a page of the file", self->view.obj);
    return -1;
}

static int
snapshot_check_writable(SnapshotObject *self)
{
    if (wi_check_open(self, self->view.obj) < 0) {
        return -1;
    }
    if (self->view.readonly) {
        PyErr_SetString(PyExc_TypeError, "Snapshot is read-only");
        return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------ create */

/* Whether [offset, offset + size) lies in length bytes. */
static BOOL
snapshot_fits(Py_ssize_t offset, Py_ssize_t size, Py_ssize_t length)
{
    return offset >= 0 && size >= 0 && offset <= length &&
           size <= length - offset;
}

static const char *
snapshot_layout_fault(const SnapshotObject *self, Py_ssize_t sequence,
                      Py_ssize_t data)
{
    const Py_ssize_t length = self->view.len;
    const Py_ssize_t width = (Py_ssize_t)self->width;
    if (self->size <= 0) {
        return "size must be 1 or more";
    }
    if (!snapshot_fits(sequence, width, length)) {
        return "the sequence leaves the memory";
    }
    if (((uintptr_t)self->view.buf + (size_t)sequence) % (size_t)width != 0) {
        return "the sequence must be aligned to its width";
    }
    if (!snapshot_fits(data, self->size, length)) {
        return "the record leaves the memory";
    }
    if (self->twice &&
        (self->stride < self->size ||
         !snapshot_fits(data, self->stride, length) ||
         !snapshot_fits(data + self->stride, self->size, length))) {
        return "the second record leaves the memory or overlaps the first";
    }
    for (int i = 0; i <= self->twice; i++) {
        Py_ssize_t at = data + i * self->stride;
        if (sequence < at + self->size && at < sequence + width) {
            return "the sequence lies in a record";
        }
    }
    return NULL;
}

static PyObject *
snapshot_create(PyObject *cls, PyObject *args)
{
    PyObject *buffer;
    Py_ssize_t size, sequence, data, stride;
    int wide;
    if (!PyArg_ParseTuple(args, "Onnpnn:_create", &buffer, &size, &sequence,
                          &wide, &data, &stride)) {
        return NULL;
    }
    SnapshotObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(buffer, &self->view, PyBUF_WRITABLE) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError)) {
            goto failed;
        }
        PyErr_Clear();
        if (PyObject_GetBuffer(buffer, &self->view, PyBUF_SIMPLE) < 0) {
            goto failed;
        }
    }
    self->size = size;
    self->stride = stride;
    self->width = wide ? 8 : 4;
    self->twice = stride != 0;
    const char *fault = snapshot_layout_fault(self, sequence, data);
    if (fault != NULL) {
        PyErr_SetString(PyExc_ValueError, fault);
        goto failed;
    }
    self->sequence = (char *)self->view.buf + sequence;
    self->data = (char *)self->view.buf + data;
    self->guarded = wi_bytes_guarded_source(buffer) != NULL;
    return (PyObject *)self;

failed:
    PyBuffer_Release(&self->view); /* harmless when there is none */
    Py_DECREF(self);
    return NULL;
}

/* -------------------------------------------------------------------- read */

/* A whole record to private memory; self is open. */
static int
snapshot_read_to(SnapshotObject *self, char *to, uint64_t timeout_ms)
{
    snapshot_job job = {
        .self = self, .kind = JOB_READ, .to = to, .tries = SNAPSHOT_GIL_TRIES};
    if (self->size <= SNAPSHOT_KEEP_GIL && !self->guarded) {
        /* Almost always the first try finds a whole record. */
        for (int i = 0; i < SNAPSHOT_GIL_TRIES; i++) {
            if (snapshot_try(self, to, &job.sequence)) {
                return 0;
            }
            YieldProcessor();
        }
    }
    const uint64_t slice = SNAPSHOT_SLICE / (uint64_t)self->size + 1;
    ULONGLONG start = GetTickCount64();
    int result = -1;
    self->calls++; /* a signal's handler may try to close it */
    for (;;) {
        job.tries = slice < 1024 ? slice : 1024;
        if (snapshot_run(&job, TRUE) < 0) {
            break;
        }
        if (job.done) {
            result = 0;
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            break;
        }
        if (timeout_ms != WI_FOREVER &&
            GetTickCount64() - start >= timeout_ms) {
            wi_raise_timeout(
                self->twice || !(job.sequence & 1)
                    ? "reading a record that changes all the time"
                    : "reading a record whose writer is in the middle of it "
                      "(or died there)",
                self->view.obj);
            break;
        }
    }
    self->calls--;
    return result;
}

PyDoc_STRVAR(
    snapshot_read_doc,
    "read($self, /, timeout=1.0)\n--\n\n"
    "A copy of the record as the writer left it, never half of two.\n\n"
    "`timeout` is in seconds, None for forever. Raises TimeoutError\n"
    "(winerror 1460) when the writer is at work all that time, or\n"
    "died in the middle. Any thread; waits without the GIL.\n\n"
    "Win32: none, a copy of mapped memory.");

static PyObject *
snapshot_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    SnapshotObject *self = (SnapshotObject *)op;
    PyObject *values[1];
    uint64_t timeout = 1000;
    if (wi_fast_args("read", names, 0, args, nargs, kwnames, values) < 0 ||
        (values[0] != NULL && !wi_timeout_converter(values[0], &timeout))) {
        return NULL;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, self->size);
    if (bytes != NULL &&
        (wi_check_open(self, self->view.obj) < 0 ||
         snapshot_read_to(self, PyBytes_AsString(bytes), timeout) < 0)) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

/* ------------------------------------------------------------------- write */

PyDoc_STRVAR(snapshot_write_doc,
             "write($self, data, /)\n--\n\n"
             "Put a whole record, by the protocol. One writer at a time.\n\n"
             "Raises ValueError unless `data` has exactly `size` bytes, and\n"
             "TypeError for memory that is read-only.\n\n"
             "Win32: none, a copy into mapped memory.");

static PyObject *
snapshot_write(PyObject *op, PyObject *data)
{
    SnapshotObject *self = (SnapshotObject *)op;
    PyObject *result = NULL;
    wi_source source;
    /* A page of a file has to be there before the record is half written. */
    if (wi_source_take(&source, data, WI_COPY_OF_FILE) < 0) {
        return NULL;
    }
    snapshot_job job = {.self = self, .kind = JOB_WRITE, .from = source.bytes};
    if (snapshot_check_writable(self) < 0) {
        goto done;
    }
    if (source.size != self->size) {
        PyErr_Format(PyExc_ValueError,
                     "write: a record has %zd bytes, not %zd", self->size,
                     source.size);
    }
    else if (snapshot_run(&job, self->size > SNAPSHOT_KEEP_GIL) == 0) {
        result = Py_NewRef(Py_None);
    }
done:
    wi_source_release(&source);
    return result;
}

/* ------------------------------------------------------------------- close */

/* Giving a buffer back may run Python, which finds it closed by then. */
static void
snapshot_release(SnapshotObject *self)
{
    Py_buffer view = self->view;
    memset(&self->view, 0, sizeof(self->view));
    PyBuffer_Release(&view); /* harmless when there is none */
}

PyDoc_STRVAR(snapshot_close_doc,
             "close($self, /)\n--\n\n"
             "Let go of the memory; twice is harmless.\n\n"
             "Raises BufferError while a call runs in another thread.\n\n"
             "Win32: none.");

static PyObject *
snapshot_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SnapshotObject *self = (SnapshotObject *)op;
    if (self->calls > 0) {
        PyErr_Format(PyExc_BufferError, "cannot close %R: %zd calls run", op,
                     self->calls);
        return NULL;
    }
    snapshot_release(self);
    Py_RETURN_NONE;
}

static void
snapshot_finalize(PyObject *op)
{
    /* Only a buffer is owned, so a forgotten one is no leak: no warning. */
    WI_KEEP_ERROR
    if (((SnapshotObject *)op)->calls == 0) { /* __del__() is callable */
        snapshot_release((SnapshotObject *)op);
    }
    WI_END_KEEP_ERROR
}

static int
snapshot_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((SnapshotObject *)op)->view.obj);
    return 0;
}

/* -------------------------------------------------------------- properties */

static PyObject *
snapshot_get_sequence(PyObject *op, void *Py_UNUSED(closure))
{
    SnapshotObject *self = (SnapshotObject *)op;
    if (wi_check_open(self, self->view.obj) < 0) {
        return NULL;
    }
    snapshot_job job = {.self = self, .kind = JOB_LOOK};
    if (snapshot_run(&job, FALSE) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(job.sequence);
}

static PyObject *
snapshot_get_kind(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((SnapshotObject *)op)->twice ? "double"
                                                              : "seqlock");
}

static PyGetSetDef snapshot_getset[] = {
    {"sequence", snapshot_get_sequence, NULL,
     "The number in the memory now: it changes with every record.", NULL},
    {"kind", snapshot_get_kind, NULL, "'seqlock' or 'double'.", NULL},
    {"closed", wi_get_closed, NULL, "Whether close() was called.",
     (void *)offsetof(SnapshotObject, view.obj)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef snapshot_members[] = {
    {"size", Py_T_PYSSIZET, offsetof(SnapshotObject, size), Py_READONLY,
     "How many bytes a record has."},
    {NULL, 0, 0, 0, NULL},
};

/* -------------------------------------------------------------------- type */

static PyMethodDef snapshot_methods[] = {
    {"_create", snapshot_create, METH_VARARGS | METH_CLASS,
     "_create($type, buffer, size, sequence, wide, data, stride, /)\n--\n\n"
     "Win32: none."},
    {"read", WI_FAST(snapshot_read), snapshot_read_doc},
    {"write", snapshot_write, METH_O, snapshot_write_doc},
    {"close", snapshot_close, METH_NOARGS, snapshot_close_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(snapshot_doc, "A record that a peer keeps writing.");

static PyType_Slot snapshot_slots[] = {
    {Py_tp_doc, (void *)snapshot_doc},   {Py_tp_new, wi_no_new},
    {Py_tp_finalize, snapshot_finalize}, {Py_tp_traverse, snapshot_traverse},
    {Py_tp_methods, snapshot_methods},   {Py_tp_members, snapshot_members},
    {Py_tp_getset, snapshot_getset},     {0, NULL},
};

static PyType_Spec snapshot_spec = {
    .name = "winipc._core.Snapshot",
    .basicsize = sizeof(SnapshotObject),
    .flags = WI_TYPE_FLAGS,
    .slots = snapshot_slots,
};

int
wi_snapshot_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &snapshot_spec, &state->snapshot_type);
}

/* snapshot.c: Snapshot, whole records out of memory that a peer keeps writing.
 *
 *     s = Snapshot.over(mapping, 24)          # or foreign(), any layout
 *     s.read(timeout=1.0)                     # 24 bytes, never half of two
 *     s.write(record)                         # by the only writer
 *     s.sequence, s.kind, s.size
 *     s.close()                               # it pins the mapping
 *
 * Owner: the object owns a buffer of the memory, and for KIND_MUTEX a handle.
 * Thread: any thread may read; the caller ensures that one writes at a time.
 * GIL: given up to wait, for long copies and for all copies of a file. A page
 * of a file that does not come in is an OSError.
 *
 * One function, snapshot_try, knows how to tell a whole record:
 *
 * seqlock    The sequence is odd while the writer is at work. A reader keeps
 *            its copy when it saw the same even number before and after.
 * double     Two copies of the record; the lowest bit of the sequence tells
 *            which is whole. The writer fills the other and then adds one. A
 *            writer that dies leaves a whole record behind.
 * begin-end  The writer adds one to a number, the begin, before it writes, and
 *            to another one, the end, after. A copy is whole if the end before
 *            it equals the begin after it.
 * newest     Several buffers, each with a tick that the writer sets last. A
 *            copy of the newest is whole while another buffer is older: the
 *            writer takes the oldest next.
 * busy       A flag is not 0 while the writer is at work. The writer may begin
 *            and end between two looks, so the copy is compared as well.
 * counter    A number changes with each record. It does not tell whether the
 *            writer is in the middle of one, so the copy is compared.
 * mutex      The writer holds a mutex, and so does the reader.
 * none       The copy is compared.
 *
 * To compare is to look at the memory again after the time `settle`. By then a
 * writer that goes on has changed a record that was half written. A writer
 * that stops in the middle for longer is not noticed, unless a flag tells.
 * There is no lock but the mutex.
 *
 * A read of a number acquires, and a fence precedes the second read. Writes of
 * numbers are interlocked operations, which are full barriers. The caller says
 * where the numbers and the records are, so foreign structures can be read
 * too. Ticks and places of buffers come from the memory: each is read once,
 * and checked before use. */
#include "atomic.h"

#include "base/bytes.h"

/* The longest copy, and the number of tries, with the GIL held. */
#define SNAPSHOT_KEEP_GIL 4096
#define SNAPSHOT_GIL_TRIES 64

/* How many bytes to copy without the GIL between two looks at the clock and
 * at signals: a large record takes its time. */
#define SNAPSHOT_SLICE (16u << 20)

typedef enum {
    KIND_SEQLOCK,
    KIND_DOUBLE,
    KIND_BEGIN_END,
    KIND_NEWEST,
    KIND_COUNTER, /* up to here a number tells whether a record is new */
    KIND_BUSY,
    KIND_MUTEX,
    KIND_NONE,
    KIND_COUNT,
} snapshot_kind;

static const char *const snapshot_kinds[KIND_COUNT] = {
    "seqlock", "double", "begin-end", "newest",
    "counter", "busy",   "mutex",     "none",
};

typedef struct {
    PyObject_HEAD
    Py_buffer view;    /* of the memory; view.obj is NULL when closed */
    Py_buffer beside;  /* of the numbers; obj is NULL if they are in view */
    PyObject *last;    /* the record read last, if no number tells */
    HANDLE mutex;      /* of KIND_MUTEX, else NULL */
    char *before;      /* the number to look at before a copy, or NULL */
    char *after;       /* and after it: another one for KIND_BEGIN_END */
    char *data;        /* the record, or the first of several */
    Py_ssize_t size;   /* of one record */
    Py_ssize_t stride; /* KIND_DOUBLE: from the first to the second */
    Py_ssize_t calls;  /* in flight without the GIL */
    uint64_t seen;     /* the number of the record read last */
    int64_t settle;    /* ticks of the performance counter between two looks */
    snapshot_kind kind;
    unsigned width; /* bytes of a number: 4 or 8 */
    char has_seen;  /* a record was read */
    char compares;  /* the copy is compared */
    char guarded;   /* a file is behind the memory */
    /* KIND_NEWEST: buffer i has its tick at ticks + i * step, and the offset
     * of its record at places + i * step. */
    const char *ticks, *places, *number;
    Py_ssize_t step;
    uint32_t most; /* buffers at most; *number, if not NULL, says how many */
} SnapshotObject;

/* ---------------------------------------------------------------- protocol */

typedef enum {
    FAULT_NONE,
    FAULT_CHANGED,   /* the writer wrote during the copy */
    FAULT_MIDDLE,    /* the writer is in the middle, or died there */
    FAULT_OUTSIDE,   /* the memory says that a buffer lies outside of it */
    FAULT_HELD,      /* the mutex is held */
    FAULT_ABANDONED, /* its owner died */
    FAULT_FAILED,    /* the wait failed */
} snapshot_fault;

static uint64_t
snapshot_number(const SnapshotObject *self, const char *at)
{
    return self->width == 8 ? wi_atomic_load64(at) : wi_atomic_load32(at);
}

static BOOL
snapshot_is_older(uint64_t tick, uint64_t than)
{
    return (int32_t)((uint32_t)tick - (uint32_t)than) < 0;
}

/* The newest buffer's record, its tick, and the address of the tick. NULL if
 * the memory gives an impossible count or place. */
static const char *
snapshot_newest(const SnapshotObject *self, const char **at, uint64_t *tick)
{
    uint64_t count =
        self->number ? wi_atomic_load32(self->number) : self->most;
    if (count < 2 || count > self->most) {
        return NULL;
    }
    Py_ssize_t newest = 0;
    *tick = wi_atomic_load32(self->ticks);
    for (Py_ssize_t i = 1; i < (Py_ssize_t)count; i++) {
        uint64_t one = wi_atomic_load32(self->ticks + i * self->step);
        if (snapshot_is_older(*tick, one)) {
            newest = i;
            *tick = one;
        }
    }
    *at = self->ticks + newest * self->step;
    uint64_t place = wi_atomic_load32(self->places + newest * self->step);
    return place <= (uint64_t)(self->view.len - self->size)
               ? (const char *)self->view.buf + place
               : NULL;
}

/* Whether a buffer is older than this tick: the writer takes that one next. */
static BOOL
snapshot_has_older(const SnapshotObject *self, uint64_t tick)
{
    uint64_t count =
        self->number ? wi_atomic_load32(self->number) : self->most;
    for (uint32_t i = 0; i < count && i < self->most; i++) {
        if (snapshot_is_older(wi_atomic_load32(self->ticks + i * self->step),
                              tick)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The number of the current record, the address of that number to look at
 * again (NULL if there is none), and the record's own address. */
static snapshot_fault
snapshot_look(const SnapshotObject *self, uint64_t *number, const char **at,
              const char **from)
{
    *number = 0;
    *at = self->after;
    *from = self->data;
    if (self->kind == KIND_NEWEST) {
        *from = snapshot_newest(self, at, number);
        return *from == NULL ? FAULT_OUTSIDE : FAULT_NONE;
    }
    if (self->before == NULL) {
        return FAULT_NONE;
    }
    *number = snapshot_number(self, self->before);
    switch (self->kind) {
    case KIND_SEQLOCK:
        return *number & 1 ? FAULT_MIDDLE : FAULT_NONE;
    case KIND_BUSY:
        return *number != 0 ? FAULT_MIDDLE : FAULT_NONE;
    case KIND_BEGIN_END:
        return snapshot_number(self, *at) != *number ? FAULT_MIDDLE
                                                     : FAULT_NONE;
    case KIND_DOUBLE:
        *from += *number & 1 ? self->stride : 0;
        return FAULT_NONE;
    default:
        return FAULT_NONE;
    }
}

/* Wait for the time `settle`, so that a writer can go on. */
static void
snapshot_settle(const SnapshotObject *self)
{
    LARGE_INTEGER start, now, frequency;
    if (self->settle > 0) {
        QueryPerformanceFrequency(&frequency);
        QueryPerformanceCounter(&start);
        do {
            if (self->settle > frequency.QuadPart / 500) {
                Sleep(1);
            }
            else {
                SwitchToThread();
            }
            QueryPerformanceCounter(&now);
        } while (now.QuadPart - start.QuadPart < self->settle);
    }
}

/* One try: FAULT_NONE when `to` is a whole record, that of *number. */
static snapshot_fault
snapshot_try(const SnapshotObject *self, char *to, uint64_t *number)
{
    const char *at, *from;
    snapshot_fault fault = snapshot_look(self, number, &at, &from);
    if (fault != FAULT_NONE) {
        return fault;
    }
    memcpy(to, from, (size_t)self->size);
    WI_ACQUIRE();
    if (at != NULL && snapshot_number(self, at) != *number) {
        return FAULT_CHANGED;
    }
    if (self->kind == KIND_NEWEST && !snapshot_has_older(self, *number)) {
        return FAULT_CHANGED;
    }
    if (self->compares) {
        snapshot_settle(self);
        WI_ACQUIRE();
        if (memcmp(to, from, (size_t)self->size) != 0) {
            return FAULT_CHANGED;
        }
        WI_ACQUIRE();
        if (at != NULL && snapshot_number(self, at) != *number) {
            return FAULT_CHANGED;
        }
    }
    return FAULT_NONE;
}

/* Copy a record without the numbers that lie in it. */
static void
snapshot_lay(const SnapshotObject *self, char *to, const char *from)
{
    const char *const numbers[] = {self->before, self->after};
    for (size_t at = 0, end, next; at < (size_t)self->size; at = next) {
        end = next = (size_t)self->size;
        for (int i = 0; i < 2; i++) {
            size_t hole = (size_t)((uintptr_t)numbers[i] - (uintptr_t)to);
            if (hole >= at && hole < end) {
                end = hole;
                next = hole + self->width;
            }
        }
        memcpy(to + at, from + at, end - at);
    }
}

/* Write one record, as the only writer. If a writer died in the middle, the
 * numbers go on saying so until this record is whole. */
static void
snapshot_put(SnapshotObject *self, const char *from)
{
    uint64_t before = snapshot_number(self, self->before);
    uint64_t begun = snapshot_number(self, self->after);
    char *to = self->data;
    if (self->kind == KIND_DOUBLE) {
        to += before & 1 ? 0 : self->stride;
    }
    else if (self->kind == KIND_SEQLOCK
                 ? !(before & 1)
                 : self->kind == KIND_BEGIN_END && before == begun) {
        wi_atomic_swap(self->after, self->width, begun, begun + 1);
        begun++;
    }
    snapshot_lay(self, to, from);
    if (self->kind == KIND_BEGIN_END) {
        wi_atomic_swap(self->before, self->width, before, begun);
    }
    else {
        wi_atomic_swap(self->before, self->width, begun, begun + 1);
    }
}

/* -------------------------------------------------------------------- work */

enum { JOB_READ, JOB_LOOK, JOB_WRITE };

typedef struct {
    SnapshotObject *self;
    int kind;
    char *to;             /* JOB_READ: one record */
    const char *from;     /* JOB_WRITE: one record */
    uint64_t tries;       /* JOB_READ: how often to try */
    uint64_t failed;      /* JOB_READ: tries that found no whole record */
    DWORD wait_ms;        /* JOB_READ: for the mutex */
    uint64_t number;      /* JOB_READ, JOB_LOOK: of the last record seen */
    snapshot_fault fault; /* JOB_READ, JOB_LOOK: of the last try */
    DWORD beside_err;     /* of the pages with the numbers */
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
    const char *at, *from;
    switch (job->kind) {
    case JOB_READ:
        while (job->tries-- > 0) {
            job->fault = snapshot_try(job->self, job->to, &job->number);
            if (job->fault == FAULT_NONE || job->fault == FAULT_OUTSIDE) {
                return;
            }
            snapshot_pause(++job->failed);
        }
        break;
    case JOB_LOOK:
        job->fault = snapshot_look(job->self, &job->number, &at, &from);
        break;
    default:
        snapshot_put(job->self, job->from);
        break;
    }
}

/* The same, with the numbers' pages guarded if they are in other memory. */
static void
snapshot_work_beside(void *arg)
{
    snapshot_job *job = arg;
    const Py_buffer *beside = &job->self->beside;
    const char *low = beside->buf;
    if (beside->obj == NULL) {
        snapshot_work(job);
        return;
    }
    job->beside_err = wi_guarded(snapshot_work, job, low, low + beside->len);
}

/* The same, holding the mutex if there is one. The error of the wait or of a
 * guard. */
static DWORD
snapshot_work_held(snapshot_job *job, const char *low, const char *high)
{
    DWORD err = ERROR_SUCCESS;
    HANDLE mutex = job->kind == JOB_READ ? job->self->mutex : NULL;
    DWORD result = mutex == NULL ? WAIT_OBJECT_0
                                 : WaitForSingleObject(mutex, job->wait_ms);
    if (result == WAIT_TIMEOUT || result == WAIT_FAILED) {
        job->fault = result == WAIT_TIMEOUT ? FAULT_HELD : FAULT_FAILED;
        return result == WAIT_TIMEOUT ? ERROR_SUCCESS : GetLastError();
    }
    if (result == WAIT_ABANDONED) {
        job->fault = FAULT_ABANDONED;
    }
    else if (job->self->guarded) {
        err = wi_guarded(snapshot_work_beside, job, low, high);
        err = err != ERROR_SUCCESS ? err : job->beside_err;
    }
    else {
        snapshot_work(job);
    }
    if (mutex != NULL) {
        ReleaseMutex(mutex);
    }
    return err;
}

/* Run a job, without the GIL if asked. 0, or -1 with OSError. */
static int
snapshot_run(snapshot_job *job, BOOL unlocked)
{
    SnapshotObject *self = job->self;
    const char *low = self->view.buf;
    const char *high = low + self->view.len;
    DWORD err;
    if (!unlocked && !self->guarded) {
        snapshot_work(job);
        return 0;
    }
    self->calls++;
    Py_BEGIN_ALLOW_THREADS
    err = snapshot_work_held(job, low, high);
    Py_END_ALLOW_THREADS
    self->calls--;
    if (err == ERROR_SUCCESS) {
        return 0;
    }
    wi_raise(err,
             job->fault == FAULT_FAILED ? "WaitForSingleObject"
                                        : "touching a page of the file",
             self->view.obj);
    return -1;
}

static int
snapshot_check_writable(SnapshotObject *self)
{
    if (wi_check_open(self, self->view.obj) < 0) {
        return -1;
    }
    if (self->view.readonly) {
        return wi_raise_readonly((PyObject *)self, self->view.obj);
    }
    if (self->kind > KIND_COUNTER || self->kind == KIND_NEWEST) {
        PyErr_Format(PyExc_TypeError, "a Snapshot of kind '%s' is for readers",
                     snapshot_kinds[self->kind]);
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

/* The same of the memory; ValueError if not. */
static BOOL
snapshot_inside(const Py_buffer *view, Py_ssize_t offset, Py_ssize_t size,
                const char *what)
{
    if (snapshot_fits(offset, size, view->len)) {
        return TRUE;
    }
    PyErr_Format(PyExc_ValueError,
                 "%s leaves the memory of %zd bytes: it has %zd bytes at "
                 "offset %zd",
                 what, view->len, size, offset);
    return FALSE;
}

/* A number of `width` bytes at an offset of the memory, or NULL with
 * ValueError. */
static char *
snapshot_place(const Py_buffer *view, Py_ssize_t offset, Py_ssize_t width,
               const char *what)
{
    char *at = (char *)view->buf + offset;
    if (!snapshot_inside(view, offset, width, what)) {
        return NULL;
    }
    if ((uintptr_t)at % (size_t)width != 0) {
        PyErr_Format(PyExc_ValueError, "%s must be aligned to its width",
                     what);
        return NULL;
    }
    return at;
}

/* Whether a number lies in a record in a way that is wrong: partly, or at all
 * with KIND_DOUBLE. */
static BOOL
snapshot_cuts(const SnapshotObject *self, const char *number)
{
    for (int i = 0; i <= (self->kind == KIND_DOUBLE); i++) {
        uintptr_t from = (uintptr_t)self->data + (size_t)(i * self->stride);
        uintptr_t low = (uintptr_t)number, high = low + self->width;
        if (low < from + (size_t)self->size && from < high &&
            (self->kind == KIND_DOUBLE || low < from ||
             high > from + (size_t)self->size)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Check and set the place of the record, or ValueError. */
static int
snapshot_set_data(SnapshotObject *self, Py_ssize_t data)
{
    const Py_ssize_t length = self->view.len;
    const BOOL is_double = self->kind == KIND_DOUBLE;
    if (self->size <= 0) {
        PyErr_SetString(PyExc_ValueError, "size must be 1 or more");
        return -1;
    }
    if (is_double && self->stride < self->size) {
        PyErr_SetString(PyExc_ValueError,
                        "the second record overlaps the first");
        return -1;
    }
    if (!snapshot_inside(&self->view, data, self->size, "the record")) {
        return -1;
    }
    if (is_double &&
        (!snapshot_fits(data, self->stride, length) ||
         !snapshot_fits(data + self->stride, self->size, length))) {
        PyErr_Format(PyExc_ValueError,
                     "the second record leaves the memory of %zd bytes: it "
                     "has %zd bytes, %zd after the first at offset %zd",
                     length, self->size, self->stride, data);
        return -1;
    }
    self->data = (char *)self->view.buf + data;
    return 0;
}

/* Check and set the places of the numbers, if this kind has any, or
 * ValueError. */
static int
snapshot_set_numbers(SnapshotObject *self, Py_ssize_t before, Py_ssize_t after)
{
    const Py_buffer *in = self->beside.obj ? &self->beside : &self->view;
    const Py_ssize_t width = (Py_ssize_t)self->width;
    if (self->kind == KIND_NEWEST || self->kind > KIND_BUSY) {
        return 0;
    }
    self->before = snapshot_place(in, before, width, "the sequence");
    self->after =
        self->before ? snapshot_place(in, after, width, "the sequence") : NULL;
    if (self->after == NULL) {
        return -1;
    }
    if (snapshot_cuts(self, self->before) ||
        snapshot_cuts(self, self->after)) {
        PyErr_SetString(PyExc_ValueError, "the sequence lies in a record");
        return -1;
    }
    return 0;
}

/* Check and set the buffers of KIND_NEWEST, or ValueError. `number` is -1 if
 * the memory does not say how many there are. */
static int
snapshot_set_buffers(SnapshotObject *self, Py_ssize_t most, Py_ssize_t ticks,
                     Py_ssize_t places, Py_ssize_t step, Py_ssize_t number)
{
    const Py_ssize_t length = self->view.len;
    if (self->kind != KIND_NEWEST) {
        return 0;
    }
    if (most < 2 || step < 4 || step % 4 != 0 || most > length / step) {
        PyErr_SetString(PyExc_ValueError,
                        "newest needs 2 buffers or more, and steps of 4 bytes "
                        "or more, within the memory");
        return -1;
    }
    const Py_ssize_t last = (most - 1) * step;
    self->most = (uint32_t)most;
    self->step = step;
    self->ticks = snapshot_place(&self->view, ticks, 4, "a tick");
    self->places = snapshot_place(&self->view, places, 4, "a place");
    self->number = number == -1 ? NULL
                                : snapshot_place(&self->view, number, 4,
                                                 "the number of buffers");
    if (self->ticks == NULL || self->places == NULL ||
        (self->number == NULL && number != -1)) {
        return -1;
    }
    if (!snapshot_fits(ticks + last, 4, length) ||
        !snapshot_fits(places + last, 4, length)) {
        PyErr_SetString(PyExc_ValueError, "the last buffer's tick or place "
                                          "leaves the memory");
        return -1;
    }
    return 0;
}

static void snapshot_release(SnapshotObject *self);

static PyObject *
snapshot_create(PyObject *cls, PyObject *args)
{
    PyObject *buffer, *beside;
    Py_ssize_t size, before, after, data, stride;
    Py_ssize_t most, ticks, places, step, number, mutex;
    const char *kind;
    double settle;
    int wide;
    if (!PyArg_ParseTuple(args, "sOOnnnpnnd(nnnnn)n:_create", &kind, &buffer,
                          &beside, &size, &before, &after, &wide, &data,
                          &stride, &settle, &most, &ticks, &places, &step,
                          &number, &mutex)) {
        return NULL;
    }
    SnapshotObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    while (self->kind < KIND_NONE &&
           strcmp(snapshot_kinds[self->kind], kind) != 0) {
        self->kind++;
    }
    LARGE_INTEGER frequency;
    QueryPerformanceFrequency(&frequency);
    self->settle = (int64_t)(settle * (double)frequency.QuadPart);
    self->compares = self->kind == KIND_COUNTER || self->kind == KIND_BUSY ||
                     self->kind == KIND_NONE;
    self->size = size;
    self->stride = stride;
    self->width = wide && self->kind != KIND_NEWEST ? 8 : 4;
    if (wi_bytes_get_view(buffer, &self->view) < 0 ||
        (beside != Py_None && wi_bytes_get_view(beside, &self->beside) < 0) ||
        snapshot_set_data(self, data) < 0 ||
        snapshot_set_numbers(self, before, after) < 0 ||
        snapshot_set_buffers(self, most, ticks, places, step, number) < 0) {
        goto failed;
    }
    if (mutex != 0 && !DuplicateHandle(GetCurrentProcess(), (HANDLE)mutex,
                                       GetCurrentProcess(), &self->mutex, 0,
                                       FALSE, DUPLICATE_SAME_ACCESS)) {
        self->mutex = NULL;
        wi_raise_format(GetLastError(), "DuplicateHandle", "a mutex");
        goto failed;
    }
    self->guarded = wi_bytes_guarded_source(buffer) != NULL ||
                    wi_bytes_guarded_source(beside) != NULL;
    return (PyObject *)self;

failed:
    WI_KEEP_ERROR
    snapshot_release(self);
    WI_END_KEEP_ERROR
    Py_DECREF(self);
    return NULL;
}

/* -------------------------------------------------------------------- read */

/* Raise an exception for the last try: there is no time left, or no use in
 * another try. */
static int
snapshot_raise(SnapshotObject *self, snapshot_fault fault)
{
    const char *what = "the record changed all that time";
    wi_state *state;
    switch (fault) {
    case FAULT_OUTSIDE:
        PyErr_SetString(PyExc_ValueError,
                        "what the memory says about its buffers leaves it");
        return -1;
    case FAULT_ABANDONED:
        state = wi_state_of(Py_TYPE((PyObject *)self));
        if (state != NULL) {
            wi_raise_abandoned(state, "WaitForSingleObject", self->view.obj,
                               Py_None);
        }
        return -1;
    case FAULT_HELD:
        what = "the mutex of the record was held all that time";
        break;
    case FAULT_MIDDLE:
        what = "the writer is in the middle of the record (or died there), or "
               "the memory is no Snapshot of this kind";
        break;
    default:
        break;
    }
    wi_raise_timeout(what, "Snapshot.read", self->view.obj);
    return -1;
}

/* A whole record to private memory; self is open. */
static int
snapshot_read_to(SnapshotObject *self, char *to, uint64_t timeout_ms,
                 uint64_t *number)
{
    snapshot_job job = {
        .self = self, .kind = JOB_READ, .to = to, .fault = FAULT_HELD};
    if (self->size <= SNAPSHOT_KEEP_GIL && !self->guarded &&
        self->mutex == NULL && self->settle == 0) {
        /* The first try almost always finds a whole record. */
        for (int i = 0; i < SNAPSHOT_GIL_TRIES; i++) {
            if (snapshot_try(self, to, number) == FAULT_NONE) {
                return 0;
            }
            YieldProcessor();
        }
    }
    const uint64_t slice = SNAPSHOT_SLICE / (uint64_t)self->size + 1;
    ULONGLONG start = GetTickCount64();
    uint64_t spent = 0;
    int result = -1;
    self->calls++; /* a signal handler may call close() */
    for (;;) {
        uint64_t left =
            timeout_ms == WI_FOREVER ? WI_FOREVER : timeout_ms - spent;
        job.wait_ms = left < WI_WAIT_SLICE_MS ? (DWORD)left : WI_WAIT_SLICE_MS;
        job.tries = self->settle > 0 || self->mutex ? 1
                    : slice < 1024                  ? slice
                                                    : 1024;
        if (snapshot_run(&job, TRUE) < 0) {
            break;
        }
        if (job.fault == FAULT_NONE) {
            *number = job.number;
            result = 0;
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            break;
        }
        spent = GetTickCount64() - start;
        if (job.fault == FAULT_OUTSIDE || job.fault == FAULT_ABANDONED ||
            (timeout_ms != WI_FOREVER && spent >= timeout_ms)) {
            snapshot_raise(self, job.fault);
            break;
        }
    }
    self->calls--;
    return result;
}

PyDoc_STRVAR(
    snapshot_read_doc,
    "read($self, /, timeout=1.0)\n--\n\n"
    "A whole record as bytes. See winipc.Snapshot.read.\n\n"
    "Win32: WaitForSingleObject and ReleaseMutex for the kind mutex; none\n"
    "for the others.");

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
    uint64_t number;
    if (bytes == NULL || wi_check_open(self, self->view.obj) < 0 ||
        snapshot_read_to(self, PyBytes_AsString(bytes), timeout, &number) <
            0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    self->seen = number;
    self->has_seen = TRUE;
    if (self->kind > KIND_COUNTER) {
        PyObject *old = self->last;
        self->last = Py_NewRef(bytes);
        Py_XDECREF(old);
    }
    return bytes;
}

/* 1 if the record differs from the one that was read last, else 0; -1 with an
 * exception. */
static int
snapshot_differs(SnapshotObject *self)
{
    snapshot_job job = {.self = self, .kind = JOB_LOOK};
    if (!self->has_seen) {
        return 1;
    }
    if (self->kind <= KIND_COUNTER) {
        if (snapshot_run(&job, FALSE) < 0) {
            return -1;
        }
        return job.fault == FAULT_NONE && job.number != self->seen;
    }
    PyObject *now = PyBytes_FromStringAndSize(NULL, self->size);
    PyObject *last = Py_NewRef(self->last);
    int result = -1;
    if (now == NULL) {
        goto done;
    }
    if (snapshot_read_to(self, PyBytes_AsString(now), 0, &job.number) == 0) {
        result = memcmp(PyBytes_AsString(now), PyBytes_AsString(last),
                        (size_t)self->size) != 0;
    }
    else if (PyErr_ExceptionMatches(PyExc_TimeoutError)) {
        PyErr_Clear(); /* the writer is at work: not yet */
        result = 0;
    }
done:
    Py_XDECREF(now);
    Py_DECREF(last);
    return result;
}

static PyObject *
snapshot_is_new(PyObject *op, PyObject *Py_UNUSED(unused))
{
    SnapshotObject *self = (SnapshotObject *)op;
    int differs = wi_check_open(self, self->view.obj);
    if (differs == 0) {
        differs = snapshot_differs(self);
    }
    return differs < 0 ? NULL : PyBool_FromLong(differs);
}

/* ------------------------------------------------------------------- write */

PyDoc_STRVAR(snapshot_write_doc,
             "write($self, data, /)\n--\n\n"
             "Write a whole record. See winipc.Snapshot.write.\n\n"
             "Win32: none, a copy into mapped memory.");

static PyObject *
snapshot_write(PyObject *op, PyObject *data)
{
    SnapshotObject *self = (SnapshotObject *)op;
    PyObject *result = NULL;
    wi_source source;
    /* A page of a file must come in before the record is half written. */
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

/* Giving a buffer back may run Python code, which must find it closed. */
static void
snapshot_release(SnapshotObject *self)
{
    Py_buffer view = self->view, beside = self->beside;
    PyObject *last = self->last;
    HANDLE mutex = self->mutex;
    memset(&self->view, 0, sizeof(self->view));
    memset(&self->beside, 0, sizeof(self->beside));
    self->last = NULL;
    self->mutex = NULL;
    if (mutex != NULL) {
        CloseHandle(mutex);
    }
    Py_XDECREF(last);
    PyBuffer_Release(&beside); /* harmless when there is none */
    PyBuffer_Release(&view);
}

PyDoc_STRVAR(snapshot_close_doc,
             "close($self, /)\n--\n\n"
             "Give the memory and the mutex back; twice is harmless.\n\n"
             "Raises:\n"
             "    BufferError: A call runs in another thread.\n\n"
             "Win32: CloseHandle for the kind mutex; none for the others.");

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
    /* No ResourceWarning: the buffer and the mutex are given back here. */
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
    Py_VISIT(((SnapshotObject *)op)->beside.obj);
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
    if (self->kind > KIND_COUNTER) {
        Py_RETURN_NONE;
    }
    if (snapshot_run(&job, FALSE) < 0) {
        return NULL;
    }
    if (job.fault == FAULT_OUTSIDE) {
        snapshot_raise(self, job.fault);
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(job.number);
}

static PyObject *
snapshot_get_kind(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(snapshot_kinds[((SnapshotObject *)op)->kind]);
}

static PyGetSetDef snapshot_getset[] = {
    {"sequence", snapshot_get_sequence, NULL,
     "The number in the memory, which changes with every record. None for a\n"
     "kind without such a number.",
     NULL},
    {"kind", snapshot_get_kind, NULL, "The protocol.", NULL},
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
     "_create($type, kind, buffer, beside, size, before, after, wide, data,\n"
     "        stride, settle, newest, mutex, /)\n--\n\n"
     "Win32: DuplicateHandle"},
    {"_is_new", snapshot_is_new, METH_NOARGS,
     "_is_new($self, /)\n--\n\n"
     "Whether the record differs from the one that was read last."},
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
wi_snapshot_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &snapshot_spec, NULL);
}

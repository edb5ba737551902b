/* scan.c: Scan, an iterator over the matches of patterns.
 *
 *     with Scan._open(data, None, 0, [(6, b"needle", None, b"", 1)], ...) as scan:
 *         for offset in scan:
 *             print(offset, scan.scanned)
 *     scan = Scan._open(process, pack("QQ", start, end), 0, specs, ...)
 *     addresses = list(scan)
 *
 * Owner: a Scan owns its memory and a reference to its buffer or process. It
 * pins the process only during a slice, so the process can be closed between
 * two results. Thread: any, one at a time; any other may cancel it. GIL: given
 * up to search, in slices. Between slices it checks for signals, reports
 * progress and returns matches. */
#include "scan.h"

#include "base/bytes.h"

#include <stdlib.h>

#define BATCH 4096

/* --------------------------------------------------------- the plain scan */

/* More threads make no scan faster: memory is the limit. */
#define USEFUL_THREADS 8

static void *
scan_own(wi_scan_task *task)
{
    return task + 1;
}

/* wi_crew_duty: the next piece of the process or of the buffer. */
static int
scan_claim(void *context, void *data)
{
    wi_scan *scan = context;
    wi_scan_task *task = data;
    wi_span *span = &task->span;
    wi_reader *reader = &scan->reader;
    task->at = 0;
    task->run = 0;
    task->taken = 0;
    if (scan->process != NULL) {
        return wi_reader_claim(reader, span);
    }
    const size_t left = scan->buffer_size - (size_t)reader->cursor;
    span->start = reader->cursor;
    span->data = scan->buffer + reader->cursor;
    span->size = left < WI_READ_CHUNK ? left : WI_READ_CHUNK;
    span->more = left - span->size < reader->overlap ? left - span->size
                                                     : reader->overlap;
    span->scanned = span->size;
    task->run = span->size + span->more;
    reader->cursor += span->size;
    return span->size > 0;
}

/* How many bytes of a span are in marked pages. */
static uint64_t
span_marked(const wi_span *span)
{
    uint64_t marked = 0;
    size_t at = 0;
    for (size_t page = 0; at < span->size; page++) {
        size_t n = (size_t)(WI_PAGE - (span->start + at) % WI_PAGE);
        n = n < span->size - at ? n : span->size - at;
        marked += span->pages[page] ? n : 0;
        at += n;
    }
    return marked;
}

static void
span_read(wi_span *span, wi_reader *reader)
{
    const uint64_t wanted = span_marked(span);
    BOOL whole;
    if (span->room == NULL) {
        span->room = malloc(WI_READ_CHUNK + reader->overlap);
        if (span->room == NULL) {
            span->err = ERROR_NOT_ENOUGH_MEMORY;
            return;
        }
    }
    span->data = span->room;
    span->api = "ReadProcessMemory";
    span->err = wi_read_pages(
        reader->target, span->start, span->start + (span->size + span->more),
        span->room, span->pages, TRUE, &reader->some, &whole);
    if (span->err == 0) {
        span->scanned = whole ? wanted : span_marked(span);
        span->skipped += wanted - span->scanned;
    }
}

/* Move to the next bytes that were read; 0 if there are none. */
static int
task_advance(wi_scan_task *task)
{
    const wi_span *span = &task->span;
    const size_t end = span->size + span->more;
    const size_t inside = span->start % WI_PAGE; /* of its first page */
    size_t page = (task->at + inside) / WI_PAGE;
    for (; task->at < span->size && !span->pages[page]; page++) {
        task->at = (page + 1) * WI_PAGE - inside;
    }
    for (task->run = task->at; task->run < end && span->pages[page]; page++) {
        task->run = (page + 1) * WI_PAGE - inside;
    }
    task->run = task->run < end ? task->run : end;
    return task->at < span->size;
}

typedef struct {
    wi_scan *scan;
    wi_scan_task *task;
} scan_work;

/* wi_guarded_fn */
static void
scan_run(void *arg)
{
    const scan_work *work = arg;
    wi_scan *scan = work->scan;
    wi_scan_task *task = work->task;
    const wi_span *span = &task->span;
    while (!scan->cancelled) {
        if (task->hits.dirty_count > 0 &&
            !scan->user->look(scan, task, scan_own(task))) {
            return;
        }
        if ((task->at >= task->run || task->at >= span->size) &&
            !task_advance(task)) {
            task->ended = 1;
            return;
        }
        const size_t at = task->at;
        size_t n = (task->run < span->size ? task->run : span->size) - at;
        n = n < SCAN_BLOCK ? n : SCAN_BLOCK;
        task->at += n;
        task->block = span->data + at;
        task->block_address = span->start + at;
        scan_block(scan->set, &task->hits, task->block, task->run - at, n,
                   task->block_address);
    }
}

void
wi_scan_search(wi_scan *scan, wi_scan_task *task)
{
    scan_work work = {scan, task};
    wi_span *span = &task->span;
    if (scan->file == NULL) {
        scan_run(&work);
    }
    else {
        const char *data = (const char *)span->data;
        /* A fault stops the work, so the task has failed. */
        span->err = wi_guarded(scan_run, &work, data,
                               data + (span->size + span->more));
        task->ended |= span->err != 0;
    }
    if (task->ended && scan->user->end != NULL) {
        scan->user->end(scan, task, scan_own(task));
    }
}

/* wi_crew_duty: read a task and search in it. */
static void
scan_work_on(void *context, void *data, unsigned thread)
{
    wi_scan *scan = context;
    wi_scan_task *task = data;
    wi_span *span = &task->span;
    task->thread = thread;
    if (task->hits.bits == NULL &&
        scan_hits_init(&task->hits, scan->set) < 0) {
        span->err = ERROR_NOT_ENOUGH_MEMORY;
    }
    if (span->err == 0 && scan->process != NULL && span->size > 0) {
        span_read(span, &scan->reader);
    }
    task->ended = span->err != 0;
    if (!task->ended) {
        wi_scan_search(scan, task);
    }
}

/* wi_crew_duty: take a task, on the caller's thread, in order. */
static int
scan_take_task(void *context, void *data)
{
    wi_scan *scan = context;
    wi_scan_task *task = data;
    if (scan->cancelled) {
        return 0; /* it may not have been searched to its end */
    }
    scan->scanned += task->taken ? 0 : task->span.scanned;
    scan->skipped += task->taken ? 0 : task->span.skipped;
    task->taken = 1;
    if (!scan->user->take(scan, task, scan_own(task))) {
        return 0;
    }
    scan->err = task->span.err;
    scan->api = task->span.api;
    return scan->err == 0;
}

static void
scan_clear_task(void *context, void *data)
{
    const wi_scan *scan = context;
    wi_scan_task *task = data;
    if (scan->user->clear != NULL) {
        scan->user->clear(scan_own(task));
    }
    scan_hits_clear(&task->hits);
    free(task->span.room);
}

static const wi_crew_duty scan_duty = {
    .claim = scan_claim,
    .work = scan_work_on,
    .take = scan_take_task,
    .clear = scan_clear_task,
};

static wi_scan_result
scan_result(const wi_scan *scan, wi_crew_result crew)
{
    if (scan->err != 0) {
        return WI_SCAN_FAILED;
    }
    return scan->cancelled        ? WI_SCAN_STOPPED
           : crew == WI_CREW_END  ? WI_SCAN_END
           : crew == WI_CREW_HELD ? WI_SCAN_FULL
                                  : WI_SCAN_MORE;
}

wi_scan_result
wi_scan_slice(wi_scan *scan)
{
    wi_process *process = (wi_process *)scan->process;
    wi_crew_result crew = WI_CREW_HELD;
    if (process != NULL) {
        if (wi_check_open(process, process->handle) < 0) {
            return WI_SCAN_RAISED;
        }
        scan->reader.target = wi_process_pin(process);
    }
    scan->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    if (!scan->cancelled) {
        crew = wi_crew_run(scan->crew, WI_SLICE_MS);
    }
    Py_END_ALLOW_THREADS
    scan->busy = 0;
    if (process != NULL) {
        wi_process_unpin(process);
    }
    const wi_scan_result result = scan_result(scan, crew);
    if (result == WI_SCAN_FAILED) {
        return WI_SCAN_FAILED;
    }
    const uint64_t done = scan->scanned;
    switch (wi_scan_progress(scan->progress, done,
                             result == WI_SCAN_END ? done : scan->total)) {
    case WI_PROGRESS_STOP:
        InterlockedExchange(&scan->cancelled, 1);
        return WI_SCAN_STOPPED;
    case WI_PROGRESS_RAISED:
        return WI_SCAN_RAISED;
    default:
        return result;
    }
}

wi_progress_result
wi_scan_progress(PyObject *progress, uint64_t done, uint64_t total)
{
    wi_progress_result result = WI_PROGRESS_GO_ON;
    if (progress != Py_None) {
        PyObject *answer = PyObject_CallFunction(
            progress, "KK", (unsigned long long)done,
            (unsigned long long)(total > done ? total : done));
        if (answer == NULL) {
            return WI_PROGRESS_RAISED;
        }
        if (answer == Py_False) {
            result = WI_PROGRESS_STOP;
        }
        Py_DECREF(answer);
    }
    return PyErr_CheckSignals() < 0 ? WI_PROGRESS_RAISED : result;
}

void
wi_scan_raise(PyObject *process, DWORD err, const char *api)
{
    wi_process *self = (wi_process *)process;
    if (err == ERROR_NOT_ENOUGH_MEMORY) {
        PyErr_NoMemory();
    }
    else if (wi_check_open(self, self->handle) == 0) {
        wi_process_raise(self, err, api,
                         PROCESS_VM_READ | PROCESS_QUERY_INFORMATION);
    }
}

void
wi_scan_clear(wi_scan *scan)
{
    wi_crew *crew = scan->crew;
    scan_set *set = scan->set;
    PyObject *process = scan->process;
    wi_range *ranges = scan->reader.ranges;
    scan->crew = NULL;
    scan->set = NULL;
    scan->process = NULL;
    scan->file = NULL;
    scan->reader.ranges = NULL;
    wi_crew_free(crew);
    scan_set_free(set);
    PyMem_Free(ranges);
    Py_XDECREF(process);
}

/* -------------------------------------------------------------- arguments */

/* A field as Python packs it. */
typedef struct {
    uint32_t offset;
    uint16_t type;
    uint16_t outside;
    scan_number low;
    scan_number high;
} packed_field;

static_assert(sizeof(packed_field) == 24, "Python packs it as <IHH8s8s");

/* Unpack the fields into the spec, which has to be freed with PyMem_Free. */
static int
scan_unpack_fields(scan_spec *spec, const char *data, size_t count)
{
    scan_field *fields = PyMem_Calloc(count, sizeof(*fields));
    if (fields == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    spec->fields = fields;
    spec->field_count = count;
    for (size_t i = 0; i < count; i++) {
        packed_field packed;
        memcpy(&packed, data + i * sizeof(packed), sizeof(packed));
        fields[i].offset = packed.offset;
        fields[i].type = (scan_type)packed.type;
        fields[i].outside = packed.outside;
        fields[i].low = packed.low;
        fields[i].high = packed.high;
    }
    return 0;
}

/* Parse one tuple into a spec. The tuple keeps the bytes alive. */
static int
scan_parse_spec(PyObject *tuple, scan_spec *spec)
{
    const char *value, *mask, *fields;
    Py_ssize_t length, value_size, mask_size, fields_size;
    DWORD alignment;
    memset(spec, 0, sizeof(*spec));
    if (!PyArg_ParseTuple(tuple, "nz#z#y#O&", &length, &value, &value_size,
                          &mask, &mask_size, &fields, &fields_size,
                          wi_u32_converter, &alignment)) {
        return -1;
    }
    if (length < 0 || (value != NULL && value_size != length) ||
        (mask != NULL && mask_size != length) ||
        (size_t)fields_size % sizeof(packed_field) != 0) {
        PyErr_SetString(PyExc_ValueError, "the parts of a pattern do not fit");
        return -1;
    }
    spec->value = (const uint8_t *)value;
    spec->mask = (const uint8_t *)mask;
    spec->length = (size_t)length;
    spec->alignment = alignment;
    return fields_size == 0
               ? 0
               : scan_unpack_fields(
                     spec, fields, (size_t)fields_size / sizeof(packed_field));
}

int
wi_scan_compile(wi_scan *scan, PyObject *specs)
{
    PyObject *tuple = PySequence_Tuple(specs);
    scan_spec *array = NULL;
    int result = -1;
    if (tuple == NULL) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(tuple);
    if (count < 1 || count > SCAN_MAX_PATTERNS) {
        PyErr_Format(PyExc_ValueError,
                     "there must be 1 to %d patterns, not %zd",
                     SCAN_MAX_PATTERNS, count);
        goto done;
    }
    array = PyMem_Calloc((size_t)count, sizeof(*array));
    if (array == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (scan_parse_spec(PyTuple_GetItem(tuple, i), &array[i]) < 0) {
            goto done;
        }
        if (!scan_spec_is_valid(&array[i])) {
            PyErr_Format(PyExc_ValueError,
                         "a pattern must have 1 to %d bytes and up to %d "
                         "fields in them, and its alignment must be a power "
                         "of two up to %d",
                         SCAN_MAX_LENGTH, SCAN_MAX_FIELDS, SCAN_MAX_ALIGNMENT);
            goto done;
        }
    }
    scan->set = scan_set_new(array, (size_t)count, scan_best_level());
    if (scan->set == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    result = 0;
done:
    for (Py_ssize_t i = 0; array != NULL && i < count; i++) {
        PyMem_Free((void *)array[i].fields);
    }
    PyMem_Free(array);
    Py_DECREF(tuple);
    return result;
}

/* Pairs of uint64_t, start and end. */
static int
scan_parse_ranges(wi_reader *reader, const char *data, Py_ssize_t size)
{
    uint64_t pair[2];
    const size_t count = (size_t)size / sizeof(pair);
    reader->ranges = PyMem_Calloc(count + 1, sizeof(*reader->ranges));
    if (reader->ranges == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(pair, data + i * sizeof(pair), sizeof(pair));
        if (pair[1] <= pair[0] || pair[1] > UINTPTR_MAX ||
            (i > 0 && pair[0] <= reader->ranges[i - 1].end)) {
            PyErr_SetString(PyExc_ValueError,
                            "ranges must be ascending and apart");
            return -1;
        }
        reader->ranges[i].start = (uintptr_t)pair[0];
        reader->ranges[i].end = (uintptr_t)pair[1];
    }
    reader->range_count = count;
    return 0;
}

unsigned
wi_thread_count(unsigned threads)
{
    DWORD_PTR mine = 0, all = 0;
    if (threads > 0) {
        return threads;
    }
    /* The mask is 0 if this process runs on several groups of processors. */
    if (!GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) ||
        mine == 0) {
        return USEFUL_THREADS;
    }
    for (; mine != 0 && threads < USEFUL_THREADS; mine &= mine - 1) {
        threads++;
    }
    return threads;
}

int
wi_threads_converter(PyObject *value, void *threads)
{
    if (value == Py_None) {
        *(unsigned *)threads = 0;
        return 1;
    }
    const long number = PyLong_AsLong(value);
    if (number == -1 && PyErr_Occurred()) {
        return wi_wrong_type("threads must be an int or None", value);
    }
    if (number < 1 || number > WI_CREW_MOST) {
        PyErr_Format(PyExc_ValueError, "threads must be 1 to %d, or None",
                     WI_CREW_MOST);
        return 0;
    }
    *(unsigned *)threads = (unsigned)number;
    return 1;
}

static int
scan_start(wi_scan *scan, unsigned threads)
{
    scan->reader.overlap = scan_set_longest(scan->set) - 1;
    scan->crew = wi_crew_new(&scan_duty, scan, wi_thread_count(threads),
                             sizeof(wi_scan_task) + scan->user->own_size);
    if (scan->crew == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
wi_scan_open_buffer(wi_scan *scan, unsigned threads)
{
    scan->total = scan->buffer_size;
    return scan_start(scan, threads);
}

int
wi_scan_open_process(wi_scan *scan, wi_state *state, PyObject *op,
                     const char *ranges, Py_ssize_t size, DWORD protections,
                     unsigned threads)
{
    wi_process *process = (wi_process *)op;
    wi_reader *reader = &scan->reader;
    if (!PyObject_TypeCheck(op, state->process_type)) {
        PyErr_Format(PyExc_TypeError,
                     "process must be a RemoteProcess, not %R",
                     (PyObject *)Py_TYPE(op));
        return -1;
    }
    reader->protections = protections;
    if (scan_parse_ranges(reader, ranges, size) < 0 ||
        scan_start(scan, threads) < 0 ||
        wi_check_open(process, process->handle) < 0) {
        return -1;
    }
    scan->process = Py_NewRef(op);
    if (scan->progress != Py_None) {
        uint64_t total;
        reader->target = wi_process_pin(process);
        Py_BEGIN_ALLOW_THREADS
        total = wi_reader_estimate(reader);
        Py_END_ALLOW_THREADS
        wi_process_unpin(process);
        scan->total = total;
    }
    return 0;
}

/* --------------------------------------------------------------- instance */

typedef struct {
    PyObject_HEAD
    wi_scan scan;      /* cleared once finished; its progress is owned */
    Py_buffer view;    /* the buffer of a local scan; obj NULL: none */
    PyObject *match;   /* called with (address, key), or NULL: addresses */
    PyObject *keys;    /* tuple of one key per pattern */
    scan_match *batch; /* matches; those before batch_next were returned */
    size_t batch_count;
    size_t batch_next;
    uint64_t left; /* how many more matches to find */
    int finished;  /* there will be no more matches */
    int failed;    /* an error to raise when the batch is empty */
} ScanObject;

/* ------------------------------------------------------- release, finalise */

static void
scan_release(ScanObject *self)
{
    Py_buffer view = self->view;
    self->view.obj = NULL;
    self->finished = 1;
    wi_scan_clear(&self->scan);
    if (view.obj != NULL) {
        PyBuffer_Release(&view);
    }
}

static int
scan_traverse(PyObject *op, visitproc visit, void *arg)
{
    ScanObject *self = (ScanObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->view.obj);
    Py_VISIT(self->scan.process);
    Py_VISIT(self->scan.progress);
    Py_VISIT(self->match);
    Py_VISIT(self->keys);
    return 0;
}

static int
scan_clear(PyObject *op)
{
    ScanObject *self = (ScanObject *)op;
    scan_release(self);
    Py_CLEAR(self->scan.progress);
    Py_CLEAR(self->match);
    Py_CLEAR(self->keys);
    return 0;
}

static void
scan_finalize(PyObject *op)
{
    ScanObject *self = (ScanObject *)op;
    if (self->scan.busy) { /* __del__() is callable */
        return;
    }
    WI_KEEP_ERROR
    scan_match *batch = self->batch;
    self->batch = NULL;
    self->batch_count = 0;
    self->batch_next = 0;
    PyMem_Free(batch);
    scan_clear(op);
    WI_END_KEEP_ERROR
}

/* ------------------------------------------------------------- wi_scan_user */

/* A task's own part: matches; those before next were taken. */
typedef struct {
    size_t count;
    size_t next;
    scan_match matches[BATCH];
} scan_batch;

static int
scan_look(wi_scan *scan, wi_scan_task *task, void *own)
{
    scan_batch *batch = own;
    (void)scan;
    batch->count +=
        scan_drain(&task->hits, task->block_address,
                   batch->matches + batch->count, BATCH - batch->count);
    return batch->count < BATCH;
}

/* Move matches into the object's batch, until it is full or has enough. */
static int
scan_take(wi_scan *scan, wi_scan_task *task, void *own)
{
    ScanObject *self = scan->context;
    scan_batch *batch = own;
    for (;;) {
        size_t n = batch->count - batch->next,
               room = BATCH - self->batch_count;
        room = room < self->left ? room : (size_t)self->left;
        n = n < room ? n : room;
        memcpy(self->batch + self->batch_count, batch->matches + batch->next,
               n * sizeof(*self->batch));
        batch->next += n;
        self->batch_count += n;
        self->left -= n;
        self->finished = self->left == 0;
        if (self->finished || batch->next < batch->count) {
            return 0;
        }
        batch->count = 0;
        batch->next = 0;
        if (task->ended) {
            return 1;
        }
        wi_scan_search(scan, task);
        if (scan->cancelled) {
            return 0;
        }
    }
}

static const wi_scan_user scan_user = {
    .own_size = sizeof(scan_batch),
    .look = scan_look,
    .take = scan_take,
};

/* ------------------------------------------------------------- constructor */

static int
scan_open_buffer(ScanObject *self, PyObject *buffer, unsigned threads)
{
    if (PyObject_GetBuffer(buffer, &self->view, PyBUF_SIMPLE) < 0) {
        self->view.obj = NULL;
        return -1;
    }
    self->scan.file = wi_bytes_guarded_source(buffer);
    self->scan.buffer = self->view.buf;
    self->scan.buffer_size = (size_t)self->view.len;
    return wi_scan_open_buffer(&self->scan, threads);
}

static PyObject *
scan_open(PyObject *cls, PyObject *args)
{
    PyObject *source, *specs, *match, *keys, *progress;
    const char *ranges;
    Py_ssize_t size;
    DWORD protections;
    uint64_t limit;
    unsigned threads;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL ||
        !PyArg_ParseTuple(args, "Oz#O&OOO!OO&O&:_open", &source, &ranges,
                          &size, wi_u32_converter, &protections, &specs,
                          &match, &PyTuple_Type, &keys, &progress,
                          wi_u64_converter, &limit, wi_threads_converter,
                          &threads)) {
        return NULL;
    }
    ScanObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->left = limit;
    self->scan.user = &scan_user;
    self->scan.context = self;
    self->scan.progress = Py_NewRef(progress);
    self->match = match == Py_None ? NULL : Py_NewRef(match);
    self->keys = Py_NewRef(keys);
    self->batch = PyMem_Malloc(BATCH * sizeof(*self->batch));
    if (self->batch == NULL) {
        PyErr_NoMemory();
        Py_CLEAR(self);
    }
    else if (wi_scan_compile(&self->scan, specs) < 0 ||
             (ranges == NULL
                  ? scan_open_buffer(self, source, threads)
                  : wi_scan_open_process(&self->scan, state, source, ranges,
                                         size, protections, threads)) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* ----------------------------------------------------------------- matches */

static PyObject *
scan_make(ScanObject *self)
{
    scan_match found = self->batch[self->batch_next++];
    PyObject *address = PyLong_FromUnsignedLongLong(found.address);
    if (address == NULL || self->match == NULL) {
        return address;
    }
    PyObject *key = PyTuple_GetItem(self->keys, (Py_ssize_t)found.pattern);
    PyObject *result =
        key == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(self->match, address, key, NULL);
    Py_DECREF(address);
    return result;
}

/* Release everything, and raise the error if there is one. */
static void
scan_end(ScanObject *self)
{
    PyObject *process = Py_XNewRef(self->scan.process);
    PyObject *file = Py_XNewRef(self->scan.file);
    const int failed = self->failed;
    self->failed = 0;
    scan_release(self);
    if (failed && file != NULL && self->scan.err != ERROR_NOT_ENOUGH_MEMORY) {
        wi_bytes_page_error(file, self->scan.err);
    }
    else if (failed) {
        wi_scan_raise(process, self->scan.err, self->scan.api);
    }
    Py_XDECREF(process);
    Py_XDECREF(file);
}

static PyObject *
scan_next(PyObject *op)
{
    ScanObject *self = (ScanObject *)op;
    for (;;) {
        /* Checked in each round: progress() may let another thread in. */
        if (self->scan.busy) {
            PyErr_SetString(PyExc_ValueError,
                            "the scan is running in another thread");
            return NULL;
        }
        if (self->batch_next < self->batch_count) {
            return scan_make(self);
        }
        if (self->finished) {
            scan_end(self);
            return NULL;
        }
        self->batch_count = 0;
        self->batch_next = 0;
        wi_scan_result result = wi_scan_slice(&self->scan);
        if (result == WI_SCAN_RAISED) {
            return NULL;
        }
        self->failed |= result == WI_SCAN_FAILED;
        self->finished |= result != WI_SCAN_MORE && result != WI_SCAN_FULL;
    }
}

/* ------------------------------------------------------------- other methods */

PyDoc_STRVAR(scan_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "End the scan after the matches that were found so far.\n\n"
             "Any thread may call it, at any time.\n\n"
             "Win32: none.");

static PyObject *
scan_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    InterlockedExchange(&((ScanObject *)op)->scan.cancelled, 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    scan_close_doc,
    "close($self, /)\n--\n\n"
    "End the scan and release the buffer or process; twice is harmless.\n\n"
    "A scan that is read to its end is closed too.\n\n"
    "Raises:\n"
    "    BufferError: Another thread runs it.\n\n"
    "Win32: none.");

static PyObject *
scan_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    ScanObject *self = (ScanObject *)op;
    if (self->scan.busy) {
        PyErr_SetString(PyExc_BufferError,
                        "cannot close a scan that is running in another "
                        "thread: cancel it");
        return NULL;
    }
    self->batch_count = 0;
    self->batch_next = 0;
    self->failed = 0;
    scan_release(self);
    Py_RETURN_NONE;
}

static PyObject *
scan_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((ScanObject *)op)->scan.cancelled);
}

static PyMethodDef scan_methods[] = {
    {"_open", scan_open, METH_VARARGS | METH_CLASS,
     PyDoc_STR("_open($type, source, ranges, protections, specs, match,\n"
               "      keys, progress, limit, threads, /)\n--\n\n"
               "Scan a RemoteProcess, or a buffer if ranges is None.\n\n"
               "Win32: VirtualQueryEx, ReadProcessMemory for a process.")},
    {"cancel", scan_cancel, METH_NOARGS, scan_cancel_doc},
    {"close", scan_close, METH_NOARGS, scan_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef scan_getset[] = {
    {"cancelled", scan_get_cancelled, NULL,
     "Whether cancel() or progress() has ended it early.", NULL},
    {"closed", wi_get_closed, NULL,
     "Whether it is over, and its buffer or process released.",
     (void *)offsetof(ScanObject, scan.set)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef scan_members[] = {
    {"scanned", T_ULONGLONG, offsetof(ScanObject, scan.scanned), Py_READONLY,
     "Bytes read so far."},
    {"skipped", T_ULONGLONG, offsetof(ScanObject, scan.skipped), Py_READONLY,
     "Bytes of committed memory that were left out so far: guard and\n"
     "no-access pages, and pages that were freed before they were read."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(scan_doc, "The raw iterator behind winipc.Scan.");

static PyType_Slot scan_slots[] = {
    {Py_tp_doc, (void *)scan_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, scan_finalize},
    {Py_tp_traverse, scan_traverse},
    {Py_tp_clear, scan_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, scan_next},
    {Py_tp_methods, scan_methods},
    {Py_tp_getset, scan_getset},
    {Py_tp_members, scan_members},
    {0, NULL},
};

static PyType_Spec scan_type_spec = {
    .name = "winipc._core.Scan",
    .basicsize = sizeof(ScanObject),
    .flags = WI_TYPE_FLAGS,
    .slots = scan_slots,
};

int
wi_scan_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &scan_type_spec, NULL);
}

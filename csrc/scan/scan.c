/* kernels.c: Scan, an iterator over what a scan finds.
 *
 * Runs the kernels of kernels.c over a buffer, or over the memory of a
 * RemoteProcess as reader.c brings it (VirtualQueryEx, ReadProcessMemory).
 * The GIL is released while it searches, in slices: after each slice signals
 * are looked at, progress is reported and what was found is handed out. A Scan
 * owns its memory and holds its buffer or process; the process is pinned only
 * while a slice runs, so it can be closed between two results. Any thread may
 * use a Scan, one at a time, and any may cancel it. */
#include "scan.h"

#define BATCH 4096

/* --------------------------------------------------------- the plain scan */

/* So many blocks are scanned between two looks at the clock. */
#define PAUSE_BLOCKS 32

wi_scan_result
wi_scan_next(wi_scan *scan)
{
    for (unsigned blocks = 0; blocks < PAUSE_BLOCKS; blocks++) {
        if (scan->next >= scan->starts) {
            if (!scan->remote) {
                return WI_SCAN_END;
            }
            scan->passed += scan->starts;
            scan->starts = 0;
            scan->next = 0;
            int found = wi_reader_next(&scan->reader, &scan->piece);
            if (found <= 0) {
                return found < 0 ? WI_SCAN_ERROR : WI_SCAN_END;
            }
            size_t again = scan->reader.kept;
            scan->starts = scan->piece.size - (scan->piece.last ? 0 : again);
            continue;
        }
        size_t at = scan->next;
        size_t n = scan->starts - at;
        n = n < SCAN_BLOCK ? n : SCAN_BLOCK;
        scan->next += n;
        scan->block = scan->piece.data + at;
        scan->block_starts = n;
        scan->block_address = scan->piece.address + at;
        if (scan_block(scan->set, &scan->hits, scan->block,
                       scan->piece.size - at, n, scan->block_address) > 0) {
            return WI_SCAN_HITS;
        }
    }
    return WI_SCAN_PAUSE;
}

void
wi_scan_clear(wi_scan *scan)
{
    scan_set *set = scan->set;
    uint8_t *room = scan->reader.room;
    wi_range *ranges = scan->reader.ranges;
    scan_hits hits = scan->hits;
    memset(scan, 0, sizeof *scan);
    scan_hits_clear(&hits);
    scan_set_free(set);
    PyMem_Free(room);
    PyMem_Free(ranges);
}

/* -------------------------------------------------------------- arguments */

/* One tuple into a spec. The bytes stay alive in the tuple. */
static int
scan_parse_spec(PyObject *tuple, scan_spec *spec)
{
    memset(spec, 0, sizeof *spec);
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a pattern must be a tuple");
        return -1;
    }
    if (PyTuple_Size(tuple) == 4) {
        int type;
        const char *low, *high;
        Py_ssize_t low_size, high_size;
        DWORD alignment;
        if (!PyArg_ParseTuple(tuple, "iy#y#O&", &type, &low, &low_size, &high,
                              &high_size, wi_u32_converter, &alignment)) {
            return -1;
        }
        if (type < 0 || type >= SCAN_TYPES || low_size != sizeof spec->low ||
            high_size != sizeof spec->high) {
            PyErr_SetString(PyExc_ValueError, "not a range of values");
            return -1;
        }
        spec->ranged = 1;
        spec->type = (scan_type)type;
        memcpy(&spec->low, low, sizeof spec->low);
        memcpy(&spec->high, high, sizeof spec->high);
        spec->alignment = alignment;
        return 0;
    }
    const char *value, *mask;
    Py_ssize_t value_size, mask_size;
    DWORD alignment;
    if (!PyArg_ParseTuple(tuple, "y#z#O&", &value, &value_size, &mask,
                          &mask_size, wi_u32_converter, &alignment)) {
        return -1;
    }
    if (mask != NULL && mask_size != value_size) {
        PyErr_SetString(PyExc_ValueError,
                        "mask and value must be of one length");
        return -1;
    }
    if (value_size < 1 || value_size > SCAN_MAX_LENGTH) {
        PyErr_Format(PyExc_ValueError,
                     "a pattern must have 1 to %d bytes, not %zd",
                     SCAN_MAX_LENGTH, value_size);
        return -1;
    }
    spec->value = (const uint8_t *)value;
    spec->mask = (const uint8_t *)mask;
    spec->length = (size_t)value_size;
    spec->alignment = alignment;
    return 0;
}

int
wi_scan_compile(wi_scan *scan, PyObject *specs, int level)
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
    const int best = (int)scan_best_level();
    if (level < 0) {
        level = best;
    }
    if (level > best) {
        PyErr_Format(PyExc_ValueError, "level %d: this machine has %d", level,
                     best);
        goto done;
    }
    array = PyMem_Calloc((size_t)count, sizeof *array);
    if (array == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        scan_spec *spec = &array[i];
        if (scan_parse_spec(PyTuple_GetItem(tuple, i), spec) < 0) {
            goto done;
        }
        if (spec->alignment == 0 || spec->alignment > SCAN_MAX_ALIGNMENT ||
            (spec->alignment & (spec->alignment - 1)) != 0) {
            PyErr_Format(PyExc_ValueError,
                         "alignment must be a power of two up to %d",
                         SCAN_MAX_ALIGNMENT);
            goto done;
        }
    }
    scan->set = scan_set_new(array, (size_t)count, (scan_level)level);
    if (scan->set == NULL || scan_hits_init(&scan->hits, scan->set) < 0) {
        PyErr_NoMemory();
        goto done;
    }
    result = 0;
done:
    PyMem_Free(array);
    Py_DECREF(tuple);
    return result;
}

int
wi_scan_set_remote(wi_scan *scan, PyObject *ranges, DWORD protections)
{
    wi_reader *reader = &scan->reader;
    PyObject *tuple = PySequence_Tuple(ranges);
    int result = -1;
    if (tuple == NULL) {
        return -1;
    }
    size_t count = (size_t)PyTuple_Size(tuple);
    scan->remote = 1;
    reader->protections = protections;
    reader->overlap = scan_set_longest(scan->set) - 1;
    reader->room = PyMem_Malloc(reader->overlap + WI_READ_CHUNK);
    reader->ranges = PyMem_Calloc(count + 1, sizeof *reader->ranges);
    if (reader->room == NULL || reader->ranges == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        PyObject *range = PyTuple_GetItem(tuple, (Py_ssize_t)i);
        uintptr_t start, end;
        if (!PyTuple_Check(range)) {
            PyErr_SetString(PyExc_TypeError, "a range must be a tuple");
            goto done;
        }
        if (!PyArg_ParseTuple(range, "O&O&", wi_address_converter, &start,
                              wi_address_converter, &end)) {
            goto done;
        }
        if (end <= start || (i > 0 && start <= reader->ranges[i - 1].end)) {
            PyErr_SetString(PyExc_ValueError,
                            "ranges must be ascending and apart");
            goto done;
        }
        reader->ranges[i].start = start;
        reader->ranges[i].end = end;
    }
    reader->range_count = count;
    result = 0;
done:
    Py_DECREF(tuple);
    return result;
}

int
wi_scan_check_process(wi_state *state, PyObject *process)
{
    if (!PyObject_TypeCheck(process, state->process_type)) {
        PyErr_Format(PyExc_TypeError,
                     "process must be a RemoteProcess, not %R",
                     (PyObject *)Py_TYPE(process));
        return -1;
    }
    return wi_process_check_open((wi_process *)process);
}

int
wi_scan_progress(PyObject *progress, uint64_t done, uint64_t total)
{
    if (progress == NULL || progress == Py_None) {
        return 1;
    }
    PyObject *answer = PyObject_CallFunction(
        progress, "KK", (unsigned long long)done,
        (unsigned long long)(total > done ? total : done));
    if (answer == NULL) {
        return -1;
    }
    int go_on = answer != Py_False;
    Py_DECREF(answer);
    return go_on;
}

/* --------------------------------------------------------------- instance */

typedef struct {
    PyObject_HEAD
    wi_scan scan;       /* empty once finished */
    Py_buffer view;     /* what a local scan searches; obj NULL: none */
    PyObject *process;  /* what a remote one does */
    PyObject *progress; /* called with (done, total), or None */
    PyObject *match;    /* called with (address, key), or NULL: addresses */
    PyObject *keys;     /* tuple of one key per pattern, or NULL */
    scan_match *batch;  /* found, and not yet handed out from batch_next on */
    size_t batch_count;
    size_t batch_next;
    uint64_t left;    /* so many matches may still be found */
    uint64_t total;   /* bytes, for progress */
    uint64_t scanned; /* kept from the reader when it ended */
    uint64_t skipped;
    int has_hits; /* the block at hand is not yet drained */
    int finished; /* nothing will be found any more */
    int failed;   /* an error waits until the batch is empty */
    DWORD err;    /* that error */
    const char *api;
    int busy; /* a thread is in a slice, or about to be */
    volatile LONG cancelled;
    PyObject *weakrefs;
} ScanObject;

/* ------------------------------------------------------- release, finalise */

static void
scanner_release(ScanObject *self)
{
    Py_buffer view = self->view;
    PyObject *process = self->process;
    self->view.obj = NULL;
    self->process = NULL;
    self->finished = 1;
    self->has_hits = 0;
    self->scanned =
        self->scan.reader.scanned + (self->scan.remote ? 0 : self->scan.next);
    self->skipped = self->scan.reader.skipped;
    wi_scan_clear(&self->scan);
    if (view.obj != NULL) {
        PyBuffer_Release(&view);
    }
    Py_XDECREF(process);
}

static void
scanner_forget_batch(ScanObject *self)
{
    scan_match *batch = self->batch;
    self->batch = NULL;
    self->batch_count = 0;
    self->batch_next = 0;
    PyMem_Free(batch);
}

static int
scanner_traverse(PyObject *op, visitproc visit, void *arg)
{
    ScanObject *self = (ScanObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->view.obj);
    Py_VISIT(self->process);
    Py_VISIT(self->progress);
    Py_VISIT(self->match);
    Py_VISIT(self->keys);
    return 0;
}

static int
scanner_clear(PyObject *op)
{
    ScanObject *self = (ScanObject *)op;
    /* Also when it has ended: perhaps nobody came for the last matches. */
    if (self->scan.set != NULL || self->view.obj != NULL ||
        self->process != NULL) {
        scanner_release(self);
    }
    Py_CLEAR(self->progress);
    Py_CLEAR(self->match);
    Py_CLEAR(self->keys);
    return 0;
}

static void
scanner_finalize(PyObject *op)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    scanner_clear(op);
    scanner_forget_batch((ScanObject *)op);
    PyErr_Restore(type, value, traceback);
}

/* ------------------------------------------------------------ constructors */

static ScanObject *
scanner_new(PyObject *cls, PyObject *specs, PyObject *match, PyObject *keys,
            PyObject *progress, uint64_t limit, int level)
{
    ScanObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->left = limit;
    self->progress = Py_NewRef(progress);
    if (match != Py_None) {
        self->match = Py_NewRef(match);
        self->keys = PySequence_Tuple(keys);
        if (self->keys == NULL) {
            goto failed;
        }
    }
    self->batch = PyMem_Malloc(BATCH * sizeof *self->batch);
    if (self->batch == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    if (wi_scan_compile(&self->scan, specs, level) < 0) {
        goto failed;
    }
    if (self->keys != NULL &&
        (size_t)PyTuple_Size(self->keys) != scan_set_count(self->scan.set)) {
        PyErr_SetString(PyExc_ValueError, "as many keys as patterns");
        goto failed;
    }
    return self;

failed:
    Py_DECREF(self);
    return NULL;
}

PyDoc_STRVAR(scanner_local_doc,
             "_local($type, buffer, specs, match, keys, progress, limit,\n"
             "       level, /)\n--\n\n"
             "A scan of a bytes-like object.");

static PyObject *
scanner_local(PyObject *cls, PyObject *args)
{
    PyObject *buffer, *specs, *match, *keys, *progress;
    uint64_t limit;
    int level;
    if (!PyArg_ParseTuple(args, "OOOOOO&i:_local", &buffer, &specs, &match,
                          &keys, &progress, wi_u64_converter, &limit,
                          &level)) {
        return NULL;
    }
    ScanObject *self =
        scanner_new(cls, specs, match, keys, progress, limit, level);
    if (self == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(buffer, &self->view, PyBUF_SIMPLE) < 0) {
        self->view.obj = NULL;
        Py_DECREF(self);
        return NULL;
    }
    self->scan.piece.data = self->view.buf;
    self->scan.piece.size = (size_t)self->view.len;
    self->scan.piece.last = 1;
    self->scan.starts = (size_t)self->view.len;
    self->total = (uint64_t)self->view.len;
    return (PyObject *)self;
}

PyDoc_STRVAR(scanner_remote_doc,
             "_remote($type, process, ranges, protections, specs, match,\n"
             "        keys, progress, limit, level, /)\n--\n\n"
             "A scan of the memory of a RemoteProcess.");

static PyObject *
scanner_remote(PyObject *cls, PyObject *args)
{
    PyObject *process, *ranges, *specs, *match, *keys, *progress;
    DWORD protections;
    uint64_t limit;
    int level;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL ||
        !PyArg_ParseTuple(args, "OOO&OOOOO&i:_remote", &process, &ranges,
                          wi_u32_converter, &protections, &specs, &match,
                          &keys, &progress, wi_u64_converter, &limit,
                          &level)) {
        return NULL;
    }
    ScanObject *self =
        scanner_new(cls, specs, match, keys, progress, limit, level);
    if (self == NULL) {
        return NULL;
    }
    /* Checked last: the arguments above may have closed it. */
    if (wi_scan_set_remote(&self->scan, ranges, protections) < 0 ||
        wi_scan_check_process(state, process) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->process = Py_NewRef(process);
    if (progress != Py_None) {
        uint64_t total;
        wi_reader *reader = &self->scan.reader;
        reader->target = wi_process_pin((wi_process *)process);
        Py_BEGIN_ALLOW_THREADS
        total = wi_reader_estimate(reader);
        Py_END_ALLOW_THREADS
        wi_process_unpin((wi_process *)process);
        self->total = total;
    }
    return (PyObject *)self;
}

/* ---------------------------------------------------------------- a slice */

/* Search until the batch is full, the time is over or the scan has ended. */
static void
scanner_run(ScanObject *self)
{
    const ULONGLONG began = GetTickCount64();
    self->batch_count = 0;
    self->batch_next = 0;
    while (!self->finished && self->batch_count < BATCH) {
        if (self->cancelled) {
            self->finished = 1;
            break;
        }
        if (self->has_hits) {
            size_t room = BATCH - self->batch_count;
            if (room > self->left) {
                room = (size_t)self->left;
            }
            size_t n = scan_drain(&self->scan.hits, self->scan.block_address,
                                  self->batch + self->batch_count, room);
            self->batch_count += n;
            self->left -= n;
            if (self->left == 0) {
                self->finished = 1;
                break;
            }
            if (n == room) {
                break;
            }
            self->has_hits = 0;
        }
        switch (wi_scan_next(&self->scan)) {
        case WI_SCAN_HITS:
            self->has_hits = 1;
            continue;
        case WI_SCAN_PAUSE:
            if (GetTickCount64() - began >= WI_SLICE_MS) {
                return;
            }
            continue;
        case WI_SCAN_ERROR:
            self->failed = 1;
            self->err = self->scan.reader.err;
            self->api = self->scan.reader.api;
            self->finished = 1;
            break;
        case WI_SCAN_END:
            self->finished = 1;
            break;
        }
    }
}

/* One slice. 0, or -1 with an exception. */
static int
scanner_slice(ScanObject *self)
{
    wi_process *process = NULL;
    if (self->busy) {
        PyErr_SetString(PyExc_ValueError,
                        "the scan is running in another thread");
        return -1;
    }
    if (self->finished) {
        return 0;
    }
    if (self->process != NULL) {
        process = (wi_process *)self->process;
        if (wi_process_check_open(process) < 0) {
            return -1;
        }
        self->scan.reader.target = wi_process_pin(process);
    }
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    scanner_run(self);
    Py_END_ALLOW_THREADS
    self->busy = 0;
    if (process != NULL) {
        wi_process_unpin(process);
    }
    uint64_t done = self->scan.passed + self->scan.next;
    int ended =
        self->finished && !self->failed && !self->cancelled && self->left > 0;
    int go_on =
        wi_scan_progress(self->progress, done, ended ? done : self->total);
    if (go_on == 0) {
        InterlockedExchange(&self->cancelled, 1);
        self->finished = 1;
    }
    if (go_on < 0 || PyErr_CheckSignals() < 0) {
        return -1;
    }
    return 0;
}

/* Make the batch hold something: 1, 0 when the scan is over, -1. */
static int
scanner_fill(ScanObject *self)
{
    while (self->batch_next >= self->batch_count) {
        if (self->busy) {
            PyErr_SetString(PyExc_ValueError,
                            "the scan is running in another thread");
            return -1;
        }
        if (self->finished) {
            if (self->failed && self->process != NULL) {
                self->failed = 0;
                wi_process *process = (wi_process *)Py_NewRef(self->process);
                scanner_release(self);
                if (wi_process_check_open(process) == 0) {
                    wi_process_raise(process, self->err, self->api,
                                     PROCESS_VM_READ |
                                         PROCESS_QUERY_INFORMATION);
                }
                Py_DECREF(process);
                return -1;
            }
            if (self->view.obj != NULL || self->process != NULL) {
                scanner_release(self);
            }
            return 0;
        }
        if (scanner_slice(self) < 0) {
            return -1;
        }
    }
    return 1;
}

static PyObject *
scanner_make(ScanObject *self, const scan_match *match)
{
    PyObject *address = PyLong_FromUnsignedLongLong(match->address);
    if (address == NULL || self->match == NULL) {
        return address;
    }
    PyObject *key = PyTuple_GetItem(self->keys, (Py_ssize_t)match->pattern);
    PyObject *result =
        key == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(self->match, address, key, NULL);
    Py_DECREF(address);
    return result;
}

static PyObject *
scanner_next(PyObject *op)
{
    ScanObject *self = (ScanObject *)op;
    if (scanner_fill(self) <= 0) {
        return NULL;
    }
    scan_match match = self->batch[self->batch_next++];
    return scanner_make(self, &match);
}

PyDoc_STRVAR(
    scanner_next_batch_doc,
    "next_batch($self, /)\n--\n\n"
    "A list of the matches that come next, as soon as there are\n"
    "any: at most 4096. An empty list means that the scan is over.\n\n"
    "Raises what iterating does.\n\n"
    "Win32: VirtualQueryEx, ReadProcessMemory");

static PyObject *
scanner_next_batch(PyObject *op, PyObject *unused)
{
    ScanObject *self = (ScanObject *)op;
    WI_UNUSED(unused);
    if (scanner_fill(self) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    while (list != NULL && self->batch_next < self->batch_count) {
        scan_match match = self->batch[self->batch_next++];
        PyObject *item = scanner_make(self, &match);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

PyDoc_STRVAR(scanner_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Let the scan end after what it has found so far.\n\n"
             "Any thread may call it, at any time.");

static PyObject *
scanner_cancel(PyObject *op, PyObject *unused)
{
    WI_UNUSED(unused);
    InterlockedExchange(&((ScanObject *)op)->cancelled, 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    scanner_close_doc,
    "close($self, /)\n--\n\n"
    "End the scan and let go of the buffer or process; more calls do\n"
    "nothing. Reading a scan to its end closes it as well.\n\n"
    "Raises BufferError while another thread is in it.");

static PyObject *
scanner_close(PyObject *op, PyObject *unused)
{
    ScanObject *self = (ScanObject *)op;
    WI_UNUSED(unused);
    if (self->busy) {
        PyErr_SetString(PyExc_BufferError,
                        "cannot close a scan that is running in another "
                        "thread: cancel it");
        return NULL;
    }
    self->batch_count = 0;
    self->batch_next = 0;
    self->failed = 0;
    if (self->view.obj != NULL || self->process != NULL) {
        scanner_release(self);
    }
    Py_RETURN_NONE;
}

static PyObject *
scanner_enter(PyObject *op, PyObject *unused)
{
    WI_UNUSED(unused);
    return Py_NewRef(op);
}

static PyObject *
scanner_exit(PyObject *op, PyObject *args)
{
    WI_UNUSED(args);
    return scanner_close(op, NULL);
}

static PyObject *
scanner_get_scanned(PyObject *op, void *closure)
{
    ScanObject *self = (ScanObject *)op;
    WI_UNUSED(closure);
    uint64_t n = self->scanned + self->scan.reader.scanned;
    if (self->scan.set != NULL && !self->scan.remote) {
        n += self->scan.next;
    }
    return PyLong_FromUnsignedLongLong(n);
}

static PyObject *
scanner_get_skipped(PyObject *op, void *closure)
{
    ScanObject *self = (ScanObject *)op;
    WI_UNUSED(closure);
    return PyLong_FromUnsignedLongLong(self->skipped +
                                       self->scan.reader.skipped);
}

static PyObject *
scanner_get_cancelled(PyObject *op, void *closure)
{
    WI_UNUSED(closure);
    return PyBool_FromLong(((ScanObject *)op)->cancelled);
}

static PyObject *
scanner_get_closed(PyObject *op, void *closure)
{
    ScanObject *self = (ScanObject *)op;
    WI_UNUSED(closure);
    return PyBool_FromLong(self->view.obj == NULL && self->process == NULL);
}

static PyMethodDef scanner_methods[] = {
    {"_local", scanner_local, METH_VARARGS | METH_CLASS, scanner_local_doc},
    {"_remote", scanner_remote, METH_VARARGS | METH_CLASS, scanner_remote_doc},
    {"next_batch", scanner_next_batch, METH_NOARGS, scanner_next_batch_doc},
    {"cancel", scanner_cancel, METH_NOARGS, scanner_cancel_doc},
    {"close", scanner_close, METH_NOARGS, scanner_close_doc},
    {"__enter__", scanner_enter, METH_NOARGS, NULL},
    {"__exit__", scanner_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef scanner_getset[] = {
    {"scanned", scanner_get_scanned, NULL, "Bytes read so far.", NULL},
    {"skipped", scanner_get_skipped, NULL,
     "Bytes of committed memory left out so far: guard and no-access pages,\n"
     "and what was gone when it was its turn.",
     NULL},
    {"cancelled", scanner_get_cancelled, NULL,
     "Whether it was told to end early.", NULL},
    {"closed", scanner_get_closed, NULL,
     "Whether it is over, and its buffer or process let go.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef scanner_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ScanObject, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(scanner_doc, "The raw iterator behind winipc.Scan.");

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, (void *)scanner_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, scanner_finalize},
    {Py_tp_traverse, scanner_traverse},
    {Py_tp_clear, scanner_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, scanner_next},
    {Py_tp_methods, scanner_methods},
    {Py_tp_getset, scanner_getset},
    {Py_tp_members, scanner_members},
    {0, NULL},
};

static PyType_Spec scanner_spec = {
    .name = "winipc._core.Scan",
    .basicsize = sizeof(ScanObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scanner_slots,
};

int
wi_scanner_init(PyObject *module, wi_state *state)
{
    if (wi_add_type(module, &scanner_spec, &state->scanner_type) < 0 ||
        PyModule_AddIntConstant(module, "_SCAN_LEVEL",
                                (long)scan_best_level()) < 0) {
        return -1;
    }
    return wi_candidates_init(module, state);
}

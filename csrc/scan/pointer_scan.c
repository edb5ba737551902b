/* pointer_scan.c: PointerScan, an iterator over the chains of pointers to an
 * address.
 *
 *     scan = PointerScan._open(process, ranges, 0, targets, bases, 8, address,
 *                              5, 0x1000, most_bytes, None, make, None)
 *     for path in scan:  # what make(base, offsets) returns
 *         print(path, scan.pointers)
 *
 * A scan (scan.h) for numbers that may be pointers fills a map (pointers.h);
 * the map is sorted, and a walk finds the chains.
 *
 * Owner: a PointerScan owns its map, and a reference to its process until the
 * process has been read. Thread: any, one at a time; any other may cancel it.
 * GIL: given up in slices. Between slices it checks for signals and reports
 * progress. */
#include "pointers.h"
#include "scan.h"

#define BATCH 64
#define STEPS 10000 /* of a walk between two looks at the clock */

typedef enum { STAGE_READ, STAGE_SORT, STAGE_WALK, STAGE_END } pointer_stage;

typedef struct {
    PyObject_HEAD
    wi_scan scan; /* cleared when all has been read; its progress is owned */
    PyObject *match;
    pointer_map *map; /* NULL once closed */
    wi_crew *sorters;
    pointer_walk *walk;
    pointer_path *batch; /* paths; those before next were returned */
    size_t count;
    size_t next;
    pointer_stage stage;
    pointer_result result; /* of the last slice */
    unsigned width;        /* of a pointer */
    unsigned depth;
    uint64_t address;
    uint64_t max_offset;
    uint64_t most; /* bytes that the map may take */
    uint64_t pointers;
    uint64_t end_ms; /* the tick when the time is over */
} PointerScanObject;

/* ------------------------------------------------------- release, finalise */

static void
pointer_scan_release(PointerScanObject *self)
{
    pointer_walk *walk = self->walk;
    pointer_map *map = self->map;
    wi_crew *sorters = self->sorters;
    pointer_path *batch = self->batch;
    self->walk = NULL;
    self->sorters = NULL;
    self->map = NULL;
    self->batch = NULL;
    self->count = 0;
    self->next = 0;
    self->stage = STAGE_END;
    pointer_walk_free(walk);
    wi_crew_free(sorters);
    pointer_map_free(map);
    PyMem_Free(batch);
    wi_scan_clear(&self->scan);
}

static int
pointer_scan_traverse(PyObject *op, visitproc visit, void *arg)
{
    PointerScanObject *self = (PointerScanObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->scan.process);
    Py_VISIT(self->scan.progress);
    Py_VISIT(self->match);
    return 0;
}

static int
pointer_scan_clear(PyObject *op)
{
    PointerScanObject *self = (PointerScanObject *)op;
    pointer_scan_release(self);
    Py_CLEAR(self->scan.progress);
    Py_CLEAR(self->match);
    return 0;
}

static void
pointer_scan_finalize(PyObject *op)
{
    if (((PointerScanObject *)op)->scan.busy) { /* __del__() is callable */
        return;
    }
    WI_KEEP_ERROR
    pointer_scan_clear(op);
    WI_END_KEEP_ERROR
}

/* ---------------------------------------------------- reading and sorting */

/* A task's own part. */
typedef struct {
    uint64_t count; /* of pointers */
    pointer_result result;
} pointer_part;

static int
pointer_scan_look(wi_scan *scan, wi_scan_task *task, void *own)
{
    PointerScanObject *self = scan->context;
    pointer_part *part = own;
    part->result = pointer_map_collect(
        self->map, task->thread, self->width, task->hits.bits, SCAN_WORDS,
        task->block, task->block_address, &part->count);
    scan_discard(&task->hits);
    return part->result == POINTER_DONE;
}

static int
pointer_scan_take(wi_scan *scan, wi_scan_task *Py_UNUSED(task), void *own)
{
    PointerScanObject *self = scan->context;
    pointer_part *part = own;
    self->pointers += part->count;
    self->result = part->result;
    part->count = 0;
    return part->result == POINTER_DONE;
}

static const wi_scan_user pointer_scan_user = {
    .own_size = sizeof(pointer_part),
    .look = pointer_scan_look,
    .take = pointer_scan_take,
};

static int
sort_claim(void *context, void *task)
{
    return pointer_map_claim_sort(context, task);
}

static void
sort_work(void *context, void *task, unsigned Py_UNUSED(thread))
{
    pointer_map_sort(context, task);
}

static int
sort_take(void *context, void *task)
{
    return pointer_map_take_sort(context, task) == POINTER_DONE;
}

static void
sort_clear(void *Py_UNUSED(context), void *task)
{
    pointer_sort_clear(task);
}

static const wi_crew_duty sort_duty = {
    .claim = sort_claim,
    .work = sort_work,
    .take = sort_take,
    .clear = sort_clear,
};

/* ------------------------------------------------------------- constructor */

typedef pointer_result add_range(pointer_map *map, uint64_t start,
                                 uint64_t end);

/* Add ranges from pairs of uint64_t, start and end. */
static pointer_result
pointer_scan_add(pointer_map *map, add_range *add, const char *data,
                 Py_ssize_t size)
{
    uint64_t pair[2];
    pointer_result result = POINTER_DONE;
    for (; size >= (Py_ssize_t)sizeof(pair) && result == POINTER_DONE;
         size -= sizeof(pair), data += sizeof(pair)) {
        memcpy(pair, data, sizeof(pair));
        result = add(map, pair[0], pair[1]);
    }
    return result;
}

static void
pointer_scan_no_memory(PointerScanObject *self)
{
    PyErr_Format(PyExc_MemoryError,
                 "the pointers do not fit in %llu bytes of memory: look in "
                 "fewer regions",
                 (unsigned long long)self->most);
}

static PyObject *
pointer_scan_open(PyObject *cls, PyObject *args)
{
    PyObject *process, *match, *progress;
    const char *ranges, *targets, *bases;
    Py_ssize_t ranges_size, targets_size, bases_size;
    DWORD protections;
    uint64_t timeout;
    unsigned threads;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    PointerScanObject *self =
        state == NULL ? NULL : wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->stage = STAGE_END;
    if (!PyArg_ParseTuple(
            args, "Oy#O&y#y#IO&IO&O&O&OOO&:_open", &process, &ranges,
            &ranges_size, wi_u32_converter, &protections, &targets,
            &targets_size, &bases, &bases_size, &self->width, wi_u64_converter,
            &self->address, &self->depth, wi_u64_converter, &self->max_offset,
            wi_u64_converter, &self->most, wi_timeout_converter, &timeout,
            &match, &progress, wi_threads_converter, &threads)) {
        goto failed;
    }
    if ((self->width != 4 && self->width != 8) || self->depth < 1 ||
        self->depth > POINTER_MAX_DEPTH) {
        PyErr_Format(PyExc_ValueError, "the depth must be 1 to %d",
                     POINTER_MAX_DEPTH);
        goto failed;
    }
    const uint64_t now = GetTickCount64();
    self->end_ms = timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
    threads = wi_thread_count(threads);
    self->match = Py_NewRef(match);
    self->scan.user = &pointer_scan_user;
    self->scan.context = self;
    self->scan.progress = Py_NewRef(progress);
    self->batch = PyMem_Malloc(BATCH * sizeof(*self->batch));
    self->map =
        self->batch == NULL ? NULL : pointer_map_new(self->most, threads);
    if (self->map == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    if (pointer_scan_add(self->map, pointer_map_add_target, targets,
                         targets_size) != POINTER_DONE ||
        pointer_scan_add(self->map, pointer_map_add_base, bases, bases_size) !=
            POINTER_DONE ||
        pointer_map_begin(self->map) != POINTER_DONE) {
        pointer_scan_no_memory(self);
        goto failed;
    }
    /* A number from the first target to the last one may be a pointer. */
    scan_field field = {.type = self->width == 8 ? SCAN_U64 : SCAN_U32,
                        .low = {.u = UINT64_MAX}};
    scan_spec spec = {.length = self->width,
                      .alignment = self->width,
                      .fields = &field,
                      .field_count = 1};
    if (targets_size > 0) {
        memcpy(&field.low.u, targets, sizeof(uint64_t));
        memcpy(&field.high.u, targets + targets_size - sizeof(uint64_t),
               sizeof(uint64_t));
    }
    self->scan.set = scan_set_new(&spec, 1, scan_best_level());
    self->sorters =
        wi_crew_new(&sort_duty, self->map, threads, sizeof(pointer_sort));
    if (self->scan.set == NULL || self->sorters == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    if (wi_scan_open_process(&self->scan, state, process, ranges, ranges_size,
                             protections, threads) < 0) {
        goto failed;
    }
    self->stage = STAGE_READ;
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* ------------------------------------------------------------------- paths */

/* Sort for one slice. The caller has given up the GIL. */
static void
pointer_scan_sort(PointerScanObject *self)
{
    switch (wi_crew_run(self->sorters, WI_SLICE_MS)) {
    case WI_CREW_MORE:
        self->result = POINTER_DONE;
        return;
    case WI_CREW_HELD:
        self->result = POINTER_FULL;
        return;
    default:
        break;
    }
    self->stage = STAGE_WALK;
    self->walk = pointer_walk_new(self->map, self->address, self->depth,
                                  self->max_offset);
    self->result = self->walk == NULL ? POINTER_FULL : POINTER_DONE;
}

/* Walk until there are paths, or for one slice. The caller has given up the
 * GIL. */
static void
pointer_scan_walk(PointerScanObject *self)
{
    const ULONGLONG began = GetTickCount64();
    int ended = 0;
    do {
        self->count =
            pointer_walk_next(self->walk, self->batch, BATCH, STEPS, &ended);
    } while (!ended && self->count == 0 &&
             GetTickCount64() - began < WI_SLICE_MS);
    self->stage = ended ? STAGE_END : STAGE_WALK;
}

/* Read, sort or walk for one slice. */
static int
pointer_scan_step(PointerScanObject *self)
{
    if (self->stage == STAGE_READ) {
        wi_scan_result read = wi_scan_slice(&self->scan);
        if (read == WI_SCAN_FAILED) {
            self->stage = STAGE_END;
            wi_scan_raise(self->scan.process, self->scan.err, self->scan.api);
        }
        if (read == WI_SCAN_FAILED || read == WI_SCAN_RAISED) {
            return -1;
        }
        /* progress() may have closed the scan, or iterated it. */
        if (read == WI_SCAN_END && self->stage == STAGE_READ) {
            self->stage = STAGE_SORT;
            wi_scan_clear(&self->scan);
            self->result = pointer_map_begin_sort(self->map);
        }
    }
    else {
        self->scan.busy = 1;
        Py_BEGIN_ALLOW_THREADS
        if (self->stage == STAGE_SORT) {
            pointer_scan_sort(self);
        }
        else {
            pointer_scan_walk(self);
        }
        Py_END_ALLOW_THREADS
        self->scan.busy = 0;
        const uint64_t done = self->scan.scanned;
        switch (wi_scan_progress(self->scan.progress, done, done)) {
        case WI_PROGRESS_STOP:
            InterlockedExchange(&self->scan.cancelled, 1);
            break;
        case WI_PROGRESS_RAISED:
            return -1;
        default:
            break;
        }
    }
    if (self->result == POINTER_FULL) {
        self->stage = STAGE_END;
        pointer_scan_no_memory(self);
        return -1;
    }
    return 0;
}

static PyObject *
pointer_scan_make(PointerScanObject *self)
{
    const pointer_path *path = &self->batch[self->next++];
    const Py_ssize_t length = (Py_ssize_t)path->length;
    PyObject *result = NULL;
    PyObject *offsets = PyTuple_New(length);
    PyObject *base = PyLong_FromUnsignedLongLong(path->base);
    for (Py_ssize_t i = 0; offsets != NULL && i < length; i++) {
        PyObject *offset = PyLong_FromUnsignedLongLong(path->offsets[i]);
        if (offset == NULL || PyTuple_SetItem(offsets, i, offset) < 0) {
            Py_CLEAR(offsets);
        }
    }
    if (offsets != NULL && base != NULL) {
        result =
            PyObject_CallFunctionObjArgs(self->match, base, offsets, NULL);
    }
    Py_XDECREF(offsets);
    Py_XDECREF(base);
    return result;
}

static PyObject *
pointer_scan_next(PyObject *op)
{
    PointerScanObject *self = (PointerScanObject *)op;
    for (;;) {
        /* Checked in each round: progress() may let another thread in. */
        if (self->scan.busy) {
            PyErr_SetString(PyExc_ValueError,
                            "the scan is running in another thread");
            return NULL;
        }
        if (self->next < self->count) {
            return pointer_scan_make(self);
        }
        if (GetTickCount64() >= self->end_ms && self->stage != STAGE_END) {
            InterlockedExchange(&self->scan.cancelled, 1);
        }
        if (self->stage == STAGE_END || self->scan.cancelled) {
            pointer_scan_release(self);
            return NULL;
        }
        self->count = 0;
        self->next = 0;
        if (pointer_scan_step(self) < 0) {
            if (self->stage == STAGE_END) {
                WI_KEEP_ERROR
                pointer_scan_release(self);
                WI_END_KEEP_ERROR
            }
            return NULL;
        }
    }
}

/* ----------------------------------------------------------- other methods */

PyDoc_STRVAR(pointer_scan_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "End the scan after the paths that were found so far.\n\n"
             "Any thread may call it, at any time.\n\n"
             "Win32: none.");

static PyObject *
pointer_scan_cancel(PyObject *op, PyObject *Py_UNUSED(unused))
{
    InterlockedExchange(&((PointerScanObject *)op)->scan.cancelled, 1);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pointer_scan_close_doc,
             "close($self, /)\n--\n\n"
             "End the scan and free the pointers; twice is harmless.\n\n"
             "A scan that is read to its end is closed too.\n\n"
             "Raises:\n"
             "    BufferError: Another thread runs it.\n\n"
             "Win32: none.");

static PyObject *
pointer_scan_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    PointerScanObject *self = (PointerScanObject *)op;
    if (self->scan.busy) {
        PyErr_SetString(PyExc_BufferError,
                        "cannot close a scan that is running in another "
                        "thread: cancel it");
        return NULL;
    }
    pointer_scan_release(self);
    Py_RETURN_NONE;
}

static PyObject *
pointer_scan_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((PointerScanObject *)op)->scan.cancelled);
}

static PyObject *
pointer_scan_get_nbytes(PyObject *op, void *Py_UNUSED(closure))
{
    PointerScanObject *self = (PointerScanObject *)op;
    return PyLong_FromUnsignedLongLong(
        self->map == NULL ? 0 : pointer_map_bytes(self->map));
}

static PyMethodDef pointer_scan_methods[] = {
    {"_open", pointer_scan_open, METH_VARARGS | METH_CLASS,
     PyDoc_STR("_open($type, process, ranges, protections, targets, bases,\n"
               "      width, address, depth, max_offset, memory, timeout,\n"
               "      match, progress, threads, /)\n--\n\n"
               "Scan for chains to an address; match(base, offsets) makes a\n"
               "path.\n\n"
               "Win32: VirtualQueryEx, ReadProcessMemory")},
    {"cancel", pointer_scan_cancel, METH_NOARGS, pointer_scan_cancel_doc},
    {"close", pointer_scan_close, METH_NOARGS, pointer_scan_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pointer_scan_getset[] = {
    {"cancelled", pointer_scan_get_cancelled, NULL,
     "Whether cancel(), progress() or the time-out has ended it early.", NULL},
    {"nbytes", pointer_scan_get_nbytes, NULL,
     "Bytes of memory that the pointers take; 0 once closed.", NULL},
    {"closed", wi_get_closed, NULL,
     "Whether it is over, and its memory is free.",
     (void *)offsetof(PointerScanObject, map)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef pointer_scan_members[] = {
    {"pointers", T_ULONGLONG, offsetof(PointerScanObject, pointers),
     Py_READONLY, "Pointers that were found so far."},
    {"scanned", T_ULONGLONG, offsetof(PointerScanObject, scan.scanned),
     Py_READONLY, "Bytes read so far."},
    {"skipped", T_ULONGLONG, offsetof(PointerScanObject, scan.skipped),
     Py_READONLY,
     "Bytes of committed memory that were left out so far: guard and\n"
     "no-access pages, and pages that were freed before they were read."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(pointer_scan_doc, "The raw iterator behind winipc.PointerScan.");

static PyType_Slot pointer_scan_slots[] = {
    {Py_tp_doc, (void *)pointer_scan_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, pointer_scan_finalize},
    {Py_tp_traverse, pointer_scan_traverse},
    {Py_tp_clear, pointer_scan_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, pointer_scan_next},
    {Py_tp_methods, pointer_scan_methods},
    {Py_tp_getset, pointer_scan_getset},
    {Py_tp_members, pointer_scan_members},
    {0, NULL},
};

static PyType_Spec pointer_scan_spec = {
    .name = "winipc._core.PointerScan",
    .basicsize = sizeof(PointerScanObject),
    .flags = WI_TYPE_FLAGS,
    .slots = pointer_scan_slots,
};

int
wi_pointer_scan_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &pointer_scan_spec, NULL);
}

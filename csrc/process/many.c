/* many.c: many small reads of a RemoteProcess in few calls.
 *
 * read_many sorts its requests and reads neighbours together; the cache and
 * the list walker serve reads whose addresses come from earlier reads. */
#include "base/handles.h"
#include "cache.h"

#include <stdlib.h>

/* Reading over a gap of this size is cheaper than a second call. Less than a
 * page: no page is touched of which nobody has asked for a byte. */
#define MANY_GAP ((size_t)WI_PAGE - 1)

/* Bytes that one call reads, unless a single request is larger: memory that
 * is used again costs less than the first touch of fresh pages. */
#define MANY_SPAN ((size_t)128 * 1024)

typedef struct {
    uintptr_t address;
    size_t size;
    Py_ssize_t order; /* its place in the list of the caller */
} many_request;

static int
many_compare(const void *left, const void *right)
{
    const many_request *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* One (address, size) pair. */
static int
many_parse(PyObject *item, many_request *request)
{
    PyObject *pair =
        PyTuple_CheckExact(item) ? Py_NewRef(item) : PySequence_Tuple(item);
    int failed = -1;
    if (pair == NULL) {
        return -1;
    }
    if (PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_ValueError,
                        "a request must be a pair (address, size)");
        goto done;
    }
    Py_ssize_t size =
        PyNumber_AsSsize_t(PyTuple_GetItem(pair, 1), PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) {
        goto done;
    }
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "size must be >= 0");
        goto done;
    }
    request->size = (size_t)size;
    if (wi_address_converter(PyTuple_GetItem(pair, 0), &request->address)) {
        failed = 0;
    }
done:
    Py_DECREF(pair);
    return failed;
}

/* How many requests from the first on are read by one call, and its size. */
static Py_ssize_t
many_chunk(const many_request *first, Py_ssize_t count, size_t *span)
{
    Py_ssize_t taken = 1;
    *span = first->size;
    while (taken < count) {
        const many_request *next = first + taken;
        size_t start = (size_t)(next->address - first->address);
        if ((start > *span && start - *span > MANY_GAP) || start > MANY_SPAN ||
            next->size > MANY_SPAN - start) {
            break;
        }
        if (start + next->size > *span) {
            *span = start + next->size;
        }
        taken++;
    }
    return taken;
}

/* Whether every page of a request is in the mask of its chunk. */
static BOOL
many_covered(const many_request *request, uintptr_t base,
             const unsigned char *mask)
{
    size_t page = (size_t)(request->address / WI_PAGE - base / WI_PAGE);
    size_t count = wi_page_count(request->address, request->size);
    for (size_t i = 0; i < count; i++) {
        if (!mask[page + i]) {
            return FALSE;
        }
    }
    return TRUE;
}

typedef struct {
    wi_process *process;
    PyObject *results;
    char *scratch;       /* grows to the largest chunk */
    unsigned char *mask; /* one byte a page of it */
    size_t room;
    size_t read; /* bytes that were asked for and are there */
    DWORD err;   /* the last failure */
} many_state;

static int
many_reserve(many_state *state, size_t span)
{
    if (span <= state->room) {
        return 0;
    }
    PyMem_Free(state->scratch);
    PyMem_Free(state->mask);
    state->room = 0;
    state->scratch = PyMem_Malloc(span);
    state->mask = PyMem_Malloc(span / WI_PAGE + 2);
    if (state->scratch == NULL || state->mask == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    state->room = span;
    return 0;
}

static int
many_set(many_state *state, const many_request *request, PyObject *value)
{
    if (value == NULL) {
        return -1;
    }
    return PyList_SetItem(state->results, request->order, value);
}

/* A request that is alone is read right into its bytes. */
static int
many_read_one(many_state *state, const many_request *request)
{
    PyObject *data =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)request->size);
    if (data == NULL) {
        return -1;
    }
    DWORD err = wi_process_read_raw(state->process, request->address,
                                    PyBytes_AsString(data), request->size);
    if (err) {
        Py_DECREF(data);
        state->err = err;
        return many_set(state, request, Py_NewRef(Py_None));
    }
    state->read += request->size;
    return many_set(state, request, data);
}

static int
many_read_chunk(many_state *state, const many_request *first, Py_ssize_t count,
                size_t span)
{
    wi_process *self = state->process;
    if (count == 1) {
        return many_read_one(state, first);
    }
    if (many_reserve(state, span) < 0) {
        return -1;
    }
    DWORD err =
        wi_process_read_raw(self, first->address, state->scratch, span);
    if (err) {
        DWORD last;
        state->err = err;
        wi_target target = wi_process_pin(self);
        Py_BEGIN_ALLOW_THREADS
        wi_remote_read_mask(&target, first->address, state->scratch, span,
                            state->mask, &last);
        Py_END_ALLOW_THREADS
        wi_process_unpin(self);
        state->err = last ? last : err;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const many_request *request = first + i;
        PyObject *value;
        if (err && !many_covered(request, first->address, state->mask)) {
            value = Py_NewRef(Py_None);
        }
        else {
            state->read += request->size;
            value = PyBytes_FromStringAndSize(
                state->scratch + (request->address - first->address),
                (Py_ssize_t)request->size);
        }
        if (many_set(state, request, value) < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *
wi_process_read_many(PyObject *op, PyObject *requests)
{
    many_state state = {(wi_process *)op, NULL, NULL, NULL, 0, 0, 0};
    many_request *sorted = NULL;
    int failed = -1;
    PyObject *list = PySequence_List(requests);
    if (list == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyList_Size(list), real = 0;
    sorted = PyMem_Calloc((size_t)count + 1, sizeof(*sorted));
    state.results = PyList_New(count);
    if (sorted == NULL || state.results == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        /* The conversion of an address may run code that changes nothing of
         * ours: the list is private. */
        if (many_parse(PyList_GetItem(list, i), &sorted[real]) < 0) {
            goto done;
        }
        sorted[real].order = i;
        if (sorted[real].size > 0) {
            real++;
        }
        else if (PyList_SetItem(state.results, i,
                                PyBytes_FromStringAndSize("", 0)) < 0) {
            goto done;
        }
    }
    if (wi_process_check_open(state.process) < 0) {
        goto done;
    }
    qsort(sorted, (size_t)real, sizeof(*sorted), many_compare);
    for (Py_ssize_t i = 0; i < real;) {
        size_t span;
        Py_ssize_t taken = many_chunk(sorted + i, real - i, &span);
        /* The GIL may have been given up: perhaps it is closed by now. */
        if (wi_process_check_open(state.process) < 0 ||
            many_read_chunk(&state, sorted + i, taken, span) < 0) {
            goto done;
        }
        i += taken;
    }
    if (state.err && state.read == 0) {
        BOOL gone = wi_process_gone(
            state.process, state.err == ERROR_ACCESS_DENIED ? WI_DYING_MS : 0);
        if (gone || (state.err == ERROR_ACCESS_DENIED &&
                     !(state.process->access & PROCESS_VM_READ))) {
            wi_process_raise(state.process, state.err, "ReadProcessMemory",
                             PROCESS_VM_READ);
            goto done;
        }
    }
    failed = 0;
done:
    PyMem_Free(state.scratch);
    PyMem_Free(state.mask);
    PyMem_Free(sorted);
    Py_DECREF(list);
    if (failed) {
        Py_CLEAR(state.results);
    }
    return state.results;
}

/* ----------------------------------------------------- cache and pointers */

#define WALK_LIMIT ((size_t)64 << 20)

/* An empty cache: what the last one left, if it is of the same size. */
static wi_cache *
many_take_cache(wi_process *self, size_t limit)
{
    wi_cache *idle = self->idle;
    if (idle == NULL || !wi_cache_holds(idle, limit)) {
        return wi_cache_new(limit);
    }
    self->idle = NULL;
    return idle;
}

static void
many_give_back(wi_process *self, wi_cache *cache)
{
    if (self->handle == NULL || self->idle != NULL) {
        wi_cache_free(cache);
        return;
    }
    wi_cache_clear(cache);
    self->idle = cache;
}

PyObject *
wi_process_enter_cached(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "n:_enter_cached", &limit)) {
        return NULL;
    }
    if (limit < 1) {
        PyErr_SetString(PyExc_ValueError, "limit must be >= 1");
        return NULL;
    }
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    if (self->cache == NULL) {
        self->cache = many_take_cache(self, (size_t)limit);
        if (self->cache == NULL) {
            return PyErr_NoMemory();
        }
    }
    self->cached++;
    Py_RETURN_NONE;
}

PyObject *
wi_process_exit_cached(PyObject *op, PyObject *unused)
{
    wi_process *self = (wi_process *)op;
    WI_UNUSED(unused);
    if (self->cached > 0 && --self->cached == 0) {
        wi_cache *cache = self->cache;
        self->cache = NULL;
        many_give_back(self, cache);
    }
    Py_RETURN_NONE;
}

/* Follow the list from *node on: how many nodes were found. With a cache of
 * its own it runs without the GIL. */
static Py_ssize_t
many_walk(const wi_target *target, wi_cache *cache, uintptr_t *node,
          uintptr_t offset, uintptr_t head, size_t width, uintptr_t *found,
          Py_ssize_t count, DWORD *err)
{
    Py_ssize_t nodes = 0;
    while (*node != 0 && nodes < count) {
        uint64_t next = 0; /* Windows is little-endian: 4 bytes will do */
        uintptr_t at = *node + offset;
        found[nodes++] = *node;
        if (cache == NULL || !wi_cache_read(cache, target, at, &next, width)) {
            *err = wi_remote_read(target, at, &next, width);
            if (*err) {
                break;
            }
        }
        *node = next == head ? 0 : (uintptr_t)next;
    }
    return nodes;
}

static void
many_free_copies(PyObject *capsule)
{
    wi_process *owner = PyCapsule_GetContext(capsule);
    many_give_back(owner, PyCapsule_GetPointer(capsule, NULL));
    Py_DECREF((PyObject *)owner);
}

/* What a walk has read: a batch that follows soon after uses it again. */
PyObject *
wi_process_walk_copies(PyObject *op, PyObject *unused)
{
    wi_process *self = (wi_process *)op;
    WI_UNUSED(unused);
    wi_cache *cache = many_take_cache(self, WALK_LIMIT);
    if (cache == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(cache, NULL, NULL);
    if (capsule == NULL || PyCapsule_SetContext(capsule, self) != 0 ||
        PyCapsule_SetDestructor(capsule, many_free_copies) != 0) {
        Py_XDECREF(capsule);
        many_give_back(self, cache);
        return NULL;
    }
    Py_INCREF(op);
    return capsule;
}

/* The copies are used without the GIL: only one call at a time may have them,
 * which the generator that owns them sees to. */
PyObject *
wi_process_walk(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    PyObject *copies;
    uintptr_t node, head;
    Py_ssize_t offset, count;
    int width;
    if (!PyArg_ParseTuple(args, "O&nO&niO:_walk", wi_address_converter, &node,
                          &offset, wi_address_converter, &head, &count, &width,
                          &copies)) {
        return NULL;
    }
    wi_cache *own = PyCapsule_GetPointer(copies, NULL);
    if (own == NULL) {
        return NULL;
    }
    if ((width != 4 && width != 8) || count < 1 || count > 1024 * 1024) {
        PyErr_SetString(PyExc_ValueError, "bad width or count");
        return NULL;
    }
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    PyObject *nodes = NULL, *result = NULL;
    DWORD err = 0;
    uintptr_t *found = PyMem_Malloc((size_t)count * sizeof(*found));
    if (found == NULL) {
        return PyErr_NoMemory();
    }
    if (self->cache != NULL) {
        wi_target target = wi_process_pin(self);
        count = many_walk(&target, self->cache, &node, (uintptr_t)offset, head,
                          (size_t)width, found, count, &err);
    }
    else {
        wi_target target = wi_process_pin(self);
        Py_BEGIN_ALLOW_THREADS
        count = many_walk(&target, own, &node, (uintptr_t)offset, head,
                          (size_t)width, found, count, &err);
        Py_END_ALLOW_THREADS
    }
    wi_process_unpin(self);
    nodes = PyList_New(count);
    for (Py_ssize_t i = 0; nodes != NULL && i < count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(found[i]);
        if (number == NULL || PyList_SetItem(nodes, i, number) < 0) {
            Py_CLEAR(nodes);
        }
    }
    if (nodes != NULL) {
        result = Py_BuildValue("(NKk)", nodes, (unsigned long long)node, err);
    }
    PyMem_Free(found);
    return result;
}

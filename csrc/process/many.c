/* many.c: many small reads of a RemoteProcess in few calls.
 *
 *     first, second = process.read_many([(address, 8), (other, 64)])
 *     with process.cached():
 *         place = process.pointer(["game.exe", 0x18, 0x40])
 *     for node in process.walk(head):
 *         ...
 *
 * read_many() is for addresses that are known before: it sorts them and reads
 * neighbours by one call. The cache (cache.c) is for addresses that come from
 * earlier reads: the process has one within cached(), and each batch of a walk
 * has its own.
 *
 * Owner: the RemoteProcess owns its cache, and an empty one for later. Thread:
 * any. GIL: held while the cache of cached() is used, given up for the rest. */
#include "base/handles.h"
#include "cache.h"

#include <stdlib.h>

/* Reading a gap of this size too is cheaper than a second call. It is less
 * than a page, so no page without a requested byte is touched. */
#define MANY_GAP ((size_t)WI_PAGE - 1)

/* The most bytes that one call reads for several requests. Its memory is used
 * again, which costs less than the first touch of fresh pages. */
#define MANY_SPAN ((size_t)128 * 1024)

/* ---------------------------------------------------------- read_many */

typedef struct {
    uintptr_t address;
    size_t size;
    char *data;       /* of its bytes object */
    Py_ssize_t order; /* its place in the list of the caller */
    DWORD err;        /* why it could not be read, or 0 */
} many_request;

static int
many_compare(const void *left, const void *right)
{
    const many_request *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* Parse one (address, size) pair, and put new bytes for it into results. */
static int
many_parse(wi_process *self, PyObject *item, many_request *request,
           PyObject *results)
{
    PyObject *pair =
        PyTuple_CheckExact(item) ? Py_NewRef(item) : PySequence_Tuple(item);
    Py_ssize_t size;
    PyObject *data = NULL;
    if (pair == NULL) {
        return -1;
    }
    if (PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_ValueError,
                        "a request must be a pair (address, size)");
        goto done;
    }
    if (!wi_size_converter(PyTuple_GetItem(pair, 1), &size) ||
        !wi_process_address(self, PyTuple_GetItem(pair, 0),
                            &request->address)) {
        goto done;
    }
    data = PyBytes_FromStringAndSize(NULL, size);
    if (data == NULL || PyList_SetItem(results, request->order, data) < 0) {
        data = NULL;
        goto done;
    }
    request->size = (size_t)size;
    request->data = PyBytes_AsString(data);
done:
    Py_DECREF(pair);
    return data == NULL ? -1 : 0;
}

/* How many requests, from the first on, one call can read; *span is the call's
 * size in bytes. */
static Py_ssize_t
many_chunk(const many_request *first, Py_ssize_t count, size_t *span)
{
    Py_ssize_t taken = 1;
    *span = first->size;
    for (; taken < count; taken++) {
        const many_request *next = first + taken;
        size_t start = (size_t)(next->address - first->address);
        if ((start > *span && start - *span > MANY_GAP) || start > MANY_SPAN ||
            next->size > MANY_SPAN - start || *span > MANY_SPAN) {
            break;
        }
        if (start + next->size > *span) {
            *span = start + next->size;
        }
    }
    return taken;
}

/* Read neighbours by one call, or each by its own if that fails. */
static void
many_read_chunk(HANDLE target, many_request *first, Py_ssize_t count,
                char *scratch, size_t span)
{
    BOOL at_once = count > 1 &&
                   wi_remote_read(target, first->address, scratch, span) == 0;
    for (many_request *one = first; one < first + count; one++) {
        if (at_once) {
            memcpy(one->data, scratch + (one->address - first->address),
                   one->size);
        }
        else {
            one->err =
                wi_remote_read(target, one->address, one->data, one->size);
        }
    }
}

static void
many_read_all(HANDLE target, many_request *requests, Py_ssize_t count,
              char *scratch)
{
    qsort(requests, (size_t)count, sizeof(*requests), many_compare);
    for (Py_ssize_t i = 0; i < count;) {
        size_t span;
        Py_ssize_t taken = many_chunk(requests + i, count - i, &span);
        many_read_chunk(target, requests + i, taken, scratch, span);
        i += taken;
    }
}

/* Put None for each request that failed. Raise if all failed because the
 * target is gone, or may not be read with this handle. */
static int
many_finish(wi_process *self, const many_request *requests, Py_ssize_t count,
            PyObject *results)
{
    DWORD err = 0;
    BOOL some = FALSE;
    for (Py_ssize_t i = 0; i < count; i++) {
        some = some || (requests[i].err == 0 && requests[i].size > 0);
        err = requests[i].err ? requests[i].err : err;
        if (requests[i].err && PyList_SetItem(results, requests[i].order,
                                              Py_NewRef(Py_None)) < 0) {
            return -1;
        }
    }
    BOOL denied = err == ERROR_ACCESS_DENIED;
    if (err && !some &&
        ((denied && !(self->access & PROCESS_VM_READ)) ||
         wi_process_gone(self, denied ? WI_DYING_MS : 0))) {
        wi_process_raise(self, err, "ReadProcessMemory", PROCESS_VM_READ);
        return -1;
    }
    return 0;
}

PyObject *
wi_process_read_many(PyObject *op, PyObject *items)
{
    wi_process *self = (wi_process *)op;
    PyObject *list = PySequence_List(items), *results = NULL;
    if (list == NULL) {
        return NULL;
    }
    int failed = -1;
    Py_ssize_t count = PyList_Size(list);
    many_request *requests =
        PyMem_Calloc((size_t)count + 1, sizeof(*requests));
    char *scratch = PyMem_Malloc(MANY_SPAN);
    if (requests == NULL || scratch == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    results = PyList_New(count);
    for (Py_ssize_t i = 0; results != NULL && i < count; i++) {
        requests[i].order = i;
        if (many_parse(self, PyList_GetItem(list, i), &requests[i], results) <
            0) {
            goto done;
        }
    }
    if (results == NULL || wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    HANDLE target = wi_process_pin(self);
    if (self->cache != NULL) {
        for (many_request *one = requests; one < requests + count; one++) {
            one->err = wi_cache_fetch(self->cache, target, one->address,
                                      one->data, one->size);
        }
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        many_read_all(target, requests, count, scratch);
        Py_END_ALLOW_THREADS
    }
    failed = many_finish(self, requests, count, results);
    wi_process_unpin(self);
done:
    PyMem_Free(scratch);
    PyMem_Free(requests);
    Py_DECREF(list);
    if (failed) {
        Py_CLEAR(results);
    }
    return results;
}

/* ----------------------------------------------------------- the cache */

/* An empty cache: the idle one, or else a new one. */
static wi_cache *
many_take_cache(wi_process *self)
{
    wi_cache *cache = self->idle;
    self->idle = NULL;
    if (cache == NULL && (cache = wi_cache_new()) == NULL) {
        PyErr_NoMemory();
    }
    return cache;
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
wi_process_enter_cached(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    if (wi_check_open(self, self->handle) < 0 ||
        (self->cache == NULL &&
         (self->cache = many_take_cache(self)) == NULL)) {
        return NULL;
    }
    self->cached++;
    Py_RETURN_NONE;
}

PyObject *
wi_process_exit_cached(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    if (self->cached > 0 && --self->cached == 0) {
        wi_cache *cache = self->cache;
        self->cache = NULL;
        many_give_back(self, cache);
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------- a walk */

/* Follow a linked list from *node on and put the nodes' addresses into found.
 * Returns how many there are; *node is the next one, or 0 at the end. */
static Py_ssize_t
many_walk(HANDLE target, wi_cache *cache, uintptr_t *node, uintptr_t offset,
          uintptr_t head, size_t width, uintptr_t *found, Py_ssize_t count,
          DWORD *err)
{
    Py_ssize_t nodes = 0;
    while (*node != 0 && nodes < count) {
        uint64_t next = 0; /* Windows is little-endian: 4 bytes will do */
        found[nodes++] = *node;
        *err = wi_cache_fetch(cache, target, *node + offset, &next, width);
        if (*err == 0 && next > UINTPTR_MAX) {
            *err = ERROR_NOACCESS; /* a 32-bit process cannot read there */
        }
        if (*err) {
            break;
        }
        *node = next == head ? 0 : (uintptr_t)next;
    }
    return nodes;
}

PyObject *
wi_process_walk(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t node, head;
    Py_ssize_t offset, count;
    int width;
    if (!PyArg_ParseTuple(args, "O&nO&ni:_walk", wi_address_converter, &node,
                          &offset, wi_address_converter, &head, &count,
                          &width)) {
        return NULL;
    }
    if ((width != 4 && width != 8) || count < 1 || count > 1024 * 1024) {
        PyErr_SetString(PyExc_ValueError, "bad width or count");
        return NULL;
    }
    uintptr_t *found = PyMem_Malloc((size_t)count * sizeof(*found));
    if (found == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *nodes = NULL;
    DWORD err = 0;
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    HANDLE target = wi_process_pin(self);
    if (self->cache != NULL) {
        count = many_walk(target, self->cache, &node, (uintptr_t)offset, head,
                          (size_t)width, found, count, &err);
    }
    else {
        wi_cache *own = many_take_cache(self);
        if (own == NULL) {
            wi_process_unpin(self);
            goto done;
        }
        Py_BEGIN_ALLOW_THREADS
        count = many_walk(target, own, &node, (uintptr_t)offset, head,
                          (size_t)width, found, count, &err);
        Py_END_ALLOW_THREADS
        many_give_back(self, own);
    }
    wi_process_unpin(self);
    nodes = PyBytes_FromStringAndSize((const char *)found,
                                      count * (Py_ssize_t)sizeof(*found));
done:
    PyMem_Free(found);
    return nodes == NULL
               ? NULL
               : Py_BuildValue("(NKk)", nodes, (unsigned long long)node, err);
}

/* bytes.h: what a mapping, a view, a section and GlobalMemory have in common.
 *
 * They are memory of this process that Python may index, slice, read, write
 * and export; see bytes.c. Such an object starts with WI_BYTES_HEAD, and the
 * base of its type is state->bytes_type, so every access passes the same
 * checks. */
#ifndef WINIPC_BASE_BYTES_H
#define WINIPC_BASE_BYTES_H

#include "guard.h"
#include "core.h"

typedef struct {
    char *base;      /* NULL: closed, and then size is 0 */
    Py_ssize_t size; /* bytes that may be touched */
    Py_ssize_t pins; /* exported buffers and calls in flight */
    char readonly;
    char guarded; /* a file is behind it: touch it in wi_guarded() only */
    char closed;  /* by __exit__: pins may keep base and size */
    char finalised;
    /* The constructor sets it. It frees the memory and all that the object
     * owns; a second call does nothing. The finaliser calls it, or the last
     * wi_bytes_unpin() if pins were left then or in _leave(). Both call it
     * without an exception set. */
    int (*release)(PyObject *self);
    const char *to_write; /* how to get it writable, for the error; or NULL */
} wi_bytes;

/* The shared methods cast every object to wi_bytes_object, so this comes
 * first. */
#define WI_BYTES_HEAD                                                         \
    PyObject_HEAD                                                             \
    wi_bytes bytes;

typedef struct {
    WI_BYTES_HEAD
} wi_bytes_object;

/* Whether the object is open. Pins may keep the memory of a closed one. */
WI_INLINE int
wi_bytes_is_open(PyObject *self)
{
    const wi_bytes *bytes = &((wi_bytes_object *)self)->bytes;
    return bytes->base != NULL && !(bytes->closed | bytes->finalised);
}

/* 0 if open, -1 with ValueError "<type> is closed". Check after arguments are
 * converted: a conversion can run Python code that closes the object. */
WI_INLINE int
wi_bytes_check_open(PyObject *self)
{
    return wi_bytes_is_open(self)
               ? 0
               : wi_raise_about(self, PyExc_ValueError, "is closed");
}

/* TypeError "<type of self> is read-only", as its `memory` is; always -1. */
int wi_raise_readonly(PyObject *self, PyObject *memory);

/* The method close() of such a type: BufferError while a buffer is exported or a
 * call runs. A second call does nothing. */
PyObject *wi_bytes_close(PyObject *self, PyObject *unused);

/* -1 with BufferError while a buffer is exported or a call runs. */
int wi_bytes_check_unpinned(PyObject *self);

/* Remove one pin; nothing else removes one. */
void wi_bytes_unpin(PyObject *self);

/* 1 when size bytes at offset lie inside; 0 with ValueError "<what>: ...". */
int wi_bytes_check_range(PyObject *self, Py_ssize_t offset, Py_ssize_t size,
                         const char *what);

/* An offset argument: 0 <= value <= limit, or ValueError. -1 on error. */
Py_ssize_t wi_bytes_offset(PyObject *value, Py_ssize_t limit);

/* An optional argument `name`, an offset or a size: NULL or None gives
 * `missing`. Checks no range. */
int wi_bytes_optional(const char *name, PyObject *value, Py_ssize_t missing,
                      Py_ssize_t *out);

/* bf_getbuffer: fill the view and pin the memory. */
int wi_bytes_getbuffer(PyObject *self, Py_buffer *view, int flags);

/* Do a few instructions of work on this memory, which is open. The work is
 * plain C and needs no GIL. For memory of a file, self is pinned and the GIL
 * given up meanwhile; OSError if a page of the file did not come in. */
int wi_bytes_guarded(PyObject *self, wi_guarded_fn work, void *arg);

/* The bytes of any buffer, to read from, as plain C values. */
typedef struct {
    const char *bytes;
    Py_ssize_t size;
    PyObject *file; /* see wi_bytes_guarded_source() */
    Py_buffer view;
    void *copy;
} wi_source;

/* A buffer that is not contiguous is always copied. WI_COPY_OF_FILE also
 * copies one whose pages may fail to come in; WI_COPY copies every buffer. */
enum { WI_NO_COPY, WI_COPY_OF_FILE, WI_COPY };

/* PyObject_GetBuffer, whose TypeError says what makes bytes of it, if known. */
int wi_bytes_take(PyObject *data, Py_buffer *view, int flags);

/* After 0, release the source. Taking it may run Python code and give up the
 * GIL. */
int wi_source_take(wi_source *source, PyObject *data, int private_copy);
void wi_source_release(wi_source *source);

/* A writable view of any buffer, or a read-only one if it is read-only. */
int wi_bytes_get_view(PyObject *source, Py_buffer *view);

/* The object of ours that `source` is, or is a memoryview of, if its pages may
 * fail to come in; borrowed. NULL without an exception if there is none. */
PyObject *wi_bytes_guarded_source(PyObject *source);

/* OSError about self for the error of a guard, unless that is ERROR_SUCCESS. */
int wi_bytes_page_error(PyObject *self, DWORD err);

/* Copy between this memory and private memory. Large copies, and copies of
 * file memory, run without the GIL with self pinned. OSError if a page of a
 * file did not come in. */
int wi_bytes_copy(PyObject *self, void *target, const void *source,
                  Py_ssize_t size);

#endif

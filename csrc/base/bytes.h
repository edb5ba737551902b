/* bytes.h: what a mapping, a view, a section and GlobalMemory have in common.
 *
 * Memory of this process that Python may index, slice, read, write and export;
 * see bytes.c. An object that is such memory starts with WI_BYTES_HEAD, and its
 * type has state->bytes_type as its base: every access goes through the same
 * checks.
 */
#ifndef WINIPC_BASE_BYTES_H
#define WINIPC_BASE_BYTES_H

#include "guard.h"
#include "core.h"

typedef struct {
    char *base;      /* NULL: closed, and then size is 0 */
    Py_ssize_t size; /* bytes that may be touched */
    Py_ssize_t pins; /* exported buffers and calls in flight */
    char readonly;
    char guarded; /* a file is behind: touched through wi_guarded() only */
    char closed;  /* by __exit__: pins may keep base and size */
    char finalised;
    /* Set where the object is made: frees the memory and what is owned; twice
     * is harmless. Called without an exception set by the finaliser or, when
     * something was pinned then or in _leave(), when the last pin goes. */
    int (*release)(PyObject *self);
} wi_bytes;

/* PyObject_HEAD first, then the bytes: the shared methods cast to this. */
#define WI_BYTES_HEAD                                                         \
    PyObject_HEAD                                                             \
    wi_bytes bytes;

typedef struct {
    WI_BYTES_HEAD
} wi_bytes_object;

/* Whether the object is open. One that is closed may still have its memory:
 * pins keep it. */
WI_INLINE int
wi_bytes_is_open(PyObject *self)
{
    const wi_bytes *bytes = &((wi_bytes_object *)self)->bytes;
    return bytes->base != NULL && !(bytes->closed | bytes->finalised);
}

/* 0 while open, -1 with ValueError "<type> is closed". Ask after arguments
 * are converted: a conversion can run Python code that closes the object. */
WI_INLINE int
wi_bytes_check_open(PyObject *self)
{
    return wi_bytes_is_open(self)
               ? 0
               : wi_raise_about(self, PyExc_ValueError, "is closed");
}

/* For close(): -1 with BufferError while something is exported or running. */
int wi_bytes_check_unpinned(PyObject *self);

/* Take one pin back; every pin is taken back here. */
void wi_bytes_unpin(PyObject *self);

/* 1 when size bytes at offset lie inside; 0 with ValueError "<what>: ...". */
int wi_bytes_check_range(PyObject *self, Py_ssize_t offset, Py_ssize_t size,
                         const char *what);

/* An offset argument: 0 <= value <= limit, or ValueError. -1 on error. */
Py_ssize_t wi_bytes_offset(PyObject *value, Py_ssize_t limit);

/* An offset or size that may be left out: NULL or None gives `missing`; no
 * range is checked. 0, or -1 with an exception. */
int wi_bytes_optional(PyObject *value, Py_ssize_t missing, Py_ssize_t *out);

/* Fills the buffer and pins the memory. */
int wi_bytes_getbuffer(PyObject *self, Py_buffer *view, int flags);

/* Work of a few instructions on this memory, which is open: plain C that needs
 * no GIL. It is given up for memory of a file, and self pinned meanwhile.
 * OSError when a page of the file did not come in. */
int wi_bytes_guarded(PyObject *self, wi_guarded_fn work, void *arg);

/* The bytes of any buffer that are to be read, as plain C values. */
typedef struct {
    const char *bytes;
    Py_ssize_t size;
    PyObject *file; /* ours if its pages may fail to come in, borrowed */
    Py_buffer view;
    void *copy;
} wi_source;

/* What is not contiguous is copied in any case; WI_COPY_OF_FILE copies also
 * what may fail to come in, WI_COPY everything. */
enum { WI_NO_COPY, WI_COPY_OF_FILE, WI_COPY };

/* Release it after a 0. It may run Python code and give up the GIL. */
int wi_source_take(wi_source *source, PyObject *data, int private_copy);
void wi_source_release(wi_source *source);

/* The object of ours behind `source`, itself or under memoryviews, whose
 * pages may fail to come in; borrowed, or NULL when there is none. */
PyObject *wi_bytes_guarded_source(PyObject *source);

/* OSError about self for what a guard returned, unless that is success. */
int wi_bytes_page_error(PyObject *self, DWORD err);

/* Copy between this memory and private memory. Large copies, and those of
 * files, run without the GIL; self is pinned meanwhile. OSError when a page of
 * a file did not come in. */
int wi_bytes_copy(PyObject *self, void *target, const void *source,
                  Py_ssize_t size);

#endif

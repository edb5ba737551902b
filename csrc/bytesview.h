/* bytesview.h: what a mapping, a view and a section have in common.
 *
 * A range of memory of this process that Python may index, slice, read,
 * write and export. An object that has one starts with WI_BYTES_HEAD and then
 * puts WI_BYTES_METHODS and WI_BYTES_SLOTS into its tables: nothing has to be
 * written again, and every access goes through the same checks.
 */
#ifndef WINIPC_BYTESVIEW_H
#define WINIPC_BYTESVIEW_H

#include "winipc.h"

typedef struct {
    char *base;      /* NULL: closed, and then size is 0 */
    Py_ssize_t size; /* bytes that may be touched */
    Py_ssize_t pins; /* exported buffers and calls in flight */
    int readonly;
} wi_bytes;

/* PyObject_HEAD first, then the bytes: the shared methods cast to this. */
#define WI_BYTES_HEAD                                                         \
    PyObject_HEAD                                                             \
    wi_bytes bytes;

typedef struct {
    WI_BYTES_HEAD
} wi_bytes_object;

/* Arguments of a METH_FASTCALL | METH_KEYWORDS function into out[], NULL for
 * those not given. names is NULL-terminated; the first `required` must be
 * there. 0, or -1 with TypeError. */
int wi_fast_args(const char *function, const char *const *names,
                 Py_ssize_t required, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, PyObject **out);

/* 0 while open, -1 with ValueError "<type> is closed". Ask after arguments
 * are converted: a conversion can run Python code that closes the object. */
int wi_bytes_check_open(PyObject *self);

/* The same, and TypeError when the memory is read-only. */
int wi_bytes_check_writable(PyObject *self);

/* For close(): -1 with BufferError while something is exported or running. */
int wi_bytes_check_unpinned(PyObject *self);

/* An offset argument: 0 <= value <= limit, or ValueError. -1 on error. */
Py_ssize_t wi_bytes_offset(PyObject *value, Py_ssize_t limit);

/* The bytes-like arguments every such object takes: METH_FASTCALL |
 * METH_KEYWORDS functions. */
PyObject *wi_bytes_read(PyObject *self, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames);
PyObject *wi_bytes_read_into(PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);
PyObject *wi_bytes_write(PyObject *self, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames);

/* Slots. */
Py_ssize_t wi_bytes_length(PyObject *self);
PyObject *wi_bytes_subscript(PyObject *self, PyObject *key);
int wi_bytes_ass_subscript(PyObject *self, PyObject *key, PyObject *value);
PyObject *wi_bytes_item(PyObject *self, Py_ssize_t index);
int wi_bytes_getbuffer(PyObject *self, Py_buffer *view, int flags);
void wi_bytes_releasebuffer(PyObject *self, Py_buffer *view);

extern const char wi_bytes_read_doc[];
extern const char wi_bytes_read_into_doc[];
extern const char wi_bytes_write_doc[];

#define WI_BYTES_METHODS                                                      \
    {"read", (PyCFunction)(void (*)(void))wi_bytes_read,                      \
     METH_FASTCALL | METH_KEYWORDS, wi_bytes_read_doc},                       \
        {"read_into", (PyCFunction)(void (*)(void))wi_bytes_read_into,        \
         METH_FASTCALL | METH_KEYWORDS, wi_bytes_read_into_doc},              \
    {                                                                         \
        "write", (PyCFunction)(void (*)(void))wi_bytes_write,                 \
            METH_FASTCALL | METH_KEYWORDS, wi_bytes_write_doc                 \
    }

#define WI_BYTES_SLOTS                                                        \
    {Py_mp_length, wi_bytes_length}, {Py_sq_length, wi_bytes_length},         \
        {Py_mp_subscript, wi_bytes_subscript},                                \
        {Py_mp_ass_subscript, wi_bytes_ass_subscript},                        \
        {Py_sq_item, wi_bytes_item},                                          \
        {Py_bf_getbuffer, wi_bytes_getbuffer},                                \
    {                                                                         \
        Py_bf_releasebuffer, wi_bytes_releasebuffer                           \
    }

/* Copy between this memory and private memory; the one place where it
 * happens. Large copies run without the GIL, so the caller has pinned self.
 * 0, or -1 with an exception. */
int wi_bytes_copy(PyObject *self, void *target, const void *source,
                  Py_ssize_t size);

#endif

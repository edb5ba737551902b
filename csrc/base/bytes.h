/* bytes.h: what a mapping, a view and a section have in common.
 *
 * A range of memory of this process that Python may index, slice, read,
 * write and export. An object that has one starts with WI_BYTES_HEAD and then
 * puts WI_BYTES_METHODS and WI_BYTES_SLOTS into its tables: nothing has to be
 * written again, and every access goes through the same checks.
 */
#ifndef WINIPC_BASE_BYTES_H
#define WINIPC_BASE_BYTES_H

#include "guard.h"
#include "core.h"

typedef struct {
    char *base;      /* NULL: closed, and then size is 0 */
    Py_ssize_t size; /* bytes that may be touched */
    Py_ssize_t pins; /* exported buffers and calls in flight */
    int readonly;
    int guarded; /* a file is behind: touched through wi_guarded() only */
    int closed;  /* by wi_bytes_close_later(); pins may keep base and size */
    /* What wi_bytes_close_later() left to do for the last pin. */
    void (*orphan)(PyObject *self);
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

/* Whether the object is open. One that is closed may still have its memory:
 * pins keep it. */
int wi_bytes_is_open(PyObject *self);

/* 0 while open, -1 with ValueError "<type> is closed". Ask after arguments
 * are converted: a conversion can run Python code that closes the object. */
int wi_bytes_check_open(PyObject *self);

/* The same, and TypeError when the memory is read-only. */
int wi_bytes_check_writable(PyObject *self);

/* For close(): -1 with BufferError while something is exported or running. */
int wi_bytes_check_unpinned(PyObject *self);

/* Take one pin back; every pin is taken back here. */
void wi_bytes_unpin(PyObject *self);

/* Close without a refusal, for finalisers and __exit__: every method finds the
 * object closed from now on, and release(self) runs, with no exception set, as
 * soon as there is no pin: now, or when the last one goes. */
void wi_bytes_close_later(PyObject *self, void (*release)(PyObject *));

/* __exit__(*args) of an object that may be pinned: it never raises for a view
 * that is alive. An exception on its way gets a note about the pins. */
PyObject *wi_bytes_exit(PyObject *self, PyObject *args,
                        void (*release)(PyObject *));

/* 1 when size bytes at offset lie inside; 0 with ValueError "<what>: ...". */
int wi_bytes_check_range(PyObject *self, Py_ssize_t offset, Py_ssize_t size,
                         const char *what);

/* An offset argument: 0 <= value <= limit, or ValueError. -1 on error. */
Py_ssize_t wi_bytes_offset(PyObject *value, Py_ssize_t limit);

/* An offset or size that may be left out: NULL or None gives `missing`; no
 * range is checked. 0, or -1 with an exception. */
int wi_bytes_optional(PyObject *value, Py_ssize_t missing, Py_ssize_t *out);

/* The bytes-like arguments every such object takes: METH_FASTCALL |
 * METH_KEYWORDS functions. */
PyObject *wi_bytes_read(PyObject *self, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames);
PyObject *wi_bytes_read_into(PyObject *self, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);
PyObject *wi_bytes_write(PyObject *self, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames);
PyObject *wi_bytes_find(PyObject *self, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames);

/* get_i32(offset) is METH_O, set_i32(offset, value) METH_FASTCALL; so for
 * every kind of number. */
#define WI_BYTES_NUMBERS(X)                                                   \
    X(i8, "signed byte")                                                      \
    X(i16, "signed 16-bit number")                                            \
    X(i32, "signed 32-bit number")                                            \
    X(i64, "signed 64-bit number")                                            \
    X(u8, "byte")                                                             \
    X(u16, "unsigned 16-bit number")                                          \
    X(u32, "unsigned 32-bit number")                                          \
    X(u64, "unsigned 64-bit number")                                          \
    X(f32, "32-bit float")                                                    \
    X(f64, "64-bit float")
#define WI_BYTES_DECLARE(name, what)                                          \
    PyObject *wi_bytes_get_##name(PyObject *self, PyObject *offset);          \
    PyObject *wi_bytes_set_##name(PyObject *self, PyObject *const *args,      \
                                  Py_ssize_t nargs);
WI_BYTES_NUMBERS(WI_BYTES_DECLARE)
#undef WI_BYTES_DECLARE

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
extern const char wi_bytes_find_doc[];

#define WI_BYTES_NUMBER_METHODS(name, what)                                   \
    {"get_" #name, wi_bytes_get_##name, METH_O,                               \
     "get_" #name "($self, offset, /)\n--\n\n"                                \
     "The " what " at `offset`, in the machine's byte order.\n\n"             \
     "At its natural alignment it is read in one access.\n\n"                 \
     "Win32: none, a read of mapped memory."},                                \
        {"set_" #name, (PyCFunction)(void (*)(void))wi_bytes_set_##name,      \
         METH_FASTCALL,                                                       \
         "set_" #name "($self, offset, value, /)\n--\n\n"                     \
         "Put a " what " at `offset`, in the machine's byte order.\n\n"       \
         "At its natural alignment it is written in one access.\n"            \
         "Raises OverflowError when `value` does not fit.\n\n"                \
         "Win32: none, a write to mapped memory."},

#define WI_BYTES_METHODS                                                      \
    {"read", (PyCFunction)(void (*)(void))wi_bytes_read,                      \
     METH_FASTCALL | METH_KEYWORDS, wi_bytes_read_doc},                       \
        {"read_into", (PyCFunction)(void (*)(void))wi_bytes_read_into,        \
         METH_FASTCALL | METH_KEYWORDS, wi_bytes_read_into_doc},              \
        {"write", (PyCFunction)(void (*)(void))wi_bytes_write,                \
         METH_FASTCALL | METH_KEYWORDS, wi_bytes_write_doc},                  \
        WI_BYTES_NUMBERS(WI_BYTES_NUMBER_METHODS)                             \
    {                                                                         \
        "find", (PyCFunction)(void (*)(void))wi_bytes_find,                   \
            METH_FASTCALL | METH_KEYWORDS, wi_bytes_find_doc                  \
    }

#define WI_BYTES_SLOTS                                                        \
    {Py_mp_length, wi_bytes_length}, {Py_sq_length, wi_bytes_length},         \
        {Py_mp_subscript, wi_bytes_subscript},                                \
        {Py_mp_ass_subscript, wi_bytes_ass_subscript},                        \
        {Py_sq_item, wi_bytes_item}, {Py_bf_getbuffer, wi_bytes_getbuffer},   \
    {                                                                         \
        Py_bf_releasebuffer, wi_bytes_releasebuffer                           \
    }

/* Work of a few instructions on this memory, with the GIL kept. 0, or -1 with
 * OSError set when a page of the file behind it did not come in. */
int wi_bytes_guarded(PyObject *self, wi_guarded_fn work, void *arg);

/* The object of ours behind `source`, itself or under memoryviews, whose
 * pages may fail to come in; borrowed, or NULL when there is none. */
PyObject *wi_bytes_guarded_source(PyObject *source);

/* What a guard returned: 0, or -1 with OSError about self set. */
int wi_bytes_page_error(PyObject *self, DWORD err);

/* Copy between this memory and private memory; the one place where it
 * happens. Large copies run without the GIL; self is pinned meanwhile.
 * 0, or -1 with OSError when a page of a file did not come in. */
int wi_bytes_copy(PyObject *self, void *target, const void *source,
                  Py_ssize_t size);

#endif

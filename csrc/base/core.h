/* core.h: what the files of winipc._core share.
 *
 * Module state, errors, argument converters, waits and security attributes.
 * Each extension object has a file of its own; module.c calls its
 * wi_<object>_init(). A function that no header names is static.
 *
 * Here and everywhere, unless a comment says otherwise: a function that
 * returns int returns 0, or -1 with an exception set; a function that returns
 * a pointer returns NULL with an exception set.
 *
 * The public C header for peers that are not Python is include/winipc.h.
 */
#ifndef WINIPC_BASE_CORE_H
#define WINIPC_BASE_CORE_H

/* Before 3.13 the formats y# and z# need it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <windows.h>

#include <stddef.h>
#include <stdint.h>

#ifndef Py_T_PYSSIZET /* the 3.11 headers have only the old names */
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

/* Compiler differences live here and nowhere else. */
#if defined(_MSC_VER)
#define WI_INLINE static __forceinline
#define WI_NOINLINE __declspec(noinline)
#else
#define WI_INLINE static inline __attribute__((always_inline))
#define WI_NOINLINE __attribute__((noinline))
#endif

/* ------------------------------------------------------------------ state */

/* One per module object, so one per interpreter. A type or exception that C
 * code has to find again has its field here. */
#define WI_STATE_OBJECTS(X)                                                   \
    X(PyObject, AbandonedError)                                               \
    X(PyObject, PartialReadError)                                             \
    X(PyObject, PartialWriteError)                                            \
    X(PyObject, EndOfStream)                                                  \
    X(PyObject, message_numbers)                                              \
    X(PyTypeObject, bytes_type)                                               \
    X(PyTypeObject, region_type)                                              \
    X(PyTypeObject, view_type)                                                \
    X(PyTypeObject, section_type)                                             \
    X(PyTypeObject, waitable_type)                                            \
    X(PyTypeObject, mutex_type)                                               \
    X(PyTypeObject, event_type)                                               \
    X(PyTypeObject, semaphore_type)                                           \
    X(PyTypeObject, loop_wait_type)                                           \
    X(PyTypeObject, message_type)                                             \
    X(PyTypeObject, process_type)                                             \
    X(PyTypeObject, peeked_type)

typedef struct {
#define WI_DECLARE(type, field) type *field;
    WI_STATE_OBJECTS(WI_DECLARE)
#undef WI_DECLARE
    struct wi_send_job *abandoned_sends; /* of message/send.c */
} wi_state;

/* The state behind one of our types, or behind a Python subclass of one.
 * NULL with TypeError set for a foreign type. */
wi_state *wi_state_of(PyTypeObject *type);

/* Make a heap type from its spec, add it to the module under the spec's short
 * name, and keep it in *slot unless slot is NULL. */
int wi_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

/* The same for a type that inherits from another one of ours. */
int wi_add_subtype(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
                   PyTypeObject **slot);

/* Flags of a type that Python classes derive from. WI_SUBTYPE_FLAGS is for a
 * type that needs no GC, or that derives from another type of ours: such a
 * type inherits HAVE_GC. */
#define WI_SUBTYPE_FLAGS                                                      \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE)
#define WI_TYPE_FLAGS (WI_SUBTYPE_FLAGS | Py_TPFLAGS_HAVE_GC)

/* For a PyMethodDef: a function that takes keywords, and its flags. */
#define WI_FAST(f) WI_METHOD(f), METH_FASTCALL | METH_KEYWORDS
#define WI_WORDS(f) WI_METHOD(f), METH_VARARGS | METH_KEYWORDS
#define WI_METHOD(f) ((PyCFunction)(void (*)(void))(f))

/* A zeroed instance of type (a type of ours or a Python subclass). */
void *wi_alloc(PyTypeObject *type);

/* Append a new reference, which this function takes over. *list is cleared on
 * failure, and if row is NULL; a list that is NULL stays so. */
void wi_append(PyObject **list, PyObject *row);

/* tp_new of every type that only class methods make. */
PyObject *wi_no_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* tp_traverse of a type whose instances refer to nothing but strings. */
int wi_traverse(PyObject *self, visitproc visit, void *arg);

/* For tp_finalize: warn "unclosed <repr>" as ResourceWarning, within
 * WI_KEEP_ERROR. */
void wi_warn_unclosed(PyObject *self);

/* Getters `closed` and `handle`. The closure is the offset of a pointer, which
 * is NULL in a closed object: wi_get_handle raises ValueError then. */
PyObject *wi_get_closed(PyObject *self, void *offset);
PyObject *wi_get_handle(PyObject *self, void *offset);

int wi_bytes_init(PyObject *module, wi_state *state);
int wi_region_init(PyObject *module, wi_state *state);
int wi_mapping_init(PyObject *module, wi_state *state);
int wi_snapshot_init(PyObject *module, wi_state *state);
int wi_atomic_init(PyObject *module, wi_state *state);
int wi_changes_init(PyObject *module, wi_state *state);
int wi_fields_init(PyObject *module, wi_state *state);
int wi_number_init(PyObject *module, wi_state *state);
int wi_lock_word_init(PyObject *module, wi_state *state);
int wi_section_init(PyObject *module, wi_state *state);
int wi_waitable_init(PyObject *module, wi_state *state);
int wi_mutex_init(PyObject *module, wi_state *state);
int wi_event_init(PyObject *module, wi_state *state);
int wi_semaphore_init(PyObject *module, wi_state *state);
int wi_waits_init(PyObject *module, wi_state *state);
int wi_loop_wait_init(PyObject *module, wi_state *state);
int wi_message_init(PyObject *module, wi_state *state);
int wi_lookup_init(PyObject *module, wi_state *state);
int wi_send_init(PyObject *module, wi_state *state);
int wi_lane_init(PyObject *module, wi_state *state);
int wi_window_init(PyObject *module, wi_state *state);
int wi_memory_init(PyObject *module, wi_state *state);
int wi_process_init(PyObject *module, wi_state *state);
int wi_modules_init(PyObject *module, wi_state *state);
int wi_job_init(PyObject *module, wi_state *state);
int wi_scan_init(PyObject *module, wi_state *state);
int wi_candidates_init(PyObject *module, wi_state *state);
int wi_pointer_scan_init(PyObject *module, wi_state *state);
int wi_catalog_init(PyObject *module, wi_state *state);
int wi_channel_init(PyObject *module, wi_state *state);
int wi_system_init(PyObject *module, wi_state *state);
int wi_token_init(PyObject *module, wi_state *state);

/* ----------------------------------------------------------------- errors */

/* OSError(winerror=err, filename=name, filename2=api); always NULL.
 * CPython picks the subclass (2 FileNotFoundError, 5 PermissionError, ...).
 * An object without a name of its own passes a description such as "pid 42":
 * None would drop both names from the message. */
PyObject *wi_raise(DWORD err, const char *api, PyObject *name);

/* The same as an instance of exactly this class (a subclass of OSError). */
PyObject *wi_raise_as(PyObject *cls, DWORD err, const char *api,
                      PyObject *name);

/* The same with a text of ours, where Windows' own would not help a reader. */
PyObject *wi_raise_text(PyObject *cls, DWORD err, const char *text,
                        const char *api, PyObject *name);

/* The same about an object that has no name. PyUnicode_FromFormat makes its
 * label, as in wi_raise_format(err, "OpenProcess", "pid %lu", pid). */
#define wi_raise_format(err, api, ...)                                        \
    wi_raise_format_as(PyExc_OSError, err, api, __VA_ARGS__)
PyObject *wi_raise_format_as(PyObject *cls, DWORD err, const char *api,
                             const char *format, ...);

/* Set an attribute of the current exception. */
void wi_error_attribute(const char *name, PyObject *attribute);

/* AbandonedError whose attribute `mutex` is `lock`; always NULL. */
PyObject *wi_raise_abandoned(wi_state *state, const char *api, PyObject *name,
                             PyObject *lock);

/* TimeoutError with winerror 1460 (ERROR_TIMEOUT) and a text that says what
 * did not happen in time; always NULL. */
PyObject *wi_raise_timeout(const char *text, const char *api, PyObject *name);

/* "<type of self> <text>" as an exception of this class; always -1. */
int wi_raise_about(void *self, PyObject *cls, const char *text);

/* -1 with ValueError "<type> is closed" when what it owns is NULL. */
WI_INLINE int
wi_check_open(void *self, const void *owned)
{
    return owned != NULL ? 0
                         : wi_raise_about(self, PyExc_ValueError, "is closed");
}

/* Code between these two leaves the current exception as it is. */
#define WI_KEEP_ERROR                                                         \
    {                                                                         \
        PyObject *kept_type, *kept_value, *kept_traceback;                    \
        PyErr_Fetch(&kept_type, &kept_value, &kept_traceback);
#define WI_END_KEEP_ERROR                                                     \
    PyErr_Restore(kept_type, kept_value, kept_traceback);                     \
    }

/* ------------------------------------------------------------ GIL helpers */

/* Run one Win32 statement without the GIL, and keep its last error. The
 * statement has no goto, no return and no Python API in it, and its arguments
 * are plain C values. */
#define WI_CALL(err, stmt)                                                    \
    do {                                                                      \
        Py_BEGIN_ALLOW_THREADS                                                \
        SetLastError(ERROR_SUCCESS);                                          \
        stmt;                                                                 \
        (err) = GetLastError();                                               \
        Py_END_ALLOW_THREADS                                                  \
    } while (0)

/* The same with the GIL held, for calls that take less time than giving the
 * GIL up and taking it back. */
#define WI_CALL_GIL(err, stmt)                                                \
    do {                                                                      \
        SetLastError(ERROR_SUCCESS);                                          \
        stmt;                                                                 \
        (err) = GetLastError();                                               \
    } while (0)

/* ------------------------------------------------------- argument parsing */

/* O& converters: 1 on success, 0 with an exception. They check the range,
 * which the codes k, I, H and K do not. */
int wi_u32_converter(PyObject *value, void *out);     /* DWORD */
int wi_u64_converter(PyObject *value, void *out);     /* uint64_t */
int wi_address_converter(PyObject *value, void *out); /* uintptr_t */
int wi_handle_converter(PyObject *value, void *out);  /* HANDLE, not NULL */

/* TypeError "<wanted>, not <type of value>", also instead of the TypeError of
 * a conversion; another error stays. Always 0, as from a converter. */
int wi_wrong_type(const char *wanted, PyObject *value);

/* TypeError "<name> must be an int, not <type of value>", in the same way.
 * Always -1. */
int wi_not_an_int(const char *name, PyObject *value);

/* An argument that is an int, by a converter whose TypeError then names it; NULL
 * leaves *out. 0, or -1 with an exception. */
int wi_int_arg(const char *name, PyObject *value,
               int (*convert)(PyObject *, void *), void *out);

/* Name the argument in the TypeError of PyArg_ParseTuple for one int. NULL. */
PyObject *wi_name_int(const char *name, PyObject *args);

/* 0, or -1 with TypeError "<name> must be a str, not <type of value>". */
int wi_check_str(const char *name, PyObject *value);

/* O& converter: a size, which is not negative. */
int wi_size_converter(PyObject *value, void *out); /* Py_ssize_t */

/* Seconds as int or float, or None for forever, into milliseconds, rounded up. */
#define WI_FOREVER UINT64_MAX
int wi_timeout_converter(PyObject *value, void *out); /* uint64_t */

/* Put the arguments of a METH_FASTCALL | METH_KEYWORDS function into out[],
 * and NULL for each one that was not given. names ends with NULL; the first
 * `required` of them must be given. 0, or -1 with TypeError. */
int wi_fast_args(const char *function, const char *const *names,
                 Py_ssize_t required, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, PyObject **out);

/* (timeout=None, abandoned="raise") of acquire, METH_FASTCALL with keywords. */
int wi_acquire_args(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    uint64_t *timeout_ms, int *accept);

/* Name of a kernel object: str (no NUL inside), or None for *out == NULL.
 * Free with PyMem_Free. */
int wi_wide_name(PyObject *name, wchar_t **out);

/* ------------------------------------------------------------------ waits */

/* How long one slice of a wait takes, and so how long Ctrl+C may take to end
 * it. Python has it as _core.WAIT_SLICE_MS. */
#define WI_WAIT_SLICE_MS 100

/* WI_WAIT_SERVING waits for any handle, and delivers the messages that other
 * threads send to windows of this thread meanwhile. Without that, a peer that
 * sends a message back before it answers would wait for us while we wait for
 * it. */
typedef enum { WI_WAIT_ANY, WI_WAIT_ALL, WI_WAIT_SERVING } wi_wait_kind;

/* Wait in slices for at most MAXIMUM_WAIT_OBJECTS handles, one less with
 * WI_WAIT_SERVING. The GIL is given up unless they are ready at once. A thread
 * that Ctrl+C need not reach takes INFINITE for a slice. Returns WAIT_OBJECT_0
 * + i, WAIT_ABANDONED_0 + i or WAIT_TIMEOUT; or WAIT_FAILED with an exception
 * set. The caller pins the owners of the handles. */
DWORD wi_wait(const HANDLE *handles, DWORD count, wi_wait_kind kind,
              uint64_t timeout_ms, DWORD slice_ms);

/* --------------------------------------------------------------- security */

/* SECURITY_ATTRIBUTES from a Python argument: None (the default of the
 * process), "owner" (owner set to this user), a preset or an SDDL string. */
typedef struct {
    SECURITY_ATTRIBUTES attributes; /* LocalFree frees its descriptor */
} wi_security;

int wi_security_init(wi_security *security, PyObject *spec);
SECURITY_ATTRIBUTES *wi_security_attributes(wi_security *security);
void wi_security_clear(wi_security *security);

#endif

/* waitable.h: what the files in this folder share: one struct for Mutex, Event
 * and Semaphore, and facts about any handle that a wait takes. */
#ifndef WINIPC_SYNC_WAITABLE_H
#define WINIPC_SYNC_WAITABLE_H

#include "base/core.h"
#include "base/nt.h"

typedef enum { SYNC_MUTEX, SYNC_EVENT, SYNC_SEMAPHORE } sync_kind;

/* Mutex, Event and Semaphore are one C struct behind three types. */
typedef struct {
    PyObject_HEAD
    HANDLE handle;      /* NULL when closed */
    PyObject *name;     /* str, or NULL when unnamed */
    wi_state *state;    /* borrowed: the type keeps the module alive */
    Py_ssize_t pins;    /* waits in flight; close() refuses above 0 */
    sync_kind kind;     /* which of the three */
    char created;       /* this object made the kernel object */
    char abandoned;     /* Mutex: was so when it was taken; 0 on release */
    signed char manual; /* Event: 1 manual, 0 auto reset, -1 not known */
    DWORD owner;        /* Mutex: thread that took it through this object */
    Py_ssize_t held;    /* Mutex: how often that thread took it */
    int undo;           /* 1 + the sync_undo, once it is known; else 0 */
} SyncObject;

/* QUERY_STATE of mutants, events and semaphores is the same bit. */
#define SYNC_QUERY_STATE 0x0001u
#define SYNC_MODIFY_STATE 0x0002u

/* ------------------------------------------- waitable.c: the three as one */

/* The name for error messages: the object's own, or "unnamed mutex". */
PyObject *sync_label(SyncObject *self);

/* OSError about self, with Windows' own text if text is NULL. Always NULL. */
PyObject *sync_raise(SyncObject *self, DWORD err, const char *text,
                     const char *api);

/* The state of an object, as the kernel has it. sync_query raises ValueError
 * if self is closed, and OSError if the handle lacks the right to ask. */
typedef union {
    wi_mutant_info mutex;
    wi_event_info event;
    wi_semaphore_info semaphore;
} sync_info;

wi_ntstatus sync_ask(sync_kind kind, HANDLE handle, sync_info *info);
int sync_query(SyncObject *self, sync_info *info);

/* Wait for this one object. */
int sync_wait(SyncObject *self, uint64_t timeout_ms, DWORD *result);

/* The method `name(timeout=None)` of a wait: True, or False for a time-out. */
PyObject *sync_wait_method(SyncObject *self, const char *name,
                           PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);

/* ------------------------------------------------------------- mutex.c */

/* Whether a live thread holds the mutex through this object. */
int sync_is_held(SyncObject *self);

/* Note that the calling thread has taken a mutex. */
void sync_taken(SyncObject *self, int abandoned);

/* Raise AbandonedError about this mutex, with its attribute `mutex`. */
void sync_raise_abandoned(SyncObject *self, const char *api);

/* ------------------------------------------------------------- waits.c */

/* What to wait for: one of the three objects, which this function pins and
 * borrows, or the number of a handle, and then *object is NULL. */
int sync_target(wi_state *state, PyObject *value, SyncObject **object,
                HANDLE *handle);

/* --------------------------------------------- waitable.c: about any handle */

/* How to undo a wait. */
typedef enum {
    SYNC_UNDO_NOTHING,   /* a wait does not change the object */
    SYNC_UNDO_EVENT,     /* SetEvent */
    SYNC_UNDO_SEMAPHORE, /* ReleaseSemaphore */
    SYNC_UNDO_FINAL,     /* it cannot be undone: a mutex, or no right to */
} sync_undo;

/* object is NULL for the number of a handle. It keeps an object's answer. */
sync_undo sync_undo_of(SyncObject *object, HANDLE handle);

/* Undo a wait that took the object. It fails only if the object is signalled
 * to its limit already; then nothing is lost. Any thread, without the GIL. */
void sync_give_back(HANDLE handle, sync_undo undo);

#endif

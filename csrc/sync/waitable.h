/* waitable.h: what waitable.c and waits.c share: one struct for all three objects. */
#ifndef WINIPC_SYNC_WAITABLE_H
#define WINIPC_SYNC_WAITABLE_H

#include "base/core.h"

typedef enum { SYNC_MUTEX, SYNC_EVENT, SYNC_SEMAPHORE } sync_kind;

/* Mutex, Event and Semaphore are one C struct behind three types. */
typedef struct {
    PyObject_HEAD
    HANDLE handle;      /* NULL when closed */
    PyObject *name;     /* str, or NULL when unnamed */
    wi_state *state;    /* borrowed: the type keeps the module alive */
    Py_ssize_t pins;    /* waits in flight; close() refuses above 0 */
    sync_kind kind;     /* which of the three */
    char created;       /* this call made the kernel object */
    char abandoned;     /* Mutex: the last owner died; cleared by release */
    signed char manual; /* Event: 1 manual, 0 auto reset, -1 not known */
    DWORD owner;        /* Mutex: thread that took it through this object */
    Py_ssize_t held;    /* Mutex: how often that thread took it */
    PyObject *weakrefs; /* for tp_weaklistoffset */
} SyncObject;

/* A name for error messages: the object's own, or "unnamed mutex". New
 * reference, or NULL with an exception. */
PyObject *sync_label(SyncObject *self);

/* Book a mutex as taken by the calling thread. */
void sync_taken(SyncObject *self, int abandoned);

/* Raise AbandonedError about this mutex, with its attribute `mutex`. */
void sync_raise_abandoned(SyncObject *self, const char *api);

/* Rights that a handle has (NtQueryObject); 0 when that cannot be told. */
ACCESS_MASK sync_granted_access(HANDLE handle);

/* 1 for a manual-reset event, 0 for an auto-reset one, -1 when the handle
 * may not be asked or is no event. */
int sync_event_is_manual(HANDLE handle);

/* What it takes to undo a wait. */
typedef enum {
    SYNC_UNDO_NOTHING,   /* a wait does not change the object */
    SYNC_UNDO_EVENT,     /* SetEvent */
    SYNC_UNDO_SEMAPHORE, /* ReleaseSemaphore */
    SYNC_UNDO_FINAL,     /* it cannot be undone, or only by the owner */
} sync_undo;

sync_undo sync_undo_of(HANDLE handle);

/* Undo a wait that took the object. It fails only where the object is signalled
 * to its limit already, which is as good. Any thread, without the GIL. */
void sync_give_back(HANDLE handle, sync_undo undo);

/* wait_any, wait_all (waits.c). */
extern PyMethodDef wi_waits_methods[];

#endif

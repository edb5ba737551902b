/* pump.h: the native thread behind a CopyDataWindow, its window and its queue.
 *
 * A wi_pump is counted by reference: the thread has one reference and the
 * Python object the other, so whichever ends last frees it. The fields say
 * which thread writes them. */
#ifndef WINIPC_MESSAGE_PUMP_H
#define WINIPC_MESSAGE_PUMP_H

#include "base/core.h"
#include "queue.h"

/* Which messages go where; replaced as a whole. */
typedef struct {
    BOOL handle_all; /* every WM_COPYDATA goes to the handler */
    BOOL queue_rest; /* those without a handler are queued, not refused */
    uint64_t *ids;   /* or those with these ids, */
    size_t ids_count;
    uint64_t *routes; /* and, behind them, the plain messages to take */
    size_t routes_count;
} wi_route_table;

/* What is added to the number of a plain message for the handler; one without
 * is queued. */
#define WI_ROUTE_HANDLED ((uint64_t)1 << 32)

typedef struct {
    volatile LONG refs;
    /* set before the thread starts, constant then */
    wchar_t class_name[257];
    const wchar_t *title; /* until the window is there */
    BOOL message_only;
    ULONG_PTR cookie; /* which no other process can know */
    size_t max_message;
    BOOL lower_integrity; /* let our messages in from below */
    /* these processes may send WM_COPYDATA; all when both are empty */
    uint64_t *accept_pids;
    size_t accept_pids_count;
    wchar_t *accept_paths; /* one behind the other; an empty one ends them */
    HANDLE started;        /* set when the window is there, or failed */
    HANDLE thread;
    DWORD thread_id;
    /* written by the thread */
    HWND volatile hwnd; /* NULL when it is gone */
    const char *failed; /* the call that failed before started */
    DWORD error;
    LONG depth;      /* handlers at work: more than one when they nest */
    BOOL destroying; /* by us: any program may send a WM_NCDESTROY */
    size_t rejected; /* messages from senders not accepted */
    /* written by any thread */
    volatile LONG closing;
    wi_queue queue;
    SRWLOCK lock; /* guards the table; never held across a call out */
    wi_route_table table;
    /* under the GIL */
    PyObject *owner;  /* borrowed: the WindowObject, NULL once it closes */
    Py_ssize_t waits; /* methods that may be using the handles */
    PyThreadState *tstate; /* the thread's own, from its first handler on */
    PyGILState_STATE gil;
} wi_pump;

/* A pump with one reference, zeroed; NULL without memory. */
wi_pump *wi_pump_new(void);
void wi_pump_unref(wi_pump *pump); /* NULL is allowed */

/* What the pump needs before it starts: its queue and events. FALSE with
 * *failed, the call, and the last error. */
BOOL wi_pump_prepare(wi_pump *pump, uint64_t max_count, uint64_t max_bytes,
                     int overflow, const char **failed);

/* Start the thread and wait until its window is there. FALSE with pump->failed
 * and pump->error. Call it without the GIL. */
BOOL wi_pump_start(wi_pump *pump);

/* Ask the thread to end; once is enough, more is harmless. */
void wi_pump_ask_to_close(wi_pump *pump);

/* Take over the table and free the old one; FALSE with the last error. */
BOOL wi_pump_set_table(wi_pump *pump, wi_route_table *table);
void wi_route_table_clear(wi_route_table *table);

/* Under the GIL, around a method's use of the handles: the last one closes
 * them once the thread has ended. */
void wi_pump_begin_wait(wi_pump *pump);
void wi_pump_end_wait(wi_pump *pump);

/* window.c: run the handler, on the pump's thread and without the GIL. Takes
 * the reference to message; *queue tells that the message is for the queue
 * after all. */
LRESULT wi_window_call(wi_pump *pump, wi_message *message, BOOL *queue);

/* window.c: the pump's thread ends, and with it its Python thread state. */
void wi_window_thread_ends(wi_pump *pump);

#endif

/* pump.h: the native thread behind a CopyDataWindow, its window and its queue.
 *
 * A wi_pump is counted by reference: the thread has one reference and the
 * Python object the other, so whichever ends last frees it. The fields say
 * which thread writes them. */
#ifndef WINIPC_MESSAGE_PUMP_H
#define WINIPC_MESSAGE_PUMP_H

#include "base/core.h"
#include "queue.h"

typedef struct {
    UINT number;
    BOOL handled; /* by Python; else it is queued */
} wi_route;

/* Which messages go where; replaced as a whole. */
typedef struct {
    BOOL handle_all; /* every WM_COPYDATA goes to the handler */
    BOOL queue_rest; /* those without a handler are queued, not refused */
    uint64_t *ids;   /* or those with these ids */
    size_t ids_count;
    wi_route *routes; /* plain messages; all others are ignored */
    size_t routes_count;
} wi_route_table;

typedef struct {
    volatile LONG refs;
    /* set before the thread starts, constant then */
    wchar_t *class_name, *title;
    BOOL message_only;
    uint64_t cookie;
    uint64_t max_message;
    UINT limit_message;   /* the registered question for max_message */
    BOOL lower_integrity; /* let our messages in from below */
    /* who may send WM_COPYDATA: these, or all when both are empty */
    uint64_t *accept_pids;
    size_t accept_pids_count;
    wchar_t **accept_paths;
    size_t accept_paths_count;
    HANDLE started; /* set when the window is there, or failed */
    HANDLE thread;
    DWORD thread_id;
    /* written by the thread */
    HWND volatile hwnd; /* NULL when it is gone */
    const char *failed; /* the call that failed before started */
    DWORD error;
    LONG depth;      /* handlers at work: more than one when they nest */
    BOOL destroying; /* by us: any program may send a WM_NCDESTROY */
    /* written by any thread */
    volatile LONG closing;
    volatile LONG64 rejected; /* messages from senders not accepted */
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
void wi_pump_ref(wi_pump *pump);
void wi_pump_unref(wi_pump *pump); /* NULL is allowed */

/* What the pump needs before it starts: its cookie, queue and events. FALSE
 * with *failed, the call, and the last error. */
BOOL wi_pump_prepare(wi_pump *pump, size_t max_count, uint64_t max_bytes,
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

/* Only the thread that owns a window may give it a timer: a command asks it
 * to, and says what came of it. Each side has a reference. */
typedef struct {
    volatile LONG refs;
    HANDLE done; /* set when the pump has filled in the result */
    UINT_PTR id;
    UINT period_ms; /* 0 ends the timer */
    BOOL ok;
    DWORD error;
} wi_pump_command;

wi_pump_command *wi_pump_command_new(void); /* NULL with the last error */
void wi_pump_command_unref(wi_pump_command *command);
BOOL wi_pump_send_command(wi_pump *pump, wi_pump_command *command);

/* window.c: run the handler, on the pump's thread and without the GIL. Takes
 * the reference to message; *queue tells that the message is for the queue
 * after all. */
LRESULT wi_window_call(wi_pump *pump, wi_message *message, BOOL *queue);

/* window.c: the pump's thread ends, and with it its Python thread state. */
void wi_window_thread_ends(wi_pump *pump);

#endif

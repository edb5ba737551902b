/* pump.h: the native thread behind a CopyDataWindow, its window and its queue.
 *
 * Owner: a wi_pump counts references. Its thread has one and the Python object
 * has one, so whichever ends last frees it. Thread: the comments in the struct
 * say who writes a field. */
#ifndef WINIPC_MESSAGE_PUMP_H
#define WINIPC_MESSAGE_PUMP_H

#include "base/core.h"
#include "lane.h"
#include "queue.h"

/* Which messages go where. A table is replaced as a whole. */
typedef struct {
    BOOL handle_all; /* every WM_COPYDATA goes to the handler */
    BOOL queue_rest; /* WM_COPYDATA without a handler is queued, not refused */
    uint64_t *ids;   /* the ids of the WM_COPYDATA that go to the handler */
    size_t ids_count;
    uint64_t *routes; /* the plain messages to take, in the same memory */
    size_t routes_count;
} wi_route_table;

/* A route is the number of a plain message in bits 0 to 15; bits 16 to 31 say
 * how many of the numbers behind it are taken, too. */
#define WI_ROUTE_FIRST(route) ((UINT)(route) & 0xFFFF)
#define WI_ROUTE_MORE(route) ((UINT)(route) >> 16)

/* Added to a route whose messages go to the handler; the others are queued. */
#define WI_ROUTE_HANDLED ((uint64_t)1 << 32)

typedef struct {
    volatile LONG refs;
    /* set before the thread starts, constant then */
    wchar_t class_name[257];
    const wchar_t *title; /* valid until the window exists */
    BOOL message_only;
    ULONG_PTR cookie; /* random: no other process knows it */
    size_t max_message;
    BOOL lower_integrity; /* accept messages from lower integrity levels */
    /* these processes may send WM_COPYDATA; any may if both are empty */
    uint64_t *accept_pids;
    size_t accept_pids_count;
    wchar_t *accept_paths; /* one behind the other; an empty one ends them */
    HANDLE started;        /* set when the window exists, or start failed */
    HANDLE thread;
    DWORD thread_id;
    /* written by the thread */
    HWND volatile hwnd; /* NULL when it is gone */
    const char *failed; /* the call that failed before `started` was set */
    DWORD error;
    LONG depth;      /* handlers at work; they may nest */
    BOOL destroying; /* by us: any program may send a WM_NCDESTROY */
    size_t rejected; /* messages from senders that are not accepted */
    BOOL look;       /* in the lane, before it sleeps again */
    BOOL looking;    /* it has begun to */
    uint64_t look_until;
    BOOL taken; /* a delivery by the lane, which waits for its answer */
    unsigned int leave_out, left_out; /* wishes to look, until the next look */
    /* written by any thread */
    volatile LONG closing;
    wi_lane *volatile lane; /* a view of our own, once there is one */
    UINT lane_message;      /* what senders announce in it */
    DWORD lane_us;          /* how long it looks at most */
    wi_queue queue;
    SRWLOCK
    lock; /* guards the table; not held across a wait, a send or Python */
    wi_route_table table;
    /* under the GIL */
    PyObject *owner;  /* borrowed: the WindowObject, NULL once it closes */
    Py_ssize_t waits; /* methods that may be using the handles */
    PyThreadState *tstate; /* of the thread, from its first handler on */
    PyGILState_STATE gil;
} wi_pump;

/* A zeroed pump with one reference; NULL if memory is short. */
wi_pump *wi_pump_new(void);
void wi_pump_unref(wi_pump *pump); /* NULL is allowed */

/* Make the queue and the events. FALSE with the last error, and the call that
 * failed in *failed. */
BOOL wi_pump_prepare(wi_pump *pump, uint64_t max_count, uint64_t max_bytes,
                     int overflow, const char **failed);

/* Start the thread and wait until its window exists. FALSE with pump->failed
 * and pump->error. Call it without the GIL. */
BOOL wi_pump_start(wi_pump *pump);

/* Ask the thread to end; a second call is harmless. */
void wi_pump_ask_to_close(wi_pump *pump);

/* Look in a lane, for so long, for what senders announce by this message; at
 * most once in a pump's life. FALSE with the last error. */
BOOL wi_pump_look_at(wi_pump *pump, HANDLE section, UINT number, DWORD us);

/* Answer the delivery by a lane that this thread's handler works on. FALSE if
 * there is none: it was sent, or is answered. */
BOOL wi_pump_reply(LRESULT answer);

/* Take over the table and free the old one. FALSE with the last error; then
 * the caller keeps its table. */
BOOL wi_pump_set_table(wi_pump *pump, wi_route_table *table);
void wi_route_table_clear(wi_route_table *table);

/* A method holds the GIL and calls these two around its use of the handles.
 * The last end_wait closes the handles, if the thread has ended. */
void wi_pump_begin_wait(wi_pump *pump);
void wi_pump_end_wait(wi_pump *pump);

/* In window.c: run the handler. The pump's thread calls it, without the GIL.
 * It takes over the reference to message. *queue is set if the message goes to
 * the queue after all. */
LRESULT wi_window_call(wi_pump *pump, wi_message *message, BOOL *queue);

/* In window.c: the pump's thread calls it last; it frees the thread's Python
 * thread state. */
void wi_window_thread_ends(wi_pump *pump);

#endif

/* queue.h: native messages and the bounded queue that a pump thread fills.
 *
 * Plain C without Python, so a window procedure may use all of it without the
 * GIL. */
#ifndef WINIPC_MESSAGE_QUEUE_H
#define WINIPC_MESSAGE_QUEUE_H

#include <windows.h>

#include <stddef.h>
#include <stdint.h>

/* One received message and the copy of its data, in one block. The queue and
 * message objects share it by counting references. It is constant once it is
 * filled in. */
typedef struct wi_message {
    struct wi_message *next; /* in the queue */
    volatile LONG refs;
    UINT number;   /* WM_COPYDATA, or the message itself */
    WPARAM wparam; /* of WM_COPYDATA: the sender's window */
    LPARAM lparam; /* 0 for WM_COPYDATA: the pointer is invalid by now */
    uint64_t id;   /* dwData of WM_COPYDATA */
    uint64_t time; /* FILETIME of arrival: 100 ns since 1601, UTC */
    DWORD pid;     /* of the process that owns the sender's window, or 0 */
    size_t size;   /* of data, in bytes */
    size_t room;   /* how many bytes it counts as in a queue */
    unsigned char *data; /* behind this struct */
} wi_message;

/* A message with room for size bytes, and one reference; NULL if memory is
 * short. The caller sets number, wparam, lparam, id and pid, and fills data. */
wi_message *wi_message_new(size_t size);
wi_message *wi_message_ref(wi_message *message);
void wi_message_unref(wi_message *message); /* NULL is allowed */

/* What to do with a message for which there is no room. */
enum { WI_OVERFLOW_REFUSE, WI_OVERFLOW_DROP_OLDEST };

typedef struct {
    SRWLOCK lock; /* guards all below, except ready itself */
    wi_message *head, *tail;
    size_t count;
    size_t ticks; /* how many of them are WM_TIMER */
    size_t bytes;
    uint64_t max_count;
    uint64_t max_bytes;
    int overflow;
    size_t refused; /* messages for which there was no room */
    size_t dropped; /* messages that made room for newer ones */
    BOOL closed;    /* takes no more messages; those in it can be taken out */
    CONDITION_VARIABLE filled; /* woken for a message, and by close */
    int sleepers;              /* threads that wait for `filled` */
    int watchers;              /* how many wait for `ready` */
    BOOL told;                 /* `ready` is set */
    HANDLE ready; /* manual reset: while there are watchers, set while
                     count > 0 or closed */
} wi_queue;

/* FALSE with the last error. The caller closes `ready` at the end. A queue of
 * zeros may be cleared. */
BOOL wi_queue_init(wi_queue *queue, uint64_t max_count, uint64_t max_bytes,
                   int overflow);

/* Take over the reference and return TRUE, or leave it to the caller. If a
 * tick of the same timer still waits, a new tick is freed: the two are one. */
BOOL wi_queue_push(wi_queue *queue, wi_message *message);

/* Take out the oldest message, with its reference; NULL if there is none.
 * *closed is whether the queue takes no more. */
wi_message *wi_queue_pop(wi_queue *queue, BOOL *closed);

/* Sleep until there is a message or the queue is closed; FALSE if the time is
 * over. Another thread may have taken the message by then. */
BOOL wi_queue_wait(wi_queue *queue, DWORD ms);

/* Change the number of watchers by 1 or -1. `ready` is kept up to date only
 * while there are any. */
void wi_queue_watch(wi_queue *queue, int more);

/* Put references to the newest messages, at most count of them, oldest first,
 * into messages. They stay in the queue. Returns how many there are. */
size_t wi_queue_latest(wi_queue *queue, wi_message **messages, size_t count);

/* Refuse messages from now on, and wake the receivers. */
void wi_queue_close(wi_queue *queue);

/* Free all messages; no thread uses the queue any more. */
void wi_queue_clear(wi_queue *queue);

#endif

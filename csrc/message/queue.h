/* queue.h: native messages and the bounded queue that a pump thread fills.
 *
 * Plain C: nothing here needs or touches Python, so a window procedure may
 * use all of it without the GIL. */
#ifndef WINIPC_MESSAGE_QUEUE_H
#define WINIPC_MESSAGE_QUEUE_H

#include <windows.h>

#include <stddef.h>
#include <stdint.h>

/* One received message and the copy of its data, in one block. It is shared
 * by reference count between the queue and message objects, and constant
 * once it is filled in. */
typedef struct wi_message {
    struct wi_message *next; /* in the queue */
    volatile LONG refs;
    UINT number;   /* WM_COPYDATA, or the message itself */
    WPARAM wparam; /* of WM_COPYDATA: the sender's window */
    LPARAM lparam; /* 0 for WM_COPYDATA: its pointer is dead by now */
    uint64_t id;   /* dwData of WM_COPYDATA */
    uint64_t time; /* FILETIME of arrival: 100 ns since 1601, UTC */
    DWORD pid;     /* of the process that owns the sender's window, or 0 */
    size_t size;   /* of data, in bytes */
    size_t room;   /* what it counts as in a queue, in bytes */
    unsigned char *data; /* behind this struct */
} wi_message;

/* A message with room for size bytes and one reference; NULL without memory.
 * Everything but next, refs, time, size, room and data is for the caller to set. */
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
    size_t dropped; /* messages that had to go for newer ones */
    BOOL closed;    /* nothing comes in any more; what is in may leave */
    CONDITION_VARIABLE filled; /* woken for a message, and at the end */
    int sleepers;              /* who wait for that */
    int watchers;              /* who wait for `ready` */
    BOOL told;                 /* `ready` is set */
    HANDLE ready; /* manual reset: while there are watchers, set while
                     count > 0 or closed */
} wi_queue;

/* FALSE with the last error set. The caller closes `ready` at the end. A queue
 * of zeroes may be cleared. */
BOOL wi_queue_init(wi_queue *queue, uint64_t max_count, uint64_t max_bytes,
                   int overflow);

/* Take the reference and answer TRUE, or leave it with the caller. A tick of
 * a timer whose last one still waits is taken, and is one with that. */
BOOL wi_queue_push(wi_queue *queue, wi_message *message);

/* The oldest message, with its reference, or NULL; *closed tells that none is
 * added any more. */
wi_message *wi_queue_pop(wi_queue *queue, BOOL *closed);

/* Sleep until there is a message, the queue is closed or the time is over
 * (FALSE). Others may have taken the message. */
BOOL wi_queue_wait(wi_queue *queue, DWORD ms);

/* 1 more who waits for `ready`, which is right from then on; -1 is its end. */
void wi_queue_watch(wi_queue *queue, int more);

/* References to the newest messages, up to count of them, oldest first; how
 * many there are. They stay in the queue. */
size_t wi_queue_latest(wi_queue *queue, wi_message **messages, size_t count);

/* Refuse what comes from now on, and wake the receivers that wait. */
void wi_queue_close(wi_queue *queue);

/* Free all messages; no thread uses the queue any more. */
void wi_queue_clear(wi_queue *queue);

#endif

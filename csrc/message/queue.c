/* queue.c: native messages and the bounded queue that a pump thread fills.
 *
 * Wraps HeapAlloc, SRWLOCK, a condition variable and one event. The lock is
 * held for a few instructions only: never across a wait, a send or a call into
 * Python. A receiver sleeps on the condition variable, which is no kernel
 * object. The event is for a task that needs a handle; it is neither set nor
 * reset while there is no such task. */
#include "queue.h"

#include <string.h>

/* --------------------------------------------------------------- messages */

wi_message *
wi_message_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(wi_message)) {
        return NULL;
    }
    wi_message *message =
        HeapAlloc(GetProcessHeap(), 0, sizeof(wi_message) + size);
    if (message == NULL) {
        return NULL;
    }
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    memset(message, 0, sizeof(*message));
    message->refs = 1;
    message->time = ((uint64_t)now.dwHighDateTime << 32) | now.dwLowDateTime;
    message->size = size;
    message->room = size;
    message->data = (unsigned char *)(message + 1);
    return message;
}

wi_message *
wi_message_ref(wi_message *message)
{
    InterlockedIncrement(&message->refs);
    return message;
}

void
wi_message_unref(wi_message *message)
{
    if (message != NULL && InterlockedDecrement(&message->refs) == 0) {
        HeapFree(GetProcessHeap(), 0, message);
    }
}

/* ------------------------------------------------------------------ queue */

BOOL
wi_queue_init(wi_queue *queue, uint64_t max_count, uint64_t max_bytes,
              int overflow)
{
    memset(queue, 0, sizeof(*queue));
    InitializeSRWLock(&queue->lock);
    InitializeConditionVariable(&queue->filled);
    queue->max_count = max_count;
    queue->max_bytes = max_bytes;
    queue->overflow = overflow;
    queue->ready = CreateEventW(NULL, TRUE, FALSE, NULL);
    return queue->ready != NULL;
}

/* With the lock held: set or reset the event. */
static void
queue_tell(wi_queue *queue)
{
    BOOL full = queue->count > 0 || queue->closed;
    if (queue->watchers > 0 && queue->told != full) {
        queue->told = full;
        if (full) {
            SetEvent(queue->ready);
        }
        else {
            ResetEvent(queue->ready);
        }
    }
}

/* With the lock held: take out the oldest message. */
static wi_message *
queue_take(wi_queue *queue)
{
    wi_message *message = queue->head;
    if (message != NULL) {
        queue->head = message->next;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        message->next = NULL;
        queue->count--;
        queue->ticks -= message->number == WM_TIMER;
        queue->bytes -= message->room;
    }
    return message;
}

/* With the lock held: whether a tick of this timer is in the queue. */
static BOOL
queue_ticks(const wi_queue *queue, WPARAM timer)
{
    if (queue->ticks == 0) {
        return FALSE;
    }
    const wi_message *message = queue->head;
    while (message != NULL &&
           (message->number != WM_TIMER || message->wparam != timer)) {
        message = message->next;
    }
    return message != NULL;
}

BOOL
wi_queue_push(wi_queue *queue, wi_message *message)
{
    wi_message *dropped = NULL;
    BOOL taken = FALSE, wake = FALSE;
    AcquireSRWLockExclusive(&queue->lock);
    if (queue->closed) {
        goto done;
    }
    if (message->number == WM_TIMER && queue_ticks(queue, message->wparam)) {
        dropped = message;
        taken = TRUE;
        goto done;
    }
    if (queue->overflow == WI_OVERFLOW_DROP_OLDEST &&
        message->room <= queue->max_bytes && queue->max_count > 0) {
        while (queue->count >= queue->max_count ||
               message->room > queue->max_bytes - queue->bytes) {
            wi_message *oldest = queue_take(queue);
            oldest->next = dropped;
            dropped = oldest;
            queue->dropped++;
        }
    }
    if (queue->count >= queue->max_count || queue->bytes > queue->max_bytes ||
        message->room > queue->max_bytes - queue->bytes) {
        queue->refused++;
        goto done;
    }
    message->next = NULL;
    if (queue->tail == NULL) {
        queue->head = message;
    }
    else {
        queue->tail->next = message;
    }
    queue->tail = message;
    queue->bytes += message->room;
    queue->ticks += message->number == WM_TIMER;
    queue->count++;
    queue_tell(queue);
    taken = TRUE;
    wake = queue->sleepers > 0;
done:
    ReleaseSRWLockExclusive(&queue->lock);
    if (wake) {
        WakeConditionVariable(&queue->filled);
    }
    while (dropped != NULL) {
        wi_message *next = dropped->next;
        wi_message_unref(dropped);
        dropped = next;
    }
    return taken;
}

wi_message *
wi_queue_pop(wi_queue *queue, BOOL *closed)
{
    AcquireSRWLockExclusive(&queue->lock);
    wi_message *message = queue_take(queue);
    *closed = queue->closed;
    queue_tell(queue);
    ReleaseSRWLockExclusive(&queue->lock);
    return message;
}

BOOL
wi_queue_wait(wi_queue *queue, DWORD ms)
{
    BOOL woken = TRUE;
    AcquireSRWLockExclusive(&queue->lock);
    if (queue->count == 0 && !queue->closed) {
        queue->sleepers++;
        woken = SleepConditionVariableSRW(&queue->filled, &queue->lock, ms, 0);
        queue->sleepers--;
    }
    ReleaseSRWLockExclusive(&queue->lock);
    return woken;
}

void
wi_queue_watch(wi_queue *queue, int more)
{
    AcquireSRWLockExclusive(&queue->lock);
    queue->watchers += more;
    queue_tell(queue);
    ReleaseSRWLockExclusive(&queue->lock);
}

size_t
wi_queue_latest(wi_queue *queue, wi_message **messages, size_t count)
{
    size_t taken = 0;
    AcquireSRWLockShared(&queue->lock);
    size_t older = queue->count > count ? queue->count - count : 0;
    for (wi_message *message = queue->head; message != NULL;
         message = message->next) {
        if (older > 0) {
            older--;
        }
        else if (taken < count) {
            messages[taken++] = wi_message_ref(message);
        }
    }
    ReleaseSRWLockShared(&queue->lock);
    return taken;
}

void
wi_queue_close(wi_queue *queue)
{
    AcquireSRWLockExclusive(&queue->lock);
    if (!queue->closed) {
        queue->closed = TRUE;
        queue_tell(queue);
    }
    ReleaseSRWLockExclusive(&queue->lock);
    WakeAllConditionVariable(&queue->filled);
}

void
wi_queue_clear(wi_queue *queue)
{
    wi_message *message = queue->head;
    memset(queue, 0, sizeof(*queue));
    while (message != NULL) {
        wi_message *next = message->next;
        wi_message_unref(message);
        message = next;
    }
}

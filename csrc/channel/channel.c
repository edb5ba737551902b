/* channel.c: Channel, a ring of messages between processes.
 *
 *     with Channel.create("prices", 1 << 16) as channel:
 *         for message in channel:           # until all senders have closed
 *             ...
 *     with Channel.open("prices") as channel:            # another process
 *         channel.send(b"EURUSD 1.0712")
 *         channel.send_many([b"...", b"..."], timeout=1)
 *
 * The object owns a winipc_channel of include/winipc.h: the mapping and its
 * view, three events, and the events that show that this process lives. Any
 * thread may use it: each direction has a gate, so threads that send take
 * turns, and so do threads that receive; a call in flight pins the object.
 * Small messages are copied with the GIL kept; it is given up for large
 * copies and for every wait. */
#include "base/core.h"

#include "ring.h"

/* Above this, copying takes longer than giving up the GIL. */
#define CHANNEL_GIL_COPY 32768

/* How often a sleeping task's end looks whether its peer lives. */
#define CHANNEL_LOOK_MS 500

/* One thread at a time, or one task that sleeps. Under the GIL, but
 * interlocked for builds without. */
typedef struct {
    volatile LONG busy;
    volatile LONG waiting;
    HANDLE idle; /* auto reset: the gate is open, and others wait */
    /* While a task sleeps: */
    char parked;
    int which;       /* the event that it sleeps on */
    uint64_t length; /* the room that it needs */
    winipc_channel *ch;
    PTP_TIMER timer;
} channel_gate;

typedef struct {
    PyObject_HEAD
    wi_state *state;
    PyObject *name;    /* str */
    winipc_channel ch; /* zeroed when closed */
    channel_gate sending;
    channel_gate receiving;
    PyObject *peeked; /* borrowed: the PeekedMessage that is open */
    Py_ssize_t pins;  /* calls in flight */
    char created;
    char doomed; /* finalised while a view of a peeked message lives */
} ChannelObject;

typedef struct {
    PyObject_HEAD
    ChannelObject *channel; /* NULL: consumed, or let go */
    const void *data;
    Py_ssize_t size;
    Py_ssize_t exports;
    PyObject *view; /* the memoryview that `with` gave */
    char keep;      /* leave the message there */
    char done;      /* let go as soon as the last export is gone */
    PyObject *weakrefs;
} PeekedObject;

/* ----------------------------------------------------------------- errors */

static PyObject *
channel_raise(ChannelObject *self, int result, DWORD err, const char *what)
{
    switch (result) {
    case WINIPC_TIMEOUT:
        return wi_raise_timeout(what, self->name);
    case WINIPC_CLOSED:
    case WINIPC_EMPTY:
        PyErr_Format(self->state->EndOfStream, "%R: the sender has closed it",
                     self->name);
        return NULL;
    case WINIPC_BROKEN:
        return wi_raise(ERROR_BROKEN_PIPE, what, self->name);
    case WINIPC_CORRUPT:
        return wi_raise_text(PyExc_OSError, ERROR_INVALID_DATA,
                             self->ch.ring.fault != NULL ? self->ch.ring.fault
                                                         : "corrupt",
                             what, self->name);
    case WINIPC_TAKEN:
        return wi_raise_text(PyExc_PermissionError, ERROR_PIPE_BUSY,
                             "a living process has this end of the channel",
                             what, self->name);
    case WINIPC_TOO_LARGE:
        return PyErr_Format(
            PyExc_ValueError,
            "a message of this channel has at most %llu bytes: make it with a "
            "larger capacity, or put the data into a SharedMapping and send "
            "where it is",
            (unsigned long long)self->ch.ring.max_record);
    default:
        return wi_raise(err, what, self->name);
    }
}

/* For a sender, CLOSED means that the receiver is gone. */
static PyObject *
channel_raise_send(ChannelObject *self, int result, DWORD err)
{
    if (result == WINIPC_CLOSED) {
        return wi_raise_text(PyExc_BrokenPipeError, ERROR_NO_DATA,
                             "the receiver has closed it", "Channel.send",
                             self->name);
    }
    return channel_raise(self, result, err, "Channel.send");
}

static void
gate_clear(channel_gate *gate)
{
    if (gate->idle != NULL) {
        CloseHandle(gate->idle);
    }
    if (gate->timer != NULL) {
        CloseThreadpoolTimer(gate->timer);
    }
    memset(gate, 0, sizeof(*gate));
}

static void
channel_release(ChannelObject *self)
{
    if (self->ch.ring.shared != NULL) {
        winipc_channel_close(&self->ch);
    }
    gate_clear(&self->sending);
    gate_clear(&self->receiving);
}

/* ------------------------------------------------------ deadlines, gates */

typedef struct {
    uint64_t timeout_ms;
    uint64_t began;
    int started;
} channel_deadline;

/* How long the next step may wait; 0 when time is over. */
static uint32_t
deadline_slice(channel_deadline *deadline)
{
    if (deadline->timeout_ms == WI_FOREVER) {
        return WI_WAIT_SLICE_MS;
    }
    if (deadline->timeout_ms == 0) {
        return 0;
    }
    uint64_t now = GetTickCount64();
    if (!deadline->started) {
        deadline->started = 1;
        deadline->began = now;
    }
    uint64_t gone = now - deadline->began;
    if (gone >= deadline->timeout_ms) {
        return 0;
    }
    uint64_t left = deadline->timeout_ms - gone;
    return left < WI_WAIT_SLICE_MS ? (uint32_t)left : WI_WAIT_SLICE_MS;
}

WI_INLINE int
gate_try(channel_gate *gate)
{
    return InterlockedCompareExchange(&gate->busy, 1, 0) == 0;
}

/* Begin to wait for the gate: pins the channel. gate_unqueue has to follow. */
static int
gate_queue(ChannelObject *self, channel_gate *gate)
{
    if (gate->idle == NULL) {
        gate->idle = CreateEventW(NULL, FALSE, FALSE, NULL);
        if (gate->idle == NULL) {
            wi_raise(GetLastError(), "CreateEventW", self->name);
            return -1;
        }
    }
    InterlockedIncrement(&gate->waiting);
    self->pins++;
    return 0;
}

static void
channel_unpin(ChannelObject *self)
{
    self->pins--;
    if (self->doomed && self->pins == 0) {
        channel_release(self); /* it is finalised only once: all goes */
        Py_CLEAR(self->name);
    }
}

static void
gate_unqueue(ChannelObject *self, channel_gate *gate)
{
    if (InterlockedDecrement(&gate->waiting) != 0 && gate->busy == 0) {
        SetEvent(gate->idle); /* the signal may have been another's */
    }
    channel_unpin(self);
}

/* The channel is open then and stays so: the caller is pinned. */
static int
gate_enter(ChannelObject *self, channel_gate *gate, channel_deadline *deadline,
           const char *what)
{
    int queued = 0, failed = -1;
    while (wi_check_open(self, self->ch.ring.shared) == 0) {
        if (gate == &self->receiving && self->peeked != NULL) {
            PyErr_SetString(PyExc_BufferError,
                            "a peeked message of this channel is still open");
            break;
        }
        if (gate_try(gate)) {
            self->pins++;
            failed = 0;
            break;
        }
        uint32_t slice = deadline_slice(deadline);
        if (slice == 0) {
            wi_raise_timeout(what, self->name);
            break;
        }
        if (!queued) {
            if (gate_queue(self, gate) < 0) {
                break;
            }
            queued = 1;
            continue; /* it may have been left just now */
        }
        Py_BEGIN_ALLOW_THREADS
        WaitForSingleObject(gate->idle, slice);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            break;
        }
    }
    if (queued) {
        gate_unqueue(self, gate);
    }
    return failed;
}

static void
gate_exit(ChannelObject *self, channel_gate *gate)
{
    InterlockedExchange(&gate->busy, 0);
    if (gate->waiting != 0) {
        SetEvent(gate->idle);
    }
    channel_unpin(self);
}

/* -------------------------------------------------------------- arguments */

/* f([object,] timeout=default): the object, and the deadline. */
static int
channel_arguments(const char *function, PyObject *const *args,
                  Py_ssize_t count, PyObject *kwnames, PyObject **object,
                  channel_deadline *deadline)
{
    Py_ssize_t fixed = object != NULL;
    PyObject *timeout = NULL;
    deadline->started = 0;
    if (kwnames != NULL && PyTuple_Size(kwnames) != 0) {
        PyObject *key = PyTuple_GetItem(kwnames, 0);
        if (PyTuple_Size(kwnames) > 1 || count > fixed ||
            PyUnicode_CompareWithASCIIString(key, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError,
                         "%s() takes no other keyword than timeout", function);
            return -1;
        }
        timeout = args[count];
    }
    else if (count == fixed + 1) {
        timeout = args[fixed];
    }
    if (count < fixed || count > fixed + 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd argument%s and timeout",
                     function, fixed, fixed == 1 ? "" : "s");
        return -1;
    }
    if (fixed) {
        *object = args[0];
    }
    if (timeout != NULL &&
        !wi_timeout_converter(timeout, &deadline->timeout_ms)) {
        return -1;
    }
    return 0;
}

/* Without a timeout, send waits; with REFUSE it does not. */
WI_INLINE uint64_t
channel_default_timeout(ChannelObject *self)
{
    return self->ch.ring.flags & WINIPC_CHANNEL_REFUSE ? 0 : WI_FOREVER;
}

/* Copy with or without the GIL, by size. */
static void
channel_copy(void *to, const void *from, size_t length)
{
    if (length >= CHANNEL_GIL_COPY) {
        Py_BEGIN_ALLOW_THREADS
        WINIPC_COPY(to, from, length);
        Py_END_ALLOW_THREADS
    }
    else {
        WINIPC_COPY(to, from, length);
    }
}

/* ------------------------------------------------------------------- send */

/* One waiting step of a sender without the GIL. OK go on, -1 exception. */
static int
send_wait(ChannelObject *self, int for_lock, uint64_t length,
          channel_deadline *deadline)
{
    uint32_t slice = deadline_slice(deadline);
    int result;
    DWORD err;
    WI_CALL(err, result = for_lock ? winipc_channel_wait_lock(&self->ch, slice)
                                   : winipc_channel_wait_space(&self->ch,
                                                               length, slice));
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (result == WINIPC_TIMEOUT && slice != 0) {
        return WINIPC_FULL;
    }
    if (result == WINIPC_OK || result == WINIPC_FULL) {
        return result;
    }
    channel_raise_send(self, result, err);
    return -1;
}

/* Ready to write records: ours is the role, and with MANY the lock. */
static int
send_begin(ChannelObject *self, channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    int result = WINIPC_OK;
    if (ch->send_word == 0) {
        result = winipc_channel_claim(ch, 0);
    }
    if (result == WINIPC_OK) {
        /* Even when there is room, so that a dead receiver is noticed. */
        result = winipc_channel_consumer(ch, winipc_channel_may_look(ch, 0));
        if (result == WINIPC_EMPTY) {
            result = WINIPC_OK; /* it may still come */
        }
    }
    if (result != WINIPC_OK) {
        channel_raise_send(self, result, GetLastError());
        return -1;
    }
    if (ch->ring.flags & WINIPC_CHANNEL_MANY) {
        if (winipc_ring_trylock(&ch->ring)) {
            ch->locked = 1;
            if (winipc_ring_begin(&ch->ring) != WINIPC_OK) {
                winipc_channel_unlock(ch);
                channel_raise_send(self, WINIPC_CORRUPT, 0);
                return -1;
            }
            return 0;
        }
        do {
            result = send_wait(self, 1, 0, deadline);
        } while (result == WINIPC_FULL);
        if (result < 0) {
            winipc_channel_unlock(ch);
            return -1;
        }
    }
    return 0;
}

/* Write one message. It is not published, except when there is no room, and
 * with DROP_OLDEST. */
static int
send_message(ChannelObject *self, const char *data, uint64_t length,
             channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    void *payload;
    int result;
    while ((result = winipc_channel_reserve(ch, length, &payload)) ==
           WINIPC_FULL) {
        winipc_channel_publish(ch);
        if (send_wait(self, 0, length, deadline) < 0) {
            return -1;
        }
    }
    if (result != WINIPC_OK) {
        channel_raise_send(self, result, 0);
        return -1;
    }
    channel_copy(payload, data, (size_t)length);
    winipc_ring_commit(&ch->ring, length);
    if (ch->ring.flags & WINIPC_CHANNEL_DROP_OLDEST) {
        winipc_channel_publish(ch);
    }
    return 0;
}

/* A view of the data: bytes as they are, anything else by the protocol. */
static int
send_buffer(PyObject *object, Py_buffer *view, char **data, Py_ssize_t *length)
{
    view->obj = NULL;
    if (PyBytes_CheckExact(object)) {
        return PyBytes_AsStringAndSize(object, data, length);
    }
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    *data = view->buf;
    *length = view->len;
    return 0;
}

PyDoc_STRVAR(channel_send_doc,
             "send($self, data, /, timeout=None)\n--\n\n"
             "Send one message: anything with the buffer protocol.\n\n"
             "Waits at most timeout seconds for room (None: forever; with\n"
             "overflow=\"refuse\" the default is not to wait).\n\n"
             "Raises TimeoutError when there was no room, BrokenPipeError\n"
             "when the receiver has closed or died, PermissionError when\n"
             "another process is the sender, ValueError when the message has\n"
             "more than max_record bytes and when the channel is closed.\n\n"
             "Win32: SetEvent, WaitForMultipleObjects");

static PyObject *
channel_send(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    PyObject *object, *answer = NULL;
    Py_buffer view;
    char *data;
    Py_ssize_t length;
    channel_deadline deadline = {channel_default_timeout(self), 0, 0};
    if (channel_arguments("send", args, count, kwnames, &object, &deadline) <
            0 ||
        send_buffer(object, &view, &data, &length) < 0) {
        return NULL;
    }
    if (gate_enter(self, &self->sending, &deadline, "Channel.send") == 0) {
        if (send_begin(self, &deadline) == 0) {
            if (send_message(self, data, (uint64_t)length, &deadline) == 0) {
                winipc_channel_publish(&self->ch);
                answer = Py_NewRef(Py_None);
            }
            winipc_channel_unlock(&self->ch);
        }
        gate_exit(self, &self->sending);
    }
    if (view.obj != NULL) {
        PyBuffer_Release(&view);
    }
    return answer;
}

PyDoc_STRVAR(channel_send_many_doc,
             "send_many($self, messages, /, timeout=None)\n--\n\n"
             "Send each message of an iterable; return their number.\n\n"
             "Faster than send: they become visible in batches. timeout is\n"
             "for all of them together, also while there is room; Ctrl+C and\n"
             "other threads get in. Raises as send does; the messages before\n"
             "the one that failed are sent.\n\n"
             "Win32: SetEvent, WaitForMultipleObjects");

/* In a batch, show what there is after so many bytes. */
#define CHANNEL_BATCH 8192

/* Views of the items that are not bytes. Runs Python code, so the caller has
 * not entered the gate. The number of items before one that has no buffer,
 * with its exception set; or -1. */
static Py_ssize_t
send_many_views(PyObject *items, Py_ssize_t count, Py_buffer **views,
                Py_ssize_t *viewed)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *item = PyTuple_GetItem(items, at);
        if (PyBytes_CheckExact(item)) {
            continue;
        }
        if (*views == NULL) {
            *views = PyMem_Calloc((size_t)(count - at), sizeof(Py_buffer));
            if (*views == NULL) {
                PyErr_NoMemory();
                return -1;
            }
        }
        if (PyObject_GetBuffer(item, &(*views)[*viewed], PyBUF_SIMPLE) < 0) {
            return at;
        }
        (*viewed)++;
    }
    return count;
}

/* Between the batches of a long call: let other threads and signals in, and
 * look at the time. A call that may not wait goes on while there is room. */
static int
send_breathe(ChannelObject *self, channel_deadline *deadline)
{
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (deadline->timeout_ms != 0 && deadline_slice(deadline) == 0) {
        wi_raise_timeout("Channel.send_many", self->name);
        return -1;
    }
    return 0;
}

/* All of them, under the gate. */
static int
send_many_locked(ChannelObject *self, PyObject *items, Py_ssize_t count,
                 const Py_buffer *view, channel_deadline *deadline)
{
    winipc_ring *ring = &self->ch.ring;
    uint64_t published = ring->tail;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *item = PyTuple_GetItem(items, at);
        const char *data;
        Py_ssize_t length;
        if (PyBytes_CheckExact(item)) {
            data = PyBytes_AsString(item);
            length = PyBytes_Size(item);
        }
        else {
            data = view->buf;
            length = view->len;
            view++;
        }
        if (send_message(self, data, (uint64_t)length, deadline) < 0) {
            return -1;
        }
        if (ring->tail - published >= CHANNEL_BATCH) {
            published = ring->tail;
            winipc_channel_publish(&self->ch);
            if (send_breathe(self, deadline) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static PyObject *
channel_send_many(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    PyObject *messages, *answer = NULL;
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    Py_buffer *views = NULL;
    Py_ssize_t viewed = 0;
    channel_deadline deadline = {channel_default_timeout(self), 0, 0};
    if (channel_arguments("send_many", args, count, kwnames, &messages,
                          &deadline) < 0) {
        return NULL;
    }
    /* A tuple of our own, which does not change while we send. */
    PyObject *items = PySequence_Tuple(messages);
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t total =
        send_many_views(items, PyTuple_Size(items), &views, &viewed);
    if (total < 0) {
        goto done;
    }
    PyErr_Fetch(&type, &value, &traceback); /* of the item after these */
    if (gate_enter(self, &self->sending, &deadline, "Channel.send") == 0) {
        if (send_begin(self, &deadline) == 0) {
            int failed =
                send_many_locked(self, items, total, views, &deadline) < 0;
            winipc_channel_publish(&self->ch);
            winipc_channel_unlock(&self->ch);
            if (!failed && type == NULL) {
                answer = PyLong_FromSsize_t(total);
            }
        }
        gate_exit(self, &self->sending);
    }
    if (answer == NULL && !PyErr_Occurred()) {
        PyErr_Restore(type, value, traceback);
        type = value = traceback = NULL;
    }
done:
    while (viewed > 0) {
        PyBuffer_Release(&views[--viewed]);
    }
    PyMem_Free(views);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_DECREF(items);
    return answer;
}

/* ---------------------------------------------------------------- receive */

/* Become the consumer. 0, or -1 with an exception. */
static int
recv_begin(ChannelObject *self)
{
    if (self->ch.recv_word == 0) {
        int result = winipc_channel_claim(&self->ch, 1);
        if (result != WINIPC_OK) {
            channel_raise(self, result, GetLastError(), "Channel.recv");
            return -1;
        }
    }
    return 0;
}

/* The oldest record, waiting for it. 0, or -1 with an exception. */
static int
recv_front(ChannelObject *self, const void **payload, uint32_t *length,
           channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    int look = !ch->os.one_cpu;
    for (;;) {
        int result = winipc_ring_front(&ch->ring, payload, length);
        if (result == WINIPC_OK) {
            return 0;
        }
        if (result != WINIPC_EMPTY) {
            channel_raise(self, result, 0, "Channel.recv");
            return -1;
        }
        /* A peer that answers at once is caught with the GIL kept: giving it
         * up takes longer than this look. */
        if (look && deadline->timeout_ms != 0) {
            look = 0;
            if (winipc_channel_look(ch, WINIPC_WAKE_DATA, 0)) {
                continue;
            }
        }
        uint32_t slice = deadline_slice(deadline);
        DWORD err;
        WI_CALL(err, result = winipc_channel_wait_data(ch, slice));
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
        if (result != WINIPC_OK && (result != WINIPC_TIMEOUT || slice == 0)) {
            channel_raise(self, result, err, "Channel.recv");
            return -1;
        }
    }
}

/* The message there as bytes; NULL with an exception. */
static PyObject *
recv_copied(const void *payload, uint32_t length)
{
    if (length < WI_RING_LARGE) {
        return PyBytes_FromStringAndSize(payload, length);
    }
    PyObject *message = PyBytes_FromStringAndSize(NULL, length);
    if (message != NULL) {
        channel_copy(PyBytes_AsString(message), payload, length);
    }
    return message;
}

/* One message as bytes; NULL with an exception. */
static PyObject *
recv_bytes(ChannelObject *self, channel_deadline *deadline)
{
    const void *payload;
    uint32_t length;
    if (recv_front(self, &payload, &length, deadline) < 0) {
        return NULL;
    }
    PyObject *message = recv_copied(payload, length);
    if (message != NULL) {
        winipc_ring_pop(&self->ch.ring);
    }
    winipc_channel_release(&self->ch);
    return message;
}

PyDoc_STRVAR(channel_recv_doc,
             "recv($self, /, timeout=None)\n--\n\n"
             "Receive the oldest message as bytes.\n\n"
             "Waits at most timeout seconds (None: forever).\n\n"
             "Raises TimeoutError, EndOfStream when all senders have closed\n"
             "and everything is read, BrokenPipeError (109) when one of them\n"
             "died instead, PermissionError when another process is the\n"
             "receiver, OSError with winerror 13 when shared memory is\n"
             "corrupt, ValueError when the channel is closed.\n\n"
             "Win32: WaitForMultipleObjects, SetEvent");

static PyObject *
channel_recv(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    PyObject *answer = NULL;
    channel_deadline deadline = {WI_FOREVER, 0, 0};
    if (channel_arguments("recv", args, count, kwnames, NULL, &deadline) < 0 ||
        gate_enter(self, &self->receiving, &deadline, "Channel.recv") < 0) {
        return NULL;
    }
    if (recv_begin(self) == 0) {
        answer = recv_bytes(self, &deadline);
    }
    gate_exit(self, &self->receiving);
    return answer;
}

PyDoc_STRVAR(channel_recv_into_doc,
             "recv_into($self, buffer, /, timeout=None)\n--\n\n"
             "Receive the oldest message into a writable buffer; return its\n"
             "length in bytes.\n\n"
             "Raises as recv does, and ValueError when the message is larger\n"
             "than the buffer; it is kept then.\n\n"
             "Win32: WaitForMultipleObjects, SetEvent");

static PyObject *
channel_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    PyObject *object, *answer = NULL;
    Py_buffer view;
    const void *payload;
    uint32_t length;
    channel_deadline deadline = {WI_FOREVER, 0, 0};
    if (channel_arguments("recv_into", args, count, kwnames, &object,
                          &deadline) < 0 ||
        PyObject_GetBuffer(object, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (gate_enter(self, &self->receiving, &deadline, "Channel.recv") < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    if (recv_begin(self) == 0 &&
        recv_front(self, &payload, &length, &deadline) == 0) {
        if (length <= (size_t)view.len) {
            channel_copy(view.buf, payload, length);
            winipc_ring_pop(&self->ch.ring);
            answer = PyLong_FromUnsignedLong(length);
        }
        else {
            PyErr_Format(PyExc_ValueError,
                         "a message of %u bytes does not fit in a buffer of "
                         "%zd bytes",
                         (unsigned int)length, view.len);
        }
        winipc_channel_release(&self->ch);
    }
    gate_exit(self, &self->receiving);
    PyBuffer_Release(&view);
    return answer;
}

PyDoc_STRVAR(channel_recv_many_doc,
             "_recv_many($self, limit, /, timeout=None)\n--\n\n"
             "Receive at least one and at most limit messages that are\n"
             "there.");

static PyObject *
channel_recv_many(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    PyObject *object, *answer = NULL;
    channel_deadline deadline = {WI_FOREVER, 0, 0};
    if (channel_arguments("recv_many", args, count, kwnames, &object,
                          &deadline) < 0) {
        return NULL;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (limit == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (limit < 1) {
        PyErr_SetString(PyExc_ValueError, "the limit must be at least 1");
        return NULL;
    }
    if (gate_enter(self, &self->receiving, &deadline, "Channel.recv") < 0) {
        return NULL;
    }
    if (recv_begin(self) < 0) {
        goto done;
    }
    winipc_ring *ring = &self->ch.ring;
    PyObject *first = recv_bytes(self, &deadline);
    if (first == NULL) {
        goto done;
    }
    answer = PyList_New(1);
    if (answer == NULL) {
        Py_DECREF(first);
        goto done;
    }
    PyList_SetItem(answer, 0, first);
    uint64_t began = ring->head, released = began;
    for (Py_ssize_t n = 1; n < limit; n++) {
        const void *payload;
        uint32_t length;
        if (winipc_ring_front(ring, &payload, &length) != WINIPC_OK) {
            break; /* an error comes with the next call */
        }
        PyObject *message = recv_copied(payload, length);
        if (message == NULL || PyList_Append(answer, message) < 0) {
            Py_XDECREF(message);
            PyErr_Clear(); /* what there is, is not lost */
            break;
        }
        Py_DECREF(message);
        winipc_ring_pop(ring);
        if (ring->head - released >= CHANNEL_BATCH) {
            released = ring->head;
            winipc_channel_release(&self->ch);
            Py_BEGIN_ALLOW_THREADS
            Py_END_ALLOW_THREADS
            if (released - began >= ring->capacity) {
                break; /* all that can have been there at first */
            }
        }
    }
    winipc_channel_release(&self->ch);
done:
    gate_exit(self, &self->receiving);
    return answer;
}

/* ------------------------------------------------------------------- peek */

PyDoc_STRVAR(
    channel_peek_doc,
    "peek($self, /, timeout=None)\n--\n\n"
    "The oldest message where it lies: `with channel.peek() as "
    "view`.\n\n"
    "view is a read-only memoryview of shared memory, with no copy.\n"
    "At the end of the block the message counts as received; after\n"
    "an exception it is still there. Its room is free again when the\n"
    "last view of it is gone. Raises as recv does.\n\n"
    "Win32: WaitForMultipleObjects, SetEvent");

static PyObject *
channel_peek(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    ChannelObject *self = (ChannelObject *)op;
    channel_deadline deadline = {WI_FOREVER, 0, 0};
    if (channel_arguments("peek", args, count, kwnames, NULL, &deadline) < 0 ||
        gate_enter(self, &self->receiving, &deadline, "Channel.recv") < 0) {
        return NULL;
    }
    PeekedObject *peeked = NULL;
    if (recv_begin(self) == 0) {
        peeked = wi_alloc(self->state->peeked_type);
    }
    if (peeked != NULL) {
        const void *payload;
        uint32_t length;
        if (recv_front(self, &payload, &length, &deadline) == 0) {
            peeked->data = payload;
            peeked->size = (Py_ssize_t)length;
            peeked->keep = 1;
            peeked->channel = (ChannelObject *)Py_NewRef(op);
            self->peeked = (PyObject *)peeked;
            return (PyObject *)peeked; /* the gate stays shut */
        }
        Py_DECREF((PyObject *)peeked);
    }
    gate_exit(self, &self->receiving);
    return NULL;
}

/* Consume the message, or leave it there, and open the gate. */
static void
peeked_let_go(PeekedObject *self)
{
    ChannelObject *channel = self->channel;
    if (channel == NULL) {
        return;
    }
    self->channel = NULL;
    if (!self->keep) {
        winipc_ring_pop(&channel->ch.ring);
    }
    winipc_channel_release(&channel->ch);
    channel->peeked = NULL;
    gate_exit(channel, &channel->receiving);
    Py_DECREF((PyObject *)channel);
}

static int
peeked_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    PeekedObject *self = (PeekedObject *)op;
    if (self->channel == NULL || self->done) {
        view->obj = NULL;
        PyErr_SetString(PyExc_ValueError, "the peeked message is let go");
        return -1;
    }
    if (PyBuffer_FillInfo(view, op, (void *)self->data, self->size, 1, flags) <
        0) {
        return -1;
    }
    self->exports++;
    return 0;
}

static void
peeked_releasebuffer(PyObject *op, Py_buffer *Py_UNUSED(view))
{
    PeekedObject *self = (PeekedObject *)op;
    self->exports--;
    if (self->exports == 0 && self->done) {
        peeked_let_go(self);
    }
}

static PyObject *
peeked_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PeekedObject *self = (PeekedObject *)op;
    if (self->view != NULL) {
        PyErr_SetString(PyExc_ValueError, "already entered");
        return NULL;
    }
    self->view = PyMemoryView_FromObject(op);
    Py_XINCREF(self->view);
    return self->view;
}

static PyObject *
peeked_exit(PyObject *op, PyObject *args)
{
    PeekedObject *self = (PeekedObject *)op;
    PyObject *type = Py_None, *value, *traceback, *result = NULL;
    if (!PyArg_UnpackTuple(args, "__exit__", 0, 3, &type, &value,
                           &traceback)) {
        return NULL;
    }
    self->keep = type != Py_None;
    self->done = 1;
    PyObject *view = self->view;
    self->view = NULL;
    if (view != NULL) {
        result = PyObject_CallMethod(view, "release", NULL);
        Py_DECREF(view);
    }
    else {
        result = Py_NewRef(Py_None);
    }
    if (self->exports == 0) {
        peeked_let_go(self);
    }
    return result; /* None: an exception goes on */
}

static Py_ssize_t
peeked_length(PyObject *op)
{
    return ((PeekedObject *)op)->size;
}

static int
peeked_traverse(PyObject *op, visitproc visit, void *arg)
{
    PeekedObject *self = (PeekedObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->channel);
    Py_VISIT(self->view);
    return 0;
}

static int
peeked_clear(PyObject *op)
{
    Py_CLEAR(((PeekedObject *)op)->view);
    return 0;
}

static void
peeked_finalize(PyObject *op)
{
    PeekedObject *self = (PeekedObject *)op;
    WI_KEEP_ERROR
    self->done = 1; /* in a garbage cycle a view may still have to go */
    Py_CLEAR(self->view);
    if (self->exports == 0) {
        peeked_let_go(self);
    }
    WI_END_KEEP_ERROR
}

PyDoc_STRVAR(peeked_doc, "A message that is still in its channel.");

static PyMethodDef peeked_methods[] = {
    {"__enter__", peeked_enter, METH_NOARGS, NULL},
    {"__exit__", peeked_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef peeked_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(PeekedObject, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot peeked_slots[] = {
    {Py_tp_doc, (void *)peeked_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_methods, peeked_methods},
    {Py_tp_members, peeked_members},
    {Py_tp_traverse, peeked_traverse},
    {Py_tp_clear, peeked_clear},
    {Py_tp_finalize, peeked_finalize},
    {Py_sq_length, peeked_length},
    {Py_bf_getbuffer, peeked_getbuffer},
    {Py_bf_releasebuffer, peeked_releasebuffer},
    {0, NULL},
};

static PyType_Spec peeked_spec = {
    .name = "winipc._core.PeekedMessage",
    .basicsize = sizeof(PeekedObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = peeked_slots,
};

/* --------------------------------------------------- release and finalise */

static void
channel_finalize(PyObject *op)
{
    ChannelObject *self = (ChannelObject *)op;
    WI_KEEP_ERROR
    if (self->ch.ring.shared != NULL) {
        wi_warn_unclosed(op);
    }
    if (self->pins > 0) {
        self->doomed = 1; /* in a garbage cycle with a view of its memory */
    }
    else {
        channel_release(self);
        Py_CLEAR(self->name);
    }
    WI_END_KEEP_ERROR
}

PyDoc_STRVAR(channel_close_doc,
             "close($self, /)\n--\n\n"
             "Leave the channel; idempotent.\n\n"
             "The peer receives what was sent before, then the end.\n"
             "Raises BufferError while a call of another thread or a task is\n"
             "in flight, or a peeked message is open.\n\n"
             "Win32: UnmapViewOfFile, CloseHandle");

static PyObject *
channel_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ChannelObject *self = (ChannelObject *)op;
    if (self->pins > 0) {
        PyErr_SetString(PyExc_BufferError,
                        self->peeked != NULL
                            ? "a peeked message of this channel is still open"
                            : "another thread or a task is using this "
                              "channel");
        return NULL;
    }
    channel_release(self);
    Py_RETURN_NONE;
}

/* ----------------------------------------------------------- construction */

/* An object of the class, with the name. */
static ChannelObject *
channel_alloc(PyObject *cls, PyObject *name)
{
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL) {
        return NULL;
    }
    ChannelObject *self = wi_alloc((PyTypeObject *)cls);
    if (self != NULL) {
        self->state = state;
        self->name = Py_NewRef(name);
    }
    return self;
}

static int
channel_name(PyObject *name, wchar_t **wide)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be str, not %R",
                     (PyObject *)Py_TYPE(name));
        return -1;
    }
    return wi_wide_name(name, wide);
}

/* The object, or NULL with what went wrong as an exception. */
static PyObject *
channel_made(ChannelObject *self, int result, DWORD err)
{
    const winipc_os *os = &self->ch.os;
    PyObject *suffix, *name;
    switch (result) {
    case WINIPC_OK:
        return (PyObject *)self;
    case WINIPC_TOO_LARGE:
        PyErr_SetString(PyExc_ValueError, self->ch.ring.fault);
        break;
    case WINIPC_TIMEOUT:
        wi_raise_text(PyExc_OSError, ERROR_INVALID_DATA,
                      "not a channel, or its creator died before it was ready",
                      os->call, self->name);
        break;
    case WINIPC_FAILED:
        suffix = PyUnicode_FromWideChar(os->suffix, -1);
        name = suffix == NULL ? NULL : PyUnicode_Concat(self->name, suffix);
        if (name != NULL) {
            wi_raise(err, os->call, name);
        }
        Py_XDECREF(name);
        Py_XDECREF(suffix);
        break;
    default:
        channel_raise(self, result, err, os->call);
        break;
    }
    Py_DECREF((PyObject *)self);
    return NULL;
}

/* Whoever may write to the mapping may also wait for the events: "GRGW" alone
 * does not grant SYNCHRONIZE. The events have no use but this. */
static void
channel_grant_waits(SECURITY_ATTRIBUTES *security)
{
    BOOL present = FALSE, defaulted;
    ACL *acl = NULL;
    if (security == NULL ||
        !GetSecurityDescriptorDacl(security->lpSecurityDescriptor, &present,
                                   &acl, &defaulted) ||
        !present || acl == NULL) {
        return;
    }
    for (WORD i = 0; i < acl->AceCount; i++) {
        ACCESS_ALLOWED_ACE *ace;
        if (GetAce(acl, i, (void **)&ace) &&
            ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE &&
            (ace->Mask & (GENERIC_WRITE | SECTION_MAP_WRITE)) != 0) {
            ace->Mask |= WINIPC_EVENT_ACCESS;
        }
    }
}

static PyObject *
channel_create(PyObject *cls, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"name",  "capacity", "max_record",
                               "flags", "security", NULL};
    PyObject *name, *spec = Py_None;
    uint64_t capacity, max_record = 0;
    DWORD flags = 0, err;
    wchar_t *wide;
    wi_security security;
    int result;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&|O&O&O:_create",
                                     keywords, &name, wi_u64_converter,
                                     &capacity, wi_u64_converter, &max_record,
                                     wi_u32_converter, &flags, &spec) ||
        channel_name(name, &wide) < 0) {
        return NULL;
    }
    if (wi_security_init(&security, spec) < 0) {
        PyMem_Free(wide);
        return NULL;
    }
    ChannelObject *self = channel_alloc(cls, name);
    if (self == NULL) {
        goto done;
    }
    channel_grant_waits(wi_security_attributes(&security));
    WI_CALL(err, result = winipc_channel_create(
                     &self->ch, wide, capacity, max_record, flags,
                     wi_security_attributes(&security)));
    self->created = 1;
    self = (ChannelObject *)channel_made(self, result, err);
done:
    wi_security_clear(&security);
    PyMem_Free(wide);
    return (PyObject *)self;
}

static PyObject *
channel_open(PyObject *cls, PyObject *args)
{
    PyObject *name;
    wchar_t *wide;
    DWORD err;
    int result;
    if (!PyArg_ParseTuple(args, "O:_open", &name) ||
        channel_name(name, &wide) < 0) {
        return NULL;
    }
    ChannelObject *self = channel_alloc(cls, name);
    if (self != NULL) {
        /* A creator that lives needs a moment at most. */
        WI_CALL(err, result = winipc_channel_open(&self->ch, wide, 1000));
        self = (ChannelObject *)channel_made(self, result, err);
    }
    PyMem_Free(wide);
    return (PyObject *)self;
}

PyDoc_STRVAR(channel_claim_doc, "_claim($self, receive, /)\n--\n\n"
                                "Take the role of receiver or sender now.");

static PyObject *
channel_claim(PyObject *op, PyObject *arg)
{
    ChannelObject *self = (ChannelObject *)op;
    channel_deadline deadline = {WI_FOREVER, 0, 0};
    int receive = PyObject_IsTrue(arg);
    if (receive < 0) {
        return NULL;
    }
    channel_gate *gate = receive ? &self->receiving : &self->sending;
    if (gate_enter(self, gate, &deadline, "Channel") < 0) {
        return NULL;
    }
    int result = winipc_channel_claim(&self->ch, receive);
    DWORD err = GetLastError();
    gate_exit(self, gate);
    if (result != WINIPC_OK) {
        return channel_raise(self, result, err, "Channel");
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ tasks */

/* In a thread of the pool, without the GIL, while a task sleeps: wake it when
 * its peer has died, or died before it could. The task's event is enough. */
static void CALLBACK
gate_look(PTP_CALLBACK_INSTANCE Py_UNUSED(instance), void *arg,
          PTP_TIMER Py_UNUSED(timer))
{
    channel_gate *gate = arg;
    winipc_channel *ch = gate->ch;
    int result = WINIPC_OK;
    if (gate->which == WINIPC_WAKE_DATA) {
        result = winipc_channel_producers(ch, 1);
    }
    else if (gate->which == WINIPC_WAKE_SPACE) {
        result = winipc_channel_consumer(ch, 1);
    }
    else {
        unsigned int slot = WINIPC_LOAD(&ch->ring.shared->lock) & 0xff;
        if (slot != 0 && slot < WINIPC_CHANNEL_MEMBERS) {
            winipc_channel_member(ch, slot, 1);
        }
    }
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN ||
        winipc_channel_ready(ch, gate->which, gate->length)) {
        winipc_os_signal(ch, gate->which);
    }
}

/* What a task at this end has to sleep on, and tell the peers that it does;
 * -1: try again instead. As a sender it may have the producers' lock then. */
static int
park_for(winipc_channel *ch, int receive, uint64_t length)
{
    int result;
    if ((receive ? ch->recv_word : ch->send_word) == 0) {
        return -1; /* the next try takes the role */
    }
    if (receive) {
        result = winipc_channel_producers(ch, 1);
        return result == WINIPC_CLOSED || result == WINIPC_BROKEN ||
                       winipc_ring_want_data(&ch->ring) == WINIPC_OK
                   ? -1
                   : WINIPC_WAKE_DATA;
    }
    if (ch->ring.flags & WINIPC_CHANNEL_MANY) {
        if (!winipc_ring_trylock(&ch->ring) &&
            winipc_ring_want_lock(&ch->ring) != WINIPC_OK) {
            return WINIPC_WAKE_LOCK;
        }
        ch->locked = 1;
        winipc_ring_slept_for_lock(&ch->ring);
        if (winipc_ring_begin(&ch->ring) != WINIPC_OK) {
            return -1;
        }
    }
    result = winipc_channel_consumer(ch, 1);
    return result == WINIPC_CLOSED || result == WINIPC_BROKEN ||
                   winipc_ring_want_space(&ch->ring, length) == WINIPC_OK
               ? -1
               : WINIPC_WAKE_SPACE;
}

/* Take back what park_for told, and open the gate. */
static void
gate_unpark(ChannelObject *self, channel_gate *gate)
{
    if (gate == &self->receiving) {
        winipc_ring_unwant_data(&self->ch.ring);
    }
    else {
        if (gate->which == WINIPC_WAKE_SPACE) {
            winipc_ring_unwant_space(&self->ch.ring);
        }
        else if (gate->which == WINIPC_WAKE_LOCK) {
            /* Others may sleep for it too, and the wake-up was for one. */
            winipc_ring_slept_for_lock(&self->ch.ring);
        }
        winipc_channel_unlock(&self->ch);
    }
    gate->parked = 0;
    gate_exit(self, gate);
}

PyDoc_STRVAR(
    channel_park_doc,
    "_park($self, receive, length, /)\n--\n\n"
    "Before a task sleeps, after a try that timed out: the handle to\n"
    "wait for, or None to try again. _unpark has to follow. Until\n"
    "then the task has this end, and with many producers the turn.");

static PyObject *
channel_park(PyObject *op, PyObject *args)
{
    ChannelObject *self = (ChannelObject *)op;
    Py_ssize_t length;
    int receive;
    if (!PyArg_ParseTuple(args, "pn:_park", &receive, &length) ||
        wi_check_open(self, self->ch.ring.shared) < 0) {
        return NULL;
    }
    channel_gate *gate = receive ? &self->receiving : &self->sending;
    if (gate->timer == NULL) {
        gate->ch = &self->ch;
        gate->timer = CreateThreadpoolTimer(gate_look, gate, NULL);
        if (gate->timer == NULL) {
            return wi_raise(GetLastError(), "CreateThreadpoolTimer",
                            self->name);
        }
    }
    if (gate_queue(self, gate) < 0) {
        return NULL;
    }
    if (!gate_try(gate)) {
        PyObject *idle = PyLong_FromVoidPtr(gate->idle);
        if (idle == NULL) {
            gate_unqueue(self, gate);
        }
        return idle;
    }
    self->pins++;
    gate_unqueue(self, gate);
    gate->length = (uint64_t)length;
    gate->which = park_for(&self->ch, receive, gate->length);
    if (gate->which < 0) {
        gate_unpark(self, gate);
        Py_RETURN_NONE;
    }
    PyObject *handle = PyLong_FromVoidPtr(self->ch.os.events[gate->which]);
    if (handle == NULL) {
        gate_unpark(self, gate);
        return NULL;
    }
    ULARGE_INTEGER due;
    FILETIME first;
    due.QuadPart = (ULONGLONG) - (CHANNEL_LOOK_MS * INT64_C(10000));
    first.dwLowDateTime = due.LowPart;
    first.dwHighDateTime = due.HighPart;
    gate->parked = 1;
    SetThreadpoolTimer(gate->timer, &first, CHANNEL_LOOK_MS, 100);
    return handle;
}

PyDoc_STRVAR(channel_unpark_doc, "_unpark($self, receive, handle, /)\n--\n\n"
                                 "After the sleep on what _park returned.");

static PyObject *
channel_unpark(PyObject *op, PyObject *args)
{
    ChannelObject *self = (ChannelObject *)op;
    HANDLE handle;
    int receive;
    if (!PyArg_ParseTuple(args, "pO&:_unpark", &receive, wi_handle_converter,
                          &handle)) {
        return NULL;
    }
    channel_gate *gate = receive ? &self->receiving : &self->sending;
    if (handle == gate->idle && gate->waiting > 0) {
        gate_unqueue(self, gate);
    }
    else if (handle != gate->idle && gate->parked) {
        Py_BEGIN_ALLOW_THREADS
        SetThreadpoolTimer(gate->timer, NULL, 0, 0);
        WaitForThreadpoolTimerCallbacks(gate->timer, TRUE);
        Py_END_ALLOW_THREADS
        gate_unpark(self, gate);
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------- attributes */

enum { GET_CAPACITY, GET_MAX_RECORD, GET_FLAGS, GET_DROPPED, GET_PENDING };

static PyObject *
channel_get_number(PyObject *op, void *which)
{
    ChannelObject *self = (ChannelObject *)op;
    winipc_ring *ring = &self->ch.ring;
    uint64_t head;
    if (wi_check_open(self, self->ch.ring.shared) < 0) {
        return NULL;
    }
    switch ((int)(intptr_t)which) {
    case GET_CAPACITY:
        return PyLong_FromUnsignedLongLong(ring->capacity);
    case GET_MAX_RECORD:
        return PyLong_FromUnsignedLongLong(ring->max_record);
    case GET_FLAGS:
        return PyLong_FromUnsignedLong(ring->flags);
    case GET_DROPPED:
        return PyLong_FromUnsignedLongLong(
            WINIPC_LOAD_RELAXED(&ring->shared->dropped));
    default:
        head = WINIPC_LOAD(&ring->shared->head) & ~UINT64_C(7);
        return PyLong_FromUnsignedLongLong(WINIPC_LOAD(&ring->shared->tail) -
                                           head);
    }
}

PyDoc_STRVAR(channel_members_doc,
             "_members($self, /)\n--\n\n"
             "Process ids: the receiver (or None), and the list of senders.");

static PyObject *
channel_members(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ChannelObject *self = (ChannelObject *)op;
    uint32_t pids[WINIPC_CHANNEL_MEMBERS];
    if (wi_check_open(self, self->ch.ring.shared) < 0) {
        return NULL;
    }
    /* Copied first: an allocation may run code that closes the channel. */
    for (int slot = 0; slot < WINIPC_CHANNEL_MEMBERS; slot++) {
        winipc_member *member = &self->ch.ring.shared->members[slot];
        uint64_t word = WINIPC_LOAD(&member->word);
        pids[slot] = WINIPC_MEMBER_STATE(word) == WINIPC_MEMBER_ACTIVE
                         ? (uint32_t)WINIPC_LOAD_RELAXED(&member->pid)
                         : 0;
    }
    PyObject *senders = PyList_New(0);
    for (int slot = 1; senders != NULL && slot < WINIPC_CHANNEL_MEMBERS;
         slot++) {
        if (pids[slot] == 0) {
            continue;
        }
        PyObject *pid = PyLong_FromUnsignedLong(pids[slot]);
        if (pid == NULL || PyList_Append(senders, pid) < 0) {
            Py_CLEAR(senders);
        }
        Py_XDECREF(pid);
    }
    if (senders == NULL) {
        return NULL;
    }
    return pids[0] == 0
               ? Py_BuildValue("(ON)", Py_None, senders)
               : Py_BuildValue("(kN)", (unsigned long)pids[0], senders);
}

static PyMethodDef channel_methods[] = {
    {"_create", WI_WORDS(channel_create) | METH_CLASS, NULL},
    {"_open", channel_open, METH_CLASS | METH_VARARGS, NULL},
    {"_claim", channel_claim, METH_O, channel_claim_doc},
    {"_park", channel_park, METH_VARARGS, channel_park_doc},
    {"_unpark", channel_unpark, METH_VARARGS, channel_unpark_doc},
    {"_members", channel_members, METH_NOARGS, channel_members_doc},
    {"send", WI_FAST(channel_send), channel_send_doc},
    {"send_many", WI_FAST(channel_send_many), channel_send_many_doc},
    {"recv", WI_FAST(channel_recv), channel_recv_doc},
    {"recv_into", WI_FAST(channel_recv_into), channel_recv_into_doc},
    {"_recv_many", WI_FAST(channel_recv_many), channel_recv_many_doc},
    {"peek", WI_FAST(channel_peek), channel_peek_doc},
    {"close", channel_close, METH_NOARGS, channel_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef channel_slots_members[] = {
    {"name", T_OBJECT, offsetof(ChannelObject, name), Py_READONLY,
     "The name."},
    {"created", T_BOOL, offsetof(ChannelObject, created), Py_READONLY,
     "Whether this object made the channel."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef channel_getset[] = {
    {"closed", wi_get_closed, NULL, "Whether it is closed.",
     (void *)offsetof(ChannelObject, ch.ring.shared)},
    {"capacity", channel_get_number, NULL, "Bytes of the ring.",
     (void *)GET_CAPACITY},
    {"max_record", channel_get_number, NULL, "Bytes of the largest message.",
     (void *)GET_MAX_RECORD},
    {"_flags", channel_get_number, NULL, NULL, (void *)GET_FLAGS},
    {"dropped", channel_get_number, NULL,
     "How many messages overflow=\"drop_oldest\" has forgotten.",
     (void *)GET_DROPPED},
    {"pending", channel_get_number, NULL,
     "Bytes of the ring in use now, 8 per message included.",
     (void *)GET_PENDING},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(channel_doc, "A ring of messages between processes.");

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)channel_doc},   {Py_tp_new, wi_no_new},
    {Py_tp_methods, channel_methods},   {Py_tp_members, channel_slots_members},
    {Py_tp_getset, channel_getset},     {Py_tp_traverse, wi_traverse},
    {Py_tp_finalize, channel_finalize}, {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "winipc._core.Channel",
    .basicsize = sizeof(ChannelObject),
    .flags = WI_TYPE_FLAGS,
    .slots = channel_slots,
};

int
wi_channel_init(PyObject *module, wi_state *state)
{
    state->EndOfStream = PyErr_NewExceptionWithDoc(
        "winipc.EndOfStream",
        "All senders of a channel have closed it and everything is read.",
        PyExc_EOFError, NULL);
    if (state->EndOfStream == NULL ||
        PyModule_AddObjectRef(module, "EndOfStream", state->EndOfStream) < 0 ||
        wi_add_type(module, &peeked_spec, &state->peeked_type) < 0) {
        return -1;
    }
    return wi_add_type(module, &channel_spec, &state->channel_type);
}

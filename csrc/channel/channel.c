/* channel.c: Channel, a ring of messages between processes.
 *
 *     with Channel.create("prices", 1 << 16) as channel:
 *         for message in channel:           # until all senders have closed
 *             ...
 *     with Channel.open("prices") as channel:            # another process
 *         channel.send(b"EURUSD 1.0712")
 *         channel.send_many([b"...", b"..."], timeout=1)
 *
 * Owner: the object owns a winipc_channel of include/winipc.h: the mapping and
 * its view, three events, and the events that show that this process lives.
 * Thread: any; each direction has a gate, so threads that send take turns, and
 * so do threads that receive. A call in flight pins the object. GIL: kept to
 * copy small messages; given up for large copies and for every wait. */
#include "base/bytes.h"

#include "ring.h"

/* Copying more bytes than this takes longer than giving up the GIL. */
#define CHANNEL_GIL_COPY 32768

/* How often the end of a sleeping task checks whether its peer lives. */
#define CHANNEL_LOOK_MS 500

/* Lets in one thread at a time, or one task that sleeps. The GIL guards it. */
typedef struct {
    char busy;
    char parked; /* by a task, which sleeps */
    Py_ssize_t waiting;
    HANDLE idle; /* auto reset: set when the gate opens and others wait */
    /* While a task sleeps: */
    int which;       /* the event that it sleeps on */
    uint64_t length; /* the room that it needs */
    winipc_channel *ch;
    PTP_TIMER timer;
} channel_gate;

/* The two ends, by the number that include/winipc.h gives them. */
enum { SENDING = 0, RECEIVING = 1 };

typedef struct {
    PyObject_HEAD
    wi_state *state;
    PyObject *name;    /* str */
    winipc_channel ch; /* zeroed when closed */
    channel_gate gates[2];
    Py_ssize_t pins; /* calls in flight */
    char peeked;     /* a PeekedMessage is open */
    char created;
    char doomed; /* finalised while a view of a peeked message lives */
} ChannelObject;

typedef struct {
    WI_BYTES_HEAD               /* the message where it lies */
        ChannelObject *channel; /* NULL once the message is released */
    PyObject *view;             /* the memoryview of the `with` block */
    char taken;                 /* the message counts as received */
} PeekedObject;

/* ----------------------------------------------------------------- errors */

/* An OSError about the member of one end in this state. Its slot keeps its
 * process id until another member takes it. */
static PyObject *
channel_raise_member(ChannelObject *self, int end, uint32_t state,
                     PyObject *cls, DWORD err, const char *what)
{
    winipc_member *members = self->ch.ring.shared->members;
    unsigned int slot = end == RECEIVING ? 0 : 1;
    unsigned int last = end == RECEIVING ? 0 : WINIPC_CHANNEL_MEMBERS - 1;
    while (slot < last &&
           WINIPC_MEMBER_STATE(WINIPC_LOAD(&members[slot].word)) != state) {
        slot++;
    }
    const char *who = end == RECEIVING ? "receiver" : "sender";
    unsigned long pid = (unsigned long)WINIPC_LOAD_RELAXED(&members[slot].pid);
    char text[160];
    if (state == WINIPC_MEMBER_DIED) {
        PyOS_snprintf(text, sizeof(text), "the %s (pid %lu) died", who, pid);
    }
    else {
        const char *format = end == RECEIVING ? "pid %lu is the %s already"
                             : self->ch.ring.flags & WINIPC_CHANNEL_MANY
                                 ? "pid %lu and 62 others are %ss already"
                                 : "pid %lu is the %s already: it takes more "
                                   "only if it was made "
                                   "with producers='many'";
        PyOS_snprintf(text, sizeof(text), format, pid, who);
    }
    return wi_raise_text(cls, err, text, what, self->name);
}

/* `what` is the call that failed: "Channel.send", "Channel.recv" or a Win32
 * one. */
static PyObject *
channel_raise(ChannelObject *self, int result, DWORD err, const char *what)
{
    const winipc_ring *ring = &self->ch.ring;
    int end = strcmp(what, "Channel.recv") == 0 ? RECEIVING : SENDING;
    switch (result) {
    case WINIPC_TIMEOUT:
        return wi_raise_timeout(end == RECEIVING ? "no message came in time"
                                                 : "there was no room in time",
                                what, self->name);
    case WINIPC_CLOSED:
    case WINIPC_EMPTY:
        return PyErr_Format(self->state->EndOfStream,
                            "%R: the sender has closed it", self->name);
    case WINIPC_BROKEN:
        return channel_raise_member(self, end == SENDING, WINIPC_MEMBER_DIED,
                                    PyExc_BrokenPipeError, ERROR_BROKEN_PIPE,
                                    what);
    case WINIPC_CORRUPT:
        return wi_raise_text(PyExc_OSError, ERROR_INVALID_DATA,
                             ring->fault != NULL ? ring->fault : "corrupt",
                             what, self->name);
    case WINIPC_TAKEN:
        return channel_raise_member(self, end, WINIPC_MEMBER_ACTIVE,
                                    PyExc_PermissionError, ERROR_PIPE_BUSY,
                                    what);
    case WINIPC_TOO_LARGE:
        return PyErr_Format(
            PyExc_ValueError,
            "a message of this channel has at most %llu bytes: make it with a "
            "larger capacity, or put the data into a SharedMapping and send "
            "where it is",
            (unsigned long long)ring->max_record);
    default:
        return wi_raise(err, what, self->name);
    }
}

/* For a sender, CLOSED means that the receiver is gone. Always -1. */
static int
channel_raise_send(ChannelObject *self, int result, DWORD err)
{
    if (result == WINIPC_CLOSED) {
        wi_raise_text(PyExc_BrokenPipeError, ERROR_NO_DATA,
                      "the receiver has closed it", "Channel.send",
                      self->name);
    }
    else {
        channel_raise(self, result, err, "Channel.send");
    }
    return -1;
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
    winipc_channel_close(&self->ch);
    gate_clear(&self->gates[SENDING]);
    gate_clear(&self->gates[RECEIVING]);
}

/* ------------------------------------------------------ deadlines, gates */

typedef struct {
    uint64_t timeout_ms;
    uint64_t began; /* 0 until the first wait */
} channel_deadline;

/* How long the next step may wait, in ms; 0 when the time is over. */
static uint32_t
deadline_slice(channel_deadline *deadline)
{
    if (deadline->began == 0) {
        deadline->began = winipc_os_ms();
    }
    return winipc_channel_slice(deadline->timeout_ms, deadline->began);
}

/* Begin to wait for the gate, and pin the channel. gate_unqueue must follow. */
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
    gate->waiting++;
    self->pins++;
    return 0;
}

static void
channel_unpin(ChannelObject *self)
{
    self->pins--;
    if (self->doomed && self->pins == 0) {
        channel_release(self); /* the finaliser does not run again */
        Py_CLEAR(self->name);
    }
}

static void
gate_unqueue(ChannelObject *self, channel_gate *gate)
{
    if (--gate->waiting != 0 && !gate->busy) {
        SetEvent(gate->idle); /* the last signal may have been for another */
    }
    channel_unpin(self);
}

static void
gate_exit(ChannelObject *self, channel_gate *gate)
{
    gate->busy = 0;
    if (gate->waiting != 0) {
        SetEvent(gate->idle);
    }
    channel_unpin(self);
}

/* Enter the gate, and pin the channel, so that it stays open. gate_exit has to
 * follow. */
static int
gate_enter(ChannelObject *self, int end, channel_deadline *deadline,
           const char *what)
{
    channel_gate *gate = &self->gates[end];
    int queued = 0, failed = -1;
    while (wi_check_open(self, self->ch.ring.shared) == 0) {
        if (end == RECEIVING && self->peeked) {
            PyErr_SetString(PyExc_BufferError,
                            "a peeked message of this channel is still open");
            break;
        }
        if (!gate->busy) {
            gate->busy = 1;
            self->pins++;
            failed = 0;
            break;
        }
        uint32_t slice = deadline_slice(deadline);
        if (slice == 0) {
            wi_raise_timeout("another thread used it all that time", what,
                             self->name);
            break;
        }
        if (!queued && gate_queue(self, gate) < 0) {
            break;
        }
        queued = 1;
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

/* Enter the gate of one end, and take its role. */
static int
channel_enter(ChannelObject *self, int end, channel_deadline *deadline)
{
    const char *what = end == SENDING ? "Channel.send" : "Channel.recv";
    if (gate_enter(self, end, deadline, what) < 0) {
        return -1;
    }
    int claimed = (end ? self->ch.recv_word : self->ch.send_word) != 0;
    int result = claimed ? WINIPC_OK : winipc_channel_claim(&self->ch, end);
    if (result != WINIPC_OK) {
        channel_raise(self, result, GetLastError(), what);
        gate_exit(self, &self->gates[end]);
        return -1;
    }
    return 0;
}

/* -------------------------------------------------------------- arguments */

/* f([object,] timeout=default): the object, NULL if it is left out, and the
 * deadline. */
static int
channel_arguments(const char *const *names, PyObject *const *args,
                  Py_ssize_t count, PyObject *kwnames, PyObject **object,
                  channel_deadline *deadline)
{
    /* names[0] is the function, and the object the first of two. */
    PyObject *values[2] = {count > 0 ? args[0] : NULL, NULL};
    Py_ssize_t fixed = object != NULL;
    if ((kwnames != NULL || count != fixed) &&
        wi_fast_args(names[0], names + 1, fixed, args, count, kwnames,
                     values) < 0) {
        return -1;
    }
    if (fixed) {
        *object = values[0];
    }
    PyObject *timeout = values[fixed];
    return timeout == NULL ||
                   wi_timeout_converter(timeout, &deadline->timeout_ms)
               ? 0
               : -1;
}

/* Copy, without the GIL if it is much. */
static void
channel_copy(void *to, const void *from, size_t length)
{
    if (length < CHANNEL_GIL_COPY) {
        WINIPC_COPY(to, from, length);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    WINIPC_COPY(to, from, length);
    Py_END_ALLOW_THREADS
}

/* ------------------------------------------------------------------- send */

/* One step of a sender's wait, without the GIL. WINIPC_OK, or -1 with an
 * exception. */
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
    return channel_raise_send(self, result, err);
}

/* With MANY, take the producers' lock. */
static int
send_lock(ChannelObject *self, channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    if (!winipc_ring_trylock(&ch->ring)) {
        int result;
        do {
            result = send_wait(self, 1, 0, deadline);
        } while (result == WINIPC_FULL);
        return result < 0 ? -1 : 0;
    }
    ch->locked = 1;
    return winipc_ring_begin(&ch->ring) == WINIPC_OK
               ? 0
               : channel_raise_send(self, WINIPC_CORRUPT, 0);
}

/* Prepare to write records, the first of `length` bytes: take the role, and
 * with MANY the lock. A message that never fits takes no role. */
static int
send_enter(ChannelObject *self, uint64_t length, channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    if (ch->ring.shared != NULL && length > ch->ring.max_record) {
        channel_raise_send(self, WINIPC_TOO_LARGE, 0);
        return -1;
    }
    if (channel_enter(self, SENDING, deadline) < 0) {
        return -1;
    }
    /* Even when there is room, so that a dead receiver is noticed. EMPTY:
     * there was no receiver yet. */
    int result = winipc_channel_consumer(ch, winipc_channel_may_look(ch, 0));
    if (result != WINIPC_OK && result != WINIPC_EMPTY) {
        channel_raise_send(self, result, GetLastError());
    }
    else if (!(ch->ring.flags & WINIPC_CHANNEL_MANY) ||
             send_lock(self, deadline) == 0) {
        return 0;
    }
    winipc_channel_unlock(ch);
    gate_exit(self, &self->gates[SENDING]);
    return -1;
}

static void
send_leave(ChannelObject *self)
{
    winipc_channel_publish(&self->ch);
    winipc_channel_unlock(&self->ch);
    gate_exit(self, &self->gates[SENDING]);
}

/* Write one message. Without room, and with DROP_OLDEST, all messages so far
 * are published; else the caller publishes them. */
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
        return channel_raise_send(self, result, 0);
    }
    channel_copy(payload, data, (size_t)length);
    winipc_ring_commit(&ch->ring, length);
    if (ch->ring.flags & WINIPC_CHANNEL_DROP_OLDEST) {
        winipc_channel_publish(ch);
    }
    return 0;
}

PyDoc_STRVAR(channel_send_doc,
             "send($self, data, /, timeout=None)\n--\n\n"
             "Send one message: anything with the buffer protocol.\n\n"
             "::\n\n"
             "    channel.send(b\"EURUSD 1.0712\")\n"
             "    print(channel.recv())  # b'EURUSD 1.0712'\n\n"
             "Waits at most timeout seconds for room (None: forever; with\n"
             "overflow=\"refuse\" the default is not to wait).\n\n"
             "Raises:\n"
             "    TimeoutError: There was no room.\n"
             "    BrokenPipeError: The receiver has closed or died.\n"
             "    PermissionError: Another process is the sender.\n"
             "    ValueError: The message has more than max_record bytes,\n"
             "        or the channel is closed.\n\n"
             "Win32: SetEvent, WaitForSingleObject");

/* Send one message in its own turn at the gate. */
static PyObject *
send_one(ChannelObject *self, const char *data, Py_ssize_t length,
         channel_deadline *deadline)
{
    if (send_enter(self, (uint64_t)length, deadline) < 0) {
        return NULL;
    }
    int failed = send_message(self, data, (uint64_t)length, deadline);
    send_leave(self);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *
channel_send(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    static const char *const names[] = {"send", "data", "timeout", NULL};
    ChannelObject *self = (ChannelObject *)op;
    PyObject *data;
    wi_source source;
    int waits = !(self->ch.ring.flags & WINIPC_CHANNEL_REFUSE);
    channel_deadline deadline = {waits ? WI_FOREVER : 0, 0};
    if (channel_arguments(names, args, count, kwnames, &data, &deadline) < 0) {
        return NULL;
    }
    if (PyBytes_CheckExact(data)) {
        return send_one(self, PyBytes_AsString(data), PyBytes_Size(data),
                        &deadline);
    }
    if (wi_source_take(&source, data, WI_COPY_OF_FILE) < 0) {
        return NULL;
    }
    PyObject *answer = send_one(self, source.bytes, source.size, &deadline);
    wi_source_release(&source);
    return answer;
}

PyDoc_STRVAR(channel_send_many_doc,
             "send_many($self, messages, /, timeout=None)\n--\n\n"
             "Send each message of an iterable; return their number.\n\n"
             "Faster than send: the receiver sees them in batches. timeout\n"
             "is for all of them together. Ctrl+C ends the call, and other\n"
             "threads may send in between. The errors are those of send;\n"
             "the messages before the one that failed are sent.\n\n"
             "Win32: SetEvent, WaitForSingleObject");

/* After how many bytes a batch is published. */
#define CHANNEL_BATCH 8192

/* Take the buffers of the items that are no bytes objects. It runs Python
 * code, so the caller has not entered the gate. Returns how many items can be
 * sent; if not all, the exception of the next one is set. */
static Py_ssize_t
send_sources(PyObject *items, Py_ssize_t count, wi_source **sources,
             Py_ssize_t *taken)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *item = PyTuple_GetItem(items, at);
        if (PyBytes_CheckExact(item)) {
            continue;
        }
        if (*sources == NULL) {
            *sources = PyMem_Calloc((size_t)(count - at), sizeof(wi_source));
            if (*sources == NULL) {
                PyErr_NoMemory();
                return at;
            }
        }
        if (wi_source_take(&(*sources)[*taken], item, WI_COPY_OF_FILE) < 0) {
            return at;
        }
        (*taken)++;
    }
    return count;
}

/* Between the batches of a long call: let other threads run, and check signals
 * and the time. A call that may not wait goes on while there is room. */
static int
send_breathe(ChannelObject *self, channel_deadline *deadline)
{
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (deadline->timeout_ms != 0 && deadline_slice(deadline) == 0) {
        wi_raise_timeout("there was no time for all messages",
                         "Channel.send_many", self->name);
        return -1;
    }
    return 0;
}

/* Send the first `count` items. The caller has entered the gate. */
static int
send_items(ChannelObject *self, PyObject *items, Py_ssize_t count,
           const wi_source *source, channel_deadline *deadline)
{
    winipc_ring *ring = &self->ch.ring;
    uint64_t published = ring->tail;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *item = PyTuple_GetItem(items, at);
        int bytes = PyBytes_CheckExact(item);
        const char *data = bytes ? PyBytes_AsString(item) : source->bytes;
        Py_ssize_t length = bytes ? PyBytes_Size(item) : source->size;
        source += !bytes;
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
    static const char *const names[] = {"send_many", "messages", "timeout",
                                        NULL};
    ChannelObject *self = (ChannelObject *)op;
    PyObject *messages, *type, *value, *traceback;
    wi_source *sources = NULL;
    Py_ssize_t taken = 0;
    int waits = !(self->ch.ring.flags & WINIPC_CHANNEL_REFUSE);
    channel_deadline deadline = {waits ? WI_FOREVER : 0, 0};
    if (channel_arguments(names, args, count, kwnames, &messages, &deadline) <
        0) {
        return NULL;
    }
    if (PyBytes_Check(messages) || PyByteArray_Check(messages) ||
        PyMemoryView_Check(messages) || PyUnicode_Check(messages)) {
        PyErr_SetString(PyExc_TypeError, "send_many takes an iterable of "
                                         "messages; send takes one message");
        return NULL;
    }
    /* A tuple of our own, which does not change while we send. */
    PyObject *items = PySequence_Tuple(messages);
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t total =
        send_sources(items, PyTuple_Size(items), &sources, &taken);
    PyErr_Fetch(&type, &value, &traceback); /* of the first item that is bad */
    Py_ssize_t first = 0;
    if (total > 0) {
        PyObject *item = PyTuple_GetItem(items, 0);
        first = PyBytes_CheckExact(item) ? PyBytes_Size(item) : sources->size;
    }
    if ((total > 0 || type == NULL) &&
        send_enter(self, (uint64_t)first, &deadline) == 0) {
        send_items(self, items, total, sources, &deadline);
        send_leave(self);
    }
    if (PyErr_Occurred()) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    else {
        PyErr_Restore(type, value, traceback);
    }
    while (taken > 0) {
        wi_source_release(&sources[--taken]);
    }
    PyMem_Free(sources);
    Py_DECREF(items);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(total);
}

/* ---------------------------------------------------------------- receive */

static void
recv_leave(ChannelObject *self)
{
    winipc_channel_release(&self->ch);
    gate_exit(self, &self->gates[RECEIVING]);
}

/* Enter the gate and wait for the oldest record. After 0, recv_leave has to
 * follow. */
static int
recv_enter(ChannelObject *self, const void **payload, uint32_t *length,
           channel_deadline *deadline)
{
    winipc_channel *ch = &self->ch;
    DWORD err = 0;
    if (channel_enter(self, RECEIVING, deadline) < 0) {
        return -1;
    }
    int result = winipc_ring_front(&ch->ring, payload, length);
    /* The peer may answer at once, and giving up the GIL takes longer than
     * this look. */
    if (result == WINIPC_EMPTY && deadline->timeout_ms != 0 &&
        !ch->os.one_cpu && winipc_channel_look(ch, WINIPC_WAKE_DATA, 0)) {
        result = winipc_ring_front(&ch->ring, payload, length);
    }
    int waits = result == WINIPC_EMPTY;
    while (waits) {
        uint32_t slice = deadline_slice(deadline);
        WI_CALL(err, result = winipc_channel_peek(ch, payload, length, slice));
        waits = result == WINIPC_TIMEOUT && slice != 0;
        if (PyErr_CheckSignals() < 0) {
            recv_leave(self);
            return -1;
        }
    }
    if (result != WINIPC_OK) {
        channel_raise(self, result, err, "Channel.recv");
        recv_leave(self);
        return -1;
    }
    return 0;
}

/* A copy of the message as bytes. */
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

PyDoc_STRVAR(channel_recv_doc,
             "recv($self, /, timeout=None, layout=None)\n--\n\n"
             "Receive the oldest message as bytes, or as what a layout makes\n"
             "of it: a winipc.Layout gives a record.\n\n"
             "::\n\n"
             "    channel.send(bytes.fromhex(\"0000C03F03000000\"))\n"
             "    car = channel.recv(layout=\"speed:f32 gear:i32\")\n"
             "    print(car.speed, car.gear)  # 1.5 3\n\n"
             "Waits at most timeout seconds (None: forever). A message that\n"
             "does not fit the layout stays: recv without a layout takes it.\n"
             "\n"
             "Raises:\n"
             "    TimeoutError: No message came in time.\n"
             "    EndOfStream: All senders have closed, and everything is\n"
             "        read.\n"
             "    BrokenPipeError: A sender died instead (winerror 109,\n"
             "        ERROR_BROKEN_PIPE).\n"
             "    PermissionError: Another process is the receiver.\n"
             "    OSError: The shared memory is corrupt (winerror 13,\n"
             "        ERROR_INVALID_DATA).\n"
             "    ValueError: The channel is closed, or the message does\n"
             "        not fit the layout.\n"
             "    struct.error: The message does not fit the format of\n"
             "        struct.\n\n"
             "Win32: WaitForSingleObject, SetEvent");

static PyObject *
channel_recv(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    static const char *const names[] = {"timeout", "layout", NULL};
    ChannelObject *self = (ChannelObject *)op;
    const void *payload;
    uint32_t length;
    channel_deadline deadline = {WI_FOREVER, 0};
    PyObject *values[2] = {NULL, NULL};
    PyObject *codec = NULL;
    if ((count != 0 || kwnames != NULL) &&
        wi_fast_args("recv", names, 0, args, count, kwnames, values) < 0) {
        return NULL;
    }
    if (values[0] != NULL &&
        !wi_timeout_converter(values[0], &deadline.timeout_ms)) {
        return NULL;
    }
    if (values[1] != NULL && values[1] != Py_None) {
        codec = PyObject_CallMethod(op, "_codec", "(O)", values[1]);
        if (codec == NULL) {
            return NULL;
        }
    }
    PyObject *message = NULL;
    if (recv_enter(self, &payload, &length, &deadline) == 0) {
        message = recv_copied(payload, length);
        if (message != NULL && codec != NULL) {
            PyObject *record =
                PyObject_CallMethod(codec, "unpack", "O", message);
            Py_DECREF(message);
            message = record;
        }
        if (message != NULL) {
            winipc_ring_pop(&self->ch.ring);
        }
        recv_leave(self);
    }
    Py_XDECREF(codec);
    return message;
}

PyDoc_STRVAR(channel_recv_into_doc,
             "recv_into($self, buffer, /, timeout=None)\n--\n\n"
             "Receive the oldest message into a writable buffer; return its\n"
             "length in bytes.\n\n"
             "Raises:\n"
             "    ValueError: The message is larger than the buffer; it\n"
             "        stays.\n\n"
             "The other errors are those of recv.\n\n"
             "Win32: WaitForSingleObject, SetEvent");

static PyObject *
channel_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *kwnames)
{
    static const char *const names[] = {"recv_into", "buffer", "timeout",
                                        NULL};
    ChannelObject *self = (ChannelObject *)op;
    PyObject *buffer, *answer = NULL;
    Py_buffer view;
    const void *payload;
    uint32_t length;
    channel_deadline deadline = {WI_FOREVER, 0};
    if (channel_arguments(names, args, count, kwnames, &buffer, &deadline) <
            0 ||
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    PyObject *file = wi_bytes_guarded_source(buffer);
    if (recv_enter(self, &payload, &length, &deadline) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    if (length > (size_t)view.len) {
        PyErr_Format(PyExc_ValueError,
                     "a message of %u bytes does not fit in a buffer of "
                     "%zd bytes",
                     (unsigned int)length, view.len);
    }
    else if (file != NULL) {
        wi_bytes_copy(file, view.buf, payload, (Py_ssize_t)length);
    }
    else {
        channel_copy(view.buf, payload, length);
    }
    if (!PyErr_Occurred()) {
        winipc_ring_pop(&self->ch.ring);
        answer = PyLong_FromUnsignedLong(length);
    }
    recv_leave(self);
    PyBuffer_Release(&view);
    return answer;
}

/* Take the messages that are there, at most `limit`, into an empty list. If
 * some were taken before an error, they are returned, and the next call raises
 * it. */
static void
recv_all(ChannelObject *self, PyObject *list, Py_ssize_t limit)
{
    winipc_ring *ring = &self->ch.ring;
    uint64_t began = ring->head, released = began;
    const void *payload;
    uint32_t length;
    while (limit-- > 0 &&
           winipc_ring_front(ring, &payload, &length) == WINIPC_OK) {
        PyObject *message = recv_copied(payload, length);
        if (message == NULL || PyList_Append(list, message) < 0) {
            Py_XDECREF(message);
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
                break; /* no more can have been there when it began */
            }
        }
    }
    if (PyList_Size(list) > 0) {
        PyErr_Clear();
    }
}

static PyObject *
channel_recv_many(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *kwnames)
{
    static const char *const names[] = {"recv_many", "limit", "timeout", NULL};
    ChannelObject *self = (ChannelObject *)op;
    PyObject *object;
    const void *payload;
    uint32_t length;
    channel_deadline deadline = {WI_FOREVER, 0};
    if (channel_arguments(names, args, count, kwnames, &object, &deadline) <
        0) {
        return NULL;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (limit == -1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL || recv_enter(self, &payload, &length, &deadline) < 0) {
        Py_XDECREF(list);
        return NULL;
    }
    recv_all(self, list, limit);
    recv_leave(self);
    if (PyErr_Occurred()) {
        Py_CLEAR(list);
    }
    return list;
}

/* ------------------------------------------------------------------- peek */

/* Consume the message, or leave it in the channel, and open the gate. */
static int
peeked_release(PyObject *op)
{
    PeekedObject *self = (PeekedObject *)op;
    ChannelObject *channel = self->channel;
    if (channel == NULL) {
        return 0;
    }
    self->channel = NULL;
    if (self->taken) {
        winipc_ring_pop(&channel->ch.ring);
    }
    channel->peeked = 0;
    recv_leave(channel);
    Py_DECREF((PyObject *)channel);
    return 0;
}

PyDoc_STRVAR(
    channel_peek_doc,
    "peek($self, /, timeout=None)\n--\n\n"
    "The oldest message, in place: `with channel.peek() as view`.\n\n"
    "view is a read-only memoryview of shared memory, with no copy. At the\n"
    "end of the block the message counts as received; after an exception\n"
    "it is still there. Its room is free again when the last view of it is\n"
    "gone. The errors are those of recv.\n\n"
    "Win32: WaitForSingleObject, SetEvent");

static PyObject *
channel_peek(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *kwnames)
{
    static const char *const names[] = {"peek", "timeout", NULL};
    ChannelObject *self = (ChannelObject *)op;
    const void *payload;
    uint32_t length;
    channel_deadline deadline = {WI_FOREVER, 0};
    if (channel_arguments(names, args, count, kwnames, NULL, &deadline) < 0) {
        return NULL;
    }
    PeekedObject *peeked = wi_alloc(self->state->peeked_type);
    if (peeked == NULL) {
        return NULL;
    }
    peeked->bytes.release = peeked_release;
    if (recv_enter(self, &payload, &length, &deadline) < 0) {
        Py_DECREF((PyObject *)peeked);
        return NULL;
    }
    peeked->bytes.base = (char *)payload;
    peeked->bytes.size = (Py_ssize_t)length;
    peeked->bytes.readonly = 1;
    peeked->channel = (ChannelObject *)Py_NewRef(op);
    self->peeked = 1;
    return (PyObject *)peeked; /* peeked_release opens the gate */
}

static PyObject *
peeked_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PeekedObject *self = (PeekedObject *)op;
    if (self->view == NULL) {
        self->view = PyMemoryView_FromObject(op);
    }
    return Py_XNewRef(self->view);
}

/* A view that is still in use keeps the message until it is released. */
static PyObject *
peeked_exit(PyObject *op, PyObject *args)
{
    PeekedObject *self = (PeekedObject *)op;
    PyObject *view = self->view;
    self->view = NULL;
    self->taken =
        PyTuple_Size(args) == 0 || PyTuple_GetItem(args, 0) == Py_None;
    self->bytes.closed = 1;
    if (view != NULL) {
        PyObject *done = PyObject_CallMethod(view, "release", NULL);
        if (done == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(done);
        Py_DECREF(view);
    }
    if (self->bytes.pins == 0) {
        peeked_release(op);
    }
    Py_RETURN_NONE;
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

/* It drops its view at once: a warning about the channel may keep the others
 * alive. */
static void
peeked_finalize(PyObject *op)
{
    PeekedObject *self = (PeekedObject *)op;
    WI_KEEP_ERROR
    self->bytes.finalised = 1;
    Py_CLEAR(self->view);
    if (self->bytes.pins == 0) {
        peeked_release(op);
    }
    WI_END_KEEP_ERROR
}

PyDoc_STRVAR(peeked_doc, "A message that is still in its channel.");

static PyMethodDef peeked_methods[] = {
    {"__enter__", peeked_enter, METH_NOARGS, NULL},
    {"__exit__", peeked_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot peeked_slots[] = {
    {Py_tp_doc, (void *)peeked_doc},   {Py_tp_new, wi_no_new},
    {Py_tp_methods, peeked_methods},   {Py_tp_traverse, peeked_traverse},
    {Py_tp_finalize, peeked_finalize}, {0, NULL},
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
        self->doomed = 1; /* it is in a garbage cycle with a view */
    }
    else {
        channel_release(self);
        Py_CLEAR(self->name);
    }
    WI_END_KEEP_ERROR
}

PyDoc_STRVAR(channel_close_doc,
             "close($self, /)\n--\n\n"
             "Leave the channel; twice is harmless.\n\n"
             "The peer receives what was sent before, then the end.\n\n"
             "Raises:\n"
             "    BufferError: A call of another thread or a task is in\n"
             "        flight, or a peeked message is open.\n\n"
             "Win32: UnmapViewOfFile, CloseHandle");

static PyObject *
channel_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    ChannelObject *self = (ChannelObject *)op;
    if (self->pins > 0) {
        PyErr_SetString(PyExc_BufferError,
                        "another thread, a task or a peeked message is using "
                        "this channel");
        return NULL;
    }
    channel_release(self);
    Py_RETURN_NONE;
}

/* ----------------------------------------------------------- construction */

/* Raise the error of a channel that could not be made or opened. */
static void
channel_raise_made(ChannelObject *self, uint64_t capacity, int result,
                   DWORD err)
{
    const winipc_os *os = &self->ch.os;
    if (result == WINIPC_TOO_LARGE) {
        uint64_t valid = WINIPC_CHANNEL_MIN_CAPACITY;
        while (valid < capacity && valid < WINIPC_CHANNEL_MAX_CAPACITY) {
            valid *= 2;
        }
        PyErr_Format(PyExc_ValueError,
                     valid == capacity ? "%s" : "%s, such as %llu",
                     self->ch.ring.fault, (unsigned long long)valid);
    }
    else if (result == WINIPC_FAILED) {
        PyObject *suffix = PyUnicode_FromWideChar(os->suffix, -1);
        if (suffix != NULL) {
            wi_raise_format(err, os->call, "%U%U", self->name, suffix);
            Py_DECREF(suffix);
        }
    }
    else if (result == WINIPC_TIMEOUT) {
        wi_raise_text(PyExc_OSError, ERROR_INVALID_DATA,
                      "not a channel, or its creator died before it was ready",
                      os->call, self->name);
    }
    else {
        channel_raise(self, result, err, os->call);
    }
}

/* Open a channel if only its name is given, else create it. */
static PyObject *
channel_make(PyObject *cls, PyObject *args)
{
    PyObject *name, *size = NULL, *record = NULL, *spec = Py_None;
    uint64_t capacity = 0, max_record = 0;
    DWORD flags = 0, err;
    wi_security security;
    int result, create = PyTuple_Size(args) > 1;
    if (!PyArg_ParseTuple(args, "O|OOO&O:_make", &name, &size, &record,
                          wi_u32_converter, &flags, &spec)) {
        return NULL;
    }
    if (wi_check_str("name", name) < 0 ||
        wi_int_arg("capacity", size, wi_u64_converter, &capacity) < 0 ||
        wi_int_arg("max_record", record, wi_u64_converter, &max_record) < 0) {
        return NULL;
    }
    if (wi_security_init(&security, spec) < 0) {
        return NULL;
    }
    wchar_t *wide = PyUnicode_AsWideCharString(name, NULL);
    ChannelObject *self = wide == NULL ? NULL : wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        goto done;
    }
    self->state = wi_state_of((PyTypeObject *)cls);
    self->name = Py_NewRef(name);
    self->created = (char)create;
    if (create) {
        WI_CALL(err, result = winipc_channel_create(
                         &self->ch, wide, capacity, max_record, flags,
                         wi_security_attributes(&security)));
    }
    else {
        /* A creator that lives needs a moment at most. */
        WI_CALL(err, result = winipc_channel_open(&self->ch, wide, 1000));
    }
    if (result != WINIPC_OK) {
        channel_raise_made(self, capacity, result, err);
        Py_DECREF((PyObject *)self);
        self = NULL;
    }
done:
    wi_security_clear(&security);
    PyMem_Free(wide);
    return (PyObject *)self;
}

static PyObject *
channel_claim(PyObject *op, PyObject *arg)
{
    ChannelObject *self = (ChannelObject *)op;
    channel_deadline deadline = {WI_FOREVER, 0};
    int receive = PyObject_IsTrue(arg);
    if (receive < 0 || channel_enter(self, receive, &deadline) < 0) {
        return NULL;
    }
    gate_exit(self, &self->gates[receive]);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------ tasks */

/* A thread of the pool calls it regularly, without the GIL, while a task
 * sleeps. It wakes the task if the peer has died, perhaps before it could wake
 * the task itself. It also wakes the task if others wait for its turn: if the
 * task's loop is closed, the turn is given back. */
static void CALLBACK
gate_look(PTP_CALLBACK_INSTANCE Py_UNUSED(instance), void *arg,
          PTP_TIMER Py_UNUSED(timer))
{
    channel_gate *gate = arg;
    winipc_channel *ch = gate->ch;
    int result = WINIPC_OK, wanted = 0;
    if (gate->which == WINIPC_WAKE_DATA) {
        result = winipc_channel_producers(ch, 1);
    }
    else if (gate->which == WINIPC_WAKE_SPACE) {
        result = winipc_channel_consumer(ch, 1);
        wanted = WINIPC_LOAD(&ch->ring.shared->lock_wanted) != 0;
    }
    else {
        unsigned int slot = WINIPC_LOAD(&ch->ring.shared->lock) & 0xff;
        if (slot != 0 && slot < WINIPC_CHANNEL_MEMBERS) {
            winipc_channel_member(ch, slot, 1);
        }
    }
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN || wanted ||
        winipc_channel_ready(ch, gate->which, gate->length)) {
        winipc_os_signal(ch, gate->which);
    }
}

/* Choose the event that a task at this end has to sleep on, and tell the peers
 * that it sleeps. -1: try again instead. After this a sender may have the
 * producers' lock. */
static int
park_for(winipc_channel *ch, int receive, uint64_t length)
{
    if ((receive ? ch->recv_word : ch->send_word) == 0) {
        return -1; /* the next try takes the role */
    }
    if (!receive && (ch->ring.flags & WINIPC_CHANNEL_MANY)) {
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
    int result = receive ? winipc_channel_producers(ch, 1)
                         : winipc_channel_consumer(ch, 1);
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
        return -1;
    }
    result = receive ? winipc_ring_want_data(&ch->ring)
                     : winipc_ring_want_space(&ch->ring, length);
    return result == WINIPC_OK ? -1
           : receive           ? WINIPC_WAKE_DATA
                               : WINIPC_WAKE_SPACE;
}

/* Undo park_for, and open the gate. */
static void
gate_unpark(ChannelObject *self, channel_gate *gate)
{
    if (gate == &self->gates[RECEIVING]) {
        winipc_ring_unwant_data(&self->ch.ring);
    }
    else {
        if (gate->which == WINIPC_WAKE_SPACE) {
            winipc_ring_unwant_space(&self->ch.ring);
        }
        else if (gate->which == WINIPC_WAKE_LOCK) {
            /* Others may sleep for it too, and the signal woke only one. */
            winipc_ring_slept_for_lock(&self->ch.ring);
        }
        winipc_channel_unlock(&self->ch);
    }
    gate->parked = 0;
    gate_exit(self, gate);
}

/* The task does not sleep, or sleeps no longer. */
static void
gate_wake(ChannelObject *self, channel_gate *gate, HANDLE handle)
{
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
}

/* The handle that the task has to wait for: the gate's, or an event's, and
 * then the task is in the gate. NULL: try again, or with an exception. */
static HANDLE
gate_park(ChannelObject *self, channel_gate *gate, int receive,
          Py_ssize_t length)
{
    if (gate->timer == NULL) {
        gate->ch = &self->ch;
        gate->timer = CreateThreadpoolTimer(gate_look, gate, NULL);
        if (gate->timer == NULL) {
            return wi_raise(GetLastError(), "CreateThreadpoolTimer",
                            self->name);
        }
    }
    if (gate->busy) {
        return gate_queue(self, gate) < 0 ? NULL : gate->idle;
    }
    gate->busy = 1;
    self->pins++;
    gate->length = (uint64_t)length;
    gate->which = park_for(&self->ch, receive, gate->length);
    if (gate->which < 0) {
        gate_unpark(self, gate);
        return NULL;
    }
    ULARGE_INTEGER due;
    due.QuadPart = (ULONGLONG) - (CHANNEL_LOOK_MS * INT64_C(10000));
    FILETIME first = {due.LowPart, due.HighPart};
    gate->parked = 1;
    SetThreadpoolTimer(gate->timer, &first, CHANNEL_LOOK_MS, 100);
    return self->ch.os.events[gate->which];
}

/* For a task whose try has timed out: the handle to wait for, or None to try
 * again. Until _unpark the task has this end, and with MANY it may have the
 * producers' lock. */
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
    channel_gate *gate = &self->gates[receive];
    HANDLE handle = gate_park(self, gate, receive, length);
    if (handle == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    PyObject *number = PyLong_FromVoidPtr(handle);
    if (number == NULL) {
        gate_wake(self, gate, handle);
    }
    return number;
}

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
    gate_wake(self, &self->gates[receive], handle);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------- attributes */

enum { GET_CAPACITY, GET_MAX_RECORD, GET_FLAGS, GET_DROPPED, GET_PENDING };

static PyObject *
channel_get_number(PyObject *op, void *which)
{
    ChannelObject *self = (ChannelObject *)op;
    const winipc_ring *ring = &self->ch.ring;
    if (wi_check_open(self, self->ch.ring.shared) < 0) {
        return NULL;
    }
    uint64_t head = WINIPC_LOAD(&ring->shared->head) & ~UINT64_C(7);
    uint64_t numbers[] = {
        [GET_CAPACITY] = ring->capacity,
        [GET_MAX_RECORD] = ring->max_record,
        [GET_FLAGS] = ring->flags,
        [GET_DROPPED] = WINIPC_LOAD_RELAXED(&ring->shared->dropped),
        [GET_PENDING] = WINIPC_LOAD(&ring->shared->tail) - head,
    };
    return PyLong_FromUnsignedLongLong(numbers[(intptr_t)which]);
}

/* The ids of the member processes as uint32_t, the receiver's first; 0 for an
 * unused slot. */
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
    return PyBytes_FromStringAndSize((const char *)pids, sizeof(pids));
}

static PyMethodDef channel_methods[] = {
    {"_make", channel_make, METH_CLASS | METH_VARARGS,
     "_make($cls, name, capacity, max_record, flags, security, /)"},
    {"_claim", channel_claim, METH_O, "_claim($self, receive, /)"},
    {"_park", channel_park, METH_VARARGS, "_park($self, receive, length, /)"},
    {"_unpark", channel_unpark, METH_VARARGS,
     "_unpark($self, receive, handle, /)"},
    {"_members", channel_members, METH_NOARGS, "_members($self, /)"},
    {"send", WI_FAST(channel_send), channel_send_doc},
    {"send_many", WI_FAST(channel_send_many), channel_send_many_doc},
    {"recv", WI_FAST(channel_recv), channel_recv_doc},
    {"recv_into", WI_FAST(channel_recv_into), channel_recv_into_doc},
    {"_recv_many", WI_FAST(channel_recv_many),
     "_recv_many($self, limit, /, timeout=None)"},
    {"peek", WI_FAST(channel_peek), channel_peek_doc},
    {"close", channel_close, METH_NOARGS, channel_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef channel_slots_members[] = {
    {"name", T_OBJECT, offsetof(ChannelObject, name), Py_READONLY,
     "The name."},
    {"created", T_BOOL, offsetof(ChannelObject, created), Py_READONLY,
     "True if this object made the channel."},
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
     "How many bytes of the ring are in use, with 8 per message.",
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
        wi_add_subtype(module, &peeked_spec, state->bytes_type,
                       &state->peeked_type) < 0) {
        return -1;
    }
    return wi_add_type(module, &channel_spec, NULL);
}

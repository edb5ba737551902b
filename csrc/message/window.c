/* window.c: CopyDataWindow, a window on a native thread of its own.
 *
 *     window = CopyDataWindow.create("my title")
 *     message = window.receive(timeout=5)
 *     memoryview(message), message.id, message.sender
 *
 *     with CopyDataWindow.create("my title", handler=print):
 *         ...                        # print runs while the sender waits
 *
 * Owner: a WindowObject owns one reference to its wi_pump (pump.h); the pump's
 * thread owns the window. Thread: any. GIL: given up to wait. A handler may
 * close its own window, which is destroyed when the handler has returned. The
 * thread ends on close(), by the finaliser or by the exit hook of
 * winipc.message; each of these waits for it. */
#include "base/handles.h"
#include "message.h"
#include "pump.h"

/* How long a finaliser waits for the thread. */
#define FINALIZE_WAIT_MS 2000

typedef struct {
    PyObject_HEAD
    wi_pump *pump;              /* NULL until created */
    PyObject *dispatch;         /* callable(message) */
    PyTypeObject *message_type; /* what receive() returns */
    PyObject *title, *class_name;
    char doomed; /* finalised while a task waits: _end_wait() releases it */
} WindowObject;

/* ------------------------------------------------------- create and close */

/* A copy on the heap of the process, where the pump's thread may free it. */
static int
window_copy(void *out, const void *data, Py_ssize_t size)
{
    void *copy = HeapAlloc(GetProcessHeap(), 0, (size_t)size);
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(copy, data, (size_t)size);
    *(void **)out = copy;
    return 0;
}

/* Make a table from (handle_all, queue_rest, number of ids, ids and then
 * routes as bytes of uint64_t, whether Python code runs for any,
 * callable). *dispatch is the callable, borrowed. */
static int
window_read_table(PyObject *spec, wi_route_table *table, PyObject **dispatch)
{
    int handle_all, queue_rest, python;
    const char *items;
    Py_ssize_t ids, size;
    memset(table, 0, sizeof(*table));
    if (!PyArg_ParseTuple(spec, "ppny#pO:routes", &handle_all, &queue_rest,
                          &ids, &items, &size, &python, dispatch)) {
        return -1;
    }
    /* The thread attaches to the main interpreter, the only one that
     * PyGILState knows. It must not touch objects of another interpreter. */
    if (python && PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "handlers and conditions of windows run in the main "
                        "interpreter only: receive() the messages here");
        return -1;
    }
    if (ids < 0 || ids > size / (Py_ssize_t)sizeof(*table->ids)) {
        PyErr_SetString(PyExc_ValueError, "there are fewer ids than that");
        return -1;
    }
    table->handle_all = handle_all;
    table->queue_rest = queue_rest;
    if (window_copy(&table->ids, items, size) < 0) {
        return -1;
    }
    table->ids_count = (size_t)ids;
    table->routes = table->ids + ids;
    table->routes_count = (size_t)size / sizeof(*table->ids) - (size_t)ids;
    return 0;
}

/* The least max_bytes that a window has by default. */
#define WINDOW_BYTES (256u << 20)

static PyObject *
window_create(PyObject *cls, PyObject *args)
{
    PyObject *title_arg, *class_arg, *paths_arg, *routes, *message_type;
    PyObject *dispatch, *message_most, *count_most, *bytes_most;
    int message_only, overflow, lower_integrity;
    DWORD max_message;
    uint64_t max_count, max_bytes, cookie;
    const char *pids;
    Py_ssize_t pids_size, class_length, paths_length;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL ||
        !PyArg_ParseTuple(
            args, "OOpOOOiOO!y#UpO&:_create", &title_arg, &class_arg,
            &message_only, &message_most, &count_most, &bytes_most, &overflow,
            &routes, &PyType_Type, &message_type, &pids, &pids_size,
            &paths_arg, &lower_integrity, wi_u64_converter, &cookie) ||
        wi_check_str("title", title_arg) < 0 ||
        wi_check_str("class_name", class_arg) < 0 ||
        wi_int_arg("max_message", message_most, wi_u32_converter,
                   &max_message) < 0 ||
        wi_int_arg("max_count", count_most, wi_u64_converter, &max_count) <
            0) {
        return NULL;
    }
    max_bytes = max_message > WINDOW_BYTES ? max_message : WINDOW_BYTES;
    if (bytes_most != Py_None &&
        wi_int_arg("max_bytes", bytes_most, wi_u64_converter, &max_bytes) <
            0) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)message_type, state->message_type)) {
        PyErr_SetString(PyExc_TypeError, "no kind of Message");
        return NULL;
    }
    WindowObject *self = NULL;
    BOOL ok;
    DWORD err;
    wchar_t *title = NULL, *paths = NULL;
    wi_pump *pump = wi_pump_new();
    if (pump == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    /* Windows has this limit; Wine 8 writes past a buffer instead. */
    class_length = PyUnicode_AsWideChar(class_arg, pump->class_name,
                                        Py_ARRAY_LENGTH(pump->class_name));
    if (class_length < 1 || class_length > 255 ||
        wcslen(pump->class_name) != (size_t)class_length) {
        PyErr_SetString(PyExc_ValueError, "class_name must have 1 to 255 "
                                          "characters, and no NUL");
        goto done;
    }
    paths = PyUnicode_AsWideCharString(paths_arg, &paths_length);
    if (paths == NULL || wi_wide_name(title_arg, &title) < 0 ||
        window_read_table(routes, &pump->table, &dispatch) < 0 ||
        window_copy(&pump->accept_pids, pids, pids_size) < 0 ||
        window_copy(&pump->accept_paths, paths,
                    (paths_length + 1) * (Py_ssize_t)sizeof(*paths)) < 0) {
        goto done;
    }
    pump->accept_pids_count = (size_t)pids_size / sizeof(*pump->accept_pids);
    pump->title = title;
    pump->message_only = message_only;
    pump->max_message = max_message;
    pump->lower_integrity = lower_integrity;
    pump->cookie = (ULONG_PTR)cookie;
    const char *api;
    WI_CALL(err,
            ok = wi_pump_prepare(pump, max_count, max_bytes, overflow, &api));
    if (!ok) {
        wi_raise(err, api, title_arg);
        goto done;
    }
    self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        goto done;
    }
    self->title = Py_NewRef(title_arg);
    self->class_name = Py_NewRef(class_arg);
    self->message_type = (PyTypeObject *)Py_NewRef(message_type);
    self->dispatch = Py_NewRef(dispatch);
    self->pump = pump;
    pump->owner = (PyObject *)self;
    Py_BEGIN_ALLOW_THREADS
    ok = wi_pump_start(pump);
    Py_END_ALLOW_THREADS
    if (!ok) {
        wi_raise(pump->error, pump->failed, class_arg);
        WI_KEEP_ERROR
        Py_CLEAR(self);
        WI_END_KEEP_ERROR
    }
    pump = NULL; /* self has the reference */
done:
    PyMem_Free(title);
    PyMem_Free(paths);
    wi_pump_unref(pump);
    return (PyObject *)self;
}

PyDoc_STRVAR(
    window_close_doc,
    "close($self, timeout=None)\n--\n\n"
    "Destroy the window, unregister its class and end its thread.\n\n"
    "Messages in the queue stay: receive() and iteration still return\n"
    "them. A second call is harmless. It waits for a handler that is at\n"
    "work, at most `timeout` seconds, None for forever. Called by a\n"
    "handler of this window it returns at once, and the window is\n"
    "destroyed when the handler has returned. Any thread may call it.\n\n"
    "Raises:\n"
    "    TimeoutError: A handler is still at work by then.\n\n"
    "Win32: DestroyWindow, UnregisterClass.");

static PyObject *
window_close(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    WindowObject *self = (WindowObject *)op;
    uint64_t timeout_ms = WI_FOREVER;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&:close", keywords,
                                     wi_timeout_converter, &timeout_ms)) {
        return NULL;
    }
    wi_pump *pump = self->pump;
    if (pump == NULL) {
        Py_RETURN_NONE;
    }
    pump->owner = NULL; /* messages are refused from now on */
    Py_BEGIN_ALLOW_THREADS
    wi_pump_ask_to_close(pump);
    Py_END_ALLOW_THREADS
    if (pump->thread == NULL) {
        Py_RETURN_NONE; /* it was closed before, and all is released */
    }
    if (GetCurrentThreadId() == pump->thread_id &&
        WaitForSingleObject(pump->thread, 0) == WAIT_TIMEOUT) {
        Py_RETURN_NONE;
    }
    wi_pump_begin_wait(pump);
    DWORD waited = wi_wait(&pump->thread, 1, WI_WAIT_SERVING, timeout_ms,
                           WI_WAIT_SLICE_MS);
    wi_pump_end_wait(pump);
    if (waited == WAIT_TIMEOUT) {
        return wi_raise_timeout("its thread did not end in time",
                                "DestroyWindow", self->title);
    }
    if (waited == WAIT_FAILED) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Release everything, once nothing uses the pump. */
static void
window_release(WindowObject *self)
{
    wi_pump *pump = self->pump;
    self->pump = NULL;
    wi_pump_unref(pump);
    Py_CLEAR(self->dispatch);
    Py_CLEAR(self->message_type);
    Py_CLEAR(self->title);
    Py_CLEAR(self->class_name);
}

static void
window_finalize(PyObject *op)
{
    WindowObject *self = (WindowObject *)op;
    WI_KEEP_ERROR
    wi_pump *pump = self->pump;
    if (pump != NULL) {
        pump->owner = NULL;
        if (!pump->closing) {
            wi_warn_unclosed(op);
        }
        Py_BEGIN_ALLOW_THREADS
        wi_pump_ask_to_close(pump);
        /* Wait for the thread, unless it may wait for this one: then it frees
         * the pump, as it has its own reference. */
        if (pump->thread != NULL && GetCurrentThreadId() != pump->thread_id &&
            pump->depth == 0) {
            WaitForSingleObject(pump->thread, FINALIZE_WAIT_MS);
        }
        Py_END_ALLOW_THREADS
    }
    /* A task that waits may be garbage too, and be finalised after this; or
     * somebody called __del__(). */
    self->doomed = pump != NULL && pump->waits > 0;
    if (!self->doomed) {
        window_release(self);
    }
    WI_END_KEEP_ERROR
}

static int
window_traverse(PyObject *op, visitproc visit, void *arg)
{
    WindowObject *self = (WindowObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->dispatch);
    Py_VISIT(self->message_type);
    return 0;
}

static int
window_clear(PyObject *op)
{
    Py_CLEAR(((WindowObject *)op)->dispatch);
    return 0;
}

/* ---------------------------------------------------------------- handlers */

/* The answer to the sender, from what the handler returned. */
static LRESULT
window_answer(PyObject *result, BOOL *queue)
{
    uint64_t bits = 0;
    if (result == Py_NotImplemented) {
        *queue = TRUE;
    }
    else if (result == Py_None) {
        return 1; /* it was taken */
    }
    else if (result != NULL) {
        if (wi_param_converter(result, &bits)) {
            return (LRESULT)bits;
        }
        wi_wrong_type("a handler answers with an int, a bool, None or "
                      "NotImplemented",
                      result);
    }
    return 0;
}

/* Report the exception of a handler. The hook's object is the pair (handler,
 * message), whose repr names both; message may be NULL. */
static void
window_report(PyObject *dispatch, PyObject *message)
{
    PyObject *pair = NULL;
    WI_KEEP_ERROR
    if (message != NULL) {
        PyObject *chosen =
            PyObject_CallMethod(dispatch, "handler_of", "O", message);
        pair = PyTuple_Pack(2, chosen != NULL ? chosen : dispatch, message);
        Py_XDECREF(chosen);
        PyErr_Clear(); /* a plain handler has no handler_of */
    }
    WI_END_KEEP_ERROR
    PyErr_WriteUnraisable(pair != NULL ? pair : dispatch);
    Py_XDECREF(pair);
}

LRESULT
wi_window_call(wi_pump *pump, wi_message *message, BOOL *queue)
{
    if (pump->tstate == NULL) {
        /* Keep one thread state for the thread's life: otherwise
         * PyGILState_Release would delete it after each message. */
        pump->gil = PyGILState_Ensure();
        pump->tstate = PyEval_SaveThread();
    }
    LRESULT answer = 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    WindowObject *owner = (WindowObject *)pump->owner;
    /* Without references the owner is being freed; a new reference would not
     * stop that. */
    if (owner == NULL || Py_REFCNT((PyObject *)owner) == 0 ||
        owner->dispatch == NULL) {
        wi_message_unref(message);
        PyGILState_Release(gil);
        return 0;
    }
    PyObject *dispatch = Py_NewRef(owner->dispatch);
    PyObject *result = NULL;
    Py_INCREF((PyObject *)owner);
    pump->depth++;
    PyObject *object = wi_message_object_new(owner->message_type, message);
    if (object != NULL) {
        result = PyObject_CallFunctionObjArgs(dispatch, object, NULL);
    }
    answer = window_answer(result, queue);
    if (PyErr_Occurred()) {
        window_report(dispatch, object);
    }
    Py_XDECREF(result);
    Py_XDECREF(object);
    Py_DECREF(dispatch);
    Py_DECREF((PyObject *)owner);
    pump->depth--;
    PyGILState_Release(gil);
    return answer;
}

void
wi_window_thread_ends(wi_pump *pump)
{
    if (pump->tstate != NULL) {
        PyEval_RestoreThread(pump->tstate);
        PyGILState_Release(pump->gil);
    }
}

/* ---------------------------------------------------------------- receive */

static PyObject *
window_closed_error(void)
{
    PyErr_SetString(PyExc_ValueError, "the window is closed");
    return NULL;
}

/* The next message. NULL without an exception if the time is over
 * (*timed_out), or the window is closed and the queue is empty. */
static PyObject *
window_take(WindowObject *self, uint64_t timeout_ms, BOOL *timed_out)
{
    wi_pump *pump = self->pump;
    *timed_out = FALSE;
    if (pump == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    ULONGLONG start = timeout_ms == 0 ? 0 : GetTickCount64();
    uint64_t left = timeout_ms;
    wi_pump_begin_wait(pump);
    for (;;) {
        BOOL closed;
        wi_message *message = wi_queue_pop(&pump->queue, &closed);
        if (message != NULL) {
            result = wi_message_object_new(self->message_type, message);
        }
        if (message != NULL || closed) {
            break;
        }
        if (left == 0) {
            *timed_out = TRUE;
            break;
        }
        DWORD slice = (DWORD)Py_MIN(left, WI_WAIT_SLICE_MS);
        BOOL woken;
        Py_BEGIN_ALLOW_THREADS
        woken = wi_queue_wait(&pump->queue, slice);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) {
            break;
        }
        if (timeout_ms != WI_FOREVER) {
            /* A tick may take 16 ms: the last sleep's end counts too. */
            ULONGLONG gone = GetTickCount64() - start;
            left = gone >= timeout_ms || (left == slice && !woken)
                       ? 0
                       : timeout_ms - gone;
        }
    }
    wi_pump_end_wait(pump);
    return result;
}

PyDoc_STRVAR(
    window_receive_doc,
    "receive($self, timeout=None)\n--\n\n"
    "Wait for the next message and take it out of the queue.\n\n"
    "::\n\n"
    "    winipc.send_copydata(window, b\"hello\", id=4)\n"
    "    message = window.receive(timeout=5)\n"
    "    print(message.id, bytes(message))  # 4 b'hello'\n\n"
    "`timeout` is in seconds, None for forever. Ctrl+C ends the wait.\n\n"
    "Several threads may receive at once.\n\n"
    "Raises:\n"
    "    TimeoutError: No message came in time (winerror 1460,\n"
    "        ERROR_TIMEOUT).\n"
    "    ValueError: The window is closed and its queue is empty.\n\n"
    "Win32: SleepConditionVariableSRW.");

static PyObject *
window_receive(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    uint64_t timeout_ms = WI_FOREVER;
    BOOL timed_out;
    if (wi_fast_args("receive", names, 0, args, nargs, kwnames, &timeout) <
            0 ||
        (timeout != NULL && !wi_timeout_converter(timeout, &timeout_ms))) {
        return NULL;
    }
    PyObject *result = window_take((WindowObject *)op, timeout_ms, &timed_out);
    if (result == NULL && !PyErr_Occurred()) {
        return timed_out ? wi_raise_timeout("no message came in time",
                                            "SleepConditionVariableSRW",
                                            ((WindowObject *)op)->title)
                         : window_closed_error();
    }
    return result;
}

PyDoc_STRVAR(window_receive_nowait_doc,
             "receive_nowait($self, /)\n--\n\n"
             "The next message, or None when there is none.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    ValueError: The window is closed and its queue is empty.\n\n"
             "Win32: none, the queue is ours.");

static PyObject *
window_receive_nowait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    BOOL timed_out;
    PyObject *result = window_take((WindowObject *)op, 0, &timed_out);
    if (result == NULL && !PyErr_Occurred()) {
        return timed_out ? Py_NewRef(Py_None) : window_closed_error();
    }
    return result;
}

/* The references are on the stack; a monitor shows fewer. */
#define LATEST_MOST 256

PyDoc_STRVAR(window_latest_doc,
             "latest($self, count=16, /)\n--\n\n"
             "A list of the newest messages in the queue, oldest first.\n\n"
             "It has at most `count` of them, and never more than 256.\n"
             "They stay in the queue: receive() returns them later.\n"
             "Messages for a handler are not in it. Any thread may call\n"
             "it.\n\n"
             "Raises:\n"
             "    ValueError: `count` is negative.\n\n"
             "Win32: none, the queue is ours.");

static PyObject *
window_latest(PyObject *op, PyObject *args)
{
    WindowObject *self = (WindowObject *)op;
    Py_ssize_t count = 16;
    if (!PyArg_ParseTuple(args, "|n:latest", &count)) {
        return wi_name_int("count", args);
    }
    if (count < 0) {
        PyErr_SetString(PyExc_ValueError, "count must not be negative");
        return NULL;
    }
    wi_message *messages[LATEST_MOST];
    size_t found = 0;
    if (self->pump != NULL) {
        found =
            wi_queue_latest(&self->pump->queue, messages,
                            count < LATEST_MOST ? (size_t)count : LATEST_MOST);
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < found; i++) {
        wi_append(&list,
                  wi_message_object_new(self->message_type, messages[i]));
    }
    return list;
}

static PyObject *
window_next(PyObject *op)
{
    BOOL timed_out; /* never */
    return window_take((WindowObject *)op, WI_FOREVER, &timed_out);
}

/* ------------------------------------------------------------- the router */

static PyObject *
window_set_routes(PyObject *op, PyObject *spec)
{
    WindowObject *self = (WindowObject *)op;
    wi_route_table table;
    PyObject *dispatch;
    if (self->pump == NULL || self->pump->closing) {
        return window_closed_error();
    }
    if (window_read_table(spec, &table, &dispatch) < 0) {
        return NULL;
    }
    if (!wi_pump_set_table(self->pump, &table)) {
        DWORD err = GetLastError();
        wi_route_table_clear(&table);
        return wi_raise(err, "ChangeWindowMessageFilterEx", self->title);
    }
    PyObject *old = self->dispatch;
    self->dispatch = Py_NewRef(dispatch);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

/* The queue's event: it is set while there is a message, and when the window
 * is closed. It stays open until _end_wait(). */
static PyObject *
window_begin_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    if (pump == NULL || pump->queue.ready == NULL) {
        return window_closed_error();
    }
    PyObject *handle = PyLong_FromVoidPtr(pump->queue.ready);
    if (handle != NULL) {
        wi_pump_begin_wait(pump);
        wi_queue_watch(&pump->queue, 1);
    }
    return handle;
}

static PyObject *
window_end_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    WindowObject *self = (WindowObject *)op;
    wi_pump *pump = self->pump;
    if (pump != NULL && pump->queue.watchers > 0) {
        wi_queue_watch(&pump->queue, -1);
        wi_pump_end_wait(pump);
        if (self->doomed && pump->waits == 0) {
            window_release(self);
        }
    }
    Py_RETURN_NONE;
}

/* Queue a message whose data a handler has taken and keeps elsewhere. It
 * counts as `size` bytes. */
static PyObject *
window_put(PyObject *op, PyObject *args)
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    DWORD number;
    uint64_t wparam, size;
    if (!PyArg_ParseTuple(args, "O&O&O&:_put", wi_u32_converter, &number,
                          wi_param_converter, &wparam, wi_u64_converter,
                          &size)) {
        return NULL;
    }
    if (pump == NULL) {
        return window_closed_error();
    }
    wi_message *message = wi_message_new(0);
    if (message == NULL) {
        return PyErr_NoMemory();
    }
    message->number = number;
    message->wparam = (WPARAM)wparam;
    message->room = (size_t)size;
    BOOL taken = wi_queue_push(&pump->queue, message);
    if (!taken) {
        wi_message_unref(message);
    }
    return PyBool_FromLong(taken);
}

/* ------------------------------------------------------------- properties */

static PyObject *
window_get_hwnd(PyObject *op, void *Py_UNUSED(closure))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    HWND hwnd = pump && !pump->closing ? pump->hwnd : NULL;
    return PyLong_FromUnsignedLongLong((uintptr_t)hwnd & UINT32_MAX);
}

static PyObject *
window_get_closed(PyObject *op, void *Py_UNUSED(closure))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    return PyBool_FromLong(pump == NULL || pump->closing);
}

static PyObject *
window_get_thread_id(PyObject *op, void *Py_UNUSED(closure))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    return PyLong_FromUnsignedLong(pump ? pump->thread_id : 0);
}

/* Getter of a size_t in wi_pump; the closure is its offset. */
static PyObject *
window_get_number(PyObject *op, void *closure)
{
    char *pump = (char *)((WindowObject *)op)->pump;
    return PyLong_FromSize_t(pump ? *(size_t *)(pump + (uintptr_t)closure)
                                  : 0);
}

#define WINDOW_NUMBER(name, field, doc)                                       \
    {name, window_get_number, NULL, doc, (void *)offsetof(wi_pump, field)}

static PyGetSetDef window_getset[] = {
    {"hwnd", window_get_hwnd, NULL,
     "The window's handle, 32 bits; 0 once closed.", NULL},
    {"closed", window_get_closed, NULL, "Whether the window is closed.", NULL},
    {"thread_id", window_get_thread_id, NULL,
     "The id of the native thread that runs the window and its handlers.",
     NULL},
    WINDOW_NUMBER("max_message", max_message,
                  "The most bytes of data of one message."),
    WINDOW_NUMBER("pending", queue.count,
                  "How many messages wait in the queue."),
    WINDOW_NUMBER("pending_bytes", queue.bytes,
                  "How many bytes of data wait in the queue."),
    WINDOW_NUMBER("refused", queue.refused,
                  "How many messages were answered 0, as the queue was full."),
    WINDOW_NUMBER("rejected", rejected,
                  "How many messages were answered 0, as their senders are\n"
                  "not accepted."),
    WINDOW_NUMBER("dropped", queue.dropped,
                  "How many messages were dropped to make room for newer\n"
                  "ones."),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
window_look_at(PyObject *op, PyObject *args)
{
    WindowObject *self = (WindowObject *)op;
    HANDLE section;
    DWORD number, us;
    if (!PyArg_ParseTuple(args, "O&O&O&:_look_at", wi_handle_converter,
                          &section, wi_u32_converter, &number,
                          wi_u32_converter, &us)) {
        return NULL;
    }
    if (self->pump == NULL || self->pump->lane != NULL) {
        return window_closed_error();
    }
    /* With the GIL: a handler may close the window, which gives up the pump. */
    if (!wi_pump_look_at(self->pump, section, number, us)) {
        return wi_raise(GetLastError(), "MapViewOfFile", self->title);
    }
    Py_RETURN_NONE;
}

static PyMethodDef window_methods[] = {
    {"_create", window_create, METH_VARARGS | METH_CLASS,
     "Open a window on a thread of its own. Win32: CreateWindowEx."},
    {"close", WI_WORDS(window_close), window_close_doc},
    {"receive", WI_FAST(window_receive), window_receive_doc},
    {"receive_nowait", window_receive_nowait, METH_NOARGS,
     window_receive_nowait_doc},
    {"latest", window_latest, METH_VARARGS, window_latest_doc},
    {"_set_routes", window_set_routes, METH_O,
     "_set_routes($self, routes, /)\n--\n\nWhich messages go where."},
    {"_put", window_put, METH_VARARGS,
     "_put($self, message, wparam, size, /)\n--\n\n"
     "Queue a plain message that counts as size bytes; False if there is no\n"
     "room."},
    {"_look_at", window_look_at, METH_VARARGS,
     "_look_at($self, section, message, us, /)\n--\n\n"
     "Look in a lane for what this message announces; once."},
    {"_begin_wait", window_begin_wait, METH_NOARGS,
     "_begin_wait($self, /)\n--\n\nThe event of the queue, until "
     "_end_wait()."},
    {"_end_wait", window_end_wait, METH_NOARGS,
     "_end_wait($self, /)\n--\n\nThe end of a _begin_wait()."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef window_members[] = {
    {"title", T_OBJECT, offsetof(WindowObject, title), Py_READONLY,
     "The title that the window was made with."},
    {"class_name", T_OBJECT, offsetof(WindowObject, class_name), Py_READONLY,
     "The name of its window class."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(window_doc, "A window on a native thread of its own.");

static PyType_Slot window_slots[] = {
    {Py_tp_doc, (void *)window_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, window_finalize},
    {Py_tp_traverse, window_traverse},
    {Py_tp_clear, window_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, window_next},
    {Py_tp_methods, window_methods},
    {Py_tp_members, window_members},
    {Py_tp_getset, window_getset},
    {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "winipc._core.CopyDataWindow",
    .basicsize = sizeof(WindowObject),
    .flags = WI_TYPE_FLAGS,
    .slots = window_slots,
};

int
wi_window_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &window_spec, NULL);
}

/* window.c: CopyDataWindow, a window on a native thread of its own.
 *
 *     window = CopyDataWindow.create("my title")
 *     message = window.receive(timeout=5)
 *     memoryview(message), message.id, message.sender
 *
 *     with CopyDataWindow.create("my title", handler=print):
 *         ...                        # print runs while the sender waits
 *
 * A WindowObject owns one reference to its wi_pump (pump.h); the pump's thread
 * owns the window. Any thread may call the methods; each gives the GIL up
 * while it waits. A handler may close its own window, which then goes when the
 * handler has returned. The thread ends when it is told to: by close(), the
 * finaliser or the exit hook of winipc.message, each of which waits for it. */
#include "base/handles.h"
#include "message.h"
#include "pump.h"

/* How long a finaliser waits for the thread. */
#define FINALIZE_WAIT_MS 2000

typedef struct {
    PyObject_HEAD
    wi_pump *pump;              /* NULL until created */
    PyObject *dispatch;         /* callable(window, message) or NULL */
    PyObject *direct;           /* callable(message) when that is all */
    PyTypeObject *message_type; /* of what receive() gives */
    PyObject *title, *class_name;
} WindowObject;

/* ------------------------------------------------------- create and close */

static wchar_t *
window_copy_text(const wchar_t *text)
{
    size_t size = (wcslen(text) + 1) * sizeof(wchar_t);
    wchar_t *copy = HeapAlloc(GetProcessHeap(), 0, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

/* Read a sequence of ints; *out is a block of the heap, or NULL for none. */
static int
window_read_ids(PyObject *sequence, uint64_t **out, size_t *count)
{
    Py_ssize_t length = PyTuple_Size(sequence);
    if (length < 0) {
        return -1;
    }
    *count = 0;
    if (length == 0) {
        return 0;
    }
    *out = HeapAlloc(GetProcessHeap(), 0, (size_t)length * sizeof(**out));
    if (*out == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        PyObject *item = PyTuple_GetItem(sequence, i);
        if (item == NULL || !wi_param_converter(item, *out + i)) {
            return -1;
        }
        *count = (size_t)i + 1;
    }
    return 0;
}

static int
window_read_paths(wi_pump *pump, PyObject *paths)
{
    Py_ssize_t length = PyTuple_Size(paths);
    if (length <= 0) {
        return (int)length;
    }
    pump->accept_paths =
        HeapAlloc(GetProcessHeap(), 0, (size_t)length * sizeof(wchar_t *));
    if (pump->accept_paths == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        wchar_t *path;
        PyObject *item = PyTuple_GetItem(paths, i);
        if (item == NULL || wi_wide_name(item, &path) < 0) {
            return -1;
        }
        wchar_t *copy = path ? window_copy_text(path) : NULL;
        PyMem_Free(path);
        if (copy == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        pump->accept_paths[pump->accept_paths_count++] = copy;
    }
    return 0;
}

/* A table from (handle_all, queue_rest, handled ids, queued numbers, handled numbers,
 * the one handler of all or None); *direct is borrowed, NULL for None. */
static int
window_read_table(PyObject *spec, wi_route_table *table, PyObject **direct)
{
    int handle_all, queue_rest;
    PyObject *ids, *queued, *handled;
    uint64_t *numbers[2] = {NULL, NULL};
    size_t counts[2] = {0, 0};
    int result = -1;
    memset(table, 0, sizeof(*table));
    if (!PyArg_ParseTuple(spec, "ppO!O!O!O:routes", &handle_all, &queue_rest,
                          &PyTuple_Type, &ids, &PyTuple_Type, &queued,
                          &PyTuple_Type, &handled, direct)) {
        return -1;
    }
    if (*direct == Py_None) {
        *direct = NULL;
    }
    table->handle_all = handle_all;
    table->queue_rest = queue_rest;
    if (window_read_ids(ids, &table->ids, &table->ids_count) < 0 ||
        window_read_ids(queued, &numbers[0], &counts[0]) < 0 ||
        window_read_ids(handled, &numbers[1], &counts[1]) < 0) {
        goto done;
    }
    size_t total = counts[0] + counts[1];
    if (total > 0) {
        table->routes =
            HeapAlloc(GetProcessHeap(), 0, total * sizeof(wi_route));
        if (table->routes == NULL) {
            PyErr_NoMemory();
            goto done;
        }
    }
    for (int handle = 1; handle >= 0; handle--) { /* handlers go first */
        for (size_t i = 0; i < counts[handle]; i++) {
            wi_route *route = &table->routes[table->routes_count++];
            route->number = (UINT)numbers[handle][i];
            route->handled = handle;
        }
    }
    result = 0;
done:
    wi_heap_free(numbers[0]);
    wi_heap_free(numbers[1]);
    if (result < 0) {
        wi_route_table_clear(table);
    }
    return result;
}

/* The thread attaches to the main interpreter (PyGILState knows no other),
 * where objects of another one must not be touched. */
static int
window_check_interpreter(const wi_route_table *table)
{
    BOOL python = table->handle_all || table->ids_count > 0;
    for (size_t i = 0; i < table->routes_count; i++) {
        python |= table->routes[i].handled;
    }
    if (python && PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "handlers and conditions of windows run in the main "
                        "interpreter only: receive() the messages here");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(window_create_doc,
             "_create($type, title, class_name, message_only, max_message,\n"
             "        max_count, max_bytes, overflow, dispatch, routes,\n"
             "        message_type, accept_pids, accept_paths,\n"
             "        lower_integrity, /)\n--\n\n"
             "Open a window on a thread of its own.");

static PyObject *
window_create(PyObject *cls, PyObject *args)
{
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL) {
        return NULL;
    }
    PyObject *title_arg, *class_arg, *dispatch, *routes, *message_type;
    PyObject *pids, *paths, *direct = NULL;
    int message_only, overflow, lower_integrity;
    uint64_t max_message, max_count, max_bytes;
    if (!PyArg_ParseTuple(args, "UUpO&O&O&iOOO!O!O!p:_create", &title_arg,
                          &class_arg, &message_only, wi_u64_converter,
                          &max_message, wi_u64_converter, &max_count,
                          wi_u64_converter, &max_bytes, &overflow, &dispatch,
                          &routes, &PyType_Type, &message_type, &PyTuple_Type,
                          &pids, &PyTuple_Type, &paths, &lower_integrity)) {
        return NULL;
    }
    if (!PyType_IsSubtype((PyTypeObject *)message_type, state->message_type)) {
        PyErr_SetString(PyExc_TypeError,
                        "message_type must be a kind of Message");
        return NULL;
    }
    if (max_message > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError,
                        "max_message must be below 4 GiB");
        return NULL;
    }
    WindowObject *self = NULL;
    BOOL ok;
    DWORD err;
    wchar_t *title = NULL, *class_name = NULL;
    wi_pump *pump = wi_pump_new();
    if (pump == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (wi_wide_name(title_arg, &title) < 0 ||
        wi_wide_name(class_arg, &class_name) < 0 ||
        window_read_table(routes, &pump->table, &direct) < 0 ||
        window_check_interpreter(&pump->table) < 0 ||
        window_read_ids(pids, &pump->accept_pids, &pump->accept_pids_count) <
            0 ||
        window_read_paths(pump, paths) < 0) {
        goto done;
    }
    pump->lower_integrity = lower_integrity;
    /* The limit of Windows; Wine 8 writes past a buffer instead. */
    if (class_name[0] == 0 || wcslen(class_name) > 255) {
        PyErr_SetString(PyExc_ValueError,
                        "class_name must have 1 to 255 characters");
        goto done;
    }
    pump->title = window_copy_text(title);
    pump->class_name = window_copy_text(class_name);
    pump->message_only = message_only;
    pump->max_message = max_message;
    if (pump->title == NULL || pump->class_name == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const char *api;
    WI_CALL(err, ok = wi_pump_prepare(pump, (size_t)max_count, max_bytes,
                                      overflow, &api));
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
    self->dispatch = dispatch != Py_None ? Py_NewRef(dispatch) : NULL;
    self->direct = Py_XNewRef(direct);
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
    pump = NULL; /* its reference is self's */
done:
    PyMem_Free(title);
    PyMem_Free(class_name);
    wi_pump_unref(pump);
    return (PyObject *)self;
}

PyDoc_STRVAR(
    window_close_doc,
    "close($self, timeout=None)\n--\n\n"
    "Destroy the window, unregister its class and end its thread.\n\n"
    "Messages that were answered stay in the queue: receive() and\n"
    "iteration give them still. Idempotent. Waits for a handler that\n"
    "is at work, at most timeout seconds; from a handler of this\n"
    "window it returns at once and the window goes when the handler\n"
    "has returned.\n\n"
    "Raises TimeoutError when a handler is still at work by then.\n\n"
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
    pump->owner = NULL; /* what comes in from now on is refused */
    Py_BEGIN_ALLOW_THREADS
    wi_pump_ask_to_close(pump);
    Py_END_ALLOW_THREADS
    if (pump->thread == NULL) {
        Py_RETURN_NONE; /* closed before, and all is released */
    }
    if (GetCurrentThreadId() == pump->thread_id &&
        WaitForSingleObject(pump->thread, 0) == WAIT_TIMEOUT) {
        Py_RETURN_NONE;
    }
    wi_pump_begin_wait(pump);
    DWORD waited = wi_wait_serving(pump->thread, timeout_ms);
    wi_pump_end_wait(pump);
    if (waited == WAIT_TIMEOUT) {
        return wi_raise_timeout("DestroyWindow", self->title);
    }
    if (waited == WAIT_FAILED) {
        return NULL;
    }
    Py_RETURN_NONE;
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
        /* Joined, except where that could wait for ourselves: the thread
         * has its own reference and frees what is left. */
        if (pump->thread != NULL && GetCurrentThreadId() != pump->thread_id &&
            pump->depth == 0) {
            WaitForSingleObject(pump->thread, FINALIZE_WAIT_MS);
        }
        Py_END_ALLOW_THREADS
        self->pump = NULL;
        wi_pump_unref(pump);
    }
    Py_CLEAR(self->dispatch);
    Py_CLEAR(self->direct);
    Py_CLEAR(self->message_type);
    Py_CLEAR(self->title);
    Py_CLEAR(self->class_name);
    WI_END_KEEP_ERROR
}

static int
window_traverse(PyObject *op, visitproc visit, void *arg)
{
    WindowObject *self = (WindowObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->dispatch);
    Py_VISIT(self->direct);
    Py_VISIT(self->message_type);
    return 0;
}

static int
window_clear(PyObject *op)
{
    Py_CLEAR(((WindowObject *)op)->dispatch);
    Py_CLEAR(((WindowObject *)op)->direct);
    return 0;
}

/* ---------------------------------------------------------------- handlers */

/* The answer for what the handler returned. */
static LRESULT
window_answer(PyObject *result, BOOL *queue)
{
    uint64_t bits = 0;
    if (result == Py_NotImplemented) {
        *queue = TRUE;
    }
    else if (result == Py_None) {
        return 1; /* no objection: it was taken */
    }
    else if (result != NULL && wi_param_converter(result, &bits)) {
        return (LRESULT)bits;
    }
    return 0;
}

LRESULT
wi_window_call(wi_pump *pump, wi_message *message, BOOL *queue)
{
    if (pump->tstate == NULL) {
        /* One thread state for the thread's life: the innermost Release of
         * PyGILState would delete it after each message. */
        pump->gil = PyGILState_Ensure();
        pump->tstate = PyEval_SaveThread();
    }
    LRESULT answer = 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    WindowObject *owner = (WindowObject *)pump->owner;
    /* Without references it is on its way to the finaliser, and a new one
     * would not keep it. */
    if (owner == NULL || Py_REFCNT((PyObject *)owner) == 0 ||
        owner->dispatch == NULL) {
        wi_message_unref(message);
        PyGILState_Release(gil);
        return 0;
    }
    PyObject *direct = Py_XNewRef(owner->direct);
    PyObject *dispatch = Py_NewRef(owner->dispatch);
    PyObject *result = NULL;
    Py_INCREF((PyObject *)owner);
    pump->depth++;
    PyObject *object = wi_message_object_new(owner->message_type, message);
    if (object != NULL) {
        result = direct != NULL
                     ? PyObject_CallFunctionObjArgs(direct, object, NULL)
                     : PyObject_CallFunctionObjArgs(
                           dispatch, (PyObject *)owner, object, NULL);
    }
    answer = window_answer(result, queue);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(direct != NULL ? direct : dispatch);
    }
    Py_XDECREF(result);
    Py_XDECREF(object);
    Py_XDECREF(direct);
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

/* The next message; NULL without an exception when the window is closed and
 * the queue empty, or the time is over (*timed_out). */
static PyObject *
window_take(WindowObject *self, uint64_t timeout_ms, BOOL *timed_out)
{
    wi_pump *pump = self->pump;
    *timed_out = FALSE;
    if (pump == NULL) {
        return NULL;
    }
    wi_pump_ref(pump);
    wi_pump_begin_wait(pump);
    PyObject *result = NULL;
    ULONGLONG start = timeout_ms == 0 ? 0 : GetTickCount64();
    for (;;) {
        wi_message *message = wi_queue_pop(&pump->queue);
        if (message != NULL) {
            result = wi_message_object_new(self->message_type, message);
            break;
        }
        if (pump->queue.closed) {
            /* What was pushed before it closed is seen by one more look. */
            message = wi_queue_pop(&pump->queue);
            if (message != NULL) {
                result = wi_message_object_new(self->message_type, message);
            }
            break;
        }
        uint64_t remaining = timeout_ms;
        if (timeout_ms != WI_FOREVER && timeout_ms != 0) {
            ULONGLONG waited = GetTickCount64() - start;
            remaining = waited < timeout_ms ? timeout_ms - waited : 0;
        }
        if (remaining == 0) {
            *timed_out = TRUE;
            break;
        }
        if (wi_wait(&pump->queue.ready, 1, FALSE, remaining,
                    WI_WAIT_SLICE_MS) == WAIT_FAILED) {
            break;
        }
    }
    wi_pump_end_wait(pump);
    wi_pump_unref(pump);
    return result;
}

PyDoc_STRVAR(
    window_receive_doc,
    "receive($self, timeout=None)\n--\n\n"
    "Wait for the next message and take it.\n\n"
    "timeout is in seconds; None waits forever.\n\n"
    "Raises TimeoutError (winerror 1460) when none came in time, and\n"
    "ValueError when the window is closed and all that it had taken\n"
    "was received. Several threads may receive at once.\n\n"
    "Win32: WaitForMultipleObjects.");

static PyObject *
window_receive(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *names)
{
    uint64_t timeout_ms = WI_FOREVER;
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (nargs + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(
                           PyTuple_GetItem(names, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError,
                        "receive() takes one argument at most: timeout");
        return NULL;
    }
    if (nargs + named == 1 && !wi_timeout_converter(args[0], &timeout_ms)) {
        return NULL;
    }
    BOOL timed_out;
    PyObject *result = window_take((WindowObject *)op, timeout_ms, &timed_out);
    if (result == NULL && !PyErr_Occurred()) {
        return timed_out ? wi_raise_timeout("WaitForMultipleObjects",
                                            ((WindowObject *)op)->title)
                         : window_closed_error();
    }
    return result;
}

PyDoc_STRVAR(window_receive_nowait_doc,
             "receive_nowait($self, /)\n--\n\n"
             "The next message, or None when there is none.\n\n"
             "Raises ValueError as receive() does.");

static PyObject *
window_receive_nowait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    BOOL timed_out;
    PyObject *result = window_take((WindowObject *)op, 0, &timed_out);
    if (result == NULL && !PyErr_Occurred()) {
        if (timed_out) {
            Py_RETURN_NONE;
        }
        return window_closed_error();
    }
    return result;
}

/* More than anybody looks at; the references are on the stack. */
#define LATEST_MOST 256

PyDoc_STRVAR(window_latest_doc,
             "latest($self, count=16, /)\n--\n\n"
             "The newest messages that wait, oldest first, as a list.\n\n"
             "At most count of them, and never more than 256. They are not\n"
             "taken: receive() gives them later. Empty where messages go to\n"
             "a handler. Any thread may call it.");

static PyObject *
window_latest(PyObject *op, PyObject *args)
{
    WindowObject *self = (WindowObject *)op;
    Py_ssize_t count = 16;
    if (!PyArg_ParseTuple(args, "|n:latest", &count)) {
        return NULL;
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
        if (list == NULL) {
            wi_message_unref(messages[i]);
            continue;
        }
        PyObject *message =
            wi_message_object_new(self->message_type, messages[i]);
        if (message == NULL || PyList_Append(list, message) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(message);
    }
    return list;
}

static PyObject *
window_iter(PyObject *op)
{
    Py_INCREF(op);
    return op;
}

static PyObject *
window_next(PyObject *op)
{
    BOOL timed_out; /* never */
    return window_take((WindowObject *)op, WI_FOREVER, &timed_out);
}

/* ------------------------------------------------------------- the router */

PyDoc_STRVAR(window_set_routes_doc,
             "_set_routes($self, routes, /)\n--\n\n"
             "Which messages go where: (handle_all, handled ids, queued\n"
             "numbers, handled numbers).");

static PyObject *
window_set_routes(PyObject *op, PyObject *spec)
{
    WindowObject *self = (WindowObject *)op;
    wi_route_table table;
    PyObject *direct;
    if (self->pump == NULL || self->pump->closing) {
        return window_closed_error();
    }
    if (window_read_table(spec, &table, &direct) < 0) {
        return NULL;
    }
    if (window_check_interpreter(&table) < 0) {
        wi_route_table_clear(&table);
        return NULL;
    }
    if (!wi_pump_set_table(self->pump, &table)) {
        DWORD err = GetLastError();
        wi_route_table_clear(&table);
        return wi_raise(err, "ChangeWindowMessageFilterEx", self->title);
    }
    PyObject *old_direct = self->direct;
    self->direct = Py_XNewRef(direct);
    Py_XDECREF(old_direct);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(window_timer_doc, "_set_timer($self, id, milliseconds, /)\n--\n\n"
                               "Start a timer, or end it with 0.");

static PyObject *
window_set_timer(PyObject *op, PyObject *args)
{
    WindowObject *self = (WindowObject *)op;
    uint64_t id;
    DWORD period_ms;
    if (!PyArg_ParseTuple(args, "O&O&:_set_timer", wi_param_converter, &id,
                          wi_u32_converter, &period_ms)) {
        return NULL;
    }
    wi_pump *pump = self->pump;
    if (pump == NULL || pump->closing) {
        return window_closed_error();
    }
    wi_pump_command *command = wi_pump_command_new();
    if (command == NULL) {
        return wi_raise(GetLastError(), "CreateEventW", self->title);
    }
    command->id = (UINT_PTR)id;
    command->period_ms = period_ms;
    BOOL sent;
    DWORD err;
    wi_pump_begin_wait(pump);
    WI_CALL(err, sent = wi_pump_send_command(pump, command));
    if (!sent) {
        wi_pump_command_unref(command); /* the pump's */
        wi_pump_command_unref(command);
        wi_pump_end_wait(pump);
        return pump->closing
                   ? window_closed_error()
                   : wi_raise(err, "SendNotifyMessageW", self->title);
    }
    PyObject *result = NULL;
    for (;;) {
        BOOL ended = WaitForSingleObject(pump->thread, 0) == WAIT_OBJECT_0;
        DWORD waited =
            wi_wait_serving(command->done, ended ? 0 : WI_WAIT_SLICE_MS);
        if (waited == WAIT_OBJECT_0) {
            result = command->ok || period_ms == 0
                         ? PyBool_FromLong(command->ok)
                         : wi_raise(command->error, "SetTimer", self->title);
            break;
        }
        if (waited == WAIT_FAILED) {
            break; /* Ctrl+C, mostly; the pump keeps its reference */
        }
        if (ended) {
            wi_pump_command_unref(
                command); /* the pump's: it never came to it */
            window_closed_error();
            break;
        }
    }
    wi_pump_end_wait(pump);
    wi_pump_command_unref(command);
    return result;
}

PyDoc_STRVAR(window_begin_wait_doc,
             "_begin_wait($self, /)\n--\n\n"
             "The event that is set while there is something to take or the\n"
             "window is closed. It stays open until _end_wait().");

static PyObject *
window_begin_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    if (pump == NULL || pump->queue.ready == NULL) {
        return window_closed_error();
    }
    wi_pump_begin_wait(pump);
    PyObject *handle = PyLong_FromVoidPtr(pump->queue.ready);
    if (handle == NULL) {
        wi_pump_end_wait(pump);
    }
    return handle;
}

static PyObject *
window_end_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    if (pump != NULL && pump->waits > 0) {
        wi_pump_end_wait(pump);
    }
    Py_RETURN_NONE;
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

static PyObject *
window_get_max_message(PyObject *op, void *Py_UNUSED(closure))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    return PyLong_FromUnsignedLongLong(pump ? pump->max_message : 0);
}

static PyObject *
window_get_text(PyObject *op, void *closure)
{
    PyObject *text = *(PyObject **)((char *)op + (uintptr_t)closure);
    return text != NULL ? Py_NewRef(text) : PyUnicode_FromString("");
}

static PyObject *
window_get_rejected(PyObject *op, void *Py_UNUSED(closure))
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    return PyLong_FromLongLong(pump ? pump->rejected : 0);
}

/* closure: which of the counters */
enum { LOOK_COUNT, LOOK_BYTES, LOOK_REFUSED, LOOK_DROPPED };

static PyObject *
window_get_look(PyObject *op, void *closure)
{
    wi_pump *pump = ((WindowObject *)op)->pump;
    wi_queue_state look = {0};
    if (pump != NULL) {
        wi_queue_look(&pump->queue, &look);
    }
    switch ((int)(uintptr_t)closure) {
    case LOOK_COUNT:
        return PyLong_FromSize_t(look.count);
    case LOOK_BYTES:
        return PyLong_FromUnsignedLongLong(look.bytes);
    case LOOK_REFUSED:
        return PyLong_FromUnsignedLongLong(look.refused);
    default:
        return PyLong_FromUnsignedLongLong(look.dropped);
    }
}

static PyGetSetDef window_getset[] = {
    {"hwnd", window_get_hwnd, NULL, "The window's handle; 0 once closed.",
     NULL},
    {"closed", window_get_closed, NULL, "Whether the window is closed.", NULL},
    {"title", window_get_text, NULL, "The title that it was made with.",
     (void *)offsetof(WindowObject, title)},
    {"class_name", window_get_text, NULL, "The name of its window class.",
     (void *)offsetof(WindowObject, class_name)},
    {"thread_id", window_get_thread_id, NULL,
     "The native thread that runs the window and its handlers.", NULL},
    {"max_message", window_get_max_message, NULL,
     "The largest message that it takes, in bytes.", NULL},
    {"pending", window_get_look, NULL, "How many messages wait in the queue.",
     (void *)LOOK_COUNT},
    {"pending_bytes", window_get_look, NULL,
     "How many bytes of data wait in the queue.", (void *)LOOK_BYTES},
    {"refused", window_get_look, NULL,
     "How many messages found no room and were answered 0.",
     (void *)LOOK_REFUSED},
    {"rejected", window_get_rejected, NULL,
     "How many messages came from senders that are not accepted and were\n"
     "answered 0.",
     NULL},
    {"dropped", window_get_look, NULL,
     "How many messages were dropped for newer ones.", (void *)LOOK_DROPPED},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef window_methods[] = {
    {"_create", window_create, METH_VARARGS | METH_CLASS, window_create_doc},
    {"close", WI_WORDS(window_close), window_close_doc},
    {"receive", WI_FAST(window_receive), window_receive_doc},
    {"receive_nowait", window_receive_nowait, METH_NOARGS,
     window_receive_nowait_doc},
    {"latest", window_latest, METH_VARARGS, window_latest_doc},
    {"_set_routes", window_set_routes, METH_O, window_set_routes_doc},
    {"_set_timer", window_set_timer, METH_VARARGS, window_timer_doc},
    {"_begin_wait", window_begin_wait, METH_NOARGS, window_begin_wait_doc},
    {"_end_wait", window_end_wait, METH_NOARGS,
     "_end_wait($self, /)\n--\n\nThe end of a _begin_wait()."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(window_doc, "A window on a native thread of its own.");

static PyType_Slot window_slots[] = {
    {Py_tp_doc, (void *)window_doc},   {Py_tp_new, wi_no_new},
    {Py_tp_finalize, window_finalize}, {Py_tp_traverse, window_traverse},
    {Py_tp_clear, window_clear},       {Py_tp_iter, window_iter},
    {Py_tp_iternext, window_next},     {Py_tp_methods, window_methods},
    {Py_tp_getset, window_getset},     {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "winipc._core.CopyDataWindow",
    .basicsize = sizeof(WindowObject),
    .flags = WI_TYPE_FLAGS,
    .slots = window_slots,
};

int
wi_window_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &window_spec, &state->window_type);
}

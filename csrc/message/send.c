/* send.c: sends and posts messages to windows, and registers their names.
 *
 *     >>> number = register_message("my program: ready")
 *     >>> send_copydata("my title", b"data", id=7)
 *     1
 *     >>> send_message(hwnd, number, 1, 2)
 *     0
 *     >>> post_message(hwnd, number, 1, 2)
 *
 * Owner: nothing here owns a window; a worker's job owns the data that it
 * sends. Thread: any. Wraps RegisterWindowMessage, PostMessage and
 * SendMessageTimeout.
 *
 * GIL: a send holds neither the GIL nor a lock, as the receiver may send back
 * before it answers. Ctrl+C does not interrupt SendMessageTimeout, so a send
 * that may take longer than SEND_DIRECT_MS runs on a worker thread. The
 * calling thread waits in slices, and takes the messages that are sent to its
 * windows.
 *
 * Python finds the window of a title, and adds hints to errors:
 * winipc.message.send sets the module's _hwnd_of and _explain_send. */
#include "base/bytes.h"
#include "base/handles.h"
#include "message.h"
#include "pump.h"

/* The longest send that Ctrl+C need not interrupt. */
#define SEND_DIRECT_MS 5000

/* The default of `timeout`. */
#define SEND_DEFAULT_MS 5000

/* The longest time-out of SendMessageTimeout: 24 days, so forever here. */
#define SEND_LONGEST_MS 0x7FFFFFFF

/* How long _forward() takes no other message while it waits for the receiver,
 * as the receiver itself takes one at a time. Then it takes messages again:
 * the receiver may be waiting for an answer to one. */
#define SEND_QUIET_MS 250

/* How much longer a worker may take than its time-out. */
#define SEND_WORKER_MARGIN_MS 2000

/* Data up to this size is sent without asking for the receiver's limit: the
 * stack of any CopyDataWindow's thread has room for it. A receiver with a
 * smaller max_message answers 0; then the sender asks, for its error. */
#define SEND_ALWAYS_TAKEN (1 << 20)

/* How often, and after which pause, a send to a receiver that looks hung is
 * tried again. */
#define SEND_HUNG_TRIES 50
#define SEND_HUNG_PAUSE_MS 10

/* A send that failed sooner than this was never on its way: Windows checks
 * again for a hang only after seconds. */
#define SEND_VERDICT_MS 1000

/* How inexact GetTickCount64 and a time-out may be. */
#define SEND_TICK_MS 16

/* GCC 12's headers lack it; Windows has it since Vista. */
#ifndef SMTO_ERRORONEXIT
#define SMTO_ERRORONEXIT 0x0020
#endif

/* ------------------------------------------------------------------ names */

/* The number of a registered message; 0 with an exception. A number stays
 * until the session ends, so each name is registered once. */
static UINT
send_registered(wi_state *state, PyObject *name)
{
    PyObject *known = PyDict_GetItemWithError(state->message_numbers, name);
    if (known != NULL) {
        return (UINT)PyLong_AsUnsignedLong(known);
    }
    wchar_t *wide =
        PyErr_Occurred() ? NULL : PyUnicode_AsWideCharString(name, NULL);
    if (wide == NULL) {
        return 0;
    }
    UINT number;
    DWORD err;
    WI_CALL_GIL(err, number = RegisterWindowMessageW(wide));
    PyMem_Free(wide);
    if (number == 0) {
        wi_raise(err ? err : ERROR_INVALID_PARAMETER, "RegisterWindowMessageW",
                 name);
        return 0;
    }
    known = PyLong_FromUnsignedLong(number);
    if (known == NULL ||
        PyDict_SetItem(state->message_numbers, name, known) < 0) {
        number = 0;
    }
    Py_XDECREF(known);
    return number;
}

PyDoc_STRVAR(register_message_doc,
             "register_message($module, name, /)\n--\n\n"
             "The message number that every program gets for this name.\n\n"
             "Names ignore case and have 1 to 255 characters; the number is\n"
             "from 0xC000 to 0xFFFF and stays until the session ends.\n\n"
             "Any thread may call it.\n\n"
             "Raises:\n"
             "    OSError: The name is not valid (winerror 87,\n"
             "        ERROR_INVALID_PARAMETER, or 123,\n"
             "        ERROR_INVALID_NAME).\n\n"
             "Win32: RegisterWindowMessage.");

static PyObject *
register_message(PyObject *module, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be str, not %R",
                     (PyObject *)Py_TYPE(name));
        return NULL;
    }
    UINT number = send_registered(PyModule_GetState(module), name);
    return number == 0 ? NULL : PyLong_FromUnsignedLong(number);
}

/* ------------------------------------------------------------------- jobs */

/* One send, with the buffer of its data. */
typedef struct wi_send_job {
    HWND hwnd;
    PyObject *target; /* what the caller gave, borrowed: for errors; or NULL */
    UINT number;
    WPARAM wparam;
    LPARAM lparam; /* 0 or, for WM_COPYDATA, replaced by &data */
    UINT flags, timeout_ms;
    BOOL wait_for_winipc; /* no SMTO_ABORTIFHUNG for windows of winipc */
    BOOL check;           /* the answer 0 raises */
    COPYDATASTRUCT data;
    DWORD_PTR result;
    LRESULT sent;
    DWORD err;
    DWORD limit;   /* the receiver's, if the data is larger; else 0 */
    HANDLE thread; /* of a worker; send_start sets it */
    struct wi_send_job *next; /* abandoned too; send_abandon sets it */
    wi_source source;         /* zeros if there is none */
} send_job;

static LPARAM
send_lparam(send_job *job)
{
    return job->number == WM_COPYDATA ? (LPARAM)&job->data : job->lparam;
}

/* The largest message that a window of winipc takes; 0 for other windows. */
static DWORD
send_limit_of(HWND hwnd)
{
    return (DWORD)(uintptr_t)GetPropW(hwnd, WI_LIMIT_PROPERTY);
}

/* Try once; `now` is the current tick. TRUE if Windows did not send the
 * message because the receiver looks hung. If the receiver hangs during the
 * send, Windows gives up after seconds, and the receiver may have the message:
 * FALSE. */
static BOOL
send_try(send_job *job, ULONGLONG now, UINT timeout_ms)
{
    SetLastError(ERROR_SUCCESS);
    job->sent = SendMessageTimeoutW(job->hwnd, job->number, job->wparam,
                                    send_lparam(job), job->flags, timeout_ms,
                                    &job->result);
    job->err = GetLastError();
    /* Windows documents ERROR_TIMEOUT (1460), but may leave 0. */
    if (job->sent != 0 || !(job->flags & SMTO_ABORTIFHUNG) ||
        (job->err != ERROR_TIMEOUT && job->err != ERROR_SUCCESS)) {
        return FALSE;
    }
    ULONGLONG took = GetTickCount64() - now;
    return took < SEND_VERDICT_MS && took + 2 * SEND_TICK_MS < timeout_ms &&
           IsWindow(job->hwnd);
}

/* For Windows a receiver is hung if a message waits for it and its thread has
 * not asked for messages for 5 s. That is also true of a receiver that was
 * idle for as long, from the moment that another message wakes it until its
 * thread runs. So the verdict counts only if it lasts. The thread of a winipc
 * window always comes back to its messages, except from a handler, and for a
 * handler there is the time-out. */
static void
send_run(send_job *job)
{
    ULONGLONG start = GetTickCount64();
    ULONGLONG gone = 0;
    for (int i = 0; send_try(job, start + gone, job->timeout_ms - (UINT)gone);
         i++) {
        if (job->wait_for_winipc && send_limit_of(job->hwnd) != 0) {
            job->flags &= ~(UINT)SMTO_ABORTIFHUNG;
        }
        else if (i == SEND_HUNG_TRIES) {
            return;
        }
        else {
            Sleep(SEND_HUNG_PAUSE_MS);
        }
        gone = GetTickCount64() - start;
        if (gone >= job->timeout_ms) {
            return;
        }
    }
    if (gone > 0 && job->err == ERROR_INVALID_WINDOW_HANDLE) {
        job->err = ERROR_TIMEOUT; /* it was there when the send began */
    }
}

/* Carry out a job. Data above the limit of a winipc window is not sent: under
 * Wine a message larger than the stack of the window's thread ends the
 * receiver's process. */
static void
send_carry_out(send_job *job)
{
    DWORD limit =
        job->data.cbData > SEND_ALWAYS_TAKEN ? send_limit_of(job->hwnd) : 0;
    if (limit != 0 && job->data.cbData > limit) {
        job->limit = limit;
    }
    else {
        send_run(job);
    }
}

static DWORD WINAPI
send_worker(void *arg)
{
    send_job *job = arg;
    /* Windows would give up on a handler that works for more than 5 s. */
    if (job->wait_for_winipc && send_limit_of(job->hwnd) != 0) {
        job->flags &= ~(UINT)SMTO_ABORTIFHUNG;
    }
    send_carry_out(job);
    return 0;
}

static void
send_job_free(send_job *job)
{
    wi_source_release(&job->source);
    if (job->thread != NULL) {
        CloseHandle(job->thread);
    }
    PyMem_Free(job);
}

/* Keep a job and its buffer until its worker has ended. The GIL guards the
 * list. */
static void
send_abandon(wi_state *state, send_job *job)
{
    job->next = state->abandoned_sends;
    state->abandoned_sends = job;
}

/* Free the abandoned jobs whose workers have ended. Each send does this, so
 * that the list stays short. */
static void
send_reap(wi_state *state)
{
    send_job *job = state->abandoned_sends;
    state->abandoned_sends = NULL;
    while (job != NULL) {
        send_job *next = job->next;
        if (WaitForSingleObject(job->thread, 0) == WAIT_OBJECT_0) {
            send_job_free(job);
        }
        else {
            send_abandon(state, job);
        }
        job = next;
    }
}

/* Start a worker on a copy of the job, which takes over the buffer. On failure
 * the buffer is released. */
static send_job *
send_start(send_job *model)
{
    send_job *job = PyMem_Malloc(sizeof(*job));
    if (job == NULL) {
        wi_source_release(&model->source);
        PyErr_NoMemory();
        return NULL;
    }
    *job = *model;
    memset(&model->source, 0, sizeof(model->source)); /* moved */
    DWORD err;
    WI_CALL(err, job->thread =
                     CreateThread(NULL, 256 * 1024, send_worker, job,
                                  STACK_SIZE_PARAM_IS_A_RESERVATION, NULL));
    if (job->thread == NULL) {
        send_job_free(job);
        wi_raise_format(err, "CreateThread", "a send to window %p",
                        (void *)model->hwnd);
        return NULL;
    }
    return job;
}

/* Run a job on a worker, and copy the outcome into the model. For quiet_ms
 * this thread takes no messages that are sent to its windows. */
static int
send_on_worker(wi_state *state, send_job *model, uint64_t timeout_ms,
               DWORD quiet_ms)
{
    send_job *job = send_start(model);
    if (job == NULL) {
        return -1;
    }
    if (quiet_ms > 0) {
        Py_BEGIN_ALLOW_THREADS
        WaitForSingleObject(job->thread, quiet_ms);
        Py_END_ALLOW_THREADS
    }
    /* The send itself ends at the time-out; the margin is for the thread. */
    if (timeout_ms != WI_FOREVER) {
        timeout_ms += SEND_WORKER_MARGIN_MS;
    }
    DWORD waited = wi_wait(&job->thread, 1, WI_WAIT_SERVING, timeout_ms,
                           WI_WAIT_SLICE_MS);
    if (waited == WAIT_OBJECT_0) {
        model->sent = job->sent;
        model->result = job->result;
        model->err = job->err;
        model->limit = job->limit;
        send_job_free(job);
        return 0;
    }
    send_abandon(state, job);
    model->sent = 0;
    model->err = ERROR_TIMEOUT;
    return waited == WAIT_TIMEOUT ? 0 : -1; /* -1: usually Ctrl+C */
}

/* -------------------------------------------------------------- arguments */

/* Put the arguments into values; only the first `positions` may be given by
 * position. */
static int
send_arguments(const char *function, const char *const *names, int positions,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject **values)
{
    if (nargs > positions) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most %d positional arguments, not %zd",
                     function, positions, nargs);
        return -1;
    }
    return wi_fast_args(function, names, 2, args, nargs, kwnames, values);
}

/* The window that a target means: a handle, a title or an object. */
static int
send_target(PyObject *module, PyObject *target, HWND *hwnd)
{
    if (PyLong_CheckExact(target)) {
        return wi_hwnd_converter(target, hwnd) ? 0 : -1;
    }
    PyObject *number = PyObject_CallMethod(module, "_hwnd_of", "(O)", target);
    int ok = number != NULL && wi_hwnd_converter(number, hwnd);
    Py_XDECREF(number);
    return ok ? 0 : -1;
}

static int
send_number(PyObject *module, PyObject *message, UINT *number)
{
    DWORD value;
    if (!PyLong_CheckExact(message) && PyUnicode_Check(message)) {
        *number = send_registered(PyModule_GetState(module), message);
        return *number == 0 ? -1 : 0;
    }
    if (!wi_u32_converter(message, &value)) {
        return wi_wrong_type("message must be an int or a str", message) - 1;
    }
    if (value == WM_COPYDATA) {
        PyErr_SetString(PyExc_ValueError,
                        "WM_COPYDATA carries a pointer: use send_copydata");
        return -1;
    }
    *number = value;
    return 0;
}

/* Parse timeout (NULL: the default) and abort_if_hung (NULL or None: the
 * default). */
static int
send_how(send_job *job, PyObject *timeout, PyObject *abort_if_hung,
         uint64_t *timeout_ms)
{
    int abort = -1; /* it depends on the window */
    *timeout_ms = SEND_DEFAULT_MS;
    if (timeout != NULL && !wi_timeout_converter(timeout, timeout_ms)) {
        return -1;
    }
    if (abort_if_hung != NULL && abort_if_hung != Py_None) {
        abort = PyObject_IsTrue(abort_if_hung);
        if (abort < 0) {
            return -1;
        }
    }
    job->wait_for_winipc = abort < 0;
    if (abort < 0) {
        abort = *timeout_ms != WI_FOREVER;
    }
    job->flags =
        SMTO_NORMAL | SMTO_ERRORONEXIT | (abort ? SMTO_ABORTIFHUNG : 0);
    job->timeout_ms =
        *timeout_ms > SEND_LONGEST_MS ? SEND_LONGEST_MS : (UINT)*timeout_ms;
    return 0;
}

/* Whether a receiver is in this process. Then Windows hands it our own memory;
 * for other processes the kernel makes a copy, and checks it. */
static BOOL
send_is_within(HWND hwnd)
{
    return hwnd == HWND_BROADCAST ||
           wi_window_pid(hwnd, NULL) == GetCurrentProcessId();
}

/* Set the job's data. A buffer with strides is copied; so is memory of a file
 * if a receiver in this process would touch it without a guard. */
static int
send_data(send_job *job, PyObject *data)
{
    wi_source *source = &job->source;
    if (!PyBytes_CheckExact(data) && PyUnicode_Check(data)) {
        PyErr_SetString(PyExc_TypeError,
                        "a message is bytes, not str: text.encode() gives "
                        "those of UTF-8, text.encode(\"utf-16-le\") those of "
                        "wchar_t");
        return -1;
    }
    if (wi_source_take(source, data, WI_NO_COPY) < 0) {
        return -1;
    }
    if (source->file != NULL && send_is_within(job->hwnd)) {
        wi_source_release(source);
        if (wi_source_take(source, data, WI_COPY_OF_FILE) < 0) {
            return -1;
        }
    }
    if ((uint64_t)source->size > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError,
                     "%zd bytes are too many for WM_COPYDATA: the most is "
                     "4294967295",
                     source->size);
        wi_source_release(source);
        return -1;
    }
    job->data.cbData = (DWORD)source->size;
    job->data.lpData = source->size > 0 ? (void *)source->bytes : NULL;
    return 0;
}

/* ------------------------------------------------------------------ errors */

/* If the current exception is a PermissionError, let Python add a hint. */
static void
send_explain(PyObject *module, HWND hwnd)
{
    if (!PyErr_ExceptionMatches(PyExc_PermissionError)) {
        return;
    }
    WI_KEEP_ERROR
    PyErr_NormalizeException(&kept_type, &kept_value, &kept_traceback);
    PyObject *none = PyObject_CallMethod(module, "_explain_send", "ON",
                                         kept_value, wi_hwnd_to_python(hwnd));
    if (none == NULL) {
        PyErr_Clear(); /* the error itself matters more */
    }
    Py_XDECREF(none);
    WI_END_KEEP_ERROR
}

/* The window, and how the caller found it. */
static PyObject *
send_label(const send_job *job)
{
    PyObject *target = job->target;
    unsigned int hwnd = (unsigned int)(uintptr_t)job->hwnd;
    return target != NULL && (PyUnicode_Check(target) || PyTuple_Check(target))
               ? PyUnicode_FromFormat("window 0x%x (found by %R)", hwnd,
                                      target)
               : PyUnicode_FromFormat("window 0x%x", hwnd);
}

/* Raise the error of a failed send or post; NULL. */
static PyObject *
send_failed(PyObject *module, DWORD err, const char *api, const send_job *job)
{
    HWND hwnd = job->hwnd;
    PyObject *cls = PyExc_OSError;
    PyObject *label = send_label(job);
    if (label == NULL) {
        return NULL;
    }
    if (err == ERROR_INVALID_WINDOW_HANDLE) {
        cls = PyExc_FileNotFoundError;
    }
    else if (hwnd != HWND_BROADCAST && !IsWindow(hwnd)) {
        /* The window was there when the send began. The error of a send to a
         * receiver that dies may be 0, 5 or 1460: none says what happened. */
        cls = PyExc_ConnectionResetError;
        err = ERROR_INVALID_WINDOW_HANDLE;
    }
    else if (err == ERROR_SUCCESS || err == ERROR_TIMEOUT) {
        wi_raise_timeout("It hangs, or did not answer in time", api, label);
        Py_DECREF(label);
        return NULL;
    }
    wi_raise_format_as(cls, err, api, "%U", label);
    Py_DECREF(label);
    send_explain(module, hwnd);
    return NULL;
}

/* ConnectionRefusedError; NULL. On Windows its errno is Winsock's number, not
 * the one of errno.h. */
static PyObject *
send_refused(const send_job *job, int err, const char *text)
{
    PyObject *label = send_label(job);
    PyObject *error = PyObject_CallFunction(
        PyExc_ConnectionRefusedError, "iN", err,
        label == NULL ? NULL : PyUnicode_FromFormat("%U %s", label, text));
    Py_XDECREF(label);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

/* The answer of a job that has run, or an exception. */
static PyObject *
send_answer(PyObject *module, const send_job *job)
{
    BOOL refused = job->sent != 0 && job->check && job->result == 0;
    DWORD limit = refused ? send_limit_of(job->hwnd) : job->limit;
    if (limit != 0 && job->data.cbData > limit) {
        char text[160];
        PyOS_snprintf(text, sizeof(text),
                      "takes messages of at most %lu bytes, not %lu "
                      "(max_message of its CopyDataWindow)",
                      limit, job->data.cbData);
        return send_refused(job, WSAEMSGSIZE, text);
    }
    if (job->sent == 0) {
        return send_failed(module, job->err, "SendMessageTimeoutW", job);
    }
    if (refused) {
        char text[96];
        /* Python 3.11 has no %llx. */
        PyOS_snprintf(text, sizeof(text),
                      "refused a message of %lu bytes with id 0x%llx",
                      (unsigned long)job->data.cbData,
                      (unsigned long long)job->data.dwData);
        return send_refused(job, WSAECONNREFUSED, text);
    }
    return PyLong_FromLongLong((LRESULT)job->result);
}

/* Send, and release the buffer. */
static PyObject *
send_now(PyObject *module, send_job *job, uint64_t timeout_ms)
{
    wi_state *state = PyModule_GetState(module);
    send_reap(state);
    /* A broadcast may take the time-out for each window. */
    if (timeout_ms <= SEND_DIRECT_MS && job->hwnd != HWND_BROADCAST) {
        Py_BEGIN_ALLOW_THREADS
        send_carry_out(job);
        Py_END_ALLOW_THREADS
        wi_source_release(&job->source);
    }
    else if (send_on_worker(state, job, timeout_ms, 0) < 0) {
        return NULL;
    }
    return send_answer(module, job);
}

/* ------------------------------------------------------------------- sends */

PyDoc_STRVAR(
    send_copydata_doc,
    "send_copydata($module, target, data, *, id=0, timeout=5.0, sender=None,\n"
    "              abort_if_hung=None, check=True)\n--\n\n"
    "Send bytes to a window and return what it answered.\n\n"
    "::\n\n"
    "    print(winipc.send_copydata(\"my-app\", b\"hello\", id=4))  # 1\n\n"
    "`data` is anything with the buffer protocol. This side copies it only\n"
    "if it has strides, or is memory of a file for a receiver in this\n"
    "process. The receiver has copied what it needs when the call returns.\n"
    "`id` is dwData, 64 bits wide (32 for a 32-bit receiver). `sender` is\n"
    "the window that the receiver may answer to. `timeout` is in seconds,\n"
    "None for forever. By default a hung receiver of another program ends\n"
    "the wait within a second, and a handler of winipc that does not\n"
    "return takes the whole time-out; with None no hang ends the wait.\n"
    "`abort_if_hung` says for any receiver whether a hang ends it.\n\n"
    "The answer is the receiver's LRESULT, signed. 0 means that the receiver\n"
    "did not take the data, and raises unless `check` is False.\n\n"
    "Raises:\n"
    "    ConnectionRefusedError: The answer is 0, or a winipc window does\n"
    "        not take so much data.\n"
    "    TimeoutError: The receiver is hung or slow (winerror 1460,\n"
    "        ERROR_TIMEOUT).\n"
    "    FileNotFoundError: There is no such window (winerror 1400,\n"
    "        ERROR_INVALID_WINDOW_HANDLE).\n"
    "    ConnectionResetError: The window went away during the send.\n"
    "    PermissionError: The window's integrity level is higher.\n"
    "    OverflowError: The data has 4 GiB or more.\n\n"
    "Any thread may call it; meanwhile the thread takes messages that are\n"
    "sent to its own windows. Ctrl+C ends the wait if `timeout` is more than\n"
    "5 s or None; else it takes effect when the send ends.\n\n"
    "Win32: SendMessageTimeout, COPYDATASTRUCT.");

/* A job of send_copydata's arguments. */
static int
send_copydata_job(PyObject *module, send_job *job, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames, uint64_t *timeout_ms)
{
    static const char *const names[] = {"target",  "data",   "id",
                                        "timeout", "sender", "abort_if_hung",
                                        "check",   NULL};
    PyObject *values[7];
    uint64_t id = 0;
    HWND sender = NULL;
    memset(job, 0, offsetof(send_job, thread)); /* others set the rest */
    if (send_arguments("send_copydata", names, 2, args, nargs, kwnames,
                       values) < 0 ||
        send_target(module, values[0], &job->hwnd) < 0 ||
        wi_int_arg("id", values[2], wi_param_converter, &id) < 0 ||
        send_how(job, values[3], values[5], timeout_ms) < 0 ||
        (values[4] != NULL && values[4] != Py_None &&
         send_target(module, values[4], &sender) < 0)) {
        return -1;
    }
    job->check = values[6] == NULL ? 1 : PyObject_IsTrue(values[6]);
    if (job->check < 0) {
        return -1;
    }
    job->target = values[0];
    job->number = WM_COPYDATA;
    job->wparam = (WPARAM)sender;
    job->data.dwData = (ULONG_PTR)id;
    return send_data(job, values[1]);
}

static PyObject *
send_copydata(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    send_job job;
    uint64_t timeout_ms;
    if (send_copydata_job(module, &job, args, nargs, kwnames, &timeout_ms) <
        0) {
        return NULL;
    }
    return send_now(module, &job, timeout_ms);
}

/* The destructor of _begin_send's capsule: an asyncio task has the answer, or
 * was cancelled. The capsule's context is the module. */
static void
send_end_of_task(PyObject *capsule)
{
    send_job *job = PyCapsule_GetPointer(capsule, NULL);
    PyObject *module = PyCapsule_GetContext(capsule);
    if (WaitForSingleObject(job->thread, 0) == WAIT_OBJECT_0) {
        send_job_free(job);
    }
    else {
        send_abandon(PyModule_GetState(module), job);
    }
    Py_DECREF(module);
}

/* (send, handle): call _end_send(send) when the handle is signalled. The
 * worker reads the data until then, even if the capsule is freed. */
static PyObject *
send_begin(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    wi_state *state = PyModule_GetState(module);
    send_job model;
    uint64_t timeout_ms;
    send_reap(state);
    if (send_copydata_job(module, &model, args, nargs, kwnames, &timeout_ms) <
        0) {
        return NULL;
    }
    send_job *job = send_start(&model);
    if (job == NULL) {
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(job, NULL, send_end_of_task);
    if (capsule == NULL) {
        send_abandon(state, job);
        return NULL;
    }
    PyCapsule_SetContext(capsule, Py_NewRef(module));
    return Py_BuildValue("(NK)", capsule,
                         (unsigned long long)(uintptr_t)job->thread);
}

static PyObject *
send_end(PyObject *module, PyObject *args)
{
    PyObject *capsule, *target;
    if (!PyArg_ParseTuple(args, "OO:_end_send", &capsule, &target)) {
        return NULL;
    }
    send_job *job = PyCapsule_GetPointer(capsule, NULL);
    if (job == NULL) {
        return NULL;
    }
    job->target = target;
    return send_answer(module, job);
}

PyDoc_STRVAR(
    send_message_doc,
    "send_message($module, target, message, wparam=0, lparam=0, *,\n"
    "             timeout=5.0, abort_if_hung=None)\n--\n\n"
    "Send a message and return what the window answered, signed.\n\n"
    "::\n\n"
    "    print(winipc.send_message(\"my-app\", \"my-app.Add\", 1, 2))  # 3\n"
    "    WM_NULL = 0  # which every window answers\n"
    "    print(winipc.send_message(\"Settings\", WM_NULL, timeout=1))  # 0\n\n"
    "`message` is a number, or a name to register. `wparam` and `lparam` are\n"
    "ints of the width of a pointer, signed or unsigned. The rest is as in\n"
    "`send_copydata`, but 0 is an answer like any other.\n\n"
    "Raises:\n"
    "    ValueError: The message is WM_COPYDATA.\n\n"
    "The other errors are those of `send_copydata`.\n\n"
    "Win32: SendMessageTimeout.");

/* Parse target, message, wparam and lparam of a send or a post. */
static int
send_message_job(PyObject *module, send_job *job, PyObject **values)
{
    uint64_t wparam = 0, lparam = 0;
    if (send_target(module, values[0], &job->hwnd) < 0 ||
        send_number(module, values[1], &job->number) < 0 ||
        wi_int_arg("wparam", values[2], wi_param_converter, &wparam) < 0 ||
        wi_int_arg("lparam", values[3], wi_param_converter, &lparam) < 0) {
        return -1;
    }
    job->target = values[0];
    job->wparam = (WPARAM)wparam;
    job->lparam = (LPARAM)lparam;
    return 0;
}

static PyObject *
send_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char *const names[] = {"target", "message", "wparam",
                                        "lparam", "timeout", "abort_if_hung",
                                        NULL};
    PyObject *values[6];
    send_job job;
    uint64_t timeout_ms;
    memset(&job, 0, sizeof(job));
    if (send_arguments("send_message", names, 4, args, nargs, kwnames,
                       values) < 0 ||
        send_message_job(module, &job, values) < 0 ||
        send_how(&job, values[4], values[5], &timeout_ms) < 0) {
        return NULL;
    }
    return send_now(module, &job, timeout_ms);
}

PyDoc_STRVAR(
    post_message_doc,
    "post_message($module, target, message, wparam=0, lparam=0)\n--\n\n"
    "Put a message into the queue of a window's thread; there is no answer.\n"
    "\n"
    "Any thread may call it.\n\n"
    "Raises:\n"
    "    FileNotFoundError: There is no such window (winerror 1400,\n"
    "        ERROR_INVALID_WINDOW_HANDLE).\n"
    "    PermissionError: The window's integrity level is higher.\n"
    "    OSError: 10,000 messages wait there already (winerror 1816,\n"
    "        ERROR_NOT_ENOUGH_QUOTA).\n\n"
    "Win32: PostMessage.");

static PyObject *
post_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    static const char *const names[] = {"target", "message", "wparam",
                                        "lparam", NULL};
    PyObject *values[4];
    send_job job;
    if (send_arguments("post_message", names, 4, args, nargs, kwnames,
                       values) < 0 ||
        send_message_job(module, &job, values) < 0) {
        return NULL;
    }
    BOOL ok;
    DWORD err;
    WI_CALL_GIL(
        err, ok = PostMessageW(job.hwnd, job.number, job.wparam, job.lparam));
    if (!ok) {
        return send_failed(module, err ? err : ERROR_GEN_FAILURE,
                           "PostMessageW", &job);
    }
    Py_RETURN_NONE;
}

/* Pass a message on to another window, without a time-out: the message's own
 * sender has one. */
static PyObject *
send_forward(PyObject *module, PyObject *args)
{
    send_job job;
    uint64_t wparam, lparam, id;
    DWORD number;
    PyObject *data;
    memset(&job, 0, sizeof(job));
    if (!PyArg_ParseTuple(args, "O&O&O&O&O&O:_forward", wi_hwnd_converter,
                          &job.hwnd, wi_u32_converter, &number,
                          wi_param_converter, &wparam, wi_param_converter,
                          &lparam, wi_param_converter, &id, &data)) {
        return NULL;
    }
    job.number = number;
    job.wparam = (WPARAM)wparam;
    job.lparam = (LPARAM)lparam;
    job.data.dwData = (ULONG_PTR)id;
    job.flags = SMTO_NORMAL | SMTO_ERRORONEXIT;
    job.timeout_ms = SEND_LONGEST_MS;
    wi_state *state = PyModule_GetState(module);
    send_reap(state);
    if ((number == WM_COPYDATA && send_data(&job, data) < 0) ||
        send_on_worker(state, &job, WI_FOREVER, SEND_QUIET_MS) < 0) {
        return NULL;
    }
    return send_answer(module, &job);
}

static PyObject *
reply_message(PyObject *Py_UNUSED(module), PyObject *arg)
{
    uint64_t result;
    if (!wi_param_converter(arg, &result)) {
        return NULL;
    }
    DWORD flags = InSendMessageEx(NULL);
    BOOL sent = (flags & (ISMEX_SEND | ISMEX_REPLIED)) == ISMEX_SEND;
    return PyBool_FromLong((sent && ReplyMessage((LRESULT)result)) ||
                           wi_pump_reply((LRESULT)result));
}

/* Whether the message that this thread handles was sent, not posted: its
 * sender may wait for the answer. */
static PyObject *
in_send(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(InSendMessageEx(NULL) != ISMEX_NOSEND);
}

static PyMethodDef send_functions[] = {
    {"register_message", register_message, METH_O, register_message_doc},
    {"send_copydata", WI_FAST(send_copydata), send_copydata_doc},
    {"send_message", WI_FAST(send_message), send_message_doc},
    {"post_message", WI_FAST(post_message), post_message_doc},
    {"_begin_send", WI_FAST(send_begin),
     "_begin_send($module, /, target, data, **how)\n--\n\n"
     "Begin a send_copydata on a worker thread: (send, handle)."},
    {"_end_send", send_end, METH_VARARGS,
     "_end_send($module, send, target, /)\n--\n\nThe answer, or the error."},
    {"_reply_message", reply_message, METH_O,
     "_reply_message($module, result, /)\n--\n\n"
     "Answer the message that this thread handles; False if no sender waits.\n"
     "\nWin32: InSendMessageEx, ReplyMessage."},
    {"_forward", send_forward, METH_VARARGS,
     "_forward($module, hwnd, message, wparam, lparam, id, data, /)\n--\n\n"
     "Pass a message on; only WM_COPYDATA has data.\n\n"
     "Win32: SendMessageTimeout."},
    {"_in_send", in_send, METH_NOARGS,
     "_in_send($module, /)\n--\n\n"
     "False in a handler of a posted message. Win32: InSendMessageEx."},
    {NULL, NULL, 0, NULL},
};

int
wi_send_init(PyObject *module, wi_state *state)
{
    state->message_numbers = PyDict_New();
    if (state->message_numbers == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, send_functions);
}

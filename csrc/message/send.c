/* send.c: registered messages, window look-up and sends.
 *
 * Wraps RegisterWindowMessage, FindWindowEx, EnumWindows, the queries about a
 * window, PostMessage, SendNotifyMessage and SendMessageTimeout. Nothing here
 * owns a window; any thread may call any of it.
 *
 * A send holds neither the GIL nor a lock, because the receiver may send back
 * before it answers. SendMessageTimeout cannot be interrupted, so a send that
 * may take longer than SEND_DIRECT_MS runs on a worker thread while this one
 * waits in slices and serves what is sent to its own windows. */
#include "message.h"

/* How long a send may keep Ctrl+C waiting. */
#define SEND_DIRECT_MS 5000

/* SendMessageTimeout takes no more than this (24 days); longer is for ever. */
#define SEND_LONGEST_MS 0x7FFFFFFF

/* A receiver that looks hung is tried so many times more, so far apart. */
#define SEND_HUNG_TRIES 50
#define SEND_HUNG_PAUSE_MS 10

/* A send given up sooner than this was given up before it began: Windows does
 * not look again for seconds. */
#define SEND_VERDICT_MS 1000

/* How far GetTickCount64 and a time-out may be off. */
#define SEND_TICK_MS 16

/* GCC 12's headers lack it; Windows has it since Vista. */
#ifndef SMTO_ERRORONEXIT
#define SMTO_ERRORONEXIT 0x0020
#endif

/* --------------------------------------------------------------- converters */

int
wi_param_converter(PyObject *value, void *out)
{
    PyObject *index =
        PyLong_Check(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (index == NULL) {
        return 0;
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    uint64_t bits = (uint64_t)number;
    if (overflow > 0) {
        bits = PyLong_AsUnsignedLongLong(index);
    }
    else if (overflow < 0) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit in 64 bits", value);
    }
    Py_DECREF(index);
    if (overflow != 0 && PyErr_Occurred()) {
        return 0;
    }
    *(uint64_t *)out = bits;
    return 1;
}

int
wi_hwnd_converter(PyObject *value, void *out)
{
    uint64_t number;
    if (!wi_param_converter(value, &number)) {
        return 0;
    }
    /* Handles of windows are 32 bits wide, extended either way. */
    if (number == 0 ||
        (number > UINT32_MAX && number < 0xFFFFFFFF80000000ULL)) {
        PyErr_Format(PyExc_ValueError, "%R is not a window handle", value);
        return 0;
    }
    *(HWND *)out = (HWND)(uintptr_t)number;
    return 1;
}

static PyObject *
hwnd_to_python(HWND hwnd)
{
    return PyLong_FromUnsignedLongLong((uintptr_t)hwnd & UINT32_MAX);
}

static PyObject *
hwnd_name(HWND hwnd)
{
    return PyUnicode_FromFormat("window %p", (void *)hwnd);
}

/* ------------------------------------------------------------------ waits */

DWORD
wi_wait_serving(HANDLE handle, uint64_t timeout_ms)
{
    ULONGLONG start = GetTickCount64();
    uint64_t remaining = timeout_ms;
    for (;;) {
        DWORD slice =
            remaining < WI_WAIT_SLICE_MS ? (DWORD)remaining : WI_WAIT_SLICE_MS;
        DWORD result, err;
        Py_BEGIN_ALLOW_THREADS
        result =
            MsgWaitForMultipleObjectsEx(1, &handle, slice, QS_SENDMESSAGE, 0);
        err = GetLastError();
        if (result == WAIT_OBJECT_0 + 1) {
            MSG message; /* none is taken: looking lets the sent ones in */
            PeekMessageW(&message, NULL, 0, 0,
                         PM_NOREMOVE | PM_QS_SENDMESSAGE);
        }
        Py_END_ALLOW_THREADS
        if (result == WAIT_OBJECT_0) {
            return result;
        }
        if (result == WAIT_FAILED) {
            wi_raise(err, "MsgWaitForMultipleObjectsEx", NULL);
            return WAIT_FAILED;
        }
        if (PyErr_CheckSignals() < 0) {
            return WAIT_FAILED;
        }
        if (timeout_ms != WI_FOREVER) {
            ULONGLONG waited = GetTickCount64() - start;
            if (waited >= timeout_ms) {
                return WAIT_TIMEOUT;
            }
            remaining = timeout_ms - waited;
        }
    }
}

/* ------------------------------------------------------ names and look-up */

PyDoc_STRVAR(register_message_doc,
             "register_message($module, name, /)\n--\n\n"
             "The number that every program gets for this name.\n\n"
             "Names ignore case and have 1 to 255 characters; the number is\n"
             "from 0xC000 to 0xFFFF and stays until the session ends.\n\n"
             "Raises OSError (winerror 87 or 123) for other names.\n\n"
             "Win32: RegisterWindowMessage.");

static PyObject *
register_message(PyObject *Py_UNUSED(module), PyObject *arg)
{
    if (!PyUnicode_Check(arg)) {
        PyErr_Format(PyExc_TypeError, "name must be str, not %R",
                     (PyObject *)Py_TYPE(arg));
        return NULL;
    }
    wchar_t *name = PyUnicode_AsWideCharString(arg, NULL);
    if (name == NULL) {
        return NULL;
    }
    UINT number;
    DWORD err;
    WI_CALL_GIL(err, number = RegisterWindowMessageW(name));
    PyMem_Free(name);
    if (number == 0) {
        return wi_raise(err ? err : ERROR_INVALID_PARAMETER,
                        "RegisterWindowMessageW", arg);
    }
    return PyLong_FromUnsignedLong(number);
}

PyDoc_STRVAR(
    find_window_doc,
    "_find_window($module, class_name, title, message_only, /)\n--\n\n"
    "The newest window with this class and title, or 0.");

static PyObject *
find_window(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *class_arg, *title_arg;
    int message_only;
    wchar_t *class_name = NULL, *title = NULL;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "OOp:_find_window", &class_arg, &title_arg,
                          &message_only)) {
        return NULL;
    }
    if (wi_wide_name(class_arg, &class_name) < 0 ||
        wi_wide_name(title_arg, &title) < 0) {
        goto done;
    }
    HWND hwnd;
    /* What it leaves as last error when there is none tells nothing. */
    Py_BEGIN_ALLOW_THREADS
    hwnd = FindWindowExW(message_only ? HWND_MESSAGE : NULL, NULL, class_name,
                         title);
    Py_END_ALLOW_THREADS
    result = hwnd_to_python(hwnd);
done:
    PyMem_Free(class_name);
    PyMem_Free(title);
    return result;
}

/* Window handles, gathered without the GIL. */
typedef struct {
    HWND *items;
    size_t count, room;
    BOOL failed;
} hwnd_list;

static BOOL CALLBACK
hwnd_list_add(HWND hwnd, LPARAM lparam)
{
    hwnd_list *list = (hwnd_list *)lparam;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 256;
        HWND *items = list->items == NULL
                          ? HeapAlloc(GetProcessHeap(), 0, room * sizeof(HWND))
                          : HeapReAlloc(GetProcessHeap(), 0, list->items,
                                        room * sizeof(HWND));
        if (items == NULL) {
            list->failed = TRUE;
            return FALSE;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = hwnd;
    return TRUE;
}

PyDoc_STRVAR(enum_windows_doc,
             "_enum_windows($module, message_only, /)\n--\n\n"
             "All top-level windows of the desktop, or all message-only\n"
             "ones, as a list of handles.");

static PyObject *
enum_windows(PyObject *Py_UNUSED(module), PyObject *arg)
{
    hwnd_list list = {NULL, 0, 0, FALSE};
    int message_only = PyObject_IsTrue(arg);
    if (message_only < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    if (message_only) {
        /* The order may change under us: a bound ends what would go round. */
        HWND hwnd = NULL;
        while (list.count < 65536 &&
               (hwnd = FindWindowExW(HWND_MESSAGE, hwnd, NULL, NULL)) !=
                   NULL &&
               hwnd_list_add(hwnd, (LPARAM)&list)) {
        }
    }
    else {
        EnumWindows(hwnd_list_add, (LPARAM)&list);
    }
    Py_END_ALLOW_THREADS
    PyObject *result = list.failed ? PyErr_NoMemory() : PyList_New(0);
    for (size_t i = 0; result != NULL && i < list.count; i++) {
        PyObject *hwnd = hwnd_to_python(list.items[i]);
        if (hwnd == NULL || PyList_Append(result, hwnd) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(hwnd);
    }
    if (list.items != NULL) {
        HeapFree(GetProcessHeap(), 0, list.items);
    }
    return result;
}

/* ---------------------------------------------------- queries on a window */

PyDoc_STRVAR(window_class_doc,
             "_window_class($module, hwnd, /)\n--\n\nThe class name.");

static PyObject *
window_class(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    wchar_t name[257];
    int length;
    DWORD err;
    WI_CALL(err, length = GetClassNameW(hwnd, name, 257));
    if (length == 0) {
        PyObject *what = hwnd_name(hwnd);
        /* Wine says 87 where Windows says 1400. */
        WI_UNUSED(err);
        wi_raise_as(PyExc_FileNotFoundError, ERROR_INVALID_WINDOW_HANDLE,
                    "GetClassNameW", what);
        Py_XDECREF(what);
        return NULL;
    }
    return PyUnicode_FromWideChar(name, length);
}

PyDoc_STRVAR(window_title_doc,
             "_window_title($module, hwnd, /)\n--\n\n"
             "The title, as the desktop has it: the window's thread is not\n"
             "asked, so a hung one does no harm.");

static PyObject *
window_title(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    for (int room = 256;; room *= 4) {
        wchar_t *text = PyMem_Malloc((size_t)room * sizeof(wchar_t));
        if (text == NULL) {
            return PyErr_NoMemory();
        }
        int length;
        Py_BEGIN_ALLOW_THREADS
        length = InternalGetWindowText(hwnd, text, room);
        Py_END_ALLOW_THREADS
        if (length < room - 1 || room > 1 << 20) {
            PyObject *result = PyUnicode_FromWideChar(text, length);
            PyMem_Free(text);
            return result;
        }
        PyMem_Free(text);
    }
}

PyDoc_STRVAR(window_process_doc,
             "_window_process($module, hwnd, /)\n--\n\n"
             "(process id, thread id), (0, 0) when there is no such window.");

static PyObject *
window_process(PyObject *Py_UNUSED(module), PyObject *arg)
{
    HWND hwnd;
    if (!wi_hwnd_converter(arg, &hwnd)) {
        return NULL;
    }
    DWORD pid = 0;
    DWORD tid = GetWindowThreadProcessId(hwnd, &pid);
    return Py_BuildValue("kk", (unsigned long)(tid ? pid : 0),
                         (unsigned long)tid);
}

PyDoc_STRVAR(window_is_doc,
             "_window_is($module, hwnd, what, /)\n--\n\n"
             "Whether the window exists (0), is visible (1), is hung (2).");

static PyObject *
window_is(PyObject *Py_UNUSED(module), PyObject *args)
{
    HWND hwnd;
    int what;
    if (!PyArg_ParseTuple(args, "O&i:_window_is", wi_hwnd_converter, &hwnd,
                          &what)) {
        return NULL;
    }
    BOOL result;
    Py_BEGIN_ALLOW_THREADS
    result = what == 0   ? IsWindow(hwnd)
             : what == 1 ? IsWindowVisible(hwnd)
                         : IsHungAppWindow(hwnd);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(result);
}

/* ------------------------------------------------------------------- sends */

static PyObject *
send_failed(DWORD err, const char *api, HWND hwnd)
{
    PyObject *what = hwnd_name(hwnd);
    if (what == NULL) {
        return NULL;
    }
    if (err == ERROR_INVALID_WINDOW_HANDLE) {
        wi_raise_as(PyExc_FileNotFoundError, err, api, what);
    }
    else if (hwnd != HWND_BROADCAST && !IsWindow(hwnd)) {
        /* It was there when the send began, whatever the code says: a dying
         * receiver leaves 0, 5 or 1460 behind. */
        wi_raise_as(PyExc_ConnectionResetError,
                    err ? err : ERROR_INVALID_WINDOW_HANDLE, api, what);
    }
    else if (err == ERROR_SUCCESS || err == ERROR_TIMEOUT) {
        wi_raise_timeout(api, what);
    }
    else {
        wi_raise(err, api, what);
    }
    Py_DECREF(what);
    return NULL;
}

/* One send, and its buffer, for the time that it takes. */
typedef struct {
    HWND hwnd;
    UINT number;
    WPARAM wparam;
    LPARAM lparam; /* 0 or, for WM_COPYDATA, replaced by &data */
    UINT flags, timeout_ms;
    COPYDATASTRUCT data;
    Py_buffer buffer; /* zeroed when there is none: released without effect */
    DWORD_PTR result;
    LRESULT sent;
    DWORD err;
    HANDLE thread; /* of a worker */
} send_job;

/* One try; TRUE when it was given up before the message was on its way,
 * because the receiver looks hung. A receiver that hangs during a send is
 * given up after seconds, and may have the message. */
static BOOL
send_try(send_job *job, UINT timeout_ms)
{
    LPARAM lparam =
        job->number == WM_COPYDATA ? (LPARAM)&job->data : job->lparam;
    ULONGLONG start = GetTickCount64();
    SetLastError(ERROR_SUCCESS);
    job->sent =
        SendMessageTimeoutW(job->hwnd, job->number, job->wparam, lparam,
                            job->flags, timeout_ms, &job->result);
    job->err = GetLastError();
    ULONGLONG took = GetTickCount64() - start;
    return job->sent == 0 && job->err == ERROR_TIMEOUT &&
           (job->flags & SMTO_ABORTIFHUNG) && took < SEND_VERDICT_MS &&
           took + 2 * SEND_TICK_MS < timeout_ms && IsWindow(job->hwnd);
}

/* A receiver counts as hung when it was sent something and has not looked for
 * messages for 5 s. So does one that was idle for as long, from the moment
 * that somebody else's message wakes it until its thread runs: a verdict only
 * counts if it lasts. */
static void
send_run(send_job *job)
{
    ULONGLONG start = GetTickCount64();
    ULONGLONG gone = 0;
    for (int i = 0; send_try(job, job->timeout_ms - (UINT)gone); i++) {
        if (i == SEND_HUNG_TRIES) {
            return;
        }
        Sleep(SEND_HUNG_PAUSE_MS);
        gone = GetTickCount64() - start;
        if (gone >= job->timeout_ms) {
            return;
        }
    }
    if (gone > 0 && job->err == ERROR_INVALID_WINDOW_HANDLE) {
        job->err = ERROR_TIMEOUT; /* it was there when the send began */
    }
}

/* Whether the window is this thread's. A window of another process has no
 * procedure to tell, which Windows and Wine know without asking around. */
static BOOL
send_is_to_self(HWND hwnd)
{
    return GetWindowLongPtrW(hwnd, GWLP_WNDPROC) != 0 &&
           GetWindowThreadProcessId(hwnd, NULL) == GetCurrentThreadId();
}

/* The same for a window of this thread, which has no use for a time-out. */
static void
send_run_direct(send_job *job)
{
    if (send_is_to_self(job->hwnd)) {
        job->result = (DWORD_PTR)SendMessageW(
            job->hwnd, job->number, job->wparam,
            job->number == WM_COPYDATA ? (LPARAM)&job->data : job->lparam);
        job->sent = 1;
    }
    else {
        send_run(job);
    }
}

static DWORD WINAPI
send_worker(void *job)
{
    send_run(job);
    return 0;
}

static void
send_job_free(send_job *job)
{
    HANDLE thread = job->thread;
    PyBuffer_Release(&job->buffer);
    PyMem_Free(job);
    if (thread != NULL) {
        CloseHandle(thread);
    }
}

/* Free the jobs that were abandoned and have come to an end since: each send
 * does, as nobody else lets go of their buffers. */
static int
send_reap(PyObject *list)
{
    for (Py_ssize_t i = PyList_Size(list); i-- > 0;) {
        PyObject *capsule = PyList_GetItem(list, i);
        send_job *job = PyCapsule_GetPointer(capsule, NULL);
        if (job == NULL) {
            return -1;
        }
        if (WaitForSingleObject(job->thread, 0) == WAIT_OBJECT_0) {
            if (PyList_SetSlice(list, i, i + 1, NULL) < 0) {
                return -1;
            }
            send_job_free(job);
        }
    }
    return 0;
}

/* Run a job on a worker. The job is freed, or kept alive with its buffer
 * while an abandoned worker still reads it; *out has what it came to. */
static int
send_on_worker(wi_state *state, send_job *model, uint64_t timeout_ms)
{
    send_job *job = PyMem_Malloc(sizeof(*job));
    PyObject *capsule = job ? PyCapsule_New(job, NULL, NULL) : NULL;
    if (capsule == NULL) {
        if (job == NULL) {
            PyErr_NoMemory();
        }
        PyMem_Free(job);
        PyBuffer_Release(&model->buffer);
        return -1;
    }
    *job = *model;
    model->buffer.obj = NULL; /* moved */
    int result = -1;
    DWORD err;
    WI_CALL(err, job->thread =
                     CreateThread(NULL, 256 * 1024, send_worker, job,
                                  STACK_SIZE_PARAM_IS_A_RESERVATION, NULL));
    if (job->thread == NULL) {
        wi_raise(err, "CreateThread", NULL);
        send_job_free(job);
        goto done;
    }
    /* The time-out is the send's own; the margin is for its thread. */
    DWORD waited = wi_wait_serving(job->thread, timeout_ms == WI_FOREVER
                                                    ? WI_FOREVER
                                                    : timeout_ms + 2000);
    if (waited == WAIT_OBJECT_0) {
        model->sent = job->sent;
        model->result = job->result;
        model->err = job->err;
        send_job_free(job);
        result = 0;
        goto done;
    }
    if (waited == WAIT_TIMEOUT) {
        model->sent = 0;
        model->err = ERROR_TIMEOUT;
        result = 0;
    }
    /* Abandoned: by Ctrl+C, mostly. When the list cannot grow, the job leaks
     * rather than its memory being freed under the worker. */
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyList_Append(state->abandoned_sends, capsule) < 0) {
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
done:
    Py_DECREF(capsule);
    return result;
}

/* Send and take care of the buffer. */
static PyObject *
send_job_send(PyObject *module, send_job *job, uint64_t timeout_ms,
              int abort_if_hung)
{
    wi_state *state = PyModule_GetState(module);
    if (send_reap(state->abandoned_sends) < 0) {
        PyBuffer_Release(&job->buffer);
        return NULL;
    }
    job->flags = SMTO_NORMAL | SMTO_ERRORONEXIT |
                 (abort_if_hung ? SMTO_ABORTIFHUNG : 0);
    job->timeout_ms =
        timeout_ms > SEND_LONGEST_MS ? SEND_LONGEST_MS : (UINT)timeout_ms;
    /* A broadcast has that time for each window. */
    if (timeout_ms <= SEND_DIRECT_MS && job->hwnd != HWND_BROADCAST) {
        Py_BEGIN_ALLOW_THREADS
        send_run_direct(job);
        Py_END_ALLOW_THREADS
        PyBuffer_Release(&job->buffer);
    }
    else if (send_on_worker(state, job, timeout_ms) < 0) {
        return NULL;
    }
    if (job->sent == 0) {
        return send_failed(job->err, "SendMessageTimeoutW", job->hwnd);
    }
    return PyLong_FromLongLong((LRESULT)job->result);
}

static int
send_check_count(const char *name, Py_ssize_t got, Py_ssize_t wanted)
{
    if (got == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name,
                 wanted, got);
    return -1;
}

PyDoc_STRVAR(send_copydata_doc,
             "_send_copydata($module, hwnd, data, id, sender, timeout,\n"
             "               abort_if_hung, /)\n--\n\n"
             "Send data by WM_COPYDATA; what the receiver answered.");

static PyObject *
send_copydata(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    send_job job;
    uint64_t id, sender, timeout_ms;
    memset(&job, 0, sizeof(job));
    if (send_check_count("_send_copydata", nargs, 6) < 0) {
        return NULL;
    }
    int abort_if_hung = PyObject_IsTrue(args[5]);
    if (abort_if_hung < 0 || !wi_hwnd_converter(args[0], &job.hwnd) ||
        !wi_param_converter(args[2], &id) ||
        !wi_param_converter(args[3], &sender) ||
        !wi_timeout_converter(args[4], &timeout_ms)) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &job.buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if ((uint64_t)job.buffer.len > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError,
                     "%zd bytes are too many for WM_COPYDATA: the most is "
                     "4294967295",
                     job.buffer.len);
        PyBuffer_Release(&job.buffer);
        return NULL;
    }
    job.number = WM_COPYDATA;
    job.wparam = (WPARAM)sender;
    job.data.dwData = (ULONG_PTR)id;
    job.data.cbData = (DWORD)job.buffer.len;
    job.data.lpData = job.buffer.len > 0 ? job.buffer.buf : NULL;
    return send_job_send(module, &job, timeout_ms, abort_if_hung);
}

static int
message_number_converter(PyObject *value, void *out)
{
    DWORD number;
    if (!wi_u32_converter(value, &number)) {
        return 0;
    }
    if (number == WM_COPYDATA) {
        PyErr_SetString(PyExc_ValueError,
                        "WM_COPYDATA carries a pointer: use send_copydata");
        return 0;
    }
    *(UINT *)out = number;
    return 1;
}

PyDoc_STRVAR(send_message_doc,
             "_send_message($module, hwnd, message, wparam, lparam, timeout,\n"
             "              abort_if_hung, /)\n--\n\n"
             "Send a message; what the receiver answered, signed.");

static PyObject *
send_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    send_job job;
    uint64_t wparam, lparam, timeout_ms;
    memset(&job, 0, sizeof(job));
    if (send_check_count("_send_message", nargs, 6) < 0) {
        return NULL;
    }
    int abort_if_hung = PyObject_IsTrue(args[5]);
    if (abort_if_hung < 0 || !wi_hwnd_converter(args[0], &job.hwnd) ||
        !message_number_converter(args[1], &job.number) ||
        !wi_param_converter(args[2], &wparam) ||
        !wi_param_converter(args[3], &lparam) ||
        !wi_timeout_converter(args[4], &timeout_ms)) {
        return NULL;
    }
    job.wparam = (WPARAM)wparam;
    job.lparam = (LPARAM)lparam;
    return send_job_send(module, &job, timeout_ms, abort_if_hung);
}

static PyObject *
message_post(PyObject *const *args, Py_ssize_t nargs, const char *name,
             BOOL(WINAPI *post)(HWND, UINT, WPARAM, LPARAM), const char *api)
{
    HWND hwnd;
    UINT number;
    uint64_t wparam = 0, lparam = 0;
    if (nargs < 2 || nargs > 4) {
        PyErr_Format(PyExc_TypeError, "%s takes 2 to 4 arguments, not %zd",
                     name, nargs);
        return NULL;
    }
    if (!wi_hwnd_converter(args[0], &hwnd) ||
        !message_number_converter(args[1], &number) ||
        (nargs > 2 && !wi_param_converter(args[2], &wparam)) ||
        (nargs > 3 && !wi_param_converter(args[3], &lparam))) {
        return NULL;
    }
    BOOL ok;
    DWORD err;
    WI_CALL_GIL(err, ok = post(hwnd, number, (WPARAM)wparam, (LPARAM)lparam));
    if (!ok) {
        return send_failed(err ? err : ERROR_GEN_FAILURE, api, hwnd);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(post_message_doc,
             "_post_message($module, hwnd, message, wparam=0, lparam=0, /)\n"
             "--\n\nLeave a message for a window.");

static PyObject *
post_message(PyObject *Py_UNUSED(module), PyObject *const *args,
             Py_ssize_t nargs)
{
    return message_post(args, nargs, "_post_message", PostMessageW,
                        "PostMessageW");
}

PyDoc_STRVAR(reply_message_doc,
             "reply_message($module, result, /)\n--\n\n"
             "Answer the message that this thread's handler is working on,\n"
             "and go on: its sender is free at once. False when there is no\n"
             "sender that waits.\n\n"
             "Win32: ReplyMessage.");

static PyObject *
reply_message(PyObject *Py_UNUSED(module), PyObject *arg)
{
    uint64_t result;
    if (!wi_param_converter(arg, &result)) {
        return NULL;
    }
    return PyBool_FromLong(ReplyMessage((LRESULT)result));
}

PyDoc_STRVAR(in_send_message_doc,
             "in_send_message($module, /)\n--\n\n"
             "Whether a sender waits for this thread's answer.\n\n"
             "Win32: InSendMessageEx.");

static PyObject *
in_send_message(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    DWORD flags = InSendMessageEx(NULL);
    return PyBool_FromLong((flags & (ISMEX_SEND | ISMEX_REPLIED)) ==
                           ISMEX_SEND);
}

/* ------------------------------------------------- the frequent forms, fast
 *
 * The public functions take targets and messages of many kinds, which is
 * Python's to sort out. What is called often has numbers only: these stand in
 * front of the Python function, take that form, and hand on every other.
 * Their self is a tuple (function, explain, abandoned sends). */

static PyObject *
fast_hand_on(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    PyObject *named = NULL, *result = NULL;
    PyObject *plain = PyTuple_New(nargs);
    if (plain == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SetItem(plain, i, Py_NewRef(args[i]));
    }
    if (kwnames != NULL) {
        named = PyDict_New();
        for (Py_ssize_t i = 0; named != NULL && i < PyTuple_Size(kwnames);
             i++) {
            if (PyDict_SetItem(named, PyTuple_GetItem(kwnames, i),
                               args[nargs + i]) < 0) {
                goto done;
            }
        }
        if (named == NULL) {
            goto done;
        }
    }
    result = PyObject_Call(PyTuple_GetItem(self, 0), plain, named);
done:
    Py_XDECREF(named);
    Py_DECREF(plain);
    return result;
}

/* Let Python add a hint to the PermissionError that is set; NULL. */
static PyObject *
fast_explain(PyObject *self, PyObject *hwnd)
{
    PyObject *type, *value, *traceback;
    if (PyErr_ExceptionMatches(PyExc_PermissionError)) {
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        PyObject *none = PyObject_CallFunctionObjArgs(PyTuple_GetItem(self, 1),
                                                      value, hwnd, NULL);
        if (none == NULL) {
            PyErr_Clear(); /* the error itself matters more */
        }
        Py_XDECREF(none);
        PyErr_Restore(type, value, traceback);
    }
    return NULL;
}

static PyObject *
fast_post(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    if (kwnames != NULL || nargs < 2 || nargs > 4 ||
        !PyLong_CheckExact(args[0]) || !PyLong_Check(args[1])) {
        return fast_hand_on(self, args, nargs, kwnames);
    }
    PyObject *result = message_post(args, nargs, "post_message", PostMessageW,
                                    "PostMessageW");
    return result != NULL ? result : fast_explain(self, args[0]);
}

/* What a CopyDataWindow takes whatever its max_message; the time-out and the
 * flags are the defaults of the Python function. */
#define FAST_ALWAYS_TAKEN (1 << 20)
#define FAST_TIMEOUT_MS 5000u

/* Point a job at data of at most FAST_ALWAYS_TAKEN bytes; bytes need no lock
 * on their buffer, as the caller holds them. FALSE, without an exception, for
 * what Python has to look at. */
static BOOL
fast_data(send_job *job, PyObject *data)
{
    Py_ssize_t size;
    char *from;
    if (PyBytes_CheckExact(data)) {
        size = PyBytes_Size(data);
        from = PyBytes_AsString(data);
    }
    else if (PyObject_CheckBuffer(data) &&
             PyObject_GetBuffer(data, &job->buffer, PyBUF_SIMPLE) == 0) {
        size = job->buffer.len;
        from = job->buffer.buf;
    }
    else {
        PyErr_Clear();
        return FALSE;
    }
    if (size > FAST_ALWAYS_TAKEN) {
        PyBuffer_Release(&job->buffer);
        return FALSE;
    }
    job->data.cbData = (DWORD)size;
    job->data.lpData = size > 0 ? from : NULL;
    return TRUE;
}

/* Take id=NUMBER or no keyword; FALSE, without an exception, for others. */
static BOOL
fast_id(send_job *job, PyObject *const *values, PyObject *kwnames)
{
    if (kwnames == NULL) {
        return TRUE;
    }
    if (PyTuple_Size(kwnames) != 1 || !PyLong_CheckExact(values[0]) ||
        PyUnicode_CompareWithASCIIString(PyTuple_GetItem(kwnames, 0), "id")) {
        return FALSE;
    }
    job->data.dwData = PyLong_AsSize_t(values[0]);
    if (job->data.dwData == (ULONG_PTR)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return FALSE;
    }
    return TRUE;
}

static PyObject *
fast_refused(const send_job *job)
{
    char text[96];
    /* Python 3.11 has no %llx. */
    PyOS_snprintf(text, sizeof(text),
                  "window 0x%x refused a message of %u bytes with id 0x%llx",
                  (unsigned int)(uintptr_t)job->hwnd,
                  (unsigned int)job->data.cbData,
                  (unsigned long long)job->data.dwData);
    PyObject *error = PyObject_CallFunction(
        /* Python's errno.ECONNREFUSED; that of errno.h is another. */
        PyExc_ConnectionRefusedError, "is", (int)WSAECONNREFUSED, text);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *
fast_copydata(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    send_job job;
    memset(&job, 0, sizeof(job));
    if (nargs != 2 || !PyLong_CheckExact(args[0]) ||
        !fast_id(&job, args + nargs, kwnames) || !fast_data(&job, args[1])) {
        return fast_hand_on(self, args, nargs, kwnames);
    }
    if (!wi_hwnd_converter(args[0], &job.hwnd) ||
        send_reap(PyTuple_GetItem(self, 2)) < 0) {
        PyBuffer_Release(&job.buffer);
        return NULL;
    }
    job.number = WM_COPYDATA;
    job.flags = SMTO_NORMAL | SMTO_ERRORONEXIT | SMTO_ABORTIFHUNG;
    job.timeout_ms = FAST_TIMEOUT_MS;
    Py_BEGIN_ALLOW_THREADS
    send_run_direct(&job);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&job.buffer);
    if (job.sent == 0) {
        send_failed(job.err, "SendMessageTimeoutW", job.hwnd);
        return fast_explain(self, args[0]);
    }
    if (job.result == 0) {
        return fast_refused(&job);
    }
    return PyLong_FromLongLong((LRESULT)job.result);
}

static PyMethodDef fast_post_def = {
    "post_message", (PyCFunction)(void (*)(void))fast_post,
    METH_FASTCALL | METH_KEYWORDS,
    "post_message($self, target, message, wparam=0, lparam=0)\n--\n\n"
    "Leave a message for a window and go on; nobody answers.\n\n"
    "Raises `FileNotFoundError` (winerror 1400) when there is no such "
    "window,\n"
    "`PermissionError` when its integrity level is higher, and `OSError`\n"
    "(winerror 1816) when it has not taken the last 10,000.\n\n"
    "Win32: PostMessage."};

static PyMethodDef fast_copydata_def = {
    "send_copydata", (PyCFunction)(void (*)(void))fast_copydata,
    METH_FASTCALL | METH_KEYWORDS,
    "send_copydata($self, target, data, *, id=0, timeout=5.0, sender=None,\n"
    "              abort_if_hung=None, check=True)\n--\n\n"
    "Send bytes to a window and return what it answered.\n"
    "\n"
    "The data is anything with the buffer protocol, and is not copied on "
    "this\n"
    "side; when the call returns, the receiver has taken what it wants of "
    "it.\n"
    "`id` is dwData, 64 bits wide (32 for a 32-bit receiver). `sender` is "
    "the\n"
    "window that the receiver may answer to. `timeout` is in seconds, None "
    "for\n"
    "ever; a receiver that is hung ends the wait within a second, unless\n"
    "`abort_if_hung` is False, as it is by default without a time-out.\n"
    "\n"
    "The answer is the receiver's LRESULT, signed. 0 says that it did not "
    "take\n"
    "the data and raises, unless `check` is False.\n"
    "\n"
    "Raises `ConnectionRefusedError` for the answer 0 and for data above the\n"
    "limit of a receiver that is a winipc window; `TimeoutError` (winerror\n"
    "1460) for a hung or slow receiver; `FileNotFoundError` (winerror 1400)\n"
    "when there is no such window; `ConnectionResetError` when it went away\n"
    "during the send; `PermissionError` when its integrity level is higher;\n"
    "`OverflowError` for 4 GiB and more.\n"
    "\n"
    "Any thread may call it; meanwhile messages that are sent to windows of\n"
    "the calling thread are let in. Ctrl+C interrupts sends of more than 5 "
    "s;\n"
    "shorter ones it waits for.\n"
    "\n"
    "Win32: SendMessageTimeout, COPYDATASTRUCT."};

PyDoc_STRVAR(fast_doc,
             "_fast($module, which, function, explain, /)\n--\n\n"
             "`post_message` or `send_copydata`: what is frequent in C, and\n"
             "everything else by `function`.");

static PyObject *
fast_make(PyObject *module, PyObject *args)
{
    wi_state *state = PyModule_GetState(module);
    const char *which;
    PyObject *function, *explain;
    if (!PyArg_ParseTuple(args, "sOO:_fast", &which, &function, &explain)) {
        return NULL;
    }
    PyMethodDef *def = strcmp(which, "post_message") == 0 ? &fast_post_def
                                                          : &fast_copydata_def;
    PyObject *self =
        PyTuple_Pack(3, function, explain, state->abandoned_sends);
    PyObject *name = PyUnicode_FromString("winipc.message");
    PyObject *made = self == NULL || name == NULL
                         ? NULL
                         : PyCFunction_NewEx(def, self, name);
    Py_XDECREF(self);
    Py_XDECREF(name);
    return made;
}

static PyMethodDef message_functions[] = {
    {"register_message", register_message, METH_O, register_message_doc},
    {"_find_window", find_window, METH_VARARGS, find_window_doc},
    {"_enum_windows", enum_windows, METH_O, enum_windows_doc},
    {"_window_class", window_class, METH_O, window_class_doc},
    {"_window_title", window_title, METH_O, window_title_doc},
    {"_window_process", window_process, METH_O, window_process_doc},
    {"_window_is", window_is, METH_VARARGS, window_is_doc},
    {"_send_copydata", (PyCFunction)(void (*)(void))send_copydata,
     METH_FASTCALL, send_copydata_doc},
    {"_send_message", (PyCFunction)(void (*)(void))send_message, METH_FASTCALL,
     send_message_doc},
    {"_post_message", (PyCFunction)(void (*)(void))post_message, METH_FASTCALL,
     post_message_doc},
    {"_fast", fast_make, METH_VARARGS, fast_doc},
    {"reply_message", reply_message, METH_O, reply_message_doc},
    {"in_send_message", in_send_message, METH_NOARGS, in_send_message_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_message_init(PyObject *module, wi_state *state)
{
    state->abandoned_sends = PyList_New(0);
    if (state->abandoned_sends == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, message_functions);
}

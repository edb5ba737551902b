/* window.c: CopyDataWindow, a window on a native thread of its own.
 *
 * Wraps RegisterClassEx, CreateWindowEx, the message loop, DestroyWindow and
 * UnregisterClass. There are two structs. A wi_pump is what the native thread
 * needs: the window, its queue, and which messages go where; it is counted by
 * reference, so whoever is last, the thread or Python, frees it. A
 * WindowObject is what Python holds, and owns one reference to its pump.
 *
 * The thread copies a message into the queue and answers without Python, so
 * a busy interpreter never holds up a sender, and neither does one that is
 * gone. It takes the GIL only for messages that are routed to a handler. It
 * ends when it is told to: by close(), the finaliser or the exit hook of
 * winipc.window, each of which waits for it without the GIL.
 *
 * Any thread may call the methods; a handler may close its own window, which
 * then goes when the handler has returned. */
#include "message.h"

#include <imm.h>

/* advapi32 exports RtlGenRandom under this name; the header that declares it
 * is not in every SDK's lean set. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
#define window_random SystemFunction036

/* A private message from this process to the pump: wParam is the pump's
 * cookie, which nobody else can know, lParam a pump_command. */
#define PUMP_COMMAND 0x7FF1

typedef struct {
    volatile LONG refs; /* the pump's and the caller's, who may give up */
    HANDLE done;        /* set when the pump has filled in the result */
    UINT_PTR id;
    UINT period_ms; /* 0 ends the timer */
    BOOL ok;
    DWORD error;
} pump_command;

/* What a pump thread's stack has beyond the largest message: Wine lays a
 * received WM_COPYDATA on it. */
#define PUMP_STACK_MARGIN (4u << 20)

/* How long a finaliser waits for the thread. */
#define FINALIZE_WAIT_MS 2000

typedef struct {
    UINT number;
    BOOL handled; /* by Python; else it is queued */
} pump_route;

/* Which messages go where; replaced as a whole. */
typedef struct {
    BOOL handle_all; /* every WM_COPYDATA goes to the handler */
    uint64_t *ids;   /* or those with these ids */
    size_t ids_count;
    pump_route *routes; /* plain messages; all others are ignored */
    size_t routes_count;
} pump_table;

typedef struct {
    volatile LONG refs;
    /* set before the thread starts, constant then */
    wchar_t *class_name, *title;
    BOOL message_only;
    uint64_t cookie;
    uint64_t max_message;
    UINT limit_message;   /* the registered question for max_message */
    BOOL lower_integrity; /* let our messages in from below */
    /* who may send WM_COPYDATA: these, or all when both are empty */
    uint64_t *accept_pids;
    size_t accept_pids_count;
    wchar_t **accept_paths;
    size_t accept_paths_count;
    HANDLE started; /* set when the window is there, or failed */
    HANDLE thread;
    DWORD thread_id;
    /* written by the thread */
    HWND volatile hwnd; /* NULL when it is gone */
    const char *failed; /* the call that failed before started */
    DWORD error;
    LONG depth;      /* handlers at work: more than one when they nest */
    BOOL destroying; /* by us: any program may send a WM_NCDESTROY */
    /* written by anybody */
    volatile LONG closing;
    volatile LONG64 rejected; /* messages from who may not send */
    wi_queue queue;
    SRWLOCK lock; /* guards the table; never held across a call out */
    pump_table table;
    /* under the GIL */
    PyObject *owner;  /* borrowed: the WindowObject, NULL once it closes */
    Py_ssize_t waits; /* methods that may be using the handles */
    PyThreadState *tstate; /* the thread's own, from its first handler on */
    PyGILState_STATE gil;
} wi_pump;

typedef struct {
    PyObject_HEAD
    PyObject *weakrefs;
    wi_pump *pump;              /* NULL until created */
    PyObject *dispatch;         /* callable(window, message) or NULL */
    PyObject *direct;           /* callable(message) when that is all */
    PyTypeObject *message_type; /* of what receive() gives */
    PyObject *title, *class_name;
} WindowObject;

/* ------------------------------------------------------------------- pump */

static void
pump_table_clear(pump_table *table)
{
    if (table->ids != NULL) {
        HeapFree(GetProcessHeap(), 0, table->ids);
    }
    if (table->routes != NULL) {
        HeapFree(GetProcessHeap(), 0, table->routes);
    }
    memset(table, 0, sizeof(*table));
}

static void
pump_unref(wi_pump *pump)
{
    if (pump == NULL || InterlockedDecrement(&pump->refs) != 0) {
        return;
    }
    wi_queue_clear(&pump->queue);
    pump_table_clear(&pump->table);
    if (pump->thread != NULL) {
        CloseHandle(pump->thread);
    }
    if (pump->started != NULL) {
        CloseHandle(pump->started);
    }
    if (pump->class_name != NULL) {
        HeapFree(GetProcessHeap(), 0, pump->class_name);
    }
    if (pump->title != NULL) {
        HeapFree(GetProcessHeap(), 0, pump->title);
    }
    if (pump->accept_pids != NULL) {
        HeapFree(GetProcessHeap(), 0, pump->accept_pids);
    }
    for (size_t i = 0; i < pump->accept_paths_count; i++) {
        HeapFree(GetProcessHeap(), 0, pump->accept_paths[i]);
    }
    if (pump->accept_paths != NULL) {
        HeapFree(GetProcessHeap(), 0, pump->accept_paths);
    }
    HeapFree(GetProcessHeap(), 0, pump);
}

/* Under the GIL: a method has ended its use of the handles. The last one
 * closes them when the thread has ended, which no longer uses them either;
 * a closed queue is never waited for. */
static void
pump_end_wait(wi_pump *pump)
{
    if (--pump->waits > 0 || !pump->closing || pump->thread == NULL ||
        WaitForSingleObject(pump->thread, 0) != WAIT_OBJECT_0) {
        return;
    }
    CloseHandle(pump->thread);
    pump->thread = NULL;
    if (pump->started != NULL) {
        CloseHandle(pump->started);
        pump->started = NULL;
    }
    wi_queue_release(&pump->queue);
}

static HINSTANCE
pump_instance(void)
{
    HMODULE module = NULL;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       (LPCWSTR)(void (*)(void))pump_instance, &module);
    return module;
}

/* The pump of a thread: where its window procedure finds it. The window's
 * own words could be changed by other processes. The index is made once for
 * the process and never freed, as the code is never unloaded. */
static INIT_ONCE pump_tls_once = INIT_ONCE_STATIC_INIT;
static DWORD pump_tls = TLS_OUT_OF_INDEXES;

static BOOL CALLBACK
pump_tls_init(PINIT_ONCE once, PVOID parameter, PVOID *context)
{
    WI_UNUSED(once);
    WI_UNUSED(parameter);
    WI_UNUSED(context);
    pump_tls = TlsAlloc();
    return pump_tls != TLS_OUT_OF_INDEXES;
}

/* End the window; on its own thread only. */
static void
pump_destroy(wi_pump *pump, HWND hwnd)
{
    pump->destroying = TRUE;
    DestroyWindow(hwnd);
}

/* Run the handler; consumes the reference to message. *queue tells that the
 * message is for the queue after all. */
static LRESULT
pump_call(wi_pump *pump, wi_message *message, BOOL *queue)
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
    PyObject *object = NULL, *result = NULL;
    /* Without references it is on its way to the finaliser, and a new one
     * would not keep it. */
    if (owner == NULL || Py_REFCNT((PyObject *)owner) == 0 ||
        owner->dispatch == NULL) {
        wi_message_unref(message);
        PyGILState_Release(gil);
        return 0;
    }
    PyObject *direct = owner->direct;
    PyObject *dispatch = direct != NULL ? direct : owner->dispatch;
    Py_INCREF((PyObject *)owner);
    Py_INCREF(dispatch);
    pump->depth++;
    object = wi_copydata_new(owner->message_type, message);
    if (object != NULL) {
        result = direct != NULL
                     ? PyObject_CallFunctionObjArgs(direct, object, NULL)
                     : PyObject_CallFunctionObjArgs(
                           dispatch, (PyObject *)owner, object, NULL);
    }
    if (result == Py_NotImplemented) {
        *queue = TRUE;
    }
    else if (result == Py_None) {
        answer = 1; /* no objection: it was taken */
    }
    else if (result != NULL) {
        uint64_t bits = 0;
        if (wi_param_converter(result, &bits)) {
            answer = (LRESULT)bits;
        }
    }
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(dispatch);
    }
    Py_XDECREF(result);
    Py_XDECREF(object);
    Py_DECREF(dispatch);
    Py_DECREF((PyObject *)owner);
    pump->depth--;
    PyGILState_Release(gil);
    return answer;
}

/* Hand a message to the queue or the handler; consumes the reference. */
static LRESULT
pump_deliver(wi_pump *pump, wi_message *message, BOOL handled)
{
    BOOL queue = !handled;
    LRESULT answer = 0;
    if (handled) {
        wi_message_ref(message);
        answer = pump_call(pump, message, &queue);
    }
    if (queue) {
        if (wi_queue_push(&pump->queue, message)) {
            message = NULL;
            answer = 1;
        }
        else {
            answer = 0;
        }
    }
    wi_message_unref(message);
    if (pump->depth == 0 && pump->closing && pump->hwnd != NULL) {
        pump_destroy(pump,
                     pump->hwnd); /* closed by the handler, or during it */
    }
    return answer;
}

/* Whether this process may send. Its executable is looked up each time, as
 * its id may be another process's by the next message. */
static BOOL
pump_accepts(wi_pump *pump, DWORD pid)
{
    if (pump->accept_pids_count == 0 && pump->accept_paths_count == 0) {
        return TRUE;
    }
    if (pid == 0) {
        return FALSE;
    }
    for (size_t i = 0; i < pump->accept_pids_count; i++) {
        if (pump->accept_pids[i] == pid) {
            return TRUE;
        }
    }
    BOOL accepted = FALSE;
    DWORD length = 32768;
    wchar_t *path = NULL;
    HANDLE process = NULL;
    if (pump->accept_paths_count > 0) {
        process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    }
    if (process != NULL) {
        path = HeapAlloc(GetProcessHeap(), 0, length * sizeof(wchar_t));
    }
    if (path != NULL &&
        QueryFullProcessImageNameW(process, 0, path, &length)) {
        for (size_t i = 0; i < pump->accept_paths_count && !accepted; i++) {
            accepted =
                CompareStringOrdinal(path, (int)length, pump->accept_paths[i],
                                     -1, TRUE) == CSTR_EQUAL;
        }
    }
    if (path != NULL) {
        HeapFree(GetProcessHeap(), 0, path);
    }
    if (process != NULL) {
        CloseHandle(process);
    }
    return accepted;
}

static LRESULT
pump_copydata(wi_pump *pump, WPARAM wparam, const COPYDATASTRUCT *data)
{
    if (pump->closing || data == NULL || data->cbData > pump->max_message ||
        (data->cbData > 0 && data->lpData == NULL)) {
        return 0;
    }
    DWORD pid = 0;
    if (wparam != 0 && GetWindowThreadProcessId((HWND)wparam, &pid) == 0) {
        pid = 0;
    }
    if (!pump_accepts(pump, pid)) {
        InterlockedIncrement64(&pump->rejected);
        return 0;
    }
    wi_message *message = wi_message_new(data->cbData);
    if (message == NULL) {
        return 0;
    }
    message->number = WM_COPYDATA;
    message->pid = pid;
    message->wparam = wparam;
    message->id = data->dwData;
    if (data->cbData > 0) {
        memcpy(message->data, data->lpData, data->cbData);
    }
    BOOL handled = FALSE;
    AcquireSRWLockShared(&pump->lock);
    handled = pump->table.handle_all;
    for (size_t i = 0; i < pump->table.ids_count && !handled; i++) {
        handled = pump->table.ids[i] == message->id;
    }
    ReleaseSRWLockShared(&pump->lock);
    return pump_deliver(pump, message, handled);
}

/* TRUE when the message is one that was asked for. */
static BOOL
pump_plain(wi_pump *pump, UINT number, WPARAM wparam, LPARAM lparam,
           LRESULT *answer)
{
    BOOL found = FALSE, handled = FALSE;
    AcquireSRWLockShared(&pump->lock);
    for (size_t i = 0; i < pump->table.routes_count && !found; i++) {
        found = pump->table.routes[i].number == number;
        handled = pump->table.routes[i].handled;
    }
    ReleaseSRWLockShared(&pump->lock);
    if (!found || pump->closing) {
        return FALSE;
    }
    *answer = 0;
    wi_message *message = wi_message_new(0);
    if (message != NULL) {
        message->number = number;
        message->wparam = wparam;
        message->lparam = lparam;
        *answer = pump_deliver(pump, message, handled);
    }
    return TRUE;
}

static void
pump_command_unref(pump_command *command)
{
    if (InterlockedDecrement(&command->refs) == 0) {
        CloseHandle(command->done);
        HeapFree(GetProcessHeap(), 0, command);
    }
}

/* Only the thread that owns a window may give it a timer. Consumes the
 * pump's reference. */
static void
pump_set_timer(HWND hwnd, pump_command *command)
{
    SetLastError(ERROR_SUCCESS);
    command->ok =
        command->period_ms == 0
            ? KillTimer(hwnd, command->id)
            : SetTimer(hwnd, command->id, command->period_ms, NULL) != 0;
    command->error = GetLastError();
    SetEvent(command->done);
    pump_command_unref(command);
}

/* Let the messages that are asked for in from lower integrity levels, and the
 * question that comes before a large one. */
static BOOL
pump_open_filter(HWND hwnd, UINT limit_message, const pump_table *table)
{
    BOOL ok =
        ChangeWindowMessageFilterEx(hwnd, WM_COPYDATA, MSGFLT_ALLOW, NULL) &&
        (limit_message == 0 ||
         ChangeWindowMessageFilterEx(hwnd, limit_message, MSGFLT_ALLOW, NULL));
    for (size_t i = 0; ok && i < table->routes_count; i++) {
        ok = ChangeWindowMessageFilterEx(hwnd, table->routes[i].number,
                                         MSGFLT_ALLOW, NULL);
    }
    return ok;
}

static LRESULT CALLBACK
pump_procedure(HWND hwnd, UINT number, WPARAM wparam, LPARAM lparam)
{
    wi_pump *pump = TlsGetValue(pump_tls);
    LRESULT answer;
    if (pump == NULL || (pump->hwnd != NULL && pump->hwnd != hwnd)) {
        return DefWindowProcW(hwnd, number, wparam, lparam);
    }
    switch (number) {
    case WM_COPYDATA:
        return pump_copydata(pump, wparam, (const COPYDATASTRUCT *)lparam);
    case PUMP_COMMAND:
        if (wparam != (WPARAM)pump->cookie) {
            return 0;
        }
        if (lparam != 0) {
            pump_set_timer(hwnd, (pump_command *)lparam);
        }
        else if (pump->depth == 0) {
            pump_destroy(pump, hwnd);
        }
        return 0;
    case WM_CLOSE:
        /* A polite taskkill, mostly: it may be asked for as a message, but
         * DefWindowProc would take the window away from its owner. */
        return pump_plain(pump, number, wparam, lparam, &answer) ? answer : 0;
    case WM_SETTEXT:
        return FALSE; /* the title is an address */
    case WM_NCCREATE:
        if (pump->hwnd != NULL) {
            return FALSE; /* sent by somebody: it would change the title */
        }
        break;
    case WM_NCDESTROY:
        if (pump->destroying) {
            pump->hwnd = NULL;
            PostQuitMessage(0);
        }
        else if (pump->hwnd != NULL) {
            /* Sent by somebody, or the end of a parent that somebody gave
             * us: the loop looks whether the window is there still. */
            PostThreadMessageW(pump->thread_id, WM_NULL, 0, 0);
            return 0;
        }
        break;
    default:
        if (pump->limit_message != 0 && number == pump->limit_message) {
            return (LRESULT)(WI_LIMIT_MARK | pump->max_message);
        }
        if (pump->hwnd != NULL &&
            pump_plain(pump, number, wparam, lparam, &answer)) {
            return answer;
        }
    }
    return DefWindowProcW(hwnd, number, wparam, lparam);
}

static DWORD WINAPI
pump_main(void *arg)
{
    wi_pump *pump = arg;
    HINSTANCE instance = pump_instance();
    WNDCLASSEXW class = {0};
    class.cbSize = sizeof(class);
    class.lpfnWndProc = pump_procedure;
    class.hInstance = instance;
    class.lpszClassName = pump->class_name;
    TlsSetValue(pump_tls, pump);
    ImmDisableIME(0); /* nobody types here: no IME window beside it */
    HWND hwnd = NULL;
    BOOL ours = FALSE;
    /* Windows of one class share it; the last one takes it away, which may
     * come between our look and our use. */
    for (int attempt = 0; hwnd == NULL && attempt < 100; attempt++) {
        WNDCLASSEXW other = {0};
        other.cbSize = sizeof(other);
        if (RegisterClassExW(&class) == 0) {
            pump->error = GetLastError();
            pump->failed = "RegisterClassExW";
            if (pump->error != ERROR_CLASS_ALREADY_EXISTS ||
                (GetClassInfoExW(instance, pump->class_name, &other) &&
                 other.lpfnWndProc != pump_procedure)) {
                goto done;
            }
        }
        ours = TRUE;
        /* Top-level, so that FindWindow, EnumWindows and broadcasts reach
         * it; never shown, and no button in the task bar if something shows
         * it. */
        hwnd = CreateWindowExW(WS_EX_TOOLWINDOW | WS_EX_NOACTIVATE,
                               pump->class_name, pump->title, WS_POPUP, 0, 0,
                               0, 0, pump->message_only ? HWND_MESSAGE : NULL,
                               NULL, instance, NULL);
        if (hwnd == NULL) {
            pump->error = GetLastError();
            pump->failed = "CreateWindowExW";
            if (pump->error != ERROR_CANNOT_FIND_WND_CLASS) {
                goto done;
            }
        }
    }
    if (hwnd == NULL) {
        goto done;
    }
    if (pump->lower_integrity &&
        !pump_open_filter(hwnd, pump->limit_message, &pump->table)) {
        pump->error = GetLastError();
        pump->failed = "ChangeWindowMessageFilterEx";
        pump_destroy(pump, hwnd);
        goto done;
    }
    pump->failed = NULL;
    pump->hwnd = hwnd;
    SetEvent(pump->started);
    while (pump->hwnd != NULL) {
        MSG message;
        /* WM_QUIT without our asking is somebody else's idea: any program
         * may post one to any thread. */
        if (GetMessageW(&message, NULL, 0, 0) > 0 &&
            (message.message != WM_TIMER || message.lParam == 0)) {
            DispatchMessageW(&message); /* calls lParam of a WM_TIMER */
        }
        if (pump->hwnd != NULL &&
            GetWindowThreadProcessId(hwnd, NULL) != pump->thread_id) {
            pump->hwnd = NULL; /* gone without our asking */
        }
    }
done:
    InterlockedExchange(&pump->closing, 1);
    wi_queue_close(&pump->queue);
    if (ours) { /* fails while others use it */
        UnregisterClassW(pump->class_name, instance);
    }
    SetEvent(pump->started);
    if (pump->tstate != NULL) {
        PyEval_RestoreThread(pump->tstate);
        PyGILState_Release(pump->gil);
    }
    pump_unref(pump);
    return 0;
}

/* Ask the thread to end; once is enough, more is harmless. */
static void
pump_ask_to_close(wi_pump *pump)
{
    InterlockedExchange(&pump->closing, 1);
    wi_queue_close(&pump->queue);
    HWND hwnd = pump->hwnd;
    /* Sent, not posted: anybody can fill the queue of posted messages. */
    if (hwnd != NULL && GetCurrentThreadId() != pump->thread_id) {
        SendNotifyMessageW(hwnd, PUMP_COMMAND, (WPARAM)pump->cookie, 0);
    }
    else if (hwnd != NULL && pump->depth == 0) {
        pump_destroy(pump, hwnd);
    }
}

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
    *out = HeapAlloc(GetProcessHeap(), 0, (size_t)length * sizeof(uint64_t));
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

/* A table from (handle_all, handled ids, queued numbers, handled numbers,
 * the one handler of all or None); *direct is borrowed, NULL for None. */
static int
window_read_table(PyObject *spec, pump_table *table, PyObject **direct)
{
    int handle_all;
    PyObject *ids, *queued, *handled;
    uint64_t *numbers[2] = {NULL, NULL};
    size_t counts[2] = {0, 0};
    int result = -1;
    memset(table, 0, sizeof(*table));
    if (!PyArg_ParseTuple(spec, "pO!O!O!O:routes", &handle_all, &PyTuple_Type,
                          &ids, &PyTuple_Type, &queued, &PyTuple_Type,
                          &handled, direct)) {
        return -1;
    }
    if (*direct == Py_None) {
        *direct = NULL;
    }
    table->handle_all = handle_all;
    if (window_read_ids(ids, &table->ids, &table->ids_count) < 0 ||
        window_read_ids(queued, &numbers[0], &counts[0]) < 0 ||
        window_read_ids(handled, &numbers[1], &counts[1]) < 0) {
        goto done;
    }
    size_t total = counts[0] + counts[1];
    if (total > 0) {
        table->routes =
            HeapAlloc(GetProcessHeap(), 0, total * sizeof(pump_route));
        if (table->routes == NULL) {
            PyErr_NoMemory();
            goto done;
        }
    }
    for (int handle = 1; handle >= 0; handle--) { /* handlers go first */
        for (size_t i = 0; i < counts[handle]; i++) {
            pump_route *route = &table->routes[table->routes_count++];
            route->number = (UINT)numbers[handle][i];
            route->handled = handle;
        }
    }
    result = 0;
done:
    for (int i = 0; i < 2; i++) {
        if (numbers[i] != NULL) {
            HeapFree(GetProcessHeap(), 0, numbers[i]);
        }
    }
    if (result < 0) {
        pump_table_clear(table);
    }
    return result;
}

/* The thread attaches to the main interpreter (PyGILState knows no other),
 * where objects of another one must not be touched. */
static int
window_check_interpreter(const pump_table *table)
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

/* Start the thread and wait until its window is there. */
static int
window_start(WindowObject *self, wi_pump *pump)
{
    uint64_t reserve = pump->max_message + PUMP_STACK_MARGIN;
    DWORD err;
    InterlockedIncrement(&pump->refs); /* the thread's own */
    pump->owner = (PyObject *)self;
    /* Suspended, so that all fields are there when the first message is. */
    WI_CALL(err, pump->thread = CreateThread(
                     NULL, (SIZE_T)reserve, pump_main, pump,
                     STACK_SIZE_PARAM_IS_A_RESERVATION | CREATE_SUSPENDED,
                     &pump->thread_id));
    if (pump->thread == NULL) {
        InterlockedDecrement(&pump->refs);
        InterlockedExchange(&pump->closing, 1);
        wi_raise(err, "CreateThread", self->title);
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    ResumeThread(pump->thread);
    WaitForSingleObject(pump->started, INFINITE);
    Py_END_ALLOW_THREADS
    if (pump->failed != NULL) {
        Py_BEGIN_ALLOW_THREADS
        WaitForSingleObject(pump->thread, INFINITE);
        Py_END_ALLOW_THREADS
        wi_raise(pump->error, pump->failed, self->class_name);
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
    if (!PyType_IsSubtype((PyTypeObject *)message_type,
                          state->copydata_type)) {
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
    int failed = 1;
    DWORD err;
    wchar_t *title = NULL, *class_name = NULL;
    wi_pump *pump =
        HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*pump));
    if (pump == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    pump->refs = 1;
    InitializeSRWLock(&pump->lock);
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
    pump->limit_message = RegisterWindowMessageW(WI_LIMIT_MESSAGE);
    if (pump->title == NULL || pump->class_name == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    pump->started = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (pump->started == NULL ||
        !wi_queue_init(&pump->queue, (size_t)max_count, max_bytes, overflow)) {
        err = GetLastError();
        wi_raise(err, "CreateEventW", title_arg);
        goto done;
    }
    if (!window_random(&pump->cookie, sizeof(pump->cookie)) ||
        !InitOnceExecuteOnce(&pump_tls_once, pump_tls_init, NULL, NULL)) {
        err = GetLastError();
        wi_raise(err, "TlsAlloc", title_arg);
        goto done;
    }
    self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        goto done;
    }
    Py_INCREF(title_arg);
    self->title = title_arg;
    Py_INCREF(class_arg);
    self->class_name = class_arg;
    Py_INCREF(message_type);
    self->message_type = (PyTypeObject *)message_type;
    if (dispatch != Py_None) {
        Py_INCREF(dispatch);
        self->dispatch = dispatch;
    }
    Py_XINCREF(direct);
    self->direct = direct;
    self->pump = pump;
    pump = NULL;
    failed = window_start(self, self->pump);
done:
    PyMem_Free(title);
    PyMem_Free(class_name);
    pump_unref(pump);
    if (failed && self != NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        Py_CLEAR(self);
        PyErr_Restore(type, value, traceback);
    }
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
    pump_ask_to_close(pump);
    Py_END_ALLOW_THREADS
    if (pump->thread == NULL) {
        Py_RETURN_NONE; /* closed before, and all is released */
    }
    if (GetCurrentThreadId() == pump->thread_id &&
        WaitForSingleObject(pump->thread, 0) == WAIT_TIMEOUT) {
        Py_RETURN_NONE;
    }
    pump->waits++;
    DWORD waited = wi_wait_serving(pump->thread, timeout_ms);
    pump_end_wait(pump);
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
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    wi_pump *pump = self->pump;
    if (pump != NULL) {
        pump->owner = NULL;
        if (!pump->closing) {
            wi_warn_unclosed(op);
        }
        Py_BEGIN_ALLOW_THREADS
        pump_ask_to_close(pump);
        /* Joined, except where that could wait for ourselves: the thread
         * has its own reference and frees what is left. */
        if (pump->thread != NULL && GetCurrentThreadId() != pump->thread_id &&
            pump->depth == 0) {
            WaitForSingleObject(pump->thread, FINALIZE_WAIT_MS);
        }
        Py_END_ALLOW_THREADS
        self->pump = NULL;
        pump_unref(pump);
    }
    Py_CLEAR(self->dispatch);
    Py_CLEAR(self->direct);
    Py_CLEAR(self->message_type);
    Py_CLEAR(self->title);
    Py_CLEAR(self->class_name);
    PyErr_Restore(type, value, traceback);
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
    InterlockedIncrement(&pump->refs);
    pump->waits++;
    PyObject *result = NULL;
    ULONGLONG start = timeout_ms == 0 ? 0 : GetTickCount64();
    for (;;) {
        wi_message *message = wi_queue_pop(&pump->queue);
        if (message != NULL) {
            result = wi_copydata_new(self->message_type, message);
            break;
        }
        if (pump->queue.closed) {
            /* What was pushed before it closed is seen by one more look. */
            message = wi_queue_pop(&pump->queue);
            if (message != NULL) {
                result = wi_copydata_new(self->message_type, message);
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
        if (wi_wait(&pump->queue.ready, 1, FALSE, remaining) == WAIT_FAILED) {
            break;
        }
    }
    pump_end_wait(pump);
    pump_unref(pump);
    return result;
}

PyDoc_STRVAR(
    window_receive_doc,
    "receive($self, timeout=None)\n--\n\n"
    "Wait for the next message and take it.\n\n"
    "timeout is in seconds; None waits for ever.\n\n"
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
        PyObject *message = wi_copydata_new(self->message_type, messages[i]);
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
    pump_table table, old;
    PyObject *direct, *old_direct;
    if (self->pump == NULL || self->pump->closing) {
        return window_closed_error();
    }
    if (window_read_table(spec, &table, &direct) < 0) {
        return NULL;
    }
    if (window_check_interpreter(&table) < 0) {
        pump_table_clear(&table);
        return NULL;
    }
    HWND hwnd = self->pump->hwnd;
    if (self->pump->lower_integrity && hwnd != NULL &&
        !pump_open_filter(hwnd, self->pump->limit_message, &table)) {
        DWORD err = GetLastError();
        pump_table_clear(&table);
        return wi_raise(err, "ChangeWindowMessageFilterEx", self->title);
    }
    AcquireSRWLockExclusive(&self->pump->lock);
    old = self->pump->table;
    self->pump->table = table;
    ReleaseSRWLockExclusive(&self->pump->lock);
    pump_table_clear(&old);
    old_direct = self->direct;
    Py_XINCREF(direct);
    self->direct = direct;
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
    pump_command *command =
        HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*command));
    if (command == NULL) {
        return PyErr_NoMemory();
    }
    command->refs = 2;
    command->id = (UINT_PTR)id;
    command->period_ms = period_ms;
    command->done = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (command->done == NULL) {
        DWORD err = GetLastError();
        HeapFree(GetProcessHeap(), 0, command);
        return wi_raise(err, "CreateEventW", self->title);
    }
    BOOL sent;
    DWORD err;
    pump->waits++;
    WI_CALL(err,
            sent = SendNotifyMessageW(pump->hwnd, PUMP_COMMAND,
                                      (WPARAM)pump->cookie, (LPARAM)command));
    if (!sent) {
        pump_command_unref(command); /* the pump's */
        pump_command_unref(command);
        pump_end_wait(pump);
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
            pump_command_unref(command); /* the pump's: it never came to it */
            window_closed_error();
            break;
        }
    }
    pump_end_wait(pump);
    pump_command_unref(command);
    return result;
}

/* ----------------------------------------------------------------- wakers */

/* What removes a waker from the queue, whoever of waker and window is first
 * to go; then, and not before, its socket may be closed. */
typedef struct {
    wi_pump *pump;
    uintptr_t socket;
} window_waker;

static void
window_waker_free(PyObject *capsule)
{
    window_waker *waker = PyCapsule_GetPointer(capsule, NULL);
    if (waker != NULL) {
        wi_queue_remove_waker(&waker->pump->queue, waker->socket);
        pump_unref(waker->pump);
        PyMem_Free(waker);
    }
}

PyDoc_STRVAR(window_add_waker_doc,
             "_add_waker($self, socket, /)\n--\n\n"
             "Write a byte to this non-blocking socket when it is armed and\n"
             "a message comes or the window closes. The socket must outlive\n"
             "the object that this returns.");

static PyObject *
window_add_waker(PyObject *op, PyObject *arg)
{
    WindowObject *self = (WindowObject *)op;
    uintptr_t socket;
    if (!wi_address_converter(arg, &socket)) {
        return NULL;
    }
    if (self->pump == NULL) {
        return window_closed_error();
    }
    window_waker *waker = PyMem_Malloc(sizeof(*waker));
    if (waker == NULL) {
        return PyErr_NoMemory();
    }
    DWORD err;
    BOOL added;
    WI_CALL(err, added = wi_queue_add_waker(&self->pump->queue, socket));
    if (!added) {
        PyMem_Free(waker);
        return wi_raise(err, "GetProcAddress", self->title);
    }
    InterlockedIncrement(&self->pump->refs);
    waker->pump = self->pump;
    waker->socket = socket;
    PyObject *capsule = PyCapsule_New(waker, NULL, window_waker_free);
    if (capsule == NULL) {
        wi_queue_remove_waker(&waker->pump->queue, socket);
        pump_unref(waker->pump);
        PyMem_Free(waker);
    }
    return capsule;
}

PyDoc_STRVAR(window_arm_waker_doc,
             "_arm_waker($self, socket, /)\n--\n\n"
             "True when there is something to take now; else the socket gets\n"
             "a byte when there is.");

static PyObject *
window_arm_waker(PyObject *op, PyObject *arg)
{
    WindowObject *self = (WindowObject *)op;
    uintptr_t socket;
    if (!wi_address_converter(arg, &socket)) {
        return NULL;
    }
    return PyBool_FromLong(self->pump == NULL ||
                           wi_queue_arm_waker(&self->pump->queue, socket));
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
    if (text == NULL) {
        return PyUnicode_FromString("");
    }
    Py_INCREF(text);
    return text;
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
     "How many messages came from who may not send and were answered 0.",
     NULL},
    {"dropped", window_get_look, NULL,
     "How many messages were dropped for newer ones.", (void *)LOOK_DROPPED},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef window_methods[] = {
    {"_create", window_create, METH_VARARGS | METH_CLASS, window_create_doc},
    {"close", (PyCFunction)(void (*)(void))window_close,
     METH_VARARGS | METH_KEYWORDS, window_close_doc},
    {"receive", (PyCFunction)(void (*)(void))window_receive,
     METH_FASTCALL | METH_KEYWORDS, window_receive_doc},
    {"receive_nowait", window_receive_nowait, METH_NOARGS,
     window_receive_nowait_doc},
    {"latest", window_latest, METH_VARARGS, window_latest_doc},
    {"_set_routes", window_set_routes, METH_O, window_set_routes_doc},
    {"_set_timer", window_set_timer, METH_VARARGS, window_timer_doc},
    {"_add_waker", window_add_waker, METH_O, window_add_waker_doc},
    {"_arm_waker", window_arm_waker, METH_O, window_arm_waker_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef window_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(WindowObject, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(window_doc, "A window on a native thread of its own.");

static PyType_Slot window_slots[] = {
    {Py_tp_doc, (void *)window_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, window_finalize},
    {Py_tp_traverse, window_traverse},
    {Py_tp_clear, window_clear},
    {Py_tp_iter, window_iter},
    {Py_tp_iternext, window_next},
    {Py_tp_methods, window_methods},
    {Py_tp_members, window_members},
    {Py_tp_getset, window_getset},
    {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "winipc._core.CopyDataWindow",
    .basicsize = sizeof(WindowObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};

int
wi_window_init(PyObject *module, wi_state *state)
{
    if (wi_copydata_init(module, state) < 0) {
        return -1;
    }
    return wi_add_type(module, &window_spec, &state->window_type);
}

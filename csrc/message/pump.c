/* pump.c: the native thread behind a CopyDataWindow, and its window procedure.
 *
 *     CopyDataWindow.create("title")   starts the thread, which makes the
 *                                      window and pumps its messages
 *     send_copydata("title", data)     the procedure copies the data into the
 *                                      queue and answers at once
 *     window.close()                   a private message ends the window and
 *                                      so the loop and the thread
 *
 * Nothing here uses Python, so no sender waits for an interpreter that is busy
 * or gone. Only a message for a handler needs the GIL, in wi_window_call.
 *
 * Owner: the thread owns the window. Thread: pump.h says who calls a function.
 *
 * Wraps RegisterClassEx, CreateWindowEx, the message loop, DestroyWindow and
 * UnregisterClass. */
#include "pump.h"

#include "base/handles.h"
#include "message.h"

#include <imm.h>

/* The private message that ends the window. Its wParam is the cookie. */
#define PUMP_CLOSE 0x7FF1

/* How many bytes a pump thread's stack has beyond the largest message: Wine
 * puts a received WM_COPYDATA on the stack. */
#define PUMP_STACK_MARGIN (4u << 20)

/* ------------------------------------------------------------------- life */

wi_pump *
wi_pump_new(void)
{
    wi_pump *pump =
        HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*pump));
    if (pump != NULL) {
        pump->refs = 1;
        InitializeSRWLock(&pump->lock);
    }
    return pump;
}

void
wi_route_table_clear(wi_route_table *table)
{
    wi_heap_free(table->ids);
    memset(table, 0, sizeof(*table));
}

static void
pump_close_handle(HANDLE *handle)
{
    if (*handle != NULL) {
        CloseHandle(*handle);
        *handle = NULL;
    }
}

static void
pump_release_handles(wi_pump *pump)
{
    pump_close_handle(&pump->thread);
    pump_close_handle(&pump->started);
    pump_close_handle(&pump->queue.ready);
}

void
wi_pump_unref(wi_pump *pump)
{
    if (pump == NULL || InterlockedDecrement(&pump->refs) != 0) {
        return;
    }
    pump_release_handles(pump);
    if (pump->lane != NULL) {
        UnmapViewOfFile(pump->lane);
    }
    wi_queue_clear(&pump->queue);
    wi_route_table_clear(&pump->table);
    wi_heap_free(pump->accept_pids);
    wi_heap_free(pump->accept_paths);
    wi_heap_free(pump);
}

void
wi_pump_begin_wait(wi_pump *pump)
{
    pump->waits++;
}

void
wi_pump_end_wait(wi_pump *pump)
{
    /* Close the handles when no method and no thread uses them. */
    if (--pump->waits > 0 || !pump->closing || pump->thread == NULL ||
        WaitForSingleObject(pump->thread, 0) != WAIT_OBJECT_0) {
        return;
    }
    pump_release_handles(pump);
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

/* The window procedure finds its pump in this TLS slot. Not in the window's
 * own words, which other processes can change. The slot is made once for the
 * process and never freed, as the code is never unloaded. */
static INIT_ONCE pump_tls_once = INIT_ONCE_STATIC_INIT;
static DWORD pump_tls = TLS_OUT_OF_INDEXES;

static BOOL CALLBACK
pump_tls_init(PINIT_ONCE Py_UNUSED(once), PVOID Py_UNUSED(parameter),
              PVOID *Py_UNUSED(context))
{
    pump_tls = TlsAlloc();
    return pump_tls != TLS_OUT_OF_INDEXES;
}

/* Destroy the window. Only its own thread may. */
static void
pump_destroy(wi_pump *pump, HWND hwnd)
{
    pump->destroying = TRUE;
    RemovePropW(hwnd, WI_LIMIT_PROPERTY);
    DestroyWindow(hwnd);
}

/* --------------------------------------------------------------- messages */

/* After a message: look in the lane next, if a sender would have asked there.
 * What GetMessage carries out does not wake it, so it gets a message. After
 * looks in vain it looks more and more rarely. */
static void
pump_may_look(wi_pump *pump)
{
    wi_lane *lane = pump->lane;
    if (lane == NULL || pump->depth > 0 || pump->look ||
        WINIPC_LOAD(&lane->wanted) == 0) {
        return;
    }
    WINIPC_STORE(&lane->wanted, 0);
    if (pump->left_out < pump->leave_out) {
        pump->left_out++;
        return;
    }
    pump->left_out = 0;
    pump->look = PostMessageW(pump->hwnd, WM_NULL, 0, 0);
}

/* Answer the delivery by the lane. */
static void
pump_answer(wi_pump *pump, LRESULT answer)
{
    pump->taken = FALSE;
    WINIPC_STORE(&pump->lane->answer, (uint64_t)(answer > 0 ? answer : 0));
    WINIPC_STORE_SC(&pump->lane->state, LANE_FREE);
}

/* Hand a message to the queue or the handler, and take over its reference. */
static LRESULT
pump_deliver(wi_pump *pump, wi_message *message, BOOL handled)
{
    BOOL queue = !handled;
    LRESULT answer = 0;
    if (handled) {
        wi_message_ref(message);
        answer = wi_window_call(pump, message, &queue);
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
    pump_may_look(pump);
    if (pump->depth == 0 && pump->closing && pump->hwnd != NULL) {
        if (pump->taken) { /* before its sender hears that the window ends */
            pump_answer(pump, answer);
        }
        pump_destroy(pump,
                     pump->hwnd); /* closed by the handler, or during it */
    }
    return answer;
}

/* The identity of a file: its volume and its number. */
static BOOL
pump_file_id(const wchar_t *path, BY_HANDLE_FILE_INFORMATION *id)
{
    HANDLE file =
        CreateFileW(path, FILE_READ_ATTRIBUTES,
                    FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                    NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        return FALSE;
    }
    BOOL ok = GetFileInformationByHandle(file, id);
    CloseHandle(file);
    return ok;
}

/* Whether two paths name the same file, even by links, short names or mapped
 * drives. */
static BOOL
pump_same_file(const wchar_t *one, const wchar_t *other)
{
    BY_HANDLE_FILE_INFORMATION ids[2];
    return CompareStringOrdinal(one, -1, other, -1, TRUE) == CSTR_EQUAL ||
           (pump_file_id(one, &ids[0]) && pump_file_id(other, &ids[1]) &&
            ids[0].dwVolumeSerialNumber == ids[1].dwVolumeSerialNumber &&
            ids[0].nFileIndexHigh == ids[1].nFileIndexHigh &&
            ids[0].nFileIndexLow == ids[1].nFileIndexLow);
}

/* Whether this process may send. Its executable is looked up for each message:
 * by the next one, another process may have the id. */
static BOOL
pump_accepts(wi_pump *pump, DWORD pid)
{
    BOOL accepted = pump->accept_pids_count == 0 && *pump->accept_paths == 0;
    for (size_t i = 0; pid != 0 && i < pump->accept_pids_count; i++) {
        accepted |= pump->accept_pids[i] == pid;
    }
    if (accepted || pid == 0 || *pump->accept_paths == 0) {
        return accepted;
    }
    HANDLE process =
        OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process == NULL) {
        return FALSE;
    }
    DWORD length;
    wchar_t *path = wi_image_path(process, &length);
    CloseHandle(process);
    for (const wchar_t *one = pump->accept_paths;
         path != NULL && *one != 0 && !accepted; one += wcslen(one) + 1) {
        accepted = pump_same_file(path, one);
    }
    wi_heap_free(path);
    return accepted;
}

/* Start or end a timer. Only the thread that owns the window may, so the order
 * comes as a WM_COPYDATA with our cookie: the timer's id, and its period in
 * milliseconds, or 0 to end it. The answer is 1, 0 or minus a Win32 error. */
static LRESULT
pump_set_timer(HWND hwnd, const COPYDATASTRUCT *data)
{
    uint64_t order[2];
    if (data->cbData != sizeof(order)) {
        return 0;
    }
    memcpy(order, data->lpData, sizeof(order));
    if (order[1] == 0) {
        return KillTimer(hwnd, (UINT_PTR)order[0]);
    }
    return SetTimer(hwnd, (UINT_PTR)order[0], (UINT)order[1], NULL) != 0
               ? 1
               : -(LRESULT)GetLastError();
}

static LRESULT
pump_copydata(wi_pump *pump, WPARAM wparam, const COPYDATASTRUCT *data)
{
    if (pump->closing || data == NULL ||
        (data->cbData > 0 && data->lpData == NULL)) {
        return 0;
    }
    if (data->dwData == pump->cookie) {
        return pump_set_timer(pump->hwnd, data);
    }
    if (data->cbData > pump->max_message) {
        return 0;
    }
    DWORD pid = wparam != 0 ? wi_window_pid((HWND)wparam, NULL) : 0;
    if (!pump_accepts(pump, pid)) {
        pump->rejected++;
        return 0;
    }
    AcquireSRWLockShared(&pump->lock);
    BOOL handled = pump->table.handle_all;
    BOOL wanted = handled || pump->table.queue_rest;
    for (size_t i = 0; i < pump->table.ids_count && !handled; i++) {
        handled = pump->table.ids[i] == data->dwData;
    }
    ReleaseSRWLockShared(&pump->lock);
    if (!handled && !wanted) {
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
    return pump_deliver(pump, message, handled);
}

/* Take a plain message if the table has it; FALSE if it has not. */
static BOOL
pump_plain(wi_pump *pump, UINT number, WPARAM wparam, LPARAM lparam,
           LRESULT *answer)
{
    BOOL found = FALSE, handled = FALSE;
    AcquireSRWLockShared(&pump->lock);
    for (size_t i = 0; i < pump->table.routes_count && !found; i++) {
        uint64_t route = pump->table.routes[i];
        found = number - WI_ROUTE_FIRST(route) <= WI_ROUTE_MORE(route);
        handled = (route & WI_ROUTE_HANDLED) != 0;
    }
    ReleaseSRWLockShared(&pump->lock);
    if (!found || pump->closing) {
        return FALSE;
    }
    *answer = 0;
    /* lParam of WM_SETTEXT points at a text that is gone after our answer. */
    const wchar_t *text =
        number == WM_SETTEXT ? (const wchar_t *)lparam : NULL;
    size_t most = pump->max_message / sizeof(*text);
    size_t size = text == NULL ? 0 : wcsnlen(text, most) * sizeof(*text);
    wi_message *message = wi_message_new(size);
    if (message != NULL) {
        message->number = number;
        message->wparam = wparam;
        message->lparam = text == NULL ? lparam : 0;
        if (size > 0) {
            memcpy(message->data, text, size);
        }
        *answer = pump_deliver(pump, message, handled);
    }
    return TRUE;
}

/* ------------------------------------------------------------------- lane */

BOOL
wi_pump_look_at(wi_pump *pump, HANDLE section, UINT number, DWORD us)
{
    wi_lane *lane =
        MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, sizeof(*lane));
    pump->lane_message = number;
    pump->lane_us = us;
    InterlockedExchangePointer((void *volatile *)&pump->lane, lane);
    return lane != NULL;
}

BOOL
wi_pump_reply(LRESULT answer)
{
    wi_pump *pump = TlsGetValue(pump_tls);
    if (pump == NULL || !pump->taken || pump->depth != 1) {
        return FALSE;
    }
    pump_answer(pump, answer);
    return TRUE;
}

/* So often messages are looked for meanwhile. */
#define PUMP_SLICE_US 1000

/* So many wishes to look are left out in a row at most. */
#define PUMP_LEAVE_OUT 1023

/* Take what is asked in the lane, until none was for a while: FALSE. TRUE: it
 * is time to look for messages in between, while those who ask wait. */
static BOOL
pump_look(wi_pump *pump)
{
    wi_lane *lane = pump->lane;
    uint64_t now = winipc_os_ticks(), spin = wi_lane_ticks(pump->lane_us);
    uint64_t slice = now + wi_lane_ticks(PUMP_SLICE_US);
    if (!pump->looking) {
        pump->looking = TRUE;
        pump->look_until = now + spin;
        pump->leave_out = Py_MIN(2 * pump->leave_out + 1, PUMP_LEAVE_OUT);
    }
    WINIPC_STORE(&lane->looking, (uintptr_t)pump->hwnd & UINT32_MAX);
    do {
        int64_t left = (int64_t)(pump->look_until - now);
        int64_t part = (int64_t)(slice - now);
        lane_clock clock = {now + (uint64_t)Py_MIN(left, part), 0};
        BOOL time = TRUE;
        while (WINIPC_LOAD(&lane->state) != LANE_ASKED && time) {
            time = wi_lane_pause(&clock);
        }
        if (WINIPC_CAS(&lane->state, LANE_ASKED, LANE_TAKEN)) {
            LRESULT answer = 0;
            pump->taken = TRUE;
            pump_plain(pump, pump->lane_message,
                       (WPARAM)WINIPC_LOAD(&lane->length), 0, &answer);
            if (pump->taken) { /* not answered by the handler */
                pump_answer(pump, answer);
            }
            pump->look_until = winipc_os_ticks() + spin;
            pump->leave_out = 0;
        }
        now = winipc_os_ticks();
        pump->looking =
            pump->hwnd != NULL && (int64_t)(pump->look_until - now) > 0;
    } while (pump->looking && (int64_t)(slice - now) > 0);
    if (!pump->looking) {
        WINIPC_STORE(&lane->looking, 0);
    }
    return pump->looking;
}

/* ----------------------------------------------------------------- thread */

/* Accept the table's messages from processes of lower integrity levels. */
static BOOL
pump_open_filter(HWND hwnd, const wi_route_table *table)
{
    BOOL ok =
        ChangeWindowMessageFilterEx(hwnd, WM_COPYDATA, MSGFLT_ALLOW, NULL);
    for (size_t i = 0; ok && i < table->routes_count; i++) {
        UINT first = WI_ROUTE_FIRST(table->routes[i]);
        for (UINT n = 0; ok && n <= WI_ROUTE_MORE(table->routes[i]); n++) {
            ok = ChangeWindowMessageFilterEx(hwnd, first + n, MSGFLT_ALLOW,
                                             NULL);
        }
    }
    return ok;
}

BOOL
wi_pump_set_table(wi_pump *pump, wi_route_table *table)
{
    HWND hwnd = pump->hwnd;
    if (pump->lower_integrity && hwnd != NULL &&
        !pump_open_filter(hwnd, table)) {
        return FALSE;
    }
    AcquireSRWLockExclusive(&pump->lock);
    wi_route_table old = pump->table;
    pump->table = *table;
    ReleaseSRWLockExclusive(&pump->lock);
    wi_route_table_clear(&old);
    return TRUE;
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
    case PUMP_CLOSE:
        if (wparam == pump->cookie && pump->depth == 0) {
            pump_destroy(pump, hwnd);
        }
        return 0;
    case WM_CLOSE:
        /* Usually from taskkill without /F. The owner may have asked for the
         * message. DefWindowProc would destroy the window. */
        return pump_plain(pump, number, wparam, lparam, &answer) ? answer : 0;
    case WM_SETTEXT:
        /* Senders find the window by its title. So the title changes only if
         * the owner has asked for this message and takes it. */
        if (!pump_plain(pump, number, wparam, lparam, &answer) ||
            answer <= 0) {
            return FALSE;
        }
        break;
    case WM_NCCREATE:
        if (pump->hwnd != NULL) {
            return FALSE; /* a peer sent it: it would change the title */
        }
        break;
    case WM_NCDESTROY:
        if (pump->destroying) {
            pump->hwnd = NULL;
            PostQuitMessage(0);
        }
        else if (pump->hwnd != NULL) {
            /* A peer sent it, or has destroyed a parent that it gave us: let
             * the loop check whether the window still exists. */
            PostThreadMessageW(pump->thread_id, WM_NULL, 0, 0);
            return 0;
        }
        break;
    default:
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
    ImmDisableIME(0); /* nobody types here, so no IME window is needed */
    HWND hwnd = NULL;
    BOOL ours = FALSE;
    /* Windows with one class name share the class, and the last one
     * unregisters it: perhaps between our registration and our use. */
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
        /* Top-level, so that FindWindow, EnumWindows and broadcasts reach it.
         * It is never shown, and has no button in the task bar if a peer shows
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
    if (pump->lower_integrity && !pump_open_filter(hwnd, &pump->table)) {
        pump->error = GetLastError();
        pump->failed = "ChangeWindowMessageFilterEx";
        pump_destroy(pump, hwnd);
        goto done;
    }
    SetPropW(hwnd, WI_LIMIT_PROPERTY, /* a failure does no harm */
             (HANDLE)(pump->max_message > 0 ? pump->max_message : 1));
    pump->failed = NULL;
    pump->hwnd = hwnd;
    SetEvent(pump->started);
    BOOL found = FALSE; /* then there may be more: they come first */
    while (pump->hwnd != NULL) {
        MSG message;
        pump->look = pump->look && (found || pump_look(pump));
        /* Any program may post a WM_QUIT to any thread: only the end of the
         * window ends the loop. */
        found = pump->look ? PeekMessageW(&message, NULL, 0, 0, PM_REMOVE)
                           : GetMessageW(&message, NULL, 0, 0) > 0;
        if (found && (message.message != WM_TIMER || message.lParam == 0)) {
            DispatchMessageW(&message); /* calls lParam of a WM_TIMER */
        }
        if (pump->hwnd != NULL &&
            GetWindowThreadProcessId(hwnd, NULL) != pump->thread_id) {
            pump->hwnd = NULL; /* a peer has destroyed it */
        }
    }
done:
    InterlockedExchange(&pump->closing, 1);
    wi_queue_close(&pump->queue);
    if (ours) { /* fails while other windows use the class */
        UnregisterClassW(pump->class_name, instance);
    }
    SetEvent(pump->started);
    wi_window_thread_ends(pump);
    wi_pump_unref(pump);
    return 0;
}

BOOL
wi_pump_prepare(wi_pump *pump, uint64_t max_count, uint64_t max_bytes,
                int overflow, const char **failed)
{
    *failed = "CreateEventW";
    pump->started = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (pump->started == NULL ||
        !wi_queue_init(&pump->queue, max_count, max_bytes, overflow)) {
        return FALSE;
    }
    *failed = "TlsAlloc";
    return InitOnceExecuteOnce(&pump_tls_once, pump_tls_init, NULL, NULL);
}

BOOL
wi_pump_start(wi_pump *pump)
{
    uint64_t reserve = (uint64_t)pump->max_message + PUMP_STACK_MARGIN;
    InterlockedIncrement(&pump->refs); /* the thread's own */
    SIZE_T stack = (SIZE_T)reserve;    /* 32 bits may be too narrow for it */
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    /* Suspended, so that all fields are set before the first message. */
    pump->thread = stack != reserve
                       ? NULL
                       : CreateThread(NULL, stack, pump_main, pump,
                                      STACK_SIZE_PARAM_IS_A_RESERVATION |
                                          CREATE_SUSPENDED,
                                      &pump->thread_id);
    if (pump->thread == NULL) {
        pump->error = GetLastError();
        pump->failed = "CreateThread";
        InterlockedDecrement(&pump->refs);
        InterlockedExchange(&pump->closing, 1);
        return FALSE;
    }
    ResumeThread(pump->thread);
    WaitForSingleObject(pump->started, INFINITE);
    if (pump->failed != NULL) {
        WaitForSingleObject(pump->thread, INFINITE);
    }
    return pump->failed == NULL;
}

void
wi_pump_ask_to_close(wi_pump *pump)
{
    InterlockedExchange(&pump->closing, 1);
    wi_queue_close(&pump->queue);
    HWND hwnd = pump->hwnd;
    /* Sent, not posted: any program can fill the queue of posted messages. */
    if (hwnd != NULL && GetCurrentThreadId() != pump->thread_id) {
        SendNotifyMessageW(hwnd, PUMP_CLOSE, pump->cookie, 0);
    }
    else if (hwnd != NULL && pump->depth == 0) {
        pump_destroy(pump, hwnd);
    }
}

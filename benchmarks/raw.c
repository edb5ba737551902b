/* raw.c: what the operations cost in C, as a DLL for the benchmarks.
 *
 * Each timed function does n operations and returns the nanoseconds that they
 * took, or -1 when one of them failed. They are the limits that the tables
 * compare with, so they do nothing but the Win32 calls of the operation.
 *
 * stub_install replaces a Win32 function by one that does nothing but succeed,
 * for the whole process: by a jump at its entry, which every caller meets,
 * however it came by the address. What is left then is the wrapper's own cost.
 */
#include <windows.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "winipc.h"

#define EXPORT __declspec(dllexport)
#define BUFFER (16 << 20)

/* Written before it is used, so that no page fault is measured. */
static unsigned char buffer[BUFFER];

static int64_t
now(void)
{
    static LARGE_INTEGER frequency;
    LARGE_INTEGER counter;
    if (frequency.QuadPart == 0) {
        QueryPerformanceFrequency(&frequency);
    }
    QueryPerformanceCounter(&counter);
    return (int64_t)((double)counter.QuadPart * 1e9 /
                     (double)frequency.QuadPart);
}

BOOL WINAPI
DllMain(HINSTANCE instance, DWORD reason, void *reserved)
{
    (void)instance;
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        memset(buffer, 0x5a, sizeof(buffer));
    }
    return TRUE;
}

#define TIMED(statement)                                                      \
    do {                                                                      \
        int64_t began = now();                                                \
        for (int64_t i = 0; i < n; i++) {                                     \
            statement;                                                        \
        }                                                                     \
        return now() - began;                                                 \
    } while (0)

#define MUST(condition)                                                       \
    if (!(condition)) {                                                       \
        return -1;                                                            \
    }

/* ------------------------------------------------ memory of another process */

EXPORT int64_t
raw_read(int64_t n, HANDLE process, void *address, size_t size)
{
    SIZE_T done;
    TIMED(MUST(ReadProcessMemory(process, address, buffer, size, &done)));
}

EXPORT int64_t
raw_write(int64_t n, HANDLE process, void *address, size_t size)
{
    SIZE_T done;
    TIMED(MUST(WriteProcessMemory(process, address, buffer, size, &done)));
}

/* count reads of 8 bytes, one call each */
EXPORT int64_t
raw_read_each(int64_t n, HANDLE process, void **addresses, size_t count)
{
    SIZE_T done;
    TIMED({
        for (size_t k = 0; k < count; k++) {
            MUST(ReadProcessMemory(process, addresses[k], buffer + 8 * k, 8,
                                   &done));
        }
    });
}

/* Follow `hops` pointers, one call each. */
EXPORT int64_t
raw_follow(int64_t n, HANDLE process, void *head, size_t hops)
{
    SIZE_T done;
    TIMED({
        void *node = head;
        for (size_t k = 0; k < hops && node != NULL; k++) {
            MUST(ReadProcessMemory(process, node, &node, 8, &done));
        }
    });
}

/* Only read, in pieces, what a scan searches. */
EXPORT int64_t
raw_read_range(int64_t n, HANDLE process, char *address, size_t size,
               size_t piece)
{
    SIZE_T done;
    TIMED({
        for (size_t at = 0; at < size; at += piece) {
            MUST(ReadProcessMemory(process, address + at, buffer, piece,
                                   &done));
        }
    });
}

/* Read in pieces, and compare with what was there before, which is as much memory
 * of this process. */
EXPORT int64_t
raw_compare_range(int64_t n, HANDLE process, char *address, size_t size,
                  size_t piece, const char *before)
{
    SIZE_T done;
    TIMED({
        for (size_t at = 0; at < size; at += piece) {
            uint64_t differ = 0;
            MUST(ReadProcessMemory(process, address + at, buffer, piece,
                                   &done));
            for (size_t k = 0; k < piece; k += 32) {
                uint64_t now[4];
                uint64_t then[4];
                memcpy(now, buffer + k, sizeof(now));
                memcpy(then, before + at + k, sizeof(then));
                differ |= (now[0] ^ then[0]) | (now[1] ^ then[1]) |
                          (now[2] ^ then[2]) | (now[3] ^ then[3]);
            }
            MUST(differ == 0);
        }
    });
}

EXPORT int64_t
raw_open_process(int64_t n, DWORD pid)
{
    TIMED({
        HANDLE process = OpenProcess(PROCESS_VM_READ, FALSE, pid);
        MUST(process != NULL);
        CloseHandle(process);
    });
}

/* ------------------------------------------------------------------ mapping */

EXPORT int64_t
raw_create(int64_t n, const wchar_t *name, DWORD size)
{
    TIMED({
        HANDLE mapping = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL,
                                            PAGE_READWRITE, 0, size, name);
        MUST(mapping != NULL);
        void *view = MapViewOfFile(mapping, FILE_MAP_WRITE, 0, 0, 0);
        MUST(view != NULL);
        UnmapViewOfFile(view);
        CloseHandle(mapping);
    });
}

/* SECTION_BASIC_INFORMATION of the driver kit: how large a section is, and whether
 * a file is behind it, whose pages may fail. */
typedef struct {
    void *base;
    ULONG attributes;
    LARGE_INTEGER size;
} section_information;

__declspec(dllimport) LONG NTAPI NtQuerySection(HANDLE section, int kind,
                                                void *information, SIZE_T size,
                                                SIZE_T *filled);

EXPORT int64_t
raw_open(int64_t n, const wchar_t *name, int asks)
{
    section_information known;
    TIMED({
        HANDLE mapping =
            OpenFileMappingW(SECTION_QUERY | FILE_MAP_WRITE, FALSE, name);
        MUST(mapping != NULL);
        void *view = MapViewOfFile(mapping, FILE_MAP_WRITE, 0, 0, 0);
        MUST(view != NULL);
        MUST(!asks ||
             NtQuerySection(mapping, 0, &known, sizeof(known), NULL) >= 0);
        UnmapViewOfFile(view);
        CloseHandle(mapping);
    });
}

EXPORT int64_t
raw_copy(int64_t n, void *to, const void *from, size_t size)
{
    TIMED({
        memcpy(to, from, size);
        MemoryBarrier();
    });
}

EXPORT int64_t
raw_add(int64_t n, volatile LONG64 *number)
{
    TIMED(InterlockedExchangeAdd64(number, 1));
}

/* --------------------------------------------------------------------- sync */

EXPORT int64_t
raw_set_event(int64_t n, HANDLE event)
{
    TIMED(MUST(SetEvent(event)));
}

EXPORT int64_t
raw_lock(int64_t n, HANDLE mutex)
{
    TIMED({
        MUST(WaitForSingleObject(mutex, INFINITE) == WAIT_OBJECT_0);
        MUST(ReleaseMutex(mutex));
    });
}

EXPORT int64_t
raw_lock_word(int64_t n, void *at)
{
    winipc_lock lock;
    MUST(winipc_lock_attach(&lock, at, NULL) == WINIPC_OK);
    TIMED({
        MUST(winipc_lock_acquire(&lock, WINIPC_INFINITE) == WINIPC_OK);
        MUST(winipc_lock_release(&lock) == WINIPC_OK);
    });
}

EXPORT int64_t
raw_ping(int64_t n, HANDLE ping, HANDLE pong)
{
    TIMED({
        MUST(SetEvent(ping));
        MUST(WaitForSingleObject(pong, 10000) == WAIT_OBJECT_0);
    });
}

/* ----------------------------------------------------------------- messages */

static unsigned char taken[BUFFER];

/* A receiver in C: it takes a copy of the data, and no more. */
static LRESULT CALLBACK
window_procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        const COPYDATASTRUCT *data = (const COPYDATASTRUCT *)lparam;
        if (data->cbData > sizeof(taken)) {
            return 0;
        }
        memcpy(taken, data->lpData, data->cbData);
        return 1;
    }
    if (message == WM_CLOSE) {
        DestroyWindow(hwnd);
        PostQuitMessage(0);
        return 0;
    }
    return DefWindowProcW(hwnd, message, wparam, lparam);
}

/* A window of the calling thread. */
EXPORT HWND
window_make(void)
{
    WNDCLASSW class = {0};
    class.lpfnWndProc = window_procedure;
    class.hInstance = GetModuleHandleW(NULL);
    class.lpszClassName = L"winipc.benchmark";
    RegisterClassW(&class);
    return CreateWindowExW(0, class.lpszClassName, L"", 0, 0, 0, 0, 0,
                           HWND_MESSAGE, NULL, class.hInstance, NULL);
}

static DWORD WINAPI
window_thread(void *ready)
{
    MSG message;
    *(HWND *)ready = window_make();
    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        DispatchMessageW(&message);
    }
    return 0;
}

/* A window of a thread of its own; WM_CLOSE ends both. */
EXPORT HWND
window_start(void)
{
    static HWND volatile made;
    made = NULL;
    /* The message lies on the stack of this thread. */
    HANDLE thread = CreateThread(NULL, 64 << 20, window_thread, (void *)&made,
                                 STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    while (thread != NULL && made == NULL) {
        Sleep(1);
    }
    CloseHandle(thread);
    return made;
}

EXPORT int64_t
raw_copydata(int64_t n, HWND hwnd, DWORD size)
{
    COPYDATASTRUCT data = {1, size, buffer};
    DWORD_PTR answer;
    TIMED(MUST(SendMessageTimeoutW(hwnd, WM_COPYDATA, 0, (LPARAM)&data,
                                   SMTO_ABORTIFHUNG, 5000, &answer) &&
               answer));
}

/* The exchange by a mapping that is at `to`: a copy into it, and the message. */
EXPORT int64_t
raw_mapped(int64_t n, HWND hwnd, void *to, DWORD size)
{
    const UINT mapped = RegisterWindowMessageW(L"Mapped");
    DWORD_PTR answer;
    TIMED({
        memcpy(to, buffer, size);
        MUST(SendMessageTimeoutW(hwnd, mapped, size, 0, SMTO_ABORTIFHUNG, 5000,
                                 &answer) &&
             answer);
    });
}

EXPORT int64_t
raw_post(int64_t n, HWND hwnd)
{
    TIMED(MUST(PostMessageW(hwnd, WM_NULL, 0, 0)));
}

/* Take what raw_post left for a window of this thread. */
EXPORT void
drain(void)
{
    MSG message;
    while (PeekMessageW(&message, NULL, 0, 0, PM_REMOVE)) {
        DispatchMessageW(&message);
    }
}

/* ------------------------------------------------------------------ channel */

static winipc_channel out_channel, in_channel;

EXPORT int
channels_make(const wchar_t *out, const wchar_t *in, uint64_t capacity)
{
    return winipc_channel_create(&out_channel, out, capacity, 0, 0, NULL) ||
           winipc_channel_create(&in_channel, in, capacity, 0, 0, NULL);
}

EXPORT void
channels_close(void)
{
    winipc_channel_close(&out_channel);
    winipc_channel_close(&in_channel);
}

EXPORT int64_t
raw_channel(int64_t n, uint64_t size)
{
    uint64_t length;
    TIMED({
        MUST(winipc_channel_send(&out_channel, buffer, size, 10000) ==
             WINIPC_OK);
        MUST(winipc_channel_recv(&in_channel, buffer, sizeof(buffer), &length,
                                 10000) == WINIPC_OK);
    });
}

/* n messages, and an empty one that is answered when it has come. */
EXPORT int64_t
raw_stream(int64_t n, uint64_t size)
{
    uint64_t length;
    int64_t began = now();
    for (int64_t i = 0; i <= n; i++) {
        MUST(winipc_channel_send(&out_channel, buffer, i < n ? size : 0,
                                 10000) == WINIPC_OK);
    }
    MUST(winipc_channel_recv(&in_channel, buffer, sizeof(buffer), &length,
                             10000) == WINIPC_OK);
    return now() - began;
}

/* ---- many producers: threads, each with a channel of its own as a process
 * would have it: the ring is all that they share. Or, with `guarded`, one channel
 * of a single producer, whose turns an SRWLOCK gives. */

#define PRODUCERS_MOST 64

typedef struct {
    const wchar_t *name;
    HANDLE ready, go;
    winipc_channel *guarded; /* by producers_lock; else NULL */
    unsigned index;
    int64_t n;
    uint64_t size;
} producer;

static SRWLOCK producers_lock = SRWLOCK_INIT;

static int
producer_send(const producer *self, winipc_channel *own, const void *data)
{
    if (self->guarded == NULL) {
        return winipc_channel_send(own, data, self->size, 10000);
    }
    AcquireSRWLockExclusive(&producers_lock);
    int result = winipc_channel_send(self->guarded, data, self->size, 10000);
    ReleaseSRWLockExclusive(&producers_lock);
    return result;
}

static DWORD WINAPI
producer_thread(void *arg)
{
    producer *self = arg;
    unsigned char data[4096] = {(unsigned char)self->index};
    winipc_channel own = {0};
    int failed = self->guarded == NULL &&
                 (winipc_channel_open(&own, self->name, 1000) != WINIPC_OK ||
                  winipc_channel_claim(&own, 0) != WINIPC_OK);
    SetEvent(self->ready);
    WaitForSingleObject(self->go, INFINITE);
    for (int64_t i = 0; i < self->n && !failed; i++) {
        failed = producer_send(self, &own, data) != WINIPC_OK;
    }
    winipc_channel_close(&own);
    return (DWORD)failed;
}

/* Receive what `count` producers send, n messages each. The time is from the
 * start, or with `spread` from when the first of them has sent its last. */
static int64_t
producers_receive(winipc_channel *in, int64_t n, unsigned count, int spread)
{
    static unsigned char message[4096];
    int64_t sent[PRODUCERS_MOST] = {0}, done = 0, began = now();
    uint64_t length;
    for (int64_t i = 0; i < n * count; i++) {
        MUST(winipc_channel_recv(in, message, sizeof(message), &length,
                                 10000) == WINIPC_OK);
        if (++sent[message[0] % PRODUCERS_MOST] == n && done == 0) {
            done = now() - began;
        }
    }
    return now() - began - (spread ? done : 0);
}

/* n messages of each of `count` producers, through a channel of this name. */
EXPORT int64_t
raw_producers(int64_t n, const wchar_t *name, uint64_t size, unsigned count,
              int guarded, int spread)
{
    winipc_channel in = {0}, out = {0};
    producer producers[PRODUCERS_MOST];
    HANDLE threads[PRODUCERS_MOST];
    HANDLE go = CreateEventW(NULL, TRUE, FALSE, NULL);
    MUST(count <= PRODUCERS_MOST && size <= 4096);
    MUST(winipc_channel_create(&in, name, 1 << 20, 0,
                               guarded ? 0 : WINIPC_CHANNEL_MANY,
                               NULL) == WINIPC_OK);
    MUST(!guarded || winipc_channel_open(&out, name, 1000) == WINIPC_OK);
    for (unsigned i = 0; i < count; i++) {
        producers[i] = (producer){name, CreateEventW(NULL, TRUE, FALSE, NULL),
                                  go,   guarded ? &out : NULL,
                                  i,    n,
                                  size};
        threads[i] =
            CreateThread(NULL, 0, producer_thread, &producers[i], 0, NULL);
        WaitForSingleObject(producers[i].ready, INFINITE);
        CloseHandle(producers[i].ready);
    }
    SetEvent(go);
    int64_t took = producers_receive(&in, n, count, spread);
    for (unsigned i = 0; i < count; i++) {
        WaitForSingleObject(threads[i], INFINITE);
        CloseHandle(threads[i]);
    }
    CloseHandle(go);
    winipc_channel_close(&out);
    winipc_channel_close(&in);
    return took;
}

/* -------------------------------------------------------------------- stubs */

static BOOL WINAPI
stub_copy(HANDLE process, void *address, void *data, SIZE_T size, SIZE_T *done)
{
    (void)process;
    (void)address;
    (void)data;
    if (done != NULL) {
        *done = size;
    }
    return TRUE;
}

static BOOL WINAPI
stub_true(void)
{
    return TRUE;
}

static LRESULT WINAPI
stub_send(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam, UINT flags,
          UINT timeout, DWORD_PTR *answer)
{
    (void)hwnd;
    (void)message;
    (void)wparam;
    (void)lparam;
    (void)flags;
    (void)timeout;
    *answer = 1;
    return 1;
}

#define JUMP 12 /* mov rax, address; jmp rax */

struct stub {
    const wchar_t *dll;
    const char *name;
    void *replacement;
    unsigned char saved[JUMP];
    int installed;
};

static struct stub stubs[] = {
    {L"kernel32", "ReadProcessMemory", (void *)stub_copy, {0}, 0},
    {L"kernel32", "WriteProcessMemory", (void *)stub_copy, {0}, 0},
    /* What winipc calls instead, under Wine. */
    {L"ntdll", "NtWriteVirtualMemory", (void *)stub_copy, {0}, 0},
    {L"kernel32", "SetEvent", (void *)stub_true, {0}, 0},
    {L"user32", "PostMessageW", (void *)stub_true, {0}, 0},
    {L"user32", "SendMessageTimeoutW", (void *)stub_send, {0}, 0},
};

static int
stub_patch(struct stub *stub, const unsigned char *code)
{
    DWORD before;
    void *entry =
        (void *)GetProcAddress(GetModuleHandleW(stub->dll), stub->name);
    if (entry == NULL ||
        !VirtualProtect(entry, JUMP, PAGE_EXECUTE_READWRITE, &before)) {
        return -1;
    }
    if (!stub->installed) {
        memcpy(stub->saved, entry, JUMP);
    }
    memcpy(entry, code, JUMP);
    stub->installed = !stub->installed;
    VirtualProtect(entry, JUMP, before, &before);
    FlushInstructionCache(GetCurrentProcess(), entry, JUMP);
    return 0;
}

static struct stub *
stub_find(const char *name)
{
    for (size_t i = 0; i < sizeof(stubs) / sizeof(stubs[0]); i++) {
        if (strcmp(stubs[i].name, name) == 0) {
            return &stubs[i];
        }
    }
    return NULL;
}

EXPORT int
stub_install(const char *name)
{
    struct stub *stub = stub_find(name);
    unsigned char code[JUMP] = {0x48, 0xb8, 0, 0, 0,    0,
                                0,    0,    0, 0, 0xff, 0xe0};
    if (stub == NULL || stub->installed) {
        return -1;
    }
    memcpy(code + 2, &stub->replacement, 8);
    return stub_patch(stub, code);
}

EXPORT int
stub_remove(const char *name)
{
    struct stub *stub = stub_find(name);
    if (stub == NULL || !stub->installed) {
        return -1;
    }
    return stub_patch(stub, stub->saved);
}

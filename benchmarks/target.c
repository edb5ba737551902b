/* target.c: the other process of the benchmarks, a fresh one for each round.
 *
 * It prints "HWND BLOCK LIST": a window that takes a copy of WM_COPYDATA and answers
 * to the exchange's "Mapped" without a copy, 17 MiB of memory, and a linked list of 10,000 nodes scattered over 1 MiB. Then
 * it answers lines of its standard input:
 *
 *   big MIB          so much memory with numbers of no pattern in it; its address
 *   pointers MIB N   the same, with N pointers to anywhere in it, and a few of the
 *                    program's; the address of its middle
 *   events A B       wait for event A and set B, on and on, in a thread
 *   echo IN OUT      send back by channel OUT what comes by IN, in a thread
 *   sink IN OUT      the same, but only what is empty
 *
 * The end of its input is its end.
 */
#include <windows.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "winipc.h"

#define NODES 10000
#define LIST ((size_t)1 << 20)
#define BLOCK ((size_t)17 << 20)

static unsigned char taken[16 << 20];
static UINT mapped; /* the registered message "Mapped" */

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        const COPYDATASTRUCT *data = (const COPYDATASTRUCT *)lparam;
        if (data->cbData > sizeof(taken)) {
            return 0;
        }
        memcpy(taken, data->lpData, data->cbData);
        return 1;
    }
    if (message == mapped) {
        return 1;
    }
    return DefWindowProcW(hwnd, message, wparam, lparam);
}

static DWORD WINAPI
window_thread(void *made)
{
    WNDCLASSW class = {0};
    MSG message;
    class.lpfnWndProc = procedure;
    class.hInstance = GetModuleHandleW(NULL);
    class.lpszClassName = L"winipc.benchmark.target";
    RegisterClassW(&class);
    *(HWND volatile *)made =
        CreateWindowExW(0, class.lpszClassName, L"", 0, 0, 0, 0, 0,
                        HWND_MESSAGE, NULL, class.hInstance, NULL);
    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        DispatchMessageW(&message);
    }
    return 0;
}

static HANDLE ping, pong;

static DWORD WINAPI
events_thread(void *unused)
{
    (void)unused;
    while (WaitForSingleObject(ping, INFINITE) == WAIT_OBJECT_0) {
        SetEvent(pong);
    }
    return 0;
}

static winipc_channel in_channel, out_channel;
static int only_empty; /* set before the thread starts */

static DWORD WINAPI
echo_thread(void *unused)
{
    static unsigned char message[2 << 20];
    uint64_t length;
    (void)unused;
    while (winipc_channel_recv(&in_channel, message, sizeof(message), &length,
                               0xffffffffu) == WINIPC_OK &&
           ((only_empty && length > 0) ||
            winipc_channel_send(&out_channel, message, length, 0xffffffffu) ==
                WINIPC_OK)) {
    }
    winipc_channel_close(&in_channel);
    winipc_channel_close(&out_channel);
    return 0;
}

static uint64_t
random_number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void *
memory(size_t size)
{
    uint64_t *words =
        VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (words == NULL) {
        exit(2);
    }
    for (size_t i = 0; i < size / 8; i++) {
        words[i] = random_number();
    }
    return words;
}

static void *volatile roots[64];

static void *
pointers(size_t size, size_t count)
{
    uintptr_t *words = memory(size);
    for (size_t i = 0; i < count; i++) {
        words[random_number() % (size / sizeof(*words))] =
            (uintptr_t)words + random_number() % size / 16 * 16;
    }
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        roots[i] = (char *)words + random_number() % size / 16 * 16;
    }
    return (char *)words + size / 2;
}

/* Nodes at places of no order: each holds the address of the next. */
static void *
list(void)
{
    static uint32_t places[LIST / 64];
    char *base = memory(LIST);
    size_t count = LIST / 64;
    for (size_t i = 0; i < count; i++) {
        places[i] = (uint32_t)i;
    }
    for (size_t i = count - 1; i > 0; i--) {
        size_t k = random_number() % (i + 1);
        uint32_t other = places[k];
        places[k] = places[i];
        places[i] = other;
    }
    for (size_t i = 0; i < NODES; i++) {
        void *next = i + 1 < NODES ? base + 64 * (size_t)places[i + 1] : NULL;
        memcpy(base + 64 * (size_t)places[i], &next, sizeof(next));
    }
    return base + 64 * (size_t)places[0];
}

static void
start(LPTHREAD_START_ROUTINE routine)
{
    CloseHandle(CreateThread(NULL, 0, routine, NULL, 0, NULL));
}

int
main(void)
{
    char line[512], first[128], second[128];
    wchar_t wide_first[128], wide_second[128];
    static HWND volatile hwnd;
    unsigned mebibytes, count;
    mapped = RegisterWindowMessageW(L"Mapped");
    /* A received WM_COPYDATA lies on the stack of this thread. */
    CloseHandle(CreateThread(NULL, 64 << 20, window_thread, (void *)&hwnd,
                             STACK_SIZE_PARAM_IS_A_RESERVATION, NULL));
    void *block = memory(BLOCK), *head = list();
    while (hwnd == NULL) {
        Sleep(1);
    }
    printf("%llu %llu %llu\n", (unsigned long long)(uintptr_t)hwnd,
           (unsigned long long)(uintptr_t)block,
           (unsigned long long)(uintptr_t)head);
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        unsigned long long answer = 1;
        if (sscanf(line, "big %u", &mebibytes) == 1) {
            answer = (uintptr_t)memory((size_t)mebibytes << 20);
        }
        else if (sscanf(line, "pointers %u %u", &mebibytes, &count) == 2) {
            answer = (uintptr_t)pointers((size_t)mebibytes << 20, count);
        }
        else if (sscanf(line, "%*s %127s %127s", first, second) == 2) {
            MultiByteToWideChar(CP_UTF8, 0, first, -1, wide_first, 128);
            MultiByteToWideChar(CP_UTF8, 0, second, -1, wide_second, 128);
            if (strncmp(line, "events", 6) == 0) {
                ping = OpenEventW(SYNCHRONIZE, FALSE, wide_first);
                pong = OpenEventW(EVENT_MODIFY_STATE, FALSE, wide_second);
                answer = ping != NULL && pong != NULL;
                start(events_thread);
            }
            else {
                answer = winipc_channel_open(&in_channel, wide_first, 1000) ==
                             WINIPC_OK &&
                         winipc_channel_open(&out_channel, wide_second,
                                             1000) == WINIPC_OK;
                only_empty = strncmp(line, "sink", 4) == 0;
                start(echo_thread);
            }
        }
        printf("%llu\n", answer);
        fflush(stdout);
    }
    return 0;
}

/* copydata_peer.c: WM_COPYDATA in plain C, by the A or the W functions.
 *
 *     copydata_peer receive A|W TITLE   prints "ID SIZE SUM SENDER" for each
 *                                       message and answers SIZE + 1; a
 *                                       message with id 99 ends it
 *     copydata_peer send A|W TITLE      prints its window and how many bits an
 *                                       id has; reads lines "ID SIZE" and sends
 *                                       SIZE bytes 0, 1, ..., 255, 0, ...;
 *                                       prints what SendMessage returned
 *     copydata_peer hung A|W TITLE      has a window and never looks at its
 *                                       messages until its input ends
 *     copydata_peer list A|W TITLE      prints how many top-level windows
 *                                       EnumWindows finds with this title
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static BOOL wide;
static wchar_t wide_title[256];
static const char *title;

static LRESULT
peer_receive(WPARAM sender, const COPYDATASTRUCT *data)
{
    unsigned long long sum = 0;
    const unsigned char *bytes = data->lpData;
    for (DWORD i = 0; i < data->cbData; i++) {
        sum += bytes[i];
    }
    printf("%llu %lu %llu %llu\n", (unsigned long long)data->dwData,
           (unsigned long)data->cbData, sum, (unsigned long long)sender);
    if (data->dwData == 99) {
        PostQuitMessage(0);
    }
    return (LRESULT)data->cbData + 1;
}

static LRESULT CALLBACK
peer_procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        return peer_receive(wparam, (const COPYDATASTRUCT *)lparam);
    }
    return wide ? DefWindowProcW(hwnd, message, wparam, lparam)
                : DefWindowProcA(hwnd, message, wparam, lparam);
}

static HWND
peer_window(void)
{
    if (wide) {
        WNDCLASSW class = {0};
        class.lpfnWndProc = peer_procedure;
        class.lpszClassName = L"copydata_peer";
        RegisterClassW(&class);
        return CreateWindowW(L"copydata_peer", wide_title, 0, 0, 0, 0, 0, NULL,
                             NULL, NULL, NULL);
    }
    WNDCLASSA class = {0};
    class.lpfnWndProc = peer_procedure;
    class.lpszClassName = "copydata_peer";
    RegisterClassA(&class);
    return CreateWindowA("copydata_peer", title, 0, 0, 0, 0, 0, NULL, NULL,
                         NULL, NULL);
}

static void
run_receiver(void)
{
    MSG message;
    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        DispatchMessageW(&message);
    }
}

static void
run_sender(HWND own)
{
    unsigned long long id;
    unsigned long size;
    while (scanf("%llu %lu", &id, &size) == 2) {
        HWND target =
            wide ? FindWindowW(NULL, wide_title) : FindWindowA(NULL, title);
        unsigned char *bytes = malloc(size + 1);
        for (unsigned long i = 0; i < size; i++) {
            bytes[i] = (unsigned char)i;
        }
        COPYDATASTRUCT data = {(ULONG_PTR)id, size, bytes};
        LRESULT answer = wide ? SendMessageW(target, WM_COPYDATA, (WPARAM)own,
                                             (LPARAM)&data)
                              : SendMessageA(target, WM_COPYDATA, (WPARAM)own,
                                             (LPARAM)&data);
        printf("%lld\n", (long long)answer);
        free(bytes);
    }
}

static BOOL CALLBACK
count_window(HWND hwnd, LPARAM lparam)
{
    wchar_t text[256];
    /* As most programs do, which asks the window's own thread. */
    if (wide && GetWindowTextW(hwnd, text, 256) &&
        wcscmp(text, wide_title) == 0) {
        ++*(int *)lparam;
    }
    char narrow[256];
    if (!wide && GetWindowTextA(hwnd, narrow, 256) &&
        strcmp(narrow, title) == 0) {
        ++*(int *)lparam;
    }
    return TRUE;
}

int
main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    const char *mode = argv[1];
    wide = argv[2][0] == 'W';
    title = argv[3];
    MultiByteToWideChar(CP_ACP, 0, title, -1, wide_title, 256);
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(mode, "list") == 0) {
        int count = 0;
        EnumWindows(count_window, (LPARAM)&count);
        printf("%d\n", count);
        return 0;
    }
    if (strcmp(mode, "send") == 0) {
        title = "";
        wchar_t target[256];
        wcscpy(target, wide_title);
        wide_title[0] = 0;
        HWND own = peer_window();
        wcscpy(wide_title, target);
        title = argv[3];
        printf("ready %llu %u\n", (unsigned long long)(ULONG_PTR)own,
               8 * (unsigned)sizeof(ULONG_PTR));
        run_sender(own);
        return 0;
    }
    HWND own = peer_window();
    printf("ready %llu\n", (unsigned long long)(ULONG_PTR)own);
    if (strcmp(mode, "hung") == 0) {
        while (getchar() != EOF) {
        }
    }
    else {
        run_receiver();
    }
    return 0;
}

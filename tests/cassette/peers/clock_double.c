/* clock_double.c: a clock that answers to the window that a request names.
 *
 *     clock_double TITLE   has a window with this title
 *
 * It answers a WM_COPYDATA with id 2 by a WM_COPYDATA of its own, with id 3 and
 * a count, to the window in wParam; one with id 4, by WM_APP + 1 to that
 * window, whose answer it returns. For id 5 it prints "busy" and never returns.
 * It prints the number and the parameters of commands, keys and messages from
 * WM_USER on, and answers with the number. It prints "ready", and ends with
 * WM_CLOSE. */
#include <windows.h>

#include <stdio.h>

static LRESULT
request(HWND own, HWND client, const COPYDATASTRUCT *data)
{
    static char text[20];
    static int count;
    COPYDATASTRUCT answer = {3, 0, text};
    switch (data->dwData) {
    case 2:
        answer.cbData = (DWORD)sprintf(text, "tick %d", ++count);
        SendMessageW(client, WM_COPYDATA, (WPARAM)own, (LPARAM)&answer);
        return TRUE;
    case 4:
        return SendMessageW(client, WM_APP + 1, data->cbData, -1);
    case 5:
        printf("busy\n");
        Sleep(INFINITE);
        return FALSE;
    default:
        return FALSE;
    }
}

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        return request(hwnd, (HWND)wparam, (const COPYDATASTRUCT *)lparam);
    }
    if (message == WM_CLOSE) {
        PostQuitMessage(0);
        return 0;
    }
    if (message == WM_COMMAND || message == WM_SYSCOMMAND ||
        message == WM_APPCOMMAND || message >= WM_USER ||
        (message >= WM_KEYFIRST && message <= WM_KEYLAST)) {
        printf("%#x %lld %lld\n", message, (long long)wparam,
               (long long)lparam);
        return (LRESULT)message;
    }
    return DefWindowProcA(hwnd, message, wparam, lparam);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    WNDCLASSA class = {0};
    class.lpfnWndProc = procedure;
    class.lpszClassName = "clock_double";
    RegisterClassA(&class);
    if (CreateWindowA("clock_double", argv[1], 0, 0, 0, 0, 0, NULL, NULL, NULL,
                      NULL) == NULL) {
        return 1;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("ready\n");
    MSG message;
    while (GetMessageA(&message, NULL, 0, 0) > 0) {
        DispatchMessageA(&message);
    }
    return 0;
}

/* player_double.c: a media player without picture and sound, which takes orders.
 *
 *     player_double CLASS MESSAGE   has a window of this class; tells all windows
 *                                   by the registered MESSAGE what it does
 *
 * As players of that time: WM_COPYDATA with id 100 opens a file (its name, ANSI),
 * WM_USER with lParam 104 asks what it does (0 stopped, 1 plays, 3 paused), with
 * 105 for the position, with 122 and a new volume in wParam; WM_COMMAND 40045
 * plays, 40046 pauses, 40047 stops. It tells the state after each command. Prints
 * "ready", and ends with WM_CLOSE. */
#include <windows.h>

#include <stdio.h>
#include <string.h>

enum { STOPPED = 0, PLAYS = 1, PAUSED = 3 };

static int state, volume = 100;
static LONG position;
static char file[260];
static UINT told;

static LRESULT
command(HWND hwnd, WPARAM which)
{
    if (which == 40045 && file[0] != 0) {
        state = PLAYS;
    }
    else if (which == 40046 && state != STOPPED) {
        state = state == PAUSED ? PLAYS : PAUSED;
    }
    else if (which == 40047) {
        state = STOPPED;
    }
    PostMessageA(HWND_BROADCAST, told, (WPARAM)state, (LPARAM)(ULONG_PTR)42);
    (void)hwnd;
    return 0;
}

static LRESULT
ask(WPARAM wparam, LPARAM what)
{
    switch (what) {
    case 104:
        return state;
    case 105:
        position += state == PLAYS ? 1000 : 0;
        return state == STOPPED ? -1 : position;
    case 122:
        volume = (int)wparam;
        return volume;
    default:
        return 0;
    }
}

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    const COPYDATASTRUCT *data = (const COPYDATASTRUCT *)lparam;
    switch (message) {
    case WM_COPYDATA:
        if (data->dwData != 100 || data->cbData >= sizeof(file)) {
            return 0;
        }
        memcpy(file, data->lpData, data->cbData);
        file[data->cbData] = 0;
        position = 0;
        return 1;
    case WM_USER:
        return ask(wparam, lparam);
    case WM_COMMAND:
        return command(hwnd, wparam);
    case WM_CLOSE:
        PostQuitMessage(0);
        return 0;
    default:
        return DefWindowProcA(hwnd, message, wparam, lparam);
    }
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    WNDCLASSA class = {0};
    class.lpfnWndProc = procedure;
    class.lpszClassName = argv[1];
    told = RegisterWindowMessageA(argv[2]);
    RegisterClassA(&class);
    if (CreateWindowA(argv[1], "no file - player", 0, 0, 0, 0, 0, NULL, NULL,
                      NULL, NULL) == NULL) {
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    MSG message;
    while (GetMessageA(&message, NULL, 0, 0) > 0) {
        DispatchMessageA(&message);
    }
    return 0;
}

/* player_remote.c: a user's client of player_double.c.
 *
 *     player_remote CLASS MESSAGE   takes orders from its input: "open FILE",
 *                                   "command N", "ask WHAT [WPARAM]"; prints
 *                                   the answer, and what it was told
 *
 * It looks the window up anew for each order, as such programs do. A command is
 * posted, and the client waits for what the player tells all windows then. */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static UINT told;
static LONG heard = -1;

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == told) {
        heard = (LONG)wparam;
        return 0;
    }
    return DefWindowProcA(hwnd, message, wparam, lparam);
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    WNDCLASSA class = {0};
    class.lpfnWndProc = procedure;
    class.lpszClassName = "player_remote";
    RegisterClassA(&class);
    told = RegisterWindowMessageA(argv[2]);
    HWND own = CreateWindowA("player_remote", "", 0, 0, 0, 0, 0, NULL, NULL,
                             NULL, NULL);
    char line[300];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char word[16] = "", rest[260] = "";
        sscanf(line, "%15s %259[^\r\n]", word, rest);
        HWND player = FindWindowA(argv[1], NULL);
        if (player == NULL) {
            printf("no player\n");
        }
        else if (strcmp(word, "open") == 0) {
            COPYDATASTRUCT data = {100, (DWORD)strlen(rest) + 1, rest};
            printf("%ld\n", (long)SendMessageA(player, WM_COPYDATA,
                                               (WPARAM)own, (LPARAM)&data));
        }
        else if (strcmp(word, "command") == 0) {
            MSG message;
            heard = -1;
            PostMessageA(player, WM_COMMAND, (WPARAM)atoi(rest), 0);
            while (heard < 0 && GetMessageA(&message, NULL, 0, 0) > 0) {
                DispatchMessageA(&message);
            }
            printf("told %ld\n", heard);
        }
        else {
            char *end;
            long what = strtol(rest, &end, 0);
            long wparam = strtol(end, NULL, 0);
            printf("%ld\n",
                   (long)SendMessageA(player, WM_USER, (WPARAM)wparam, what));
        }
        fflush(stdout);
    }
    return 0;
}

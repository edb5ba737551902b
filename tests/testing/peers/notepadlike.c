/* notepadlike.c: a small program in the manner of MFC, to be tested.
 *
 *     notepadlike TITLE [SETTINGS]
 *
 * A window with this title and a message map. It holds one text:
 *
 *     WM_COPYDATA 1       the text is the data; answers 1, or 0 when it is
 *                         read-only or too long
 *     WM_COPYDATA 2       sends the text back to the sender as WM_COPYDATA 3
 *     WM_COMMAND ID_UPPER makes it upper case
 *     WM_CLOSE            prints "closed" and ends
 *
 * Each change is told to all windows by the registered message
 * "notepadlike.Changed", with the length as wparam. SETTINGS is the name of a
 * mapping with struct settings. Prints "ready" when the window is there. */
#include <windows.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ID_UPPER 100

struct settings {
    uint32_t max_length;
    uint32_t read_only;
};

typedef LRESULT (*handler)(HWND hwnd, WPARAM wparam, LPARAM lparam);

typedef struct {
    UINT message;
    handler call;
} map_entry;

static struct settings settings = {256, 0};
static char text[1024];
static UINT changed;

static void
tell(void)
{
    PostMessageA(HWND_BROADCAST, changed, strlen(text), 0);
}

static LRESULT
set_text(const COPYDATASTRUCT *data)
{
    size_t length = data->cbData;
    if (settings.read_only || length > settings.max_length ||
        length >= sizeof(text)) {
        fprintf(stderr, "refused %lu bytes\n", (unsigned long)length);
        return 0;
    }
    memcpy(text, data->lpData, length);
    text[length] = '\0';
    tell();
    return 1;
}

static LRESULT
get_text(HWND hwnd, HWND asker)
{
    COPYDATASTRUCT reply = {3, (DWORD)strlen(text) + 1, text};
    return SendMessageA(asker, WM_COPYDATA, (WPARAM)hwnd, (LPARAM)&reply);
}

static LRESULT
on_copydata(HWND hwnd, WPARAM wparam, LPARAM lparam)
{
    const COPYDATASTRUCT *data = (const COPYDATASTRUCT *)lparam;
    switch (data->dwData) {
    case 1:
        return set_text(data);
    case 2:
        return get_text(hwnd, (HWND)wparam);
    default:
        return 0;
    }
}

static LRESULT
on_command(HWND hwnd, WPARAM wparam, LPARAM lparam)
{
    (void)hwnd;
    (void)lparam;
    if (LOWORD(wparam) == ID_UPPER) {
        CharUpperA(text);
        tell();
    }
    return 0;
}

static LRESULT
on_close(HWND hwnd, WPARAM wparam, LPARAM lparam)
{
    (void)wparam;
    (void)lparam;
    puts("closed");
    fflush(stdout);
    DestroyWindow(hwnd);
    return 0;
}

static LRESULT
on_destroy(HWND hwnd, WPARAM wparam, LPARAM lparam)
{
    (void)hwnd;
    (void)wparam;
    (void)lparam;
    PostQuitMessage(0);
    return 0;
}

/* What BEGIN_MESSAGE_MAP makes of ON_WM_COPYDATA() and its like. */
static const map_entry message_map[] = {
    {WM_COPYDATA, on_copydata},
    {WM_COMMAND, on_command},
    {WM_CLOSE, on_close},
    {WM_DESTROY, on_destroy},
};

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    for (size_t i = 0; i < sizeof(message_map) / sizeof(*message_map); i++) {
        if (message_map[i].message == message) {
            return message_map[i].call(hwnd, wparam, lparam);
        }
    }
    return DefWindowProcA(hwnd, message, wparam, lparam);
}

static int
read_settings(const char *name)
{
    HANDLE mapping = OpenFileMappingA(FILE_MAP_READ, FALSE, name);
    if (mapping == NULL) {
        fprintf(stderr, "no settings %s: error %lu\n", name, GetLastError());
        return -1;
    }
    const void *view =
        MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, sizeof(settings));
    if (view != NULL) {
        memcpy(&settings, view, sizeof(settings));
        UnmapViewOfFile(view);
    }
    CloseHandle(mapping);
    return view == NULL ? -1 : 0;
}

int
main(int argc, char **argv)
{
    if (argc < 2 || (argc > 2 && read_settings(argv[2]) < 0)) {
        return 2;
    }
    WNDCLASSA class = {0};
    class.lpfnWndProc = procedure;
    class.lpszClassName = "notepadlike";
    RegisterClassA(&class);
    changed = RegisterWindowMessageA("notepadlike.Changed");
    if (CreateWindowA("notepadlike", argv[1], 0, 0, 0, 0, 0, NULL, NULL, NULL,
                      NULL) == NULL) {
        return 3;
    }
    puts("ready");
    fflush(stdout);
    MSG message;
    while (GetMessageA(&message, NULL, 0, 0) > 0) {
        DispatchMessageA(&message);
    }
    return 0;
}

/* search_double.c: a search tool that answers queries as Everything 1.4 does.
 *
 *     search_double CLASS   has a window of this class and an empty title
 *
 * A WM_COPYDATA with id 2 is a query: the window to answer to, the id of the
 * answer, flags, offset and the most results, each of 32 bits, and the text in
 * UTF-16. It returns at once, and the answer comes as a WM_COPYDATA of its own:
 * seven numbers, for each result its flags and the offsets of its name and its
 * path, and the texts. Prints "ready", and ends with WM_CLOSE. */
#include <windows.h>

#include <stdio.h>
#include <string.h>

enum { FILES = 9, ROOM = 8192 };

typedef struct {
    DWORD reply_to, reply_id, flags, offset, most;
} query_head;

static const WCHAR *const files[FILES] = {
    L"first.txt", L"second.txt", L"fifth",    L"file a", L"file b",
    L"other",     L"file c",     L"fi\u00e9", L"last f"};

/* The answer to a text; its size. */
static DWORD
search(const WCHAR *text, const query_head *query, unsigned char *answer)
{
    static const WCHAR path[] = L"C:\\found";
    int found[FILES], count = 0;
    for (int i = 0; i < FILES; i++) {
        if (wcsstr(files[i], text) != NULL) {
            found[count++] = i;
        }
    }
    int first = query->offset < (DWORD)count ? (int)query->offset : count;
    int shown = count - first;
    if (query->most < (DWORD)shown) {
        shown = (int)query->most;
    }
    DWORD head[7] = {0,
                     (DWORD)count,
                     (DWORD)count,
                     0,
                     (DWORD)shown,
                     (DWORD)shown,
                     query->offset};
    DWORD at = sizeof(head) + (DWORD)shown * 12;
    memcpy(answer, head, sizeof(head));
    for (int i = 0; i < shown; i++) {
        const WCHAR *name = files[found[first + i]];
        DWORD length = (DWORD)(wcslen(name) + 1) * sizeof(WCHAR);
        DWORD item[3] = {0, at, at + length};
        memcpy(answer + sizeof(head) + i * 12, item, sizeof(item));
        memcpy(answer + at, name, length);
        memcpy(answer + at + length, path, sizeof(path));
        at += length + (DWORD)sizeof(path);
    }
    return at;
}

static LRESULT
query_came(HWND own, const COPYDATASTRUCT *data)
{
    static unsigned char answer[ROOM];
    static WCHAR text[100];
    query_head query;
    size_t length = data->cbData - sizeof(query);
    if (data->dwData != 2 || data->cbData < sizeof(query) + sizeof(WCHAR) ||
        length > sizeof(text)) {
        return 0;
    }
    memcpy(&query, data->lpData, sizeof(query));
    memcpy(text, (const char *)data->lpData + sizeof(query), length);
    text[length / sizeof(WCHAR) - 1] = 0;
    COPYDATASTRUCT reply = {query.reply_id, search(text, &query, answer),
                            answer};
    ReplyMessage(TRUE); /* the client waits for its answer, not for us */
    SendMessageW((HWND)(UINT_PTR)query.reply_to, WM_COPYDATA, (WPARAM)own,
                 (LPARAM)&reply);
    return TRUE;
}

static LRESULT CALLBACK
procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        return query_came(hwnd, (const COPYDATASTRUCT *)lparam);
    }
    if (message == WM_CLOSE) {
        PostQuitMessage(0);
        return 0;
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
    class.lpszClassName = argv[1];
    RegisterClassA(&class);
    if (CreateWindowA(argv[1], "", 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL) ==
        NULL) {
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

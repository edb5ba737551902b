/* article_receiver.c: the receiving program of the article, in plain C.
 *
 *     article_receiver TITLE MAPPING LIBRARY
 *
 * Prints "ready", then a line for each message: the transport, a space and
 * the text in hexadecimal. Ends when its standard input ends.
 */
#include "article.h"

#define PAGE 4096

static UINT msg_mapped, msg_handle, msg_shared;
static article_names names;

static LRESULT
report(const char *transport, const char *text)
{
    printf("%s ", transport);
    for (; *text != '\0'; text++) {
        printf("%02x", (unsigned char)*text);
    }
    printf("\n");
    fflush(stdout);
    return TRUE;
}

static LRESULT
on_copydata(const COPYDATASTRUCT *data)
{
    char text[ARTICLE_SIZE + 1] = "";
    size_t length = data->cbData < ARTICLE_SIZE ? data->cbData : ARTICLE_SIZE;
    memcpy(text, data->lpData, length);
    return report("copydata", text);
}

static LRESULT
on_mapped(void)
{
    char text[ARTICLE_SIZE + 1] = "";
    HANDLE mapping = OpenFileMappingA(FILE_MAP_READ, FALSE, names.mapping);
    if (mapping == NULL) {
        return FALSE;
    }
    const char *view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    if (view != NULL) {
        strncpy(text, view, ARTICLE_SIZE);
        UnmapViewOfFile(view);
    }
    CloseHandle(mapping);
    return view != NULL ? report("mapping", text) : FALSE;
}

static LRESULT
on_shared(void)
{
    char text[ARTICLE_SIZE + 1] = "";
    const char *shared = article_shared_data(names.library);
    if (shared == NULL) {
        return FALSE;
    }
    strncpy(text, shared, ARTICLE_SIZE);
    return report("section", text);
}

static LRESULT
on_handle(DWORD pid, const void *address)
{
    char text[ARTICLE_SIZE + 1] = "";
    HANDLE process = OpenProcess(PROCESS_VM_READ, FALSE, pid);
    if (process == NULL) {
        return FALSE;
    }
    /* Page by page up to the NUL: what follows the text need not be there. */
    BOOL ok = TRUE;
    size_t done = 0;
    while (ok && done < ARTICLE_SIZE && memchr(text, 0, done) == NULL) {
        const char *from = (const char *)address + done;
        size_t length = PAGE - (ULONG_PTR)from % PAGE;
        if (length > ARTICLE_SIZE - done) {
            length = ARTICLE_SIZE - done;
        }
        ok = ReadProcessMemory(process, from, text + done, length, NULL);
        done += length;
    }
    CloseHandle(process);
    return ok ? report("process", text) : FALSE;
}

static LRESULT CALLBACK
window_procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == WM_COPYDATA) {
        return on_copydata((const COPYDATASTRUCT *)lparam);
    }
    if (message == msg_mapped) {
        return on_mapped();
    }
    if (message == msg_shared) {
        return on_shared();
    }
    if (message == msg_handle) {
        return on_handle((DWORD)wparam, (const void *)lparam);
    }
    return DefWindowProcA(hwnd, message, wparam, lparam);
}

static DWORD WINAPI
watch_input(void *main_thread)
{
    while (getchar() != EOF) {
    }
    PostThreadMessageA((DWORD)(ULONG_PTR)main_thread, WM_QUIT, 0, 0);
    return 0;
}

int
main(int argc, char **argv)
{
    WNDCLASSA wc = {0};
    MSG msg;

    names = article_arguments(argc, argv);
    msg_mapped = RegisterWindowMessageA("Mapped");
    msg_handle = RegisterWindowMessageA("Handle");
    msg_shared = RegisterWindowMessageA("Shared");

    wc.lpfnWndProc = window_procedure;
    wc.hInstance = GetModuleHandleA(NULL);
    wc.lpszClassName = "ArticleReceiver";
    RegisterClassA(&wc);
    if (CreateWindowExA(0, wc.lpszClassName, names.title, WS_OVERLAPPEDWINDOW,
                        0, 0, 100, 100, NULL, NULL, wc.hInstance,
                        NULL) == NULL) {
        fprintf(stderr, "CreateWindowEx: error %lu\n", GetLastError());
        return 1;
    }
    CreateThread(NULL, 0, watch_input, (void *)(ULONG_PTR)GetCurrentThreadId(),
                 0, NULL);
    puts("ready");
    fflush(stdout);
    while (GetMessageA(&msg, NULL, 0, 0) > 0) {
        DispatchMessageA(&msg);
    }
    return 0;
}

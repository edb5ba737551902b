/* article_sender.c: the sending program of the article, in plain C.
 *
 *     article_sender TITLE MAPPING LIBRARY
 *
 * Reads lines "TRANSPORT TEXT" from its standard input, sends the text by
 * that transport, and prints what SendMessage returned.
 */
#include "article.h"

static LRESULT
send_copydata(HWND target, char *text)
{
    COPYDATASTRUCT data = {0, (DWORD)strlen(text) + 1, text};
    return SendMessageA(target, WM_COPYDATA, 0, (LPARAM)&data);
}

static LRESULT
send_mapped(HWND target, const char *name, const char *text)
{
    LRESULT answer = -1;
    HANDLE mapping = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL,
                                        PAGE_READWRITE, 0, ARTICLE_SIZE, name);
    if (mapping == NULL) {
        return -1;
    }
    char *view = MapViewOfFile(mapping, FILE_MAP_WRITE, 0, 0, 0);
    if (view != NULL) {
        strcpy(view, text);
        answer = SendMessageA(target, RegisterWindowMessageA("Mapped"), 0, 0);
        UnmapViewOfFile(view);
    }
    CloseHandle(mapping);
    return answer;
}

static LRESULT
send_shared(HWND target, const char *library, const char *text)
{
    char *shared = article_shared_data(library);
    if (shared == NULL) {
        return -1;
    }
    strcpy(shared, text);
    return SendMessageA(target, RegisterWindowMessageA("Shared"), 0, 0);
}

static LRESULT
send_handle(HWND target, const char *text)
{
    LRESULT answer;
    char *block = GlobalAlloc(GPTR, ARTICLE_SIZE);
    if (block == NULL) {
        return -1;
    }
    strcpy(block, text);
    answer = SendMessageA(target, RegisterWindowMessageA("Handle"),
                          (WPARAM)GetCurrentProcessId(), (LPARAM)block);
    GlobalFree(block);
    return answer;
}

int
main(int argc, char **argv)
{
    article_names names = article_arguments(argc, argv);
    char line[ARTICLE_SIZE];
    HWND target = FindWindowA(NULL, names.title);
    if (target == NULL) {
        fprintf(stderr, "no window titled %s\n", names.title);
        return 1;
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
        LRESULT answer = -1;
        line[strcspn(line, "\r\n")] = '\0';
        char *text = strchr(line, ' ');
        if (text == NULL) {
            return 2;
        }
        *text++ = '\0';
        if (strcmp(line, "copydata") == 0) {
            answer = send_copydata(target, text);
        }
        else if (strcmp(line, "mapping") == 0) {
            answer = send_mapped(target, names.mapping, text);
        }
        else if (strcmp(line, "section") == 0) {
            answer = send_shared(target, names.library, text);
        }
        else if (strcmp(line, "process") == 0) {
            answer = send_handle(target, text);
        }
        printf("%ld\n", (long)answer);
        fflush(stdout);
    }
    return 0;
}

/* asking.c: the clients of two protocols over WM_COPYDATA, in plain C.
 *
 *     asking agent NAME ID user|default   asks an SSH agent as PuTTY does: the
 *                                         request is in a mapping that the
 *                                         user's SID owns, or the default owner
 *     asking search CLASS ID              sends a query as Everything's SDK does
 *
 * Prints what SendMessage returned; when that is not 0, also the answer: its
 * bytes in hexadecimal, or the number of results, for which it waits.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8192, REPLY_ID = 7 };

static long results = -1;

static LRESULT
send_data(HWND hwnd, HWND sender, ULONG_PTR id, void *data, DWORD size)
{
    COPYDATASTRUCT copydata = {id, size, data};
    return SendMessageA(hwnd, WM_COPYDATA, (WPARAM)sender, (LPARAM)&copydata);
}

static int
ask_agent(const char *name, ULONG_PTR id, BOOL as_user)
{
    static union {
        TOKEN_USER user;
        char room[256];
    } info;
    HANDLE token;
    DWORD size;
    SECURITY_DESCRIPTOR descriptor;
    SECURITY_ATTRIBUTES attributes = {sizeof(attributes), &descriptor, FALSE};
    InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION);
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) ||
        !GetTokenInformation(token, TokenUser, &info, sizeof(info), &size) ||
        !SetSecurityDescriptorOwner(&descriptor, info.user.User.Sid, FALSE)) {
        return 1;
    }
    char mapping_name[300];
    snprintf(mapping_name, sizeof(mapping_name), "%s-request", name);
    HANDLE mapping =
        CreateFileMappingA(INVALID_HANDLE_VALUE, as_user ? &attributes : NULL,
                           PAGE_READWRITE, 0, ROOM, mapping_name);
    unsigned char *view = MapViewOfFile(mapping, FILE_MAP_WRITE, 0, 0, 0);
    if (view == NULL) {
        return 1;
    }
    memcpy(view, "\0\0\0\1\x0b", 5);
    LRESULT result = send_data(FindWindowA(name, name), NULL, id, mapping_name,
                               (DWORD)strlen(mapping_name) + 1);
    printf("%ld", (long)result);
    if (result > 0) {
        printf(" ");
        for (int i = 0; i < 4 + view[3]; i++) {
            printf("%02x", view[i]);
        }
    }
    printf("\n");
    return 0;
}

static LRESULT CALLBACK
take_answer(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    const COPYDATASTRUCT *data = (const COPYDATASTRUCT *)lparam;
    if (message == WM_COPYDATA && data->dwData == REPLY_ID) {
        results = (long)((const DWORD *)data->lpData)[5];
        return 1;
    }
    return DefWindowProcA(hwnd, message, wparam, lparam);
}

static int
ask_search(const char *class_name, ULONG_PTR id)
{
    WNDCLASSA class = {0};
    class.lpfnWndProc = take_answer;
    class.lpszClassName = "asking";
    RegisterClassA(&class);
    HWND own = CreateWindowA("asking", "", 0, 0, 0, 0, 0, HWND_MESSAGE, NULL,
                             NULL, NULL);
    struct {
        DWORD reply_to, reply_id, flags, offset, most;
        WCHAR text[2];
    } query = {(DWORD)(UINT_PTR)own, REPLY_ID, 0, 0, 100, L"f"};
    LRESULT result = send_data(FindWindowA(class_name, NULL), own, id, &query,
                               sizeof(query));
    if (result == 0) {
        printf("0\n");
        return 0;
    }
    MSG message;
    while (results < 0) {
        /* The answer is sent, not posted: looking for messages takes it. */
        MsgWaitForMultipleObjects(0, NULL, FALSE, 100, QS_ALLINPUT);
        PeekMessageA(&message, NULL, 0, 0, PM_REMOVE);
    }
    printf("%ld %ld\n", (long)result, results);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc < 4) {
        return 2;
    }
    ULONG_PTR id = strtoul(argv[3], NULL, 0);
    if (strcmp(argv[1], "agent") == 0 && argc > 4) {
        return ask_agent(argv[2], id, strcmp(argv[4], "user") == 0);
    }
    return ask_search(argv[2], id);
}

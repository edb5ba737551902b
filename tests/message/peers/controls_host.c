/* controls_host.c: a program with the usual controls, as a stranger's is.
 *
 *     controls_host TITLE [late]   prints the handles of its window and its
 *                                  controls, then "ready"
 *
 * late: the window is there, and its thread takes no message until "go". Then it
 * does what its standard input says:
 *
 *     hang      its thread takes no more messages until "go"; prints "hung"
 *     field     prints the text of the text field, as UTF-8
 *     (end)     it ends */
#define UNICODE
#define _UNICODE
#include <stdio.h>
#include <string.h>
#include <windows.h>

#include <commctrl.h>

enum { HANG = WM_APP };

static HANDLE go;

static LRESULT CALLBACK
host_procedure(HWND hwnd, UINT message, WPARAM wparam, LPARAM lparam)
{
    if (message == HANG) {
        puts("hung");
        fflush(stdout);
        WaitForSingleObject(go, INFINITE);
        return 0;
    }
    return DefWindowProcW(hwnd, message, wparam, lparam);
}

static void
print_text(HWND hwnd)
{
    wchar_t text[256];
    char line[1024];
    GetWindowTextW(hwnd, text, 256);
    WideCharToMultiByte(CP_UTF8, 0, text, -1, line, sizeof(line), NULL, NULL);
    puts(line);
    fflush(stdout);
}

static HWND host, field;

static DWORD WINAPI
take_orders(void *unused)
{
    char line[64];
    (void)unused;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strncmp(line, "go", 2) == 0) {
            SetEvent(go);
        }
        else if (strncmp(line, "hang", 4) == 0) {
            PostMessageW(host, HANG, 0, 0);
        }
        else if (strncmp(line, "field", 5) == 0) {
            print_text(field);
        }
    }
    ExitProcess(0);
}

static HWND
child(const wchar_t *class_name, const wchar_t *text, DWORD style, HWND parent,
      UINT_PTR id)
{
    return CreateWindowExW(0, class_name, text, WS_CHILD | style, 0, 0, 200,
                           100, parent, (HMENU)id, NULL, NULL);
}

static void
fill_list_view(HWND view)
{
    static const wchar_t *const texts[][2] = {
        {L"alpha", L"1"}, {L"Zo\u00eb", L"2"}, {L"\u73cd\u73e0", L""}};
    LVCOLUMNW column;
    memset(&column, 0, sizeof(column));
    column.mask = LVCF_TEXT | LVCF_WIDTH;
    column.cx = 100;
    column.pszText = (LPWSTR)L"name";
    SendMessageW(view, LVM_INSERTCOLUMNW, 0, (LPARAM)&column);
    SendMessageW(view, LVM_INSERTCOLUMNW, 1, (LPARAM)&column);
    for (int row = 0; row < 3; row++) {
        for (int at = 0; at < 2; at++) {
            LVITEMW item;
            memset(&item, 0, sizeof(item));
            item.mask = LVIF_TEXT | LVIF_STATE;
            item.iItem = row;
            item.iSubItem = at;
            item.stateMask = LVIS_SELECTED;
            item.state = row == 1 ? LVIS_SELECTED : 0;
            item.pszText = (LPWSTR)texts[row][at];
            if (at == 0) {
                SendMessageW(view, LVM_INSERTITEMW, 0, (LPARAM)&item);
            }
            else {
                item.mask = LVIF_TEXT;
                SendMessageW(view, LVM_SETITEMTEXTW, (WPARAM)row,
                             (LPARAM)&item);
            }
        }
    }
}

static HTREEITEM
branch(HWND view, HTREEITEM parent, const wchar_t *text)
{
    TVINSERTSTRUCTW what;
    memset(&what, 0, sizeof(what));
    what.hParent = parent;
    what.hInsertAfter = TVI_LAST;
    what.item.mask = TVIF_TEXT;
    what.item.pszText = (LPWSTR)text;
    return (HTREEITEM)SendMessageW(view, TVM_INSERTITEMW, 0, (LPARAM)&what);
}

static void
fill_tree_view(HWND view)
{
    HTREEITEM first = branch(view, TVI_ROOT, L"disk");
    HTREEITEM folder = branch(view, first, L"Gr\u00f6\u00dfe");
    branch(view, folder, L"\u73cd\u73e0");
    branch(view, first, L"last");
    branch(view, TVI_ROOT, L"net");
    SendMessageW(view, TVM_SELECTITEM, TVGN_CARET, (LPARAM)folder);
}

int
main(int argc, char **argv)
{
    wchar_t title[256];
    WNDCLASSW kind;
    MSG message;
    if (argc < 2) {
        return 2;
    }
    MultiByteToWideChar(CP_UTF8, 0, argv[1], -1, title, 256);
    go = CreateEventW(NULL, FALSE, FALSE, NULL);
    LoadLibraryW(L"comctl32.dll");

    memset(&kind, 0, sizeof(kind));
    kind.lpfnWndProc = host_procedure;
    kind.lpszClassName = L"winipc-controls-host";
    RegisterClassW(&kind);
    GetClassInfoW(NULL, L"LISTBOX", &kind);
    kind.lpszClassName = L"Toolkit.LISTBOX.app.1";
    RegisterClassW(&kind);

    host =
        CreateWindowExW(0, L"winipc-controls-host", title, WS_OVERLAPPEDWINDOW,
                        0, 0, 400, 300, NULL, NULL, NULL, NULL);
    HWND panel = child(L"STATIC", L"panel", 0, host, 1);
    HWND rows = child(WC_LISTVIEWW, L"", LVS_REPORT, panel, 2);
    HWND tree = child(WC_TREEVIEWW, L"", TVS_HASBUTTONS, panel, 3);
    field = child(L"EDIT", L"first", 0, host, 4);
    HWND list = child(L"Toolkit.LISTBOX.app.1", L"", LBS_NOTIFY, host, 5);
    HWND combo = child(L"COMBOBOX", L"", CBS_DROPDOWNLIST, host, 6);
    HWND secret = child(L"EDIT", L"secret", ES_PASSWORD, host, 7);
    fill_list_view(rows);
    fill_tree_view(tree);
    static const wchar_t *const texts[] = {L"one", L"", L"\u73cd\u73e0"};
    for (int at = 0; at < 3; at++) {
        SendMessageW(list, LB_ADDSTRING, 0, (LPARAM)texts[at]);
        SendMessageW(combo, CB_ADDSTRING, 0, (LPARAM)texts[at]);
    }
    SendMessageW(list, LB_SETCURSEL, 2, 0);
    SendMessageW(combo, CB_SETCURSEL, 0, 0);

    const HWND all[] = {host, panel, rows, tree, field, list, combo, secret};
    for (int at = 0; at < 8; at++) {
        printf("%u ", (unsigned)(UINT_PTR)all[at]);
    }
    puts("\nready");
    fflush(stdout);
    CreateThread(NULL, 0, take_orders, NULL, 0, NULL);
    if (argc > 2) {
        WaitForSingleObject(go, INFINITE);
    }
    while (GetMessageW(&message, NULL, 0, 0) > 0) {
        DispatchMessageW(&message);
    }
    return 0;
}

/* denied_peer.c: a peer to which Windows grants no other process and thread.
 * It takes the place of OpenProcess and OpenThread, which then fail as they
 * do for the processes of SYSTEM. It says that it runs in several groups of
 * processors, too.
 *
 *   denied_peer recv NAME MS   receive from the channel NAME
 *   denied_peer send NAME MS   send to it until the ring is full
 *   denied_peer lock NAME MS   take the lock at the start of the mapping NAME
 */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

static HANDLE WINAPI
denied(DWORD access, BOOL inherit, DWORD id)
{
    (void)access, (void)inherit, (void)id;
    SetLastError(ERROR_ACCESS_DENIED);
    return NULL;
}

static BOOL WINAPI
several_groups(HANDLE process, PDWORD_PTR mine, PDWORD_PTR all)
{
    (void)process;
    *mine = *all = 0;
    return TRUE;
}

#define OpenProcess denied
#define OpenThread denied
#define GetProcessAffinityMask several_groups
#include "winipc.h"

static int
channel(int receive, const char *name, uint32_t ms)
{
    static winipc_channel ch;
    static unsigned char message[4096];
    wchar_t wide[300];
    uint64_t length;
    MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 300);
    int result = winipc_channel_open(&ch, wide, 1000);
    if (result != WINIPC_OK || ch.os.one_cpu) {
        return -1;
    }
    result = winipc_channel_claim(&ch, receive);
    puts("ready");
    fflush(stdout);
    while (result == WINIPC_OK) {
        result = receive ? winipc_channel_recv(&ch, message, sizeof(message),
                                               &length, ms)
                         : winipc_channel_send(&ch, message,
                                               ch.ring.max_record, ms);
    }
    winipc_channel_close(&ch);
    return result;
}

static int
lock(const char *name, uint32_t ms)
{
    winipc_lock it;
    HANDLE mapping =
        OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, name);
    void *view =
        mapping == NULL
            ? NULL
            : MapViewOfFile(mapping, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    if (view == NULL || winipc_lock_attach(&it, view, NULL) != WINIPC_OK ||
        it.one_cpu) {
        return -1;
    }
    puts("ready");
    fflush(stdout);
    int result = winipc_lock_acquire(&it, ms);
    winipc_lock_detach(&it);
    return result;
}

int
main(int argc, char **argv)
{
    (void)denied;
    if (argc != 4) {
        return 2;
    }
    uint32_t ms = (uint32_t)atoi(argv[3]);
    int result = *argv[1] == 'l' ? lock(argv[2], ms)
                                 : channel(*argv[1] == 'r', argv[2], ms);
    printf("result %d\n", result);
    fflush(stdout);
    return 0;
}

/* lock_peer.c: a C program that shares a lock. It knows nothing of winipc but
 * include/winipc.h: the lock is at the start of the mapping, a number of 64
 * bits that it guards follows at 64.
 *
 *   lock_peer count NAME ROUNDS   add 1 ROUNDS times, with the lock held
 *   lock_peer hold NAME           take it, say so, keep it until a line comes
 *   lock_peer look NAME MS        try for MS milliseconds, and say the result
 */
#include <stdio.h>
#include <stdlib.h>

#include "winipc.h"

static void
say(const char *text, long long number)
{
    printf("%s %lld\n", text, number);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    winipc_lock lock;
    if (argc < 3) {
        return 2;
    }
    HANDLE mapping =
        OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, argv[2]);
    char *view =
        mapping == NULL
            ? NULL
            : MapViewOfFile(mapping, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    if (view == NULL || winipc_lock_attach(&lock, view, NULL) != WINIPC_OK) {
        fprintf(stderr, "attach: error %lu\n", GetLastError());
        return 1;
    }
    volatile long long *number = (volatile long long *)(view + 64);
    int result = WINIPC_OK;
    if (strcmp(argv[1], "count") == 0) {
        say("ready", 0);
        for (int i = atoi(argv[3]); i > 0 && result == WINIPC_OK; i--) {
            result = winipc_lock_acquire(&lock, WINIPC_INFINITE);
            if (result == WINIPC_OK) {
                *number = *number + 1;
                result = winipc_lock_release(&lock);
            }
        }
    }
    else if (strcmp(argv[1], "hold") == 0) {
        result = winipc_lock_acquire(&lock, WINIPC_INFINITE);
        say("holding", GetCurrentThreadId());
        getchar();
        winipc_lock_release(&lock);
    }
    else {
        result = winipc_lock_acquire(&lock, (uint32_t)atoi(argv[3]));
        if (result == WINIPC_OK || result == WINIPC_ABANDONED) {
            winipc_lock_release(&lock);
        }
    }
    say("result", result);
    winipc_lock_detach(&lock);
    return 0;
}

/* channel_peer.c: a C program on the other side of a channel. It knows
 * nothing of winipc but include/winipc.h.
 *
 *   channel_peer echo NAME          NAME.there to NAME.back until the end
 *   channel_peer sink NAME          count what comes, and its sum of bytes
 *   channel_peer take NAME MS       one receive for each line that comes in
 *   channel_peer source NAME COUNT SIZE   numbered messages, then close
 *   channel_peer serve NAME CAPACITY      make NAME.there and NAME.back, echo
 *   channel_peer ping NAME COUNT SIZE     time round trips to an echo
 *   channel_peer nap NAME COUNT SIZE      the same, when the echo sleeps
 *   channel_peer events NAME COUNT        time round trips of two events
 *   channel_peer pong NAME                the other side of that
 */
#include <stdio.h>
#include <stdlib.h>

#include "winipc.h"

#define LIMIT (64u << 20)

static winipc_channel there, back;

static int
fail(const char *what, int result)
{
    fprintf(stderr, "%s: result %d, error %lu\n", what, result,
            GetLastError());
    return 1;
}

static void
say(const char *text)
{
    puts(text);
    fflush(stdout);
}

/* The name, with something after it, as wide characters. */
static const wchar_t *
wide(const char *name, const char *suffix)
{
    static wchar_t buffer[2][300];
    static int turn;
    char joined[300];
    turn = !turn;
    snprintf(joined, sizeof(joined), "%s%s", name, suffix);
    MultiByteToWideChar(CP_UTF8, 0, joined, -1, buffer[turn], 300);
    return buffer[turn];
}

static double
now_us(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (double)count.QuadPart * 1e6 / (double)frequency.QuadPart;
}

static int
echo(unsigned char *buffer)
{
    for (;;) {
        uint64_t length;
        int result = winipc_channel_recv(&there, buffer, LIMIT, &length,
                                         WINIPC_INFINITE);
        if (result == WINIPC_OK) {
            result =
                winipc_channel_send(&back, buffer, length, WINIPC_INFINITE);
        }
        if (result == WINIPC_CLOSED) {
            return 0;
        }
        if (result != WINIPC_OK) {
            return fail("echo", result);
        }
    }
}

static int
sink(unsigned char *buffer)
{
    unsigned long long count = 0, size = 0, sum = 0;
    for (;;) {
        uint64_t length;
        int result = winipc_channel_recv(&there, buffer, LIMIT, &length,
                                         WINIPC_INFINITE);
        if (result != WINIPC_OK) {
            printf("%s %llu %llu %llu\n",
                   result == WINIPC_CLOSED   ? "end"
                   : result == WINIPC_BROKEN ? "broken"
                                             : "error",
                   count, size, sum);
            fflush(stdout);
            return 0;
        }
        count++;
        size += length;
        for (uint64_t i = 0; i < length; i++) {
            sum += buffer[i];
        }
    }
}

/* What each receive with this time-out returns. */
static int
take(unsigned char *buffer, int ms)
{
    while (getchar() != EOF) {
        uint64_t length = 0;
        int result =
            winipc_channel_recv(&there, buffer, LIMIT, &length, (uint32_t)ms);
        printf("%s %llu\n",
               result == WINIPC_OK        ? "ok"
               : result == WINIPC_TIMEOUT ? "timeout"
               : result == WINIPC_BROKEN  ? "broken"
                                          : "error",
               (unsigned long long)length);
        fflush(stdout);
    }
    return 0;
}

static int
source(unsigned char *buffer, int count, int size)
{
    for (int number = 0; number < count; number++) {
        memset(buffer, number & 0xff, (size_t)size);
        if (size >= (int)sizeof(number)) {
            memcpy(buffer, &number, sizeof(number));
        }
        int result = winipc_channel_send(&there, buffer, (uint64_t)size,
                                         WINIPC_INFINITE);
        if (result == WINIPC_TOO_LARGE) {
            printf("too large, at most %llu\n",
                   (unsigned long long)there.ring.max_record);
            fflush(stdout);
            return 1;
        }
        if (result != WINIPC_OK) {
            return fail("source", result);
        }
    }
    return 0;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One round trip. */
static int
ask(unsigned char *buffer, int size)
{
    uint64_t length;
    int result =
        winipc_channel_send(&there, buffer, (uint64_t)size, WINIPC_INFINITE);
    if (result == WINIPC_OK) {
        result = winipc_channel_recv(&back, buffer, LIMIT, &length,
                                     WINIPC_INFINITE);
    }
    return result;
}

/* The best of ten batches, or the median of single ones after a pause. */
static int
ping(unsigned char *buffer, int count, int size, int nap)
{
    int batch = nap ? 1 : count / 10, rounds = nap ? count : 10;
    double *each = (double *)malloc(sizeof(double) * (size_t)rounds);
    memset(buffer, 1, (size_t)size);
    for (int round = 0; round < rounds; round++) {
        if (nap) {
            Sleep(2);
        }
        double began = now_us();
        for (int i = 0; i < batch; i++) {
            int result = ask(buffer, size);
            if (result != WINIPC_OK) {
                return fail("ping", result);
            }
        }
        each[round] = (now_us() - began) / batch;
    }
    qsort(each, (size_t)rounds, sizeof(double), compare);
    printf("%.3f us\n", each[nap ? rounds / 2 : 0]);
    fflush(stdout);
    free(each);
    return 0;
}

/* What a channel is compared with when both sides sleep. */
static int
events(const char *name, int count, int first)
{
    HANDLE one = CreateEventW(NULL, FALSE, FALSE, wide(name, ".one"));
    HANDLE two = CreateEventW(NULL, FALSE, FALSE, wide(name, ".two"));
    double *each = (double *)malloc(sizeof(double) * ((size_t)count + 1));
    say("ready");
    if (!first) {
        while (WaitForSingleObject(one, 5000) == WAIT_OBJECT_0) {
            SetEvent(two);
        }
        free(each);
        return 0;
    }
    for (int i = 0; i < count; i++) {
        Sleep(2); /* the other one sleeps for sure */
        double began = now_us();
        SetEvent(one);
        WaitForSingleObject(two, 5000);
        each[i] = now_us() - began;
    }
    qsort(each, (size_t)count, sizeof(double), compare);
    printf("%.3f us\n", each[count / 2]);
    fflush(stdout);
    free(each);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    const char *name = argc > 2 ? argv[2] : "";
    int count = argc > 3 ? atoi(argv[3]) : 0;
    int size = argc > 4 ? atoi(argv[4]) : 0;
    int both = 0, status = 1, result;
    unsigned char *buffer = (unsigned char *)malloc(LIMIT);
    if (strcmp(mode, "events") == 0 || strcmp(mode, "pong") == 0) {
        return events(name, count, *mode == 'e');
    }
    if (strcmp(mode, "serve") == 0) {
        both = 1;
        result = winipc_channel_create(&there, wide(name, ".there"),
                                       (uint64_t)count, 0, 0, NULL);
        if (result == WINIPC_OK) {
            result = winipc_channel_create(&back, wide(name, ".back"),
                                           (uint64_t)count, 0, 0, NULL);
        }
    }
    else {
        both = strcmp(mode, "echo") == 0 || strcmp(mode, "ping") == 0 ||
               strcmp(mode, "nap") == 0;
        result = winipc_channel_open(&there, wide(name, both ? ".there" : ""),
                                     1000);
        if (result == WINIPC_OK && both) {
            result = winipc_channel_open(&back, wide(name, ".back"), 1000);
        }
    }
    if (result != WINIPC_OK) {
        return fail(there.ring.fault ? there.ring.fault : "open", result);
    }
    say("ready");
    if (strcmp(mode, "echo") == 0 || strcmp(mode, "serve") == 0) {
        status = echo(buffer);
    }
    else if (strcmp(mode, "sink") == 0) {
        status = sink(buffer);
    }
    else if (strcmp(mode, "take") == 0) {
        status = take(buffer, count);
    }
    else if (strcmp(mode, "source") == 0) {
        status = source(buffer, count, size);
    }
    else if (both) {
        status = ping(buffer, count, size, *mode == 'n');
    }
    winipc_channel_close(&there);
    if (both) {
        winipc_channel_close(&back);
    }
    free(buffer);
    return status;
}

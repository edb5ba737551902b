/* ring_torture.c: the channel's functions on real processors.
 *
 *   ring_torture [seconds]    for each of the runs below
 *
 * Threads stand for processes: each has its own winipc_channel on one piece
 * of memory. Messages of random sizes, numbered and with a checksum, go from
 * one or three producers to a consumer, in a small ring so that everything
 * wraps, fills and sleeps all the time. Then the same memory is written over
 * at random while it is in use: every answer is allowed but a crash, a read
 * outside of the mapping (built with sanitizers, that is seen), or a hang.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
/* TSan sees the payload as plain memory, ordered by tail and head. What a
 * hostile peer writes has no order, so that part is left out. */
#define HOSTILE 0
#else
#define HOSTILE 1
#endif

typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int set;
} gate;

#define WINIPC_HAVE_OS
typedef struct winipc_os {
    gate *gates; /* three, shared */
    uint32_t key;
} winipc_os;

#include "../../include/winipc.h"

static void
die(const char *what)
{
    printf("FAIL: %s\n", what);
    exit(1);
}

uint64_t
winipc_os_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
winipc_os_signal(winipc_channel *ch, int which)
{
    gate *g = &ch->os.gates[which];
    pthread_mutex_lock(&g->mutex);
    g->set = 1;
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->mutex);
}

static uint64_t lost_wakes;

int
winipc_os_sleep(winipc_channel *ch, int which, uint32_t ms)
{
    gate *g = &ch->os.gates[which];
    struct timespec until;
    int result = WINIPC_OK;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&g->mutex);
    while (!g->set && result == WINIPC_OK) {
        if (pthread_cond_timedwait(&g->cond, &g->mutex, &until) != 0) {
            result = WINIPC_TIMEOUT;
        }
    }
    if (g->set) {
        result = WINIPC_OK;
    }
    g->set = 0;
    pthread_mutex_unlock(&g->mutex);
    if (result == WINIPC_TIMEOUT && winipc_channel_ready(ch, which, 0) &&
        which == WINIPC_WAKE_DATA) {
        __atomic_add_fetch(&lost_wakes, 1, __ATOMIC_RELAXED);
    }
    return result;
}

int
winipc_os_spin(winipc_channel *ch, int which, uint64_t length)
{
    for (int i = 0; i < 200; i++) {
        if (winipc_channel_ready(ch, which, length)) {
            return 1;
        }
        WINIPC_PAUSE();
    }
    return 0;
}

int
winipc_os_dead(winipc_channel *ch, unsigned int slot, uint64_t w)
{
    (void)ch, (void)slot, (void)w;
    return 0;
}

int
winipc_os_live(winipc_channel *ch, int receive, unsigned int slot, uint64_t w)
{
    (void)ch, (void)receive, (void)slot, (void)w;
    return 1;
}

void
winipc_os_end(winipc_channel *ch, int receive)
{
    (void)ch, (void)receive;
}

uint32_t
winipc_os_key(winipc_channel *ch)
{
    return ch->os.key;
}

uint32_t
winipc_os_pid(void)
{
    return 1;
}

/* ------------------------------------------------------------------- runs */

static unsigned char *memory;
static uint64_t memory_size;
static gate gates[3];
static int stop, attached;
static int hostile;
static uint64_t sent[8], counted[8];

static uint32_t
next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void
attach(winipc_channel *ch, uint32_t key)
{
    memset(ch, 0, sizeof(*ch));
    if (winipc_ring_attach(&ch->ring, memory, memory_size) != WINIPC_OK) {
        die("attach");
    }
    ch->os.gates = gates;
    ch->os.key = key;
    __atomic_add_fetch(&attached, 1, __ATOMIC_RELEASE);
}

static int
over(void)
{
    return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *
producer(void *arg)
{
    winipc_channel ch;
    uint32_t me = (uint32_t)(uintptr_t)arg;
    uint32_t seed = me * 7919 + 1;
    unsigned char message[1016];
    attach(&ch, me);
    for (uint64_t number = 0; !over(); number++) {
        uint64_t length = 16 + next(&seed) % (number % 16 ? 100 : 900);
        memcpy(message, &number, 8);
        memcpy(message + 8, &me, 4);
        unsigned char fill = (unsigned char)(number * 31 + me);
        memset(message + 12, fill, length - 12);
        int result = winipc_channel_send(&ch, message, length, 20);
        while (result == WINIPC_TIMEOUT && !over()) {
            result = winipc_channel_send(&ch, message, length, 20);
        }
        if (result == WINIPC_OK) {
            sent[me]++;
        }
        else if (!hostile && !(result == WINIPC_TIMEOUT && over())) {
            die("send");
        }
        else if (hostile) {
            ch.locked = 0;
        }
        if (next(&seed) % 4096 == 0) {
            struct timespec pause = {0, 300000};
            nanosleep(&pause, NULL); /* long enough that the other sleeps */
        }
    }
    winipc_channel_leave(&ch, 0);
    return NULL;
}

static void *
consumer(void *arg)
{
    winipc_channel ch;
    uint32_t seed = 99;
    unsigned char message[1016];
    uint64_t last[8];
    (void)arg;
    memset(last, 0xff, sizeof(last));
    attach(&ch, 0);
    for (;;) {
        uint64_t length = 0;
        int result = winipc_channel_recv(&ch, message, sizeof(message),
                                         &length, hostile ? 20 : 20000);
        if (result != WINIPC_OK) {
            if (hostile && !over()) {
                winipc_channel_leave(&ch, 1);
                ch.recv_word = 0;
                continue;
            }
            if (!hostile && result != WINIPC_CLOSED) {
                die("recv");
            }
            break;
        }
        if (hostile) {
            counted[1]++;
            continue;
        }
        uint64_t number;
        uint32_t from;
        memcpy(&number, message, 8);
        memcpy(&from, message + 8, 4);
        unsigned char fill = (unsigned char)(number * 31 + from);
        if (from > 7 || length < 16) {
            die("a message of nobody");
        }
        for (uint64_t i = 12; i < length; i++) {
            if (message[i] != fill) {
                die("a torn message");
            }
        }
        int drops = (ch.ring.flags & WINIPC_CHANNEL_DROP_OLDEST) != 0;
        if (number <= last[from] && last[from] != UINT64_MAX) {
            die("a message twice, or out of order");
        }
        if (!drops && number != last[from] + 1) {
            die("a message is missing");
        }
        last[from] = number;
        counted[from]++;
        if (next(&seed) % 4096 == 0) {
            struct timespec pause = {0, 300000};
            nanosleep(&pause, NULL);
        }
    }
    winipc_channel_leave(&ch, 1);
    return NULL;
}

/* Writes nonsense, mostly into the header. */
static void *
vandal(void *arg)
{
    uint32_t seed = 4711;
    (void)arg;
    while (!over()) {
        uint64_t *words = (uint64_t *)memory;
        uint32_t r = next(&seed);
        size_t at = r % 4 == 0   ? r / 4 % (memory_size / 8)
                    : r % 4 == 1 ? 128 + r / 4 % 256 /* members */
                                 : 16 + r / 4 % 64;  /* tail .. lock */
        uint64_t old = __atomic_load_n(&words[at], __ATOMIC_RELAXED);
        uint64_t values[] = {0,       1,        ~UINT64_C(0), old + 8,
                             old - 8, old ^ 64, next(&seed),  old + 4096};
        __atomic_store_n(&words[at], values[next(&seed) % 8],
                         __ATOMIC_RELAXED);
        for (uint32_t i = next(&seed) % 2000; i > 0; i--) {
            WINIPC_PAUSE();
        }
    }
    return NULL;
}

static void
run(const char *name, uint32_t flags, int producers, int with_vandal,
    double seconds)
{
    uint64_t capacity = 1024, max_record = 1016;
    pthread_t threads[8];
    int count = 0;
    memory_size = winipc_channel_size(capacity, max_record);
    memory = calloc(1, memory_size);
    memset(sent, 0, sizeof(sent));
    memset(counted, 0, sizeof(counted));
    lost_wakes = 0;
    stop = attached = 0;
    hostile = with_vandal;
    for (int i = 0; i < 3; i++) {
        pthread_mutex_init(&gates[i].mutex, NULL);
        pthread_cond_init(&gates[i].cond, NULL);
        gates[i].set = 0;
    }
    winipc_ring_format(memory, capacity, max_record, flags);
    pthread_create(&threads[count++], NULL, consumer, NULL);
    for (int i = 1; i <= producers; i++) {
        pthread_create(&threads[count++], NULL, producer,
                       (void *)(uintptr_t)i);
    }
    while (__atomic_load_n(&attached, __ATOMIC_ACQUIRE) < count) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    if (with_vandal) {
        pthread_create(&threads[count++], NULL, vandal, NULL);
    }
    struct timespec pause = {(time_t)seconds,
                             (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t total = 0;
    for (int i = 1; i <= producers; i++) {
        total += counted[i];
        if (!with_vandal && !(flags & WINIPC_CHANNEL_DROP_OLDEST) &&
            counted[i] != sent[i]) {
            die("not all that was sent has arrived");
        }
    }
    if (!with_vandal && lost_wakes != 0) {
        die("a sleeper was not woken");
    }
    printf("survived %-32s %9llu messages\n", name, (unsigned long long)total);
    free(memory);
}

int
main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    run("one producer", 0, 1, 0, seconds);
    run("three producers", WINIPC_CHANNEL_MANY, 3, 0, seconds);
    run("drop oldest", WINIPC_CHANNEL_DROP_OLDEST, 1, 0, seconds);
    run("drop oldest, three producers",
        WINIPC_CHANNEL_DROP_OLDEST | WINIPC_CHANNEL_MANY, 3, 0, seconds);
    if (HOSTILE) {
        run("a vandal", 0, 1, 1, seconds);
        run("a vandal, three producers", WINIPC_CHANNEL_MANY, 3, 1, seconds);
        run("a vandal, drop oldest", WINIPC_CHANNEL_DROP_OLDEST, 1, 1,
            seconds);
    }
    return 0;
}

/* ring_model.c: the channel's protocol, checked through all interleavings.
 *
 * This is not a model written after the code: it includes include/winipc.h
 * and runs those very functions, with the atomics replaced by calls into a
 * scheduler. Threads are coroutines; at each atomic operation, sleep, wake
 * and look at a peer, the checker tries every thread, every value that C11's
 * memory model lets a load return, and (where the scenario says so) the death
 * of a process. A state that was seen before is not explored again, so this
 * ends, and what it covers is everything.
 *
 * The memory model is the operational one of release/acquire C11: each word
 * has a history of stores, a store may enter it behind newer ones, each
 * thread has a view of how far it must have seen each history, and a message
 * that was stored with release carries the view of its writer. Sequentially
 * consistent operations on a word see at least the last such store to it,
 * and nothing more. Payload is plain memory; two accesses to it, one a write,
 * that are not ordered by happens-before are reported as a race.
 *
 * What fails: a race, a message lost, doubled, torn or out of order, an end
 * of stream too early, and a sleep from which nobody will wake.
 *
 * ring_model [SCENARIO [N]]: only the scenarios with this in their names. With
 * a number from 1 to 10, it breaks one thing of the protocol, and has to fail.
 *
 * lock_model.c includes this file for everything but the scenarios.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static int broken; /* the number of what is broken, or 0 */

static uint64_t model_load(uint64_t *p, int order);
static void model_store(uint64_t *p, uint64_t value, int order);
static int model_cas(uint64_t *p, uint64_t expected, uint64_t desired);
static uint64_t model_read(const void *p);
static void model_write(void *p, uint64_t value);
static void model_copy(void *to, const void *from, size_t length);

enum { RELAXED, ACQ_REL, SEQ_CST };

#define WINIPC_LOAD(p) model_load(p, ACQ_REL)
#define WINIPC_LOAD_RELAXED(p) model_load(p, RELAXED)
#define WINIPC_LOAD_SC(p) model_load(p, SEQ_CST)
#define WINIPC_STORE(p, v) model_store(p, v, ACQ_REL)
#define WINIPC_STORE_RELAXED(p, v) model_store(p, v, RELAXED)
#define WINIPC_STORE_SC(p, v) model_store(p, v, SEQ_CST)
#define WINIPC_CAS(p, expected, desired) model_cas(p, expected, desired)
#define WINIPC_PAUSE() ((void)0)
#define WINIPC_READ(p) model_read(p)
#define WINIPC_WRITE(p, v) model_write(p, v)
#define WINIPC_COPY(to, from, length) model_copy(to, from, length)

#define WINIPC_HAVE_OS
typedef struct winipc_os {
    int thread;
} winipc_os;

#include "../../include/winipc.h"

/* ------------------------------------------------------------- the world */

#define THREADS 4
#define WORDS 11   /* shared words that a scenario may touch */
#define HISTORY 16 /* stores to one word that may still be read */
#define CAPACITY 256
#define DATA_WORDS ((CAPACITY + 256) / 8)
#define STACK 32768
#define MESSAGES 16

typedef struct message {
    uint64_t value;
    uint8_t view[WORDS];
    uint8_t clock[THREADS];
    uint8_t rmw; /* stored by a CAS: nothing may come between it and the one
                    before */
} message;

typedef struct word {
    int count;
    int last_sc; /* the newest SC store */
    message history[HISTORY];
} word;

enum { OP_LOAD, OP_STORE, OP_CAS, OP_SIGNAL, OP_SLEEP, OP_DEAD };
enum { RUNNING, DONE, KILLED };

typedef struct thread {
    int status;
    int op, order, word, which;
    uint64_t value, expected, result;
    uint8_t view[WORDS];
    uint8_t clock[THREADS];
    uint32_t timeouts;
    jmp_buf at;
    char *low;   /* its stack is in use from here up, for sure */
    char *frame; /* and from here up in the functions that are checked */
} thread;

typedef struct event {
    uint8_t view[WORDS];
    uint8_t clock[THREADS];
    uint8_t set;
} event;

typedef union access {
    struct {
        uint8_t writer, write_clock;
        uint8_t read_clock[THREADS];
    };
    uint64_t any; /* 0: nothing is known of it */
} access;

static struct world {
    thread threads[THREADS];
    event events[3];
    access plain[DATA_WORDS];
    winipc_channel channels[THREADS];
    int kills;
    int left[THREADS]; /* members that are none any more */
    /* what the scenario's threads noted */
    uint64_t received[MESSAGES];
    int received_count;
    int sent[THREADS];
    int outcome[THREADS];
    int inside; /* threads in the section that the lock guards */
    word words[WORDS];
} world;

/* The header's words are in the histories, so that only the data changes. */
static union {
    winipc_channel_header header;
    uint64_t raw[WINIPC_CHANNEL_DATA_OFFSET / 8 + DATA_WORDS];
} mapped;

#define DATA (&mapped.raw[WINIPC_CHANNEL_DATA_OFFSET / 8])

static char stacks[THREADS][STACK] __attribute__((aligned(64)));
static uint64_t *word_at[WORDS];
static int words_used;
static int threads_used;
static int kills_allowed;
static unsigned kill_mask;
static int timeouts_allowed;
static int consumer_last;
static int running = -1; /* -1: the set-up, which is not explored */
static jmp_buf scheduler;
static ucontext_t start_context, main_context;
static void (*bodies[THREADS])(int);
static const char *scenario;
static const char *only; /* part of the name of the scenarios to run */
static uint64_t states, paths;

static void
fail(const char *what)
{
    printf("FAIL %s: %s\n", scenario, what);
    for (int t = 0; t < threads_used; t++) {
        printf("  thread %d: status %d op %d word %d sent %d outcome %d\n", t,
               world.threads[t].status, world.threads[t].op,
               world.threads[t].word, world.sent[t], world.outcome[t]);
    }
    printf("  received");
    for (int i = 0; i < world.received_count; i++) {
        printf(" %llx", (unsigned long long)world.received[i]);
    }
    printf("\n");
    exit(1);
}

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    hash *= 0xff51afd7ed558ccdu;
    return hash ^ (hash >> 32);
}

static int
word_of(uint64_t *p)
{
    for (int i = 0; i < words_used; i++) {
        if (word_at[i] == p) {
            return i;
        }
    }
    if (words_used == WORDS || running >= 0) {
        fail("a shared word that run() does not list");
    }
    word_at[words_used] = p;
    world.words[words_used].count = 1;
    world.words[words_used].history[0].value = *p;
    return words_used++;
}

static void
join(uint8_t *into, const uint8_t *from, int count)
{
    for (int i = 0; i < count; i++) {
        if (from[i] > into[i]) {
            into[i] = from[i];
        }
    }
}

/* -------------------------------------------------- inside the coroutines */

/* Stop before an operation; the scheduler carries it out. */
static uint64_t
perform(int op, int order, int w, uint64_t value, uint64_t expected)
{
    thread *me = &world.threads[running];
    uintptr_t here = (uintptr_t)&me;
    me->op = op;
    me->order = order;
    me->word = w;
    me->value = value;
    me->expected = expected;
    me->low = (char *)(here - 1024);
    me->frame = (char *)(here & ~(uintptr_t)7);
    if (me->low < stacks[running]) {
        fail("STACK is too small");
    }
    if (_setjmp(me->at) == 0) {
        _longjmp(scheduler, 1);
    }
    me = &world.threads[running];
    return me->result;
}

static uint64_t
model_load(uint64_t *p, int order)
{
    if (running < 0) {
        return *p;
    }
    /* tail is loaded without acquire */
    if (broken == 2 && p == &mapped.header.tail && order == ACQ_REL) {
        order = RELAXED;
    }
    /* the loads of Dekker's pattern are only acquire */
    if (broken == 3 && order == SEQ_CST) {
        order = ACQ_REL;
    }
    /* head is loaded without acquire */
    if (broken == 6 && p == &mapped.header.head && order != RELAXED) {
        order = RELAXED;
    }
#ifdef MODEL_LOAD
    MODEL_LOAD(p, order);
#endif
    return perform(OP_LOAD, order, word_of(p), 0, 0);
}

static void
model_store(uint64_t *p, uint64_t value, int order)
{
    if (running < 0) {
        *p = value;
        return;
    }
    /* tail is stored without release */
    if (broken == 1 && p == &mapped.header.tail) {
        order = RELAXED;
    }
    /* head is stored without release */
    if (broken == 4 && p == &mapped.header.head) {
        order = RELAXED;
    }
    /* the lock is given back without release */
    if (broken == 5 && p == &mapped.header.lock) {
        order = RELAXED;
    }
    /* who slept for the lock wakes nobody after it */
    if (broken == 7 && p == &mapped.header.lock_wanted && order == RELAXED &&
        value == 1) {
        return;
    }
    /* the producer forgets that the consumer sleeps */
    if (broken == 8 && p == &mapped.header.data_wanted && value == 1) {
        value = 0;
    }
#ifdef MODEL_STORE
    MODEL_STORE(p, value, order);
#endif
    perform(OP_STORE, order, word_of(p), value, 0);
}

static int
model_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
    if (running < 0) {
        if (*p != expected) {
            return 0;
        }
        *p = desired;
        return 1;
    }
    /* the consumer does not say that it reads the oldest */
    if (broken == 9 && p == &mapped.header.head &&
        (desired & WINIPC_HEAD_BUSY)) {
        desired &= ~WINIPC_HEAD_BUSY;
    }
    /* a dead owner's lock is not taken over */
    if (broken == 10 && p == &mapped.header.lock && expected != 0) {
        return 0;
    }
#ifdef MODEL_CAS
    MODEL_CAS(p, expected, desired);
#endif
    return (int)perform(OP_CAS, SEQ_CST, word_of(p), desired, expected);
}

/* Plain memory: not a point of choice, but checked for races. */
static void
touch(const void *p, size_t length, int write)
{
    uintptr_t base = (uintptr_t)&mapped + WINIPC_CHANNEL_DATA_OFFSET;
    uintptr_t at = (uintptr_t)p;
    if (running < 0 || at < base || at >= base + DATA_WORDS * 8) {
        return;
    }
    if (at + length > (uintptr_t)(&mapped + 1)) {
        fail("access outside of the mapping");
    }
    thread *me = &world.threads[running];
    me->clock[running]++;
    size_t first = (at - base) / 8, last = (at + length - 1 - base) / 8;
    for (size_t i = first; length != 0 && i <= last; i++) {
        access *a = &world.plain[i];
        if (a->write_clock > me->clock[a->writer]) {
            fail("race: access after an unordered write");
        }
        if (write) {
            for (int t = 0; t < threads_used; t++) {
                if (a->read_clock[t] > me->clock[t]) {
                    fail("race: write after an unordered read");
                }
            }
            a->writer = (uint8_t)running;
            a->write_clock = me->clock[running];
        }
        else {
            a->read_clock[running] = me->clock[running];
        }
    }
}

static uint64_t
model_read(const void *p)
{
    touch(p, 8, 0);
    uint64_t value = *(const uint64_t *)p;
    return value;
}

static void
model_write(void *p, uint64_t value)
{
    touch(p, 8, 1);
    *(uint64_t *)p = value;
}

static void
model_copy(void *to, const void *from, size_t length)
{
    touch(to, length, 1);
    touch(from, length, 0);
    memcpy(to, from, length);
}

void
winipc_os_signal(winipc_channel *ch, int which)
{
    (void)ch;
    if (running >= 0) {
        perform(OP_SIGNAL, 0, 0, (uint64_t)which, 0);
    }
}

int
winipc_os_sleep(winipc_channel *ch, int which, uint32_t ms)
{
    (void)ch;
    (void)ms;
    return (int)perform(OP_SLEEP, 0, 0, (uint64_t)which, 0);
}

int
winipc_os_spin(winipc_channel *ch, int which, uint64_t length)
{
    (void)ch;
    (void)which;
    (void)length;
    return 0;
}

/* A member is known by its thread's number, which is its key. */
int
winipc_os_dead(winipc_channel *ch, unsigned int slot, uint64_t w)
{
    (void)ch;
    (void)slot;
    if (running < 0) {
        return 0;
    }
    return (int)perform(OP_DEAD, 0, 0, WINIPC_MEMBER_KEY(w), 0);
}

int
winipc_os_live(winipc_channel *ch, int receive, unsigned int slot, uint64_t w)
{
    (void)ch;
    (void)receive;
    (void)slot;
    (void)w;
    return 1;
}

void
winipc_os_end(winipc_channel *ch, int receive)
{
    (void)receive;
    world.left[ch->os.thread] = 1;
}

uint32_t
winipc_os_key(winipc_channel *ch)
{
    return (uint32_t)ch->os.thread;
}

uint32_t
winipc_os_pid(void)
{
    return 1;
}

uint64_t
winipc_os_ms(void)
{
    return 0;
}

/* ----------------------------------------------------------- the explorer */

/* In a scenario with consumer_last, thread 0 begins when the others are done:
 * the consumer never looks at the lock, so what many producers do to each
 * other can be seen without its interleavings. */
static int
held_back(int t)
{
    for (int i = 1; consumer_last && t == 0 && i < threads_used; i++) {
        if (world.threads[i].status == RUNNING) {
            return 1;
        }
    }
    return 0;
}

/* In how many ways may this thread's operation go? 0: it has to wait. */
static int
options(int t)
{
    thread *me = &world.threads[t];
    if (me->status != RUNNING || held_back(t)) {
        return 0;
    }
    word *w = &world.words[me->word];
    int floor = me->view[me->word];
    switch (me->op) {
    case OP_LOAD:
    case OP_CAS:
        if (me->order == SEQ_CST && w->last_sc > floor) {
            floor = w->last_sc;
        }
        return w->count - floor;
    case OP_STORE:
        if (me->order == SEQ_CST && w->last_sc > floor) {
            floor = w->last_sc;
        }
        return w->count - floor;
    case OP_SLEEP:
        return world.events[me->value].set;
    default:
        return 1;
    }
}

/* Put a message at index k of a word's history; later ones move up, and so
 * does every view of them. */
static message *
insert(int wi, int k)
{
    word *w = &world.words[wi];
    if (w->count == HISTORY) {
        fail("HISTORY is too small");
    }
    memmove(&w->history[k + 1], &w->history[k],
            (size_t)(w->count - k) * sizeof(message));
    w->count++;
    memset(&w->history[k], 0, sizeof(message));
    if (w->last_sc >= k) {
        w->last_sc++;
    }
    for (int t = 0; t < threads_used; t++) {
        if (world.threads[t].view[wi] >= k) {
            world.threads[t].view[wi]++;
        }
    }
    for (int e = 0; e < 3; e++) {
        if (world.events[e].view[wi] >= k) {
            world.events[e].view[wi]++;
        }
    }
    for (int i = 0; i < words_used; i++) {
        for (int j = 0; j < world.words[i].count; j++) {
            if (world.words[i].history[j].view[wi] >= k) {
                world.words[i].history[j].view[wi]++;
            }
        }
    }
    return &w->history[k];
}

/* 0 if this option is none after all. */
static int
apply(int t, int option)
{
    thread *me = &world.threads[t];
    int wi = me->word;
    word *w = &world.words[wi];
    message *m;
    int k;
    switch (me->op) {
    case OP_LOAD:
        k = w->count - 1 - option;
        m = &w->history[k];
        me->view[wi] = (uint8_t)k;
        if (me->order != RELAXED) {
            join(me->view, m->view, WORDS);
            join(me->clock, m->clock, THREADS);
        }
        me->result = m->value;
        break;
    case OP_STORE:
        k = w->count - option;
        if (k < w->count && w->history[k].rmw) {
            return 0;
        }
        m = insert(wi, k);
        me->view[wi] = (uint8_t)k;
        m->value = me->value;
        if (me->order != RELAXED) {
            memcpy(m->view, me->view, WORDS);
            memcpy(m->clock, me->clock, THREADS);
        }
        else {
            m->view[wi] = (uint8_t)k;
        }
        if (me->order == SEQ_CST) {
            w->last_sc = k;
        }
        me->result = 0;
        break;
    case OP_CAS:
        k = w->count - 1 - option;
        me->view[wi] = (uint8_t)k;
        m = &w->history[k];
        join(me->view, m->view, WORDS);
        join(me->clock, m->clock, THREADS);
        if (m->value == me->expected) {
            uint8_t view[WORDS], clock[THREADS];
            if (k + 1 < w->count && w->history[k + 1].rmw) {
                return 0;
            }
            memcpy(view, m->view, WORDS);
            memcpy(clock, m->clock, THREADS);
            m = insert(wi, k + 1);
            me->view[wi] = (uint8_t)(k + 1);
            m->value = me->value;
            m->rmw = 1;
            memcpy(m->view, me->view, WORDS);
            memcpy(m->clock, me->clock, THREADS);
            join(m->view, view, WORDS); /* a release sequence goes on */
            join(m->clock, clock, THREADS);
            w->last_sc = k + 1;
            me->result = 1;
        }
        else {
            me->result = 0;
        }
        break;
    case OP_SIGNAL:
        /* SetEvent and waits are documented to be full barriers. */
        world.events[me->value].set = 1;
        join(world.events[me->value].view, me->view, WORDS);
        join(world.events[me->value].clock, me->clock, THREADS);
        break;
    case OP_SLEEP:
        if (option == 0) {
            world.events[me->value].set = 0;
            join(me->view, world.events[me->value].view, WORDS);
            join(me->clock, world.events[me->value].clock, THREADS);
            me->result = WINIPC_OK;
        }
        else {
            me->timeouts++;
            me->result = WINIPC_TIMEOUT;
        }
        break;
    case OP_DEAD:
        me->result = 0;
        if (me->value < (uint64_t)threads_used &&
            (world.threads[me->value].status != RUNNING ||
             world.left[me->value])) {
            thread *dead = &world.threads[me->value];
            join(me->view, dead->view, WORDS);
            join(me->clock, dead->clock, THREADS);
            me->result = 1;
        }
        break;
    }
    return 1;
}

/* Messages that nobody can read any more are forgotten, so that states with
 * different pasts and one future are one. */
static void
forget(void)
{
    for (int i = 0; i < words_used; i++) {
        word *w = &world.words[i];
        int floor = w->count - 1;
        for (int t = 0; t < threads_used; t++) {
            thread *h = &world.threads[t];
            if (h->status == RUNNING && h->view[i] < floor) {
                floor = h->view[i];
            }
        }
        if (w->last_sc < floor && floor == w->count - 1) {
            w->last_sc = floor; /* no difference any more */
        }
        if (floor == 0) {
            continue;
        }
        memmove(w->history, w->history + floor,
                (size_t)(w->count - floor) * sizeof(message));
        memset(&w->history[w->count - floor], 0,
               (size_t)floor * sizeof(message));
        w->count -= floor;
        w->last_sc = w->last_sc < floor ? 0 : w->last_sc - floor;
        w->history[0].rmw = 0;
        for (int t = 0; t < threads_used; t++) {
            uint8_t *v = &world.threads[t].view[i];
            *v = (uint8_t)(*v < floor ? 0 : *v - floor);
        }
        for (int e = 0; e < 3; e++) {
            uint8_t *v = &world.events[e].view[i];
            *v = (uint8_t)(*v < floor ? 0 : *v - floor);
        }
        for (int x = 0; x < words_used; x++) {
            for (int j = 0; j < world.words[x].count; j++) {
                uint8_t *v = &world.words[x].history[j].view[i];
                *v = (uint8_t)(*v < floor ? 0 : *v - floor);
            }
        }
    }
}

/* The same for accesses to plain memory that happened before everything that
 * can still come, and for clocks of threads that nothing compares with. */
static void
forget_plain(void)
{
    for (size_t i = 0; i < DATA_WORDS; i++) {
        access *a = &world.plain[i];
        if (a->any == 0) {
            continue;
        }
        int write = 0, read[THREADS] = {0};
        for (int t = 0; t < threads_used; t++) {
            if (world.threads[t].status == RUNNING) {
                uint8_t *clock = world.threads[t].clock;
                write |= clock[a->writer] < a->write_clock;
                for (int r = 0; r < threads_used; r++) {
                    read[r] |= clock[r] < a->read_clock[r];
                }
            }
        }
        if (!write) {
            a->writer = a->write_clock = 0;
        }
        for (int r = 0; r < threads_used; r++) {
            if (!read[r]) {
                a->read_clock[r] = 0;
            }
        }
    }
}

static uint64_t lanes[4];

static void
hash_words(const void *p, size_t count)
{
    const uint64_t *q = p;
    uint64_t lane[4] = {lanes[0], lanes[1], lanes[2], lanes[3]};
    /* Four lanes, so that the multiplications overlap. */
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        for (int j = 0; j < 4; j++) {
            lane[j] = (lane[j] ^ q[i + j]) * 0x9fb21c651e98df25u;
            lane[j] ^= lane[j] >> 29;
        }
    }
    for (int j = 0; i < count; i++, j++) {
        lane[j] = (lane[j] ^ q[i]) * 0x9fb21c651e98df25u;
        lane[j] ^= lane[j] >> 29;
    }
    memcpy(lanes, lane, sizeof(lanes));
}

#define HASH(what)                                                            \
    do {                                                                      \
        _Static_assert(sizeof(what) % 8 == 0, "whole words");                 \
        hash_words(&(what), sizeof(what) / 8);                                \
    } while (0)

static uint64_t
hash_world(void)
{
    for (int i = 0; i < 4; i++) {
        lanes[i] = (uint64_t)i;
    }
    for (int t = 0; t < threads_used; t++) {
        thread *h = &world.threads[t];
        struct {
            uint64_t status, op, value, expected;
            uint8_t view[(WORDS + 7) / 8 * 8], clock[(THREADS + 7) / 8 * 8];
        } now = {(uint64_t)h->status << 32 | h->timeouts, 0, 0, 0, {0}, {0}};
        memcpy(now.clock, h->clock, THREADS);
        if (h->status == RUNNING) {
            now.op = (uint64_t)h->op << 32 | (unsigned)h->word;
            now.value = h->value;
            now.expected = h->expected;
            memcpy(now.view, h->view, WORDS);
            /* What a thread will do depends on its registers, its stack
             * and its channel; dead slots of the stack only keep apart what
             * might be one. */
            HASH(h->at);
            hash_words(h->frame, (size_t)(stacks[t] + STACK - h->frame) / 8);
            HASH(world.channels[t]);
        }
        HASH(now);
    }
    for (int i = 0; i < words_used; i++) {
        word *w = &world.words[i];
        uint64_t length = (uint64_t)w->count << 32 | (unsigned)w->last_sc;
        HASH(length);
        hash_words(w->history, (size_t)w->count * sizeof(message) / 8);
    }
    HASH(world.events);
    HASH(world.plain);
    hash_words(
        &world.kills,
        (offsetof(struct world, words) - offsetof(struct world, kills)) / 8);
    hash_words(DATA, DATA_WORDS);
    return mix(mix(mix(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

static uint64_t *seen;
static size_t seen_size, seen_count;

static int
seen_before(uint64_t hash)
{
    hash |= 1;
    if (seen_count * 2 >= seen_size) {
        size_t size = seen_size ? seen_size * 2 : 1 << 16;
        uint64_t *bigger = calloc(size, 8);
        for (size_t i = 0; i < seen_size; i++) {
            if (seen[i]) {
                size_t j = (seen[i] >> 1) & (size - 1);
                while (bigger[j]) {
                    j = (j + 1) & (size - 1);
                }
                bigger[j] = seen[i];
            }
        }
        free(seen);
        seen = bigger;
        seen_size = size;
    }
    size_t i = (hash >> 1) & (seen_size - 1);
    while (seen[i]) {
        if (seen[i] == hash) {
            return 1;
        }
        i = (i + 1) & (seen_size - 1);
    }
    seen[i] = hash;
    seen_count++;
    return 0;
}

static void
resume(int t)
{
    running = t;
    if (_setjmp(scheduler) == 0) {
        _longjmp(world.threads[t].at, 1);
    }
    running = -1;
}

typedef struct snapshot {
    struct world world;
    uint64_t data[DATA_WORDS];
    char stacks[]; /* the used parts, one after the other */
} snapshot;

/* All but the words that the scenario has not. */
static size_t
used_of_world(void)
{
    return offsetof(struct world, words) + (size_t)words_used * sizeof(word);
}

/* The part of a thread's stack that is in use. */
static size_t
used(int t)
{
    return world.threads[t].status == RUNNING
               ? (size_t)(stacks[t] + STACK - world.threads[t].low)
               : 0;
}

static snapshot *
save(void)
{
    size_t size = sizeof(snapshot);
    for (int t = 0; t < threads_used; t++) {
        size += used(t);
    }
    snapshot *s = malloc(size);
    if (s == NULL) {
        fail("no memory");
    }
    memcpy(&s->world, &world, used_of_world());
    memcpy(s->data, DATA, sizeof(s->data));
    char *to = s->stacks;
    for (int t = 0; t < threads_used; t++) {
        memcpy(to, world.threads[t].low, used(t));
        to += used(t);
    }
    return s;
}

static void
restore(const snapshot *s)
{
    memcpy(&world, &s->world, used_of_world());
    memcpy(DATA, s->data, sizeof(s->data));
    const char *from = s->stacks;
    for (int t = 0; t < threads_used; t++) {
        memcpy(world.threads[t].low, from, used(t));
        from += used(t);
    }
}

static void (*check_end)(void);

typedef struct move {
    int thread, option;
} move;

enum { DIES = -1 };

static int
moves_from_here(move *moves)
{
    int enabled = 0, alive = 0, count = 0;
    uint32_t fewest = UINT32_MAX;
    for (int t = 0; t < threads_used; t++) {
        thread *h = &world.threads[t];
        enabled += options(t);
        alive += h->status == RUNNING;
        if (h->status == RUNNING && !held_back(t) && h->timeouts < fewest) {
            fewest = h->timeouts;
        }
    }
    if (alive == 0) {
        paths++;
        check_end();
    }
    else if (enabled == 0 && !timeouts_allowed) {
        fail("all sleep, and nobody will wake them");
    }
    for (int t = 0; t < threads_used; t++) {
        thread *h = &world.threads[t];
        for (int k = 0; k < options(t); k++) {
            moves[count++] = (move){t, k};
        }
        /* Slices end in turns: a time-out is nobody's for ever. */
        if (enabled == 0 && h->status == RUNNING && h->timeouts == fewest &&
            !held_back(t)) {
            if (h->timeouts == 6) {
                fail("six slices slept, and still nothing");
            }
            moves[count++] = (move){t, 1};
        }
        if (world.kills < kills_allowed && (kill_mask & 1u << t) &&
            h->status == RUNNING) {
            moves[count++] = (move){t, DIES};
        }
    }
    return count;
}

/* Leaves the world anywhere: the caller has saved it, if it needs it. */
static void
explore(void)
{
    forget();
    forget_plain();
    if (seen_before(hash_world())) {
        return;
    }
    states++;
    move moves[THREADS * (HISTORY + 1)];
    int count = moves_from_here(moves);
    /* With one way to go on, nothing has to be restored. */
    snapshot *here = count > 1 ? save() : NULL;
    for (int i = 0; i < count; i++) {
        if (i != 0) {
            restore(here);
        }
        int t = moves[i].thread;
        if (moves[i].option == DIES) {
            world.threads[t].status = KILLED;
            world.kills++;
            explore();
        }
        else if (apply(t, moves[i].option)) {
            resume(t);
            explore();
        }
    }
    free(here);
}

static void
trampoline(void)
{
    int t = running;
    bodies[t](t);
    world.threads[running].status = DONE;
    _longjmp(scheduler, 1);
}

static void
setup(const char *name, uint32_t flags, int threads)
{
    scenario = name;
    memset(&world, 0, sizeof(world));
    memset(&mapped, 0, sizeof(mapped));
    words_used = 0;
    threads_used = threads;
    kills_allowed = 0;
    kill_mask = 0;
    timeouts_allowed = 0;
    consumer_last = 0;
    states = paths = 0;
    seen_count = 0;
    free(seen);
    seen = NULL;
    seen_size = 0;
    running = -1;
    winipc_ring_format(&mapped, CAPACITY, CAPACITY - 8, flags);
    /* Not at the beginning of the ring, so that records wrap. */
    mapped.header.tail = mapped.header.head = 3 * CAPACITY - 96;
    for (int t = 0; t < threads; t++) {
        winipc_ring_attach(&world.channels[t].ring, &mapped, sizeof(mapped));
        world.channels[t].os.thread = t;
        for (int i = 0; i < threads; i++) {
            world.threads[t].clock[i] = t == i;
        }
    }
}

/* From here on with the words of a scenario. */
static void
run_with(void (*end)(void), uint64_t **shared, size_t count)
{
    if (only != NULL && strstr(scenario, only) == NULL) {
        return;
    }
    check_end = end;
    for (size_t i = 0; i < count; i++) {
        word_of(shared[i]);
    }
    for (volatile int t = 0; t < threads_used; t++) {
        running = t;
        getcontext(&start_context);
        start_context.uc_stack.ss_sp = stacks[t];
        start_context.uc_stack.ss_size = STACK;
        start_context.uc_link = &main_context;
        makecontext(&start_context, trampoline, 0);
        if (_setjmp(scheduler) == 0) {
            setcontext(&start_context);
        }
        running = -1;
    }
    explore();
    printf("ok   %-44s %9llu states\n", scenario, (unsigned long long)states);
    fflush(stdout);
}

#ifndef MODEL_SCENARIOS /* another file has its own */

/* ---------------------------------------------------------- the scenarios */

static void
run(void (*end)(void))
{
    winipc_channel_header *h = &mapped.header;
    uint64_t *shared[] = {&h->tail,
                          &h->head,
                          &h->data_wanted,
                          &h->space_wanted,
                          &h->lock,
                          &h->lock_wanted,
                          &h->dropped,
                          &h->members[0].word,
                          &h->members[1].word,
                          &h->members[2].word,
                          &h->members[3].word};
    run_with(end, shared, sizeof(shared) / sizeof(shared[0]));
}

static int sizes[3];
static int to_send[THREADS];

static void
send_body(int t)
{
    uint64_t payload[32];
    for (int i = 0; i < to_send[t]; i++) {
        for (int j = 0; j < 32; j++) {
            payload[j] = (uint64_t)t << 8 | (unsigned)(i + 1);
        }
        int result = winipc_channel_send(&world.channels[t], payload,
                                         (uint64_t)sizes[i], WINIPC_INFINITE);
        world.outcome[t] = result;
        if (result != WINIPC_OK) {
            break;
        }
        world.sent[t] = i + 1;
    }
    winipc_channel_leave(&world.channels[t], 0);
}

/* Receives until the end. */
static void
recv_body(int t)
{
    uint64_t payload[32];
    uint64_t length;
    for (;;) {
        int result =
            winipc_channel_recv(&world.channels[t], payload, sizeof(payload),
                                &length, WINIPC_INFINITE);
        world.outcome[t] = result;
        if (result != WINIPC_OK) {
            break;
        }
        for (uint64_t j = 1; j < length / 8; j++) {
            if (payload[j] != payload[0]) {
                fail("a torn message");
            }
        }
        int index = (int)(payload[0] & 0xff) - 1;
        if (index < 0 || index > 2 || (int)length != sizes[index]) {
            fail("a message of the wrong length");
        }
        world.received[world.received_count++] = payload[0];
    }
    winipc_channel_leave(&world.channels[t], 1);
}

/* Per producer: the messages that arrived are the first ones, in order. */
static void
check_order(int may_skip)
{
    int last[THREADS] = {0}, count[THREADS] = {0};
    for (int i = 0; i < world.received_count; i++) {
        int t = (int)(world.received[i] >> 8);
        int n = (int)(world.received[i] & 0xff);
        if (n <= last[t] || (!may_skip && n != last[t] + 1)) {
            fail("messages lost, doubled or out of order");
        }
        last[t] = n;
        count[t]++;
    }
    int consumer_lives = world.threads[0].status == DONE;
    int killed = 0;
    for (int t = 1; t < threads_used; t++) {
        killed |= world.threads[t].status == KILLED;
    }
    for (int t = 1; t < threads_used; t++) {
        if (!consumer_lives) {
            if (world.threads[t].status == DONE &&
                world.outcome[t] != WINIPC_OK &&
                world.outcome[t] != WINIPC_BROKEN) {
                fail("a producer without a consumer ended strangely");
            }
            continue;
        }
        if (!may_skip && count[t] < world.sent[t]) {
            fail("a message that was sent never came");
        }
        if (may_skip && world.sent[t] == to_send[t] && last[t] != to_send[t]) {
            fail("the newest message was dropped");
        }
        if (world.threads[t].status == DONE && world.sent[t] != to_send[t]) {
            fail("a living producer could not send");
        }
    }
    if (consumer_lives) {
        int outcome = world.outcome[0];
        /* Killed after it had left is as good as not killed. */
        if (outcome != WINIPC_CLOSED &&
            !(killed && outcome == WINIPC_BROKEN)) {
            fail("the consumer ended strangely");
        }
    }
}

static void
check_all(void)
{
    check_order(0);
}

static void
check_some(void)
{
    check_order(1);
    uint64_t dropped = 0;
    for (int i = 0; i < words_used; i++) {
        if (word_at[i] == &mapped.header.dropped) {
            dropped = world.words[i].history[world.words[i].count - 1].value;
        }
    }
    if (world.received_count + (int)dropped != to_send[1]) {
        fail("received and dropped are not what was sent");
    }
}

static void
channel(const char *name, uint32_t flags, int producers, int messages,
        int size0, int size1, int size2)
{
    setup(name, flags, producers + 1);
    bodies[0] = recv_body;
    sizes[0] = size0;
    sizes[1] = size1;
    sizes[2] = size2;
    if (winipc_channel_claim(&world.channels[0], 1) != WINIPC_OK) {
        fail("claim");
    }
    for (int t = 1; t <= producers; t++) {
        bodies[t] = send_body;
        to_send[t] = messages;
        if (winipc_channel_claim(&world.channels[t], 0) != WINIPC_OK) {
            fail("claim");
        }
    }
}

/* Threads that only take and give the lock. */
static void
lock_body(int t)
{
    winipc_channel *ch = &world.channels[t];
    int result;
    while ((result = winipc_channel_wait_lock(ch, 1)) == WINIPC_FULL) {
    }
    if (result != WINIPC_OK || ++world.inside != 1) {
        fail("two own the lock");
    }
    model_write(DATA, (uint64_t)t);
    model_load(&mapped.header.dropped, RELAXED); /* be interrupted */
    world.inside--;
    winipc_channel_unlock(ch);
}

/* One that has it from the start gives it back, and may take it again at once:
 * before the thread that it has woken. */
static void
again_body(int t)
{
    winipc_channel *ch = &world.channels[t];
    winipc_channel_unlock(ch);
    ch->locked = winipc_ring_trylock(&ch->ring);
    winipc_channel_unlock(ch);
}

static void
waits_body(int t)
{
    winipc_channel *ch = &world.channels[t];
    while (winipc_channel_wait_lock(ch, 1) == WINIPC_FULL) {
    }
    winipc_channel_unlock(ch);
}

static void
check_nothing(void)
{
}

int
main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    broken = argc > 2 ? atoi(argv[2]) : 0;
    uint32_t many = WINIPC_CHANNEL_MANY;
    uint32_t drop = WINIPC_CHANNEL_DROP_OLDEST;

    channel("one producer, room for all", 0, 1, 2, 8, 16, 0);
    run(check_all);
    channel("one producer, full ring", 0, 1, 3, 112, 112, 112);
    run(check_all);
    channel("one producer, the largest record", 0, 1, 2, 248, 16, 0);
    run(check_all);
    channel("one producer, killed anywhere", 0, 1, 2, 200, 112, 0);
    kills_allowed = 1, kill_mask = 2, timeouts_allowed = 1;
    run(check_all);
    channel("consumer, killed anywhere", 0, 1, 3, 112, 112, 112);
    kills_allowed = 1, kill_mask = 1, timeouts_allowed = 1;
    run(check_all);
    channel("drop oldest", drop, 1, 3, 112, 112, 112);
    run(check_some);
    channel("drop oldest, two for one", drop, 1, 3, 56, 112, 240);
    run(check_some);

    setup("three threads for one lock", many, 3);
    for (int t = 0; t < 3; t++) {
        bodies[t] = lock_body;
        winipc_channel_claim(&world.channels[t], 0);
    }
    run(check_nothing);

    setup("the owner takes the lock again", many, 3);
    for (int t = 0; t < 3; t++) {
        bodies[t] = t == 0 ? again_body : waits_body;
        winipc_channel_claim(&world.channels[t], 0);
    }
    winipc_channel_wait_lock(&world.channels[0], 1);
    run(check_nothing);

    channel("two producers, then the consumer", many, 2, 1, 112, 0, 0);
    consumer_last = 1;
    run(check_all);
    channel("two producers, one killed, then the consumer", many, 2, 1, 112, 0,
            0);
    kills_allowed = 1, kill_mask = 2, timeouts_allowed = 1;
    consumer_last = 1;
    run(check_all);

    if (only == NULL || strcmp(only, "full") != 0) {
        puts("all scenarios hold");
        return 0;
    }
    /* Minutes, and some GB of memory. */
    only = NULL;
    channel("two producers", many, 2, 1, 112, 0, 0);
    run(check_all);
    channel("two producers, full ring", many, 2, 1, 200, 0, 0);
    run(check_all);
    channel("two producers, one killed anywhere", many, 2, 1, 200, 0, 0);
    kills_allowed = 1, kill_mask = 2, timeouts_allowed = 1;
    run(check_all);
    puts("all scenarios hold");
    return 0;
}

#endif /* MODEL_SCENARIOS */

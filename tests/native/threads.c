/* threads.c: what threads share without the GIL, for ThreadSanitizer.
 *
 *   threads lock | queue | scan | crew
 *
 * The lock of include/winipc.h guards a plain number; the queue of a window
 * hands plain memory from one thread to another; one set of patterns is used
 * by several threads at once; a crew gives one what others have done, in order.
 * The ring has ring_torture.c.
 */
#define _GNU_SOURCE
#include <windows.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define WINIPC_HAVE_LOCK
typedef struct winipc_lock {
    struct winipc_lock_word *shared;
} winipc_lock;

#include "../../csrc/message/queue.c"
#include "../../csrc/scan/crew.c"
#include "../../csrc/scan/kernels.h"
#include "../../include/winipc.h"

#define THREADS 4
#define ROUNDS 5000

static void
die(const char *what)
{
    printf("FAIL: %s\n", what);
    exit(1);
}

static void
run_threads(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, work, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ------------------------------------------------------------- the lock */

static __thread uint32_t me;
static winipc_lock_word word;
static winipc_lock lock = {&word};
static uint64_t guarded;

uint64_t
winipc_lock_os_me(void)
{
    return winipc_lock_id(me, UINT64_MAX);
}

void
winipc_lock_os_signal(winipc_lock *one)
{
    (void)one;
}

void
winipc_lock_os_prepare(winipc_lock *one)
{
    (void)one;
}

int
winipc_lock_os_spin(winipc_lock *one)
{
    (void)one;
    return 0;
}

int
winipc_lock_os_dead(uint64_t owner)
{
    (void)owner;
    return 0;
}

/* No signal is kept, so that nothing but the word orders the owners. */
int
winipc_lock_os_sleep(winipc_lock *one, uint32_t ms)
{
    (void)one, (void)ms;
    sched_yield();
    return WINIPC_OK;
}

static void *
lock_work(void *arg)
{
    me = (uint32_t)(uintptr_t)arg + 1;
    for (int i = 0; i < ROUNDS; i++) {
        int slept = 0;
        int result = winipc_lock_try(&lock);
        while (result == WINIPC_FULL) {
            result = winipc_lock_wait(&lock, &slept, 1);
        }
        if (result != WINIPC_OK) {
            die("the lock is refused");
        }
        guarded++;
        if (winipc_lock_release(&lock) != WINIPC_OK) {
            die("the release");
        }
    }
    return NULL;
}

/* ------------------------------------------------------------ the queue */

static wi_queue queue;
static uint64_t received;
static _Atomic int over;

/* One watches, one receives, the others send. */
static void *
queue_work(void *arg)
{
    uintptr_t number = (uintptr_t)arg;
    wi_message *messages[8];
    for (int i = 0; number == 0 ? !over : i < ROUNDS; i++) {
        if (number == 0) {
            size_t count = wi_queue_latest(&queue, messages, 8);
            for (size_t j = 0; j < count; j++) {
                if (messages[j]->data[0] != 7) {
                    die("not the data");
                }
                wi_message_unref(messages[j]);
            }
            sched_yield(); /* else the others hardly get the lock */
        }
        else if (number == 1) {
            for (int j = 2; j < THREADS; j++) {
                wi_message *message;
                BOOL closed;
                /* By the condition and by the event, in turn. */
                while ((message = wi_queue_pop(&queue, &closed)) == NULL) {
                    if (i % 2) {
                        wi_queue_watch(&queue, 1);
                        WaitForEvent(queue.ready);
                        wi_queue_watch(&queue, -1);
                    }
                    else {
                        wi_queue_wait(&queue, INFINITE);
                    }
                }
                received += message->data[0] == 7;
                wi_message_unref(message);
            }
        }
        else {
            wi_message *message = wi_message_new(1);
            message->number = 0;
            message->data[0] = 7;
            while (!wi_queue_push(&queue, message)) {
                sched_yield();
            }
        }
    }
    over |= number == 1;
    return NULL;
}

/* ------------------------------------------------------------- the scan */

static scan_set *set;
static uint8_t memory[8 * SCAN_BLOCK];
static scan_hits common; /* -DMUTATE=3: which belong to one thread only */
static uint64_t found;

static void *
scan_work(void *arg)
{
    scan_hits own = {0};
    scan_hits *hits = MUTATE == 3 ? &common : &own;
    scan_match matches[16];
    uint64_t mine = 0;
    (void)arg;
    if (scan_hits_init(&own, set) < 0) {
        die("no memory");
    }
    for (size_t at = 0; at < sizeof(memory); at += SCAN_BLOCK) {
        scan_block(set, hits, memory + at, sizeof(memory) - at, SCAN_BLOCK,
                   at);
        while (hits->dirty_count > 0) {
            mine += scan_drain(hits, at, matches, 16);
        }
    }
    scan_hits_clear(&own);
    __atomic_add_fetch(&found, mine, __ATOMIC_RELAXED);
    return NULL;
}

/* ------------------------------------------------------------- the crew */

#define TASKS 20000

static struct {
    uint32_t claimed;
    uint32_t taken;
    int held;
} crew_state;

typedef struct {
    uint32_t number;
    uint32_t result;
    int *memory; /* its own, kept from one time to the next */
} crew_test;

static int
crew_test_claim(void *context, void *task)
{
    crew_test *test = task;
    (void)context;
    test->number = crew_state.claimed;
    return crew_state.claimed < TASKS && ++crew_state.claimed > 0;
}

static void
crew_test_work(void *context, void *task, unsigned thread)
{
    crew_test *test = task;
    (void)context;
    if (thread >= THREADS) {
        die("too many threads");
    }
    if (test->memory == NULL) {
        test->memory = malloc(sizeof(*test->memory));
    }
    *test->memory = (int)test->number;
    test->result = 3 * test->number;
}

/* Each hundredth comes twice. */
static int
crew_test_take(void *context, void *task)
{
    const crew_test *test = task;
    (void)context;
    if (test->number != crew_state.taken || test->result != 3 * test->number ||
        *test->memory != (int)test->number) {
        die("not in order");
    }
    crew_state.held = test->number % 100 == 0 && !crew_state.held;
    crew_state.taken += !crew_state.held;
    return !crew_state.held;
}

static void
crew_test_clear(void *context, void *task)
{
    (void)context;
    free(((crew_test *)task)->memory);
}

static const wi_crew_duty crew_test_duty = {
    crew_test_claim,
    crew_test_work,
    crew_test_take,
    crew_test_clear,
};

/* By so many threads; half of it is left alone. */
static void
crew_try(unsigned threads)
{
    wi_crew_result how = WI_CREW_MORE;
    unsigned held = 0;
    memset(&crew_state, 0, sizeof(crew_state));
    wi_crew *crew =
        wi_crew_new(&crew_test_duty, NULL, threads, sizeof(crew_test));
    while (how != WI_CREW_END && (threads != 3 || held < TASKS / 200)) {
        how = wi_crew_run(crew, 1);
        held += how == WI_CREW_HELD;
    }
    wi_crew_free(crew);
    if (threads != 3 && (crew_state.taken != TASKS || held != TASKS / 100)) {
        die("not all tasks");
    }
}

/* ------------------------------------------------------------------ all */

int
main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "lock") == 0) {
        run_threads(lock_work);
        if (guarded != (uint64_t)THREADS * ROUNDS) {
            die("two owners");
        }
    }
    else if (strcmp(part, "queue") == 0) {
        wi_queue_init(&queue, 16, 1024, WI_OVERFLOW_REFUSE);
        run_threads(queue_work);
        if (received != (uint64_t)(THREADS - 2) * ROUNDS) {
            die("not all messages");
        }
    }
    else if (strcmp(part, "scan") == 0) {
        scan_spec spec = {0};
        spec.value = (const uint8_t *)"needle";
        spec.length = 6;
        spec.alignment = 1;
        for (scan_level level = SCAN_PORTABLE; level <= scan_best_level();
             level = (scan_level)(level + 1)) {
            found = 0;
            for (size_t at = 100; at + 6 < sizeof(memory); at += 1000) {
                memcpy(memory + at, "needle", 6);
            }
            set = scan_set_new(&spec, 1, level);
            if (set == NULL || scan_hits_init(&common, set) < 0) {
                die("no memory");
            }
            run_threads(scan_work);
            if (found != THREADS * ((sizeof(memory) - 107) / 1000 + 1)) {
                die("not all needles");
            }
            scan_hits_clear(&common);
            scan_set_free(set);
        }
    }
    else if (strcmp(part, "crew") == 0) {
        for (unsigned threads = 1; threads <= THREADS; threads++) {
            crew_try(threads);
        }
    }
    else {
        die("lock, queue, scan or crew");
    }
    puts("survived");
    return 0;
}

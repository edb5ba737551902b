/* lock_model.c: the lock word's protocol, checked through all interleavings.
 *
 * The functions of include/winipc.h run in the checker of ring_model.c, which
 * says what it covers: every thread, every value that the memory model lets a
 * load return, and death at every operation.
 *
 * What fails: two owners at once, accesses of two owners that are not ordered
 * (a race on what the lock guards), a sleep from which nobody will wake, a
 * dead owner's lock that is taken without a word or never, and an owner that
 * dies only in the eyes of others.
 *
 * Called with a number from 1 to 7, it breaks one thing, and has to fail.
 */
#define MODEL_SCENARIOS
#define MODEL_CAS(p, expected, desired) lock_mutate_cas(p, &expected, &desired)
#define MODEL_STORE(p, value, order)                                          \
    if (lock_mutate_store(p, value)) {                                        \
        return;                                                               \
    }
#define WINIPC_HAVE_LOCK

#include <stdint.h>

typedef struct winipc_lock {
    struct winipc_lock_word *shared;
} winipc_lock;

static void lock_mutate_cas(uint64_t *p, uint64_t *expected,
                            uint64_t *desired);

static int lock_mutate_store(uint64_t *p, uint64_t value);
static int mutation;

#include "ring_model.c"

static winipc_lock_word shared_word;
static winipc_lock the_lock = {&shared_word};

static void
lock_mutate_cas(uint64_t *p, uint64_t *expected, uint64_t *desired)
{
    (void)p;
    if (mutation == 1 && *expected == 0) {
        *desired &= ~WINIPC_LOCK_WANTED; /* who has slept forgets the others */
    }
    if (mutation == 2 && *desired == (*expected | WINIPC_LOCK_WANTED)) {
        *desired = *expected; /* waiters do not say that they wait */
    }
}

static int
lock_mutate_store(uint64_t *p, uint64_t value)
{
    /* How often a dead owner had it stays there. */
    return mutation == 7 && p == &shared_word.depth && value == 0 &&
           world.kills != 0;
}

/* ------------------------------------------------- the operating system */

uint64_t
winipc_lock_os_me(void)
{
    return winipc_lock_id((uint32_t)running + 1, 1);
}

void
winipc_lock_os_signal(winipc_lock *lock)
{
    (void)lock;
    if (mutation != 4) { /* the event is never set */
        perform(OP_SIGNAL, 0, 0, WINIPC_WAKE_LOCK, 0);
    }
}

void
winipc_lock_os_prepare(winipc_lock *lock)
{
    (void)lock;
}

int
winipc_lock_os_spin(winipc_lock *lock)
{
    (void)lock;
    return 0;
}

int
winipc_lock_os_dead(uint64_t owner)
{
    if (mutation == 3 || mutation == 5) { /* none, all are dead */
        return mutation == 5;
    }
    return (int)perform(OP_DEAD, 0, 0, WINIPC_LOCK_THREAD(owner) - 1, 0);
}

int
winipc_lock_os_sleep(winipc_lock *lock, uint32_t ms)
{
    (void)lock;
    if (ms == 0) {
        return WINIPC_TIMEOUT;
    }
    return (int)perform(OP_SLEEP, 0, 0, WINIPC_WAKE_LOCK, 0);
}

/* ---------------------------------------------------------- the scenarios */

static int rounds = 1;
static int gives_up = -1; /* this thread waits for one wake-up only */
static int again = -1;    /* this thread takes it twice */

static void
guarded(int t)
{
    uint64_t *plain = DATA;
    if (++world.inside != 1) {
        fail("two own the lock");
    }
    model_write(plain, (uint64_t)t + 1);
    /* Be interrupted, and killed. */
    model_load(&mapped.header.dropped, RELAXED);
    if (model_read(plain) != (uint64_t)t + 1) {
        fail("another owner was here");
    }
    world.inside--;
}

static void
body(int t)
{
    for (int i = 0; i < rounds; i++) {
        int slept = 0;
        int result = winipc_lock_try(&the_lock);
        int woken = 0;
        while (result == WINIPC_FULL || result == WINIPC_TIMEOUT) {
            /* With no time left, FULL still means to go on. */
            int last = t == gives_up && woken;
            if (mutation == 6 && last) {
                slept = 0; /* who gives up forgets the others */
            }
            result = winipc_lock_wait(&the_lock, &slept, last ? 0 : 1);
            woken |= result == WINIPC_FULL;
            if (result == WINIPC_TIMEOUT && last) {
                world.outcome[t] = result;
                return;
            }
        }
        world.outcome[t] = result;
        if (result == WINIPC_ABANDONED) {
            if (world.kills == 0) {
                fail("abandoned, and nobody has died");
            }
            world.inside = 0; /* the dead one is no longer there */
        }
        else if (result != WINIPC_OK) {
            fail("neither OK nor ABANDONED");
        }
        if (t == again && winipc_lock_try(&the_lock) != WINIPC_OK) {
            fail("the owner cannot take it again");
        }
        guarded(t);
        if (t == again) {
            if (winipc_lock_release(&the_lock) != WINIPC_OK) {
                fail("the first release");
            }
            guarded(t);
        }
        if (winipc_lock_release(&the_lock) != WINIPC_OK) {
            fail("release");
        }
        world.sent[t]++;
    }
}

/* Who lives had its turns, and one dead owner is told of at most once. */
static void
check(void)
{
    int abandoned = 0;
    for (int t = 0; t < threads_used; t++) {
        abandoned += world.outcome[t] == WINIPC_ABANDONED;
        if (world.threads[t].status == DONE && world.sent[t] != rounds &&
            t != gives_up) {
            fail("a living thread went without");
        }
    }
    if (abandoned > world.kills) {
        fail("more abandoned than have died");
    }
    /* Killed between taking and giving: somebody who came later knows. */
    if (world.inside != 0) {
        for (int t = 0; t < threads_used; t++) {
            if (world.threads[t].status == KILLED) {
                return; /* it was the last */
            }
        }
        fail("inside, and nobody is");
    }
}

static void
lock_scenario(const char *name, int threads)
{
    setup(name, 0, threads);
    rounds = 1;
    gives_up = again = -1;
    for (int t = 0; t < threads; t++) {
        bodies[t] = body;
    }
}

static void
lock_run(void)
{
    uint64_t *shared[] = {&shared_word.word, &shared_word.depth,
                          &mapped.header.dropped};
    memset(&shared_word, 0, sizeof(shared_word));
    run_with(check, shared, sizeof(shared) / sizeof(shared[0]));
}

int
main(int argc, char **argv)
{
    mutation = argc > 1 ? atoi(argv[1]) : 0;
    (void)winipc_channel_send; /* the ring's are not used here */

    lock_scenario("two threads, twice each", 2);
    rounds = 2;
    lock_run();
    lock_scenario("three threads", 3);
    lock_run();
    lock_scenario("three threads, one takes it twice", 3);
    again = 1;
    lock_run();
    lock_scenario("three threads, one gives up", 3);
    gives_up = 1;
    lock_run();
    lock_scenario("two threads, one killed anywhere", 2);
    rounds = 2;
    kills_allowed = 1, kill_mask = 1, timeouts_allowed = 1;
    lock_run();
    lock_scenario("three threads, one killed anywhere", 3);
    kills_allowed = 1, kill_mask = 2, timeouts_allowed = 1;
    lock_run();
    lock_scenario("three threads, killed while it has it twice", 3);
    again = 1;
    kills_allowed = 1, kill_mask = 2, timeouts_allowed = 1;
    lock_run();
    lock_scenario("three threads, two killed anywhere", 3);
    kills_allowed = 2, kill_mask = 3, timeouts_allowed = 1;
    lock_run();
    puts("all scenarios hold");
    return 0;
}

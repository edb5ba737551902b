/* crew.c: several threads work, and one takes the results in order; crew.h says
 * what it promises.
 *
 * A task that is claimed goes from a stack of unused tasks to the end of a
 * queue; when it has been taken, it goes from the head of the queue back to
 * the stack. With a stack one thread alone uses one task, which stays in the
 * processor's cache. */
#include "crew.h"

#include <stdlib.h>

/* How many tasks the caller does before it calls other threads: short work
 * needs no others. */
#define ALONE 2

typedef struct {
    void *data; /* NULL until it is needed; never for the first task */
    int done;
} crew_task;

struct wi_crew {
    const wi_crew_duty *duty;
    void *context;
    unsigned threads;
    unsigned alone; /* tasks claimed before others were called, up to ALONE */
    size_t task_size;
    size_t count; /* of tasks */
    crew_task *tasks;
    /* From here on: under the lock. */
    SRWLOCK lock;
    CONDITION_VARIABLE moved; /* a task was done or taken, or it is over */
    crew_task **unused;       /* a stack */
    size_t unused_count;
    crew_task **claimed; /* a ring: the oldest is at claimed_first */
    size_t claimed_first;
    size_t claimed_count;
    unsigned called; /* threads that came in this run */
    int ended;       /* there is nothing more to claim */
    int over;        /* the run is over */
};

wi_crew *
wi_crew_new(const wi_crew_duty *duty, void *context, unsigned threads,
            size_t task_size)
{
    wi_crew *crew = calloc(1, sizeof(*crew));
    if (crew == NULL) {
        return NULL;
    }
    InitializeSRWLock(&crew->lock);
    InitializeConditionVariable(&crew->moved);
    crew->duty = duty;
    crew->context = context;
    crew->threads = threads;
    crew->task_size = task_size;
    crew->count = threads > 1 ? 2 * (size_t)threads : 1;
    crew->tasks = calloc(crew->count, sizeof(*crew->tasks));
    crew->unused = calloc(crew->count, sizeof(*crew->unused));
    crew->claimed = calloc(crew->count, sizeof(*crew->claimed));
    if (crew->tasks == NULL || crew->unused == NULL || crew->claimed == NULL ||
        (crew->tasks[0].data = calloc(1, task_size)) == NULL) {
        wi_crew_free(crew);
        return NULL;
    }
    for (size_t i = crew->count; i > 0; i--) {
        crew->unused[crew->unused_count++] = &crew->tasks[i - 1];
    }
    return crew;
}

void
wi_crew_free(wi_crew *crew)
{
    if (crew == NULL) {
        return;
    }
    for (size_t i = 0; crew->tasks != NULL && i < crew->count; i++) {
        if (crew->tasks[i].data != NULL) {
            crew->duty->clear(crew->context, crew->tasks[i].data);
            free(crew->tasks[i].data);
        }
    }
    free(crew->tasks);
    free(crew->unused);
    free(crew->claimed);
    free(crew);
}

/* The next task, if there is one and memory for it. Under the lock. */
static crew_task *
crew_claim(wi_crew *crew)
{
    if (crew->ended || crew->unused_count == 0) {
        return NULL;
    }
    crew_task *task = crew->unused[crew->unused_count - 1];
    if (task->data == NULL &&
        (task->data = calloc(1, crew->task_size)) == NULL) {
        return NULL; /* go on with fewer tasks */
    }
    if (!crew->duty->claim(crew->context, task->data)) {
        crew->ended = 1;
        return NULL;
    }
    crew->unused_count--;
    crew->claimed[(crew->claimed_first + crew->claimed_count) % crew->count] =
        task;
    crew->claimed_count++;
    task->done = 0;
    return task;
}

/* Do a task. Under the lock, which is given up meanwhile. */
static void
crew_work(wi_crew *crew, crew_task *task, unsigned thread)
{
    ReleaseSRWLockExclusive(&crew->lock);
    crew->duty->work(crew->context, task->data, thread);
    AcquireSRWLockExclusive(&crew->lock);
    task->done = 1;
    WakeAllConditionVariable(&crew->moved);
}

static void
crew_wait(wi_crew *crew)
{
    SleepConditionVariableSRW(&crew->moved, &crew->lock, INFINITE, 0);
}

static void CALLBACK
crew_help(PTP_CALLBACK_INSTANCE instance, void *context, PTP_WORK work)
{
    wi_crew *crew = context;
    (void)instance, (void)work;
    AcquireSRWLockExclusive(&crew->lock);
    const unsigned thread = ++crew->called;
    while (!crew->over && !crew->ended) {
        crew_task *task = crew_claim(crew);
        if (task != NULL) {
            crew_work(crew, task, thread);
        }
        else if (!crew->ended) {
            crew_wait(crew);
        }
    }
    ReleaseSRWLockExclusive(&crew->lock);
}

/* Call the other threads. NULL if that fails: the caller works alone. */
static PTP_WORK
crew_call(wi_crew *crew)
{
    PTP_WORK work = CreateThreadpoolWork(crew_help, crew, NULL);
    for (unsigned i = 1; work != NULL && i < crew->threads; i++) {
        SubmitThreadpoolWork(work);
    }
    return work;
}

/* Take the oldest task, which is done; whether all of it was taken. Under the
 * lock, which is given up meanwhile. */
static int
crew_take(wi_crew *crew)
{
    crew_task *task = crew->claimed[crew->claimed_first];
    ReleaseSRWLockExclusive(&crew->lock);
    const int all = crew->duty->take(crew->context, task->data);
    AcquireSRWLockExclusive(&crew->lock);
    if (all) {
        crew->claimed_first = (crew->claimed_first + 1) % crew->count;
        crew->claimed_count--;
        crew->unused[crew->unused_count++] = task;
        WakeAllConditionVariable(&crew->moved);
    }
    return all;
}

/* The next task for the caller. Calls the other threads, once. */
static crew_task *
crew_claim_first(wi_crew *crew, PTP_WORK *others)
{
    crew_task *task = crew_claim(crew);
    if (task != NULL && crew->threads > 1 && *others == NULL) {
        if (crew->alone < ALONE) {
            crew->alone++;
        }
        else {
            *others = crew_call(crew);
        }
    }
    return task;
}

wi_crew_result
wi_crew_run(wi_crew *crew, DWORD ms)
{
    const ULONGLONG began = GetTickCount64();
    PTP_WORK others = NULL;
    crew_task *task;
    wi_crew_result result = WI_CREW_MORE;
    AcquireSRWLockExclusive(&crew->lock);
    crew->called = 0;
    crew->over = 0;
    do {
        if (crew->claimed_count > 0 &&
            crew->claimed[crew->claimed_first]->done) {
            if (!crew_take(crew)) {
                result = WI_CREW_HELD;
                break;
            }
        }
        else if ((task = crew_claim_first(crew, &others)) != NULL) {
            crew_work(crew, task, 0);
        }
        else if (crew->claimed_count == 0) {
            result = WI_CREW_END;
            break;
        }
        else {
            crew_wait(crew);
        }
    } while (GetTickCount64() - began < ms);
    crew->over = 1;
    WakeAllConditionVariable(&crew->moved);
    ReleaseSRWLockExclusive(&crew->lock);
    if (others != NULL) {
        WaitForThreadpoolWorkCallbacks(others, TRUE);
        CloseThreadpoolWork(others);
    }
    return result;
}

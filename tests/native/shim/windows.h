/* windows.h: as much of Windows as csrc/message/queue.c and csrc/scan/crew.c
 * need, by pthreads. */
#ifndef WINIPC_SHIM_WINDOWS_H
#define WINIPC_SHIM_WINDOWS_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef int BOOL;
typedef int32_t LONG;
typedef uint32_t DWORD, UINT;
typedef uint64_t ULONGLONG;
typedef uintptr_t WPARAM;
typedef intptr_t LPARAM;
typedef struct {
    DWORD dwLowDateTime, dwHighDateTime;
} FILETIME;

#define FALSE 0
#define TRUE 1
#define WM_TIMER 0x0113

/* -DMUTATE=1: a lock that locks nothing. 2: a count that is not atomic. */
#ifndef MUTATE
#define MUTATE 0
#endif

typedef pthread_rwlock_t SRWLOCK;

static inline void
InitializeSRWLock(SRWLOCK *lock)
{
    pthread_rwlock_init(lock, NULL);
}

static inline void
AcquireSRWLockExclusive(SRWLOCK *lock)
{
    if (MUTATE != 1) {
        pthread_rwlock_wrlock(lock);
    }
}

static inline void
AcquireSRWLockShared(SRWLOCK *lock)
{
    if (MUTATE != 1) {
        pthread_rwlock_rdlock(lock);
    }
}

static inline void
ReleaseSRWLockExclusive(SRWLOCK *lock)
{
    if (MUTATE != 1) {
        pthread_rwlock_unlock(lock);
    }
}

static inline void
ReleaseSRWLockShared(SRWLOCK *lock)
{
    ReleaseSRWLockExclusive(lock);
}

/* A count of the wake-ups, which orders nothing: that is for the lock to do. */
typedef unsigned CONDITION_VARIABLE;
#define INFINITE UINT32_MAX
#define InitializeConditionVariable(variable) ((void)(*(variable) = 0))

static inline void
WakeAllConditionVariable(CONDITION_VARIABLE *variable)
{
    __atomic_add_fetch(variable, 1, __ATOMIC_RELAXED);
}

#define WakeConditionVariable WakeAllConditionVariable

static inline BOOL
SleepConditionVariableSRW(CONDITION_VARIABLE *variable, SRWLOCK *lock,
                          DWORD ms, unsigned flags)
{
    const unsigned seen = __atomic_load_n(variable, __ATOMIC_RELAXED);
    (void)ms, (void)flags;
    ReleaseSRWLockExclusive(lock);
    while (__atomic_load_n(variable, __ATOMIC_RELAXED) == seen) {
        sched_yield();
    }
    AcquireSRWLockExclusive(lock);
    return TRUE;
}

/* Work for the pool: a thread for each time that it is submitted. */
#define CALLBACK
typedef void *PTP_CALLBACK_INSTANCE;
typedef struct shim_work *PTP_WORK;
struct shim_work {
    void (*callback)(PTP_CALLBACK_INSTANCE, void *, PTP_WORK);
    void *context;
    pthread_t threads[64];
    int count;
};

static inline PTP_WORK
CreateThreadpoolWork(void (*callback)(PTP_CALLBACK_INSTANCE, void *, PTP_WORK),
                     void *context, void *environment)
{
    PTP_WORK work = calloc(1, sizeof(*work));
    (void)environment;
    work->callback = callback;
    work->context = context;
    return work;
}

static inline void *
shim_work_run(void *arg)
{
    PTP_WORK work = arg;
    work->callback(NULL, work->context, work);
    return NULL;
}

static inline void
SubmitThreadpoolWork(PTP_WORK work)
{
    pthread_create(&work->threads[work->count++], NULL, shim_work_run, work);
}

static inline void
WaitForThreadpoolWorkCallbacks(PTP_WORK work, BOOL cancel)
{
    (void)cancel;
    while (work->count > 0) {
        pthread_join(work->threads[--work->count], NULL);
    }
}

#define CloseThreadpoolWork(work) free(work)

static inline uint64_t
GetTickCount64(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline LONG
InterlockedIncrement(volatile LONG *p)
{
    return MUTATE == 2 ? ++*p : __atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST);
}

static inline LONG
InterlockedDecrement(volatile LONG *p)
{
    return MUTATE == 2 ? --*p : __atomic_sub_fetch(p, 1, __ATOMIC_SEQ_CST);
}

/* An event that stays set until it is reset. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int set;
} *HANDLE;

static inline HANDLE
CreateEventW(void *security, BOOL manual, BOOL set, const void *name)
{
    HANDLE event = malloc(sizeof(*event));
    (void)security, (void)manual, (void)name;
    pthread_mutex_init(&event->mutex, NULL);
    pthread_cond_init(&event->cond, NULL);
    event->set = set;
    return event;
}

static inline BOOL
ResetEvent(HANDLE event)
{
    pthread_mutex_lock(&event->mutex);
    event->set = 0;
    pthread_mutex_unlock(&event->mutex);
    return TRUE;
}

static inline BOOL
SetEvent(HANDLE event)
{
    pthread_mutex_lock(&event->mutex);
    event->set = 1;
    pthread_cond_broadcast(&event->cond);
    pthread_mutex_unlock(&event->mutex);
    return TRUE;
}

static inline void
WaitForEvent(HANDLE event)
{
    pthread_mutex_lock(&event->mutex);
    while (!event->set) {
        pthread_cond_wait(&event->cond, &event->mutex);
    }
    pthread_mutex_unlock(&event->mutex);
}

#define GetProcessHeap() 0
#define HeapAlloc(heap, flags, size) malloc(size)
#define HeapFree(heap, flags, block) free(block)
#define GetSystemTimePreciseAsFileTime(time) ((void)(*(time) = (FILETIME){0}))

#endif

/* windows.h: as much of Windows as csrc/message/queue.c needs, by pthreads. */
#ifndef WINIPC_SHIM_WINDOWS_H
#define WINIPC_SHIM_WINDOWS_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

typedef int BOOL;
typedef int32_t LONG;
typedef uint32_t DWORD, UINT;
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

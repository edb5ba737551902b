/* crew.h: several threads work, and one takes the results in order.
 *
 *     wi_crew *crew = wi_crew_new(&duty, context, threads, sizeof(task));
 *     while ((how = wi_crew_run(crew, 30)) == WI_CREW_MORE) {}
 *     wi_crew_free(crew);
 *
 * The work is cut into tasks. One thread at a time claims the next task; all
 * threads work on their tasks at the same time. The caller takes the result of
 * each task, in the order of the claims, so the results come in the order in
 * which one thread would give them. The caller works too: a crew of one has no
 * other thread.
 *
 * Owner: the caller owns the crew. Thread: the others are threads of the
 * system's pool and work only during wi_crew_run(); tasks that are done wait
 * until they are taken. Memory: twice as many tasks as threads. The crew uses
 * no Python, and of Windows only locks and the pool, so ThreadSanitizer can
 * watch it on Linux. */
#ifndef WINIPC_SCAN_CREW_H
#define WINIPC_SCAN_CREW_H

#include <windows.h>

#include <stddef.h>

#define WI_CREW_MOST 64 /* threads */

typedef struct wi_crew wi_crew;

typedef struct {
    /* Fill in the task what to do next; 0 if there is nothing. One thread at a
     * time. The memory of a task is zeroed at first and used again later. */
    int (*claim)(void *context, void *task);
    /* Do it. The caller is thread 0; no two threads have the same number. */
    void (*work)(void *context, void *task, unsigned thread);
    /* Take the result, on the caller's thread. 0 if not all of it was taken:
     * the task comes again in the next run. */
    int (*take)(void *context, void *task);
    /* Free what the task has. */
    void (*clear)(void *context, void *task);
} wi_crew_duty;

typedef enum {
    WI_CREW_MORE, /* the time is over */
    WI_CREW_HELD, /* take() did not take all */
    WI_CREW_END,  /* every task has been taken */
} wi_crew_result;

/* NULL if memory is short. The duty has to outlive the crew. */
wi_crew *wi_crew_new(const wi_crew_duty *duty, void *context, unsigned threads,
                     size_t task_size);
void wi_crew_free(wi_crew *crew);

/* Work for about `ms` milliseconds. One thread at a time may call it. */
wi_crew_result wi_crew_run(wi_crew *crew, DWORD ms);

#endif

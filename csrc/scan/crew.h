/* crew.h: several threads work, and one takes the results in order.
 *
 *     wi_crew *crew = wi_crew_new(&duty, context, threads, sizeof(task));
 *     while ((how = wi_crew_run(crew, 30)) == WI_CREW_MORE) {}
 *     wi_crew_free(crew);
 *
 * A duty is cut into tasks. One thread at a time claims the next task; all work
 * on theirs at once; the caller takes what came of each, in the order of the
 * claims, so that the result is that of one thread. The caller works, too: a
 * crew of one has no other thread.
 *
 * Owner: others work only during wi_crew_run, on threads of the system's pool;
 * when it returns, none is in the crew, but tasks that are done wait to be taken.
 * Memory: twice as many tasks as threads. It knows no Python, and of Windows
 * only locks and the pool, so that ThreadSanitizer can watch it on Linux. */
#ifndef WINIPC_SCAN_CREW_H
#define WINIPC_SCAN_CREW_H

#include <windows.h>

#include <stddef.h>

#define WI_CREW_MOST 64 /* threads */

typedef struct wi_crew wi_crew;

typedef struct {
    /* Say in the task what is next; 0: nothing is. One thread at a time. A task
     * is zeroed at first, and keeps what is in it from one time to the next. */
    int (*claim)(void *context, void *task);
    /* Do it. The caller is thread 0; no two threads have the same number. */
    void (*work)(void *context, void *task, unsigned thread);
    /* Take what came of it, on the caller's thread. 0: not all of it; the task
     * comes again in the next run. */
    int (*take)(void *context, void *task);
    /* Free what is in a task. */
    void (*clear)(void *context, void *task);
} wi_crew_duty;

typedef enum {
    WI_CREW_MORE, /* the time is over */
    WI_CREW_HELD, /* take() did not take all */
    WI_CREW_END,  /* every task has been taken */
} wi_crew_result;

/* NULL: no memory. The duty has to outlive it. */
wi_crew *wi_crew_new(const wi_crew_duty *duty, void *context, unsigned threads,
                     size_t task_size);
void wi_crew_free(wi_crew *crew);

/* Go on for about so many milliseconds. One thread at a time. */
wi_crew_result wi_crew_run(wi_crew *crew, DWORD ms);

#endif

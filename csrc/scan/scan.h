/* scan.h: what a Scan, a PointerScan and a CandidateSet share.
 *
 *     static const wi_scan_user user = {.look = look, .take = take};
 *     wi_scan scan = {.progress = progress, .user = &user, .context = self};
 *     wi_scan_compile(&scan, specs);
 *     wi_scan_open_process(&scan, state, process, ranges, size, protections,
 *                          threads);
 *     while (wi_scan_slice(&scan) == WI_SCAN_MORE) {}
 *     wi_scan_clear(&scan);
 *
 * A wi_scan goes over memory without the GIL, on several threads (crew.h): each
 * reads spans of it, and calls look() for each block in which the kernels of
 * kernels.c found something. take() gets what they found in order. Scan (scan.c)
 * makes Python objects of the matches, CandidateSet (candidates.c) keeps them
 * compactly, PointerScan (pointer_scan.c) makes a map of pointers. */
#ifndef WINIPC_SCAN_SCAN_H
#define WINIPC_SCAN_SCAN_H

#include "process/process.h"
#include "crew.h"
#include "kernels.h"

/* --------------------------------- reader.c: the memory of another process */

/* Bytes of one read: small enough to be still in the cache when they are
 * scanned, large enough to make the call cheap. */
#define WI_READ_CHUNK ((size_t)1024 * 1024)

/* How long the GIL is away at a time. */
#define WI_SLICE_MS 30

typedef struct {
    uintptr_t start;
    uintptr_t end;
} wi_range;

/* Where the next span is. One thread at a time claims spans. */
typedef struct {
    HANDLE target;    /* set before each use, while it is pinned */
    wi_range *ranges; /* ascending, apart; owned */
    size_t range_count;
    size_t range;      /* the one that cursor is in or before */
    DWORD protections; /* PAGE_ values to accept, 0: all readable */
    size_t overlap;    /* bytes behind a span that its matches may reach */
    uintptr_t cursor;  /* where the next span begins or before */
    uintptr_t region_start; /* what VirtualQueryEx said last */
    uintptr_t region_end;
    BOOL wanted; /* it can be read, and is of a protection that is accepted */
    BOOL shut;   /* it is committed and cannot be read */
    volatile LONG some; /* something could be read */
} wi_reader;

/* Memory up to the next multiple of WI_READ_CHUNK, some pages of it, and what is
 * side by side behind it. */
typedef struct {
    uintptr_t start;
    size_t size;
    size_t more;         /* bytes behind it */
    const uint8_t *data; /* what is at start */
    uint8_t *room;       /* for what is read; owned */
    uint8_t pages[(WI_READ_CHUNK + SCAN_MAX_LENGTH) / WI_PAGE + 2];
    uint64_t scanned; /* bytes read */
    uint64_t skipped; /* bytes of committed memory that could not be read */
    DWORD err;        /* the target has exited or denies everything */
    const char *api;
} wi_span;

/* The next span, or 0 when there is none. */
int wi_reader_claim(wi_reader *reader, wi_span *span);

/* Bytes that a reader in its initial state would read, about. */
uint64_t wi_reader_estimate(const wi_reader *reader);

/* Read the marked pages between start and end, neighbours at once, and no other:
 * it might be a guard page. `pages` has a byte for each; those that fail are
 * unmarked, and *whole is FALSE. asked: VirtualQueryEx has just said that they can
 * be read. *some is set when something was read. 0, or the error of a target
 * that has exited, or denies everything. */
DWORD wi_read_pages(HANDLE target, uintptr_t start, uintptr_t end,
                    uint8_t *room, uint8_t *pages, BOOL asked,
                    volatile LONG *some, BOOL *whole);

/* ---------------------------------------------------------- scan.c: a scan */

/* What one thread searches. The user's own part of it is behind it. */
typedef struct {
    wi_span span;
    scan_hits hits;
    size_t at;               /* it has been searched up to here */
    size_t run;              /* up to here pages lie side by side */
    const uint8_t *block;    /* the block that was scanned last */
    uintptr_t block_address; /* where it is in the process or buffer */
    unsigned thread;         /* which one searches it */
    int ended;               /* there is nothing more to search in it */
    int taken;               /* its bytes have been counted */
} wi_scan_task;

typedef struct wi_scan wi_scan;

typedef struct {
    size_t own_size;
    /* Takes the hits of the block, on any thread; 0: there is no room for more
     * until take() has made some, by wi_scan_search(). */
    int (*look)(wi_scan *scan, wi_scan_task *task, void *own);
    /* The whole task has been searched; on any thread. NULL: that is nothing. */
    void (*end)(wi_scan *scan, wi_scan_task *task, void *own);
    /* Takes what look() collected, without the GIL, on the caller's thread; 0: it
     * has no room for all. */
    int (*take)(wi_scan *scan, wi_scan_task *task, void *own);
    /* Frees what is in its own part. NULL: that is nothing. */
    void (*clear)(void *own);
} wi_scan_user;

struct wi_scan {
    const wi_scan_user *user;
    void *context; /* the user's */
    scan_set *set; /* NULL once cleared */
    wi_crew *crew;
    PyObject *process;  /* a RemoteProcess; NULL: the buffer is all there is */
    PyObject *file;     /* ours, if a page of the buffer may fail; borrowed */
    PyObject *progress; /* called with (done, total) unless None; borrowed */
    wi_reader reader; /* of the process; of a buffer its overlap and cursor */
    const uint8_t *buffer;
    size_t buffer_size;
    uint64_t scanned; /* bytes of the tasks that were taken */
    uint64_t skipped;
    uint64_t total; /* bytes, for progress */
    DWORD err;      /* why it failed, and in which call */
    const char *api;
    int busy; /* a thread is searching */
    volatile LONG cancelled;
};

typedef enum {
    WI_SCAN_MORE,    /* the time of the slice is over */
    WI_SCAN_FULL,    /* take() wants no more for now */
    WI_SCAN_END,     /* everything has been searched */
    WI_SCAN_STOPPED, /* cancelled, or progress returned False */
    WI_SCAN_FAILED,  /* a read failed, or there was no memory: wi_scan_raise */
    WI_SCAN_RAISED,  /* an exception is set */
} wi_scan_result;

/* Patterns from a sequence of tuples (length, value or None, mask or None,
 * fields, alignment); fields are packed side by side: offset in 32 bits, type
 * and outside in 16 each, low and high in 64 each. */
int wi_scan_compile(wi_scan *scan, PyObject *specs);

/* Let it read a process: ranges has pairs of uint64_t, start and end, ascending
 * and apart. threads 0: as many as there are processors. */
int wi_scan_open_process(wi_scan *scan, wi_state *state, PyObject *process,
                         const char *ranges, Py_ssize_t size,
                         DWORD protections, unsigned threads);

/* Let it search its buffer. */
int wi_scan_open_buffer(wi_scan *scan, unsigned threads);

/* Search for WI_SLICE_MS, report progress and let Ctrl+C in. Either may run
 * Python, which may clear the scan. */
wi_scan_result wi_scan_slice(wi_scan *scan);

/* For take(): search on in a task for which look() had no room. */
void wi_scan_search(wi_scan *scan, wi_scan_task *task);

/* Free what it owns and let go of the process; more calls do nothing. */
void wi_scan_clear(wi_scan *scan);

/* Raise for what failed in a process. */
void wi_scan_raise(PyObject *process, DWORD err, const char *api);

/* The number of threads of an argument, 0 for None. */
int wi_threads_converter(PyObject *value, void *threads);

/* That many; instead of 0 one for each processor, as far as that is of use. */
unsigned wi_thread_count(unsigned threads);

typedef enum {
    WI_PROGRESS_GO_ON,
    WI_PROGRESS_STOP, /* it returned False */
    WI_PROGRESS_RAISED,
} wi_progress_result;

/* Call progress(done, total) unless it is None, and let Ctrl+C in. */
wi_progress_result wi_scan_progress(PyObject *progress, uint64_t done,
                                    uint64_t total);

#endif

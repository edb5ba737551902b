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
 * A wi_scan goes over memory without the GIL, on several threads (crew.h).
 * Each thread reads spans of the memory, and calls look() for each block in
 * which the kernels of kernels.c have found something. take() gets the results
 * in order. Scan (scan.c) makes Python objects of the matches, CandidateSet
 * (candidates.c) keeps them compactly, PointerScan (pointer_scan.c) makes a
 * map of pointers. */
#ifndef WINIPC_SCAN_SCAN_H
#define WINIPC_SCAN_SCAN_H

#include "process/process.h"
#include "crew.h"
#include "kernels.h"

/* --------------------------------- reader.c: the memory of another process */

/* Bytes of one read: few enough to be still in the processor's cache when they
 * are scanned, and enough to make the call cheap. */
#define WI_READ_CHUNK ((size_t)1024 * 1024)

/* For how long a scan gives up the GIL at a time. */
#define WI_SLICE_MS 30

typedef struct {
    uintptr_t start;
    uintptr_t end;
} wi_range;

/* Where the next span is. Only one thread at a time may claim a span. */
typedef struct {
    HANDLE target;    /* set before each use, while it is pinned */
    wi_range *ranges; /* ascending, apart; owned */
    size_t range_count;
    size_t range;      /* the index of the range that cursor is in or before */
    DWORD protections; /* PAGE_ values to accept; 0: all that are readable */
    size_t overlap;    /* bytes behind a span that its matches may reach */
    uintptr_t cursor;  /* the next span begins here or later */
    uintptr_t region_start; /* the region that VirtualQueryEx gave last */
    uintptr_t region_end;
    BOOL wanted; /* the region is readable, and its protection is accepted */
    BOOL shut;   /* the region is committed and not readable */
    volatile LONG some; /* some page could be read */
} wi_reader;

/* Memory up to the next multiple of WI_READ_CHUNK, of which some pages may be
 * left out, and the bytes directly behind it that matches may reach. */
typedef struct {
    uintptr_t start;
    size_t size;
    size_t more;         /* bytes behind it */
    const uint8_t *data; /* the byte at start */
    uint8_t *room;       /* memory to read into; owned */
    uint8_t pages[(WI_READ_CHUNK + SCAN_MAX_LENGTH) / WI_PAGE + 2];
    uint64_t scanned; /* bytes read */
    uint64_t skipped; /* bytes of committed memory that were not read */
    DWORD err; /* if the target has exited or denies everything; else 0 */
    const char *api;
} wi_span;

/* Find the next span; 0 if there is none. */
int wi_reader_claim(wi_reader *reader, wi_span *span);

/* About how many bytes a reader in its initial state will read. */
uint64_t wi_reader_estimate(const wi_reader *reader);

/* Read the marked pages between start and end, neighbours by one call. Other
 * pages are not touched: one might be a guard page. `pages` has a byte for
 * each page; that of a page that fails is cleared, and *whole is FALSE then.
 * asked: VirtualQueryEx has just said that the pages can be read. *some is set
 * if something was read. 0, or the error of a target that has exited or denies
 * everything. */
DWORD wi_read_pages(HANDLE target, uintptr_t start, uintptr_t end,
                    uint8_t *room, uint8_t *pages, BOOL asked,
                    volatile LONG *some, BOOL *whole);

/* ---------------------------------------------------------- scan.c: a scan */

/* What one thread searches. The user's own part comes right behind it. */
typedef struct {
    wi_span span;
    scan_hits hits;
    size_t at;               /* the span has been searched up to here */
    size_t run;              /* the bytes from `at` to here were all read */
    const uint8_t *block;    /* the block that was scanned last */
    uintptr_t block_address; /* its address in the process, or offset */
    unsigned thread;         /* the number of the thread that searches */
    int ended;               /* the span has been searched to its end */
    int taken;               /* its bytes have been counted */
} wi_scan_task;

typedef struct wi_scan wi_scan;

typedef struct {
    size_t own_size; /* of the own part, in bytes */
    /* Take the hits of a block; any thread calls it. 0 if there is no room for
     * more: the search stops until take() has made room and searches on. */
    int (*look)(wi_scan *scan, wi_scan_task *task, void *own);
    /* The whole task has been searched; any thread calls it. May be NULL. */
    void (*end)(wi_scan *scan, wi_scan_task *task, void *own);
    /* Take what look() has collected. The caller's thread calls it, without
     * the GIL. 0 if there is no room for all. */
    int (*take)(wi_scan *scan, wi_scan_task *task, void *own);
    /* Free what the own part has. May be NULL. */
    void (*clear)(void *own);
} wi_scan_user;

struct wi_scan {
    const wi_scan_user *user;
    void *context; /* the user's */
    scan_set *set; /* NULL once cleared */
    wi_crew *crew;
    PyObject *process;  /* a RemoteProcess; NULL for a scan of the buffer */
    PyObject *file;     /* wi_bytes_guarded_source() of the buffer; borrowed */
    PyObject *progress; /* called with (done, total) unless None; borrowed */
    wi_reader reader;   /* for a buffer only its overlap and cursor are used */
    const uint8_t *buffer;
    size_t buffer_size;
    uint64_t scanned; /* bytes of the tasks that were taken */
    uint64_t skipped;
    uint64_t total; /* bytes, for progress */
    DWORD err;      /* of the call that failed, or 0 */
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

/* Compile patterns from a sequence of tuples (length, value or None, mask or
 * None, fields, alignment). fields are bytes with a packed_field for each. */
int wi_scan_compile(wi_scan *scan, PyObject *specs);

/* Prepare to scan a process. ranges has pairs of uint64_t, start and end,
 * which ascend and do not touch. threads 0: wi_thread_count() chooses. */
int wi_scan_open_process(wi_scan *scan, wi_state *state, PyObject *process,
                         const char *ranges, Py_ssize_t size,
                         DWORD protections, unsigned threads);

/* Prepare to scan scan->buffer. */
int wi_scan_open_buffer(wi_scan *scan, unsigned threads);

/* Search for WI_SLICE_MS, report progress and check for signals. The last two
 * may run Python code, which may clear the scan. */
wi_scan_result wi_scan_slice(wi_scan *scan);

/* For take(): search on in a task whose look() had no room. */
void wi_scan_search(wi_scan *scan, wi_scan_task *task);

/* Free what the scan owns, and drop the process; a second call does nothing. */
void wi_scan_clear(wi_scan *scan);

/* Raise the error of a call that failed in a process. */
void wi_scan_raise(PyObject *process, DWORD err, const char *api);

/* O& converter of a number of threads; None gives 0. */
int wi_threads_converter(PyObject *value, void *threads); /* unsigned */

/* The number of threads to use. 0: one for each processor, up to the number
 * from which on memory is the limit. */
unsigned wi_thread_count(unsigned threads);

typedef enum {
    WI_PROGRESS_GO_ON,
    WI_PROGRESS_STOP, /* it returned False */
    WI_PROGRESS_RAISED,
} wi_progress_result;

/* Call progress(done, total) unless it is None, and check for signals. */
wi_progress_result wi_scan_progress(PyObject *progress, uint64_t done,
                                    uint64_t total);

#endif

/* scan.h: what a Scan and the first scan of a CandidateSet share.
 *
 *     wi_scan scan = {.progress = progress};
 *     wi_scan_compile(&scan, specs);
 *     wi_scan_open_process(&scan, state, process, ranges, size, protections);
 *     while (wi_scan_slice(&scan, take, context) == WI_SCAN_MORE) {}
 *     wi_scan_clear(&scan);
 *
 * A wi_scan walks over memory without the GIL and calls take() for each block
 * in which the kernels of kernels.c found something. Scan (scan.c) makes Python
 * objects of the matches, CandidateSet (candidates.c) keeps them compactly. */
#ifndef WINIPC_SCAN_SCAN_H
#define WINIPC_SCAN_SCAN_H

#include "process/process.h"
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

typedef struct {
    HANDLE target;    /* set before each use, while it is pinned */
    wi_range *ranges; /* ascending, apart; owned */
    size_t range_count;
    size_t range;        /* the one that cursor is in or before */
    DWORD protections;   /* PAGE_ values to accept, 0: all readable */
    uintptr_t cursor;    /* what is read next */
    uintptr_t known;     /* up to here a region was seen to be readable */
    uintptr_t careful;   /* up to here page by page, since a read failed */
    size_t overlap;      /* bytes to hand over twice where pieces meet */
    uint8_t *room;       /* overlap, then WI_READ_CHUNK; owned */
    const uint8_t *tail; /* the bytes before cursor that come again */
    size_t kept;         /* how many they are */
    uint64_t scanned;    /* bytes read */
    uint64_t skipped;    /* bytes of committed memory that could not be read */
    DWORD err;           /* why it failed, and in which call */
    const char *api;
} wi_reader;

typedef enum {
    WI_READER_FOUND,
    WI_READER_END,
    WI_READER_FAILED, /* the target has exited or denies everything: err, api */
} wi_reader_result;

/* Adjacent bytes. Unless it is the last of its run, the piece after it begins
 * with its last `overlap` bytes once more. */
typedef struct {
    const uint8_t *data;
    size_t size;
    uintptr_t address;
    int last;
} wi_piece;

/* The next piece, which is valid until the next call. */
wi_reader_result wi_reader_next(wi_reader *reader, wi_piece *piece);

/* Bytes that a reader in its initial state would read, about. */
uint64_t wi_reader_estimate(const wi_reader *reader);

/* ---------------------------------------------------------- scan.c: a scan */

typedef struct {
    scan_set *set; /* NULL once cleared */
    scan_hits hits;
    PyObject *process;  /* a RemoteProcess; NULL: piece is all there is */
    PyObject *file;     /* ours, if a page of piece may fail; borrowed */
    PyObject *progress; /* called with (done, total) unless None; borrowed */
    wi_reader reader;   /* of the process; counts `scanned` for buffers too */
    wi_piece piece;     /* what is being scanned */
    size_t starts;      /* start positions in it */
    size_t next;        /* the next of them */
    uint64_t passed;    /* start positions of pieces before this one */
    uint64_t total;     /* bytes, for progress */
    const uint8_t *block;    /* the block that was scanned last */
    uintptr_t block_address; /* where it is in the process or buffer */
    int busy;                /* a thread is searching */
    volatile LONG cancelled;
} wi_scan;

typedef enum {
    WI_SCAN_MORE,    /* the time of the slice is over */
    WI_SCAN_FULL,    /* take() wants no more for now */
    WI_SCAN_END,     /* everything has been searched */
    WI_SCAN_STOPPED, /* cancelled, or progress returned False */
    WI_SCAN_FAILED,  /* the reader failed: wi_scan_raise */
    WI_SCAN_RAISED,  /* an exception is set */
} wi_scan_result;

/* Takes the hits of the block, without the GIL; returns whether to go on. */
typedef int wi_scan_take(wi_scan *scan, void *context);

/* Patterns from a sequence of tuples (length, value or None, mask or None,
 * fields, alignment); fields are packed side by side: offset in 32 bits, type
 * and outside in 16 each, low and high in 64 each. */
int wi_scan_compile(wi_scan *scan, PyObject *specs);

/* Let it read a process: ranges has pairs of uint64_t, start and end, ascending
 * and apart. */
int wi_scan_open_process(wi_scan *scan, wi_state *state, PyObject *process,
                         const char *ranges, Py_ssize_t size,
                         DWORD protections);

/* Search for WI_SLICE_MS, report progress and let Ctrl+C in. Either may run
 * Python, which may clear the scan. */
wi_scan_result wi_scan_slice(wi_scan *scan, wi_scan_take *take, void *context);

/* Free what it owns and let go of the process; more calls do nothing. */
void wi_scan_clear(wi_scan *scan);

/* Raise for a read that failed. */
void wi_scan_raise(PyObject *process, DWORD err, const char *api);

typedef enum {
    WI_PROGRESS_GO_ON,
    WI_PROGRESS_STOP, /* it returned False */
    WI_PROGRESS_RAISED,
} wi_progress_result;

/* Call progress(done, total) unless it is None, and let Ctrl+C in. */
wi_progress_result wi_scan_progress(PyObject *progress, uint64_t done,
                                    uint64_t total);

#endif

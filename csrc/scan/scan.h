/* kernels.h: what scans of a buffer and of another process share.
 *
 * A wi_scan walks over memory without Python and without the GIL, and stops
 * at each block in which the kernels of kernels.c found something. Scan
 * (scan.c) makes Python objects of that, CandidateSet (candidates.c) keeps
 * it compactly. */
#ifndef WINIPC_SCAN_SCAN_H
#define WINIPC_SCAN_SCAN_H

#include "process/process.h"
#include "kernels.h"

/* ------------------------------------- reader.c: memory as it comes along */

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
    wi_target target; /* set before each use, while it is pinned */
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
    uint64_t skipped;    /* bytes that should be there, but not for us */
    DWORD err;           /* why it failed, and in which call */
    const char *api;
} wi_reader;

/* Adjacent bytes. Unless it is the last of its run, the piece after it begins
 * with its last `overlap` bytes once more. */
typedef struct {
    const uint8_t *data;
    size_t size;
    uintptr_t address;
    int last;
} wi_piece;

/* 1 and a piece, which is valid until the next call; 0 at the end; -1 when
 * the target is gone or may not be read: reader->err, reader->api. */
int wi_reader_next(wi_reader *reader, wi_piece *piece);

/* Bytes that a reader in its initial state would read, about. */
uint64_t wi_reader_estimate(const wi_reader *reader);

/* ------------------------------------------------------ scan.c: a scan */

typedef struct {
    scan_set *set;
    scan_hits hits;
    int remote;
    wi_reader reader;     /* if remote */
    wi_piece piece;       /* what is being scanned; of a buffer all of it */
    size_t starts;        /* start positions in it */
    size_t next;          /* the next of them */
    uint64_t passed;      /* start positions of pieces before this one */
    const uint8_t *block; /* the block that was scanned last */
    size_t block_starts;
    uintptr_t block_address;
} wi_scan;

typedef enum {
    WI_SCAN_HITS,  /* the block has hits: drain or discard them */
    WI_SCAN_PAUSE, /* nothing yet: look at the clock */
    WI_SCAN_END,
    WI_SCAN_ERROR, /* of the reader */
} wi_scan_result;

wi_scan_result wi_scan_next(wi_scan *scan);

/* Patterns from a sequence of tuples, (value, mask or None, alignment) or
 * (type, low, high, alignment). 0, or -1 with an exception. */
int wi_scan_compile(wi_scan *scan, PyObject *specs, int level);

/* Let it read a process: ranges is a sequence of (start, end), ascending and
 * apart. 0, or -1 with an exception. */
int wi_scan_set_remote(wi_scan *scan, PyObject *ranges, DWORD protections);

/* 0, or -1 with an exception: is it a RemoteProcess that is open? */
int wi_scan_check_process(wi_state *state, PyObject *process);

/* Free what it owns; more calls do nothing. */
void wi_scan_clear(wi_scan *scan);

/* Call progress(done, total) unless it is None: 1 to go on, 0 when it
 * returned False, -1 with an exception. */
int wi_scan_progress(PyObject *progress, uint64_t done, uint64_t total);

/* candidates.c, called by scan.c */
int wi_candidates_init(PyObject *module, wi_state *state);

#endif

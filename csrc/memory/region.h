/* region.h: a run of mapped memory as a Python object; see region.c.
 *
 * SharedMapping and MappingView are both regions: mapping.c makes them,
 * region.c flushes and closes them, bytes.c reads and writes them. */
#ifndef WINIPC_MEMORY_REGION_H
#define WINIPC_MEMORY_REGION_H

#include "base/bytes.h"

enum {
    REGION_READ = 1,  /* PAGE_READONLY */
    REGION_WRITE = 2, /* PAGE_READWRITE */
    REGION_COPY = 3,  /* PAGE_WRITECOPY: writes stay in this view */
};

typedef struct {
    WI_BYTES_HEAD /* base is the first byte of the caller's */
        PyObject *weaklist;
    PyObject *name;     /* str, or NULL for an unnamed section */
    PyObject *owner;    /* a view's mapping, or NULL */
    char *start;        /* what MapViewOfFile returned; NULL when closed */
    Py_ssize_t mapped;  /* bytes from base to the end of the last page */
    Py_ssize_t total;   /* the same with what is reserved, not committed */
    uint64_t offset;    /* of base in the section */
    HANDLE section;     /* NULL for a view, whose mapping has it */
    HANDLE file;        /* what is flushed after the view, or NULL */
    void *guard;        /* of wi_guard_new, when the bytes are guarded */
    Py_ssize_t views;   /* open MappingViews of this mapping */
    char access;        /* REGION_READ, _WRITE or _COPY */
    char created;       /* the section did not exist before */
    uint32_t header;    /* bytes before the users', 0 without a header */
    uint64_t payload;   /* the users' bytes that the header tells of */
    uint32_t owner_pid; /* from the header */
    uint16_t version;   /* of the header's layout */
    char exact;         /* size is what was asked for, not whole pages */
} RegionObject;

/* The name for error messages: the str, or "unnamed mapping". New ref. */
PyObject *wi_region_label(RegionObject *self);

/* Unmap and close everything; the caller has checked that nobody uses it.
 * 0, or the first error with the call that failed in *api. */
DWORD
wi_region_release(RegionObject *self, const char **api);

/* A type has to name its traverse function even when its base has one. */
int wi_region_traverse(PyObject *op, visitproc visit, void *arg);

#endif

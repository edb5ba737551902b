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
    WI_BYTES_HEAD        /* base is the first byte of the caller's */
        PyObject *name;  /* str, or NULL for an unnamed section */
    PyObject *owner;     /* the mapping of a view; else NULL */
    char *start;         /* what MapViewOfFile returned; NULL when closed */
    Py_ssize_t mapped;   /* bytes from base to the end of the last page */
    Py_ssize_t total;    /* the same with what is reserved, not committed */
    uint64_t offset;     /* of base in the section */
    HANDLE section;      /* NULL for a view, whose mapping has it */
    HANDLE file;         /* what is flushed after the view, or NULL */
    int guard;           /* wi_guard_hold() was called: a file is behind */
    char access;         /* REGION_READ, _WRITE or _COPY */
    char created;        /* this object made the section */
    char exact;          /* size is what was asked for, not whole pages */
    uint32_t header;     /* bytes of the header in front, 0 without one */
    uint64_t payload;    /* bytes behind it, as it says */
    uint32_t owner_pid;  /* from the header */
    uint32_t version;    /* of the header's layout */
    PyObject *described; /* the header with its description, or NULL */
} RegionObject;

/* OSError about this region; always NULL. */
PyObject *wi_region_raise(RegionObject *self, DWORD err, const char *api);

/* The name in error messages: the two arguments of a "%V". */
#define WI_REGION_LABEL(self) (self)->name, "unnamed mapping"

/* The bytes.release of a region: unmap and close everything. The caller has
 * checked that nothing is pinned. If several steps fail, the first one's error
 * is raised. */
int wi_region_release(PyObject *op);

/* Getter of one of the region's sizes, or 0 once it is closed. The closure is
 * the offset of the size in the struct. */
PyObject *wi_region_get_size(PyObject *op, void *offset);

#endif

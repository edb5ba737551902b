/* process.h: what the files about another process share.
 *
 * read_write.c reads and writes another process in plain C, without Python and
 * without the GIL; process.c is the object; regions.c and modules.c describe
 * what lies in it. Others that work on a RemoteProcess pin it like this:
 *
 *     wi_process *self = (wi_process *)op;
 *     if (wi_check_open(self, self->handle) < 0) { return NULL; }
 *     HANDLE target = wi_process_pin(self);
 *     Py_BEGIN_ALLOW_THREADS ... target ... Py_END_ALLOW_THREADS
 *     wi_process_unpin(self);
 */
#ifndef WINIPC_PROCESS_PROCESS_H
#define WINIPC_PROCESS_PROCESS_H

#include "base/core.h"

/* Every Windows has pages of this size, on every processor. */
#define WI_PAGE ((uintptr_t)4096)

/* Reads and writes up to this size keep the GIL, unless they ask: the kernel call
 * is shorter than giving the GIL up and taking it back. */
#define WI_KEEP_GIL_UP_TO 4096

/* ------------------------------------------------- read_write.c: no Python */

typedef struct wi_cache wi_cache; /* cache.h */

BOOL wi_region_readable(const MEMORY_BASIC_INFORMATION *region);
BOOL wi_region_writable(const MEMORY_BASIC_INFORMATION *region);

/* Read all of it: 0, or a Win32 error. The buffer is scratch on failure. */
DWORD wi_remote_read(HANDLE target, uintptr_t address, void *buffer,
                     size_t size);

/* Whether VirtualQueryEx says that all of it can be read, and no page of it is
 * a guard. To ask before reading more than the caller wanted: a read that meets
 * a guard page disarms it in the target. */
BOOL wi_remote_may_read(HANDLE target, uintptr_t address, size_t size);

/* Read what can be read. mask has one byte for each page that the range
 * touches (wi_page_count), set to 1 where it was read; the rest of buffer is
 * zeroed. No guard page is touched. Returns how many bytes were read; *err is
 * the last failure, 0 for none. */
size_t wi_remote_read_mask(HANDLE target, uintptr_t address, void *buffer,
                           size_t size, unsigned char *mask, DWORD *err);
size_t wi_page_count(uintptr_t address, size_t size);

/* Write all of it: 0, or a Win32 error and how much was written. Whether the
 * pages can be written is asked before the first byte is. */
DWORD wi_remote_write(HANDLE target, uintptr_t address, const void *data,
                      size_t size, size_t *written);

/* Whether a read (or a write) begins with VirtualQueryEx: a write of several
 * pages; under Wine, whose target answers it and may have been stopped, whatever
 * wine.c has no answer for. And both without it, for who found that they do not. */
BOOL wi_remote_asks(HANDLE target, uintptr_t address, size_t size, BOOL write);
DWORD wi_remote_read_unasked(HANDLE target, uintptr_t address, void *buffer,
                             size_t size);
DWORD wi_remote_write_unasked(HANDLE target, uintptr_t address,
                              const void *data, size_t size, size_t *written);

/* --------------------------------------------------------- vm.c: no Python */

typedef enum {
    WI_VM_QUERY,
    WI_VM_ALLOC,
    WI_VM_PROTECT,
    WI_VM_FREE
} wi_vm_kind;

typedef struct {
    wi_vm_kind kind;
    HANDLE process;
    uintptr_t address;
    size_t size;
    DWORD type;
    DWORD protection; /* the new one; after WI_VM_PROTECT the old one */
    MEMORY_BASIC_INFORMATION region; /* of WI_VM_QUERY */
    uintptr_t result;                /* what the function returned */
    DWORD err;
} wi_vm_call;

/* Make the call, which returns even if the target dies meanwhile: its result,
 * 0 with the last error on failure. */
uintptr_t wi_remote_vm(wi_vm_call *call);

/* VirtualQueryEx in the same way. */
BOOL wi_remote_query(HANDLE process, uintptr_t address,
                     MEMORY_BASIC_INFORMATION *region);

/* The plain call, for wine.c. */
void wi_vm_perform(wi_vm_call *call);

/* ------------------------------------------------------- wine.c: no Python */

/* Whether ReadProcessMemory gives pages that may not be read, as Wine's does.
 * Then VirtualQueryEx is asked before each access, and the target answers it. */
BOOL wi_reads_ignore_protection(void);

/* Whether VirtualQueryEx has said, just now, that all of it may be read (or
 * written); what it said of a region; that an access is over; and that it may not
 * hold any longer. */
BOOL wi_wine_recalls(HANDLE target, uintptr_t address, uintptr_t last,
                     BOOL write);
void wi_wine_remember(HANDLE target, const MEMORY_BASIC_INFORMATION *region);
void wi_wine_accessed(HANDLE target);
void wi_wine_forget(void);

/* wi_vm_perform() on a thread that may be left behind. */
void wi_wine_perform(wi_vm_call *call);

/* ------------------------------------------------ process.c: the object */

typedef struct wi_process wi_process;
struct wi_process {
    PyObject_HEAD
    HANDLE handle;       /* NULL once closed */
    DWORD pid;           /* of the target */
    DWORD access;        /* the rights that were asked for */
    int pointer_size;    /* 0 until asked */
    Py_ssize_t pins;     /* calls in flight without the GIL */
    wi_cache *cache;     /* NULL outside of `with process.cached()` */
    wi_cache *idle;      /* an empty one, whose memory the next one has */
    Py_ssize_t cached;   /* how deep those are nested */
    Py_ssize_t suspends; /* of _suspend(True), not undone by _suspend(False) */
};

/* Its handle, which stays open until it is unpinned. */
WI_INLINE HANDLE
wi_process_pin(wi_process *self)
{
    self->pins++;
    return self->handle;
}

WI_INLINE void
wi_process_unpin(wi_process *self)
{
    self->pins--;
}

/* Whether the target, of an open self, has exited or does so within patience
 * milliseconds. Gives up the GIL. */
BOOL wi_process_gone(wi_process *self, DWORD patience);

/* Raise for a failed call: ProcessLookupError when the target has exited, else
 * OSError with a note when the rights asked for were too few. NULL. */
PyObject *wi_process_raise(wi_process *self, DWORD err, const char *api,
                           DWORD needed);

/* Read all of it into private memory, with the GIL held by the caller and
 * given up for large sizes, through the cache where there is one. 0, or a
 * Win32 error. */
DWORD wi_process_read_raw(wi_process *self, uintptr_t address, void *buffer,
                          size_t size);

/* A size >= 0 of an argument. */
int wi_process_size(PyObject *value, Py_ssize_t *size);

/* To call when the target's memory was written or its layout changed. */
void wi_process_changed(wi_process *self, uintptr_t address, size_t size);

/* Methods that live in files of their own: METH_VARARGS of RemoteProcess. */
PyObject *wi_process_regions(PyObject *self, PyObject *args);
PyObject *wi_process_mapped_name(PyObject *self, PyObject *address);
PyObject *wi_process_modules(PyObject *self, PyObject *unused);
PyObject *wi_process_threads(PyObject *self, PyObject *unused);
PyObject *wi_process_change(PyObject *self, PyObject *args);
PyObject *wi_process_walk(PyObject *self, PyObject *args);
PyObject *wi_process_read_many(PyObject *self, PyObject *requests);
PyObject *wi_process_exit_cached(PyObject *self, PyObject *unused);
PyObject *wi_process_enter_cached(PyObject *self, PyObject *unused);

#endif

/* process.h: what the files about another process share.
 *
 * read_write.c reads and writes another process in plain C, without Python and
 * without the GIL; process.c is the object; regions.c and modules.c describe
 * its address space and modules. Whatever works on a RemoteProcess pins it:
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

/* Reads and writes up to this size keep the GIL, unless they ask
 * VirtualQueryEx first: the kernel call takes less time than giving the GIL up
 * and taking it back. */
#define WI_KEEP_GIL_UP_TO 4096

/* ------------------------------------------------- read_write.c: no Python */

typedef struct wi_cache wi_cache; /* cache.h */

BOOL wi_region_readable(const MEMORY_BASIC_INFORMATION *region);
BOOL wi_region_writable(const MEMORY_BASIC_INFORMATION *region);

/* Read all of it: 0, or a Win32 error. After an error the buffer has any
 * content. */
DWORD wi_remote_read(HANDLE target, uintptr_t address, void *buffer,
                     size_t size);

/* Whether VirtualQueryEx says that all of it can be read and that no page of
 * it is a guard page. Ask before a read of more than the caller wants: a read
 * of a guard page disarms the guard in the target. */
BOOL wi_remote_may_read(HANDLE target, uintptr_t address, size_t size);

/* Read what can be read. mask has one byte for each page that the range
 * touches (wi_page_count): 1 if the page was read, else 0, and then its bytes
 * in buffer are zero. Touches no guard page. Returns how many bytes were read;
 * *err is the last failure, or 0. */
size_t wi_remote_read_mask(HANDLE target, uintptr_t address, void *buffer,
                           size_t size, unsigned char *mask, DWORD *err);
size_t wi_page_count(uintptr_t address, size_t size);

/* Write all of it: 0, or a Win32 error and in *written how much was written.
 * Unless all is in one page, it checks first that every page can be written. */
DWORD wi_remote_write(HANDLE target, uintptr_t address, const void *data,
                      size_t size, size_t *written);

/* Whether a read (or a write) has to ask VirtualQueryEx first. On Windows only
 * a write to several pages asks. Under Wine an access asks unless wine.c has
 * an answer; the target answers, and may have been stopped. The other two are
 * the accesses without asking, for a caller to whom this says FALSE. */
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

/* Make the call, and return even if the target dies meanwhile. The function's
 * result; 0 with the last error on failure. */
uintptr_t wi_remote_vm(wi_vm_call *call);

/* VirtualQueryEx in the same way. */
BOOL wi_remote_query(HANDLE process, uintptr_t address,
                     MEMORY_BASIC_INFORMATION *region);

/* The plain call; wine.c runs it on another thread. */
void wi_vm_perform(wi_vm_call *call);

/* ------------------------------------------------------- wine.c: no Python */

/* Whether ReadProcessMemory reads protected pages, as Wine's does. Then
 * VirtualQueryEx has to be asked before each access, and the target answers. */
BOOL wi_reads_ignore_protection(void);

/* Whether VirtualQueryEx has just said that all may be read, or written. */
BOOL wi_wine_recalls(HANDLE target, uintptr_t address, uintptr_t last,
                     BOOL write);
/* Keep an answer of VirtualQueryEx. */
void wi_wine_remember(HANDLE target, const MEMORY_BASIC_INFORMATION *region);
/* An access has ended: the answer holds a little longer. */
void wi_wine_accessed(HANDLE target);
/* The answer may no longer be true. */
void wi_wine_forget(void);

/* wi_vm_perform() on a thread that may be left behind. */
void wi_wine_perform(wi_vm_call *call);
/* WriteProcessMemory, without its own question about the protection. */
BOOL wi_wine_write(HANDLE target, uintptr_t address, const void *data,
                   size_t size, SIZE_T *written);

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
    wi_cache *idle;      /* an empty one, for the next that is needed */
    Py_ssize_t cached;   /* how deep the blocks of cached() are nested */
    Py_ssize_t suspends; /* _suspend(True) less _suspend(False) */
};

/* The process handle, which stays open until wi_process_unpin(). */
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

/* The address that an int means, or what process.address takes: 1, or 0 with an
 * exception. All but an int runs Python, which may close self. */
int wi_process_address(wi_process *self, PyObject *value, uintptr_t *address);

/* Whether the target has exited, or exits within `patience` milliseconds. self
 * is open. Gives up the GIL. */
BOOL wi_process_gone(wi_process *self, DWORD patience);

/* Raise for a failed call that needs the rights `needed`: ProcessLookupError
 * if the target has exited, else OSError, which says so if the handle lacks a
 * right. Always NULL. */
PyObject *wi_process_raise(wi_process *self, DWORD err, const char *api,
                           DWORD needed);

/* Read all of it into private memory, through the cache if there is one. The
 * caller holds the GIL, which is given up for large sizes. 0, or a Win32
 * error. */
DWORD wi_process_read_raw(wi_process *self, uintptr_t address, void *buffer,
                          size_t size);

/* The target's memory was written, or its layout has changed: forget copies. */
void wi_process_changed(wi_process *self, uintptr_t address, size_t size);

/* Methods of RemoteProcess that other files have; process.c has their docs. */
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

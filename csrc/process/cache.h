/* cache.h: copies of another process's memory, kept until the owner clears
 * them; see cache.c. */
#ifndef WINIPC_PROCESS_CACHE_H
#define WINIPC_PROCESS_CACHE_H

#include "process.h"

/* How many bytes to fetch at once where reads come close together. */
#define WI_CACHE_BLOCK ((size_t)65536)

/* NULL without an exception if memory is short. */
wi_cache *wi_cache_new(void);
void wi_cache_free(wi_cache *cache);

/* Forget all copies, but keep some of their memory for the next ones. */
void wi_cache_clear(wi_cache *cache);

/* Read through the cache. A read of more than a block, or of a page that
 * cannot be read, goes to the target directly. 0, or a Win32 error. */
DWORD wi_cache_fetch(wi_cache *cache, HANDLE target, uintptr_t address,
                     void *buffer, size_t size);

/* Forget the pages of a range that has been written. */
void wi_cache_forget(wi_cache *cache, uintptr_t address, size_t size);

#endif

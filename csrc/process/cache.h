/* cache.h: copies of another process's memory, until the owner clears them. */
#ifndef WINIPC_PROCESS_CACHE_H
#define WINIPC_PROCESS_CACHE_H

#include "process.h"

/* What is fetched at once where reads come close together. */
#define WI_CACHE_BLOCK ((size_t)65536)

/* NULL when there is no memory. */
wi_cache *wi_cache_new(void);
void wi_cache_free(wi_cache *cache);

/* Forget everything, but keep some memory for what comes. */
void wi_cache_clear(wi_cache *cache);

/* Read through the cache, or past it what is larger than a block or lies in a page
 * that cannot be read. 0, or a Win32 error. */
DWORD wi_cache_fetch(wi_cache *cache, HANDLE target, uintptr_t address,
                     void *buffer, size_t size);

/* Forget the pages of a range that has been written. */
void wi_cache_forget(wi_cache *cache, uintptr_t address, size_t size);

#endif

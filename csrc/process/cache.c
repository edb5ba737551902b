/* cache.c: a block cache over the memory of another process, in plain C.
 *
 * A program that follows pointers makes many tiny reads close together. At the
 * first read in a 64 KiB block the cache fetches one page, and at the second
 * miss the whole block; if most blocks so far were fetched whole, at the
 * first. So a lone read costs a page, and a dense structure costs few calls.
 * Copies never expire; the owner decides when to clear the cache. A full cache
 * forgets everything, which needs no bookkeeping. It keeps the memory of some
 * blocks for the next ones: the first touch of fresh memory costs as much as a
 * read of another process.
 *
 * Owner: a RemoteProcess, or one batch of a walk. Thread: one at a time. GIL: not
 * needed, but nothing else guards the cache of a RemoteProcess. */
#include "cache.h"

#include <stdlib.h>

#define CACHE_PAGES ((unsigned)(WI_CACHE_BLOCK / WI_PAGE))
#define CACHE_BLOCKS 1024              /* 64 MiB */
#define CACHE_SLOTS (2 * CACHE_BLOCKS) /* a power of two */
#define DENSE_FROM 2    /* with more whole blocks, the next may be too */
#define CACHE_SPARES 17 /* a MiB, and one block to read into */

typedef struct {
    uintptr_t number; /* address / WI_CACHE_BLOCK */
    char *data;       /* WI_CACHE_BLOCK bytes; NULL: free slot */
    unsigned valid;   /* one bit for each page that is there */
    BOOL whole;       /* the whole block has been tried */
} cache_block;

struct wi_cache {
    cache_block slots[CACHE_SLOTS]; /* open addressing */
    size_t used;                    /* at most CACHE_BLOCKS */
    size_t wholes;                  /* blocks that were fetched whole */
    char *spare[CACHE_SPARES];
    size_t spares;
};

wi_cache *
wi_cache_new(void)
{
    return calloc(1, sizeof(wi_cache));
}

/* Memory for a block, with any content; NULL if memory is short. */
static char *
cache_take(wi_cache *cache)
{
    return cache->spares > 0 ? cache->spare[--cache->spares]
                             : malloc(WI_CACHE_BLOCK);
}

static void
cache_give_back(wi_cache *cache, char *data)
{
    if (data != NULL && cache->spares < CACHE_SPARES) {
        cache->spare[cache->spares++] = data;
    }
    else {
        free(data);
    }
}

void
wi_cache_clear(wi_cache *cache)
{
    for (size_t i = 0; cache->used > 0 && i < CACHE_SLOTS; i++) {
        cache_give_back(cache, cache->slots[i].data);
    }
    memset(cache->slots, 0, sizeof(cache->slots));
    cache->used = cache->wholes = 0;
}

void
wi_cache_free(wi_cache *cache)
{
    if (cache != NULL) {
        wi_cache_clear(cache);
        while (cache->spares > 0) {
            free(cache->spare[--cache->spares]);
        }
        free(cache);
    }
}

/* The slot of a block, or the free slot where it would go. */
static cache_block *
cache_slot(wi_cache *cache, uintptr_t number)
{
    uint64_t hash = (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(hash >> 32) % CACHE_SLOTS;
    while (cache->slots[i].data != NULL && cache->slots[i].number != number) {
        i = (i + 1) % CACHE_SLOTS;
    }
    return &cache->slots[i];
}

/* Fetch a whole block; pages that were copied before keep their copies. */
static BOOL
cache_fetch_whole(wi_cache *cache, cache_block *block, HANDLE target)
{
    const uintptr_t start = block->number * WI_CACHE_BLOCK;
    if (!wi_remote_may_read(target, start, WI_CACHE_BLOCK)) {
        return FALSE;
    }
    char *fresh = cache_take(cache);
    if (fresh == NULL ||
        wi_remote_read(target, start, fresh, WI_CACHE_BLOCK) != 0) {
        cache_give_back(cache, fresh);
        return FALSE;
    }
    for (unsigned page = 0; page < CACHE_PAGES; page++) {
        if (block->valid >> page & 1) {
            size_t offset = page * (size_t)WI_PAGE;
            memcpy(fresh + offset, block->data + offset, WI_PAGE);
        }
    }
    cache_give_back(cache, block->data);
    block->data = fresh;
    block->valid = (1u << CACHE_PAGES) - 1;
    cache->wholes++;
    return TRUE;
}

/* Fetch one page of a block, or the block. */
static BOOL
cache_fetch_page(wi_cache *cache, cache_block *block, HANDLE target,
                 unsigned page)
{
    BOOL dense = cache->wholes > DENSE_FROM && 2 * cache->wholes > cache->used;
    if (!block->whole && (block->valid != 0 || dense)) {
        block->whole = TRUE;
        if (cache_fetch_whole(cache, block, target)) {
            return TRUE;
        }
    }
    size_t offset = page * (size_t)WI_PAGE;
    if (wi_remote_read(target, block->number * WI_CACHE_BLOCK + offset,
                       block->data + offset, WI_PAGE) != 0) {
        return FALSE;
    }
    block->valid |= 1u << page;
    return TRUE;
}

static BOOL
cache_read(wi_cache *cache, HANDLE target, uintptr_t address, void *buffer,
           size_t size)
{
    char *to = buffer;
    if (size > WI_CACHE_BLOCK ||
        (size > 0 && size - 1 > UINTPTR_MAX - address)) {
        return FALSE;
    }
    while (size > 0) {
        cache_block *block = cache_slot(cache, address / WI_CACHE_BLOCK);
        if (block->data == NULL) {
            if (cache->used == CACHE_BLOCKS) {
                wi_cache_clear(cache);
                block = cache_slot(cache, address / WI_CACHE_BLOCK);
            }
            block->data = cache_take(cache);
            if (block->data == NULL) {
                return FALSE;
            }
            block->number = address / WI_CACHE_BLOCK;
            cache->used++;
        }
        size_t offset = address % WI_CACHE_BLOCK;
        unsigned page = (unsigned)(offset / WI_PAGE);
        if (!(block->valid >> page & 1) &&
            !cache_fetch_page(cache, block, target, page)) {
            return FALSE;
        }
        size_t part = (size_t)(WI_PAGE - address % WI_PAGE);
        if (part > size) {
            part = size;
        }
        memcpy(to, block->data + offset, part);
        to += part;
        address += part;
        size -= part;
    }
    return TRUE;
}

DWORD
wi_cache_fetch(wi_cache *cache, HANDLE target, uintptr_t address, void *buffer,
               size_t size)
{
    return cache_read(cache, target, address, buffer, size)
               ? 0
               : wi_remote_read(target, address, buffer, size);
}

void
wi_cache_forget(wi_cache *cache, uintptr_t address, size_t size)
{
    if (size > CACHE_BLOCKS * WI_CACHE_BLOCK) {
        wi_cache_clear(cache);
        return;
    }
    for (size_t done = 0; done < size;) {
        cache_block *block = cache_slot(cache, address / WI_CACHE_BLOCK);
        if (block->data != NULL) {
            block->valid &= ~(1u << (address % WI_CACHE_BLOCK / WI_PAGE));
        }
        size_t part = (size_t)(WI_PAGE - address % WI_PAGE);
        address += part;
        done += part;
    }
}

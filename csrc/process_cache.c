/* process_cache.c: a block cache over the memory of another process, in plain C.
 *
 * Following pointers makes many tiny reads that lie close together. The cache
 * fetches the page of the first read of a 64 KiB block, and the whole block at
 * the second miss, so that a lone read costs a page and a dense structure
 * costs few calls. It has no clock: who makes it says how long copies are good
 * enough. When it is full it forgets everything, which costs no bookkeeping.
 *
 * Not thread-safe: the GIL is held around it. */
#include "process_cache.h"

#include <stdlib.h>

#define CACHE_PAGES ((unsigned)(WI_CACHE_BLOCK / WI_PAGE))

typedef struct {
    uintptr_t number; /* address / WI_CACHE_BLOCK */
    char *data;       /* WI_CACHE_BLOCK bytes; NULL: free slot */
    unsigned valid;   /* one bit for each page that is there */
    BOOL whole;       /* the whole block has been tried */
} cache_block;

struct wi_cache {
    cache_block *slots; /* open addressing; a power of two */
    size_t mask;        /* slots - 1 */
    size_t used;
    size_t limit; /* blocks, at most half of the slots */
};

wi_cache *
wi_cache_new(size_t limit)
{
    wi_cache *cache = calloc(1, sizeof(*cache));
    size_t slots = 2;
    if (cache == NULL) {
        return NULL;
    }
    cache->limit = limit / WI_CACHE_BLOCK;
    if (cache->limit < 1) {
        cache->limit = 1;
    }
    if (cache->limit > 1024 * 1024) {
        cache->limit = 1024 * 1024;
    }
    while (slots < 2 * cache->limit) {
        slots *= 2;
    }
    cache->mask = slots - 1;
    cache->slots = calloc(slots, sizeof(*cache->slots));
    if (cache->slots == NULL) {
        free(cache);
        return NULL;
    }
    return cache;
}

static void
cache_clear(wi_cache *cache)
{
    for (size_t i = 0; cache->used > 0 && i <= cache->mask; i++) {
        free(cache->slots[i].data);
        memset(&cache->slots[i], 0, sizeof(cache->slots[i]));
    }
    cache->used = 0;
}

void
wi_cache_free(wi_cache *cache)
{
    if (cache != NULL) {
        cache_clear(cache);
        free(cache->slots);
        free(cache);
    }
}

/* The slot of a block, or the free slot where it would go. */
static cache_block *
cache_slot(wi_cache *cache, uintptr_t number)
{
    uint64_t hash = (uint64_t)number * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(hash >> 32) & cache->mask;
    while (cache->slots[i].data != NULL && cache->slots[i].number != number) {
        i = (i + 1) & cache->mask;
    }
    return &cache->slots[i];
}

/* Fetch all of a block but what is there: copies once made stay as they are.
 */
static BOOL
cache_fetch_whole(cache_block *block, const wi_target *target)
{
    const uintptr_t start = block->number * WI_CACHE_BLOCK;
    if (!wi_remote_may_read(target, start, WI_CACHE_BLOCK)) {
        return FALSE;
    }
    char *fresh = malloc(WI_CACHE_BLOCK);
    BOOL ok = fresh != NULL &&
              wi_remote_read(target, start, fresh, WI_CACHE_BLOCK) == 0;
    for (unsigned page = 0; ok && page < CACHE_PAGES; page++) {
        if (!(block->valid >> page & 1)) {
            size_t offset = page * (size_t)WI_PAGE;
            memcpy(block->data + offset, fresh + offset, WI_PAGE);
        }
    }
    if (ok) {
        block->valid = (1u << CACHE_PAGES) - 1;
    }
    free(fresh);
    return ok;
}

/* Make sure of one page of a block. */
static BOOL
cache_fetch(cache_block *block, const wi_target *target, unsigned page)
{
    if (block->valid != 0 && !block->whole) {
        block->whole = TRUE;
        if (cache_fetch_whole(block, target)) {
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

BOOL
wi_cache_read(wi_cache *cache, const wi_target *target, uintptr_t address,
              void *buffer, size_t size)
{
    char *to = buffer;
    if (size > WI_CACHE_BLOCK ||
        (size > 0 && size - 1 > UINTPTR_MAX - address)) {
        return FALSE;
    }
    while (size > 0) {
        cache_block *block = cache_slot(cache, address / WI_CACHE_BLOCK);
        if (block->data == NULL) {
            if (cache->used >= cache->limit) {
                cache_clear(cache);
                block = cache_slot(cache, address / WI_CACHE_BLOCK);
            }
            block->data = malloc(WI_CACHE_BLOCK);
            if (block->data == NULL) {
                return FALSE;
            }
            block->number = address / WI_CACHE_BLOCK;
            cache->used++;
        }
        size_t offset = address % WI_CACHE_BLOCK;
        unsigned page = (unsigned)(offset / WI_PAGE);
        if (!(block->valid >> page & 1) && !cache_fetch(block, target, page)) {
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

void
wi_cache_forget(wi_cache *cache, uintptr_t address, size_t size)
{
    if (size > cache->limit * WI_CACHE_BLOCK) {
        cache_clear(cache);
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

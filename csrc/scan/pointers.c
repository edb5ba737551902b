/* pointers.c: a map of pointers and walks back along them; pointers.h says what
 * they promise.
 *
 * How pointers are kept: a table of three levels, with an empty node for all
 * that is not there, leads from an address to its window, which knows its
 * readable pages. Each window has a list of chunks, so nothing moves while the
 * map grows; in the end each is sorted within its chunks.
 *
 * How chains are found: depth first, from the address back, all chains of one
 * length before those of the next. A bit for each entry and each number of
 * further pointers says that no base is so far from there, so that a dead end is
 * walked once. The last pointer of a chain is looked up in a list of those that
 * are in bases, which is short. */
#include "pointers.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_BITS 18
#define WINDOW ((uint64_t)1 << WINDOW_BITS)
#define PAGE_BITS 12
#define PAGES ((uint64_t)1 << (WINDOW_BITS - PAGE_BITS)) /* bits of uint64_t */
#define NODE_BITS 10 /* of the two lower levels of the table */
#define NODE ((size_t)1 << NODE_BITS)
#define ROOT ((size_t)1 << (47 - WINDOW_BITS - 2 * NODE_BITS))
#define CHUNK 64  /* entries */
#define SLAB 2000 /* chunks, about 1 MiB */

/* Places are multiples of 4 below POINTER_END. */
#define LOW_AT (64 - WINDOW_BITS)
#define ENTRY(value, place, based)                                            \
    ((value) << LOW_AT | (place) >> 1 | (uint64_t)(based))
#define ENTRY_LOW(entry) ((entry) >> LOW_AT)
#define ENTRY_PLACE(entry) ((entry) << 1 & (POINTER_END - 4))
#define ENTRY_BASED(entry) ((entry) & 1)

typedef struct chunk {
    uint64_t entries[CHUNK];
    struct chunk *older; /* of the same window */
} chunk;

typedef struct slab {
    struct slab *next;
    chunk chunks[SLAB];
} slab;

typedef struct {
    chunk *newest;
    size_t first;   /* of its chunks, in the sorted map */
    uint64_t pages; /* a bit for each that can be read */
    uint32_t key;   /* its address / WINDOW */
    uint32_t count; /* entries */
} window;

typedef struct {
    uint64_t start;
    uint64_t end;
} range;

typedef struct {
    uint64_t value;
    uint64_t place;
} pointer;

typedef struct {
    void *items;
    size_t count;
    size_t room;
} array;

struct pointer_map {
    uint64_t bytes;
    uint64_t most;
    uint64_t count;
    uint64_t end; /* of the last target */
    uint32_t root[ROOT];
    array nodes;   /* of NODE numbers; the first is empty */
    array windows; /* ascending; the first has no pages */
    array bases;   /* of range */
    range known;   /* all of it is in a base, or nothing */
    int known_based;
    slab *slabs;
    size_t slab_used;
    size_t chunks;
    chunk **sorted; /* the chunks of all windows, in order */
    size_t chunks_sorted;
    size_t windows_sorted;
    uint64_t *scratch; /* twice the entries of the greatest window */
    array based;       /* of pointer: those in bases, ascending */
};

/* ------------------------------------------------------------------ memory */

static void *
map_alloc(pointer_map *map, size_t size)
{
    void *memory = size > map->most - map->bytes ? NULL : malloc(size);
    map->bytes += memory == NULL ? 0 : size;
    return memory;
}

/* Append a zeroed item; NULL: no memory. */
static void *
map_append(pointer_map *map, array *to, size_t size)
{
    if (to->count == to->room) {
        const size_t more = to->room / 2 + 16;
        if (more * size > map->most - map->bytes) {
            return NULL;
        }
        void *items = realloc(to->items, (to->room + more) * size);
        if (items == NULL) {
            return NULL;
        }
        to->items = items;
        to->room += more;
        map->bytes += more * size;
    }
    return memset((char *)to->items + to->count++ * size, 0, size);
}

pointer_map *
pointer_map_new(uint64_t most_bytes)
{
    pointer_map *map = calloc(1, sizeof(*map));
    if (map == NULL) {
        return NULL;
    }
    map->bytes = sizeof(*map);
    map->most = most_bytes > map->bytes ? most_bytes : map->bytes;
    map->slab_used = SLAB;
    map->windows_sorted = 1;
    if (map_append(map, &map->nodes, NODE * sizeof(uint32_t)) == NULL ||
        map_append(map, &map->windows, sizeof(window)) == NULL) {
        pointer_map_free(map);
        return NULL;
    }
    return map;
}

void
pointer_map_free(pointer_map *map)
{
    if (map == NULL) {
        return;
    }
    for (slab *next, *one = map->slabs; one != NULL; one = next) {
        next = one->next;
        free(one);
    }
    free(map->nodes.items);
    free(map->windows.items);
    free(map->bases.items);
    free(map->sorted);
    free(map->scratch);
    free(map->based.items);
    free(map);
}

uint64_t
pointer_map_count(const pointer_map *map)
{
    return map->count;
}

uint64_t
pointer_map_bytes(const pointer_map *map)
{
    return map->bytes;
}

/* ------------------------------------------------------- targets and bases */

static window *
map_window(const pointer_map *map, size_t number)
{
    return (window *)map->windows.items + number;
}

/* The number of the window with this key, 0 for none. */
static uint32_t
map_find(const pointer_map *map, uint64_t key)
{
    const uint32_t *nodes = map->nodes.items;
    size_t node = map->root[key >> (2 * NODE_BITS)];
    node = nodes[node * NODE + ((key >> NODE_BITS) & (NODE - 1))];
    return nodes[node * NODE + (key & (NODE - 1))];
}

/* An empty node; 0: no memory. */
static uint32_t
map_add_node(pointer_map *map)
{
    return map_append(map, &map->nodes, NODE * sizeof(uint32_t)) == NULL
               ? 0
               : (uint32_t)(map->nodes.count - 1);
}

/* A new window, behind all others; NULL: no memory. */
static window *
map_add_window(pointer_map *map, uint64_t key)
{
    uint32_t *root = &map->root[key >> (2 * NODE_BITS)];
    if (*root == 0 && (*root = map_add_node(map)) == 0) {
        return NULL;
    }
    const size_t at = *root * NODE + ((key >> NODE_BITS) & (NODE - 1));
    size_t node = ((uint32_t *)map->nodes.items)[at];
    if (node == 0) {
        node = map_add_node(map); /* which may move them all */
        ((uint32_t *)map->nodes.items)[at] = (uint32_t)node;
    }
    window *made =
        node == 0 ? NULL : map_append(map, &map->windows, sizeof(*made));
    if (made != NULL) {
        made->key = (uint32_t)key;
        ((uint32_t *)map->nodes.items)[node * NODE + (key & (NODE - 1))] =
            (uint32_t)(map->windows.count - 1);
    }
    return made;
}

pointer_result
pointer_map_add_target(pointer_map *map, uint64_t start, uint64_t end)
{
    if (start < map->end || start >= end || start >= POINTER_END) {
        return POINTER_DONE;
    }
    map->end = end;
    const uint64_t last =
        ((end < POINTER_END ? end : POINTER_END) - 1) >> PAGE_BITS;
    window *to = map_window(map, map->windows.count - 1);
    for (uint64_t page = start >> PAGE_BITS; page <= last; page++) {
        if (map->windows.count == 1 || to->key != page / PAGES) {
            to = map_add_window(map, page / PAGES);
            if (to == NULL) {
                return POINTER_FULL;
            }
        }
        to->pages |= (uint64_t)1 << (page % PAGES);
    }
    return POINTER_DONE;
}

pointer_result
pointer_map_add_base(pointer_map *map, uint64_t start, uint64_t end)
{
    range *base = map_append(map, &map->bases, sizeof(*base));
    if (base == NULL) {
        return POINTER_FULL;
    }
    base->start = start;
    base->end = end;
    return POINTER_DONE;
}

/* Whether a place is in a base. Neighbours are asked for one after another. */
static int
map_is_based(pointer_map *map, uint64_t place)
{
    if (place < map->known.start || place >= map->known.end) {
        const range *bases = map->bases.items;
        uint64_t start = 0, end = UINT64_MAX;
        map->known_based = 0;
        for (size_t i = 0; i < map->bases.count; i++) {
            if (place < bases[i].start) {
                end = bases[i].start;
                break;
            }
            start = bases[i].end;
            if (place < start) {
                map->known_based = 1;
                start = bases[i].start;
                end = bases[i].end;
                break;
            }
        }
        map->known.start = start;
        map->known.end = end;
    }
    return map->known_based;
}

/* ---------------------------------------------------------------- pointers */

static chunk *
map_add_chunk(pointer_map *map)
{
    if (map->slab_used == SLAB) {
        slab *more = map_alloc(map, sizeof(*more));
        if (more == NULL) {
            return NULL;
        }
        more->next = map->slabs;
        map->slabs = more;
        map->slab_used = 0;
    }
    map->chunks++;
    return &map->slabs->chunks[map->slab_used++];
}

static pointer_result
map_add(pointer_map *map, uint64_t value, uint64_t place)
{
    window *to = map_window(
        map, value < POINTER_END ? map_find(map, value >> WINDOW_BITS) : 0);
    if (!(to->pages >> ((value >> PAGE_BITS) % PAGES) & 1)) {
        return POINTER_DONE;
    }
    const size_t at = to->count % CHUNK;
    if (at == 0) {
        chunk *more =
            to->count > UINT32_MAX - CHUNK ? NULL : map_add_chunk(map);
        if (more == NULL) {
            return POINTER_FULL;
        }
        more->older = to->newest;
        to->newest = more;
    }
    to->newest->entries[at] = ENTRY(value, place, map_is_based(map, place));
    to->count++;
    map->count++;
    return POINTER_DONE;
}

pointer_result
pointer_map_collect(pointer_map *map, unsigned width, const uint64_t *bits,
                    size_t n, const uint8_t *data, uint64_t address)
{
    for (size_t w = 0; w < n; w++) {
        for (uint64_t word = bits[w]; word != 0; word &= word - 1) {
            const size_t at = w * 64 + scan_lowest_bit(word);
            uint64_t value;
            if (width == sizeof(value)) {
                memcpy(&value, data + at, sizeof(value));
            }
            else {
                uint32_t narrow;
                memcpy(&narrow, data + at, sizeof(narrow));
                value = narrow;
            }
            if (address + at < POINTER_END &&
                map_add(map, value, address + at) != POINTER_DONE) {
                return POINTER_FULL;
            }
        }
    }
    return POINTER_DONE;
}

/* ----------------------------------------------------------------- sorting */

/* Stable, by the low bits of the pointers, half of those at a time. */
static void
sort_entries(uint64_t *entries, uint64_t *other, size_t n)
{
    enum { HALF = WINDOW_BITS / 2, MANY = 1 << HALF };
    for (unsigned shift = LOW_AT; shift < 64; shift += HALF) {
        size_t next[MANY] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++) {
            next[entries[i] >> shift & (MANY - 1)]++;
        }
        for (size_t b = 0; b < MANY; b++) {
            const size_t count = next[b];
            next[b] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) {
            other[next[entries[i] >> shift & (MANY - 1)]++] = entries[i];
        }
        uint64_t *const sorted = other;
        other = entries;
        entries = sorted;
    }
}

static pointer_result
sort_window(pointer_map *map, window *one)
{
    const size_t count = one->count;
    const size_t chunks = (count + CHUNK - 1) / CHUNK;
    chunk **list = map->sorted + map->chunks_sorted;
    uint64_t *entries = map->scratch;
    for (size_t i = chunks; i-- > 0; one->newest = one->newest->older) {
        const size_t n = count - i * CHUNK < CHUNK ? count - i * CHUNK : CHUNK;
        list[i] = one->newest;
        memcpy(entries + i * CHUNK, list[i]->entries, n * sizeof(*entries));
    }
    if (count > 1) {
        sort_entries(entries, entries + count, count);
    }
    for (size_t i = 0; i < count; i++) {
        list[i / CHUNK]->entries[i % CHUNK] = entries[i];
        if (ENTRY_BASED(entries[i])) {
            pointer *found = map_append(map, &map->based, sizeof(*found));
            if (found == NULL) {
                return POINTER_FULL;
            }
            found->value = one->key * WINDOW + ENTRY_LOW(entries[i]);
            found->place = ENTRY_PLACE(entries[i]);
        }
    }
    one->first = map->chunks_sorted;
    map->chunks_sorted += chunks;
    return POINTER_DONE;
}

pointer_result
pointer_map_sort(pointer_map *map, size_t windows)
{
    if (map->sorted == NULL) {
        size_t most = 0;
        for (size_t i = 1; i < map->windows.count; i++) {
            const size_t count = map_window(map, i)->count;
            most = count > most ? count : most;
        }
        map->sorted = map_alloc(map, (map->chunks + 1) * sizeof(*map->sorted));
        map->scratch = map_alloc(map, (2 * most + 1) * sizeof(*map->scratch));
        if (map->sorted == NULL || map->scratch == NULL) {
            return POINTER_FULL;
        }
    }
    for (; map->windows_sorted < map->windows.count; map->windows_sorted++) {
        if (windows-- == 0) {
            return POINTER_MORE;
        }
        if (sort_window(map, map_window(map, map->windows_sorted)) !=
            POINTER_DONE) {
            return POINTER_FULL;
        }
    }
    return POINTER_DONE;
}

/* ------------------------------------------------------------------- walks */

/* At an address: the pointers that lead there or up to max_offset before. */
typedef struct {
    uint64_t address;
    uint64_t offset; /* of it, from where the pointer before leads */
    uint64_t low;    /* pointers lead here or above */
    uint64_t number; /* of the entry whose place this is */
    size_t window;   /* entries of this window below `left` are to come, and */
    size_t left;     /* all windows below; or those of map->based */
    int alive;       /* a base was found */
} frame;

struct pointer_walk {
    const pointer_map *map;
    uint64_t max_offset;
    unsigned depth;
    unsigned length; /* of the chains at hand */
    unsigned level;  /* of the frame at hand; 0: at the address itself */
    frame frames[POINTER_MAX_DEPTH];
    uint64_t *dead[POINTER_MAX_DEPTH]; /* by how many pointers are left */
};

static uint64_t
map_entry(const pointer_map *map, const window *of, size_t index)
{
    return map->sorted[of->first + index / CHUNK]->entries[index % CHUNK];
}

/* How many of n items, which ascend by what `VALUE` is of the item `i`, are not
 * above most. */
#define COUNT_UP_TO(result, n, most, VALUE)                                   \
    do {                                                                      \
        size_t from = 0, to = (n);                                            \
        while (from < to) {                                                   \
            const size_t i = from + (to - from) / 2;                          \
            if ((VALUE) <= (most)) {                                          \
                from = i + 1;                                                 \
            }                                                                 \
            else {                                                            \
                to = i;                                                       \
            }                                                                 \
        }                                                                     \
        (result) = from;                                                      \
    } while (0)

static void
walk_enter(pointer_walk *walk, uint64_t address, uint64_t offset,
           uint64_t number)
{
    const pointer_map *map = walk->map;
    frame *at = &walk->frames[walk->level];
    at->address = address;
    at->offset = offset;
    at->low = address > walk->max_offset ? address - walk->max_offset : 0;
    at->number = number;
    at->alive = 0;
    if (walk->level + 1 == walk->length) {
        const pointer *based = map->based.items;
        COUNT_UP_TO(at->left, map->based.count, address, based[i].value);
        return;
    }
    const uint64_t key = address / WINDOW;
    at->window = address < POINTER_END ? map_find(map, key) : 0;
    if (at->window == 0) {
        /* All of the windows below it; the first has a key of 0. */
        COUNT_UP_TO(at->window, map->windows.count, key,
                    map_window(map, i)->key);
        at->window -= at->window > 0;
        at->left = map_window(map, at->window)->count;
        return;
    }
    const window *of = map_window(map, at->window);
    COUNT_UP_TO(at->left, of->count, address % WINDOW,
                ENTRY_LOW(map_entry(map, of, i)));
}

pointer_walk *
pointer_walk_new(const pointer_map *map, uint64_t address, unsigned depth,
                 uint64_t max_offset)
{
    pointer_walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL) {
        return NULL;
    }
    walk->map = map;
    walk->max_offset = max_offset;
    walk->depth = depth;
    walk->length = 1;
    for (unsigned i = 1; i < depth; i++) {
        /* A word for each chunk. */
        walk->dead[i] = calloc(map->chunks + 1, sizeof(*walk->dead[i]));
        if (walk->dead[i] == NULL) {
            pointer_walk_free(walk);
            return NULL;
        }
    }
    walk_enter(walk, address, 0, 0);
    return walk;
}

void
pointer_walk_free(pointer_walk *walk)
{
    if (walk != NULL) {
        for (unsigned i = 0; i < POINTER_MAX_DEPTH; i++) {
            free(walk->dead[i]);
        }
        free(walk);
    }
}

/* From a frame with nothing left to the one above, or to longer chains. */
static void
walk_leave(pointer_walk *walk)
{
    const frame *at = &walk->frames[walk->level];
    if (walk->level == 0) {
        walk->length++;
        walk_enter(walk, at->address, 0, 0);
        return;
    }
    if (at->alive) {
        walk->frames[walk->level - 1].alive = 1;
    }
    else {
        walk->dead[walk->length - walk->level][at->number / 64] |=
            (uint64_t)1 << (at->number % 64);
    }
    walk->level--;
}

/* The next pointer in a base that leads to the frame at hand; whether it makes
 * a path. */
static size_t
walk_base(pointer_walk *walk, pointer_path *path)
{
    frame *at = &walk->frames[walk->level];
    const pointer *found = walk->map->based.items;
    if (at->left == 0 || found[at->left - 1].value < at->low) {
        walk_leave(walk);
        return 0;
    }
    found += --at->left;
    at->alive = 1;
    path->base = found->place;
    path->length = walk->length;
    path->offsets[0] = at->address - found->value;
    uint64_t place = found->place;
    for (unsigned level = walk->level; level > 0; level--) {
        for (unsigned other = level; other > 0; other--) {
            if (walk->frames[other].address == place) {
                return 0; /* through a place twice */
            }
        }
        place = walk->frames[level].address;
        path->offsets[walk->length - level] = walk->frames[level].offset;
    }
    return 1;
}

/* One level down by the next pointer that leads to the frame at hand. */
static void
walk_pointer(pointer_walk *walk)
{
    const pointer_map *map = walk->map;
    frame *at = &walk->frames[walk->level];
    const window *of = map_window(map, at->window);
    if (at->left == 0) {
        if (at->window < 2 || of[-1].key * WINDOW + WINDOW <= at->low) {
            walk_leave(walk);
            return;
        }
        at->window--;
        at->left = of[-1].count;
        return;
    }
    const size_t index = --at->left;
    const uint64_t entry = map_entry(map, of, index);
    const uint64_t value = of->key * WINDOW + ENTRY_LOW(entry);
    if (value < at->low) {
        walk_leave(walk);
        return;
    }
    const uint64_t number = (uint64_t)of->first * CHUNK + index;
    const uint64_t *dead = walk->dead[walk->length - walk->level - 1];
    if (!(dead[number / 64] >> (number % 64) & 1)) {
        walk->level++;
        walk_enter(walk, ENTRY_PLACE(entry), at->address - value, number);
    }
}

size_t
pointer_walk_next(pointer_walk *walk, pointer_path *paths, size_t capacity,
                  size_t steps, int *ended)
{
    size_t n = 0;
    for (; n < capacity && steps > 0; steps--) {
        if (walk->length > walk->depth) {
            *ended = 1;
            break;
        }
        if (walk->level + 1 == walk->length) {
            n += walk_base(walk, &paths[n]);
        }
        else {
            walk_pointer(walk);
        }
    }
    return n;
}

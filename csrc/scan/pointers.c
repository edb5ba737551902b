/* pointers.c: a map of pointers, and walks back along them; pointers.h says
 * what it promises.
 *
 * The map: a table of three levels leads from an address to its window, which
 * has a bit for each of its readable pages. All parts of the table that are
 * not needed share one empty node. Each thread has a list of chunks for each
 * window, so nothing moves while the map grows. At the end the lists of a
 * window are merged, and the entries are sorted within the chunks.
 *
 * The walk: depth first, from the address back, all chains of one length
 * before those of the next. For each entry and each number of further pointers
 * there is a bit, which says that no base is that many pointers away: so a
 * dead end is walked only once. The pointers in bases have a list of their
 * own, which is short; the first pointer of a chain is looked up there. */
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
#define CHUNK 64           /* entries */
#define SLAB 2000          /* chunks, about 1 MiB */
#define WINDOWS_AT_ONCE 64 /* in one claim of windows to sort */

/* Change a counter that threads share; the new value. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define POINTER_COUNT_DOWN(p) _InterlockedDecrement((volatile long *)(p))
#define POINTER_COUNT_UP(p) _InterlockedIncrement((volatile long *)(p))
#else
#define POINTER_COUNT_DOWN(p) __atomic_sub_fetch((p), 1, __ATOMIC_RELAXED)
#define POINTER_COUNT_UP(p) __atomic_add_fetch((p), 1, __ATOMIC_RELAXED)
#endif

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
    size_t first;   /* of its chunks, in the sorted map */
    uint64_t pages; /* a bit for each page that can be read */
    uint32_t key;   /* its address / WINDOW */
    uint32_t count; /* entries, once they are sorted */
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

/* What one thread has found in one window. */
typedef struct {
    chunk *newest;
    uint32_t count; /* entries */
} list;

/* What one thread has found. */
typedef struct {
    list *lists; /* one for each window */
    slab *slabs;
    size_t slab_used;
    range known; /* is in a base as a whole, or not at all */
    int known_based;
} part;

struct pointer_map {
    uint64_t bytes; /* without slabs */
    uint64_t most;
    uint64_t count;
    uint64_t end; /* of the last target */
    uint32_t root[ROOT];
    array nodes;   /* each of NODE numbers; the first is empty */
    array windows; /* ascending; the first has no pages */
    array bases;   /* of range */
    part *parts;
    unsigned threads;
    int32_t slabs_left; /* how many may still be made; threads share it */
    int32_t slabs_most;
    size_t chunks;
    chunk **sorted; /* the chunks of all windows, in order */
    size_t windows_claimed;
    array based; /* of pointer: the pointers in bases, ascending */
};

/* ------------------------------------------------------------------ memory */

static void *
map_alloc(pointer_map *map, size_t size)
{
    void *memory = size > map->most - map->bytes ? NULL : calloc(1, size);
    map->bytes += memory == NULL ? 0 : size;
    return memory;
}

/* Append a zeroed item; NULL if memory is short. */
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
pointer_map_new(uint64_t most_bytes, unsigned threads)
{
    pointer_map *map = calloc(1, sizeof(*map));
    if (map == NULL) {
        return NULL;
    }
    map->bytes = sizeof(*map);
    map->most = most_bytes > map->bytes ? most_bytes : map->bytes;
    map->threads = threads;
    map->windows_claimed = 1;
    map->parts = map_alloc(map, threads * sizeof(*map->parts));
    if (map->parts == NULL ||
        map_append(map, &map->nodes, NODE * sizeof(uint32_t)) == NULL ||
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
    for (unsigned i = 0; map->parts != NULL && i < map->threads; i++) {
        for (slab *next, *one = map->parts[i].slabs; one != NULL; one = next) {
            next = one->next;
            free(one);
        }
        free(map->parts[i].lists);
    }
    free(map->parts);
    free(map->nodes.items);
    free(map->windows.items);
    free(map->bases.items);
    free(map->sorted);
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
    return map->bytes +
           (uint64_t)(map->slabs_most - map->slabs_left) * sizeof(slab);
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

/* The number of a new empty node; 0 if memory is short. */
static uint32_t
map_add_node(pointer_map *map)
{
    return map_append(map, &map->nodes, NODE * sizeof(uint32_t)) == NULL
               ? 0
               : (uint32_t)(map->nodes.count - 1);
}

/* A new window, behind all others; NULL if memory is short. */
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
        node = map_add_node(map); /* this may move all nodes */
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

/* Whether a place is in a base. Places come in order, so `known` often says. */
static int
map_is_based(const pointer_map *map, part *to, uint64_t place)
{
    if (place < to->known.start || place >= to->known.end) {
        const range *bases = map->bases.items;
        uint64_t start = 0, end = UINT64_MAX;
        to->known_based = 0;
        for (size_t i = 0; i < map->bases.count; i++) {
            if (place < bases[i].start) {
                end = bases[i].start;
                break;
            }
            start = bases[i].end;
            if (place < start) {
                to->known_based = 1;
                start = bases[i].start;
                end = bases[i].end;
                break;
            }
        }
        to->known.start = start;
        to->known.end = end;
    }
    return to->known_based;
}

/* ---------------------------------------------------------------- pointers */

pointer_result
pointer_map_begin(pointer_map *map)
{
    for (unsigned i = 0; i < map->threads; i++) {
        part *one = &map->parts[i];
        one->slab_used = SLAB;
        one->lists = map_alloc(map, map->windows.count * sizeof(list));
        if (one->lists == NULL) {
            return POINTER_FULL;
        }
    }
    const uint64_t slabs = (map->most - map->bytes) / sizeof(slab);
    map->slabs_most = slabs < INT32_MAX ? (int32_t)slabs : INT32_MAX;
    map->slabs_left = map->slabs_most;
    return POINTER_DONE;
}

static chunk *
part_add_chunk(pointer_map *map, part *to)
{
    if (to->slab_used == SLAB) {
        slab *more = NULL;
        if (POINTER_COUNT_DOWN(&map->slabs_left) < 0 ||
            (more = malloc(sizeof(*more))) == NULL) {
            POINTER_COUNT_UP(&map->slabs_left);
            return NULL;
        }
        more->next = to->slabs;
        to->slabs = more;
        to->slab_used = 0;
    }
    return &to->slabs->chunks[to->slab_used++];
}

static pointer_result
part_add(pointer_map *map, part *to, size_t number, uint64_t value,
         uint64_t place)
{
    list *of = &to->lists[number];
    const size_t at = of->count % CHUNK;
    if (at == 0) {
        chunk *more = of->count > UINT32_MAX / POINTER_MOST_THREADS - CHUNK
                          ? NULL
                          : part_add_chunk(map, to);
        if (more == NULL) {
            return POINTER_FULL;
        }
        more->older = of->newest;
        of->newest = more;
    }
    of->newest->entries[at] =
        ENTRY(value, place, map_is_based(map, to, place));
    of->count++;
    return POINTER_DONE;
}

pointer_result
pointer_map_collect(pointer_map *map, unsigned thread, unsigned width,
                    const uint64_t *bits, size_t n, const uint8_t *data,
                    uint64_t address, uint64_t *count)
{
    part *to = &map->parts[thread];
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
            if (value >= POINTER_END || address + at >= POINTER_END) {
                continue;
            }
            const uint32_t number = map_find(map, value >> WINDOW_BITS);
            if (!(map_window(map, number)->pages >>
                      ((value >> PAGE_BITS) % PAGES) &
                  1)) {
                continue;
            }
            if (part_add(map, to, number, value, address + at) !=
                POINTER_DONE) {
                return POINTER_FULL;
            }
            ++*count;
        }
    }
    return POINTER_DONE;
}

/* ----------------------------------------------------------------- sorting */

/* Sort entries by the low bits of their pointers: a stable radix sort, half of
 * the bits at a time. */
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

/* Put the chunks of a window, of one thread after another, into map->sorted.
 * Returns their entries in the order of the places, in one half of the
 * scratch. */
static uint64_t *
sort_gather(const pointer_map *map, size_t number, uint64_t *scratch)
{
    chunk **chunks = map->sorted + map_window(map, number)->first;
    const size_t count = map_window(map, number)->count;
    uint64_t *from[POINTER_MOST_THREADS], *end[POINTER_MOST_THREADS];
    unsigned lists = 0;
    uint64_t *to = scratch;
    for (unsigned i = 0; i < map->threads; i++) {
        const list *of = &map->parts[i].lists[number];
        const size_t n = (of->count + CHUNK - 1) / CHUNK;
        const chunk *one = of->newest;
        for (size_t k = n; k-- > 0; one = one->older) {
            const size_t some =
                of->count - k * CHUNK < CHUNK ? of->count - k * CHUNK : CHUNK;
            chunks[k] = (chunk *)one;
            memcpy(to + k * CHUNK, one->entries, some * sizeof(*to));
        }
        if (n > 0) {
            from[lists] = to;
            end[lists++] = to + of->count;
        }
        chunks += n;
        to += of->count;
    }
    if (lists < 2) {
        return scratch;
    }
    to = scratch + count;
    while (lists > 0) {
        /* Take from the list whose next place is the lowest, up to the next
         * place of any other list. */
        unsigned first = 0;
        uint64_t limit = UINT64_MAX;
        for (unsigned i = 1; i < lists; i++) {
            const int less = ENTRY_PLACE(*from[i]) < ENTRY_PLACE(*from[first]);
            const uint64_t other = ENTRY_PLACE(less ? *from[first] : *from[i]);
            limit = other < limit ? other : limit;
            first = less ? i : first;
        }
        while (from[first] < end[first] && ENTRY_PLACE(*from[first]) < limit) {
            *to++ = *from[first]++;
        }
        if (from[first] == end[first]) {
            lists--;
            from[first] = from[lists];
            end[first] = end[lists];
        }
    }
    return scratch + count;
}

static pointer_result
sort_grow(const pointer_map *map, pointer_sort *sort, size_t room)
{
    if (room > sort->scratch_room) {
        const size_t size = room * sizeof(uint64_t);
        free(sort->scratch);
        sort->scratch_room = 0;
        sort->scratch = size > map->most - map->bytes ? NULL : malloc(size);
        if (sort->scratch == NULL) {
            return POINTER_FULL;
        }
        sort->scratch_room = room;
    }
    return POINTER_DONE;
}

static pointer_result
sort_window(const pointer_map *map, size_t number, pointer_sort *sort)
{
    const window *one = map_window(map, number);
    const size_t count = one->count;
    chunk **chunks = map->sorted + one->first;
    if (sort_grow(map, sort, 2 * count) != POINTER_DONE) {
        return POINTER_FULL;
    }
    uint64_t *scratch = sort->scratch;
    uint64_t *entries = sort_gather(map, number, scratch);
    if (count > 1) {
        sort_entries(entries, entries == scratch ? scratch + count : scratch,
                     count);
    }
    for (size_t i = 0; i < count; i++) {
        chunks[i / CHUNK]->entries[i % CHUNK] = entries[i];
        if (ENTRY_BASED(entries[i])) {
            if (sort->based_count == sort->based_room) {
                const size_t room = sort->based_room * 2 + 64;
                void *based = realloc(sort->based, room * sizeof(pointer));
                if (based == NULL) {
                    return POINTER_FULL;
                }
                sort->based = based;
                sort->based_room = room;
            }
            pointer *found = (pointer *)sort->based + sort->based_count++;
            found->value = one->key * WINDOW + ENTRY_LOW(entries[i]);
            found->place = ENTRY_PLACE(entries[i]);
        }
    }
    return POINTER_DONE;
}

pointer_result
pointer_map_begin_sort(pointer_map *map)
{
    for (size_t i = 0; i < map->windows.count; i++) {
        window *one = map_window(map, i);
        size_t count = 0;
        one->first = map->chunks;
        for (unsigned k = 0; k < map->threads; k++) {
            const size_t n = map->parts[k].lists[i].count;
            count += n;
            map->chunks += (n + CHUNK - 1) / CHUNK;
        }
        one->count = (uint32_t)count;
        map->count += count;
    }
    map->bytes = pointer_map_bytes(map);
    map->slabs_most = map->slabs_left;
    map->sorted = map_alloc(map, (map->chunks + 1) * sizeof(*map->sorted));
    return map->sorted == NULL ? POINTER_FULL : POINTER_DONE;
}

int
pointer_map_claim_sort(pointer_map *map, pointer_sort *sort)
{
    const size_t left = map->windows.count - map->windows_claimed;
    sort->from = map->windows_claimed;
    map->windows_claimed += left < WINDOWS_AT_ONCE ? left : WINDOWS_AT_ONCE;
    sort->to = map->windows_claimed;
    return left > 0;
}

void
pointer_map_sort(const pointer_map *map, pointer_sort *sort)
{
    sort->result = POINTER_DONE;
    sort->based_count = 0;
    for (size_t i = sort->from; i < sort->to && sort->result == POINTER_DONE;
         i++) {
        sort->result = sort_window(map, i, sort);
    }
}

pointer_result
pointer_map_take_sort(pointer_map *map, pointer_sort *sort)
{
    const pointer *based = sort->based;
    for (size_t i = 0; i < sort->based_count && sort->result == POINTER_DONE;
         i++) {
        pointer *to = map_append(map, &map->based, sizeof(*to));
        if (to == NULL) {
            return POINTER_FULL;
        }
        *to = based[i];
    }
    return sort->result;
}

void
pointer_sort_clear(pointer_sort *sort)
{
    free(sort->scratch);
    free(sort->based);
}

/* ------------------------------------------------------------------- walks */

/* A step of a walk, at an address: the pointers that lead there, or to at most
 * max_offset before it. */
typedef struct {
    uint64_t address;
    uint64_t offset; /* of address from where the previous pointer leads */
    uint64_t low;    /* pointers lead here or above */
    uint64_t number; /* of the entry whose place this is */
    size_t window;   /* the entries before `left` of this window are left, */
    size_t left;     /* and all lower windows; or those of map->based */
    int alive;       /* a base was found */
} frame;

struct pointer_walk {
    const pointer_map *map;
    uint64_t max_offset;
    unsigned depth;
    unsigned length; /* of the chains that are walked now */
    unsigned level;  /* of the current frame; 0: at the address itself */
    frame frames[POINTER_MAX_DEPTH];
    uint64_t *dead[POINTER_MAX_DEPTH]; /* bits, by how many pointers remain */
};

static uint64_t
map_entry(const pointer_map *map, const window *of, size_t index)
{
    return map->sorted[of->first + index / CHUNK]->entries[index % CHUNK];
}

/* Count the items whose VALUE is at most `most`. VALUE is an expression of the
 * index i, and ascends with it. */
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
        /* Begin with the window below it; the first has the key 0. */
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

/* Leave a frame with nothing left: for the one before it, or for longer
 * chains. */
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

/* Take the next pointer in a base that leads to the current frame. 1 if it
 * makes a path. */
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

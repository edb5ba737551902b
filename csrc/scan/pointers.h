/* pointers.h: all pointers of a process, and chains of them, in plain C.
 *
 *     pointer_map *map = pointer_map_new(most_bytes, threads);
 *     pointer_map_add_target(map, start, end);    readable ranges, ascending
 *     pointer_map_add_base(map, start, end);      modules, ascending
 *     pointer_map_collect(map, thread, bits, n, data, address, &count);  blocks
 *     pointer_map_begin_sort(map);
 *     while (pointer_map_claim_sort(map, sort)) {
 *         pointer_map_sort(map, sort); pointer_map_take_sort(map, sort);
 *     }
 *     pointer_walk *walk = pointer_walk_new(map, address, depth, max_offset);
 *     n = pointer_walk_next(walk, paths, capacity, steps, &ended);
 *
 * A map takes 8 bytes for each pointer and some 2 % for its index: the
 * addresses that pointers lead to are cut into windows of 256 KiB, and an entry
 * is the low 18 bits of the pointer, the place that holds it, and whether that
 * is in a base.
 *
 * It knows neither Python nor Windows, and has no static data that changes.
 * Several threads may collect, each with a number of its own, and sort, each with
 * a pointer_sort of its own; for all else, one at a time uses a map. */
#ifndef WINIPC_SCAN_POINTERS_H
#define WINIPC_SCAN_POINTERS_H

#include <stddef.h>
#include <stdint.h>

/* Addresses of user memory are below this on every 64-bit Windows. */
#define POINTER_END ((uint64_t)1 << 47)
#define POINTER_MAX_DEPTH 16
#define POINTER_MOST_THREADS 64

typedef enum {
    POINTER_DONE,
    POINTER_FULL, /* no memory, or more than most_bytes of it */
} pointer_result;

typedef struct pointer_map pointer_map;
typedef struct pointer_walk pointer_walk;

/* NULL: no memory. */
pointer_map *pointer_map_new(uint64_t most_bytes, unsigned threads);
void pointer_map_free(pointer_map *map);

/* Memory that pointers lead to, page by page. Ignored: a range that is not
 * behind the ones before, and what is beyond POINTER_END. */
pointer_result pointer_map_add_target(pointer_map *map, uint64_t start,
                                      uint64_t end);

/* Memory where chains begin. Ranges ascend and are apart. */
pointer_result pointer_map_add_base(pointer_map *map, uint64_t start,
                                    uint64_t end);

/* Between the last range and the first block. */
pointer_result pointer_map_begin(pointer_map *map);

/* Add pointers of `width` bytes (4 or 8): for each of the n * 64 bits that is
 * set, the number at that offset in data, if it leads to a target. All are in
 * data; address is that of data[0], which goes up from each call of a thread to
 * the next, and those of pointers are multiples of their width. Adds to *count
 * how many they are. */
pointer_result pointer_map_collect(pointer_map *map, unsigned thread,
                                   unsigned width, const uint64_t *bits,
                                   size_t n, const uint8_t *data,
                                   uint64_t address, uint64_t *count);

/* Some windows to be sorted. Zeroed at first; pointer_sort_clear frees it. */
typedef struct {
    size_t from;
    size_t to;
    void *scratch;
    size_t scratch_room; /* entries */
    void *based;
    size_t based_count;
    size_t based_room;
    pointer_result result;
} pointer_sort;

/* Between the last block and the first walk: begin, then for all windows claim
 * some (0: there are no more), sort them, and take what came of it in the order
 * of the claims. */
pointer_result pointer_map_begin_sort(pointer_map *map);
int pointer_map_claim_sort(pointer_map *map, pointer_sort *sort);
void pointer_map_sort(const pointer_map *map, pointer_sort *sort);
pointer_result pointer_map_take_sort(pointer_map *map, pointer_sort *sort);
void pointer_sort_clear(pointer_sort *sort);

uint64_t pointer_map_count(const pointer_map *map); /* pointers */
uint64_t pointer_map_bytes(const pointer_map *map); /* its memory */

/* The pointer at base plus offsets[0] is where the next one is, and so on; the
 * last sum is the address that was looked for. */
typedef struct {
    uint64_t base;
    unsigned length; /* pointers, and offsets */
    uint64_t offsets[POINTER_MAX_DEPTH];
} pointer_path;

/* All chains of 1 to depth (<= POINTER_MAX_DEPTH) pointers from a base to the
 * address, with offsets up to max_offset, that come through no place twice.
 * Short ones come first, and among equals those with a small last offset. The
 * map has to outlive the walk. NULL: no memory. */
pointer_walk *pointer_walk_new(const pointer_map *map, uint64_t address,
                               unsigned depth, uint64_t max_offset);
void pointer_walk_free(pointer_walk *walk);

/* The next paths, at most `capacity`, in so many steps. *ended is set when
 * there are no more. */
size_t pointer_walk_next(pointer_walk *walk, pointer_path *paths,
                         size_t capacity, size_t steps, int *ended);

#endif

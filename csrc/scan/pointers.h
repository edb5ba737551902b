/* pointers.h: all pointers of a process, and chains of them, in plain C.
 *
 *     pointer_map *map = pointer_map_new(most_bytes);
 *     pointer_map_add_target(map, start, end);    readable ranges, ascending
 *     pointer_map_add_base(map, start, end);      modules, ascending
 *     pointer_map_collect(map, bits, n, data, address);       each block
 *     while (pointer_map_sort(map, 256) == POINTER_MORE) {}
 *     pointer_walk *walk = pointer_walk_new(map, address, depth, max_offset);
 *     n = pointer_walk_next(walk, paths, capacity, steps, &ended);
 *
 * A map takes 8 bytes for each pointer and some 2 % for its index: the
 * addresses that pointers lead to are cut into windows of 256 KiB, and an entry
 * is the low 18 bits of the pointer, the place that holds it, and whether that
 * is in a base.
 *
 * It knows neither Python nor Windows, and has no static data that changes; one
 * thread at a time uses a map. */
#ifndef WINIPC_SCAN_POINTERS_H
#define WINIPC_SCAN_POINTERS_H

#include <stddef.h>
#include <stdint.h>

/* Addresses of user memory are below this on every 64-bit Windows. */
#define POINTER_END ((uint64_t)1 << 47)
#define POINTER_MAX_DEPTH 16

typedef enum {
    POINTER_DONE,
    POINTER_MORE,
    POINTER_FULL, /* no memory, or more than most_bytes of it */
} pointer_result;

typedef struct pointer_map pointer_map;
typedef struct pointer_walk pointer_walk;

pointer_map *pointer_map_new(uint64_t most_bytes); /* NULL: no memory */
void pointer_map_free(pointer_map *map);

/* Memory that pointers lead to, page by page. Ignored: a range that is not
 * behind the ones before, and what is beyond POINTER_END. */
pointer_result pointer_map_add_target(pointer_map *map, uint64_t start,
                                      uint64_t end);

/* Memory where chains begin. Ranges ascend and are apart. */
pointer_result pointer_map_add_base(pointer_map *map, uint64_t start,
                                    uint64_t end);

/* Add pointers of `width` bytes (4 or 8): for each of the n * 64 bits that is
 * set, the number at that offset in data, if it leads to a target. All are in
 * data; address is that of data[0], and those of pointers are multiples of
 * their width. */
pointer_result pointer_map_collect(pointer_map *map, unsigned width,
                                   const uint64_t *bits, size_t n,
                                   const uint8_t *data, uint64_t address);

/* Sort so many windows more: between the last block and the first walk. */
pointer_result pointer_map_sort(pointer_map *map, size_t windows);

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

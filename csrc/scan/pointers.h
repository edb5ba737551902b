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
 * A map takes 8 bytes for each pointer and some 2 % for its index. The
 * addresses that pointers lead to are cut into windows of 256 KiB. An entry
 * has the low 18 bits of the pointer, the place that holds the pointer, and
 * whether that place is in a base.
 *
 * Owner: the caller owns maps and walks. Thread: several may collect, each
 * with its own number, and several may sort, each with its own pointer_sort;
 * for all else, only one at a time may use a map. It uses neither Python nor
 * Windows, and has no static data that changes. */
#ifndef WINIPC_SCAN_POINTERS_H
#define WINIPC_SCAN_POINTERS_H

#include <stddef.h>
#include <stdint.h>

/* Every 64-bit Windows has its user memory below this address. */
#define POINTER_END ((uint64_t)1 << 47)
#define POINTER_MAX_DEPTH 16
#define POINTER_MOST_THREADS 64

typedef enum {
    POINTER_DONE,
    POINTER_FULL, /* memory is short, or would exceed most_bytes */
} pointer_result;

typedef struct pointer_map pointer_map;
typedef struct pointer_walk pointer_walk;

/* NULL if memory is short. */
pointer_map *pointer_map_new(uint64_t most_bytes, unsigned threads);
void pointer_map_free(pointer_map *map);

/* Add memory that pointers lead to, in whole pages. A range that is not behind
 * those before is ignored, and so is memory beyond POINTER_END. */
pointer_result pointer_map_add_target(pointer_map *map, uint64_t start,
                                      uint64_t end);

/* Add memory where chains begin. Ranges ascend and do not touch. */
pointer_result pointer_map_add_base(pointer_map *map, uint64_t start,
                                    uint64_t end);

/* Call it after the last range and before the first block. */
pointer_result pointer_map_begin(pointer_map *map);

/* Add pointers of `width` bytes (4 or 8). Each of the n * 64 bits that is set
 * stands for the number at that offset in data, which is a pointer if it leads
 * to a target. address is that of data[0]; it ascends from call to call of a
 * thread, and the addresses of pointers are multiples of their width. *count
 * goes up by the number of pointers. */
pointer_result pointer_map_collect(pointer_map *map, unsigned thread,
                                   unsigned width, const uint64_t *bits,
                                   size_t n, const uint8_t *data,
                                   uint64_t address, uint64_t *count);

/* Some windows to sort. It is zeroed at first; pointer_sort_clear frees it. */
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

/* Call these after the last block and before the first walk: begin; then,
 * until claim returns 0, claim some windows, sort them, and take them in the
 * order of the claims. */
pointer_result pointer_map_begin_sort(pointer_map *map);
int pointer_map_claim_sort(pointer_map *map, pointer_sort *sort);
void pointer_map_sort(const pointer_map *map, pointer_sort *sort);
pointer_result pointer_map_take_sort(pointer_map *map, pointer_sort *sort);
void pointer_sort_clear(pointer_sort *sort);

uint64_t pointer_map_count(const pointer_map *map); /* pointers */
uint64_t pointer_map_bytes(const pointer_map *map); /* its memory */

/* The pointer at base, plus offsets[0], is the address of the next pointer,
 * and so on; the last sum is the address that was asked for. */
typedef struct {
    uint64_t base;
    unsigned length; /* pointers, and offsets */
    uint64_t offsets[POINTER_MAX_DEPTH];
} pointer_path;

/* Walk over all chains of 1 to depth (<= POINTER_MAX_DEPTH) pointers from a
 * base to the address, with offsets up to max_offset, that pass no place
 * twice. Short chains come first, and of equally long ones those with a small
 * last offset. The map has to outlive the walk. NULL if memory is short. */
pointer_walk *pointer_walk_new(const pointer_map *map, uint64_t address,
                               unsigned depth, uint64_t max_offset);
void pointer_walk_free(pointer_walk *walk);

/* Walk at most `steps` steps, and find at most `capacity` paths; how many were
 * found. *ended is set if there are no more. */
size_t pointer_walk_next(pointer_walk *walk, pointer_path *paths,
                         size_t capacity, size_t steps, int *ended);

#endif

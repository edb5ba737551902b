/* pointers.c: csrc/scan/pointers.c as a program, for tests/linux/test_pointers.py.
 *
 * It reads numbers, case after case:
 *
 *     width address depth max_offset most_bytes steps threads
 *     count, then start end of each target; count, then start end of each base;
 *     count of pieces, and of each: address, count of words, the words
 *
 * and answers with the count of pointers, or "full", then a line for each path,
 * base and offsets, and an empty line. */
#include "../../csrc/scan/kernels.h"
#include "../../csrc/scan/pointers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
number(void)
{
    uint64_t value;
    if (scanf("%" SCNu64, &value) != 1) {
        exit(2);
    }
    return value;
}

typedef pointer_result add_range(pointer_map *map, uint64_t start,
                                 uint64_t end);

static pointer_result
add_all(pointer_map *map, add_range *add)
{
    pointer_result result = POINTER_DONE;
    for (uint64_t n = number(); n > 0; n--) {
        uint64_t start = number(), end = number();
        result |= add(map, start, end);
    }
    return result;
}

/* Threads take turns, which the map cannot tell from running at once. */
static pointer_result
add_piece(pointer_map *map, int well, unsigned thread, unsigned width,
          uint64_t *count)
{
    const uint64_t address = number(), words = number();
    const size_t size = (size_t)(words * width);
    uint8_t *data = malloc(size + 1);
    for (uint64_t i = 0; i < words; i++) {
        uint64_t value = number();
        memcpy(data + i * width, &value, width);
    }
    scan_field field = {.type = width == 8 ? SCAN_U64 : SCAN_U32,
                        .low = {.u = 1},
                        .high = {.u = width == 8 ? UINT64_MAX : UINT32_MAX}};
    scan_spec spec = {.length = width,
                      .alignment = width,
                      .fields = &field,
                      .field_count = 1};
    scan_set *set = scan_set_new(&spec, 1, scan_best_level());
    scan_hits hits;
    pointer_result result = POINTER_DONE;
    if (set == NULL || scan_hits_init(&hits, set) < 0) {
        exit(3);
    }
    for (size_t at = 0; well && at < size; at += SCAN_BLOCK) {
        const size_t starts = size - at < SCAN_BLOCK ? size - at : SCAN_BLOCK;
        scan_block(set, &hits, data + at, size - at, starts, address + at);
        result |=
            pointer_map_collect(map, thread, width, hits.bits, SCAN_WORDS,
                                data + at, address + at, count);
        scan_discard(&hits);
    }
    scan_hits_clear(&hits);
    scan_set_free(set);
    free(data);
    return result;
}

static pointer_result
sort_all(pointer_map *map)
{
    pointer_sort sort = {0};
    pointer_result result = pointer_map_begin_sort(map);
    while (result == POINTER_DONE && pointer_map_claim_sort(map, &sort)) {
        pointer_map_sort(map, &sort);
        result = pointer_map_take_sort(map, &sort);
    }
    pointer_sort_clear(&sort);
    return result;
}

static void
walk(const pointer_map *map, uint64_t address, unsigned depth,
     uint64_t max_offset, size_t steps)
{
    pointer_walk *walk = pointer_walk_new(map, address, depth, max_offset);
    pointer_path paths[3];
    int ended = walk == NULL;
    while (!ended) {
        size_t n = pointer_walk_next(walk, paths, 3, steps, &ended);
        for (size_t i = 0; i < n; i++) {
            printf("%" PRIu64, paths[i].base);
            for (unsigned k = 0; k < paths[i].length; k++) {
                printf(" %" PRIu64, paths[i].offsets[k]);
            }
            printf("\n");
        }
    }
    pointer_walk_free(walk);
}

int
main(void)
{
    unsigned width;
    while (scanf("%u", &width) == 1) {
        const uint64_t address = number(), depth = number(), far = number();
        const uint64_t most = number(), steps = number(), threads = number();
        uint64_t count = 0;
        pointer_map *map = pointer_map_new(most, (unsigned)threads);
        if (map == NULL) {
            return 3;
        }
        pointer_result result = add_all(map, pointer_map_add_target);
        result |= add_all(map, pointer_map_add_base);
        result = result == POINTER_DONE ? pointer_map_begin(map) : result;
        for (uint64_t n = number(); n > 0; n--) {
            result |= add_piece(map, result == POINTER_DONE,
                                (unsigned)(n % threads), width, &count);
        }
        if (result == POINTER_DONE) {
            result = sort_all(map);
        }
        if (result != POINTER_DONE || count != pointer_map_count(map)) {
            printf("full\n");
        }
        else {
            printf("%" PRIu64 "\n", pointer_map_count(map));
            walk(map, address, (unsigned)depth, far, (size_t)steps);
        }
        printf("\n");
        fflush(stdout);
        pointer_map_free(map);
    }
    return 0;
}

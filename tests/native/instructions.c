/* instructions.c: one native kernel again and again, for instructions.py to count.
 *
 *   instructions KERNEL TIMES
 *
 * Two runs that differ in TIMES differ in the kernel's instructions alone. A kernel
 * does its work once and returns for how many bytes, messages or pointers. The
 * channel's functions get their system from the torture program, in which threads
 * stand for processes. */
#define main torture
#include "ring_torture.c"
#undef main

#include "../../csrc/scan/kernels.h"
#include "../../csrc/scan/pointers.h"

#define SIZE ((size_t)1 << 20)

static uint8_t data[SIZE], before[SIZE];

/* Bytes as they are in programs: mostly zeros, some small numbers, some noise. */
static void
fill(void)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < SIZE; i += 4) {
        uint32_t word = next(&seed), kind = next(&seed) % 4;
        word = kind < 2 ? 0 : kind == 2 ? word % 1000 : word;
        memcpy(data + i, &word, sizeof(word));
    }
    memcpy(before, data, SIZE);
}

static size_t
search(const scan_spec *specs, size_t count)
{
    static scan_set *set;
    static scan_hits hits;
    if (set == NULL) {
        set = scan_set_new(specs, count, scan_best_level());
        if (set == NULL || scan_hits_init(&hits, set) < 0) {
            die("scan_set_new");
        }
    }
    for (size_t at = 0; at < SIZE; at += SCAN_BLOCK) {
        scan_block(set, &hits, data + at, SIZE - at, SCAN_BLOCK, at);
        scan_discard(&hits);
    }
    return SIZE;
}

static size_t
pattern(void)
{
    scan_spec spec = {.value = (const uint8_t *)"sixteen letters.",
                      .length = 16,
                      .alignment = 1};
    return search(&spec, 1);
}

static size_t
patterns(void)
{
    static uint8_t values[16][16];
    scan_spec specs[16];
    for (unsigned i = 0; i < 16; i++) {
        memset(values[i], (int)(0x91 + 5 * i), 16);
        specs[i] =
            (scan_spec){.value = values[i], .length = 16, .alignment = 1};
    }
    return search(specs, 16);
}

static size_t
value(void)
{
    scan_field field = {
        .type = SCAN_I32, .low = {.i = 123456}, .high = {.i = 123456}};
    scan_spec spec = {
        .length = 4, .alignment = 4, .fields = &field, .field_count = 1};
    return search(&spec, 1);
}

static size_t
compare(scan_change change)
{
    static uint64_t bits[SIZE / 64];
    scan_number zero = {0};
    scan_compare(scan_best_level(), SCAN_I32, change, data, before, SIZE / 4,
                 zero, zero, bits);
    return SIZE;
}

static size_t
unchanged(void)
{
    return compare(SCAN_UNCHANGED);
}

static size_t
increased(void)
{
    return compare(SCAN_INCREASED);
}

/* A map of one pointer in 16 words, collected and sorted. */
static size_t
pointers(void)
{
    static uint64_t bits[SCAN_WORDS];
    const uint64_t base = UINT64_C(0x10000000);
    uint64_t count = 0;
    uint32_t seed = 3;
    pointer_sort sort = {0};
    pointer_map *map = pointer_map_new(UINT64_C(1) << 30, 1);
    if (map == NULL ||
        pointer_map_add_target(map, base, base + SIZE) != POINTER_DONE ||
        pointer_map_begin(map) != POINTER_DONE) {
        die("pointer_map_new");
    }
    for (size_t i = 0; i < SIZE; i += 128) {
        uint64_t word = base + next(&seed) % (SIZE / 8) * 8;
        memcpy(data + i, &word, sizeof(word));
    }
    for (size_t i = 0; i < SCAN_WORDS; i++) {
        bits[i] = i % 2 == 0; /* what a scan for such values finds */
    }
    for (size_t at = 0; at < SIZE; at += SCAN_BLOCK) {
        pointer_map_collect(map, 0, 8, bits, SCAN_WORDS, data + at, base + at,
                            &count);
    }
    pointer_map_begin_sort(map);
    while (pointer_map_claim_sort(map, &sort)) {
        pointer_map_sort(map, &sort);
        pointer_map_take_sort(map, &sort);
    }
    pointer_sort_clear(&sort);
    pointer_map_free(map);
    return (size_t)count;
}

/* Messages of 64 bytes into a ring and out of it. */
static size_t
ring(void)
{
    enum { MESSAGES = 1000 };
    static winipc_channel in, out;
    unsigned char message[64] = {0};
    uint64_t length;
    if (memory == NULL) {
        memory_size = winipc_channel_size(1024, 1016);
        memory = calloc(1, memory_size);
        winipc_ring_format(memory, 1024, 1016, 0);
        attach(&in, 1);
        attach(&out, 0);
    }
    for (int i = 0; i < MESSAGES; i++) {
        if (winipc_channel_send(&in, message, sizeof(message), 0) !=
                WINIPC_OK ||
            winipc_channel_recv(&out, message, sizeof(message), &length, 0) !=
                WINIPC_OK) {
            die("ring");
        }
    }
    return MESSAGES;
}

static const struct {
    const char *name;
    size_t (*run)(void);
} kernels[] = {
    {"pattern", pattern},     {"patterns", patterns},   {"value", value},
    {"unchanged", unchanged}, {"increased", increased}, {"pointers", pointers},
    {"ring", ring},
};

int
main(int argc, char **argv)
{
    fill();
    for (size_t i = 0; argc == 3 && i < sizeof(kernels) / sizeof(*kernels);
         i++) {
        if (strcmp(argv[1], kernels[i].name) == 0) {
            size_t done = 0;
            for (int n = atoi(argv[2]); n > 0; n--) {
                done += kernels[i].run();
            }
            printf("%zu\n", done);
            return 0;
        }
    }
    return 2;
}

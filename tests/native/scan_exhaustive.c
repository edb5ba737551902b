/* scan_exhaustive.c: the scan kernels against a naive matcher.
 *
 *     cc -O2 -fsanitize=address,undefined scan_exhaustive.c ../../csrc/scan/kernels.c
 *
 * Every pattern of up to three bytes with every mask of half bytes over an
 * alphabet of two, in all data of up to eight bytes; then every length of data
 * and pattern around the sizes of vectors, in random contents; then groups of
 * patterns, values, splits into pieces, and comparisons. Each for every
 * instruction set of this machine. The argument is how thorough to be. */
#include "naive.h"

#include <math.h>

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t
random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1d;
}

static size_t
random_below(size_t n)
{
    return (size_t)((random64() >> 20) % n);
}

/* Bytes of which few are distinct, so that near misses are many. */
static void
random_bytes(uint8_t *out, size_t n, unsigned letters)
{
    static const uint8_t alphabet[] = {0x00, 0x0f, 0xf0, 0xff, 0x10, 0x41};
    for (size_t i = 0; i < n; i++) {
        out[i] = letters > sizeof alphabet ? (uint8_t)random64()
                                           : alphabet[random_below(letters)];
    }
}

static scan_spec
bytes_spec(const uint8_t *value, const uint8_t *mask, size_t length,
           uint32_t alignment)
{
    scan_spec spec = {0};
    spec.value = value;
    spec.mask = mask;
    spec.length = length;
    spec.alignment = alignment;
    return spec;
}

/* ------------------------------------------------- everything that is small */

static void
check_small(scan_level level)
{
    static const uint8_t letters[] = {0x12, 0x32};
    static const uint8_t masks[] = {0x00, 0x0f, 0xf0, 0xff};
    for (size_t length = 1; length <= 3; length++) {
        size_t patterns = (size_t)1 << (3 * length);
        for (size_t p = 0; p < patterns; p++) {
            uint8_t value[3], mask[3];
            for (size_t i = 0; i < length; i++) {
                value[i] = letters[p >> (3 * i) & 1];
                mask[i] = masks[p >> (3 * i + 1) & 3];
            }
            scan_spec spec = bytes_spec(value, mask, length, 1);
            for (size_t size = 0; size <= 8; size++) {
                for (size_t d = 0; d < (size_t)1 << size; d++) {
                    uint8_t data[8];
                    for (size_t i = 0; i < size; i++) {
                        data[i] = letters[d >> i & 1];
                    }
                    naive_check_scan(&spec, 1, level, data, size, 0x1000,
                                     d % 4, 1 + d % 5);
                }
            }
        }
    }
}

/* ------------------------------------------------- every length and offset */

static void
check_lengths(scan_level level)
{
    uint8_t data[400], value[160], mask[160];
    for (size_t length = 1; length <= 140; length += length < 36 ? 1 : 13) {
        for (size_t size = 0; size <= 330; size += size < 140 ? 1 : 7) {
            random_bytes(data, size, 2);
            random_bytes(mask, length, 4);
            random_bytes(value, length, 2);
            /* Half of them certainly there, at the very end or anywhere. */
            if (size >= length && random_below(2)) {
                size_t at = random_below(2) ? size - length
                                            : random_below(size - length + 1);
                memcpy(value, data + at, length);
            }
            scan_spec spec = bytes_spec(
                value, random_below(2) ? mask : NULL, length,
                random_below(3) ? 1 : (uint32_t)1 << random_below(8));
            naive_check_scan(&spec, 1, level, data, size, random64() >> 8,
                             random_below(2) ? 0 : 1 + random_below(100),
                             1 + random_below(100));
        }
    }
}

/* Data of one letter, where everything matches or nearly does. */
static void
check_runs(scan_level level)
{
    static uint8_t data[3 * SCAN_BLOCK + 77], value[300];
    const size_t size = sizeof data;
    for (size_t length = 1; length <= sizeof value; length += 23) {
        for (unsigned kind = 0; kind < 4; kind++) {
            memset(data, 0, size);
            memset(value, 0, sizeof value);
            if (kind == 1) {
                value[length - 1] = 1;
                data[SCAN_BLOCK + 3] = 1;
            }
            else if (kind == 2) {
                value[0] = 1;
                data[size - length] = 1;
            }
            else if (kind == 3) {
                for (size_t i = 0; i < size; i += length) {
                    data[i] = 1;
                }
            }
            scan_spec spec = bytes_spec(value, NULL, length, 1);
            naive_check_scan(&spec, 1, level, data, size, 0x7ffe1001,
                             kind % 2 ? 20000 : 0, 1000);
        }
    }
}

/* ----------------------------------------------------- many patterns at once */

static scan_field
random_field(void)
{
    static const double floats[] = {0.0,  -0.0, 1.5,      -1.5,
                                    1e30, 0.1,  INFINITY, -INFINITY};
    scan_field field = {0};
    field.type = (scan_type)random_below(SCAN_TYPES);
    field.outside = random_below(3) == 0;
    scan_type native = naive_native(field.type);
    if (native == SCAN_F32) {
        field.low.f = (float)floats[random_below(8)];
        field.high.f = (float)floats[random_below(8)];
    }
    else if (native == SCAN_F64) {
        field.low.d = floats[random_below(8)];
        field.high.d = floats[random_below(8)];
    }
    else {
        /* In the range of the type, as its callers promise. */
        unsigned bits = 8 * (unsigned)scan_type_size(field.type);
        field.low.u = random64() >> (64 - bits) >> random_below(bits);
        field.high.u = random64() >> (64 - bits) >> random_below(bits);
        if (native % 2) { /* signed */
            field.low.i = (int64_t)(field.low.u << (64 - bits)) >> (64 - bits);
            field.high.i =
                (int64_t)(field.high.u << (64 - bits)) >> (64 - bits);
        }
    }
    return field;
}

/* A field, in an array that is used again after some rounds. */
static scan_spec
random_value_spec(uint32_t alignment)
{
    static scan_field fields[256];
    static size_t next;
    scan_field *field = &fields[next++ % 256];
    *field = random_field();
    scan_spec spec = {0};
    spec.alignment = alignment;
    spec.length = scan_type_size(field->type);
    spec.fields = field;
    spec.field_count = 1;
    return spec;
}

/* Several values at fixed distances, with bytes between them or none. */
static void
check_several(scan_level level, size_t rounds)
{
    enum { LONGEST = 40, MOST = 4 };
    static uint8_t data[SCAN_BLOCK + 900];
    uint8_t value[LONGEST], mask[LONGEST];
    scan_field fields[MOST];
    for (size_t round = 0; round < rounds; round++) {
        size_t size = random_below(random_below(8) ? 400 : sizeof data);
        random_bytes(data, size, (unsigned)(2 + random_below(6)));
        scan_spec spec = {0};
        spec.length = 8 + random_below(LONGEST - 8);
        spec.alignment = (uint32_t)1 << random_below(7);
        spec.fields = fields;
        spec.field_count = 1 + random_below(MOST);
        for (size_t i = 0; i < spec.field_count; i++) {
            fields[i] = random_field();
            size_t width = scan_type_size(fields[i].type);
            fields[i].offset = (uint32_t)random_below(spec.length - width + 1);
        }
        if (random_below(3)) {
            spec.value = value;
            spec.mask = mask;
            random_bytes(value, spec.length, 2);
            memset(mask, 0, sizeof mask);
            if (random_below(3)) {
                mask[random_below(spec.length)] = 0xff;
            }
            if (random_below(20) == 0) {
                spec.mask = NULL;
            }
            if (size >= spec.length) {
                memcpy(value, data + random_below(size - spec.length + 1),
                       spec.length);
            }
        }
        naive_check_scan(&spec, 1, level, data, size, random64() >> 1,
                         random_below(2) ? 0 : 1 + random_below(200),
                         1 + random_below(100));
    }
}

static void
check_groups(scan_level level, size_t rounds)
{
    enum { MOST = 80, LONGEST = 400 };
    static uint8_t data[2 * SCAN_BLOCK];
    static uint8_t values[MOST][LONGEST], masks[MOST][LONGEST];
    static scan_field fields[MOST];
    for (size_t round = 0; round < rounds; round++) {
        scan_spec specs[MOST];
        size_t count = 1 + random_below(random_below(4) ? 20 : MOST);
        size_t size = random_below(random_below(8) ? 700 : sizeof data);
        unsigned letters = (unsigned)(2 + random_below(6));
        random_bytes(data, size, letters);
        for (size_t i = 0; i < count; i++) {
            uint32_t alignment =
                random_below(4) ? 1 : (uint32_t)1 << random_below(9);
            if (random_below(8) == 0) {
                specs[i] = random_value_spec(alignment);
                continue;
            }
            size_t length = 1 + random_below(random_below(8) ? 9 : LONGEST);
            random_bytes(values[i], length, letters);
            random_bytes(masks[i], length, 4);
            if (size >= length && random_below(2)) {
                memcpy(values[i], data + random_below(size - length + 1),
                       length);
            }
            specs[i] = bytes_spec(values[i], random_below(3) ? NULL : masks[i],
                                  length, alignment);
            if (random_below(4) == 0) {
                do {
                    fields[i] = random_field();
                } while (scan_type_size(fields[i].type) > length);
                specs[i].fields = &fields[i];
                specs[i].field_count = 1;
            }
        }
        naive_check_scan(specs, count, level, data, size,
                         random_below(2) ? random64() >> 1 : 0,
                         random_below(2) ? 0 : 1 + random_below(900),
                         1 + random_below(1000));
    }
}

/* Patterns whose rare bytes lie at their ends, around the end of a block. */
static void
check_group_borders(scan_level level)
{
    enum { COUNT = 5 };
    static uint8_t data[SCAN_BLOCK + 600], values[COUNT][240];
    scan_spec specs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t length = 40 * (i + 1) + i;
        memset(values[i], 'a', length);
        memset(values[i] + length - 3, (int)(0x91 + i), 3);
        specs[i] = bytes_spec(values[i], NULL, length, 1);
    }
    for (size_t back = 0; back < 260; back += 17) {
        const scan_spec *spec = &specs[back % COUNT];
        memset(data, 'a', sizeof data);
        memcpy(data + SCAN_BLOCK - back, spec->value, spec->length);
        naive_check_scan(specs, COUNT, level, data, sizeof data, 64, 0, 100);
    }
}

/* Each type with each alignment, values at each phase. */
static void
check_values(scan_level level, size_t rounds)
{
    uint8_t data[700];
    for (size_t round = 0; round < rounds; round++) {
        size_t size = random_below(sizeof data);
        random_bytes(data, size, (unsigned)(2 + random_below(6)));
        scan_spec spec = random_value_spec((uint32_t)1 << random_below(7));
        naive_check_scan(&spec, 1, level, data, size, random64() >> 1,
                         random_below(2) ? 0 : 1 + random_below(200),
                         1 + random_below(100));
    }
}

/* --------------------------------------------------------------- comparisons */

static void
check_comparisons(scan_level level)
{
    static uint8_t now[8 * 300 + 1], then[8 * 300 + 1];
    for (unsigned type = 0; type < SCAN_TYPES; type++) {
        for (unsigned change = 0; change < SCAN_CHANGES; change++) {
            for (size_t n = 0; n <= 300; n += n < 140 ? 1 : 11) {
                size_t bytes = n * scan_type_size((scan_type)type);
                unsigned letters = (unsigned)(2 + random_below(6));
                random_bytes(now + 1, bytes, letters);
                random_bytes(then + 1, bytes, letters);
                for (size_t i = 0; i < bytes; i++) {
                    if (random_below(3)) {
                        then[1 + i] = now[1 + i];
                    }
                }
                scan_field field;
                do {
                    field = random_field();
                } while (field.type != (scan_type)type);
                if (change == SCAN_DELTA &&
                    naive_native((scan_type)type) >= SCAN_F32) {
                    field.low.d = -1.0;
                    field.high.d = random_below(2) ? 1.0 : 1e300;
                }
                naive_check_compare(level, (scan_type)type,
                                    (scan_change)change, now + 1, then + 1, n,
                                    field.low, field.high);
            }
        }
    }
}

static void
check_refusals(void)
{
    uint8_t byte = 0;
    scan_spec spec = bytes_spec(&byte, NULL, 1, 1);
    NAIVE_CHECK(scan_set_new(&spec, 0, SCAN_PORTABLE) == NULL);
    spec.alignment = 3;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.alignment = 0;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.alignment = 2 * SCAN_MAX_ALIGNMENT;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.alignment = 1;
    spec.length = 0;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.length = SCAN_MAX_LENGTH + 1;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.length = 1;
    NAIVE_CHECK(scan_set_new(&spec, SCAN_MAX_PATTERNS + 1, SCAN_PORTABLE) ==
                NULL);
    NAIVE_CHECK(scan_set_new(&spec, 1, (scan_level)(SCAN_AVX2 + 1)) == NULL);
    scan_field field = {0};
    spec.length = 4;
    spec.value = NULL;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.fields = &field;
    spec.field_count = 1;
    field.type = SCAN_TYPES;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    field.type = SCAN_I64BE;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    field.type = SCAN_U16;
    field.offset = 3;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    field.offset = UINT32_MAX;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    field.offset = 2;
    spec.field_count = SCAN_MAX_FIELDS + 1;
    NAIVE_CHECK(scan_set_new(&spec, 1, SCAN_PORTABLE) == NULL);
    spec.field_count = 1;
    scan_set *set = scan_set_new(&spec, 1, SCAN_PORTABLE);
    NAIVE_CHECK(set != NULL);
    scan_set_free(set);
    scan_set_free(NULL);
}

int
main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? (size_t)atoi(argv[1]) : 2000;
    check_refusals();
    for (scan_level level = SCAN_PORTABLE; level <= scan_best_level();
         level = (scan_level)(level + 1)) {
        check_small(level);
        check_lengths(level);
        check_runs(level);
        check_groups(level, rounds);
        check_group_borders(level);
        check_values(level, rounds);
        check_several(level, rounds);
        check_comparisons(level);
        printf("level %d: good\n", (int)level);
    }
    return 0;
}

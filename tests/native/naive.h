/* naive.h: what the scan kernels have to find, in the most obvious way.
 *
 * Shared by the exhaustive test and the fuzz target. */
#ifndef WINIPC_TESTS_NAIVE_H
#define WINIPC_TESTS_NAIVE_H

#include "../../csrc/scan/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAIVE_CHECK(condition)                                                \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* The obvious way is not what a sanitizer looks at; it would double its time. */
#define NAIVE                                                                 \
    __attribute__((no_sanitize("address", "undefined"))) static inline

NAIVE int
naive_is_big_endian(scan_type type)
{
    return type >= SCAN_U16BE;
}

NAIVE scan_type
naive_native(scan_type type)
{
    static const scan_type native[] = {SCAN_U16, SCAN_I16, SCAN_U32, SCAN_I32,
                                       SCAN_U64, SCAN_I64, SCAN_F32, SCAN_F64};
    return naive_is_big_endian(type) ? native[type - SCAN_U16BE] : type;
}

/* The bytes of a value as this machine has them. */
NAIVE void
naive_value(scan_type type, const uint8_t *p, uint8_t *out)
{
    size_t width = scan_type_size(type);
    for (size_t i = 0; i < width; i++) {
        out[i] = p[naive_is_big_endian(type) ? width - 1 - i : i];
    }
}

NAIVE int
naive_in_range(scan_type type, const uint8_t *p, scan_number low,
               scan_number high)
{
    uint8_t value[8];
    naive_value(type, p, value);
    switch (naive_native(type)) {
#define NAIVE_CASE(T, name, field)                                            \
    case SCAN_##name: {                                                       \
        T x;                                                                  \
        memcpy(&x, value, sizeof x);                                          \
        return x >= (T)low.field && x <= (T)high.field;                       \
    }
        NAIVE_CASE(uint8_t, U8, u)
        NAIVE_CASE(int8_t, I8, i)
        NAIVE_CASE(uint16_t, U16, u)
        NAIVE_CASE(int16_t, I16, i)
        NAIVE_CASE(uint32_t, U32, u)
        NAIVE_CASE(int32_t, I32, i)
        NAIVE_CASE(uint64_t, U64, u)
        NAIVE_CASE(int64_t, I64, i)
        NAIVE_CASE(float, F32, f)
        NAIVE_CASE(double, F64, d)
#undef NAIVE_CASE
    default:
        return 0;
    }
}

NAIVE int
naive_matches(const scan_spec *spec, const uint8_t *data, size_t size,
              size_t at, uint64_t address)
{
    if (at > size || size - at < spec->length ||
        ((address + at) & (spec->alignment - 1)) != 0) {
        return 0;
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        const scan_field *field = &spec->fields[i];
        if (naive_in_range(field->type, data + at + field->offset, field->low,
                           field->high) == field->outside) {
            return 0;
        }
    }
    for (size_t i = 0; spec->value != NULL && i < spec->length; i++) {
        uint8_t mask = spec->mask != NULL ? spec->mask[i] : 0xff;
        if ((data[at + i] & mask) != (spec->value[i] & mask)) {
            return 0;
        }
    }
    return 1;
}

/* On to the next pattern, and after the last one to the next place. */
NAIVE void
naive_next(size_t *number, size_t *at, size_t count)
{
    if (++*number == count) {
        *number = 0;
        ++*at;
    }
}

/* Scan data with the kernels, in pieces of `piece` bytes (0: at once) as a
 * reader of another process does, and compare with the obvious result. */
static inline void
naive_check_scan(const scan_spec *specs, size_t count, scan_level level,
                 const uint8_t *data, size_t size, uint64_t address,
                 size_t piece, size_t capacity)
{
    scan_set *set = scan_set_new(specs, count, level);
    NAIVE_CHECK(set != NULL);
    scan_hits hits;
    NAIVE_CHECK(scan_hits_init(&hits, set) == 0);
    scan_match *out = malloc(capacity * sizeof *out);
    NAIVE_CHECK(out != NULL);

    size_t overlap = scan_set_longest(set) - 1;
    size_t done = 0, have = 0; /* starts looked at, bytes read */
    size_t at = 0, number = 0; /* what the obvious way looks at next */
    do {
        have = piece == 0 || size - have < piece ? size : have + piece;
        /* A piece of its own, so that a sanitizer sees reads behind it. */
        size_t n = have - done;
        uint8_t *copy = malloc(n ? n : 1);
        NAIVE_CHECK(copy != NULL);
        memcpy(copy, data + done, n);
        size_t starts = have == size ? n : n > overlap ? n - overlap : 0;
        for (size_t block = 0; block < starts; block += SCAN_BLOCK) {
            size_t some = starts - block;
            some = some < SCAN_BLOCK ? some : SCAN_BLOCK;
            scan_block(set, &hits, copy + block, n - block, some,
                       address + done + block);
            size_t got;
            do {
                got = scan_drain(&hits, address + done + block, out, capacity);
                for (size_t i = 0; i < got; i++) {
                    while (!naive_matches(&specs[number], data, size, at,
                                          address)) {
                        naive_next(&number, &at, count);
                        NAIVE_CHECK(at < size); /* else: a false match */
                    }
                    NAIVE_CHECK(out[i].address == address + at);
                    NAIVE_CHECK(out[i].pattern == number);
                    naive_next(&number, &at, count);
                }
            } while (got == capacity);
        }
        done += starts;
        free(copy);
    } while (have < size);
    for (; at < size; naive_next(&number, &at, count)) {
        /* else: a match was missed */
        NAIVE_CHECK(!naive_matches(&specs[number], data, size, at, address));
    }
    free(out);
    scan_hits_clear(&hits);
    scan_set_free(set);
}

static inline int
naive_compare(scan_type type, scan_change change, const uint8_t *now,
              const uint8_t *then, scan_number low, scan_number high)
{
    const size_t width = scan_type_size(type);
    if (change == SCAN_CHANGED || change == SCAN_UNCHANGED) {
        return (memcmp(now, then, width) == 0) == (change == SCAN_UNCHANGED);
    }
    if (change == SCAN_WITHIN) {
        return naive_in_range(type, now, low, high);
    }
    uint8_t value_now[8], value_then[8];
    naive_value(type, now, value_now);
    naive_value(type, then, value_then);
    switch (naive_native(type)) {
#define NAIVE_CASE(T, name, delta)                                            \
    case SCAN_##name: {                                                       \
        T x, y;                                                               \
        memcpy(&x, value_now, sizeof x);                                      \
        memcpy(&y, value_then, sizeof y);                                     \
        return change == SCAN_INCREASED   ? x > y                             \
               : change == SCAN_DECREASED ? x < y                             \
                                          : delta;                            \
    }
#define NAIVE_INTEGER(T, U, name)                                             \
    NAIVE_CASE(T, name, (U)((U)x - (U)y - (U)low.u) <= (U)(high.u - low.u))
        NAIVE_INTEGER(uint8_t, uint8_t, U8)
        NAIVE_INTEGER(int8_t, uint8_t, I8)
        NAIVE_INTEGER(uint16_t, uint16_t, U16)
        NAIVE_INTEGER(int16_t, uint16_t, I16)
        NAIVE_INTEGER(uint32_t, uint32_t, U32)
        NAIVE_INTEGER(int32_t, uint32_t, I32)
        NAIVE_INTEGER(uint64_t, uint64_t, U64)
        NAIVE_INTEGER(int64_t, uint64_t, I64)
        NAIVE_CASE(float, F32,
                   (double)x - (double)y >= low.d &&
                       (double)x - (double)y <= high.d)
        NAIVE_CASE(double, F64, x - y >= low.d && x - y <= high.d)
#undef NAIVE_CASE
    default:
        return 0;
    }
}

static inline void
naive_check_compare(scan_level level, scan_type type, scan_change change,
                    const uint8_t *now, const uint8_t *then, size_t n,
                    scan_number low, scan_number high)
{
    const size_t width = scan_type_size(type);
    const size_t words = (n + 63) / 64;
    uint64_t *bits = malloc((words ? words : 1) * sizeof *bits);
    NAIVE_CHECK(bits != NULL);
    memset(bits, 0xa5, words * sizeof *bits);
    scan_compare(level, type, change, now, then, n, low, high, bits);
    for (size_t i = 0; i < words * 64; i++) {
        int expected = i < n && naive_compare(type, change, now + i * width,
                                              then + i * width, low, high);
        NAIVE_CHECK((int)(bits[i / 64] >> (i % 64) & 1) == expected);
    }
    free(bits);
}

#endif

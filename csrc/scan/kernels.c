/* kernels.c: finds patterns and compares values; kernels.h says what it
 * promises.
 *
 * One pattern: its anchors are the two of its bytes that are rarest in the
 * memory of programs. A vector compare of both at once leaves few start
 * positions, and each of these is verified. If many are left (runs of zeros
 * with a pattern of zeros), more bytes are compared for 64 positions at a
 * time, so no data makes it slow.
 *
 * Several patterns (AVX2): up to 32 patterns share one pass. Each has three
 * neighbouring anchor bytes. Two table look-ups per byte, by its low and its
 * high half, give the buckets of patterns, eight in all, for which a position
 * is a candidate. Such tables also hold a mask of whole nibbles exactly.
 *
 * Values in a range are compared in loops that compilers vectorise. If a
 * pattern has bytes and fields, or several fields, each is searched in the
 * whole block, and the positions that all of them find are the matches. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if SCAN_X86
#include <immintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#if defined(__clang__)
/* clang-cl's immintrin.h leaves these out unless /arch asks for AVX2. */
#include <avxintrin.h>

#include <avx2intrin.h>
#include <xsaveintrin.h>
#endif
#endif
#endif

/* ------------------------------------------------------- compiled patterns */

typedef struct {
    uint8_t *value; /* already masked; NULL if only fields matter */
    uint8_t *mask;
    uint32_t *order; /* offsets of bytes that matter, rarest first */
    size_t order_count;
    size_t length;
    int exact; /* all bits matter */
    uint32_t alignment;
    scan_field *fields;
    size_t field_count;
} scan_pattern;

/* Patterns that share one pass. */
#define GROUP_MAX 32
#define GROUP_BUCKETS 8
#define GROUP_ANCHORS 3
#define GROUP_REACH 256 /* anchors begin in so many first bytes */

typedef struct {
    uint32_t count;
    uint32_t member[GROUP_MAX]; /* by bucket */
    uint32_t offset[GROUP_MAX]; /* of the anchor in the pattern */
    uint32_t bucket[GROUP_BUCKETS + 1];
    uint32_t nearest;               /* the smallest offset */
    uint32_t farthest;              /* the largest offset */
    uint8_t low[GROUP_ANCHORS][16]; /* a bit per bucket, by half a byte */
    uint8_t high[GROUP_ANCHORS][16];
} scan_group;

typedef struct {
    int (*find_bytes)(const scan_pattern *pattern, const uint8_t *data,
                      size_t size, size_t from, size_t to, uint64_t address,
                      uint64_t *bits);
    void (*compare)(scan_type type, scan_change change, const uint8_t *now,
                    const uint8_t *then, size_t n, scan_number low,
                    scan_number high, uint64_t *bits);
} scan_kernels;

struct scan_set {
    const scan_kernels *kernels;
    scan_pattern *patterns;
    size_t count;
    scan_group *groups;
    size_t group_count;
    uint32_t *alone; /* patterns of no group */
    size_t alone_count;
    size_t longest;
};

/* X(C type, name, field of scan_number, unsigned type, how to subtract) */
#define SCAN_FOR_TYPES(X)                                                     \
    X(uint8_t, U8, u, uint8_t, SCAN_INTEGER_DELTA)                            \
    X(int8_t, I8, i, uint8_t, SCAN_INTEGER_DELTA)                             \
    X(uint16_t, U16, u, uint16_t, SCAN_INTEGER_DELTA)                         \
    X(int16_t, I16, i, uint16_t, SCAN_INTEGER_DELTA)                          \
    X(uint32_t, U32, u, uint32_t, SCAN_INTEGER_DELTA)                         \
    X(int32_t, I32, i, uint32_t, SCAN_INTEGER_DELTA)                          \
    X(uint64_t, U64, u, uint64_t, SCAN_INTEGER_DELTA)                         \
    X(int64_t, I64, i, uint64_t, SCAN_INTEGER_DELTA)                          \
    X(float, F32, f, uint32_t, SCAN_FLOAT_DELTA)                              \
    X(double, F64, d, uint64_t, SCAN_FLOAT_DELTA)

size_t
scan_type_size(scan_type type)
{
    switch (SCAN_NATIVE(type)) {
#define SCAN_SIZE_CASE(T, name, field, U, delta)                              \
    case SCAN_##name:                                                         \
        return sizeof(T);
        SCAN_FOR_TYPES(SCAN_SIZE_CASE)
#undef SCAN_SIZE_CASE
    default:
        return 0;
    }
}

/* ---------------------------------------------- helpers of all the kernels */

SCAN_INLINE uint64_t
scan_load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Whether fewer than `limit` bits are set; limit is a small constant. */
SCAN_INLINE int
scan_has_fewer(uint64_t word, unsigned limit)
{
    while (--limit > 0) {
        word &= word - 1;
    }
    return word == 0;
}

/* Copy at most `room` bytes, and fill the rest with zeros. */
static void
scan_pad(uint8_t *out, size_t room, const uint8_t *data, size_t available)
{
    size_t n = available < room ? available : room;
    memcpy(out, data, n);
    memset(out + n, 0, room - n);
}

/* A bit for each of the 64 positions from `address` on that is aligned. */
SCAN_INLINE uint64_t
scan_aligned(uint32_t alignment, uint64_t address)
{
    static const uint64_t every[] = {
        0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111,
        0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
    };
    if (alignment == 1) {
        return every[0];
    }
    uint64_t phase = (0 - address) & (alignment - 1);
    if (alignment >= 64) {
        return phase < 64 ? (uint64_t)1 << phase : 0;
    }
    return every[scan_lowest_bit(alignment)] << phase;
}

/* Bit k of word stands for the position at + k * width. Set the bits of those
 * positions that are aligned. Returns whether there is any. */
static int
scan_spread(uint64_t *bits, size_t at, uint64_t word, size_t width,
            uint32_t alignment, uint64_t address)
{
    int any = 0;
    while (word != 0) {
        size_t position = at + scan_lowest_bit(word) * width;
        word &= word - 1;
        if (((address + position) & (alignment - 1)) == 0) {
            bits[position / 64] |= (uint64_t)1 << (position % 64);
            any = 1;
        }
    }
    return any;
}

/* Whether the pattern is at p, where all its bytes are readable. */
static int
scan_verify(const scan_pattern *pattern, const uint8_t *p)
{
    const size_t length = pattern->length;
    if (pattern->exact) {
        return memcmp(p, pattern->value, length) == 0;
    }
    size_t i = 0;
    for (; length - i >= 8; i += 8) {
        if ((scan_load64(p + i) & scan_load64(pattern->mask + i)) !=
            scan_load64(pattern->value + i)) {
            return 0;
        }
    }
    for (; i < length; i++) {
        if ((p[i] & pattern->mask[i]) != pattern->value[i]) {
            return 0;
        }
    }
    return 1;
}

/* ---------------------------------------------------------------- portable */

/* Eight bytes at a time in a 64-bit integer. */
#define K(name) name##_portable
#define K_TARGET
#define K_VECTOR uint64_t
#define K_SPLAT(byte) ((uint64_t)(byte) * 0x0101010101010101)

SCAN_INLINE uint64_t
pair64_portable(const uint8_t *p0, const uint8_t *p1, uint64_t v0, uint64_t m0,
                uint64_t v1, uint64_t m1)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7f;
    uint64_t word = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t x = ((scan_load64(p0 + i) & m0) ^ v0) |
                     ((scan_load64(p1 + i) & m1) ^ v1);
        /* The top bit of each byte that is zero, and of no other. */
        uint64_t zero = ~(((x & low7) + low7) | x | low7);
        if (zero != 0) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "this code needs a little-endian machine"
#endif
            /* The top bits of eight bytes, side by side. */
            word |= (zero >> 7) * 0x0102040810204080 >> 56 << i;
        }
    }
    return word;
}

/* 64 flags, each 0 or 1, into 64 bits. */
SCAN_INLINE uint64_t
pack64_portable(const uint8_t *flags)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        word |= scan_load64(flags + i) * 0x0102040810204080 >> 56 << i;
    }
    return word;
}

#include "kernels_isa.h"

/* -------------------------------------------------------------------- AVX2 */

#if SCAN_X86

/* GCC for Windows may keep a vector on the stack at a multiple of 16 bytes
 * only, and yet store it with an instruction for multiples of 32. So nothing
 * here takes the address of a vector, and setup.py makes the assembler use
 * unaligned moves. */
#define K(name) name##_avx2
#define K_TARGET SCAN_TARGET_AVX2
#define K_VECTOR __m256i
#define K_SPLAT(byte) _mm256_set1_epi8((char)(byte))

SCAN_INLINE SCAN_TARGET_AVX2 uint64_t
pair32_avx2(const uint8_t *p0, const uint8_t *p1, __m256i v0, __m256i m0,
            __m256i v1, __m256i m1)
{
    __m256i x0 = _mm256_loadu_si256((const __m256i *)p0);
    __m256i x1 = _mm256_loadu_si256((const __m256i *)p1);
    x0 = _mm256_cmpeq_epi8(_mm256_and_si256(x0, m0), v0);
    x1 = _mm256_cmpeq_epi8(_mm256_and_si256(x1, m1), v1);
    return (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(x0, x1));
}

SCAN_INLINE SCAN_TARGET_AVX2 uint64_t
pair64_avx2(const uint8_t *p0, const uint8_t *p1, __m256i v0, __m256i m0,
            __m256i v1, __m256i m1)
{
    return pair32_avx2(p0, p1, v0, m0, v1, m1) |
           pair32_avx2(p0 + 32, p1 + 32, v0, m0, v1, m1) << 32;
}

SCAN_INLINE SCAN_TARGET_AVX2 uint64_t
pack64_avx2(const uint8_t *flags)
{
    /* Move bit 0 of each byte to bit 7, which movemask takes. */
    __m256i x0 = _mm256_loadu_si256((const __m256i *)flags);
    __m256i x1 = _mm256_loadu_si256((const __m256i *)(flags + 32));
    x0 = _mm256_slli_epi16(x0, 7);
    x1 = _mm256_slli_epi16(x1, 7);
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(x1) << 32 |
           (uint32_t)_mm256_movemask_epi8(x0);
}

#include "kernels_isa.h"

/* For each of 32 positions a byte, with a bit per bucket for which the
 * position is a candidate. */
SCAN_INLINE SCAN_TARGET_AVX2 __m256i
group32_avx2(const uint8_t *p, __m256i low0, __m256i high0, __m256i low1,
             __m256i high1, __m256i low2, __m256i high2, __m256i half)
{
#define GROUP_LOOK_UP(low, high, x)                                           \
    _mm256_and_si256(                                                         \
        _mm256_shuffle_epi8(low, _mm256_and_si256(x, half)),                  \
        _mm256_shuffle_epi8(high,                                             \
                            _mm256_and_si256(_mm256_srli_epi16(x, 4), half)))
    __m256i x0 = _mm256_loadu_si256((const __m256i *)p);
    __m256i x1 = _mm256_loadu_si256((const __m256i *)(p + 1));
    __m256i x2 = _mm256_loadu_si256((const __m256i *)(p + 2));
    return _mm256_and_si256(_mm256_and_si256(GROUP_LOOK_UP(low0, high0, x0),
                                             GROUP_LOOK_UP(low1, high1, x1)),
                            GROUP_LOOK_UP(low2, high2, x2));
#undef GROUP_LOOK_UP
}

#define GROUP_TABLE(table)                                                    \
    _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table)))

/* Mark the patterns of a group that start in [0, starts). */
static SCAN_TARGET_AVX2 void
find_group_avx2(const scan_set *set, const scan_group *group,
                const uint8_t *data, size_t size, size_t starts,
                uint64_t address, scan_hits *hits)
{
    const __m256i low0 = GROUP_TABLE(group->low[0]);
    const __m256i low1 = GROUP_TABLE(group->low[1]);
    const __m256i low2 = GROUP_TABLE(group->low[2]);
    const __m256i high0 = GROUP_TABLE(group->high[0]);
    const __m256i high1 = GROUP_TABLE(group->high[1]);
    const __m256i high2 = GROUP_TABLE(group->high[2]);
    const __m256i half = _mm256_set1_epi8(15);
    size_t end = starts + group->farthest;
    if (end > size) {
        end = size;
    }
    for (size_t at = group->nearest; at < end; at += 64) {
        uint8_t padded[64 + GROUP_ANCHORS - 1];
        const uint8_t *p = data + at;
        SCAN_PREFETCH(p);
        if (size - at < sizeof(padded)) {
            /* No anchor that fits reaches the padding. */
            scan_pad(padded, sizeof(padded), p, size - at);
            p = padded;
        }
        __m256i r0 =
            group32_avx2(p, low0, high0, low1, high1, low2, high2, half);
        __m256i r1 =
            group32_avx2(p + 32, low0, high0, low1, high1, low2, high2, half);
        __m256i either = _mm256_or_si256(r0, r1);
        if (_mm256_testz_si256(either, either)) {
            continue;
        }
        uint8_t buckets[64];
        _mm256_storeu_si256((__m256i *)buckets, r0);
        _mm256_storeu_si256((__m256i *)(buckets + 32), r1);
        const __m256i zero = _mm256_setzero_si256();
        uint64_t word = ~((uint64_t)(uint32_t)_mm256_movemask_epi8(
                              _mm256_cmpeq_epi8(r0, zero)) |
                          (uint64_t)(uint32_t)_mm256_movemask_epi8(
                              _mm256_cmpeq_epi8(r1, zero))
                              << 32);
        if (end - at < 64) {
            word &= ((uint64_t)1 << (end - at)) - 1;
        }
        /* With many candidates, a search for each pattern is cheaper. */
        if (scan_has_fewer(word, 9)) {
            while (word != 0) {
                unsigned bit = scan_lowest_bit(word);
                word &= word - 1;
                unsigned in = buckets[bit];
                while (in != 0) {
                    unsigned b = scan_lowest_bit(in);
                    in &= in - 1;
                    for (uint32_t i = group->bucket[b];
                         i < group->bucket[b + 1]; i++) {
                        const uint32_t number = group->member[i];
                        const scan_pattern *pattern = &set->patterns[number];
                        size_t start = at + bit - group->offset[i];
                        if (at + bit < group->offset[i] || start >= starts ||
                            size - start < pattern->length ||
                            ((address + start) & (pattern->alignment - 1)) ||
                            !scan_verify(pattern, data + start)) {
                            continue;
                        }
                        hits->bits[number * SCAN_WORDS + start / 64] |=
                            (uint64_t)1 << (start % 64);
                        hits->is_dirty[number] = 1;
                    }
                }
            }
            continue;
        }
        for (uint32_t i = 0; i < group->count; i++) {
            const uint32_t number = group->member[i];
            const uint32_t offset = group->offset[i];
            size_t from = at < offset ? 0 : at - offset;
            size_t to = at + 64 < offset ? 0 : at + 64 - offset;
            hits->is_dirty[number] |= (uint8_t)find_bytes_avx2(
                &set->patterns[number], data, size, from,
                to < starts ? to : starts, address,
                hits->bits + number * SCAN_WORDS);
        }
    }
}

#endif /* SCAN_X86 */

/* ------------------------------------------------------- the machine here */

#if SCAN_X86 && defined(_MSC_VER)
#if defined(__clang__)
__attribute__((target("xsave")))
#endif
static int
scan_has_avx2(void)
{
    int id[4];
    __cpuid(id, 0);
    if (id[0] < 7) {
        return 0;
    }
    __cpuid(id, 1);
    const int needed = 1 << 27 | 1 << 28; /* OSXSAVE, AVX */
    if ((id[2] & needed) != needed || (_xgetbv(0) & 6) != 6) {
        return 0;
    }
    __cpuidex(id, 7, 0);
    return (id[1] & 1 << 5) != 0;
}
#elif SCAN_X86
static int
scan_has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}
#endif

scan_level
scan_best_level(void)
{
#if SCAN_X86
    return scan_has_avx2() ? SCAN_AVX2 : SCAN_PORTABLE;
#else
    return SCAN_PORTABLE;
#endif
}

static const scan_kernels *
scan_kernels_of(scan_level level)
{
#if SCAN_X86
    return level == SCAN_AVX2 ? &kernels_avx2 : &kernels_portable;
#else
    (void)level;
    return &kernels_portable;
#endif
}

/* -------------------------------------------------------------- big-endian */

/* Copy values with their bytes in reverse order. */
static void
scan_swap(uint8_t *to, const uint8_t *from, size_t n, size_t width)
{
    switch (width) {
#define SCAN_SWAP_CASE(width)                                                 \
    case width:                                                               \
        for (size_t i = 0; i < n; i++) {                                      \
            for (size_t k = 0; k < (width); k++) {                            \
                to[i * (width) + k] = from[i * (width) + (width) - 1 - k];    \
            }                                                                 \
        }                                                                     \
        break;
        SCAN_SWAP_CASE(2)
        SCAN_SWAP_CASE(4)
        SCAN_SWAP_CASE(8)
#undef SCAN_SWAP_CASE
    default:
        break;
    }
}

/* scan_compare() by given kernels. Big-endian values are copied and swapped. */
static void
scan_compare_by(const scan_kernels *kernels, scan_type type,
                scan_change change, const uint8_t *now, const uint8_t *then,
                size_t n, scan_number low, scan_number high, uint64_t *bits)
{
    const scan_type native = SCAN_NATIVE(type);
    if (native == type || change == SCAN_CHANGED || change == SCAN_UNCHANGED) {
        kernels->compare(native, change, now, then, n, low, high, bits);
        return;
    }
    const size_t width = scan_type_size(type);
    uint8_t swapped_now[64 * 8], swapped_then[64 * 8];
    while (n > 0) {
        const size_t some = n < 64 ? n : 64;
        scan_swap(swapped_now, now, some, width);
        if (change != SCAN_WITHIN) {
            scan_swap(swapped_then, then, some, width);
        }
        kernels->compare(native, change, swapped_now, swapped_then, some, low,
                         high, bits++);
        now += some * width;
        then += some * width;
        n -= some;
    }
}

/* -------------------------------------------------------------- compilation */

/* How common each byte is in the memory of programs: 16 * log2(share) + 255.
 * Counted over code and data of system libraries, and over text. */
static const uint8_t scan_commonness[256] = {
    224, 157, 138, 133, 131, 130, 121, 116, 138, 114, 141, 108, 109, 115, 129,
    151, 132, 103, 105, 95,  106, 126, 99,  90,  123, 96,  91,  85,  98,  88,
    87,  117, 186, 98,  120, 101, 149, 112, 82,  136, 132, 121, 95,  106, 133,
    115, 130, 102, 131, 124, 108, 122, 107, 102, 95,  86,  116, 112, 112, 104,
    99,  114, 91,  94,  125, 145, 117, 119, 139, 131, 107, 107, 176, 137, 92,
    100, 144, 119, 112, 108, 127, 86,  109, 121, 123, 111, 100, 104, 103, 84,
    86,  109, 121, 110, 97,  142, 107, 148, 121, 139, 138, 162, 137, 125, 129,
    148, 90,  104, 143, 133, 148, 150, 138, 85,  152, 148, 162, 140, 110, 110,
    119, 128, 90,  88,  115, 91,  103, 89,  125, 96,  86,  142, 126, 137, 92,
    85,  104, 153, 79,  163, 95,  140, 82,  81,  106, 72,  74,  76,  84,  75,
    73,  70,  88,  71,  69,  68,  80,  68,  68,  69,  98,  76,  79,  79,  82,
    74,  74,  74,  92,  75,  76,  74,  83,  71,  74,  77,  96,  71,  84,  71,
    82,  70,  102, 84,  108, 90,  102, 79,  86,  77,  92,  88,  138, 114, 101,
    121, 114, 92,  102, 116, 106, 106, 88,  98,  153, 83,  91,  93,  109, 92,
    100, 87,  78,  79,  85,  85,  102, 87,  82,  91,  76,  75,  80,  92,  107,
    86,  87,  76,  85,  77,  82,  85,  139, 120, 87,  111, 105, 89,  86,  96,
    106, 85,  91,  90,  83,  81,  103, 96,  110, 95,  97,  94,  94,  100, 113,
    170,
};

/* About how common the bytes are that have this value under the mask: each bit
 * that does not count doubles their number. */
static uint32_t
scan_common(uint8_t value, uint8_t mask)
{
    uint32_t common = 0;
    if (mask == 0xff) {
        return scan_commonness[value];
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        if ((byte & mask) == value && scan_commonness[byte] > common) {
            common = scan_commonness[byte];
        }
    }
    for (unsigned bit = 0; bit < 8; bit++) {
        common += mask >> bit & 1 ? 0 : 8;
    }
    return common < 255 ? common : 255;
}

static int
scan_by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int
scan_compile_bytes(scan_pattern *pattern, const scan_spec *spec)
{
    const size_t length = spec->length;
    pattern->value = malloc(length);
    pattern->mask = malloc(length);
    pattern->order = malloc(length * sizeof(*pattern->order));
    if (pattern->value == NULL || pattern->mask == NULL ||
        pattern->order == NULL) {
        return -1;
    }
    size_t n = 0;
    pattern->exact = 1;
    for (size_t i = 0; i < length; i++) {
        const uint8_t mask = spec->mask != NULL ? spec->mask[i] : 0xff;
        const uint8_t value = spec->value[i] & mask;
        pattern->mask[i] = mask;
        pattern->value[i] = value;
        pattern->exact &= mask == 0xff;
        if (mask != 0) { /* rarity and offset, to sort: offsets are 16 bits */
            pattern->order[n++] = scan_common(value, mask) << 16 | (uint32_t)i;
        }
    }
    if (n == 0) { /* no byte counts: keep one, which matches everywhere */
        pattern->order[n++] = 0;
    }
    qsort(pattern->order, n, sizeof(*pattern->order), scan_by_number);
    for (size_t i = 0; i < n; i++) {
        pattern->order[i] &= 0xffff;
    }
    pattern->order_count = n;
    return 0;
}

static int
scan_compile_fields(scan_pattern *pattern, const scan_spec *spec)
{
    const size_t size = spec->field_count * sizeof(*pattern->fields);
    if (size == 0) {
        return 0;
    }
    pattern->fields = malloc(size);
    if (pattern->fields == NULL) {
        return -1;
    }
    memcpy(pattern->fields, spec->fields, size);
    pattern->field_count = spec->field_count;
    return 0;
}

/* Whether the pattern has bytes that count. A pattern of bytes without fields
 * has, even if its mask is all zeros: it matches everywhere. */
static int
scan_has_bytes(const scan_spec *spec)
{
    if (spec->value == NULL || spec->mask == NULL || spec->field_count == 0) {
        return spec->value != NULL;
    }
    for (size_t i = 0; i < spec->length; i++) {
        if (spec->mask[i] != 0) {
            return 1;
        }
    }
    return 0;
}

/* The offset of the rarest three neighbours near the start of a pattern. *rare
 * is how rare they are: each 16 halves the share of positions where they are. */
static uint32_t
scan_choose_anchor(const scan_pattern *pattern, uint32_t *rare)
{
    uint32_t best = 0;
    *rare = 0;
    for (size_t at = 0; at < pattern->length && at < GROUP_REACH; at++) {
        uint32_t sum = 0;
        for (size_t k = at; k < at + GROUP_ANCHORS && k < pattern->length;
             k++) {
            sum += 255 - scan_common(pattern->value[k], pattern->mask[k]);
        }
        if (sum > *rare) {
            *rare = sum;
            best = (uint32_t)at;
        }
    }
    return best;
}

static void
scan_fill_group(scan_group *group, const scan_set *set, const uint32_t *member,
                const uint32_t *offset, size_t count)
{
    memset(group, 0, sizeof(*group));
    group->count = (uint32_t)count;
    group->nearest = UINT32_MAX;
    for (unsigned b = 0; b <= GROUP_BUCKETS; b++) {
        group->bucket[b] = (uint32_t)(count * b / GROUP_BUCKETS);
    }
    for (unsigned b = 0; b < GROUP_BUCKETS; b++) {
        for (uint32_t i = group->bucket[b]; i < group->bucket[b + 1]; i++) {
            const scan_pattern *pattern = &set->patterns[member[i]];
            group->member[i] = member[i];
            group->offset[i] = offset[i];
            if (offset[i] < group->nearest) {
                group->nearest = offset[i];
            }
            if (offset[i] > group->farthest) {
                group->farthest = offset[i];
            }
            for (size_t k = 0; k < GROUP_ANCHORS; k++) {
                size_t at = offset[i] + k;
                uint8_t value = 0, mask = 0;
                if (at < pattern->length) {
                    value = pattern->value[at];
                    mask = pattern->mask[at];
                }
                for (unsigned half = 0; half < 16; half++) {
                    if ((half & mask & 15) == (value & 15u)) {
                        group->low[k][half] |= (uint8_t)(1u << b);
                    }
                    if ((half & mask >> 4) == (unsigned)value >> 4) {
                        group->high[k][half] |= (uint8_t)(1u << b);
                    }
                }
            }
        }
    }
}

static int
scan_compile_groups(scan_set *set, scan_level level)
{
    set->alone = malloc(set->count * sizeof(*set->alone));
    if (set->alone == NULL) {
        return -1;
    }
    uint32_t member[GROUP_MAX], offset[GROUP_MAX];
    size_t waiting = 0;
#if SCAN_X86
    size_t bytes = 0;
    for (size_t i = 0; i < set->count; i++) {
        bytes += set->patterns[i].field_count == 0;
    }
    if (level == SCAN_AVX2 && bytes >= 3) {
        set->groups = malloc((bytes / GROUP_MAX + 1) * sizeof(*set->groups));
        if (set->groups == NULL) {
            return -1;
        }
    }
#else
    (void)level;
#endif
    for (size_t i = 0; i < set->count; i++) {
        uint32_t rare = 0, anchor = 0;
        if (set->groups != NULL && set->patterns[i].field_count == 0) {
            anchor = scan_choose_anchor(&set->patterns[i], &rare);
        }
        /* A pattern that is a candidate at more than one position in 2 ** 8
         * would make the pass slow for all. */
        if (rare < 8 * 16) {
            set->alone[set->alone_count++] = (uint32_t)i;
            continue;
        }
        member[waiting] = (uint32_t)i;
        offset[waiting++] = anchor;
        if (waiting == GROUP_MAX) {
            scan_fill_group(&set->groups[set->group_count++], set, member,
                            offset, waiting);
            waiting = 0;
        }
    }
    if (waiting > 0) {
        scan_fill_group(&set->groups[set->group_count++], set, member, offset,
                        waiting);
    }
    return 0;
}

int
scan_spec_is_valid(const scan_spec *spec)
{
    uint32_t a = spec->alignment;
    if (a == 0 || (a & (a - 1)) != 0 || a > SCAN_MAX_ALIGNMENT) {
        return 0;
    }
    if (spec->length == 0 || spec->length > SCAN_MAX_LENGTH ||
        spec->field_count > SCAN_MAX_FIELDS ||
        (spec->value == NULL && spec->field_count == 0)) {
        return 0;
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        const scan_field *field = &spec->fields[i];
        size_t width = scan_type_size(field->type);
        if (width == 0 || width > spec->length ||
            field->offset > spec->length - width) {
            return 0;
        }
    }
    return 1;
}

scan_set *
scan_set_new(const scan_spec *specs, size_t count, scan_level level)
{
    if (count == 0 || count > SCAN_MAX_PATTERNS || level > scan_best_level()) {
        return NULL;
    }
    scan_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    set->kernels = scan_kernels_of(level);
    set->patterns = calloc(count, sizeof(*set->patterns));
    if (set->patterns == NULL) {
        goto failed;
    }
    set->count = count;
    for (size_t i = 0; i < count; i++) {
        scan_pattern *pattern = &set->patterns[i];
        if (!scan_spec_is_valid(&specs[i])) {
            goto failed;
        }
        pattern->alignment = specs[i].alignment;
        pattern->length = specs[i].length;
        if (scan_compile_fields(pattern, &specs[i]) < 0 ||
            (scan_has_bytes(&specs[i]) &&
             scan_compile_bytes(pattern, &specs[i]) < 0)) {
            goto failed;
        }
        if (pattern->length > set->longest) {
            set->longest = pattern->length;
        }
    }
    if (scan_compile_groups(set, level) < 0) {
        goto failed;
    }
    return set;

failed:
    scan_set_free(set);
    return NULL;
}

void
scan_set_free(scan_set *set)
{
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        free(set->patterns[i].fields);
        free(set->patterns[i].value);
        free(set->patterns[i].mask);
        free(set->patterns[i].order);
    }
    free(set->patterns);
    free(set->groups);
    free(set->alone);
    free(set);
}

size_t
scan_set_longest(const scan_set *set)
{
    return set->longest;
}

uint32_t
scan_set_alignment(const scan_set *set)
{
    uint32_t least = SCAN_MAX_ALIGNMENT; /* a power of two, as all are */
    for (size_t i = 0; i < set->count; i++) {
        if (set->patterns[i].alignment < least) {
            least = set->patterns[i].alignment;
        }
    }
    return least;
}

/* ------------------------------------------------------------------ blocks */

int
scan_hits_init(scan_hits *hits, const scan_set *set)
{
    memset(hits, 0, sizeof(*hits));
    hits->pattern_count = set->count;
    hits->bits = calloc(set->count * SCAN_WORDS, sizeof(*hits->bits));
    hits->dirty = calloc(set->count, sizeof(*hits->dirty));
    hits->is_dirty = calloc(set->count, sizeof(*hits->is_dirty));
    if (hits->bits == NULL || hits->dirty == NULL || hits->is_dirty == NULL) {
        scan_hits_clear(hits);
        return -1;
    }
    return 0;
}

void
scan_hits_clear(scan_hits *hits)
{
    free(hits->bits);
    free(hits->dirty);
    free(hits->is_dirty);
    memset(hits, 0, sizeof(*hits));
}

/* Set the bits of one field's matches that start in [0, starts). Returns
 * whether there is any. */
static int
scan_find_field(const scan_kernels *kernels, const scan_pattern *pattern,
                const scan_field *field, const uint8_t *data, size_t size,
                size_t starts, uint64_t address, uint64_t *bits)
{
    const size_t width = scan_type_size(field->type);
    if (size < pattern->length) {
        return 0;
    }
    if (starts > size - pattern->length + 1) {
        starts = size - pattern->length + 1;
    }
    data += field->offset;
    /* Overlapping values take one pass for each phase. scan_spread() checks an
     * alignment that is wider than the value. */
    const size_t step =
        pattern->alignment < width ? pattern->alignment : width;
    const size_t begin = (size_t)(0 - address) & (step - 1);
    uint64_t found[SCAN_WORDS];
    int any = 0;
    for (size_t first = begin; first < starts && first < begin + width;
         first += step) {
        const size_t n = (starts - first + width - 1) / width;
        scan_compare_by(kernels, field->type, SCAN_WITHIN, data + first,
                        data + first, n, field->low, field->high, found);
        if (field->outside) {
            scan_invert(found, n);
        }
        for (size_t w = 0; w < (n + 63) / 64; w++) {
            if (found[w] != 0) {
                any |= scan_spread(bits, first + w * 64 * width, found[w],
                                   width, pattern->alignment, address);
            }
        }
    }
    return any;
}

/* Set the bits of one pattern's matches that start in [0, starts). Returns
 * whether there is any. */
static int
scan_find_alone(const scan_kernels *kernels, const scan_pattern *pattern,
                const uint8_t *data, size_t size, size_t starts,
                uint64_t address, uint64_t *bits)
{
    size_t i = 0;
    int any = pattern->value != NULL
                  ? kernels->find_bytes(pattern, data, size, 0, starts,
                                        address, bits)
                  : scan_find_field(kernels, pattern, &pattern->fields[i++],
                                    data, size, starts, address, bits);
    for (; any && i < pattern->field_count; i++) {
        uint64_t also[SCAN_WORDS] = {0};
        scan_find_field(kernels, pattern, &pattern->fields[i], data, size,
                        starts, address, also);
        any = 0;
        for (size_t w = 0; w < SCAN_WORDS; w++) {
            bits[w] &= also[w];
            any |= bits[w] != 0;
        }
    }
    return any;
}

size_t
scan_block(const scan_set *set, scan_hits *hits, const uint8_t *data,
           size_t size, size_t starts, uint64_t address)
{
    if (starts > SCAN_BLOCK) {
        starts = SCAN_BLOCK;
    }
    if (starts > size) {
        starts = size;
    }
    for (size_t i = 0; i < set->alone_count; i++) {
        uint32_t number = set->alone[i];
        const scan_pattern *pattern = &set->patterns[number];
        uint64_t *bits = hits->bits + number * SCAN_WORDS;
        hits->is_dirty[number] = (uint8_t)scan_find_alone(
            set->kernels, pattern, data, size, starts, address, bits);
    }
#if SCAN_X86
    for (size_t i = 0; i < set->group_count; i++) {
        find_group_avx2(set, &set->groups[i], data, size, starts, address,
                        hits);
    }
#endif
    hits->word = 0;
    hits->dirty_count = 0;
    for (size_t i = 0; i < hits->pattern_count; i++) {
        if (hits->is_dirty[i]) {
            hits->dirty[hits->dirty_count++] = (uint32_t)i;
        }
    }
    return hits->dirty_count;
}

size_t
scan_drain(scan_hits *hits, uint64_t address, scan_match *out, size_t capacity)
{
    size_t n = 0;
    if (hits->dirty_count == 0) {
        return 0;
    }
    for (; hits->word < SCAN_WORDS; hits->word++) {
        uint64_t any = 0;
        for (size_t i = 0; i < hits->dirty_count; i++) {
            any |= hits->bits[hits->dirty[i] * SCAN_WORDS + hits->word];
        }
        while (any != 0) {
            unsigned bit = scan_lowest_bit(any);
            any &= any - 1;
            for (size_t i = 0; i < hits->dirty_count; i++) {
                uint64_t *bits =
                    &hits->bits[hits->dirty[i] * SCAN_WORDS + hits->word];
                if (!(*bits >> bit & 1)) {
                    continue;
                }
                if (n == capacity) {
                    return n;
                }
                *bits &= ~((uint64_t)1 << bit);
                out[n].address = address + hits->word * 64 + bit;
                out[n].pattern = hits->dirty[i];
                n++;
            }
        }
    }
    scan_discard(hits);
    return n;
}

void
scan_discard(scan_hits *hits)
{
    for (size_t i = 0; i < hits->dirty_count; i++) {
        uint32_t number = hits->dirty[i];
        memset(hits->bits + number * SCAN_WORDS, 0,
               SCAN_WORDS * sizeof(*hits->bits));
        hits->is_dirty[number] = 0;
    }
    hits->dirty_count = 0;
    hits->word = 0;
}

/* ----------------------------------------------------------------- rescans */

void
scan_compare(scan_level level, scan_type type, scan_change change,
             const void *now, const void *then, size_t n, scan_number low,
             scan_number high, uint64_t *bits)
{
    scan_compare_by(scan_kernels_of(level), type, change, now, then, n, low,
                    high, bits);
}

void
scan_invert(uint64_t *bits, size_t n)
{
    for (size_t w = 0; w < (n + 63) / 64; w++) {
        bits[w] = ~bits[w];
    }
    if (n % 64 != 0) {
        bits[n / 64] &= ((uint64_t)1 << (n % 64)) - 1;
    }
}

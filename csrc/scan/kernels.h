/* kernels.h: functions that find patterns and compare values, in plain C.
 *
 *     scan_set *set = scan_set_new(specs, count, scan_best_level());
 *     scan_hits_init(&hits, set);
 *     if (scan_block(set, &hits, data, size, starts, address) > 0) {
 *         n = scan_drain(&hits, address, matches, capacity);
 *     }
 *
 * Owner: the caller owns sets and hits. Thread: many may share a set, each
 * with its own hits. The kernels use neither Python nor Windows, have no
 * static data that changes, and read nothing outside [data, data + size), so
 * they are tested and fuzzed on any machine (tests/native, tests/fuzz).
 *
 * A block has at most SCAN_BLOCK start positions; scan_drain() returns its
 * matches in the order of (address, pattern). A match that starts in a block
 * may end behind it, up to `size`. A caller that scans piece by piece passes
 * as `size` up to scan_set_longest() - 1 bytes more than `starts`: then no
 * match is missed or found twice. */
#ifndef WINIPC_SCAN_KERNELS_H
#define WINIPC_SCAN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------- compilers and machines */

#if defined(__x86_64__) || defined(__i386__) || defined(_M_IX86) ||           \
    (defined(_M_X64) && !defined(_M_ARM64EC))
#define SCAN_X86 1
#else
#define SCAN_X86 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SCAN_INLINE static inline __attribute__((always_inline))
#define SCAN_TARGET_AVX2 __attribute__((target("avx2")))
#elif defined(_MSC_VER)
#define SCAN_INLINE static __forceinline
#define SCAN_TARGET_AVX2
#else
#define SCAN_INLINE static inline
#define SCAN_TARGET_AVX2
#endif

/* Prefetch memory ahead of the scan. The address may be beyond the end of the
 * data, since a prefetch reads nothing. The processor's own prefetching stops
 * at each page, which costs a quarter of the speed. */
#define SCAN_AHEAD 2048
#if SCAN_X86
#include <xmmintrin.h>
#define SCAN_PREFETCH(p)                                                      \
    _mm_prefetch((const char *)((uintptr_t)(p) + SCAN_AHEAD), _MM_HINT_T0)
#elif defined(__GNUC__) || defined(__clang__)
#define SCAN_PREFETCH(p)                                                      \
    __builtin_prefetch((const void *)((uintptr_t)(p) + SCAN_AHEAD))
#else
#define SCAN_PREFETCH(p) ((void)(p))
#endif

/* --------------------------------------------------------------- patterns */

#define SCAN_BLOCK 16384 /* start positions in one block; fits in L1 */
#define SCAN_WORDS (SCAN_BLOCK / 64)
#define SCAN_MAX_LENGTH 65536 /* bytes in one pattern */
#define SCAN_MAX_PATTERNS 1024
#define SCAN_MAX_FIELDS 256 /* in one pattern */
#define SCAN_MAX_ALIGNMENT 65536

/* Types of values. The order is part of the interface with Python. */
typedef enum {
    SCAN_U8,
    SCAN_I8,
    SCAN_U16,
    SCAN_I16,
    SCAN_U32,
    SCAN_I32,
    SCAN_U64,
    SCAN_I64,
    SCAN_F32,
    SCAN_F64,
    SCAN_U16BE, /* big-endian from here on, in the same order */
    SCAN_I16BE,
    SCAN_U32BE,
    SCAN_I32BE,
    SCAN_U64BE,
    SCAN_I64BE,
    SCAN_F32BE,
    SCAN_F64BE,
    SCAN_TYPES
} scan_type;

/* The type of the same numbers in the byte order of the machine. */
#define SCAN_NATIVE(type)                                                     \
    ((type) >= SCAN_U16BE                                                     \
         ? (scan_type)((int)(type) - (int)SCAN_U16BE + (int)SCAN_U16)         \
         : (type))

/* A value of one of the types: u and i for integers, f for 32-bit floats, d
 * for 64-bit ones; always in the byte order of the machine. */
typedef union {
    uint64_t u;
    int64_t i;
    float f;
    double d;
} scan_number;

/* A value from low to high, both included; or with `outside` a value that is
 * not. NaN is outside of every range. */
typedef struct {
    uint32_t offset; /* from the start of the match */
    scan_type type;
    int outside;
    scan_number low;
    scan_number high;
} scan_field;

/* What to find: `length` bytes whose bits under `mask` are those of `value`
 * (mask NULL: all bits count; value NULL: none), and whose values are as all
 * the fields say. */
typedef struct {
    const uint8_t *value;
    const uint8_t *mask;
    size_t length;
    uint32_t alignment; /* of the address of a match: a power of two */
    const scan_field *fields;
    size_t field_count;
} scan_spec;

/* Instruction sets. */
typedef enum { SCAN_PORTABLE, SCAN_AVX2 } scan_level;

/* The best level of this machine. */
scan_level scan_best_level(void);

size_t scan_type_size(scan_type type);

typedef struct scan_set scan_set;

/* Whether its length, its alignment and its fields are possible. */
int scan_spec_is_valid(const scan_spec *spec);

/* Compile 1 to SCAN_MAX_PATTERNS patterns. The set has its own copy of the
 * specs and their bytes. NULL if memory is short, if a spec is not valid, or
 * if this machine lacks the level. */
scan_set *scan_set_new(const scan_spec *specs, size_t count, scan_level level);
void scan_set_free(scan_set *set);
size_t scan_set_longest(const scan_set *set);
/* The smallest alignment of all patterns: each match is at a multiple of it. */
uint32_t scan_set_alignment(const scan_set *set);

/* ----------------------------------------------------------------- a scan */

typedef struct {
    uint64_t address;
    uint32_t pattern;
} scan_match;

/* The matches of one block: a bit for each start position of each pattern, and
 * which patterns have any. */
typedef struct {
    uint64_t *bits;  /* pattern_count * SCAN_WORDS */
    uint32_t *dirty; /* ascending numbers of patterns with hits */
    uint8_t *is_dirty;
    size_t pattern_count;
    size_t dirty_count;
    size_t word; /* where scan_drain() goes on */
} scan_hits;

int scan_hits_init(scan_hits *hits, const scan_set *set); /* 0, -1: memory */
void scan_hits_clear(scan_hits *hits);                    /* frees */

/* Find every match that starts in the first `starts` (<= SCAN_BLOCK) bytes of
 * data and ends within size. `address` is that of data[0]. The hits must be
 * drained or discarded before the next block. Returns the number of patterns
 * that have hits. */
size_t scan_block(const scan_set *set, scan_hits *hits, const uint8_t *data,
                  size_t size, size_t starts, uint64_t address);

/* Take up to `capacity` matches out of the block, in order. The block is empty
 * when dirty_count is 0. */
size_t scan_drain(scan_hits *hits, uint64_t address, scan_match *out,
                  size_t capacity);

/* Forget the matches that are left in the block. */
void scan_discard(scan_hits *hits);

/* ---------------------------------------------------------------- rescans */

typedef enum {
    SCAN_CHANGED,   /* other bytes than before */
    SCAN_UNCHANGED, /* the same bytes */
    SCAN_INCREASED,
    SCAN_DECREASED,
    SCAN_WITHIN, /* low <= now <= high */
    SCAN_DELTA,  /* low <= now - then <= high; integers wrap around; low and
                    high of floating types are in .d */
    SCAN_CHANGES
} scan_change;

/* Compare n values of one type with their earlier values. Sets bits[0] to
 * bits[(n + 63) / 64 - 1], the unused last bits to 0. now and then need no
 * alignment. */
void scan_compare(scan_level level, scan_type type, scan_change change,
                  const void *now, const void *then, size_t n, scan_number low,
                  scan_number high, uint64_t *bits);

/* Invert n bits; the unused last bits stay 0. */
void scan_invert(uint64_t *bits, size_t n);

/* ------------------------------------------------------------------- bits */

/* The number of the lowest bit that is set; word is not 0. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
SCAN_INLINE unsigned
scan_lowest_bit(uint64_t word)
{
    unsigned long index;
#if defined(_M_IX86)
    if (!_BitScanForward(&index, (unsigned long)word)) {
        _BitScanForward(&index, (unsigned long)(word >> 32));
        index += 32;
    }
#else
    _BitScanForward64(&index, word);
#endif
    return (unsigned)index;
}
#else
SCAN_INLINE unsigned
scan_lowest_bit(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word);
}
#endif

/* Set the bits of word in bits, from bit number `at` on. */
SCAN_INLINE void
scan_set_bits(uint64_t *bits, size_t at, uint64_t word)
{
    unsigned shift = (unsigned)(at % 64);
    bits[at / 64] |= word << shift;
    if (shift != 0 && word >> (64 - shift) != 0) {
        bits[at / 64 + 1] |= word >> (64 - shift);
    }
}

#endif

/* atomic.h: interlocked operations on memory that other processes share.
 *
 * The address is aligned to the width (1, 2, 4 or 8 bytes); the caller has
 * checked that. Any thread, with or without the GIL. */
#ifndef WINIPC_MEMORY_ATOMIC_H
#define WINIPC_MEMORY_ATOMIC_H

#include "base/core.h"

/* Loads before it stay before what follows it. On x86 and x64 the processor
 * keeps that order, so only the compiler has to be told. */
#if !defined(_MSC_VER) || defined(__clang__)
#define WI_ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#else
#include <intrin.h>
#if defined(_M_ARM64)
#define WI_ACQUIRE() __dmb(_ARM64_BARRIER_ISH)
#else
#define WI_ACQUIRE() _ReadWriteBarrier()
#endif
#endif

/* What the processor has for each width; atomic.c makes loops of swaps for the
 * other operations. */
#if defined(_MSC_VER) && !defined(__clang__)

#define WI_ATOMIC_DEFINE(bits, type, suffix)                                  \
    WI_ATOMIC_DEFINE_LOAD(bits)                                               \
    WI_ATOMIC_DEFINE_SWAP(bits, type, suffix)                                 \
    WI_ATOMIC_DEFINE_ONE(bits, type, exchange, _InterlockedExchange##suffix)  \
    WI_ATOMIC_DEFINE_ONE(bits, type, add, _InterlockedExchangeAdd##suffix)

#define WI_ATOMIC_DEFINE_LOAD(bits)                                           \
    WI_INLINE uint64_t wi_atomic_load##bits(const void *at)                   \
    {                                                                         \
        WI_ACQUIRE();                                                         \
        uint64_t value = *(const volatile uint##bits##_t *)at;                \
        WI_ACQUIRE();                                                         \
        return value;                                                         \
    }

#define WI_ATOMIC_DEFINE_SWAP(bits, type, suffix)                             \
    WI_INLINE uint64_t wi_atomic_swap##bits(void *at, uint64_t from,          \
                                            uint64_t to)                      \
    {                                                                         \
        return (uint##bits##_t)_InterlockedCompareExchange##suffix(           \
            (volatile type *)at, (type)to, (type)from);                       \
    }

#define WI_ATOMIC_DEFINE_ONE(bits, type, name, intrinsic)                     \
    WI_INLINE uint64_t wi_atomic_##name##bits(void *at, uint64_t value)       \
    {                                                                         \
        return (uint##bits##_t)intrinsic((volatile type *)at, (type)value);   \
    }

WI_ATOMIC_DEFINE(8, char, 8)
WI_ATOMIC_DEFINE(16, short, 16)
WI_ATOMIC_DEFINE(32, long, )
#if !defined(_M_IX86)
WI_ATOMIC_DEFINE(64, __int64, 64)
#else
/* On x86, MSVC has no other operation of 64 bits than the swap. The load must
 * not write, so it is one SSE2 access. */
#include <emmintrin.h>

WI_ATOMIC_DEFINE_SWAP(64, __int64, 64)

WI_INLINE uint64_t
wi_atomic_load64(const void *at)
{
    uint64_t value;
    WI_ACQUIRE();
    _mm_storel_epi64((__m128i *)&value, _mm_loadl_epi64((const __m128i *)at));
    WI_ACQUIRE();
    return value;
}

WI_INLINE uint64_t
wi_atomic_exchange64(void *at, uint64_t value)
{
    uint64_t before = wi_atomic_load64(at), seen;
    while ((seen = wi_atomic_swap64(at, before, value)) != before) {
        before = seen;
    }
    return before;
}

WI_INLINE uint64_t
wi_atomic_add64(void *at, uint64_t value)
{
    uint64_t before = wi_atomic_load64(at), seen;
    while ((seen = wi_atomic_swap64(at, before, before + value)) != before) {
        before = seen;
    }
    return before;
}
#endif

#else /* GCC and clang */

#define WI_ATOMIC_DEFINE(bits)                                                \
    WI_INLINE uint64_t wi_atomic_load##bits(const void *at)                   \
    {                                                                         \
        return __atomic_load_n((const uint##bits##_t *)at, __ATOMIC_SEQ_CST); \
    }                                                                         \
    WI_INLINE uint64_t wi_atomic_swap##bits(void *at, uint64_t from,          \
                                            uint64_t to)                      \
    {                                                                         \
        uint##bits##_t seen = (uint##bits##_t)from;                           \
        __atomic_compare_exchange_n((uint##bits##_t *)at, &seen,              \
                                    (uint##bits##_t)to, 0, __ATOMIC_SEQ_CST,  \
                                    __ATOMIC_SEQ_CST);                        \
        return seen; /* what was there, either way */                         \
    }                                                                         \
    WI_INLINE uint64_t wi_atomic_exchange##bits(void *at, uint64_t value)     \
    {                                                                         \
        return __atomic_exchange_n((uint##bits##_t *)at,                      \
                                   (uint##bits##_t)value, __ATOMIC_SEQ_CST);  \
    }                                                                         \
    WI_INLINE uint64_t wi_atomic_add##bits(void *at, uint64_t value)          \
    {                                                                         \
        return __atomic_fetch_add((uint##bits##_t *)at,                       \
                                  (uint##bits##_t)value, __ATOMIC_SEQ_CST);   \
    }

WI_ATOMIC_DEFINE(8)
WI_ATOMIC_DEFINE(16)
WI_ATOMIC_DEFINE(32)
WI_ATOMIC_DEFINE(64)

#endif

/* Call the function for this width. */
#define WI_ATOMIC_OF(width, name, ...)                                        \
    ((width) == 8   ? wi_atomic_##name##64(__VA_ARGS__)                       \
     : (width) == 4 ? wi_atomic_##name##32(__VA_ARGS__)                       \
     : (width) == 2 ? wi_atomic_##name##16(__VA_ARGS__)                       \
                    : wi_atomic_##name##8(__VA_ARGS__))

/* A load acquires, and does not write: the memory may be read-only. */
WI_INLINE uint64_t
wi_atomic_load(const void *at, unsigned width)
{
    return WI_ATOMIC_OF(width, load, at);
}

/* Write `to` if the number is `from`; return what it was. A full barrier. */
WI_INLINE uint64_t
wi_atomic_swap(void *at, unsigned width, uint64_t from, uint64_t to)
{
    return WI_ATOMIC_OF(width, swap, at, from, to);
}

/* Write the value; return what the number was. A full barrier. */
WI_INLINE uint64_t
wi_atomic_exchange(void *at, unsigned width, uint64_t value)
{
    return WI_ATOMIC_OF(width, exchange, at, value);
}

/* Add the value; return what the number was. A full barrier. */
WI_INLINE uint64_t
wi_atomic_add(void *at, unsigned width, uint64_t value)
{
    return WI_ATOMIC_OF(width, add, at, value);
}

#endif

/* atomic.h: interlocked operations on memory that other processes share.
 *
 * The address is aligned to the width (1, 2, 4 or 8 bytes); the caller has
 * checked that. Any thread, with or without the GIL. */
#ifndef WINIPC_MEMORY_ATOMIC_H
#define WINIPC_MEMORY_ATOMIC_H

#include "base/core.h"

/* What was read before is read before. On x86 and x64 the processor keeps the
 * order and only the compiler has to be told. */
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

/* Two operations of each width: the others are made of them. */
#if defined(_MSC_VER) && !defined(__clang__)

#define WI_ATOMIC_DEFINE(bits, type, suffix)                                  \
    WI_ATOMIC_DEFINE_LOAD(bits)                                               \
    WI_ATOMIC_DEFINE_SWAP(bits, type, suffix)

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

WI_ATOMIC_DEFINE(8, char, 8)
WI_ATOMIC_DEFINE(16, short, 16)
WI_ATOMIC_DEFINE(32, long, )
WI_ATOMIC_DEFINE_SWAP(64, __int64, 64)
#if !defined(_M_IX86)
WI_ATOMIC_DEFINE_LOAD(64)
#else
/* A load that does not write is one SSE2 access here. */
#include <emmintrin.h>

WI_INLINE uint64_t
wi_atomic_load64(const void *at)
{
    uint64_t value;
    WI_ACQUIRE();
    _mm_storel_epi64((__m128i *)&value, _mm_loadl_epi64((const __m128i *)at));
    WI_ACQUIRE();
    return value;
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
    }

WI_ATOMIC_DEFINE(8)
WI_ATOMIC_DEFINE(16)
WI_ATOMIC_DEFINE(32)
WI_ATOMIC_DEFINE(64)

#endif

/* A load acquires, and does not write: the memory may be read-only. */
WI_INLINE uint64_t
wi_atomic_load(const void *at, unsigned width)
{
    return width == 8   ? wi_atomic_load64(at)
           : width == 4 ? wi_atomic_load32(at)
           : width == 2 ? wi_atomic_load16(at)
                        : wi_atomic_load8(at);
}

/* Write `to` if the number is `from`; what it was. A full barrier. */
WI_INLINE uint64_t
wi_atomic_swap(void *at, unsigned width, uint64_t from, uint64_t to)
{
    return width == 8   ? wi_atomic_swap64(at, from, to)
           : width == 4 ? wi_atomic_swap32(at, from, to)
           : width == 2 ? wi_atomic_swap16(at, from, to)
                        : wi_atomic_swap8(at, from, to);
}

#endif

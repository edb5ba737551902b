/* atomic.h: interlocked operations on memory that other processes share.
 *
 * wi_atomic_<op><bits>(address, ...) for 8, 16, 32 and 64 bits, in plain C:
 * sequentially consistent, what Win32 calls Interlocked*. The address is
 * aligned to its width; the caller has checked that. Each returns the value
 * before the operation. A load does not write, so it also works on read-only
 * memory. Any thread, with or without the GIL.
 */
#ifndef WINIPC_MEMORY_ATOMIC_H
#define WINIPC_MEMORY_ATOMIC_H

#include "base/core.h"

#if defined(_MSC_VER) && !defined(__clang__)

#include <intrin.h>

#if defined(_M_ARM64)
#define WI_ATOMIC_FENCE() __dmb(_ARM64_BARRIER_ISH)
#else
#define WI_ATOMIC_FENCE() _ReadWriteBarrier()
#endif

#define WI_ATOMIC_DEFINE(bits, type, suffix)                                  \
    WI_INLINE uint##bits##_t wi_atomic_load##bits(const void *at)             \
    {                                                                         \
        WI_ATOMIC_FENCE();                                                    \
        uint##bits##_t value = *(const volatile uint##bits##_t *)at;          \
        WI_ATOMIC_FENCE();                                                    \
        return value;                                                         \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_exchange##bits(void *at,               \
                                                      uint##bits##_t value)   \
    {                                                                         \
        return (uint##bits##_t)_InterlockedExchange##suffix(                  \
            (volatile type *)at, (type)value);                                \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_compare_exchange##bits(                \
        void *at, uint##bits##_t expected, uint##bits##_t desired)            \
    {                                                                         \
        return (uint##bits##_t)_InterlockedCompareExchange##suffix(           \
            (volatile type *)at, (type)desired, (type)expected);              \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_add##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return (uint##bits##_t)_InterlockedExchangeAdd##suffix(               \
            (volatile type *)at, (type)value);                                \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_and##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return (uint##bits##_t)_InterlockedAnd##suffix((volatile type *)at,   \
                                                       (type)value);          \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_or##bits(void *at,                     \
                                                uint##bits##_t value)         \
    {                                                                         \
        return (uint##bits##_t)_InterlockedOr##suffix((volatile type *)at,    \
                                                      (type)value);           \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_xor##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return (uint##bits##_t)_InterlockedXor##suffix((volatile type *)at,   \
                                                       (type)value);          \
    }

WI_ATOMIC_DEFINE(8, char, 8)
WI_ATOMIC_DEFINE(16, short, 16)
WI_ATOMIC_DEFINE(32, long, )
#if defined(_M_IX86)

/* The compiler has one such operation here; a load that does not write is
 * one SSE2 access. */
#include <emmintrin.h>

WI_INLINE uint64_t
wi_atomic_load64(const void *at)
{
    uint64_t value;
    WI_ATOMIC_FENCE();
    _mm_storel_epi64((__m128i *)&value, _mm_loadl_epi64((const __m128i *)at));
    WI_ATOMIC_FENCE();
    return value;
}

WI_INLINE uint64_t
wi_atomic_compare_exchange64(void *at, uint64_t expected, uint64_t desired)
{
    return (uint64_t)_InterlockedCompareExchange64(
        (volatile __int64 *)at, (__int64)desired, (__int64)expected);
}

#define WI_ATOMIC_LOOP64(name, result)                                        \
    WI_INLINE uint64_t wi_atomic_##name##64(void *at, uint64_t value)         \
    {                                                                         \
        uint64_t before = wi_atomic_load64(at);                               \
        for (;;) {                                                            \
            uint64_t seen =                                                   \
                wi_atomic_compare_exchange64(at, before, (result));           \
            if (seen == before) {                                             \
                return before;                                                \
            }                                                                 \
            before = seen;                                                    \
        }                                                                     \
    }

WI_ATOMIC_LOOP64(exchange, value)
WI_ATOMIC_LOOP64(add, before + value)
WI_ATOMIC_LOOP64(and, before &value)
WI_ATOMIC_LOOP64(or, before | value)
WI_ATOMIC_LOOP64(xor, before ^ value)

#undef WI_ATOMIC_LOOP64

#else
WI_ATOMIC_DEFINE(64, __int64, 64)
#endif

#else /* GCC and clang */

#define WI_ATOMIC_DEFINE(bits)                                                \
    WI_INLINE uint##bits##_t wi_atomic_load##bits(const void *at)             \
    {                                                                         \
        return __atomic_load_n((const uint##bits##_t *)at, __ATOMIC_SEQ_CST); \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_exchange##bits(void *at,               \
                                                      uint##bits##_t value)   \
    {                                                                         \
        return __atomic_exchange_n((uint##bits##_t *)at, value,               \
                                   __ATOMIC_SEQ_CST);                         \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_compare_exchange##bits(                \
        void *at, uint##bits##_t expected, uint##bits##_t desired)            \
    {                                                                         \
        __atomic_compare_exchange_n((uint##bits##_t *)at, &expected, desired, \
                                    0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
        return expected; /* what was there, either way */                     \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_add##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return __atomic_fetch_add((uint##bits##_t *)at, value,                \
                                  __ATOMIC_SEQ_CST);                          \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_and##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return __atomic_fetch_and((uint##bits##_t *)at, value,                \
                                  __ATOMIC_SEQ_CST);                          \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_or##bits(void *at,                     \
                                                uint##bits##_t value)         \
    {                                                                         \
        return __atomic_fetch_or((uint##bits##_t *)at, value,                 \
                                 __ATOMIC_SEQ_CST);                           \
    }                                                                         \
    WI_INLINE uint##bits##_t wi_atomic_xor##bits(void *at,                    \
                                                 uint##bits##_t value)        \
    {                                                                         \
        return __atomic_fetch_xor((uint##bits##_t *)at, value,                \
                                  __ATOMIC_SEQ_CST);                          \
    }

WI_ATOMIC_DEFINE(8)
WI_ATOMIC_DEFINE(16)
WI_ATOMIC_DEFINE(32)
WI_ATOMIC_DEFINE(64)

#endif

#undef WI_ATOMIC_DEFINE

#endif

/* relaxed.h: the atomics of include/winipc.h without any order. Included
 * first, it makes the programs for ThreadSanitizer fail. */
#include <stdint.h>

static inline int
relaxed_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(p, &expected, desired, 0,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

#define WINIPC_LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define WINIPC_LOAD_RELAXED(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define WINIPC_LOAD_SC(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define WINIPC_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define WINIPC_STORE_RELAXED(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define WINIPC_STORE_SC(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define WINIPC_CAS(p, expected, desired) relaxed_cas(p, expected, desired)
#define WINIPC_PAUSE() ((void)0)
#define WINIPC_READ(p) (*(const volatile uint64_t *)(p))
#define WINIPC_WRITE(p, v) (*(uint64_t *)(p) = (v))

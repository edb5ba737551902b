/* ring.h: the functions of include/winipc.h as winipc._core uses them.
 *
 * Plain C without Python. The layout and the protocol are in include/winipc.h,
 * which C peers include too. This file replaces only the copy, by one that is
 * faster for large messages. */
#ifndef WINIPC_CHANNEL_RING_H
#define WINIPC_CHANNEL_RING_H

#include <stddef.h>
#include <string.h>

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

/* `rep movsb` moves whole cache lines on every x64 processor of the last ten
 * years, does not depend on the C runtime, and does not read the lines that it
 * overwrites. Its stores may become visible in any order among themselves, but
 * never after a later store to another place (Intel SDM, volume 3,
 * "Fast-String Operation and Out-of-Order Stores"). So whoever sees the new
 * tail also sees the message. */
static inline void
wi_ring_copy_large(void *to, const void *from, size_t length)
{
#if defined(_MSC_VER) && defined(_M_X64)
    __movsb((unsigned char *)to, (const unsigned char *)from, length);
#elif defined(__x86_64__)
    __asm__ volatile("rep movsb"
                     : "+D"(to), "+S"(from), "+c"(length)
                     :
                     : "memory");
#else
    memcpy(to, from, length);
#endif
}

/* Below this size a compiler's memcpy is faster, above it the instruction. */
#define WI_RING_LARGE 2048

#define WINIPC_COPY(to, from, length)                                         \
    ((length) < WI_RING_LARGE ? (void)memcpy(to, from, length)                \
                              : wi_ring_copy_large(to, from, length))

/* EVENT_QUERY_STATE too, to give an event back that a cancelled task has
 * taken. */
#define WINIPC_EVENT_ACCESS                                                   \
    (SYNCHRONIZE | EVENT_MODIFY_STATE | 1 /* EVENT_QUERY_STATE */)

#include "../../include/winipc.h"

#endif

/* ring.h: the channel's kernels as winipc._core uses them.
 *
 * Plain C, nothing of Python. The layout and the protocol are in
 * include/winipc.h, which a C peer includes as it is; here only the copy is
 * replaced by one that is made for large messages. */
#ifndef WINIPC_CHANNEL_RING_H
#define WINIPC_CHANNEL_RING_H

#include <stddef.h>

/* Below this a compiler's memcpy wins; above it the string instruction. */
#define WI_RING_LARGE 2048

void wi_ring_copy_large(void *to, const void *from, size_t length);

#define WINIPC_COPY(to, from, length)                                         \
    ((length) < WI_RING_LARGE ? (void)memcpy(to, from, length)                \
                              : wi_ring_copy_large(to, from, length))

/* A task that is cancelled gives back what it has taken. */
#define WINIPC_EVENT_ACCESS                                                   \
    (SYNCHRONIZE | EVENT_MODIFY_STATE | 1) /* EVENT_QUERY_STATE */

#include "../../include/winipc.h"

#endif

/* lane.h: the words by which a sender asks a receiver that looks, so that
 * neither has to call Windows.
 *
 * They lie in the mapping of a lane of the exchange, behind its lock and its
 * doubt (winipc/exchange/transport.py). Only the owner of the lock asks. */
#ifndef WINIPC_MESSAGE_LANE_H
#define WINIPC_MESSAGE_LANE_H

#include "base/core.h"
#include "channel/ring.h"

typedef struct {
    uint64_t lock_and_doubt[16];
    uint64_t looking; /* 128 the window whose thread looks now, or 0 */
    uint64_t wanted;  /* 136 1: a sender would have asked, but none looked */
    uint64_t most;    /* 144 the largest length that fits in its memory */
    uint64_t apart[5];
    uint64_t state;  /* 192, on a cache line of its own with these two */
    uint64_t length; /* 200 wParam of the message that is not sent */
    uint64_t answer; /* 208 what the message would have been answered */
} wi_lane;

/* A sender makes FREE ASKED, and ASKED FREE again when it waits no longer. A
 * receiver makes ASKED TAKEN, and FREE as soon as the answer is there. */
enum { LANE_FREE, LANE_ASKED, LANE_TAKEN };

/* For those who look until so many ticks. */
typedef struct {
    uint64_t until;
    unsigned int turn;
} lane_clock;

WI_INLINE uint64_t
wi_lane_ticks(uint64_t microseconds)
{
    LARGE_INTEGER frequency;
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)frequency.QuadPart * microseconds / 1000000;
}

/* Between two looks. FALSE when the time is over. */
WI_INLINE BOOL
wi_lane_pause(lane_clock *clock)
{
    WINIPC_PAUSE();
    if (++clock->turn % 32 != 0) {
        return TRUE;
    }
    SwitchToThread(); /* the other side may need this processor */
    return (int64_t)(clock->until - winipc_os_ticks()) > 0;
}

#endif

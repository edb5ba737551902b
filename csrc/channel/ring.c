/* ring.c: the copy for large messages.
 *
 * `rep movsb` moves whole cache lines on every x64 processor of the last ten
 * years, does not depend on which C runtime is linked, and does not read the
 * lines that it overwrites. Its stores may become visible in any order among
 * themselves, but never after a later store to another place (Intel SDM,
 * volume 3, "Fast-String Operation and Out-of-Order Stores"): tail, stored
 * after it, still means that the message is there. */
#include "ring.h"

#include <string.h>

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

void
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

/* winipc.h: the layouts that winipc shares with programs that are not Python.
 *
 * A single header, C11 or C++11, that needs nothing but the C library. Every
 * field is little-endian and at the offset written beside it, the same in
 * 32-bit and 64-bit programs. A reader never trusts what a peer wrote: it
 * copies a header, checks the copy against the bytes that it has mapped, and
 * uses the copy only.
 */
#ifndef WINIPC_H
#define WINIPC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define WINIPC_ASSERT(condition, text) static_assert(condition, text)
#else
#define WINIPC_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#define WINIPC_AT(type, field, at)                                            \
    WINIPC_ASSERT(offsetof(type, field) == (at), #type "." #field)

/* ===================================================== the mapping header ===
 *
 * SharedMapping.create(name, size, header=True) puts it at the start of the
 * mapping; the bytes that users share follow at `header_size`. Windows knows
 * the size of a mapping in whole pages only: `size` is the exact one.
 *
 * `layout` is what `winipc layout HEADER NAME --as c` calls NAME_LAYOUT. A
 * creator that sets it may put a description of the structure, as text for
 * messages, between this header and `header_size`.
 *
 * The creator writes `magic` last and with release semantics. A program reads
 * it with acquire semantics: if it is WINIPC_MAPPING_MAGIC, the rest is there
 * too. If it is 0, the header is not ready yet, or its creator died before it
 * was.  */

#define WINIPC_MAPPING_MAGIC 0x4D495057u /* the bytes "WPIM" */
#define WINIPC_MAPPING_VERSION 1u

typedef struct winipc_mapping_header {
    uint32_t magic;       /*  0: WINIPC_MAPPING_MAGIC */
    uint16_t version;     /*  4: WINIPC_MAPPING_VERSION */
    uint16_t header_size; /*  6: where the users' bytes begin, 64 or more */
    uint64_t size;        /*  8: the number of users' bytes */
    uint32_t owner_pid;   /* 16: the process that created the mapping */
    uint32_t flags;       /* 20: 0 in version 1 */
    uint64_t created;     /* 24: when, as a FILETIME in UTC */
    uint64_t layout;      /* 32: a hash of the structure there, 0 if none */
    uint8_t reserved[24]; /* 40: 0 in version 1 */
} winipc_mapping_header;

WINIPC_AT(winipc_mapping_header, version, 4);
WINIPC_AT(winipc_mapping_header, header_size, 6);
WINIPC_AT(winipc_mapping_header, size, 8);
WINIPC_AT(winipc_mapping_header, owner_pid, 16);
WINIPC_AT(winipc_mapping_header, flags, 20);
WINIPC_AT(winipc_mapping_header, created, 24);
WINIPC_AT(winipc_mapping_header, layout, 32);
WINIPC_AT(winipc_mapping_header, reserved, 40);
WINIPC_ASSERT(sizeof(winipc_mapping_header) == 64, "winipc_mapping_header");

/* What is wrong with a private copy of a header at the start of `mapped`
 * bytes; NULL if nothing is. */
static inline const char *
winipc_mapping_header_fault(const winipc_mapping_header *copy, uint64_t mapped)
{
    if (mapped < sizeof(*copy)) {
        return "no room for a header";
    }
    if (copy->magic == 0) {
        return "no header yet";
    }
    if (copy->magic != WINIPC_MAPPING_MAGIC) {
        return "no winipc header";
    }
    if (copy->version != WINIPC_MAPPING_VERSION) {
        return "a header of another version";
    }
    if (copy->header_size < sizeof(*copy) || copy->header_size > mapped) {
        return "a header size that cannot be";
    }
    if (copy->size == 0 || copy->size > mapped - copy->header_size) {
        return "a size that cannot be";
    }
    return NULL;
}

/* ============================================================= the channel ===
 *
 * What follows needs kernel32 on Windows, and nothing elsewhere.
 */

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#endif

#if defined(_MSC_VER)
#include <intrin.h>
#define WINIPC_INLINE static __forceinline
#define WINIPC_FUNC static __inline /* no warning when it is not used */
#else
#define WINIPC_INLINE static inline
#define WINIPC_FUNC static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* winipc.Channel: a bounded ring of messages in a named mapping, from one or
 * many producers to one consumer.
 *
 * THE LAYOUT. The mapping begins with winipc_channel_header (4096 bytes).
 * At data_offset lies the ring: `capacity` bytes (a power of two), then a run
 * of max_record + 8 bytes into which the last record of a lap may extend. So
 * every record is contiguous, and no record is ever padding.
 *
 * A record is one message: a word of 8 bytes (length in the low 32 bits,
 * WINIPC_RECORD_MARK in the high ones), `length` bytes of payload, and 0 to 7
 * bytes up to a multiple of 8. One that begins at position p lies at
 * data_offset + p % capacity. A message has at most max_record bytes; for a
 * larger one, make a channel with more capacity, or share a mapping and send
 * where in it the data is.
 *
 * `tail` is the position after the last committed record and `head` that of
 * the oldest one not yet consumed; both only grow, head <= tail and
 * tail - head <= capacity. Positions count bytes since the channel was made.
 *
 * THE PROTOCOL, and why its memory order is enough.
 *
 *  1. A producer writes a record above tail, then stores tail (release). The
 *     consumer loads tail (acquire) and reads only below it: it sees whole
 *     records. A producer that dies before the store has published nothing.
 *  2. The consumer copies a record out, then stores head (release). A
 *     producer loads head (acquire) and writes only below head + capacity:
 *     it overwrites nothing that is still being read.
 *  3. Sleeping is Dekker's pattern. The sleeper stores `wanted`, then loads
 *     the position; the waker stores the position, then loads `wanted`. All
 *     four are sequentially consistent, so one of the two sees the other:
 *     either the sleeper does not sleep or the waker signals. The waker
 *     clears `wanted` before it sets the event, never after, so a clear that
 *     hits a newer sleeper is always followed by an event that wakes it.
 *  4. Many producers take turns by `lock` (acquire CAS, release store) and
 *     then do as a single one does: tail is the only thing they share. The
 *     word names its owner, and the lock of a dead owner is taken over by
 *     one CAS; since a record counts only once tail is stored, there is
 *     nothing to repair, and the consumer never looks at the lock at all.
 *  5. With DROP_OLDEST a producer moves head itself, by CAS and only while
 *     bit 0 (BUSY) is clear; the consumer sets that bit by CAS before it
 *     reads and clears it by storing the new head. So what is read is never
 *     dropped, and what is dropped is never read.
 *  6. A member lives as long as its event exists: NAME.member.<hex>, where
 *     NAME is the channel's and <hex> are 16 digits: how often the slot was
 *     taken (6), the slot (2), the key (8). A member makes the event before
 *     one CAS puts it into its slot, and closes it after the CAS that takes
 *     it out; if its process ends in any other way, Windows closes it. Thus
 *     an occupied slot without an event is that of a dead member. The key is
 *     random, so that each member has a name that no other one had and that
 *     no process can occupy beforehand. See "whether others live" below.
 *
 * tests/native/ring_model.c runs these very functions through all
 * interleavings under a weak memory model, with kills; ring_torture.c runs
 * them on real processors.
 *
 * TRUST. The peer may write anything anywhere at any time. The constants are
 * copied at attach, after a check against the size of the view, and never
 * read again. Each position and each record word is read once, into a local,
 * and checked before use; what does not fit is WINIPC_CORRUPT.
 */

#define WINIPC_CHANNEL_MAGIC UINT64_C(0x314e414843504957) /* "WIPCHAN1" */
#define WINIPC_CHANNEL_VERSION 2u
#define WINIPC_CHANNEL_DATA_OFFSET 4096u
#define WINIPC_CHANNEL_MIN_CAPACITY 256u
#define WINIPC_CHANNEL_MAX_CAPACITY UINT64_C(0x40000000) /* 1 GiB */

/* Flags of the channel. */
#define WINIPC_CHANNEL_MANY 1u        /* many producers */
#define WINIPC_CHANNEL_DROP_OLDEST 2u /* a full ring forgets its oldest */
#define WINIPC_CHANNEL_REFUSE 4u      /* advice: senders do not wait */
#define WINIPC_CHANNEL_KNOWN_FLAGS 7u

/* Members: slot 0 is the consumer, the others are producers. */
#define WINIPC_CHANNEL_MEMBERS 64

/* The high half of the word of every record. */
#define WINIPC_RECORD_MARK 0x57490003u

/* Bit 0 of head, with DROP_OLDEST: the consumer is reading. */
#define WINIPC_HEAD_BUSY UINT64_C(1)

/* A process that takes part. word: bits 0-31 key, 32-39 state, 40-63 how
 * often the slot was taken (0 only if never). */
typedef struct winipc_member {
    uint64_t word;
    uint64_t pid; /* process id, for information */
    uint64_t reserved[2];
} winipc_member;

#define WINIPC_MEMBER_FREE 0u /* its last member has left, or none was here */
#define WINIPC_MEMBER_DIED 1u /* free too; its last member died */
#define WINIPC_MEMBER_ACTIVE 2u

typedef struct winipc_channel_header {
    /* Constants. The creator stores magic last, with release. */
    uint64_t magic;       /*    0 */
    uint32_t version;     /*    8 WINIPC_CHANNEL_VERSION */
    uint32_t data_offset; /*   12 WINIPC_CHANNEL_DATA_OFFSET */
    uint64_t capacity;    /*   16 bytes of the ring, a power of two */
    uint64_t max_record;  /*   24 payload of the largest record */
    uint32_t flags;       /*   32 */
    uint32_t members_max; /*   36 WINIPC_CHANNEL_MEMBERS */
    uint64_t size;        /*   40 bytes of all, header and ring */
    uint64_t reserved0[10];
    /* Each on its own pair of cache lines. */
    uint64_t tail; /*  128 stored by producers */
    uint64_t reserved1[15];
    uint64_t head; /*  256 stored by the consumer */
    uint64_t reserved2[15];
    uint64_t data_wanted;  /*  384 1: the consumer sleeps */
    uint64_t space_wanted; /*  392 head | 1 that a sleeping producer awaits */
    uint64_t reserved3[14];
    uint64_t lock;        /*  512 owner of the producers' lock, or 0 */
    uint64_t lock_wanted; /*  520 1: producers sleep for the lock */
    uint64_t dropped;     /*  528 messages that DROP_OLDEST forgot */
    uint64_t reserved4[61];
    winipc_member members[WINIPC_CHANNEL_MEMBERS]; /* 1024 */
    uint64_t reserved5[128];
} winipc_channel_header;

WINIPC_ASSERT(sizeof(winipc_channel_header) == WINIPC_CHANNEL_DATA_OFFSET,
              "winipc_channel_header");
WINIPC_AT(winipc_channel_header, size, 40);
WINIPC_AT(winipc_channel_header, tail, 128);
WINIPC_AT(winipc_channel_header, head, 256);
WINIPC_AT(winipc_channel_header, data_wanted, 384);
WINIPC_AT(winipc_channel_header, lock, 512);
WINIPC_AT(winipc_channel_header, members, 1024);

/* What the functions below answer. */
enum {
    WINIPC_OK = 0,
    WINIPC_EMPTY,     /* nothing to read now */
    WINIPC_FULL,      /* no room now */
    WINIPC_TIMEOUT,   /* the time given is over */
    WINIPC_CLOSED,    /* the other side has closed */
    WINIPC_BROKEN,    /* the other side has died */
    WINIPC_CORRUPT,   /* shared memory holds what it must not: see fault */
    WINIPC_TOO_LARGE, /* larger than max_record, or than the buffer */
    WINIPC_TAKEN,     /* the role is taken by a living process */
    WINIPC_FAILED,    /* a Win32 call failed: see GetLastError */
    WINIPC_ABANDONED, /* the lock is ours; its last owner died with it */
    WINIPC_NOT_OWNER  /* this thread does not have the lock */
};

/* ---- atomics. A test may define its own before it includes this header.
 *
 * The two models (tests/native) run all executions that C11 allows for these
 * orders. A processor allows no others if the instructions implement the
 * orders. With gcc and clang they do by definition. MSVC has no such
 * functions:
 *
 *   x64, x86   each load is an acquire, and each store a release. Only a
 *              store and a later load may change places, so STORE_SC is an
 *              exchange, which is locked. x86 loads and stores 64 bits by a
 *              locked instruction.
 *   ARM64      LDAR is an acquire and STLR a release. An LDAR never comes
 *              before an earlier STLR, and the Interlocked functions without
 *              a suffix are full barriers: so STORE_SC or CAS, then LOAD_SC,
 *              stay in order, which is all that Dekker's pattern needs.
 *              _RELAXED is an LDAR or STLR too. Plain words, the payload and
 *              WINIPC_READ, lie between an acquire and a release.
 */

#ifndef WINIPC_LOAD
#if defined(_MSC_VER) && !defined(__clang__)

#if defined(_M_X64) || defined(_M_IX86)
#if defined(_M_X64)
WINIPC_INLINE uint64_t
winipc_load(const volatile uint64_t *p)
{
    uint64_t value = *p; /* x64: an aligned load has acquire */
    _ReadWriteBarrier();
    return value;
}
#else
WINIPC_INLINE uint64_t
winipc_load(const volatile uint64_t *p)
{
    return (uint64_t)_InterlockedCompareExchange64((volatile __int64 *)p, 0,
                                                   0);
}
#endif
#define WINIPC_PAUSE() _mm_pause()
#else
WINIPC_INLINE uint64_t
winipc_load(const volatile uint64_t *p)
{
    return __ldar64((unsigned __int64 volatile *)p);
}
#define WINIPC_PAUSE() __yield()
#endif
WINIPC_INLINE void
winipc_store(volatile uint64_t *p, uint64_t value)
{
#if defined(_M_X64)
    _ReadWriteBarrier(); /* x64: an aligned store has release */
    *p = value;
#elif defined(_M_IX86)
    __int64 old = *(volatile __int64 *)p;
    __int64 seen;
    while ((seen = _InterlockedCompareExchange64(
                (volatile __int64 *)p, (__int64)value, old)) != old) {
        old = seen;
    }
#else
    __stlr64((unsigned __int64 volatile *)p, value);
#endif
}
WINIPC_INLINE void
winipc_store_sc(volatile uint64_t *p, uint64_t value)
{
#if defined(_M_IX86)
    winipc_store(p, value); /* a locked instruction already */
#else
    (void)_InterlockedExchange64((volatile __int64 *)p, (__int64)value);
#endif
}
WINIPC_INLINE int
winipc_cas(volatile uint64_t *p, uint64_t expected, uint64_t desired)
{
    return (uint64_t)_InterlockedCompareExchange64(
               (volatile __int64 *)p, (__int64)desired, (__int64)expected) ==
           expected;
}
#define WINIPC_LOAD(p) winipc_load(p)
#define WINIPC_LOAD_RELAXED(p) winipc_load(p)
#define WINIPC_LOAD_SC(p) winipc_load(p)
#define WINIPC_STORE(p, v) winipc_store(p, v)
#define WINIPC_STORE_RELAXED(p, v) winipc_store(p, v)
#define WINIPC_STORE_SC(p, v) winipc_store_sc(p, v)
#define WINIPC_CAS(p, expected, desired) winipc_cas(p, expected, desired)

#else /* gcc and clang */

#define WINIPC_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define WINIPC_LOAD_RELAXED(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define WINIPC_LOAD_SC(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define WINIPC_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define WINIPC_STORE_RELAXED(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define WINIPC_STORE_SC(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
WINIPC_INLINE int
winipc_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(p, &expected, desired, 0,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
#define WINIPC_CAS(p, expected, desired) winipc_cas(p, expected, desired)
#if defined(__x86_64__) || defined(__i386__)
#define WINIPC_PAUSE() __builtin_ia32_pause()
#else
#define WINIPC_PAUSE() __asm__ volatile("yield" ::: "memory")
#endif

#endif

/* The word of a record: plain memory, ordered by tail and head. It is read
 * once, so that a peer cannot change it between the check and the use. */
#define WINIPC_READ(p) (*(const volatile uint64_t *)(p))
#define WINIPC_WRITE(p, v) (*(uint64_t *)(p) = (v))
#endif /* WINIPC_LOAD */

#ifndef WINIPC_COPY
#define WINIPC_COPY(to, from, length) memcpy(to, from, length)
#endif

/* ---- one process's end of a ring: its own memory, not shared. */

typedef struct winipc_ring {
    winipc_channel_header *shared;
    unsigned char *data; /* the ring */
    uint64_t capacity;
    uint64_t max_record;
    uint32_t flags;
    uint32_t reserved;
    /* producer */
    uint64_t tail;      /* where the next record goes, maybe unpublished */
    uint64_t head_seen; /* the consumer has read at least up to here */
    uint64_t lock_id;   /* what stands in `lock` while it is ours */
    /* consumer */
    uint64_t head;       /* the next record to read */
    uint64_t tail_seen;  /* the producers have written at least up to here */
    uint64_t front_size; /* of the record that front() found */
    int claimed;         /* DROP_OLDEST: BUSY is set */
    const char *fault;   /* after WINIPC_CORRUPT: what was wrong */
} winipc_ring;

WINIPC_INLINE uint64_t
winipc_record_size(uint64_t length)
{
    return 8 + ((length + 7) & ~UINT64_C(7));
}

/* How many bytes the mapping of such a channel has. */
WINIPC_INLINE uint64_t
winipc_channel_size(uint64_t capacity, uint64_t max_record)
{
    return WINIPC_CHANNEL_DATA_OFFSET + capacity +
           winipc_record_size(max_record);
}

WINIPC_FUNC int
winipc_ring_corrupt(winipc_ring *ring, const char *fault)
{
    ring->fault = fault;
    return WINIPC_CORRUPT;
}

/* What is wrong with these constants of a channel; NULL if nothing is. */
WINIPC_FUNC const char *
winipc_channel_check(uint64_t capacity, uint64_t max_record, uint32_t flags)
{
    if (capacity < WINIPC_CHANNEL_MIN_CAPACITY ||
        capacity > WINIPC_CHANNEL_MAX_CAPACITY ||
        (capacity & (capacity - 1)) != 0) {
        return "capacity is not a power of two from 256 bytes to 1 GiB";
    }
    if (max_record < 16 || max_record > capacity - 8) {
        return "max_record is not from 16 to capacity - 8";
    }
    if ((flags & ~WINIPC_CHANNEL_KNOWN_FLAGS) != 0) {
        return "unknown flags";
    }
    return NULL;
}

/* Make a channel in zeroed memory of winipc_channel_size() bytes. */
WINIPC_FUNC int
winipc_ring_format(void *view, uint64_t capacity, uint64_t max_record,
                   uint32_t flags)
{
    winipc_channel_header *shared = (winipc_channel_header *)view;
    if (winipc_channel_check(capacity, max_record, flags) != NULL) {
        return WINIPC_TOO_LARGE;
    }
    shared->version = WINIPC_CHANNEL_VERSION;
    shared->data_offset = WINIPC_CHANNEL_DATA_OFFSET;
    shared->capacity = capacity;
    shared->max_record = max_record;
    shared->flags = flags;
    shared->members_max = WINIPC_CHANNEL_MEMBERS;
    shared->size = winipc_channel_size(capacity, max_record);
    WINIPC_STORE(&shared->magic, WINIPC_CHANNEL_MAGIC);
    return WINIPC_OK;
}

/* Check the constants against the size of the view, and copy them.
 * WINIPC_EMPTY: the creator is not ready yet; try again. */
WINIPC_FUNC int
winipc_ring_attach(winipc_ring *ring, void *view, uint64_t view_size)
{
    winipc_channel_header *shared = (winipc_channel_header *)view;
    memset(ring, 0, sizeof(*ring));
    if (view_size < sizeof(winipc_channel_header)) {
        return winipc_ring_corrupt(ring, "too small to be a channel");
    }
    uint64_t magic = WINIPC_LOAD(&shared->magic);
    if (magic == 0) {
        return WINIPC_EMPTY;
    }
    if (magic != WINIPC_CHANNEL_MAGIC) {
        return winipc_ring_corrupt(ring, "not a channel (magic)");
    }
    if (*(volatile uint32_t *)&shared->version != WINIPC_CHANNEL_VERSION) {
        return winipc_ring_corrupt(ring, "unknown version of the layout");
    }
    if (*(volatile uint32_t *)&shared->data_offset !=
        WINIPC_CHANNEL_DATA_OFFSET) {
        return winipc_ring_corrupt(ring, "wrong data_offset");
    }
    if (*(volatile uint32_t *)&shared->members_max != WINIPC_CHANNEL_MEMBERS) {
        return winipc_ring_corrupt(ring, "wrong members_max");
    }
    uint64_t capacity = *(volatile uint64_t *)&shared->capacity;
    uint64_t max_record = *(volatile uint64_t *)&shared->max_record;
    uint32_t flags = *(volatile uint32_t *)&shared->flags;
    const char *fault = winipc_channel_check(capacity, max_record, flags);
    if (fault != NULL) {
        return winipc_ring_corrupt(ring, fault);
    }
    uint64_t size = winipc_channel_size(capacity, max_record);
    if (*(volatile uint64_t *)&shared->size != size || size > view_size) {
        return winipc_ring_corrupt(ring, "size leaves the mapping");
    }
    ring->shared = shared;
    ring->data = (unsigned char *)view + WINIPC_CHANNEL_DATA_OFFSET;
    ring->capacity = capacity;
    ring->max_record = max_record;
    ring->flags = flags;
    return WINIPC_OK;
}

WINIPC_INLINE unsigned char *
winipc_ring_at(const winipc_ring *ring, uint64_t position)
{
    return ring->data + (position & (ring->capacity - 1));
}

/* Load head, check it against our own tail, and keep it without BUSY in
 * head_seen; *raw is head with BUSY. */
WINIPC_INLINE int
winipc_ring_load_head(winipc_ring *ring, uint64_t tail, uint64_t *raw)
{
    uint64_t head = WINIPC_LOAD(&ring->shared->head);
    *raw = head;
    if (ring->flags & WINIPC_CHANNEL_DROP_OLDEST) {
        head &= ~WINIPC_HEAD_BUSY;
    }
    if ((head & 7) != 0 || tail - head > ring->capacity) {
        return winipc_ring_corrupt(ring, "head");
    }
    ring->head_seen = head;
    return WINIPC_OK;
}

/* ---- producer */

/* Take tail over from the producer that wrote last: once after the role was
 * claimed, and with MANY each time after the lock was taken. */
WINIPC_INLINE int
winipc_ring_begin(winipc_ring *ring)
{
    uint64_t raw;
    uint64_t tail = WINIPC_LOAD(&ring->shared->tail);
    if ((tail & 7) != 0) {
        return winipc_ring_corrupt(ring, "tail");
    }
    ring->tail = tail;
    /* head_seen may be too old to be within capacity of this tail. */
    if (tail - ring->head_seen > ring->capacity) {
        return winipc_ring_load_head(ring, tail, &raw);
    }
    return WINIPC_OK;
}

/* Find room for a record; *payload is where its bytes go. FULL if there is no
 * room; then nothing has changed. */
WINIPC_INLINE int
winipc_ring_reserve(winipc_ring *ring, uint64_t length, void **payload)
{
    if (length > ring->max_record) {
        return WINIPC_TOO_LARGE;
    }
    uint64_t end = ring->tail + winipc_record_size(length);
    if (end - ring->head_seen > ring->capacity) {
        uint64_t raw;
        int result = winipc_ring_load_head(ring, ring->tail, &raw);
        if (result != WINIPC_OK) {
            return result;
        }
        if (end - ring->head_seen > ring->capacity) {
            return WINIPC_FULL;
        }
    }
    *payload = winipc_ring_at(ring, ring->tail) + 8;
    return WINIPC_OK;
}

/* Finish a record whose payload is written. The consumer sees it after
 * publish. */
WINIPC_INLINE void
winipc_ring_commit(winipc_ring *ring, uint64_t length)
{
    WINIPC_WRITE(winipc_ring_at(ring, ring->tail),
                 length | (uint64_t)WINIPC_RECORD_MARK << 32);
    ring->tail += winipc_record_size(length);
}

/* Show all committed records to the consumer. 1: it sleeps, so set the event
 * "data". */
WINIPC_INLINE int
winipc_ring_publish(winipc_ring *ring)
{
    WINIPC_STORE_SC(&ring->shared->tail, ring->tail);
    if (WINIPC_LOAD_SC(&ring->shared->data_wanted) != 0) {
        WINIPC_STORE_RELAXED(&ring->shared->data_wanted, 0);
        return 1;
    }
    return 0;
}

/* After FULL, before a sleep on the event "space": OK if there is room after
 * all, FULL if the consumer will now set the event. */
WINIPC_INLINE int
winipc_ring_want_space(winipc_ring *ring, uint64_t length)
{
    uint64_t target = ring->tail + winipc_record_size(length) - ring->capacity;
    if (ring->flags & WINIPC_CHANNEL_DROP_OLDEST) {
        /* Only the reading consumer is in the way: any release will do. */
        WINIPC_STORE_SC(&ring->shared->space_wanted, ring->head_seen | 1);
        uint64_t raw = WINIPC_LOAD_SC(&ring->shared->head);
        return raw & WINIPC_HEAD_BUSY ? WINIPC_FULL : WINIPC_OK;
    }
    WINIPC_STORE_SC(&ring->shared->space_wanted, target | 1);
    uint64_t head = WINIPC_LOAD_SC(&ring->shared->head) & ~UINT64_C(7);
    if ((int64_t)(head - target) >= 0) {
        return WINIPC_OK;
    }
    return WINIPC_FULL;
}

WINIPC_INLINE void
winipc_ring_unwant_space(winipc_ring *ring)
{
    WINIPC_STORE_RELAXED(&ring->shared->space_wanted, 0);
}

/* DROP_OLDEST, after FULL: forget published records until this one fits. OK,
 * or FULL while the consumer is reading the oldest. Adds to *dropped. */
WINIPC_FUNC int
winipc_ring_drop(winipc_ring *ring, uint64_t length, uint64_t *dropped)
{
    uint64_t end = ring->tail + winipc_record_size(length);
    uint64_t moved = 0; /* to where we have moved head, 0: not yet */
    for (;;) {
        uint64_t raw;
        int result = winipc_ring_load_head(ring, ring->tail, &raw);
        if (result != WINIPC_OK) {
            return result;
        }
        if (moved != 0 && (int64_t)(ring->head_seen - moved) < 0) {
            /* Only a hostile peer puts it back, and could do so forever. */
            return winipc_ring_corrupt(ring, "head");
        }
        if (end - ring->head_seen <= ring->capacity) {
            return WINIPC_OK;
        }
        if (raw & WINIPC_HEAD_BUSY) {
            return WINIPC_FULL;
        }
        uint64_t word = WINIPC_READ(winipc_ring_at(ring, raw));
        uint64_t size = winipc_record_size((uint32_t)word);
        if (size > ring->tail - raw) {
            return winipc_ring_corrupt(ring, "record");
        }
        if (WINIPC_CAS(&ring->shared->head, raw, raw + size)) {
            *dropped += 1;
            moved = raw + size;
        }
    }
}

/* ---- the producers' lock (MANY) */

WINIPC_INLINE int
winipc_ring_trylock(winipc_ring *ring)
{
    return WINIPC_LOAD_RELAXED(&ring->shared->lock) == 0 &&
           WINIPC_CAS(&ring->shared->lock, 0, ring->lock_id);
}

/* Before a sleep on the event "lock": OK if the lock is ours after all. */
WINIPC_INLINE int
winipc_ring_want_lock(winipc_ring *ring)
{
    WINIPC_STORE_SC(&ring->shared->lock_wanted, 1);
    return WINIPC_CAS(&ring->shared->lock, 0, ring->lock_id) ? WINIPC_OK
                                                             : WINIPC_FULL;
}

/* A producer that slept does not know whether others still sleep, so the next
 * unlock wakes one more: also if the lock was taken before it woke. */
WINIPC_INLINE void
winipc_ring_slept_for_lock(winipc_ring *ring)
{
    WINIPC_STORE_RELAXED(&ring->shared->lock_wanted, 1);
}

/* 1: producers sleep for it, so set the event "lock". */
WINIPC_INLINE int
winipc_ring_unlock(winipc_ring *ring)
{
    WINIPC_STORE_SC(&ring->shared->lock, 0);
    if (WINIPC_LOAD_SC(&ring->shared->lock_wanted) != 0) {
        WINIPC_STORE_RELAXED(&ring->shared->lock_wanted, 0);
        return 1;
    }
    return 0;
}

/* Take the lock over from a dead owner. 1 if it is ours now. */
WINIPC_INLINE int
winipc_ring_steal(winipc_ring *ring, uint64_t owner)
{
    return owner != ring->lock_id &&
           WINIPC_CAS(&ring->shared->lock, owner, ring->lock_id);
}

/* ---- consumer */

/* Take head over from the last consumer: once after the role was claimed.
 * Clears the BUSY of one that died. */
WINIPC_FUNC int
winipc_ring_resume(winipc_ring *ring)
{
    uint64_t tail, head;
    int drops = (ring->flags & WINIPC_CHANNEL_DROP_OLDEST) != 0;
    for (;;) {
        uint64_t raw = WINIPC_LOAD(&ring->shared->head);
        head = drops ? raw & ~WINIPC_HEAD_BUSY : raw;
        if (raw == head || WINIPC_CAS(&ring->shared->head, raw, head)) {
            break;
        }
    }
    tail = WINIPC_LOAD(&ring->shared->tail);
    if ((head & 7) != 0 || (tail & 7) != 0) {
        return winipc_ring_corrupt(ring, "head or tail");
    }
    if (!drops && tail - head > ring->capacity) {
        return winipc_ring_corrupt(ring, "tail is not within capacity");
    }
    ring->head = head;
    ring->tail_seen = head;
    ring->claimed = 0;
    return WINIPC_OK;
}

/* The oldest record: where its payload is, and its length. EMPTY if there is
 * none. It stays until pop and release. With DROP_OLDEST it is
 * claimed as well, and release (or front again) has to follow. */
WINIPC_INLINE int
winipc_ring_front(winipc_ring *ring, const void **payload, uint32_t *length)
{
    if ((ring->flags & WINIPC_CHANNEL_DROP_OLDEST) && !ring->claimed) {
        /* The producers move head too: load it, and claim it by BUSY. */
        for (;;) {
            uint64_t head = WINIPC_LOAD(&ring->shared->head);
            uint64_t tail = WINIPC_LOAD(&ring->shared->tail);
            if (head == tail) {
                ring->head = ring->tail_seen = head;
                return WINIPC_EMPTY;
            }
            if ((head & 7) != 0) {
                return winipc_ring_corrupt(ring, "head");
            }
            if (!WINIPC_CAS(&ring->shared->head, head,
                            head | WINIPC_HEAD_BUSY)) {
                continue; /* one message fewer: this ends */
            }
            ring->claimed = 1;
            ring->head = ring->tail_seen = head;
            break;
        }
    }
    if (ring->head == ring->tail_seen) {
        uint64_t tail = WINIPC_LOAD(&ring->shared->tail);
        if ((tail & 7) != 0 || tail - ring->head > ring->capacity) {
            return winipc_ring_corrupt(ring, "tail");
        }
        ring->tail_seen = tail;
        if (tail == ring->head) {
            return WINIPC_EMPTY;
        }
    }
    const unsigned char *at = winipc_ring_at(ring, ring->head);
    uint64_t word = WINIPC_READ(at);
    uint32_t bytes = (uint32_t)word;
    if (bytes > ring->max_record ||
        winipc_record_size(bytes) > ring->tail_seen - ring->head ||
        word >> 32 != WINIPC_RECORD_MARK) {
        return winipc_ring_corrupt(ring, "record");
    }
    ring->front_size = winipc_record_size(bytes);
    *payload = at + 8;
    *length = bytes;
    return WINIPC_OK;
}

/* Go on to the next record after the one that front() found. release gives its
 * room back. */
WINIPC_INLINE void
winipc_ring_pop(winipc_ring *ring)
{
    ring->head += ring->front_size;
}

/* Give the room of all popped records back. 1: a producer sleeps for it, so
 * set the event "space". With DROP_OLDEST head is the producers' to move while
 * no record is claimed, and there is nothing to give back. */
WINIPC_INLINE int
winipc_ring_release(winipc_ring *ring)
{
    if ((ring->flags & WINIPC_CHANNEL_DROP_OLDEST) && !ring->claimed) {
        return 0;
    }
    ring->claimed = 0;
    WINIPC_STORE_SC(&ring->shared->head, ring->head);
    uint64_t wanted = WINIPC_LOAD_SC(&ring->shared->space_wanted);
    if (wanted != 0 && (int64_t)(ring->head - (wanted & ~UINT64_C(7))) >= 0) {
        WINIPC_STORE_RELAXED(&ring->shared->space_wanted, 0);
        return 1;
    }
    return 0;
}

/* After EMPTY, before a sleep on the event "data": OK if there is something
 * after all, EMPTY if a producer will now set the event. */
WINIPC_INLINE int
winipc_ring_want_data(winipc_ring *ring)
{
    WINIPC_STORE_SC(&ring->shared->data_wanted, 1);
    return WINIPC_LOAD_SC(&ring->shared->tail) != ring->head ? WINIPC_OK
                                                             : WINIPC_EMPTY;
}

WINIPC_INLINE void
winipc_ring_unwant_data(winipc_ring *ring)
{
    WINIPC_STORE_RELAXED(&ring->shared->data_wanted, 0);
}

/* Cheap looks for a spinning thread: is a try worth it? */
WINIPC_INLINE int
winipc_ring_has_data(const winipc_ring *ring)
{
    return WINIPC_LOAD(&ring->shared->tail) != ring->head;
}

WINIPC_INLINE int
winipc_ring_has_space(const winipc_ring *ring, uint64_t length)
{
    uint64_t head = WINIPC_LOAD(&ring->shared->head);
    if (ring->flags & WINIPC_CHANNEL_DROP_OLDEST) {
        return !(head & WINIPC_HEAD_BUSY);
    }
    return ring->tail + winipc_record_size(length) - head <= ring->capacity;
}

/* ---- members */

#define WINIPC_MEMBER_KEY(word) ((uint32_t)(word))
#define WINIPC_MEMBER_STATE(word) ((uint32_t)((word) >> 32) & 0xffu)
#define WINIPC_MEMBER_TAKES(word) ((uint32_t)((word) >> 40))

/* The word of the next member of a slot whose word is `seen`. */
WINIPC_INLINE uint64_t
winipc_member_next(uint64_t seen, uint32_t key)
{
    uint64_t takes = (WINIPC_MEMBER_TAKES(seen) + 1) & 0xffffffu;
    return (takes == 0 ? 1 : takes) << 40 |
           (uint64_t)WINIPC_MEMBER_ACTIVE << 32 | key;
}

/* Empty a slot: our own, or that of a dead member. The slot keeps its count,
 * so that "has left" differs from "was never here". */
WINIPC_INLINE void
winipc_member_leave(winipc_ring *ring, unsigned int slot, uint64_t word,
                    uint32_t state)
{
    WINIPC_CAS(&ring->shared->members[slot].word, word,
               (uint64_t)WINIPC_MEMBER_TAKES(word) << 40 | (uint64_t)state
                                                               << 32);
}

/* What stands in `lock` while the member of this slot owns it. */
WINIPC_INLINE uint64_t
winipc_member_lock_id(unsigned int slot, uint64_t word)
{
    return (uint64_t)slot | (uint64_t)WINIPC_MEMBER_TAKES(word) << 8;
}

/* ---- a channel: a ring, its members, and how to wait. The functions
 * winipc_os_* depend on the operating system; a test may bring its own. */

enum { WINIPC_WAKE_DATA = 0, WINIPC_WAKE_SPACE = 1, WINIPC_WAKE_LOCK = 2 };

/* The longest sleep: then a thread sees what a killed peer did not signal. */
#define WINIPC_SLICE_MS 100u
/* How often calls that do not wait ask the system whether a peer lives. */
#define WINIPC_LOOK_MS 500u
#define WINIPC_INFINITE UINT32_MAX

#ifdef _WIN32
typedef struct winipc_os {
    HANDLE mapping;
    HANDLE events[3];
    HANDLE lives[2];       /* of this member as sender, as receiver */
    wchar_t *name;         /* of the channel; from the process's heap */
    uint64_t ticks_per_us; /* of QueryPerformanceCounter, at least 1 */
    uint64_t spin[3];      /* ticks to spin before a sleep, adapting */
    uint64_t began[3];     /* when the current wait began */
    int one_cpu;           /* yield, do not spin */
    const char *call;      /* the Win32 call that create or open failed in */
    const wchar_t *suffix; /* of the object's name that the call was for */
} winipc_os;
#define WINIPC_HAVE_OS
#endif

#ifdef WINIPC_HAVE_OS

/* A zeroed channel is closed. One thread at a time may send on it, and one may
 * receive at the same time. */
typedef struct winipc_channel {
    winipc_ring ring;
    winipc_os os;
    uint64_t send_word; /* our word as a producer; 0 if we are none */
    uint64_t recv_word; /* our word as the consumer; 0 if we are not */
    unsigned int send_slot;
    int locked;         /* the producers' lock is ours */
    uint64_t looked[2]; /* ms: the last look, as sender and as receiver */
} winipc_channel;

WINIPC_FUNC void winipc_os_signal(winipc_channel *ch, int which);
/* OK: woken. TIMEOUT: look whether peers have died. FAILED. */
WINIPC_FUNC int winipc_os_sleep(winipc_channel *ch, int which, uint32_t ms);
/* 1: try again. 0: sleep. */
WINIPC_FUNC int winipc_os_spin(winipc_channel *ch, int which, uint64_t length);
/* Make and close the event by which this process lives as the member with this
 * word. 0 if Windows makes no event of this name. */
WINIPC_FUNC int winipc_os_live(winipc_channel *ch, int receive,
                               unsigned int slot, uint64_t word);
WINIPC_FUNC void winipc_os_end(winipc_channel *ch, int receive);
/* 1 if this member is surely dead, or has left meanwhile. */
WINIPC_FUNC int winipc_os_dead(winipc_channel *ch, unsigned int slot,
                               uint64_t word);
WINIPC_FUNC uint32_t winipc_os_pid(void);
WINIPC_FUNC uint32_t winipc_os_key(winipc_channel *ch);
WINIPC_FUNC uint64_t winipc_os_ms(void);

WINIPC_INLINE int
winipc_channel_ready(const winipc_channel *ch, int which, uint64_t length)
{
    switch (which) {
    case WINIPC_WAKE_DATA:
        return winipc_ring_has_data(&ch->ring);
    case WINIPC_WAKE_SPACE:
        return winipc_ring_has_space(&ch->ring, length);
    default:
        return WINIPC_LOAD(&ch->ring.shared->lock) == 0;
    }
}

/* Look for a microsecond or two, without a clock. */
WINIPC_FUNC int
winipc_channel_look(const winipc_channel *ch, int which, uint64_t length)
{
    for (int i = 0; i < 160; i++) {
        if (winipc_channel_ready(ch, which, length)) {
            return 1;
        }
        if (i >= 128) { /* a pause may take 50 ns */
            WINIPC_PAUSE();
        }
    }
    return 0;
}

WINIPC_INLINE unsigned int
winipc_channel_slots(const winipc_channel *ch)
{
    return ch->ring.flags & WINIPC_CHANNEL_MANY ? WINIPC_CHANNEL_MEMBERS : 2;
}

/* Free the lock and the slot of a dead member, and wake the peers that it may
 * have left asleep. Each step may be done twice, or by another process; if the
 * member has left meanwhile, nothing changes. */
WINIPC_FUNC void
winipc_channel_bury(winipc_channel *ch, unsigned int slot, uint64_t word)
{
    if (slot != 0) {
        WINIPC_CAS(&ch->ring.shared->lock, winipc_member_lock_id(slot, word),
                   0);
    }
    winipc_member_leave(&ch->ring, slot, word, WINIPC_MEMBER_DIED);
    winipc_os_signal(ch, WINIPC_WAKE_DATA);
    winipc_os_signal(ch, WINIPC_WAKE_LOCK);
}

/* The word of a slot. With `look`, a dead member is buried first. */
WINIPC_FUNC uint64_t
winipc_channel_member(winipc_channel *ch, unsigned int slot, int look)
{
    uint64_t *at = &ch->ring.shared->members[slot].word;
    uint64_t word = WINIPC_LOAD(at);
    if (look && WINIPC_MEMBER_STATE(word) == WINIPC_MEMBER_ACTIVE &&
        winipc_os_dead(ch, slot, word)) {
        winipc_channel_bury(ch, slot, word);
        word = WINIPC_LOAD(at);
    }
    return word;
}

WINIPC_FUNC void
winipc_channel_unlock(winipc_channel *ch)
{
    if (ch->locked) {
        ch->locked = 0;
        if (winipc_ring_unlock(&ch->ring)) {
            winipc_os_signal(ch, WINIPC_WAKE_LOCK);
        }
    }
}

/* Give the roles back, and tell the other side. */
WINIPC_FUNC void
winipc_channel_leave(winipc_channel *ch, int receive)
{
    if (receive && ch->recv_word != 0) {
        if (ch->ring.claimed) {
            winipc_ring_release(&ch->ring);
        }
        winipc_member_leave(&ch->ring, 0, ch->recv_word, WINIPC_MEMBER_FREE);
        winipc_os_end(ch, 1);
        ch->recv_word = 0;
        winipc_os_signal(ch, WINIPC_WAKE_SPACE);
        winipc_os_signal(ch, WINIPC_WAKE_LOCK);
    }
    if (!receive && ch->send_word != 0) {
        winipc_channel_unlock(ch);
        winipc_member_leave(&ch->ring, ch->send_slot, ch->send_word,
                            WINIPC_MEMBER_FREE);
        winipc_os_end(ch, 0);
        ch->send_word = 0;
        winipc_os_signal(ch, WINIPC_WAKE_DATA);
    }
}

/* How many keys a member tries. Only a hostile process occupies one. */
#define WINIPC_KEYS 8

/* Become the consumer (receive) or a producer. TAKEN if a living member has
 * the role. FAILED: no event could be made for this member. */
WINIPC_FUNC int
winipc_channel_claim(winipc_channel *ch, int receive)
{
    unsigned int slot = receive ? 0 : 1;
    unsigned int end = receive ? 1 : winipc_channel_slots(ch);
    if ((receive ? ch->recv_word : ch->send_word) != 0) {
        return WINIPC_OK;
    }
    for (; slot < end; slot++) {
        winipc_member *member = &ch->ring.shared->members[slot];
        uint64_t seen = winipc_channel_member(ch, slot, 1);
        uint64_t word;
        int result, tries = 0;
        if (WINIPC_MEMBER_STATE(seen) == WINIPC_MEMBER_ACTIVE) {
            continue;
        }
        do {
            if (tries++ == WINIPC_KEYS) {
                return WINIPC_FAILED;
            }
            word = winipc_member_next(seen, winipc_os_key(ch));
        } while (!winipc_os_live(ch, receive, slot, word));
        if (!WINIPC_CAS(&member->word, seen, word)) {
            winipc_os_end(ch, receive);
            continue; /* another process was faster */
        }
        WINIPC_STORE_RELAXED(&member->pid, winipc_os_pid());
        if (receive) {
            ch->recv_word = word;
            result = winipc_ring_resume(&ch->ring);
        }
        else {
            ch->send_word = word;
            ch->send_slot = slot;
            ch->ring.lock_id = winipc_member_lock_id(slot, word);
            result = winipc_ring_begin(&ch->ring);
        }
        if (result != WINIPC_OK) {
            winipc_channel_leave(ch, receive);
        }
        return result;
    }
    return WINIPC_TAKEN;
}

/* Whether a producer may still send. OK: yes. EMPTY: there was none yet.
 * CLOSED: all have left. BROKEN: all are gone, and one of them died. */
WINIPC_FUNC int
winipc_channel_producers(winipc_channel *ch, int look_for_dead)
{
    unsigned int end = winipc_channel_slots(ch);
    int result = WINIPC_EMPTY;
    for (unsigned int slot = 1; slot < end; slot++) {
        uint64_t word = winipc_channel_member(ch, slot, look_for_dead);
        if (WINIPC_MEMBER_TAKES(word) == 0) {
            break; /* slots are taken in order */
        }
        if (WINIPC_MEMBER_STATE(word) == WINIPC_MEMBER_ACTIVE) {
            return WINIPC_OK;
        }
        if (WINIPC_MEMBER_STATE(word) == WINIPC_MEMBER_DIED) {
            result = WINIPC_BROKEN;
        }
        else if (result == WINIPC_EMPTY) {
            result = WINIPC_CLOSED;
        }
    }
    return result;
}

/* The same for the consumer. */
WINIPC_INLINE int
winipc_channel_consumer(winipc_channel *ch, int look_for_dead)
{
    uint64_t word = winipc_channel_member(ch, 0, look_for_dead);
    switch (WINIPC_MEMBER_STATE(word)) {
    case WINIPC_MEMBER_ACTIVE:
        return WINIPC_OK;
    case WINIPC_MEMBER_DIED:
        return WINIPC_BROKEN;
    default:
        return WINIPC_MEMBER_TAKES(word) == 0 ? WINIPC_EMPTY : WINIPC_CLOSED;
    }
}

/* Whether a call that does not wait asks the system now whether a peer lives:
 * at most once in WINIPC_LOOK_MS, as that costs more than the call. side: 0
 * for the sender, 1 for the receiver. */
WINIPC_FUNC int
winipc_channel_may_look(winipc_channel *ch, int side)
{
    uint64_t now = winipc_os_ms();
    if (now - ch->looked[side] < WINIPC_LOOK_MS) {
        return 0;
    }
    ch->looked[side] = now;
    return 1;
}

/* After EMPTY: spin, then sleep at most ms. OK: look again. TIMEOUT. CLOSED or
 * BROKEN: and nothing is left to read. FAILED. */
WINIPC_FUNC int
winipc_channel_wait_data(winipc_channel *ch, uint32_t ms)
{
    /* Members before tail: a member that has left has stored its tail. */
    int result = winipc_channel_producers(
        ch, ms == 0 && winipc_channel_may_look(ch, 1));
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
        return winipc_ring_has_data(&ch->ring) ? WINIPC_OK : result;
    }
    if (winipc_ring_has_data(&ch->ring)) {
        return WINIPC_OK;
    }
    if (ms == 0) {
        return WINIPC_TIMEOUT;
    }
    if (winipc_os_spin(ch, WINIPC_WAKE_DATA, 0)) {
        return WINIPC_OK;
    }
    if (winipc_ring_want_data(&ch->ring) == WINIPC_OK) {
        winipc_ring_unwant_data(&ch->ring);
        return WINIPC_OK;
    }
    int slept = winipc_os_sleep(ch, WINIPC_WAKE_DATA, ms);
    winipc_ring_unwant_data(&ch->ring);
    if (slept == WINIPC_TIMEOUT) {
        result = winipc_channel_producers(ch, 1);
        if (winipc_ring_has_data(&ch->ring)) {
            return WINIPC_OK;
        }
        if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
            return result;
        }
    }
    return slept;
}

/* After FULL: the same for room for a record. */
WINIPC_FUNC int
winipc_channel_wait_space(winipc_channel *ch, uint64_t length, uint32_t ms)
{
    int result =
        winipc_channel_consumer(ch, ms == 0 && winipc_channel_may_look(ch, 0));
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
        return result;
    }
    if (ms == 0) {
        return WINIPC_TIMEOUT;
    }
    if (winipc_os_spin(ch, WINIPC_WAKE_SPACE, length)) {
        return WINIPC_OK;
    }
    if (winipc_ring_want_space(&ch->ring, length) == WINIPC_OK) {
        winipc_ring_unwant_space(&ch->ring);
        return WINIPC_OK;
    }
    int slept = winipc_os_sleep(ch, WINIPC_WAKE_SPACE, ms);
    winipc_ring_unwant_space(&ch->ring);
    if (slept == WINIPC_TIMEOUT) {
        result = winipc_channel_consumer(ch, 1);
        if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
            return result;
        }
    }
    return slept;
}

/* The owner of the lock may be dead. 1 if the lock is ours now. */
WINIPC_FUNC int
winipc_channel_inherit_lock(winipc_channel *ch)
{
    uint64_t owner = WINIPC_LOAD(&ch->ring.shared->lock);
    unsigned int slot = (unsigned int)(owner & 0xff);
    if (owner == 0) {
        return winipc_ring_trylock(&ch->ring);
    }
    if (slot == 0 || slot >= WINIPC_CHANNEL_MEMBERS) {
        winipc_ring_corrupt(&ch->ring, "lock");
        return -1;
    }
    uint64_t word = WINIPC_LOAD(&ch->ring.shared->members[slot].word);
    if (winipc_member_lock_id(slot, word) == owner &&
        WINIPC_MEMBER_STATE(word) == WINIPC_MEMBER_ACTIVE &&
        !winipc_os_dead(ch, slot, word)) {
        return 0; /* alive: it is only slow */
    }
    return winipc_ring_steal(&ch->ring, owner);
}

/* Wait at most ms for the lock, which another producer has. 1 if it is ours, 0
 * if not, -1 if it is corrupt; *slept is the result of the sleep. A call that
 * may not wait asks at once whether the owner is dead, as it may be the only
 * call. */
WINIPC_FUNC int
winipc_channel_queue_for_lock(winipc_channel *ch, uint32_t ms, int *slept)
{
    int got = 0;
    *slept = WINIPC_TIMEOUT;
    if (ms != 0) {
        if (winipc_os_spin(ch, WINIPC_WAKE_LOCK, 0) &&
            winipc_ring_trylock(&ch->ring)) {
            return 1;
        }
        got = winipc_ring_want_lock(&ch->ring) == WINIPC_OK;
        if (!got) {
            *slept = winipc_os_sleep(ch, WINIPC_WAKE_LOCK, ms);
            got = winipc_ring_trylock(&ch->ring);
        }
    }
    if (!got && *slept == WINIPC_TIMEOUT) {
        got = winipc_channel_inherit_lock(ch);
    }
    if (got > 0 || *slept == WINIPC_OK) {
        winipc_ring_slept_for_lock(&ch->ring);
    }
    return got;
}

/* One step of waiting for the producers' lock (MANY). OK: it is ours. FULL:
 * try again. */
WINIPC_FUNC int
winipc_channel_wait_lock(winipc_channel *ch, uint32_t ms)
{
    int slept;
    if (!winipc_ring_trylock(&ch->ring)) {
        int got = winipc_channel_queue_for_lock(ch, ms, &slept);
        if (got < 0) {
            return WINIPC_CORRUPT;
        }
        if (got == 0) {
            return slept == WINIPC_OK ? WINIPC_FULL : slept;
        }
    }
    ch->locked = 1;
    int result = winipc_ring_begin(&ch->ring);
    if (result != WINIPC_OK) {
        winipc_channel_unlock(ch);
    }
    return result;
}

WINIPC_INLINE void
winipc_channel_publish(winipc_channel *ch)
{
    if (winipc_ring_publish(&ch->ring)) {
        winipc_os_signal(ch, WINIPC_WAKE_DATA);
    }
}

WINIPC_INLINE void
winipc_channel_release(winipc_channel *ch)
{
    if (winipc_ring_release(&ch->ring)) {
        winipc_os_signal(ch, WINIPC_WAKE_SPACE);
    }
}

/* Find room for a record, by the channel's policy but without waiting. */
WINIPC_FUNC int
winipc_channel_reserve(winipc_channel *ch, uint64_t length, void **payload)
{
    int result = winipc_ring_reserve(&ch->ring, length, payload);
    if (result == WINIPC_FULL &&
        (ch->ring.flags & WINIPC_CHANNEL_DROP_OLDEST)) {
        uint64_t dropped = 0;
        result = winipc_ring_drop(&ch->ring, length, &dropped);
        if (dropped != 0) {
            uint64_t *count = &ch->ring.shared->dropped;
            WINIPC_STORE_RELAXED(count, WINIPC_LOAD_RELAXED(count) + dropped);
        }
        if (result == WINIPC_OK) {
            result = winipc_ring_reserve(&ch->ring, length, payload);
        }
    }
    return result;
}

/* How long the next step of a wait may take, in ms; 0 when the time is over. */
WINIPC_FUNC uint32_t
winipc_channel_slice(uint64_t timeout_ms, uint64_t began)
{
    if (timeout_ms == WINIPC_INFINITE) {
        return WINIPC_SLICE_MS;
    }
    uint64_t gone = winipc_os_ms() - began;
    if (gone >= timeout_ms) {
        return 0;
    }
    return timeout_ms - gone < WINIPC_SLICE_MS ? (uint32_t)(timeout_ms - gone)
                                               : WINIPC_SLICE_MS;
}

/* The time now, or 0 if the time-out needs no clock: reading one costs more
 * than a send. */
WINIPC_INLINE uint64_t
winipc_channel_began(uint32_t timeout_ms)
{
    return timeout_ms == 0 || timeout_ms == WINIPC_INFINITE ? 0
                                                            : winipc_os_ms();
}

/* Send one message. OK; TIMEOUT (with timeout_ms 0: no room now); CLOSED or
 * BROKEN (no consumer any more); TAKEN; CORRUPT; FAILED. TOO_LARGE: more than
 * ring.max_record bytes never fit; see THE LAYOUT for what to do. */
WINIPC_FUNC int
winipc_channel_send(winipc_channel *ch, const void *data, uint64_t length,
                    uint32_t timeout_ms)
{
    uint64_t began = winipc_channel_began(timeout_ms);
    void *payload;
    if (length > ch->ring.max_record) {
        return WINIPC_TOO_LARGE;
    }
    int result = winipc_channel_claim(ch, 0);
    if (result != WINIPC_OK) {
        return result;
    }
    result = winipc_channel_consumer(ch, 0);
    if (result == WINIPC_CLOSED || result == WINIPC_BROKEN) {
        return result;
    }
    if (ch->ring.flags & WINIPC_CHANNEL_MANY) {
        do {
            result = winipc_channel_wait_lock(
                ch, winipc_channel_slice(timeout_ms, began));
        } while (result == WINIPC_FULL ||
                 (result == WINIPC_TIMEOUT &&
                  winipc_channel_slice(timeout_ms, began) != 0));
        if (result != WINIPC_OK) {
            return result;
        }
    }
    while ((result = winipc_channel_reserve(ch, length, &payload)) ==
           WINIPC_FULL) {
        uint32_t slice = winipc_channel_slice(timeout_ms, began);
        result = winipc_channel_wait_space(ch, length, slice);
        if (result != WINIPC_OK && (result != WINIPC_TIMEOUT || slice == 0)) {
            break;
        }
    }
    if (result == WINIPC_OK) {
        WINIPC_COPY(payload, data, (size_t)length);
        winipc_ring_commit(&ch->ring, length);
        winipc_channel_publish(ch);
    }
    winipc_channel_unlock(ch);
    return result;
}

/* Wait for the next message; *payload is where it lies. It stays until
 * winipc_channel_next. CLOSED: all producers have left and everything is read.
 * BROKEN: the same, but one of them died. */
WINIPC_FUNC int
winipc_channel_peek(winipc_channel *ch, const void **payload, uint32_t *length,
                    uint32_t timeout_ms)
{
    uint64_t began = winipc_channel_began(timeout_ms);
    int result = winipc_channel_claim(ch, 1);
    while (result == WINIPC_OK) {
        result = winipc_ring_front(&ch->ring, payload, length);
        if (result != WINIPC_EMPTY) {
            break;
        }
        uint32_t slice = winipc_channel_slice(timeout_ms, began);
        result = winipc_channel_wait_data(ch, slice);
        if (result == WINIPC_TIMEOUT && slice != 0) {
            result = WINIPC_OK;
        }
    }
    return result;
}

WINIPC_FUNC void
winipc_channel_next(winipc_channel *ch)
{
    winipc_ring_pop(&ch->ring);
    winipc_channel_release(ch);
}

/* Receive one message into a buffer; the results are those of
 * winipc_channel_peek. TOO_LARGE: the message stays, and *length says how
 * large a buffer it needs. */
WINIPC_FUNC int
winipc_channel_recv(winipc_channel *ch, void *buffer, uint64_t size,
                    uint64_t *length, uint32_t timeout_ms)
{
    const void *payload;
    uint32_t bytes;
    int result = winipc_channel_peek(ch, &payload, &bytes, timeout_ms);
    if (result != WINIPC_OK) {
        return result;
    }
    *length = bytes;
    if (bytes > size) {
        winipc_channel_release(ch);
        return WINIPC_TOO_LARGE;
    }
    WINIPC_COPY(buffer, payload, bytes);
    winipc_channel_next(ch);
    return WINIPC_OK;
}

#endif /* WINIPC_HAVE_OS */

#ifdef _WIN32

WINIPC_INLINE uint64_t
winipc_os_ticks(void)
{
    LARGE_INTEGER now;
    QueryPerformanceCounter(&now);
    return (uint64_t)now.QuadPart;
}

WINIPC_FUNC uint64_t
winipc_os_ms(void)
{
    return GetTickCount64();
}

WINIPC_FUNC uint32_t
winipc_os_pid(void)
{
    return GetCurrentProcessId();
}

WINIPC_INLINE uint64_t
winipc_os_mix(uint64_t seed, uint64_t value)
{
    seed = (seed ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return seed ^ seed >> 29;
}

/* A number that no peer guesses and that does not come again. */
WINIPC_FUNC uint64_t
winipc_os_random(void)
{
    FILETIME now;
    GetSystemTimeAsFileTime(&now);
    uint64_t random = winipc_os_mix(winipc_os_ticks(), now.dwHighDateTime);
    random = winipc_os_mix(random, now.dwLowDateTime);
    random = winipc_os_mix(random, (uint64_t)(uintptr_t)&now);
    random = winipc_os_mix(random, GetCurrentProcessId());
    return winipc_os_mix(random, GetCurrentThreadId());
}

WINIPC_FUNC uint32_t
winipc_os_key(winipc_channel *ch)
{
    (void)ch;
    return (uint32_t)(winipc_os_random() >> 32);
}

/* Whether this process runs on one processor. The mask is 0 for a process in
 * several groups, which has more than 64. */
WINIPC_FUNC int
winipc_os_one_cpu(void)
{
    DWORD_PTR mine = 0, all = 0;
    GetProcessAffinityMask(GetCurrentProcess(), &mine, &all);
    return mine != 0 && (mine & (mine - 1)) == 0;
}

/* ---- whether others live. A member of a channel, and a thread that uses
 * locks, has a named event that exists as long as it lives: Windows closes the
 * event when the process ends, however it ends. Peers ask whether the name
 * exists. That needs no right to the process or the event, so a service and
 * the processes of other users can be watched. The event grants no right to
 * anyone, so no other process can keep it in existence.
 *
 * A process that may create objects in the namespace can occupy the name of a
 * member as soon as the member is dead, and so hide the death; waits with a
 * time-out still end. */

/* Make such an event. NULL if the name is occupied, or Windows refuses it. */
WINIPC_FUNC HANDLE
winipc_life_begin(const wchar_t *name)
{
    ACL nobody = {ACL_REVISION, 0, sizeof(ACL), 0, 0};
    SECURITY_DESCRIPTOR descriptor = {SECURITY_DESCRIPTOR_REVISION,
                                      0,
                                      SE_DACL_PRESENT,
                                      NULL,
                                      NULL,
                                      NULL,
                                      &nobody};
    SECURITY_ATTRIBUTES security = {sizeof(security), &descriptor, FALSE};
    HANDLE life = CreateEventExW(&security, name, 0, SYNCHRONIZE);
    if (life != NULL && GetLastError() == ERROR_ALREADY_EXISTS) {
        CloseHandle(life);
        SetLastError(ERROR_ALREADY_EXISTS);
        return NULL;
    }
    return life;
}

/* Whether such an event is gone. ACCESS_DENIED means that it exists.
 * INVALID_HANDLE means that an object of another kind has the name, so the
 * event is gone. */
WINIPC_FUNC int
winipc_life_is_over(const wchar_t *name)
{
    HANDLE life = OpenEventW(SYNCHRONIZE, FALSE, name);
    if (life != NULL) {
        CloseHandle(life); /* Wine grants it */
        return 0;
    }
    DWORD err = GetLastError();
    return err == ERROR_FILE_NOT_FOUND || err == ERROR_INVALID_HANDLE;
}

/* `number` as 16 hexadecimal digits. */
WINIPC_FUNC void
winipc_os_hex(wchar_t *digits, uint64_t number)
{
    for (int i = 0; i < 16; i++) {
        digits[i] = L"0123456789abcdef"[number >> (60 - 4 * i) & 15];
    }
}

/* The name with `suffix`, in the process's heap; NULL if memory is short. */
WINIPC_FUNC wchar_t *
winipc_os_name(const wchar_t *name, const wchar_t *suffix)
{
    size_t length = wcslen(name);
    size_t more = wcslen(suffix);
    wchar_t *full = (wchar_t *)HeapAlloc(
        GetProcessHeap(), 0, (length + more + 1) * sizeof(wchar_t));
    if (full == NULL) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    memcpy(full, name, length * sizeof(wchar_t));
    memcpy(full + length, suffix, (more + 1) * sizeof(wchar_t));
    return full;
}

/* HeapFree, which leaves GetLastError as it was. */
WINIPC_FUNC void
winipc_os_free(void *memory)
{
    DWORD err = GetLastError();
    HeapFree(GetProcessHeap(), 0, memory);
    SetLastError(err);
}

WINIPC_FUNC wchar_t *
winipc_os_life_name(winipc_channel *ch, unsigned int slot, uint64_t word)
{
    wchar_t suffix[] = L".member.0123456789abcdef";
    winipc_os_hex(suffix + 8, (uint64_t)WINIPC_MEMBER_TAKES(word) << 40 |
                                  (uint64_t)slot << 32 |
                                  WINIPC_MEMBER_KEY(word));
    return winipc_os_name(ch->os.name, suffix);
}

WINIPC_FUNC int
winipc_os_live(winipc_channel *ch, int receive, unsigned int slot,
               uint64_t word)
{
    wchar_t *name = winipc_os_life_name(ch, slot, word);
    if (name == NULL) {
        return 0;
    }
    ch->os.lives[receive] = winipc_life_begin(name);
    winipc_os_free(name);
    return ch->os.lives[receive] != NULL;
}

WINIPC_FUNC void
winipc_os_end(winipc_channel *ch, int receive)
{
    CloseHandle(ch->os.lives[receive]);
    ch->os.lives[receive] = NULL;
}

WINIPC_FUNC int
winipc_os_dead(winipc_channel *ch, unsigned int slot, uint64_t word)
{
    wchar_t *name = winipc_os_life_name(ch, slot, word);
    int dead = name != NULL && winipc_life_is_over(name);
    winipc_os_free(name);
    return dead;
}

/* ---- waiting */

WINIPC_FUNC void
winipc_os_signal(winipc_channel *ch, int which)
{
    SetEvent(ch->os.events[which]);
}

/* The length of a spin adapts. If a wait ended within a few times the longest
 * spin, a spin has caught it or nearly so, and the next spin is the longest
 * again. Otherwise each side could give up before the other one has woken, and
 * both would sleep every time. A long wait makes the next spin shorter, down
 * to the first look alone: with few processors, a spin takes one from the
 * peer. */
#define WINIPC_SPIN_MAX_US 100u

WINIPC_FUNC void
winipc_os_adapt(winipc_channel *ch, int which)
{
    uint64_t longest = WINIPC_SPIN_MAX_US * ch->os.ticks_per_us;
    uint64_t waited = winipc_os_ticks() - ch->os.began[which];
    if (waited <= 5 * longest) {
        ch->os.spin[which] = longest;
    }
    else {
        ch->os.spin[which] /= 4;
    }
}

WINIPC_FUNC int
winipc_os_spin(winipc_channel *ch, int which, uint64_t length)
{
    /* A peer that answers at once is caught before the clock is read. */
    if (!ch->os.one_cpu && winipc_channel_look(ch, which, length)) {
        return 1;
    }
    uint64_t began = winipc_os_ticks();
    ch->os.began[which] = began;
    if (ch->os.one_cpu) {
        /* The peer cannot run while we do. */
        for (int i = 0; i < 4; i++) {
            if (winipc_channel_ready(ch, which, length)) {
                return 1;
            }
            SwitchToThread();
        }
        return 0;
    }
    uint64_t end = began + ch->os.spin[which];
    do {
        for (int i = 0; i < 16; i++) {
            if (winipc_channel_ready(ch, which, length)) {
                return 1;
            }
            WINIPC_PAUSE();
        }
    } while ((int64_t)(end - winipc_os_ticks()) > 0);
    return 0;
}

WINIPC_FUNC int
winipc_os_sleep(winipc_channel *ch, int which, uint32_t ms)
{
    DWORD result = WaitForSingleObject(ch->os.events[which], ms);
    if (result == WAIT_OBJECT_0) {
        winipc_os_adapt(ch, which);
        return WINIPC_OK;
    }
    return result == WAIT_TIMEOUT ? WINIPC_TIMEOUT : WINIPC_FAILED;
}

/* ---- create, open, close */

#ifndef WINIPC_EVENT_ACCESS
#define WINIPC_EVENT_ACCESS (SYNCHRONIZE | EVENT_MODIFY_STATE)
#endif

/* Leave the channel and close everything. The channel lives as long as a
 * process has it open. */
WINIPC_FUNC void
winipc_channel_close(winipc_channel *ch)
{
    if (ch->ring.shared != NULL) {
        winipc_channel_leave(ch, 0);
        winipc_channel_leave(ch, 1);
    }
    for (int which = 0; which < 3; which++) {
        if (ch->os.events[which] != NULL) {
            CloseHandle(ch->os.events[which]);
        }
    }
    if (ch->ring.shared != NULL) {
        UnmapViewOfFile(ch->ring.shared);
    }
    if (ch->os.mapping != NULL) {
        CloseHandle(ch->os.mapping);
    }
    winipc_os_free(ch->os.name);
    memset(ch, 0, sizeof(*ch));
}

/* Create or open the events name.data, name.space and name.lock. FAILED with
 * ERROR_ALREADY_EXISTS if an event to create exists already: another process
 * made it, and could keep its handle. */
WINIPC_FUNC int
winipc_os_events(winipc_channel *ch, const wchar_t *name,
                 SECURITY_ATTRIBUTES *security, int create)
{
    static const wchar_t *const suffixes[3] = {L".data", L".space", L".lock"};
    ch->os.call = "HeapAlloc";
    ch->os.name = winipc_os_name(name, L"");
    if (ch->os.name == NULL) {
        return WINIPC_FAILED;
    }
    for (int which = 0; which < 3; which++) {
        ch->os.call = create ? "CreateEventW" : "OpenEventW";
        ch->os.suffix = suffixes[which];
        wchar_t *full = winipc_os_name(name, suffixes[which]);
        if (full == NULL) {
            return WINIPC_FAILED;
        }
        ch->os.events[which] =
            create ? CreateEventW(security, FALSE, FALSE, full)
                   : OpenEventW(WINIPC_EVENT_ACCESS, FALSE, full);
        int taken = create && GetLastError() == ERROR_ALREADY_EXISTS;
        winipc_os_free(full);
        if (ch->os.events[which] == NULL || taken) {
            return WINIPC_FAILED;
        }
    }
    return WINIPC_OK;
}

WINIPC_FUNC void
winipc_os_init(winipc_channel *ch)
{
    LARGE_INTEGER frequency;
    memset(ch, 0, sizeof(*ch));
    QueryPerformanceFrequency(&frequency);
    ch->os.ticks_per_us = (uint64_t)frequency.QuadPart / 1000000;
    if (ch->os.ticks_per_us == 0) {
        ch->os.ticks_per_us = 1;
    }
    for (int which = 0; which < 3; which++) {
        ch->os.spin[which] = WINIPC_SPIN_MAX_US * ch->os.ticks_per_us;
    }
    ch->os.one_cpu = winipc_os_one_cpu();
    ch->os.suffix = L"";
}

/* Close the channel, but keep the error for the caller. */
WINIPC_FUNC int
winipc_os_give_up(winipc_channel *ch, int result)
{
    DWORD err = GetLastError();
    const char *fault = ch->ring.fault;
    const char *call = ch->os.call;
    const wchar_t *suffix = ch->os.suffix;
    winipc_channel_close(ch);
    ch->ring.fault = fault;
    ch->os.call = call;
    ch->os.suffix = suffix;
    SetLastError(err);
    return result;
}

/* Make a channel. max_record 0 is the largest that is allowed. FAILED with
 * ERROR_ALREADY_EXISTS if the name of the mapping or of one of the events is
 * taken. TOO_LARGE if the numbers are not allowed. security may be NULL. To a
 * process that opens the channel it has to grant SECTION_MAP_READ and
 * SECTION_MAP_WRITE on the mapping, SYNCHRONIZE and EVENT_MODIFY_STATE on the
 * events: in SDDL "GRGWGX" or "GA". */
WINIPC_FUNC int
winipc_channel_create(winipc_channel *ch, const wchar_t *name,
                      uint64_t capacity, uint64_t max_record, uint32_t flags,
                      SECURITY_ATTRIBUTES *security)
{
    winipc_os_init(ch);
    if (max_record == 0) {
        max_record = capacity - 8;
    }
    ch->ring.fault = winipc_channel_check(capacity, max_record, flags);
    if (ch->ring.fault != NULL) {
        return WINIPC_TOO_LARGE;
    }
    uint64_t size = winipc_channel_size(capacity, max_record);
    ch->os.call = "CreateFileMappingW";
    ch->os.mapping =
        CreateFileMappingW(INVALID_HANDLE_VALUE, security, PAGE_READWRITE,
                           (DWORD)(size >> 32), (DWORD)size, name);
    if (ch->os.mapping == NULL || GetLastError() == ERROR_ALREADY_EXISTS) {
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    if (winipc_os_events(ch, name, security, 1) != WINIPC_OK) {
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    ch->os.call = "MapViewOfFile";
    ch->os.suffix = L"";
    void *view = MapViewOfFile(ch->os.mapping, FILE_MAP_READ | FILE_MAP_WRITE,
                               0, 0, (SIZE_T)size);
    if (view == NULL) {
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    ch->ring.shared = (winipc_channel_header *)view;
    winipc_ring_format(view, capacity, max_record, flags);
    int result = winipc_ring_attach(&ch->ring, view, size);
    if (result == WINIPC_OK) {
        return result;
    }
    /* Another process has written there. Attach cleared the ring: put back
     * what close unmaps. */
    if (result == WINIPC_EMPTY) {
        result = winipc_ring_corrupt(&ch->ring, "not a channel (magic)");
    }
    ch->ring.shared = (winipc_channel_header *)view;
    return winipc_os_give_up(ch, result);
}

/* Of psapi.h, which calls it so only for Windows 7 and newer. */
DWORD WINAPI K32GetMappedFileNameW(HANDLE, LPVOID, LPWSTR, DWORD);

/* Open a channel that another process made. CORRUPT with ring.fault if it is
 * no channel; TIMEOUT if its creator has not finished it within timeout_ms. */
WINIPC_FUNC int
winipc_channel_open(winipc_channel *ch, const wchar_t *name,
                    uint32_t timeout_ms)
{
    MEMORY_BASIC_INFORMATION info;
    wchar_t name_of_file[1]; /* too short for any name */
    uint64_t began = winipc_os_ms();
    int result;
    winipc_os_init(ch);
    ch->os.call = "OpenFileMappingW";
    ch->os.mapping =
        OpenFileMappingW(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, name);
    if (ch->os.mapping == NULL) {
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    ch->os.call = "MapViewOfFile";
    void *view =
        MapViewOfFile(ch->os.mapping, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0);
    if (view == NULL) {
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    if (VirtualQuery(view, &info, sizeof(info)) == 0) {
        DWORD err = GetLastError();
        UnmapViewOfFile(view);
        SetLastError(err);
        return winipc_os_give_up(ch, WINIPC_FAILED);
    }
    if (info.State != MEM_COMMIT) {
        info.RegionSize = 0; /* SEC_RESERVE: there is nothing to read yet */
    }
    /* A page of a file may fail to come in, which ends the process. */
    if (K32GetMappedFileNameW(GetCurrentProcess(), view, name_of_file, 1) ||
        GetLastError() == ERROR_INSUFFICIENT_BUFFER ||
        GetLastError() == ERROR_MORE_DATA /* a long path */) {
        UnmapViewOfFile(view);
        winipc_ring_corrupt(&ch->ring, "a file is behind it");
        return winipc_os_give_up(ch, WINIPC_CORRUPT);
    }
    while ((result = winipc_ring_attach(&ch->ring, view, info.RegionSize)) ==
           WINIPC_EMPTY) {
        if (winipc_channel_slice(timeout_ms, began) == 0) {
            result = WINIPC_TIMEOUT;
            break;
        }
        Sleep(1);
    }
    /* attach cleared the ring: from here on, close unmaps the view */
    ch->ring.shared = (winipc_channel_header *)view;
    if (result == WINIPC_OK) {
        result = winipc_os_events(ch, name, NULL, 0);
    }
    return result == WINIPC_OK ? result : winipc_os_give_up(ch, result);
}

#endif /* _WIN32 */

/* ================================================================ the lock ===
 *
 * A lock that lives in shared memory: 32 zeroed bytes at an address that is a
 * multiple of 8 are a free lock, and nothing has to be made. While no other
 * thread wants the lock, taking and releasing it are one interlocked
 * instruction each. Its event is made when a thread first has to wait.
 *
 * THE LAYOUT is winipc_lock_word. `word` is 0 while the lock is free; else
 *
 *   bits 0-31   the id of the thread that owns it (never 0)
 *   bits 32-61  a random number that this thread has drawn (never 0), so that
 *               a later thread of the same id is not taken for it
 *   bit 62      0
 *   bit 63      WANTED: others wait, so set the event when it is released
 *
 * `depth` is how often the owner has taken the lock again; only the owner
 * touches it. `key` is 0 until a thread first waits; that thread puts a random
 * number there. Waiters sleep on the auto-reset event
 * "Global\winipc.lock.<key as 16 hex digits>".
 *
 * THE PROTOCOL, and why its memory order is enough.
 *
 *  1. Who owns the lock is decided by one word that is changed by CAS only.
 *     Taking it is a CAS that reads what giving it back wrote, by CAS too:
 *     that pair (release, acquire) orders all that the owners did between.
 *  2. No wake-up is lost. A waiter sets WANTED by CAS on the owner's very
 *     word, before it sleeps; giving the lock back is a CAS that either sees
 *     WANTED, and the event is set, or fails and tries again, or came first,
 *     and then the CAS of the waiter fails and it looks again. The event
 *     keeps a signal that comes before the sleep.
 *  3. One signal wakes one waiter, and the others must not be forgotten: one
 *     that has slept takes the lock with WANTED set, or sets WANTED again before
 *     it sleeps or gives up. A waiter that is killed between its waking and
 *     that leaves the others to the end of their slice (WINIPC_SLICE_MS), as
 *     does an owner killed between giving it back and setting the event.
 *  4. A thread that uses locks lives as long as its event exists, whose name
 *     is "Global\winipc.thread." and the word that it writes (without WANTED)
 *     as 16 hexadecimal digits; see "whether others live" above. It makes
 *     the event first, and closes it as it ends. Those that wait look before
 *     each sleep whether the owner lives. A dead one can no longer change the
 *     word, so one CAS from that word to our own takes it over, and only one
 *     of them succeeds. It is told that it was ABANDONED.
 *  5. `depth` is written by the owner alone and set to 0 by whoever becomes
 *     the owner, so what a dead one left there does not count.
 *
 * tests/native/lock_model.c runs these very functions through all
 * interleavings under a weak memory model, with kills.
 *
 * TRUST. A peer can write anything there: it may then get the lock, or keep
 * others from it until their time is over, but each loop ends by itself.
 */

typedef struct winipc_lock_word {
    uint64_t word;     /*  0 */
    uint64_t key;      /*  8 */
    uint64_t depth;    /* 16 */
    uint64_t reserved; /* 24: 0 */
} winipc_lock_word;

WINIPC_AT(winipc_lock_word, key, 8);
WINIPC_AT(winipc_lock_word, depth, 16);
WINIPC_ASSERT(sizeof(winipc_lock_word) == 32, "winipc_lock_word");

#define WINIPC_LOCK_WANTED (UINT64_C(1) << 63)
#define WINIPC_LOCK_UNUSED (UINT64_C(1) << 62)
#define WINIPC_LOCK_DEEPEST UINT64_C(0x7fffffff)
#define WINIPC_LOCK_THREAD(word) ((uint32_t)(word))

/* How often a loop tries again before it returns FULL to its caller. */
#define WINIPC_LOCK_TURNS 64

/* What a thread writes into the word. */
WINIPC_INLINE uint64_t
winipc_lock_id(uint32_t thread, uint64_t random)
{
    uint64_t stamp = random >> 34;
    return (uint64_t)thread | (stamp == 0 ? 1 : stamp) << 32;
}

#ifdef _WIN32
/* A lock as one process sees it; all its threads may use it. */
typedef struct winipc_lock {
    winipc_lock_word *shared;
    SECURITY_ATTRIBUTES *security; /* of the event, or NULL */
    PVOID volatile event;          /* NULL until a thread waits */
    int one_cpu;                   /* yield, do not spin */
} winipc_lock;

#define WINIPC_HAVE_LOCK
#endif

#ifdef WINIPC_HAVE_LOCK

/* What depends on the operating system; a test may bring its own. */
/* What this thread writes into the word; 0 if Windows makes no event for it. */
WINIPC_INLINE uint64_t winipc_lock_os_me(void);
/* Set the event. */
WINIPC_FUNC void winipc_lock_os_signal(winipc_lock *lock);
/* Make the event before another thread is told to set it. */
WINIPC_FUNC void winipc_lock_os_prepare(winipc_lock *lock);
/* 1: the lock was free a moment ago. */
WINIPC_FUNC int winipc_lock_os_spin(winipc_lock *lock);
/* 1 if the thread that writes this word is surely dead. */
WINIPC_FUNC int winipc_lock_os_dead(uint64_t owner);
/* OK: the event was set. TIMEOUT. FAILED. */
WINIPC_FUNC int winipc_lock_os_sleep(winipc_lock *lock, uint32_t ms);

/* This thread has just become the owner. */
WINIPC_INLINE int
winipc_lock_took(winipc_lock *lock, int result)
{
    WINIPC_STORE_RELAXED(&lock->shared->depth, 0);
    return result;
}

/* The word is not 0: OK if it is this thread's, which has it once more now;
 * FULL if it is another's; CORRUPT. */
WINIPC_FUNC int
winipc_lock_again(winipc_lock *lock, uint64_t word, uint64_t me)
{
    if ((word & ~WINIPC_LOCK_WANTED) == me) {
        uint64_t depth = WINIPC_LOAD_RELAXED(&lock->shared->depth);
        if (depth >= WINIPC_LOCK_DEEPEST) {
            return WINIPC_CORRUPT;
        }
        WINIPC_STORE_RELAXED(&lock->shared->depth, depth + 1);
        return WINIPC_OK;
    }
    if ((word & WINIPC_LOCK_UNUSED) != 0 || WINIPC_LOCK_THREAD(word) == 0 ||
        (word & ~WINIPC_LOCK_WANTED) >> 32 == 0) {
        return WINIPC_CORRUPT;
    }
    return WINIPC_FULL;
}

/* Take the lock without waiting, and without asking whether its owner lives.
 * OK. FULL: another thread has it. CORRUPT. FAILED. */
WINIPC_INLINE int
winipc_lock_try(winipc_lock *lock)
{
    uint64_t me = winipc_lock_os_me();
    if (me != 0 && WINIPC_CAS(&lock->shared->word, 0, me)) {
        return winipc_lock_took(lock, WINIPC_OK);
    }
    if (me == 0) {
        return WINIPC_FAILED;
    }
    uint64_t word = WINIPC_LOAD_RELAXED(&lock->shared->word);
    return word == 0 ? WINIPC_FULL : winipc_lock_again(lock, word, me);
}

/* Release the lock, once for each time it was taken. OK. NOT_OWNER: this
 * thread does not have it. CORRUPT: the word changes all the time. */
WINIPC_INLINE int
winipc_lock_release(winipc_lock *lock)
{
    uint64_t me = winipc_lock_os_me();
    for (int i = 0; i < WINIPC_LOCK_TURNS; i++) {
        uint64_t word = WINIPC_LOAD_RELAXED(&lock->shared->word);
        if (word == 0 || (word & ~WINIPC_LOCK_WANTED) != me) {
            return WINIPC_NOT_OWNER;
        }
        uint64_t depth = WINIPC_LOAD_RELAXED(&lock->shared->depth);
        if (depth != 0) {
            WINIPC_STORE_RELAXED(&lock->shared->depth, depth - 1);
            return WINIPC_OK;
        }
        if (WINIPC_CAS(&lock->shared->word, word, 0)) {
            if (word & WINIPC_LOCK_WANTED) {
                winipc_lock_os_signal(lock);
            }
            return WINIPC_OK;
        }
        /* WANTED has been set meanwhile. */
    }
    return WINIPC_CORRUPT;
}

/* One step of waiting, with a sleep of at most ms; *slept is 0 before the
 * first. OK or ABANDONED: it is ours now. FULL: call again, always. TIMEOUT:
 * the end, or call again. CORRUPT. FAILED. */
WINIPC_FUNC int
winipc_lock_wait(winipc_lock *lock, int *slept, uint32_t ms)
{
    uint64_t *at = &lock->shared->word;
    uint64_t me = winipc_lock_os_me();
    int spun = ms == 0 || *slept;
    int quiet = ms == 0 && !*slept; /* leaves without a trace */
    if (me == 0) {
        return WINIPC_FAILED;
    }
    for (int i = 0; i < WINIPC_LOCK_TURNS; i++) {
        uint64_t wanted = *slept ? WINIPC_LOCK_WANTED : 0;
        uint64_t word = WINIPC_LOAD_SC(at);
        int result;
        if (word == 0) {
            if (WINIPC_CAS(at, 0, me | wanted)) {
                return winipc_lock_took(lock, WINIPC_OK);
            }
            continue;
        }
        result = winipc_lock_again(lock, word, me);
        if (result != WINIPC_FULL) {
            return result;
        }
        if (!quiet && !(word & WINIPC_LOCK_WANTED)) {
            if (!spun) {
                spun = 1;
                winipc_lock_os_spin(lock);
                continue;
            }
            winipc_lock_os_prepare(lock);
            if (!WINIPC_CAS(at, word, word | WINIPC_LOCK_WANTED)) {
                continue;
            }
            word |= WINIPC_LOCK_WANTED;
        }
        result = WINIPC_BROKEN;
        if (!winipc_lock_os_dead(word & ~WINIPC_LOCK_WANTED)) {
            *slept |= !quiet;
            result = winipc_lock_os_sleep(lock, ms);
        }
        if (result == WINIPC_OK) {
            *slept = 1; /* and this signal may be another's */
            return WINIPC_FULL;
        }
        if (result != WINIPC_BROKEN) {
            return result;
        }
        if (WINIPC_CAS(at, word,
                       me | (word & WINIPC_LOCK_WANTED) |
                           (*slept ? WINIPC_LOCK_WANTED : 0))) {
            return winipc_lock_took(lock, WINIPC_ABANDONED);
        }
    }
    return WINIPC_FULL;
}

#endif /* WINIPC_HAVE_LOCK */

#ifdef _WIN32

/* A thread as others see it, kept until it ends. */
typedef struct winipc_thread {
    uint64_t me;
    HANDLE life;
} winipc_thread;

/* Two indexes of slots, plus 1; 0 if there is none yet. All files of a module
 * share them, so a thread is the same owner in each file. The first index is
 * from FlsAlloc: the slot has a winipc_thread, and Windows tells when the
 * thread ends. The second is from TlsAlloc, whose slots are quicker to read. */
__declspec(selectany) volatile LONG winipc_lock_slot = 0;
__declspec(selectany) volatile LONG winipc_lock_quick = 0;

/* Windows calls it when a thread or a fiber ends. */
static void NTAPI
winipc_lock_os_ended(PVOID arg)
{
    winipc_thread *thread = (winipc_thread *)arg;
    if (thread != NULL) {
        CloseHandle(thread->life);
        winipc_os_free(thread);
    }
}

WINIPC_FUNC void
winipc_lock_os_life_name(wchar_t name[38], uint64_t owner)
{
    memcpy(name, L"Global\\winipc.thread.", 21 * sizeof(wchar_t));
    winipc_os_hex(name + 21, owner);
    name[37] = 0;
}

/* The index of the slot in which threads keep themselves; -1. */
WINIPC_FUNC LONG
winipc_lock_os_slot(void)
{
    LONG slot = winipc_lock_slot;
    if (slot == 0) {
        DWORD made = FlsAlloc(winipc_lock_os_ended);
        if (made == FLS_OUT_OF_INDEXES) {
            return -1;
        }
        slot =
            InterlockedCompareExchange(&winipc_lock_slot, (LONG)made + 1, 0);
        if (slot != 0) {
            FlsFree(made); /* another thread was faster */
        }
        else {
            slot = (LONG)made + 1;
        }
    }
    return slot - 1;
}

/* Keep it where winipc_lock_os_me finds it at once. A fiber has its own event,
 * but shares its thread with other fibers, so it is searched for each time. */
WINIPC_FUNC void
winipc_lock_os_keep(uint64_t me)
{
    if (winipc_lock_quick == 0) {
        DWORD made = TlsAlloc();
        if (made != TLS_OUT_OF_INDEXES &&
            InterlockedCompareExchange(&winipc_lock_quick, (LONG)made + 1,
                                       0) != 0) {
            TlsFree(made);
        }
    }
    if (winipc_lock_quick != 0 && !IsThreadAFiber()) {
        TlsSetValue((DWORD)(winipc_lock_quick - 1),
                    (PVOID)(uintptr_t)(sizeof(void *) == 8 ? me : me >> 32));
    }
}

/* winipc_lock_os_me for a thread that it does not know. Changes
 * GetLastError(). */
WINIPC_FUNC uint64_t
winipc_lock_os_find(void)
{
    wchar_t name[38];
    LONG slot = winipc_lock_os_slot();
    winipc_thread *thread =
        slot < 0 ? NULL : (winipc_thread *)FlsGetValue((DWORD)slot);
    if (thread != NULL) {
        winipc_lock_os_keep(thread->me);
        return thread->me;
    }
    thread = (winipc_thread *)HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY,
                                        sizeof(*thread));
    for (int i = 0; i < WINIPC_KEYS && slot >= 0 && thread != NULL; i++) {
        thread->me = winipc_lock_id(GetCurrentThreadId(), winipc_os_random());
        winipc_lock_os_life_name(name, thread->me);
        thread->life = winipc_life_begin(name);
        if (thread->life == NULL) {
            continue;
        }
        if (FlsSetValue((DWORD)slot, thread)) {
            winipc_lock_os_keep(thread->me);
            return thread->me;
        }
        CloseHandle(thread->life);
        break;
    }
    winipc_os_free(thread);
    return 0;
}

WINIPC_INLINE uint64_t
winipc_lock_os_me(void)
{
    /* Before there is a slot, its index is -1, which has no value. */
    uint64_t kept =
        (uint64_t)(uintptr_t)TlsGetValue((DWORD)(winipc_lock_quick - 1));
    return kept == 0             ? winipc_lock_os_find()
           : sizeof(void *) == 8 ? kept
                                 : kept << 32 | GetCurrentThreadId();
}

/* Call it before a DLL that has used locks is unloaded. Its threads count as
 * ended then. */
WINIPC_FUNC void
winipc_lock_unload(void)
{
    if (winipc_lock_quick != 0) {
        TlsFree((DWORD)(winipc_lock_quick - 1));
        winipc_lock_quick = 0;
    }
    if (winipc_lock_slot != 0) {
        FlsFree((DWORD)(winipc_lock_slot - 1));
        winipc_lock_slot = 0;
    }
}

/* The number that names the event; the first wait makes it. */
WINIPC_FUNC uint64_t
winipc_lock_os_key(winipc_lock *lock)
{
    uint64_t *at = &lock->shared->key;
    uint64_t key = WINIPC_LOAD(at);
    if (key == 0) {
        key = winipc_os_random() | 1;
        if (!WINIPC_CAS(at, 0, key)) {
            key = WINIPC_LOAD(at);
        }
    }
    return key;
}

/* The event, NULL if Windows refuses it. Once opened it stays, so a key that
 * a peer overwrites makes wake-ups late and nothing worse. */
WINIPC_FUNC HANDLE
winipc_lock_os_event(winipc_lock *lock)
{
    wchar_t name[] = L"Global\\winipc.lock.0123456789abcdef";
    const size_t digits = sizeof(name) / sizeof(name[0]) - 17;
    HANDLE event = lock->event;
    if (event != NULL) {
        return event;
    }
    uint64_t key = winipc_lock_os_key(lock);
    winipc_os_hex(name + digits, key);
    event = CreateEventExW(lock->security, name, 0,
                           SYNCHRONIZE | EVENT_MODIFY_STATE);
    if (event != NULL &&
        InterlockedCompareExchangePointer(&lock->event, event, NULL) != NULL) {
        CloseHandle(event); /* another thread was faster */
        event = lock->event;
    }
    return event;
}

WINIPC_FUNC void
winipc_lock_os_signal(winipc_lock *lock)
{
    HANDLE event = winipc_lock_os_event(lock);
    if (event != NULL) {
        SetEvent(event);
    }
}

WINIPC_FUNC void
winipc_lock_os_prepare(winipc_lock *lock)
{
    winipc_lock_os_event(lock);
}

WINIPC_FUNC int
winipc_lock_os_spin(winipc_lock *lock)
{
    for (int i = 0; i < (lock->one_cpu ? 4 : 400); i++) {
        if (WINIPC_LOAD(&lock->shared->word) == 0) {
            return 1;
        }
        if (lock->one_cpu) {
            SwitchToThread();
        }
        else {
            WINIPC_PAUSE();
        }
    }
    return 0;
}

WINIPC_FUNC int
winipc_lock_os_dead(uint64_t owner)
{
    wchar_t name[38];
    winipc_lock_os_life_name(name, owner);
    return winipc_life_is_over(name);
}

WINIPC_FUNC int
winipc_lock_os_sleep(winipc_lock *lock, uint32_t ms)
{
    if (ms == 0) {
        return WINIPC_TIMEOUT;
    }
    HANDLE event = winipc_lock_os_event(lock);
    if (event == NULL) {
        Sleep(ms < 10 ? ms : 10); /* no owner can wake us: look often */
        return WINIPC_TIMEOUT;
    }
    DWORD result = WaitForSingleObject(event, ms);
    return result == WAIT_OBJECT_0  ? WINIPC_OK
           : result == WAIT_TIMEOUT ? WINIPC_TIMEOUT
                                    : WINIPC_FAILED;
}

/* Use the lock at this address: 32 shared bytes that were zero at first.
 * CORRUPT: the address is not a multiple of 8. `security` is for the event; it
 * may be NULL, and has to stay valid. */
WINIPC_FUNC int
winipc_lock_attach(winipc_lock *lock, void *at, SECURITY_ATTRIBUTES *security)
{
    memset(lock, 0, sizeof(*lock));
    if (((uintptr_t)at & 7) != 0) {
        return WINIPC_CORRUPT;
    }
    lock->shared = (winipc_lock_word *)at;
    lock->security = security;
    lock->one_cpu = winipc_os_one_cpu();
    return WINIPC_OK;
}

/* Call it before the memory is unmapped. It does not release a lock that a
 * thread of this process holds. */
WINIPC_FUNC void
winipc_lock_detach(winipc_lock *lock)
{
    if (lock->event != NULL) {
        CloseHandle(lock->event);
    }
    memset(lock, 0, sizeof(*lock));
}

/* Take the lock. OK. ABANDONED: it is ours, but its last owner died with it,
 * so what it protects may be half written. TIMEOUT. CORRUPT. FAILED. */
WINIPC_FUNC int
winipc_lock_acquire(winipc_lock *lock, uint32_t timeout_ms)
{
    int slept = 0;
    int result = winipc_lock_try(lock);
    if (result != WINIPC_FULL) {
        return result;
    }
    uint64_t began = winipc_channel_began(timeout_ms);
    uint32_t slice;
    do {
        slice = winipc_channel_slice(timeout_ms, began);
        result = winipc_lock_wait(lock, &slept, slice);
    } while (result == WINIPC_FULL ||
             (result == WINIPC_TIMEOUT && slice != 0));
    return result;
}

#endif /* _WIN32 */

#ifdef __cplusplus
}
#endif

/* ====================================================== end of the lock === */

#endif

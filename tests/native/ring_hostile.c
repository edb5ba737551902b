/* ring_hostile.c: what the ring does when somebody else touches it at the
 * worst moment. One thread; the other side acts in between, by a hook. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hooked_cas(uint64_t *p, uint64_t expected, uint64_t desired);

#define WINIPC_LOAD(p) (*(volatile uint64_t *)(p))
#define WINIPC_LOAD_RELAXED(p) WINIPC_LOAD(p)
#define WINIPC_LOAD_SC(p) WINIPC_LOAD(p)
#define WINIPC_STORE(p, v) ((void)(*(volatile uint64_t *)(p) = (v)))
#define WINIPC_STORE_RELAXED(p, v) WINIPC_STORE(p, v)
#define WINIPC_STORE_SC(p, v) WINIPC_STORE(p, v)
#define WINIPC_CAS(p, expected, desired) hooked_cas(p, expected, desired)
#define WINIPC_PAUSE() ((void)0)
#define WINIPC_READ(p) WINIPC_LOAD(p)
#define WINIPC_WRITE(p, v) WINIPC_STORE(p, v)
#define WINIPC_COPY(to, from, length) ((void)memcpy(to, from, length))

#include "../../include/winipc.h"

#define CAPACITY 256
#define RECORD 24 /* with 16 bytes in it */

static uint64_t memory[(4096 + 2 * CAPACITY) / 8];
static winipc_ring sender, receiver;
static int vandal, swaps;

static void
must(int condition, const char *what)
{
    if (!condition) {
        printf("FAIL: %s\n", what);
        exit(1);
    }
}

/* Somebody puts head back each time that it was moved. */
static int
hooked_cas(uint64_t *p, uint64_t expected, uint64_t desired)
{
    if (*p != expected) {
        return 0;
    }
    must(++swaps < 1000, "head is moved for ever");
    if (!vandal || p != &sender.shared->head) {
        *p = desired;
    }
    return 1;
}

/* A ring that drops its oldest, and is full. */
static void
make_full(void)
{
    void *payload;
    memset(memory, 0, sizeof(memory));
    swaps = vandal = 0;
    must(winipc_ring_format(memory, CAPACITY, CAPACITY - 8,
                            WINIPC_CHANNEL_DROP_OLDEST) == WINIPC_OK,
         "format");
    must(winipc_ring_attach(&sender, memory, sizeof(memory)) == WINIPC_OK &&
             winipc_ring_attach(&receiver, memory, sizeof(memory)) ==
                 WINIPC_OK &&
             winipc_ring_begin(&sender) == WINIPC_OK &&
             winipc_ring_resume(&receiver) == WINIPC_OK,
         "attach");
    while (winipc_ring_reserve(&sender, RECORD - 8, &payload) == WINIPC_OK) {
        winipc_ring_commit(&sender, RECORD - 8);
    }
    winipc_ring_publish(&sender);
}

static void
a_head_that_is_put_back_ends_the_dropping(void)
{
    uint64_t dropped = 0;
    make_full();
    must(winipc_ring_drop(&sender, CAPACITY - 8, &dropped) == WINIPC_OK &&
             dropped == CAPACITY / RECORD,
         "dropping all there is");
    make_full();
    vandal = 1;
    must(winipc_ring_drop(&sender, CAPACITY - 8, &dropped) == WINIPC_CORRUPT,
         "head was put back");
}

static void
a_second_release_leaves_head_to_the_producers(void)
{
    const void *payload;
    uint32_t length;
    uint64_t dropped = 0;
    make_full();
    must(winipc_ring_front(&receiver, &payload, &length) == WINIPC_OK,
         "front");
    winipc_ring_pop(&receiver);
    winipc_ring_release(&receiver);
    must(sender.shared->head == RECORD, "the first release");
    must(winipc_ring_drop(&sender, 2 * RECORD, &dropped) == WINIPC_OK &&
             dropped > 0,
         "drop");
    uint64_t head = sender.shared->head;
    must(winipc_ring_release(&receiver) == 0 && sender.shared->head == head,
         "head went back");
}

int
main(void)
{
    a_head_that_is_put_back_ends_the_dropping();
    a_second_release_leaves_head_to_the_producers();
    puts("holds");
    return 0;
}

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
 * The creator writes `magic` last and with release semantics: who reads it
 * (with acquire semantics) and finds WINIPC_MAPPING_MAGIC finds the rest. A
 * magic of 0 means not yet, or a creator that died before it was ready.
 */

#define WINIPC_MAPPING_MAGIC 0x4D495057u /* the bytes "WPIM" */
#define WINIPC_MAPPING_VERSION 1u

typedef struct winipc_mapping_header {
    uint32_t magic;       /*  0: WINIPC_MAPPING_MAGIC */
    uint16_t version;     /*  4: WINIPC_MAPPING_VERSION */
    uint16_t header_size; /*  6: where the users' bytes begin, 64 or more */
    uint64_t size;        /*  8: how many they are */
    uint32_t owner_pid;   /* 16: the process that created the mapping */
    uint32_t flags;       /* 20: 0 in version 1 */
    uint64_t created;     /* 24: when, as a FILETIME in UTC */
    uint8_t reserved[32]; /* 32: 0 in version 1 */
} winipc_mapping_header;

WINIPC_AT(winipc_mapping_header, version, 4);
WINIPC_AT(winipc_mapping_header, header_size, 6);
WINIPC_AT(winipc_mapping_header, size, 8);
WINIPC_AT(winipc_mapping_header, owner_pid, 16);
WINIPC_AT(winipc_mapping_header, flags, 20);
WINIPC_AT(winipc_mapping_header, created, 24);
WINIPC_AT(winipc_mapping_header, reserved, 32);
WINIPC_ASSERT(sizeof(winipc_mapping_header) == 64, "winipc_mapping_header");

/* What is wrong with a private copy of a header in front of a mapping of
 * `mapped` bytes; NULL when nothing is. */
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

#endif

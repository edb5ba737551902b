/* number.h: the kinds of numbers in memory, and their Python values.
 *
 *     m.get(0, "i32")               # or "i", or "<i"
 *     m.set(8, "f64", 0.5)
 *     m.atomic(16, "u64")
 *
 * Plain values: no owner, no lock. Names and conversions need the GIL; loads
 * and stores do not. The machine's byte order is little-endian. */
#ifndef WINIPC_BASE_NUMBER_H
#define WINIPC_BASE_NUMBER_H

#include "core.h"

/* X(name, struct code, family, bytes) */
#define WI_NUMBERS(X)                                                         \
    X(i8, 'b', 'i', 1)                                                        \
    X(i16, 'h', 'i', 2)                                                       \
    X(i32, 'i', 'i', 4)                                                       \
    X(i64, 'q', 'i', 8)                                                       \
    X(u8, 'B', 'u', 1)                                                        \
    X(u16, 'H', 'u', 2)                                                       \
    X(u32, 'I', 'u', 4)                                                       \
    X(u64, 'Q', 'u', 8)                                                       \
    X(f32, 'f', 'f', 4)                                                       \
    X(f64, 'd', 'f', 8)

typedef struct {
    const char *name; /* "i32" */
    char code;        /* of the struct module */
    char family;      /* 'i' signed, 'u' unsigned, 'f' floating point */
    unsigned char size;
} wi_number;

/* Static in the header, so that a compiler can fold a constant kind. */
static const wi_number WI_NUMBER_KINDS[] = {
#define WI_NUMBER_KIND(name, code, family, size) {#name, code, family, size},
    WI_NUMBERS(WI_NUMBER_KIND)
#undef WI_NUMBER_KIND
    /* On Windows a long always has 4 bytes. */
    {"i32", 'l', 'i', 4},
    {"u32", 'L', 'u', 4},
};

enum {
#define WI_NUMBER_INDEX(name, ...) WI_NUMBER_##name,
    WI_NUMBERS(WI_NUMBER_INDEX)
#undef WI_NUMBER_INDEX
};

/* The kind of this name or struct code; NULL with ValueError or TypeError. That
 * ends with `call`, which tells the order of the arguments, unless it is NULL. */
const wi_number *wi_number_named(PyObject *name, const char *call);

/* Put a Python number into the low bytes of *bits, or raise OverflowError.
 * With `wraps` an unsigned kind also takes negative numbers: adding one wraps
 * around. */
int wi_number_from(const wi_number *kind, PyObject *value, int wraps,
                   uint64_t *bits);

WI_INLINE PyObject *
wi_number_to_python(const wi_number *kind, uint64_t bits)
{
    if (kind->family == 'u') {
        return PyLong_FromUnsignedLongLong(bits);
    }
    if (kind->family == 'i') {
        switch (kind->size) {
        case 1:
            return PyLong_FromLong((int8_t)bits);
        case 2:
            return PyLong_FromLong((int16_t)bits);
        case 4:
            return PyLong_FromLong((int32_t)bits);
        default:
            return PyLong_FromLongLong((int64_t)bits);
        }
    }
    float narrow;
    double wide;
    if (kind->size == sizeof(narrow)) {
        memcpy(&narrow, &bits, sizeof(narrow));
        return PyFloat_FromDouble(narrow);
    }
    memcpy(&wide, &bits, sizeof(wide));
    return PyFloat_FromDouble(wide);
}

/* An aligned number is read and written in one access, so a peer never sees
 * half of it; for 8 bytes this is true in a 64-bit process only. Sizes are
 * powers of two, so a mask tests the alignment: a division would take a large
 * part of the time of a get(). */
WI_INLINE uint64_t
wi_number_load(const void *at, unsigned size)
{
    uint64_t bits = 0;
    if (((uintptr_t)at & (size - 1)) != 0) {
        memcpy(&bits, at, size);
        return bits;
    }
    switch (size) {
    case 1:
        return *(const volatile uint8_t *)at;
    case 2:
        return *(const volatile uint16_t *)at;
    case 4:
        return *(const volatile uint32_t *)at;
    default:
        return *(const volatile uint64_t *)at;
    }
}

WI_INLINE void
wi_number_store(void *at, unsigned size, uint64_t bits)
{
    if (((uintptr_t)at & (size - 1)) != 0) {
        memcpy(at, &bits, size);
        return;
    }
    switch (size) {
    case 1:
        *(volatile uint8_t *)at = (uint8_t)bits;
        break;
    case 2:
        *(volatile uint16_t *)at = (uint16_t)bits;
        break;
    case 4:
        *(volatile uint32_t *)at = (uint32_t)bits;
        break;
    default:
        *(volatile uint64_t *)at = bits;
        break;
    }
}

#endif

/* kernels_isa.h: the kernels of one instruction set.
 *
 * A template: kernels.c includes it once per level, with these macros defined.
 *   K(name)   the name with the level's suffix
 *   K_TARGET  function attribute that allows the instructions
 *   K_VECTOR  the type of a vector; K_SPLAT(byte) makes one
 *   and K(pair64)(p0, p1, v0, m0, v1, m1): bit i says whether p0[i] & m0 is v0
 *   and p1[i] & m1 is v1, for 64 positions, all of them readable. */

/* Of 64 positions, those where data has the given byte. */
SCAN_INLINE K_TARGET uint64_t
K(equal64)(const uint8_t *data, uint8_t value, uint8_t mask)
{
    K_VECTOR v = K_SPLAT(value);
    K_VECTOR m = K_SPLAT(mask);
    return K(pair64)(data, data, v, m, v, m);
}

/* Of the candidates in word, which are start positions data[at + i], keep
 * those where the whole pattern is. */
static K_TARGET uint64_t
K(verify64)(const scan_pattern *pattern, const uint8_t *data, size_t size,
            size_t at, uint64_t word)
{
    /* Many candidates: one more byte of the pattern for all of them at once,
     * rarest first, so that no data makes the scan crawl. */
    size_t k = pattern->order_count > 1 ? 2 : 1;
    for (; k < pattern->order_count && !scan_has_fewer(word, 4); k++) {
        size_t offset = pattern->order[k];
        if (size - at < offset + 64) {
            break;
        }
        word &= K(equal64)(data + at + offset, pattern->value[offset],
                           pattern->mask[offset]);
    }
    if (k >= pattern->order_count) {
        return word;
    }
    uint64_t found = 0;
    while (word != 0) {
        unsigned bit = scan_lowest_bit(word);
        word &= word - 1;
        if (scan_verify(pattern, data + at + bit)) {
            found |= (uint64_t)1 << bit;
        }
    }
    return found;
}

/* Matches of one pattern that start in [from, to): their bits are set.
 * Returns whether there is any. */
static K_TARGET int
K(find_bytes)(const scan_pattern *pattern, const uint8_t *data, size_t size,
              size_t from, size_t to, uint64_t address, uint64_t *bits)
{
    if (size < pattern->length) {
        return 0;
    }
    if (to > size - pattern->length + 1) {
        to = size - pattern->length + 1;
    }
    if (from >= to) {
        return 0;
    }
    const size_t a0 = pattern->order[0];
    const size_t a1 = pattern->order[pattern->order_count > 1 ? 1 : 0];
    const size_t reach = (a0 > a1 ? a0 : a1) + 64;
    const K_VECTOR v0 = K_SPLAT(pattern->value[a0]);
    const K_VECTOR m0 = K_SPLAT(pattern->mask[a0]);
    const K_VECTOR v1 = K_SPLAT(pattern->value[a1]);
    const K_VECTOR m1 = K_SPLAT(pattern->mask[a1]);
    int any = 0;
    for (size_t i = from; i < to; i += 64) {
        uint64_t word;
        SCAN_PREFETCH(data + i);
        if (to - i >= 64 && size - i >= reach) {
            word = K(pair64)(data + i + a0, data + i + a1, v0, m0, v1, m1);
        }
        else {
            uint8_t end0[64], end1[64];
            scan_pad(end0, sizeof(end0), data + i + a0, size - i - a0);
            scan_pad(end1, sizeof(end1), data + i + a1, size - i - a1);
            word = K(pair64)(end0, end1, v0, m0, v1, m1);
            if (to - i < 64) {
                word &= ((uint64_t)1 << (to - i)) - 1;
            }
        }
        if (word == 0) {
            continue;
        }
        word &= scan_aligned(pattern->alignment, address + i);
        if (word == 0) {
            continue;
        }
        word = K(verify64)(pattern, data, size, i, word);
        if (word != 0) {
            any = 1;
            scan_set_bits(bits, i, word);
        }
    }
    return any;
}

/* 64 flags, each 0 or 1, into 64 bits. */
SCAN_INLINE K_TARGET uint64_t
K(pack64)(const uint8_t *flags)
{
    return K(equal64)(flags, 1, 1);
}

/* Flags of the values at [at, n), 64 at most, into 64 bits. With a constant
 * count compilers vectorise the loop. */
#define SCAN_FLAGS(T, word, test)                                             \
    do {                                                                      \
        uint8_t flags[64];                                                    \
        if (n - at >= 64) {                                                   \
            for (size_t k = 0; k < 64; k++) {                                 \
                SCAN_FLAG(T, test);                                           \
            }                                                                 \
        }                                                                     \
        else {                                                                \
            memset(flags, 0, sizeof(flags));                                  \
            for (size_t k = 0; k < n - at; k++) {                             \
                SCAN_FLAG(T, test);                                           \
            }                                                                 \
        }                                                                     \
        (word) = K(pack64)(flags);                                            \
    } while (0)
#define SCAN_FLAG(T, test)                                                    \
    T x, y;                                                                   \
    memcpy(&x, now + (at + k) * sizeof(x), sizeof(x));                        \
    memcpy(&y, then + (at + k) * sizeof(y), sizeof(y));                       \
    flags[k] = (uint8_t)(test)

#define SCAN_COMPARE(test)                                                    \
    for (size_t at = 0; at < n; at += 64) {                                   \
        for (size_t line = 0; line < sizeof(SCAN_T); line++) {                \
            SCAN_PREFETCH(then + at * sizeof(SCAN_T) + line * 64);            \
        }                                                                     \
        SCAN_FLAGS(SCAN_T, bits[at / 64], test);                              \
    }

#define SCAN_ORDER_FN(T, name, field)                                         \
    static K_TARGET void K(order_##name)(                                     \
        scan_change change, const uint8_t *now, const uint8_t *then,          \
        size_t n, scan_number from, scan_number to, uint64_t *bits)           \
    {                                                                         \
        typedef T SCAN_T;                                                     \
        const T low = (T)from.field, high = (T)to.field;                      \
        if (change == SCAN_INCREASED) {                                       \
            SCAN_COMPARE(x > y)                                               \
        }                                                                     \
        else if (change == SCAN_DECREASED) {                                  \
            SCAN_COMPARE(x < y)                                               \
        }                                                                     \
        else {                                                                \
            then = now;                                                       \
            SCAN_COMPARE((x >= low) & (y <= high))                            \
        }                                                                     \
    }
SCAN_FOR_TYPES(SCAN_ORDER_FN)
#undef SCAN_ORDER_FN

/* What depends on the width alone. Differences wrap around. */
#define SCAN_WIDTH_FN(T, width)                                               \
    static K_TARGET void K(bytes_##width)(                                    \
        scan_change change, const uint8_t *now, const uint8_t *then,          \
        size_t n, scan_number from, scan_number to, uint64_t *bits)           \
    {                                                                         \
        typedef T SCAN_T;                                                     \
        const T low = (T)from.u, span = (T)(to.u - from.u);                   \
        if (change == SCAN_CHANGED) {                                         \
            SCAN_COMPARE(x != y)                                              \
        }                                                                     \
        else if (change == SCAN_UNCHANGED) {                                  \
            SCAN_COMPARE(x == y)                                              \
        }                                                                     \
        else {                                                                \
            SCAN_COMPARE((T)(x - y - low) <= span)                            \
        }                                                                     \
    }
SCAN_WIDTH_FN(uint8_t, 1)
SCAN_WIDTH_FN(uint16_t, 2)
SCAN_WIDTH_FN(uint32_t, 4)
SCAN_WIDTH_FN(uint64_t, 8)
#undef SCAN_WIDTH_FN

#define SCAN_DELTA_FN(T, name)                                                \
    static K_TARGET void K(delta_##name)(                                     \
        const uint8_t *now, const uint8_t *then, size_t n, scan_number from,  \
        scan_number to, uint64_t *bits)                                       \
    {                                                                         \
        typedef T SCAN_T;                                                     \
        const double low = from.d, high = to.d;                               \
        SCAN_COMPARE(((double)x - (double)y >= low) &                         \
                     ((double)x - (double)y <= high))                         \
    }
SCAN_DELTA_FN(float, F32)
SCAN_DELTA_FN(double, F64)
#undef SCAN_DELTA_FN

static K_TARGET void
K(compare)(scan_type type, scan_change change, const uint8_t *now,
           const uint8_t *then, size_t n, scan_number low, scan_number high,
           uint64_t *bits)
{
    if (change == SCAN_DELTA && type == SCAN_F32) {
        K(delta_F32)(now, then, n, low, high, bits);
        return;
    }
    if (change == SCAN_DELTA && type == SCAN_F64) {
        K(delta_F64)(now, then, n, low, high, bits);
        return;
    }
    if (change == SCAN_CHANGED || change == SCAN_UNCHANGED ||
        change == SCAN_DELTA) {
        switch (scan_type_size(type)) {
        case 1:
            K(bytes_1)(change, now, then, n, low, high, bits);
            break;
        case 2:
            K(bytes_2)(change, now, then, n, low, high, bits);
            break;
        case 4:
            K(bytes_4)(change, now, then, n, low, high, bits);
            break;
        default:
            K(bytes_8)(change, now, then, n, low, high, bits);
            break;
        }
        return;
    }
    switch (type) {
#define SCAN_ORDER_CASE(T, name, field)                                       \
    case SCAN_##name:                                                         \
        K(order_##name)(change, now, then, n, low, high, bits);               \
        break;
        SCAN_FOR_TYPES(SCAN_ORDER_CASE)
#undef SCAN_ORDER_CASE
    default:
        break;
    }
}

#undef SCAN_COMPARE
#undef SCAN_FLAG
#undef SCAN_FLAGS

static const scan_kernels K(kernels) = {K(find_bytes), K(compare)};

#undef K
#undef K_TARGET
#undef K_VECTOR
#undef K_SPLAT

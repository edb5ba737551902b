/* kernels_isa.h: the kernels of one instruction set.
 *
 * A template: kernels.c includes it once per level, and defines before that
 *   K(name)   the name with the level's suffix
 *   K_TARGET  a function attribute that allows the instructions
 *   K_VECTOR  the type of a vector; K_SPLAT(byte) makes one
 *   K(pair64)(p0, p1, v0, m0, v1, m1): bit i is set if p0[i] & m0 is v0 and
 *   p1[i] & m1 is v1, for 64 positions, which must all be readable
 *   K(pack64)(flags): 64 bytes, each 0 or 1, as 64 bits. */

/* Of 64 positions, those where data has the given byte. */
SCAN_INLINE K_TARGET uint64_t
K(equal64)(const uint8_t *data, uint8_t value, uint8_t mask)
{
    K_VECTOR v = K_SPLAT(value);
    K_VECTOR m = K_SPLAT(mask);
    return K(pair64)(data, data, v, m, v, m);
}

/* Bit i of word is a candidate: data[at + i]. Keep those where the whole
 * pattern is. */
static K_TARGET uint64_t
K(verify64)(const scan_pattern *pattern, const uint8_t *data, size_t size,
            size_t at, uint64_t word)
{
    /* While there are many candidates, compare one more byte of the pattern
     * for all of them at once, the rarest first: so no data makes the scan
     * slow. */
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

/* Set the bits of one pattern's matches that start in [from, to). Returns
 * whether there is any. */
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

/* Test n values and put the results into bits; x is the value now and y the
 * value then, both of type T. Compilers vectorise a loop with a constant
 * count. */
#define SCAN_COMPARE(T, test)                                                 \
    for (; n >= 64; n -= 64) {                                                \
        for (size_t line = 0; line < sizeof(T); line++) {                     \
            SCAN_PREFETCH(then + line * 64);                                  \
        }                                                                     \
        for (size_t k = 0; k < 64; k++) {                                     \
            SCAN_FLAG(T, test);                                               \
        }                                                                     \
        *bits++ = K(pack64)(flags);                                           \
        now += 64 * sizeof(T);                                                \
        then += 64 * sizeof(T);                                               \
    }                                                                         \
    if (n > 0) {                                                              \
        memset(flags, 0, sizeof(flags));                                      \
        for (size_t k = 0; k < n; k++) {                                      \
            SCAN_FLAG(T, test);                                               \
        }                                                                     \
        *bits = K(pack64)(flags);                                             \
    }
#define SCAN_FLAG(T, test)                                                    \
    T x, y;                                                                   \
    memcpy(&x, now + k * sizeof(x), sizeof(x));                               \
    memcpy(&y, then + k * sizeof(y), sizeof(y));                              \
    flags[k] = (uint8_t)(test)

/* U is an unsigned integer as wide as T: CHANGED and UNCHANGED compare bytes. */
#define SCAN_COMPARE_FN(T, name, field, U, delta)                             \
    static K_TARGET void K(compare_##name)(                                   \
        scan_change change, const uint8_t *now, const uint8_t *then,          \
        size_t n, scan_number from, scan_number to, uint64_t *bits)           \
    {                                                                         \
        const T low = (T)from.field, high = (T)to.field;                      \
        uint8_t flags[64];                                                    \
        switch (change) {                                                     \
        case SCAN_CHANGED:                                                    \
            SCAN_COMPARE(U, x != y)                                           \
            break;                                                            \
        case SCAN_UNCHANGED:                                                  \
            SCAN_COMPARE(U, x == y)                                           \
            break;                                                            \
        case SCAN_INCREASED:                                                  \
            SCAN_COMPARE(T, x > y)                                            \
            break;                                                            \
        case SCAN_DECREASED:                                                  \
            SCAN_COMPARE(T, x < y)                                            \
            break;                                                            \
        case SCAN_DELTA: {                                                    \
            delta(T, U);                                                      \
            break;                                                            \
        }                                                                     \
        default:                                                              \
            then = now;                                                       \
            SCAN_COMPARE(T, (x >= low) & (y <= high))                         \
            break;                                                            \
        }                                                                     \
    }
#define SCAN_INTEGER_DELTA(T, U) /* wraps around */                           \
    const U least = (U)from.u, span = (U)(to.u - from.u);                     \
    SCAN_COMPARE(U, (U)(x - y - least) <= span)
#define SCAN_FLOAT_DELTA(T, U)                                                \
    const double least = from.d, most = to.d;                                 \
    SCAN_COMPARE(T, ((double)x - (double)y >= least) &                        \
                        ((double)x - (double)y <= most))
SCAN_FOR_TYPES(SCAN_COMPARE_FN)
#undef SCAN_COMPARE_FN
#undef SCAN_INTEGER_DELTA
#undef SCAN_FLOAT_DELTA
#undef SCAN_COMPARE
#undef SCAN_FLAG

static K_TARGET void
K(compare)(scan_type type, scan_change change, const uint8_t *now,
           const uint8_t *then, size_t n, scan_number low, scan_number high,
           uint64_t *bits)
{
    switch (type) {
#define SCAN_COMPARE_CASE(T, name, field, U, delta)                           \
    case SCAN_##name:                                                         \
        K(compare_##name)(change, now, then, n, low, high, bits);             \
        break;
        SCAN_FOR_TYPES(SCAN_COMPARE_CASE)
#undef SCAN_COMPARE_CASE
    default:
        break;
    }
}

static const scan_kernels K(kernels) = {K(find_bytes), K(compare)};

#undef K
#undef K_TARGET
#undef K_VECTOR
#undef K_SPLAT

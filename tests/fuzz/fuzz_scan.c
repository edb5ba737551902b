/* fuzz_scan.c: libFuzzer target for the scan kernels.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_scan.c \
 *         ../../csrc/scan/kernels.c -lm
 *
 * The input says everything: level, patterns, alignment, how the data is cut
 * into pieces, and the data itself. What the kernels find has to be what a
 * naive matcher finds. */
#include "../native/naive.h"

typedef struct {
    const uint8_t *data;
    size_t size;
} input;

static unsigned
take(input *in)
{
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->data++;
}

static void
take_bytes(input *in, void *out, size_t n)
{
    memset(out, 0, n);
    size_t have = n < in->size ? n : in->size;
    memcpy(out, in->data, have);
    in->data += have;
    in->size -= have;
}

static scan_number
take_number(input *in, scan_type type)
{
    scan_number number = {0};
    switch (naive_native(type)) {
#define TAKE_CASE(T, name, field)                                             \
    case SCAN_##name: {                                                       \
        T x;                                                                  \
        take_bytes(in, &x, sizeof x);                                         \
        number.field = x;                                                     \
        break;                                                                \
    }
        TAKE_CASE(uint8_t, U8, u)
        TAKE_CASE(int8_t, I8, i)
        TAKE_CASE(uint16_t, U16, u)
        TAKE_CASE(int16_t, I16, i)
        TAKE_CASE(uint32_t, U32, u)
        TAKE_CASE(int32_t, I32, i)
        TAKE_CASE(uint64_t, U64, u)
        TAKE_CASE(int64_t, I64, i)
        TAKE_CASE(float, F32, f)
        TAKE_CASE(double, F64, d)
#undef TAKE_CASE
    default:
        break;
    }
    return number;
}

/* 1 to `most` of them, in the bytes of the pattern or in their place. */
static void
take_fields(input *in, scan_spec *spec, scan_field *fields, size_t most)
{
    unsigned how = take(in);
    spec->field_count = 1 + how % most;
    spec->fields = fields;
    if (how & 32) {
        spec->value = NULL;
        spec->mask = NULL;
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        memset(&fields[i], 0, sizeof fields[i]);
        fields[i].type = (scan_type)(take(in) % SCAN_TYPES);
        size_t width = scan_type_size(fields[i].type);
        if (spec->length < width) {
            fields[i].type = SCAN_U8;
            width = 1;
        }
        unsigned where = take(in);
        fields[i].offset = (uint32_t)(where % (spec->length - width + 1));
        fields[i].outside = where >> 7;
        fields[i].low = take_number(in, fields[i].type);
        fields[i].high = take_number(in, fields[i].type);
    }
}

static void
fuzz_compare(input *in, scan_level level)
{
    scan_type type = (scan_type)(take(in) % SCAN_TYPES);
    scan_change change = (scan_change)(take(in) % SCAN_CHANGES);
    scan_type limits = change == SCAN_DELTA && naive_native(type) == SCAN_F32
                           ? SCAN_F64
                           : type;
    scan_number low = take_number(in, limits);
    scan_number high = take_number(in, limits);
    size_t n = in->size / 2 / scan_type_size(type);
    naive_check_compare(level, type, change, in->data,
                        in->data + n * scan_type_size(type), n, low, high);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MOST = 40, RANGES = 3 };
    input in = {data, size};
    scan_spec specs[MOST];
    scan_field fields[MOST][RANGES];
    uint8_t values[MOST][256], masks[MOST][256];
    scan_level level = (scan_level)(take(&in) % (scan_best_level() + 1));
    size_t count = take(&in) % (MOST + 1);
    if (count == 0) {
        fuzz_compare(&in, level);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        memset(&specs[i], 0, sizeof specs[i]);
        unsigned how = take(&in);
        specs[i].alignment = how & 4 ? 1u << (how >> 5) : 1;
        specs[i].length = how & 8 ? 1 + take(&in) : 1 + take(&in) % 6;
        take_bytes(&in, values[i], specs[i].length);
        specs[i].value = values[i];
        if (how & 1) {
            take_bytes(&in, masks[i], specs[i].length);
            specs[i].mask = masks[i];
        }
        if (how & 2) {
            take_fields(&in, &specs[i], fields[i], RANGES);
        }
    }
    size_t piece = take(&in);
    size_t capacity = 1 + take(&in);
    uint64_t address = take(&in);
    naive_check_scan(specs, count, level, in.data, in.size, address, piece,
                     capacity);
    return 0;
}

/* elements.c: see elements.h. Files are little-endian but for PyTorch checkpoints that
 * say otherwise; values are put together byte by byte only where the machine's order is
 * another than the file's. */
#include "io/elements.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
    sm_dtype target;
} types[SM_ELEMENT_COUNT] = {
    [SM_ELEMENT_F32] = {"F32", 4, SM_F32},  [SM_ELEMENT_F64] = {"F64", 8, SM_F32},
    [SM_ELEMENT_F16] = {"F16", 2, SM_F32},  [SM_ELEMENT_BF16] = {"BF16", 2, SM_F32},
    [SM_ELEMENT_I64] = {"I64", 8, SM_I64},  [SM_ELEMENT_I32] = {"I32", 4, SM_I64},
    [SM_ELEMENT_I16] = {"I16", 2, SM_I64},  [SM_ELEMENT_I8] = {"I8", 1, SM_I64},
    [SM_ELEMENT_U64] = {"U64", 8, SM_I64},  [SM_ELEMENT_U32] = {"U32", 4, SM_I64},
    [SM_ELEMENT_U16] = {"U16", 2, SM_I64},  [SM_ELEMENT_U8] = {"U8", 1, SM_U8},
    [SM_ELEMENT_BOOL] = {"BOOL", 1, SM_U8},
};

int sm_element_by_name(const char *name) {
    for (int i = 0; i < SM_ELEMENT_COUNT; i++)
        if (strcmp(name, types[i].name) == 0)
            return i;
    return -1;
}

size_t sm_element_size(sm_element type) {
    return types[type].size;
}

sm_dtype sm_element_target(sm_element type) {
    return types[type].target;
}

bool sm_blob_bytes(const sm_blob *blob, uint64_t *bytes) {
    return blob->numel >= 0 &&
           !__builtin_mul_overflow((uint64_t)blob->numel, types[blob->type].size, bytes);
}

static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31,
             mantissa = h & 1023, bits;
    float x;
    if (exponent == 31) {
        bits = sign | 0x7F800000 | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        x = (float)mantissa * 0x1p-24f;
        return sign ? -x : x;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_bfloat(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static bool machine_is_big_endian(void) {
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first == 0;
}

static void reverse(uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t b = bytes[i];
        bytes[i] = bytes[n - 1 - i];
        bytes[n - 1 - i] = b;
    }
}

#define CONVERT(TYPE, TARGET, VALUE)                                                     \
    for (int64_t i = 0; i < n; i++) {                                                    \
        TYPE x;                                                                          \
        memcpy(&x, from + i * (int64_t)sizeof x, sizeof x);                              \
        if (swap)                                                                        \
            reverse((uint8_t *)&x, sizeof x);                                            \
        ((TARGET *)out)[i] = VALUE;                                                      \
    }                                                                                    \
    break

static void convert(sm_element type, const uint8_t *from, int64_t n, bool swap,
                    void *out) {
    switch (type) {
    case SM_ELEMENT_F32:
        CONVERT(float, float, x);
    case SM_ELEMENT_F64:
        CONVERT(double, float, (float)x);
    case SM_ELEMENT_F16:
        CONVERT(uint16_t, float, from_half(x));
    case SM_ELEMENT_BF16:
        CONVERT(uint16_t, float, from_bfloat(x));
    case SM_ELEMENT_I64:
        CONVERT(int64_t, int64_t, x);
    case SM_ELEMENT_I32:
        CONVERT(int32_t, int64_t, x);
    case SM_ELEMENT_I16:
        CONVERT(int16_t, int64_t, x);
    case SM_ELEMENT_I8:
        CONVERT(int8_t, int64_t, x);
    case SM_ELEMENT_U64:
        CONVERT(uint64_t, int64_t, x > INT64_MAX ? INT64_MAX : (int64_t)x);
    case SM_ELEMENT_U32:
        CONVERT(uint32_t, int64_t, x);
    case SM_ELEMENT_U16:
        CONVERT(uint16_t, int64_t, x);
    case SM_ELEMENT_BOOL:
        CONVERT(uint8_t, uint8_t, x != 0);
    default:
        memcpy(out, from, (size_t)n);
    }
}

void sm_blob_read(const sm_blob *blob, const sm_mapped *file, void *out) {
    enum { AT_ONCE = 1 << 20 };
    size_t size = types[blob->type].size, wide = sm_dtype_size(types[blob->type].target);
    bool swap = blob->big_endian != machine_is_big_endian();
    bool as_is = !swap && (blob->type == SM_ELEMENT_F32 || blob->type == SM_ELEMENT_I64);
    for (int64_t at = 0; at < blob->numel; at += AT_ONCE) {
        int64_t left = blob->numel - at, n = left < AT_ONCE ? left : AT_ONCE;
        const uint8_t *from = blob->data + (size_t)at * size;
        if (as_is)
            memcpy((char *)out + (size_t)at * wide, from, (size_t)n * size);
        else
            convert(blob->type, from, n, swap, (char *)out + (size_t)at * wide);
        sm_mapped_release(file, from, (size_t)n * size);
    }
}

/* conv2d_blocked_ref.c: the inner loops of the implicit-GEMM convolution in the
 * compiler's portable 128-bit vectors (SSE2 on any x86-64, NEON on aarch64). */
#include <string.h>

#include "kernels/conv2d_blocked.h"

typedef float vec __attribute__((vector_size(16)));
enum { VL = 4 };
#define VECTORS 2
enum { PIXELS_1 = 8, PIXELS_2 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_ref
#define KERNELS_LABEL "portable"

static inline vec v_zero(void) {
    return (vec){0.0f, 0.0f, 0.0f, 0.0f};
}
static inline vec v_set(float f) {
    return (vec){f, f, f, f};
}
static inline vec v_load_n(const float *p, int n) {
    vec v = v_zero();
    if (n == VL)
        memcpy(&v, p, sizeof v);
    else
        memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
static inline vec v_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v_store_n(float *p, vec v, int n) {
    if (n == VL)
        memcpy(p, &v, sizeof v);
    else
        memcpy(p, &v, (size_t)n * sizeof *p);
}
static inline void v_store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}
static inline vec v_fma(vec a, vec b, vec c) {
    return a * b + c;
}
static inline vec v_pick(vec a, vec b, vec less) { /* a where less, else b */
    typedef int32_t mask __attribute__((vector_size(16)));
    return (vec)(((mask)a & (mask)less) | ((mask)b & ~(mask)less));
}
static inline vec v_clamp(vec v, vec low, vec high) {
    v = v_pick(low, v, (vec)(v < low));
    return v_pick(high, v, (vec)(v > high));
}
static inline void v_transpose(vec r[VL]) {
    const vec a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    const vec b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    const vec c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    const vec d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

#include "kernels/conv2d_blocked_impl.h"

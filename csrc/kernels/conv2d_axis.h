/* conv2d_axis.h: one axis of a convolution, seen as a gathering. Internal to the kernels.
 *
 * Forward and backward-data are the same sum over "taps": a destination pixel gathers,
 * for each tap of the kernel, one source pixel. Forward, output i takes tap p from input
 * i * stride + p * dilation - pad. Backward-data, the destination (dx) splits into
 * `stride` phases: a + stride * i takes tap p from dy at i + (a + pad - p * dilation) /
 * stride, for the p where that divides. So no product with an inserted zero is ever done.
 */
#ifndef SM_KERNELS_CONV2D_AXIS_H
#define SM_KERNELS_CONV2D_AXIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t at_least(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
/* Bytes of `count` floats, rounded up to a cache line. */
static inline size_t floats(int64_t count) {
    return ((size_t)count * sizeof(float) + 63) & ~(size_t)63;
}

/* Carves 64-byte aligned pieces off one allocation; with a NULL base it only counts. */
typedef struct arena {
    char *base;
    size_t used;
} arena;

static inline void *carve(arena *a, int64_t count, size_t size) {
    size_t at = a->used;
    a->used = (at + (size_t)count * size + 63) & ~(size_t)63;
    return a->base ? a->base + at : NULL;
}

typedef struct axis {
    int64_t src, dst;           /* sizes */
    int64_t src_step, dst_step; /* from one pixel of a phase to the next */
    int64_t phases, taps;
    int64_t *start; /* [phases + 1]: a phase's taps in the next two */
    int64_t *index,
        *offset;       /* [taps]: place in the kernel; source - i * src_step, ascending */
    int64_t low, high; /* least and greatest offset */
    bool backward;
    bool dense; /* within a phase, each offset is one more than the one before */
} axis;

/* An axis of the forward pass (from `in` to `out` pixels) and of backward-data (back
 * again). */
axis sm_axis_forward(int64_t in, int64_t out, int64_t stride);
axis sm_axis_backward(int64_t in, int64_t out, int64_t stride);
/* Takes the arrays' room, then (with memory) sm_axis_fill() fills them. */
void sm_axis_carve(axis *x, arena *a, int64_t kernel);
void sm_axis_fill(axis *x, int64_t kernel, int64_t pad, int64_t dilation);

/* Destination pixels of phase p. */
static inline int64_t axis_pixels(const axis *x, int64_t p) {
    return x->dst > p ? ceil_div(x->dst - p, x->dst_step) : 0;
}

#endif

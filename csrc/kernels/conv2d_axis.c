/* conv2d_axis.c: see conv2d_axis.h. */
#include "kernels/conv2d_axis.h"

axis sm_axis_forward(int64_t in, int64_t out, int64_t stride) {
    return (axis){.src = in, .dst = out, .src_step = stride, .dst_step = 1, .phases = 1};
}

axis sm_axis_backward(int64_t in, int64_t out, int64_t stride) {
    return (axis){.src = out,
                  .dst = in,
                  .src_step = 1,
                  .dst_step = stride,
                  .backward = true,
                  .phases = at_most(stride, in)};
}

void sm_axis_fill(axis *x, int64_t kernel, int64_t pad, int64_t dilation) {
    x->dense = true;
    x->low = INT64_MAX;
    x->high = INT64_MIN;
    for (int64_t p = 0; p < x->phases; p++) {
        x->start[p] = x->taps;
        for (int64_t i = 0; i < kernel; i++) {
            int64_t tap = x->backward ? kernel - 1 - i : i;
            int64_t shift = x->backward ? p + pad - tap * dilation : tap * dilation - pad;
            if (shift % x->dst_step != 0)
                continue;
            shift /= x->dst_step;
            if (x->taps > x->start[p] && shift != x->offset[x->taps - 1] + 1)
                x->dense = false;
            x->low = at_most(x->low, shift);
            x->high = at_least(x->high, shift);
            x->index[x->taps] = tap;
            x->offset[x->taps++] = shift;
        }
    }
    x->start[x->phases] = x->taps;
    if (x->taps == 0)
        x->low = x->high = 0;
}

void sm_axis_carve(axis *x, arena *a, int64_t kernel) {
    x->start = carve(a, x->phases + 1, sizeof *x->start);
    x->index = carve(a, kernel, sizeof *x->index);
    x->offset = carve(a, kernel, sizeof *x->offset);
}

/* resample_impl.h: the loops of resample.h, over the vectors of vec.h. The including file
 * defines SUFFIX(name). */
#include "kernels/resample.h"

/* y[k][lane] = x[lane][k] of VL by VL tiles, or back. */
INLINE void turn(const float *x, int64_t x_row, float *y, int64_t y_row) {
    vec tile[VL];
    UNROLL for (int i = 0; i < VL; i++) tile[i] = v_load(x + i * x_row);
    v_transpose(tile);
    UNROLL for (int i = 0; i < VL; i++) v_store(y + i * y_row, tile[i]);
}

static void columns_(const sm_axis *a, const float *x, int64_t x_row, float *y,
                     int64_t y_row, float *turned, float *mixed) {
    for (int64_t k = 0; k < a->in; k += VL)
        turn(x + k, x_row, turned + k * VL, VL);
    for (int64_t i = 0; i < a->out; i++) {
        const float *weight = a->weight + i * a->most, *from = turned + a->first[i] * VL;
        vec sum = v_mul(v_set(weight[0]), v_load(from));
        for (int64_t k = 1; k < a->count[i]; k++)
            sum = v_fma(v_set(weight[k]), v_load(from + k * VL), sum);
        v_store(mixed + i * VL, sum);
    }
    for (int64_t k = 0; k < a->out; k += VL)
        turn(mixed + k * VL, VL, y + k, y_row);
}

const sm_resample SUFFIX(sm_resample) = {VL, columns_};

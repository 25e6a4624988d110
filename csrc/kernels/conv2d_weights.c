/* conv2d_weights.c: see conv2d_weights.h. The turning is a transposition through the
 * registers, a vector's square at a time. */
#include "kernels/conv2d_weights.h"

#include <string.h>

#include "kernels/conv2d_axis.h"

void sm_conv2d_turn(const conv2d_weights *v, const float *w, int64_t lanes,
                    int64_t column, int64_t count, float *out, int64_t pitch) {
    const int64_t vector = v->k->lanes_per_vector;
    for (int64_t i = 0; lanes < vector && i < count; i++)
        memset(out + i * pitch, 0, (size_t)vector * sizeof *out);
    if (v->src_stride == v->size) {
        v->k->transpose(w + column, v->lane_stride, lanes, count, out, pitch);
        return;
    }
    for (int64_t some; count > 0; column += some, count -= some, out += some * pitch) {
        const int64_t place = column % v->size;
        const float *source = w + column / v->size * v->src_stride + place;
        some = at_most(v->size - place, count);
        if (v->size > 1)
            v->k->transpose(source, v->size, lanes, some, out, pitch);
        else if (lanes == vector)
            conv2d_copy_vector(out, source, vector);
        else
            memcpy(out, source, (size_t)lanes * sizeof *out);
    }
}

void sm_conv2d_turn_back(const conv2d_weights *v, const float *in, int64_t lanes,
                         int64_t column, int64_t count, float *dw) {
    v->k->transpose(in, v->k->lanes_per_vector, count, lanes, dw + column,
                    v->lane_stride);
}

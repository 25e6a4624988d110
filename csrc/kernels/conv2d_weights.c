/* conv2d_weights.c: see conv2d_weights.h. The turning is a transposition through the
 * registers, a vector's square at a time. */
#include "kernels/conv2d_weights.h"

#include <string.h>

#include "kernels/conv2d_axis.h"

/* Columns of one source, which lie together for a lane and a kernel apart between lanes.
 */
static void turn_source(const conv2d_weights *v, const float *w, int64_t lanes,
                        int64_t count, float *out) {
    const int64_t vector = v->k->lanes_per_vector;
    if (v->size == 1)
        memcpy(out, w, (size_t)lanes * sizeof *out);
    else
        v->k->transpose(w, v->size, lanes, count, out, vector);
}

void sm_conv2d_turn(const conv2d_weights *v, const float *w, int64_t lanes,
                    int64_t column, int64_t count, float *out) {
    const int64_t vector = v->k->lanes_per_vector;
    if (lanes < vector)
        memset(out, 0, (size_t)(count * vector) * sizeof *out);
    if (v->src_stride == v->size) {
        v->k->transpose(w + column, v->lane_stride, lanes, count, out, vector);
        return;
    }
    while (count > 0) {
        const int64_t place = column % v->size, some = at_most(v->size - place, count);
        turn_source(v, w + column / v->size * v->src_stride + place, lanes, some, out);
        column += some;
        count -= some;
        out += some * vector;
    }
}

void sm_conv2d_turn_back(const conv2d_weights *v, const float *in, int64_t lanes,
                         int64_t column, int64_t count, float *dw) {
    v->k->transpose(in, v->k->lanes_per_vector, count, lanes, dw + column,
                    v->lane_stride);
}

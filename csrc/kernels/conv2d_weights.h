/* conv2d_weights.h: a convolution's weights turned so that a vector holds neighbouring
 * lanes, and back. Internal to the kernels.
 *
 * Weights lie as w[o][c][kh][kw]; the loops want, for each source channel and place of
 * the kernel, a vector of destination channels ("lanes"). Source and lane are c and o
 * forward, o and c back. The columns of a lane are numbered source * size + place.
 */
#ifndef SM_KERNELS_CONV2D_WEIGHTS_H
#define SM_KERNELS_CONV2D_WEIGHTS_H

#include "kernels/conv2d_blocked.h"

/* Columns turned at a time, so that they stay in the first-level cache. */
enum { CONV2D_COLUMNS = 256, CONV2D_MOST_VECTOR = 16 };
typedef float conv2d_columns[CONV2D_COLUMNS * CONV2D_MOST_VECTOR];

typedef struct conv2d_weights {
    const conv2d_kernels *k;
    int64_t size;                    /* places of a kernel: kh * kw */
    int64_t lane_stride, src_stride; /* floats; one of the two is `size` */
} conv2d_weights;

/* out[column][lane], columns `pitch` floats apart: `count` of them from `column` on,
 * `lanes` lanes (at most a vector; the rest of it becomes zero). w is the first lane's
 * first source. */
void sm_conv2d_turn(const conv2d_weights *v, const float *w, int64_t lanes,
                    int64_t column, int64_t count, float *out, int64_t pitch);
/* The reverse, where src_stride is `size`, from columns a vector apart. */
void sm_conv2d_turn_back(const conv2d_weights *v, const float *in, int64_t lanes,
                         int64_t column, int64_t count, float *dw);

/* One vector, of a length that memcpy can be given as a constant. */
static inline void conv2d_copy_vector(float *out, const float *in, int64_t vector) {
    if (vector == 16)
        __builtin_memcpy(out, in, 16 * sizeof *out);
    else if (vector == 8)
        __builtin_memcpy(out, in, 8 * sizeof *out);
    else
        __builtin_memcpy(out, in, (size_t)vector * sizeof *out);
}

#endif

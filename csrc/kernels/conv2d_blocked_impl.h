/* conv2d_blocked_impl.h: the inner loops of conv2d_blocked.h, over the vectors of vec.h.
 * The including file defines, besides:
 *
 *     VECTORS                     vectors in the widest block
 *     PIXELS_1 .. PIXELS_4        pixels of a tile for blocks of 1 .. 4 vectors, so that
 *                                 sums, weights and one broadcast fit into the registers
 *     ROWS                        rows of a gradient tile
 *     KERNELS_NAME, KERNELS_LABEL
 */
INLINE int at_most_vl(int64_t n) {
    return n < VL ? (int)n : VL;
}

/* Vector v of nv, of which the last has only `last` lanes. */
INLINE vec load_lanes(const float *p, int v, int nv, int last) {
    return v + 1 < nv ? v_load(p + v * VL) : v_load_n(p + v * VL, last);
}
INLINE void store_lanes(float *p, vec x, int v, int nv, int last) {
    if (v + 1 < nv)
        v_store(p + v * VL, x);
    else
        v_store_n(p + v * VL, x, last);
}

INLINE void finish_tile(const conv2d_tile_args *a, const conv2d_pixel *pixel,
                        vec sum[PIXELS_1][VECTORS], const int px, const int nv) {
    const vec low = v_set(a->limits.low), high = v_set(a->limits.high);
    const float *residual = a->residual;
    UNROLL for (int v = 0; v < nv; v++) {
        const vec scale = v_load(a->scale + v * VL), bias = v_load(a->bias + v * VL);
        UNROLL for (int i = 0; i < px; i++) {
            vec y = v_fma(sum[i][v], scale, bias);
            if (residual)
                y += load_lanes(residual + pixel[i].dst, v, nv, a->last);
            sum[i][v] = v_clamp(y, low, high);
        }
    }
}

/* One tile: px pixels by nv vectors. Both are constants where this is inlined. */
INLINE void tile(const conv2d_tile_args *a, const conv2d_pixel *pixel, const int px,
                 const int nv) {
    vec sum[PIXELS_1][VECTORS];
    const float *base[PIXELS_1];
    const int last = a->last;
    UNROLL for (int i = 0; i < px; i++) {
        base[i] = a->src + pixel[i].src;
        UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_zero();
    }
    for (int64_t t = 0; t < a->taps; t++) {
        const float *w = a->w + t * a->tap_stride;
        const int64_t end = a->tap[t] + a->run;
        for (int64_t r = a->tap[t]; r < end; r++, w += nv * VL) {
            vec weight[VECTORS];
            UNROLL for (int v = 0; v < nv; v++) weight[v] = v_load(w + v * VL);
            UNROLL for (int i = 0; i < px; i++) {
                const vec x = v_set(base[i][r]);
                UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
                    v_fma(x, weight[v], sum[i][v]);
            }
        }
    }
    /* Added last: sums of sums round less than one long sum. */
    if (!a->start) {
        UNROLL for (int i = 0; i < px; i++) {
            UNROLL for (int v = 0; v < nv; v++) sum[i][v] +=
                load_lanes(a->sums + pixel[i].dst, v, nv, last);
        }
    }
    if (a->scale)
        finish_tile(a, pixel, sum, px, nv);
    UNROLL for (int i = 0; i < px; i++) {
        UNROLL for (int v = 0; v < nv; v++)
            store_lanes(a->sums + pixel[i].dst, sum[i][v], v, nv, last);
    }
}

/* All pixels, the rest in smaller tiles. */
INLINE void tiles(const conv2d_tile_args *a, const int px, const int nv) {
    int64_t p = 0;
    for (; p + px <= a->count; p += px)
        tile(a, a->pixels + p, px, nv);
    for (; p + 4 <= a->count; p += 4)
        tile(a, a->pixels + p, 4, nv);
    for (; p + 2 <= a->count; p += 2)
        tile(a, a->pixels + p, 2, nv);
    if (p < a->count)
        tile(a, a->pixels + p, 1, nv);
}

/* One tile of the weight gradient: nr rows (neighbours in the source) by nv vectors. */
INLINE void grad_tile(const conv2d_grad_args *a, int64_t offset, float *dw, const int nr,
                      const int nv) {
    vec sum[ROWS][VECTORS];
    UNROLL for (int i = 0; i < nr; i++) {
        UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_load(dw + (i * nv + v) * VL);
    }
    const float *dy = a->dy, *src = a->src + offset;
    const int last = a->last;
    for (int64_t p = 0; p < a->count; p++, dy += a->dy_stride) {
        const float *x = src + a->pixels[p].src;
        vec g[VECTORS];
        UNROLL for (int v = 0; v < nv; v++) g[v] = load_lanes(dy, v, nv, last);
        UNROLL for (int i = 0; i < nr; i++) {
            const vec xi = v_set(x[i]);
            UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_fma(xi, g[v], sum[i][v]);
        }
    }
    UNROLL for (int i = 0; i < nr; i++) {
        UNROLL for (int v = 0; v < nv; v++) v_store(dw + (i * nv + v) * VL, sum[i][v]);
    }
}

INLINE void grad_bias(const conv2d_grad_args *a, const int nv) {
    vec sum[VECTORS];
    UNROLL for (int v = 0; v < nv; v++) sum[v] = v_zero();
    for (int64_t p = 0; p < a->count; p++) {
        UNROLL for (int v = 0; v < nv; v++) sum[v] +=
            load_lanes(a->dy + p * a->dy_stride, v, nv, a->last);
    }
    UNROLL for (int v = 0; v < nv; v++)
        v_store(a->dbias + v * VL, v_load(a->dbias + v * VL) + sum[v]);
}

INLINE void grads(const conv2d_grad_args *a, const int nv) {
    if (a->dbias)
        grad_bias(a, nv);
    for (int64_t t = 0; t < a->taps; t++) {
        float *dw = a->dw + t * a->run * nv * VL;
        int64_t r = 0;
        for (; r + ROWS <= a->run; r += ROWS)
            grad_tile(a, a->tap[t] + r, dw + r * nv * VL, ROWS, nv);
        dw += r * nv * VL;
        switch (a->run - r) {
        case 5:
            grad_tile(a, a->tap[t] + r, dw, 5, nv);
            break;
        case 4:
            grad_tile(a, a->tap[t] + r, dw, 4, nv);
            break;
        case 3:
            grad_tile(a, a->tap[t] + r, dw, 3, nv);
            break;
        case 2:
            grad_tile(a, a->tap[t] + r, dw, 2, nv);
            break;
        case 1:
            grad_tile(a, a->tap[t] + r, dw, 1, nv);
            break;
        default:
            break;
        }
    }
}

static void tiles_1(const conv2d_tile_args *a) {
    tiles(a, PIXELS_1, 1);
}
static void grads_1(const conv2d_grad_args *a) {
    grads(a, 1);
}
#if VECTORS >= 2
static void tiles_2(const conv2d_tile_args *a) {
    tiles(a, PIXELS_2, 2);
}
static void grads_2(const conv2d_grad_args *a) {
    grads(a, 2);
}
#endif
#if VECTORS >= 4
static void tiles_3(const conv2d_tile_args *a) {
    tiles(a, PIXELS_3, 3);
}
static void grads_3(const conv2d_grad_args *a) {
    grads(a, 3);
}
static void tiles_4(const conv2d_tile_args *a) {
    tiles(a, PIXELS_4, 4);
}
static void grads_4(const conv2d_grad_args *a) {
    grads(a, 4);
}
#endif

/* nr rows by nc columns, through the registers. */
INLINE void transpose_block(const float *src, int64_t src_pitch, int nr, int nc,
                            float *dst, int64_t dst_pitch) {
    vec r[VL];
    UNROLL for (int i = 0; i < VL; i++) r[i] = i >= nr ? v_zero()
                                               : nc == VL
                                                   ? v_load(src + i * src_pitch)
                                                   : v_load_n(src + i * src_pitch, nc);
    v_transpose(r);
    if (nc == VL && nr == VL) {
        UNROLL for (int i = 0; i < VL; i++) v_store(dst + i * dst_pitch, r[i]);
        return;
    }
    for (int i = 0; i < nc; i++) {
        if (nr == VL)
            v_store(dst + i * dst_pitch, r[i]);
        else
            v_store_n(dst + i * dst_pitch, r[i], nr);
    }
}

static void transpose(const float *src, int64_t src_pitch, int64_t rows, int64_t columns,
                      float *dst, int64_t dst_pitch) {
    for (int64_t c = 0; c < columns; c += VL)
        for (int64_t r = 0; r < rows; r += VL)
            transpose_block(src + r * src_pitch + c, src_pitch, at_most_vl(rows - r),
                            at_most_vl(columns - c), dst + c * dst_pitch + r, dst_pitch);
}

/* The sums of VL rows, a vector each, become one vector by turning them. */
INLINE void dots_of(const float *a, const float *b, int64_t ldb, int64_t rows,
                    int64_t depth, float *c) {
    vec sum[VL];
    UNROLL for (int i = 0; i < VL; i++) sum[i] = v_zero();
    for (int64_t k = 0; k < depth; k += VL) {
        const int lanes = at_most_vl(depth - k);
        const vec x = v_load_n(a + k, lanes);
        UNROLL for (int i = 0; i < VL; i++) {
            const float *row = b + (i < rows ? i : 0) * ldb + k;
            sum[i] = v_fma(x, lanes == VL ? v_load(row) : v_load_n(row, lanes), sum[i]);
        }
    }
    v_transpose(sum);
    UNROLL for (int i = 1; i < VL; i++) sum[0] += sum[i];
    v_store_n(c, sum[0], (int)rows);
}

static void dots(const float *a, const float *b, int64_t ldb, int64_t rows, int64_t depth,
                 float *c) {
    if (rows == VL)
        dots_of(a, b, ldb, VL, depth, c);
    else
        dots_of(a, b, ldb, rows, depth, c);
}

enum { HELD_TAPS = 9, ABREAST = 4, PIECE_FLOATS = 1024 };

/* px neighbouring pixels of one vector of channels. n taps, a constant, whose weights are
 * held in w; or 0: any number. */
INLINE void depthwise_pixels(const conv2d_depthwise_args *a, const float *src, int64_t c,
                             const vec *w, float *dst, const int n, const int px,
                             const int lanes) {
    const vec low = v_set(a->limits.low), high = v_set(a->limits.high);
    const vec scale = v_load_n(a->scale + c, lanes), bias = v_load_n(a->bias + c, lanes);
    vec sum[ABREAST];
    UNROLL for (int i = 0; i < px; i++) sum[i] = v_zero();
    for (int64_t t = 0; t < (n ? n : a->taps); t++) {
        const vec weight = n ? w[t] : v_load_n(a->w + a->weight[t] + c, lanes);
        const float *x = src + a->tap[t];
        UNROLL for (int i = 0; i < px; i++) {
            const float *at = x + i * a->src_pixel;
            sum[i] =
                v_fma(weight, lanes == VL ? v_load(at) : v_load_n(at, lanes), sum[i]);
        }
    }
    UNROLL for (int i = 0; i < px; i++) {
        vec r = v_fma(sum[i], scale, bias);
        if (a->residual)
            r += v_load_n(a->residual + (dst - a->dst) + i * a->dst_pixel, lanes);
        r = v_clamp(r, low, high);
        if (lanes == VL)
            v_store(dst + i * a->dst_pixel, r);
        else
            v_store_n(dst + i * a->dst_pixel, r, lanes);
    }
}

/* Pixels [begin, end) of a row, of one vector of channels. */
INLINE void depthwise_row(const conv2d_depthwise_args *a, int64_t row, int64_t begin,
                          int64_t end, int64_t c, const int n, const int lanes) {
    const float *src = a->src + row * a->src_row + begin * a->src_pixel + c;
    float *dst = a->dst + row * a->dst_row + begin * a->dst_pixel + c;
    vec w[HELD_TAPS];
    UNROLL for (int t = 0; t < n; t++) w[t] = v_load_n(a->w + a->weight[t] + c, lanes);
    int64_t j = begin;
    for (; j + ABREAST <= end; j += ABREAST) {
        depthwise_pixels(a, src, c, w, dst, n, ABREAST, lanes);
        src += ABREAST * a->src_pixel;
        dst += ABREAST * a->dst_pixel;
    }
    for (; j < end; j++, src += a->src_pixel, dst += a->dst_pixel)
        depthwise_pixels(a, src, c, w, dst, n, 1, lanes);
}

/* Pixels of a row whose sources, with all their channels, stay in the first-level cache
 * while vector after vector of channels passes over them. */
INLINE int64_t depthwise_piece(const conv2d_depthwise_args *a) {
    const int64_t pixels = PIECE_FLOATS / (a->src_pixel ? a->src_pixel : 1);
    return (pixels / ABREAST + 1) * ABREAST;
}

/* Whole vectors with a constant, so that the masks go. */
INLINE void depthwise_rows(const conv2d_depthwise_args *a, const int n) {
    const int64_t whole = a->channels / VL * VL, piece = depthwise_piece(a);
    for (int64_t row = 0; row < a->rows; row++)
        for (int64_t begin = 0; begin < a->columns; begin += piece) {
            const int64_t end = begin + piece < a->columns ? begin + piece : a->columns;
            for (int64_t c = 0; c < whole; c += VL)
                depthwise_row(a, row, begin, end, c, n, VL);
            if (whole < a->channels)
                depthwise_row(a, row, begin, end, whole, n, (int)(a->channels - whole));
        }
}

static void depthwise(const conv2d_depthwise_args *a) {
    switch (a->taps) {
    case 1:
        depthwise_rows(a, 1);
        break;
    case 2:
        depthwise_rows(a, 2);
        break;
    case 4:
        depthwise_rows(a, 4);
        break;
    case 6:
        depthwise_rows(a, 6);
        break;
    case 9:
        depthwise_rows(a, 9);
        break;
    default:
        depthwise_rows(a, 0);
        break;
    }
}

/* n taps from t on, of pixels [begin, end) of a row, of one vector of channels. */
INLINE void depthwise_grad_row(const conv2d_depthwise_args *a, int64_t row, int64_t begin,
                               int64_t end, int64_t c, int64_t t, const int n,
                               const int lanes) {
    const float *src = a->src + row * a->src_row + begin * a->src_pixel + c;
    const float *dy = a->dy + row * a->dst_row + begin * a->dst_pixel + c;
    const int32_t *tap = a->tap + t, *place = a->weight + t;
    vec sum[HELD_TAPS];
    UNROLL for (int k = 0; k < n; k++) sum[k] = v_load_n(a->sums + place[k] + c, lanes);
    for (int64_t j = begin; j < end; j++, src += a->src_pixel, dy += a->dst_pixel) {
        const vec g = lanes == VL ? v_load(dy) : v_load_n(dy, lanes);
        UNROLL for (int k = 0; k < n; k++) {
            const float *at = src + tap[k];
            sum[k] = v_fma(g, lanes == VL ? v_load(at) : v_load_n(at, lanes), sum[k]);
        }
    }
    UNROLL for (int k = 0; k < n; k++) v_store_n(a->sums + place[k] + c, sum[k], lanes);
}

INLINE void depthwise_grad_taps(const conv2d_depthwise_args *a, int64_t t, const int n) {
    const int64_t whole = a->channels / VL * VL, piece = depthwise_piece(a);
    for (int64_t row = 0; row < a->rows; row++)
        for (int64_t begin = 0; begin < a->columns; begin += piece) {
            const int64_t end = begin + piece < a->columns ? begin + piece : a->columns;
            for (int64_t c = 0; c < whole; c += VL)
                depthwise_grad_row(a, row, begin, end, c, t, n, VL);
            if (whole < a->channels)
                depthwise_grad_row(a, row, begin, end, whole, t, n,
                                   (int)(a->channels - whole));
        }
}

static void depthwise_grad(const conv2d_depthwise_args *a) {
    int64_t t = 0;
    for (; t + 9 <= a->taps; t += 9)
        depthwise_grad_taps(a, t, 9);
    for (; t + 6 <= a->taps; t += 6)
        depthwise_grad_taps(a, t, 6);
    for (; t + 4 <= a->taps; t += 4)
        depthwise_grad_taps(a, t, 4);
    for (; t < a->taps; t++)
        depthwise_grad_taps(a, t, 1);
}

#include "kernels/conv2d_winograd_impl.h"

const conv2d_kernels KERNELS_NAME = {
    KERNELS_LABEL,
    VL,
    VECTORS,
#if VECTORS >= 4
    {tiles_1, tiles_2, tiles_3, tiles_4},
    {grads_1, grads_2, grads_3, grads_4},
#elif VECTORS >= 2
    {tiles_1, tiles_2, NULL, NULL},
    {grads_1, grads_2, NULL, NULL},
#endif
    transpose,
    dots,
    depthwise,
    depthwise_grad,
    winograd_weights,
    winograd_weights_back,
    winograd_input,
    winograd_output,
    winograd_output_back,
};

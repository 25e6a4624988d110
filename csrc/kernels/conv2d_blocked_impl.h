/* conv2d_blocked_impl.h: the inner loops of conv2d_blocked.h, over a vector type that the
 * including file defines:
 *
 *     vec, VL                     a vector and its number of floats
 *     v_zero() v_set(f)           constants
 *     v_load(p) v_store(p, v)     unaligned
 *     v_load_n(p, n) v_store_n(p, v, n)   the first n < VL floats; missing ones load as 0
 *     v_fma(a, b, c)              a * b + c
 *     v_relu(v)                   max(0, v), NaN stays NaN
 *     v_transpose(vec r[VL])      in place
 *     v_split(a, b)               of 2 * VL floats in a, b: the even ones to a, the odd
 * ones to b VECTORS                     vectors in the widest block PIXELS_1 .. PIXELS_4
 * pixels of a tile for blocks of 1 .. 4 vectors, so that sums, weights and one broadcast
 * fit into the registers ROWS                        rows of a gradient tile
 *     POINTWISE_ROWS              output channels of a pointwise block, by 3 vectors of
 * pixels KERNELS_NAME, KERNELS_LABEL
 */
#define INLINE static inline __attribute__((always_inline))

/* One tile: px pixels by nv vectors. Both are constants where this is inlined. */
INLINE void tile(const conv2d_tile_args *a, const conv2d_pixel *pixel, const int px,
                 const int nv) {
    vec sum[PIXELS_1][VECTORS];
    const float *base[PIXELS_1];
    UNROLL for (int i = 0; i < px; i++) {
        base[i] = a->src + pixel[i].src;
        UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
            v_load(a->bias ? a->bias + v * VL : a->sums + pixel[i].dst + v * VL);
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
    const bool relu = a->relu;
    float *sums = a->sums;
    UNROLL for (int i = 0; i < px; i++) {
        UNROLL for (int v = 0; v < nv; v++)
            v_store(sums + pixel[i].dst + v * VL, relu ? v_relu(sum[i][v]) : sum[i][v]);
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
    for (int64_t p = 0; p < a->count; p++, dy += a->dy_stride) {
        const float *x = src + a->pixels[p].src;
        vec g[VECTORS];
        UNROLL for (int v = 0; v < nv; v++) g[v] = v_load(dy + v * VL);
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
            v_load(a->dy + p * a->dy_stride + v * VL);
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

/* The same from planes: row r lies at src + r * a->row, its pixels side by side. */
INLINE void plane_tile(const conv2d_grad_args *a, int64_t r, const int nr, const int nv) {
    vec sum[ROWS][VECTORS];
    const float *x[ROWS], *dy = a->dy;
    float *dw = a->dw + r * nv * VL;
    UNROLL for (int i = 0; i < nr; i++) {
        x[i] = a->src + (r + i) * a->row;
        UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_load(dw + (i * nv + v) * VL);
    }
    for (int64_t p = 0; p < a->count; p++, dy += nv * VL) {
        vec g[VECTORS];
        UNROLL for (int v = 0; v < nv; v++) g[v] = v_load(dy + v * VL);
        UNROLL for (int i = 0; i < nr; i++) {
            const vec xi = v_set(x[i][p]);
            UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_fma(xi, g[v], sum[i][v]);
        }
    }
    UNROLL for (int i = 0; i < nr; i++) {
        UNROLL for (int v = 0; v < nv; v++) v_store(dw + (i * nv + v) * VL, sum[i][v]);
    }
}

INLINE void plane_grads(const conv2d_grad_args *a, const int nv) {
    int64_t r = 0;
    for (; r + ROWS <= a->run; r += ROWS)
        plane_tile(a, r, ROWS, nv);
    for (; r + 4 <= a->run; r += 4)
        plane_tile(a, r, 4, nv);
    for (; r + 2 <= a->run; r += 2)
        plane_tile(a, r, 2, nv);
    if (r < a->run)
        plane_tile(a, r, 1, nv);
}

static void tiles_1(const conv2d_tile_args *a) {
    tiles(a, PIXELS_1, 1);
}
static void grads_1(const conv2d_grad_args *a) {
    grads(a, 1);
}
static void plane_grads_1(const conv2d_grad_args *a) {
    plane_grads(a, 1);
}
#if VECTORS >= 2
static void tiles_2(const conv2d_tile_args *a) {
    tiles(a, PIXELS_2, 2);
}
static void grads_2(const conv2d_grad_args *a) {
    grads(a, 2);
}
static void plane_grads_2(const conv2d_grad_args *a) {
    plane_grads(a, 2);
}
#endif
#if VECTORS >= 4
static void tiles_3(const conv2d_tile_args *a) {
    tiles(a, PIXELS_3, 3);
}
static void grads_3(const conv2d_grad_args *a) {
    grads(a, 3);
}
static void plane_grads_3(const conv2d_grad_args *a) {
    plane_grads(a, 3);
}
static void tiles_4(const conv2d_tile_args *a) {
    tiles(a, PIXELS_4, 4);
}
static void grads_4(const conv2d_grad_args *a) {
    grads(a, 4);
}
static void plane_grads_4(const conv2d_grad_args *a) {
    plane_grads(a, 4);
}
#endif

INLINE int at_most_vl(int64_t n) {
    return n < VL ? (int)n : VL;
}

/* A block of np pixels by nc channels through the registers. */
INLINE void block_to_pixels(const float *src, int64_t plane, int nc, int np,
                            const int32_t *position, float *dst) {
    vec r[VL];
    UNROLL for (int c = 0; c < VL; c++) r[c] = c >= nc    ? v_zero()
                                               : np == VL ? v_load(src + c * plane)
                                                          : v_load_n(src + c * plane, np);
    v_transpose(r);
    if (nc == VL && np == VL) {
        UNROLL for (int p = 0; p < VL; p++) v_store(dst + position[p], r[p]);
        return;
    }
    for (int p = 0; p < np; p++) {
        if (nc == VL)
            v_store(dst + position[p], r[p]);
        else
            v_store_n(dst + position[p], r[p], nc);
    }
}

static void to_pixels(const float *src, int64_t plane, int64_t channels, int64_t count,
                      const int32_t *position, float *dst) {
    if (channels < 4) {
        for (int64_t c = 0; c < channels; c++)
            for (int64_t q = 0; q < count; q++)
                dst[position[q] + c] = src[c * plane + q];
        return;
    }
    for (int64_t q = 0; q < count; q += VL)
        for (int64_t c = 0; c < channels; c += VL)
            block_to_pixels(src + c * plane + q, plane, at_most_vl(channels - c),
                            at_most_vl(count - q), position + q, dst + c);
}

INLINE void block_from_pixels(const float *src, int64_t stride, int nc, int np,
                              float *dst, int64_t plane) {
    vec r[VL];
    UNROLL for (int p = 0; p < VL; p++) r[p] =
        p < np ? v_load(src + p * stride) : v_zero();
    v_transpose(r);
    if (nc == VL && np == VL) {
        UNROLL for (int c = 0; c < VL; c++) v_store(dst + c * plane, r[c]);
        return;
    }
    for (int c = 0; c < nc; c++) {
        if (np == VL)
            v_store(dst + c * plane, r[c]);
        else
            v_store_n(dst + c * plane, r[c], np);
    }
}

static void from_pixels(const float *src, int64_t stride, int64_t channels, int64_t count,
                        float *dst, int64_t plane) {
    for (int64_t c = 0; c < channels; c += VL)
        for (int64_t q = 0; q < count; q += VL)
            block_from_pixels(src + q * stride + c, stride, at_most_vl(channels - c),
                              at_most_vl(count - q), dst + c * plane + q, plane);
}

static void depthwise(const float *src, const int32_t *tap, const float *w, int64_t taps,
                      int64_t count, float bias, bool relu, float *out) {
    for (int64_t q = 0; q < count; q += 4 * VL) {
        vec sum[4] = {v_set(bias), v_set(bias), v_set(bias), v_set(bias)};
        for (int64_t t = 0; t < taps; t++) {
            const vec weight = v_set(w[t]);
            const float *x = src + tap[t] + q;
            UNROLL for (int v = 0; v < 4; v++) sum[v] =
                v_fma(weight, v_load(x + v * VL), sum[v]);
        }
        UNROLL for (int v = 0; v < 4; v++) {
            const vec r = relu ? v_relu(sum[v]) : sum[v];
            const int64_t rest = count - q - v * VL;
            if (rest >= VL)
                v_store(out + q + v * VL, r);
            else if (rest > 0)
                v_store_n(out + q + v * VL, r, (int)rest);
        }
    }
}

static void copy_rows(const float *src, int64_t src_pitch, float *dst, int64_t dst_pitch,
                      int64_t rows, int64_t columns) {
    const int64_t whole = columns / VL * VL;
    const int rest = (int)(columns - whole);
    for (int64_t i = 0; i < rows; i++, src += src_pitch, dst += dst_pitch) {
        for (int64_t j = 0; j < whole; j += VL)
            v_store(dst + j, v_load(src + j));
        if (rest)
            v_store_n(dst + whole, v_load_n(src + whole, rest), rest);
    }
}

static void split_row(const float *src, int64_t count, float *even, float *odd) {
    int64_t i = 0;
    for (; i + VL <= count / 2; i += VL) {
        vec a = v_load(src + 2 * i), b = v_load(src + 2 * i + VL);
        v_split(a, b);
        v_store(even + i, a);
        v_store(odd + i, b);
    }
    for (; 2 * i < count; i++) {
        even[i] = src[2 * i];
        if (2 * i + 1 < count)
            odd[i] = src[2 * i + 1];
    }
}

static float sum(const float *x, int64_t count) {
    vec s = v_zero();
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        s += v_load(x + i);
    if (i < count)
        s += v_load_n(x + i, (int)(count - i));
    float lanes[VL], total = 0.0f;
    v_store(lanes, s);
    for (int k = 0; k < VL; k++)
        total += lanes[k];
    return total;
}

/* n taps, n constant. */
INLINE void depthwise_taps(const float *src, const int32_t *tap, int64_t count,
                           const float *dy, float *sums, const int n) {
    vec sum[8];
    UNROLL for (int t = 0; t < n; t++) sum[t] = v_load(sums + t * VL);
    for (int64_t q = 0; q < count; q += VL) {
        const vec g = v_load(dy + q);
        UNROLL for (int t = 0; t < n; t++) sum[t] =
            v_fma(g, v_load(src + tap[t] + q), sum[t]);
    }
    UNROLL for (int t = 0; t < n; t++) v_store(sums + t * VL, sum[t]);
}

static void depthwise_grad(const float *src, const int32_t *tap, int64_t taps,
                           int64_t count, const float *dy, float *sums) {
    for (; taps >= 5; taps -= 5, tap += 5, sums += 5 * VL)
        depthwise_taps(src, tap, count, dy, sums, 5);
    if (taps == 4)
        depthwise_taps(src, tap, count, dy, sums, 4);
    for (; taps > 0 && taps < 4; taps--, tap++, sums += VL)
        depthwise_taps(src, tap, count, dy, sums, 1);
}

/* One block of output channels of a panel of nv vectors of pixels. */
INLINE void pointwise_of(const conv2d_panel *a, const int nv) {
    vec sum[POINTWISE_ROWS][3];
    UNROLL for (int i = 0; i < POINTWISE_ROWS; i++) {
        UNROLL for (int v = 0; v < nv; v++) sum[i][v] = v_set(a->bias[i]);
    }
    const float *x = a->panel, *w = a->w;
    for (int64_t k = 0; k < a->depth; k++, x += 3 * VL, w += POINTWISE_ROWS) {
        vec xs[3];
        UNROLL for (int v = 0; v < nv; v++) xs[v] = v_load(x + v * VL);
        UNROLL for (int i = 0; i < POINTWISE_ROWS; i++) {
            const vec weight = v_set(w[i]);
            UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
                v_fma(weight, xs[v], sum[i][v]);
        }
    }
    const bool relu = a->relu;
    UNROLL for (int i = 0; i < POINTWISE_ROWS; i++) {
        float *out = a->out + i * a->plane;
        if (i >= a->rows)
            return;
        UNROLL for (int v = 0; v < nv; v++) {
            const vec r = relu ? v_relu(sum[i][v]) : sum[i][v];
            if (a->pixels >= (v + 1) * VL)
                v_store(out + v * VL, r);
            else
                v_store_n(out + v * VL, r, a->pixels - v * VL);
        }
    }
}

static void pointwise(const conv2d_panel *a) {
    if (a->pixels > 2 * VL)
        pointwise_of(a, 3);
    else if (a->pixels > VL)
        pointwise_of(a, 2);
    else
        pointwise_of(a, 1);
}

#include "kernels/conv2d_winograd_impl.h"

const conv2d_kernels KERNELS_NAME = {
    KERNELS_LABEL,
    VL,
    VECTORS,
#if VECTORS >= 4
    {tiles_1, tiles_2, tiles_3, tiles_4},
    {grads_1, grads_2, grads_3, grads_4},
    {plane_grads_1, plane_grads_2, plane_grads_3, plane_grads_4},
#elif VECTORS >= 2
    {tiles_1, tiles_2, NULL, NULL},
    {grads_1, grads_2, NULL, NULL},
    {plane_grads_1, plane_grads_2, NULL, NULL},
#endif
    to_pixels,
    from_pixels,
    depthwise,
    depthwise_grad,
    copy_rows,
    split_row,
    sum,
    winograd_weights,
    winograd_weights_back,
    winograd_input,
    winograd_output,
    winograd_output_back,
    POINTWISE_ROWS,
    pointwise,
};

/* warp.h: pixels of planes at places between them. Written once (warp_impl.h), compiled
 * for each instruction set. */
#ifndef SM_KERNELS_WARP_H
#define SM_KERNELS_WARP_H

#include <stdint.h>

enum { SM_WARP_RUN = 64 }; /* pixels a call makes at most */

/* Pixel (x, y) of channel k is data[k * plane + y * row + x]; outside of 0 <= x < w and
 * 0 <= y < h all is fill[k]. */
typedef struct sm_warp_source {
    const float *data;
    int64_t plane;
    int32_t row, c, h, w; /* h and w up to 2^20, h * |row| below 2^31 */
    const float *fill;
} sm_warp_source;

/* Places of n pixels, relative to the pixel (ox, oy) so that small fractions keep their
 * bits; ox from -2 to w + 1, oy from -2 to h + 1, both even. The arrays have room for
 * SM_WARP_RUN. NaN and what is far away lie outside. */
typedef struct sm_warp_places {
    int n;
    int32_t ox, oy;
    float x[SM_WARP_RUN], y[SM_WARP_RUN];
} sm_warp_places;

typedef struct sm_warp_kernels {
    /* out[k * plane + i]: of four neighbours by distance; of the nearest, halves to even.
     */
    void (*bilinear)(const sm_warp_source *s, const sm_warp_places *p, float *out,
                     int64_t plane);
    void (*nearest)(const sm_warp_source *s, const sm_warp_places *p, float *out,
                    int64_t plane);
    /* x[i] = (from[0] + i step[0]) / (from[2] + i step[2]), y[i] with 1; n of p. */
    void (*line)(sm_warp_places *p, const double from[3], const double step[3]);
    /* The same for places moved by dx[i] along the line and dy[i] across it; `across` is
     * the step there. */
    void (*moved_line)(sm_warp_places *p, const double from[3], const double step[3],
                       const double across[3], const float *dx, const float *dy);
} sm_warp_kernels;

extern const sm_warp_kernels sm_warp_kernels__ref, sm_warp_kernels__avx2,
    sm_warp_kernels__avx512;
/* Those of the path in use. */
const sm_warp_kernels *sm_warp_kernels_table(void);

#endif

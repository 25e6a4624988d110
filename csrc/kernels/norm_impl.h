/* norm_impl.h: the loops of norm.h. The including file defines SUFFIX(name). Sums run in
 * 32 lanes, which the compiler keeps in registers, and which keep the rounding error
 * small. */
#include <string.h>

#include "kernels/norm.h"

enum { LANES = 32 };

static float total(const float *lane) {
    float sum[8];
    for (int j = 0; j < 8; j++)
        sum[j] = (lane[j] + lane[j + 8]) + (lane[j + 16] + lane[j + 24]);
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) +
           ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

static float sum_(const float *x, int64_t n) {
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (; i < n; i++)
        lane[i % LANES] += x[i];
    return total(lane);
}

static float squares_(const float *x, int64_t n, float mean) {
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (; i < n; i++)
        lane[i % LANES] += (x[i] - mean) * (x[i] - mean);
    return total(lane);
}

static void affine_(float *restrict y, const float *restrict x, int64_t n, float scale,
                    float shift, bool relu) {
    if (relu)
        for (int64_t i = 0; i < n; i++) {
            float v = x[i] * scale + shift;
            y[i] = v < 0 ? 0 : v;
        }
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * scale + shift;
}

static void dots_(const float *dy, const float *x, const float *y, int64_t n, float mean,
                  float *sum_dy, float *sum_dy_x) {
    float a[LANES] = {0}, b[LANES] = {0};
    int64_t i = 0;
    if (y)
        for (; i + LANES <= n; i += LANES)
            for (int j = 0; j < LANES; j++) {
                float d = y[i + j] > 0 ? dy[i + j] : 0;
                a[j] += d;
                b[j] += d * (x[i + j] - mean);
            }
    else
        for (; i + LANES <= n; i += LANES)
            for (int j = 0; j < LANES; j++) {
                a[j] += dy[i + j];
                b[j] += dy[i + j] * (x[i + j] - mean);
            }
    for (; i < n; i++) {
        float d = !y || y[i] > 0 ? dy[i] : 0;
        a[i % LANES] += d;
        b[i % LANES] += d * (x[i] - mean);
    }
    *sum_dy = total(a);
    *sum_dy_x = total(b);
}

static void combine_(float *restrict dx, const float *restrict dy,
                     const float *restrict x, const float *restrict y, int64_t n, float a,
                     float b, float c) {
    if (y)
        for (int64_t i = 0; i < n; i++)
            dx[i] = a * (y[i] > 0 ? dy[i] : 0) + b * x[i] + c;
    else
        for (int64_t i = 0; i < n; i++)
            dx[i] = a * dy[i] + b * x[i] + c;
}

const sm_norm SUFFIX(sm_norm) = {sum_, squares_, affine_, dots_, combine_};

/* recurrent_impl.h: the loops of recurrent.h. The including file defines SUFFIX(name).
 *
 * Steps are short and there are many, so exp and tanh are shorter here than vmath.h's,
 * and gates of one element share a division. exp is right to 2 ulp and held to
 * e^-28..e^28, which moves a sigmoid by less than 1e-12; tanh is a quotient of
 * polynomials in x^2, of least relative error over [-9, 9] (fitted by Lawson's
 * iteration), right to 6 ulp and, as near 0 as one likes, in relative terms. NaN stays
 * NaN.
 */
#include <stddef.h>

#include "kernels/recurrent.h"
#include "kernels/vmath.h"

#if defined(__FMA__)
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

/* e^-x */
static inline float cell_exp(float x) {
    float c = x > 28.0f ? 28.0f : x;
    c = c < -28.0f ? -28.0f : c;
    const float t =
        FMA(c, -1.44269504088896341f, 12582912.0f); /* rounds, as in vmath.h */
    const float n = t - 12582912.0f;
    const float r = FMA(n, 2.12194440e-4f, FMA(n, -0.693359375f, -c));
    float p = 1.0f / 5040.0f;
    p = FMA(p, r, 1.0f / 720.0f);
    p = FMA(p, r, 1.0f / 120.0f);
    p = FMA(p, r, 1.0f / 24.0f);
    p = FMA(p, r, 1.0f / 6.0f);
    p = FMA(p, r, 0.5f);
    p = FMA(p, r, 1.0f);
    p = FMA(p, r, 1.0f);
    return p * vm_power_of_two(vm_float_bits(t) - 0x4B400000);
}

static inline float cell_tanh(float x) {
    float c = x > 9.0f ? 9.0f : x;
    c = c < -9.0f ? -9.0f : c;
    const float z = c * c;
    float p = 1.335464675e-8f, q = 7.776552024e-7f;
    p = FMA(p, z, 2.060907080e-5f);
    q = FMA(q, z, 3.285633631e-4f);
    p = FMA(p, z, 3.495587378e-3f);
    q = FMA(q, z, 2.587697929e-2f);
    p = FMA(p, z, 1.338102499e-1f);
    q = FMA(q, z, 4.671434058e-1f);
    p = FMA(p, z, 1.0f);
    q = FMA(q, z, 1.0f);
    return c * p / q;
}

static void rnn_(int64_t h, bool relu, const float *restrict bias, float *restrict gates,
                 float *restrict state) {
    if (relu)
        for (int64_t j = 0; j < h; j++) {
            const float x = gates[j] + bias[j];
            gates[j] = state[j] = x < 0 ? 0.0f : x;
        }
    else
        for (int64_t j = 0; j < h; j++)
            gates[j] = state[j] = cell_tanh(gates[j] + bias[j]);
}

static void lstm_(int64_t h, const float *restrict bias, float *restrict gates,
                  float *restrict cell, float *restrict state) {
    for (int64_t j = 0; j < h; j++) {
        const float i = 1 + cell_exp(gates[j] + bias[j]);
        const float f = 1 + cell_exp(gates[h + j] + bias[h + j]);
        const float o = 1 + cell_exp(gates[3 * h + j] + bias[3 * h + j]);
        const float g = cell_tanh(gates[2 * h + j] + bias[2 * h + j]);
        const float all = 1 / (i * f * o);
        gates[j] = f * o * all;
        gates[h + j] = i * o * all;
        gates[2 * h + j] = g;
        gates[3 * h + j] = i * f * all;
        cell[j] = FMA(i * o * all, cell[j], f * o * all * g);
        state[j] = i * f * all * cell_tanh(cell[j]);
    }
}

static void gru_(int64_t h, const float *restrict bias, float *restrict gates,
                 float *restrict hidden, float *restrict state) {
    for (int64_t j = 0; j < h; j++) {
        const float r = 1 + cell_exp(gates[j] + hidden[j] + bias[j]);
        const float z = 1 + cell_exp(gates[h + j] + hidden[h + j] + bias[h + j]);
        const float inverse = 1 / (r * z);
        const float hn = hidden[2 * h + j] + bias[3 * h + j];
        const float n =
            cell_tanh(FMA(z * inverse, hn, gates[2 * h + j] + bias[2 * h + j]));
        gates[j] = z * inverse;
        gates[h + j] = r * inverse;
        gates[2 * h + j] = n;
        hidden[2 * h + j] = hn;
        state[j] = FMA(r * inverse, state[j] - n, n);
    }
}

/* The gradient of a state: what came from the step behind and what the output got. */
static inline float both(const float *dstate, const float *dy, int64_t j) {
    return dy ? dstate[j] + dy[j] : dstate[j];
}

static void rnn_back_(int64_t h, bool relu, const float *restrict gates,
                      const float *restrict dy, float *restrict dgates,
                      float *restrict dstate) {
    for (int64_t j = 0; j < h; j++) {
        const float d = both(dstate, dy, j), y = gates[j];
        dgates[j] = relu ? (y > 0 ? d : 0.0f) : d * (1 - y * y);
        dstate[j] = 0;
    }
}

static void lstm_back_(int64_t h, const float *restrict gates,
                       const float *restrict before, const float *restrict dy,
                       float *restrict dgates, float *restrict dcell,
                       float *restrict dstate) {
    for (int64_t j = 0; j < h; j++) {
        const float i = gates[j], f = gates[h + j], g = gates[2 * h + j],
                    o = gates[3 * h + j], d = both(dstate, dy, j);
        const float t = cell_tanh(FMA(f, before[j], i * g));
        const float dc = FMA(d * o, 1 - t * t, dcell[j]);
        dgates[j] = dc * g * i * (1 - i);
        dgates[h + j] = dc * before[j] * f * (1 - f);
        dgates[2 * h + j] = dc * i * (1 - g * g);
        dgates[3 * h + j] = d * t * o * (1 - o);
        dcell[j] = dc * f;
        dstate[j] = 0;
    }
}

static void gru_back_(int64_t h, const float *restrict gates,
                      const float *restrict hidden_n, const float *restrict before,
                      const float *restrict dy, float *restrict dgates,
                      float *restrict dhidden, float *restrict dstate) {
    for (int64_t j = 0; j < h; j++) {
        const float r = gates[j], z = gates[h + j], n = gates[2 * h + j],
                    d = both(dstate, dy, j);
        const float dn = d * (1 - z) * (1 - n * n);
        const float dr = dn * hidden_n[j] * r * (1 - r);
        const float dz = d * (before[j] - n) * z * (1 - z);
        dgates[j] = dhidden[j] = dr;
        dgates[h + j] = dhidden[h + j] = dz;
        dgates[2 * h + j] = dn;
        dhidden[2 * h + j] = dn * r;
        dstate[j] = d * z;
    }
}

const sm_recurrent SUFFIX(sm_recurrent) = {rnn_,      lstm_,      gru_,
                                           rnn_back_, lstm_back_, gru_back_};

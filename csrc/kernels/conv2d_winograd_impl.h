/* conv2d_winograd_impl.h: the transforms of Winograd's F(4x4, 3x3), F(3x3, 4x4) and
 * F(2x2, 5x5), over the vector type of conv2d_blocked_impl.h. All have tiles of 6x6, so
 * they share B and the points. A vector holds channels; the 36 products of a tile are
 * `step` floats apart.
 *
 *     Y = A^T [ (G w G^T) . (B^T d B) ] A        (Lavin and Gray 2016, section 4.1
 * and 4.2)
 *
 * The points are 0, +-1/sqrt(2), +-sqrt(2) and infinity. Of the symmetric choices they
 * lose least: a sixth of the largest error that the common 0, +-1, +-2 makes.
 */
#define ROOT2 1.41421356f
#define HALF_ROOT2 0.70710678f

/* r = B^T d, one column of 6. */
INLINE void winograd_b(const vec d[6], vec r[6]) {
    const vec two_half = v_set(2.5f), root = v_set(ROOT2), half_root = v_set(HALF_ROOT2);
    const vec p = v_fma(v_set(-2.0f), d[2], d[4]),
              q = v_fma(half_root, d[3], -root * d[1]);
    const vec s = v_fma(v_set(-0.5f), d[2], d[4]),
              t = v_fma(root, d[3], -half_root * d[1]);
    r[0] = v_fma(-two_half, d[2], d[0] + d[4]);
    r[1] = p + q;
    r[2] = p - q;
    r[3] = s + t;
    r[4] = s - t;
    r[5] = v_fma(-two_half, d[3], d[1] + d[5]);
}

static const float power_a[5] = {1.0f, HALF_ROOT2, 0.5f, 0.5f * HALF_ROOT2, 0.25f};
static const float power_b[5] = {1.0f, ROOT2, 2.0f, 2.0f * ROOT2, 4.0f};

/* r = A^T m, from 6 to n. */
INLINE void winograd_a(const vec m[6], vec r[], const int n) {
    const vec p[2] = {m[1] + m[2], m[1] - m[2]}, s[2] = {m[3] + m[4], m[3] - m[4]};
    r[0] = m[0] + p[0] + s[0];
    UNROLL for (int k = 1; k < n; k++) {
        const vec a = v_set(power_a[k]), b = v_set(power_b[k]);
        r[k] = v_fma(b, s[k % 2], a * p[k % 2]);
    }
    r[n - 1] += m[5];
}

/* r = A y, from n to 6: the transpose of winograd_a. */
INLINE void winograd_at(const vec y[], vec r[6], const int n) {
    vec p[2] = {y[0], v_set(power_a[1]) * y[1]}, s[2] = {y[0], v_set(power_b[1]) * y[1]};
    UNROLL for (int k = 2; k < n; k++) {
        p[k % 2] = v_fma(v_set(power_a[k]), y[k], p[k % 2]);
        s[k % 2] = v_fma(v_set(power_b[k]), y[k], s[k % 2]);
    }
    r[0] = y[0];
    r[1] = p[0] + p[1];
    r[2] = p[0] - p[1];
    r[3] = s[0] + s[1];
    r[4] = s[0] - s[1];
    r[5] = y[n - 1];
}

/* G is A for kernels, its rows over the products of the differences between the points.
 */
INLINE void winograd_g(const vec w[], vec r[6], const int n) {
    const vec a = v_set(-2.0f / 3.0f), b = v_set(1.0f / 6.0f);
    winograd_at(w, r, n);
    r[1] = a * r[1];
    r[2] = a * r[2];
    r[3] = b * r[3];
    r[4] = b * r[4];
}

/* r = G^T u, from 6 to n: the transpose of winograd_g. */
INLINE void winograd_gt(const vec u[6], vec r[], const int n) {
    const vec a = v_set(-2.0f / 3.0f), b = v_set(1.0f / 6.0f);
    const vec scaled[6] = {u[0], a * u[1], a * u[2], b * u[3], b * u[4], u[5]};
    winograd_a(scaled, r, n);
}

INLINE void winograd_b6(const vec d[], vec r[], const int n) {
    (void)n;
    winograd_b(d, r);
}

/* The two-sided transform of a [from x from] square to [to x to] by the one-sided f,
 * whose size other than 6 is n; all in arrays of 6 a row. */
#define WINOGRAD_BOTH(f, n, from, to, in, out)                                           \
    do {                                                                                 \
        vec half[6][6];                                                                  \
        UNROLL for (int j = 0; j < (from); j++) {                                        \
            vec column[6], done[6];                                                      \
            UNROLL for (int i = 0; i < (from); i++) column[i] = in[i][j];                \
            f(column, done, n);                                                          \
            UNROLL for (int i = 0; i < (to); i++) half[i][j] = done[i];                  \
        }                                                                                \
        UNROLL for (int i = 0; i < (to); i++) f(half[i], out[i], n);                     \
    } while (0)

/* Expands to calls with the size as a constant. */
#define WINOGRAD_SIZES(n, two, three, four, five)                                        \
    switch (n) {                                                                         \
    case 2:                                                                              \
        two;                                                                             \
        break;                                                                           \
    case 3:                                                                              \
        three;                                                                           \
        break;                                                                           \
    case 4:                                                                              \
        four;                                                                            \
        break;                                                                           \
    default:                                                                             \
        five;                                                                            \
        break;                                                                           \
    }

INLINE void weights_of(const float *w, float *out, int64_t step, const int n) {
    vec in[6][6], u[6][6];
    UNROLL for (int i = 0; i < n * n; i++) in[i / n][i % n] = v_load(w + i * VL);
    WINOGRAD_BOTH(winograd_g, n, n, 6, in, u);
    UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step, u[i / 6][i % 6]);
}

static void winograd_weights(int n, const float *w, float *out, int64_t step) {
    WINOGRAD_SIZES(n, (void)0, weights_of(w, out, step, 3), weights_of(w, out, step, 4),
                   weights_of(w, out, step, 5));
}

INLINE void weights_back_of(const float *u, int64_t step, float *dw, const int n) {
    vec in[6][6], r[6][6];
    UNROLL for (int i = 0; i < 36; i++) in[i / 6][i % 6] = v_load(u + i * step);
    WINOGRAD_BOTH(winograd_gt, n, 6, n, in, r);
    UNROLL for (int i = 0; i < n * n; i++) v_store(dw + i * VL, r[i / n][i % n]);
}

static void winograd_weights_back(int n, const float *u, int64_t step, float *dw) {
    WINOGRAD_SIZES(n, (void)0, weights_back_of(u, step, dw, 3),
                   weights_back_of(u, step, dw, 4), weights_back_of(u, step, dw, 5));
}

INLINE void input_of(const float *src, int64_t row, int64_t pixel, float *out,
                     int64_t step, const int lanes) {
    vec d[6][6], v[6][6];
    UNROLL for (int i = 0; i < 36; i++) {
        const float *at = src + i / 6 * row + i % 6 * pixel;
        d[i / 6][i % 6] = lanes == VL ? v_load(at) : v_load_n(at, lanes);
    }
    WINOGRAD_BOTH(winograd_b6, 6, 6, 6, d, v);
    UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step, v[i / 6][i % 6]);
}

static void winograd_input(const float *src, int64_t row, int64_t pixel, int64_t channels,
                           float *out, int64_t step) {
    int64_t c = 0;
    for (; c + VL <= channels; c += VL)
        input_of(src + c, row, pixel, out + c, step, VL);
    if (c < channels)
        input_of(src + c, row, pixel, out + c, step, (int)(channels - c));
}

INLINE void output_of(const float *m, int64_t step, const conv2d_square *a, const int n) {
    const vec low = v_set(a->limits.low), high = v_set(a->limits.high);
    for (int64_t c = 0; c < a->lanes; c += VL) {
        const int lanes = at_most_vl(a->lanes - c);
        vec in[6][6], y[6][6];
        UNROLL for (int i = 0; i < 36; i++) in[i / 6][i % 6] = v_load(m + i * step + c);
        WINOGRAD_BOTH(winograd_a, n, 6, n, in, y);
        const vec scale = v_load(a->scale + c), bias = v_load(a->bias + c);
        UNROLL for (int i = 0; i < n * n; i++) {
            if (i / n >= a->rows || i % n >= a->columns)
                continue;
            const int64_t at = i / n * a->row + i % n * a->pixel + c;
            vec r = v_fma(y[i / n][i % n], scale, bias);
            if (a->residual)
                r += v_load_n(a->residual + at, lanes);
            v_store_n(a->out + at, v_clamp(r, low, high), lanes);
        }
    }
}

static void winograd_output(int n, const float *m, int64_t step, const conv2d_square *a) {
    WINOGRAD_SIZES(n, output_of(m, step, a, 2), output_of(m, step, a, 3),
                   output_of(m, step, a, 4), (void)0);
}

INLINE void output_back_of(const conv2d_square *a, float *out, int64_t step,
                           const int n) {
    for (int64_t c = 0; c < a->lanes; c += VL) {
        const int lanes = at_most_vl(a->lanes - c);
        vec in[6][6], m[6][6];
        UNROLL for (int i = 0; i < n * n; i++) in[i / n][i % n] =
            i / n < a->rows && i % n < a->columns
                ? v_load_n(a->in + i / n * a->row + i % n * a->pixel + c, lanes)
                : v_zero();
        WINOGRAD_BOTH(winograd_at, n, n, 6, in, m);
        UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step + c, m[i / 6][i % 6]);
    }
}

static void winograd_output_back(int n, const conv2d_square *a, float *out,
                                 int64_t step) {
    WINOGRAD_SIZES(n, output_back_of(a, out, step, 2), output_back_of(a, out, step, 3),
                   output_back_of(a, out, step, 4), (void)0);
}

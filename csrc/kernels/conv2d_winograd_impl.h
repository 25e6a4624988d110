/* conv2d_winograd_impl.h: the transforms of Winograd's F(4x4, 3x3), over the vector type of
 * conv2d_blocked_impl.h. A vector holds channels; the 36 products of a tile are `step` floats apart.
 *
 *     Y = A^T [ (G w G^T) . (B^T d B) ] A        (Lavin and Gray 2016, section 4.1 and 4.2)
 *
 * The points are 0, +-1/sqrt(2), +-sqrt(2) and infinity. Of the symmetric choices they lose least:
 * a sixth of the largest error that the common 0, +-1, +-2 makes.
 */
#define ROOT2 1.41421356f
#define HALF_ROOT2 0.70710678f

/* r = B^T d, one column of 6. */
INLINE void winograd_b(const vec d[6], vec r[6]) {
    const vec two_half = v_set(2.5f), root = v_set(ROOT2), half_root = v_set(HALF_ROOT2);
    const vec p = v_fma(v_set(-2.0f), d[2], d[4]), q = v_fma(half_root, d[3], -root * d[1]);
    const vec s = v_fma(v_set(-0.5f), d[2], d[4]), t = v_fma(root, d[3], -half_root * d[1]);
    r[0] = v_fma(-two_half, d[2], d[0] + d[4]);
    r[1] = p + q;
    r[2] = p - q;
    r[3] = s + t;
    r[4] = s - t;
    r[5] = v_fma(-two_half, d[3], d[1] + d[5]);
}

/* r = A^T m, from 6 to 4. */
INLINE void winograd_a(const vec m[6], vec r[4]) {
    const vec p = m[1] + m[2], q = m[1] - m[2], s = m[3] + m[4], t = m[3] - m[4];
    r[0] = m[0] + p + s;
    r[1] = v_fma(v_set(ROOT2), t, v_set(HALF_ROOT2) * q);
    r[2] = v_fma(v_set(2.0f), s, v_set(0.5f) * p);
    r[3] = v_fma(v_set(2.0f * ROOT2), t, v_fma(v_set(0.5f * HALF_ROOT2), q, m[5]));
}

/* r = A y, from 4 to 6: the transpose of winograd_a. */
INLINE void winograd_at(const vec y[4], vec r[6]) {
    const vec p = v_fma(v_set(0.5f), y[2], y[0]), s = v_fma(v_set(2.0f), y[2], y[0]);
    const vec q = v_fma(v_set(0.5f * HALF_ROOT2), y[3], v_set(HALF_ROOT2) * y[1]);
    const vec t = v_fma(v_set(2.0f * ROOT2), y[3], v_set(ROOT2) * y[1]);
    r[0] = y[0];
    r[1] = p + q;
    r[2] = p - q;
    r[3] = s + t;
    r[4] = s - t;
    r[5] = y[3];
}

/* r = G w, from 3 to 6. */
INLINE void winograd_g(const vec w[3], vec r[6]) {
    const vec third = v_set(1.0f / 3.0f), sixth = v_set(1.0f / 6.0f);
    const vec p = v_fma(v_set(-2.0f / 3.0f), w[0], -third * w[2]);
    const vec q = v_set(-ROOT2 / 3.0f) * w[1];
    const vec s = v_fma(sixth, w[0], third * w[2]), t = v_set(ROOT2 / 6.0f) * w[1];
    r[0] = w[0];
    r[1] = p + q;
    r[2] = p - q;
    r[3] = s + t;
    r[4] = s - t;
    r[5] = w[2];
}

/* r = G^T u, from 6 to 3: the transpose of winograd_g. */
INLINE void winograd_gt(const vec u[6], vec r[3]) {
    const vec p = u[1] + u[2], q = u[3] + u[4];
    r[0] = v_fma(v_set(-2.0f / 3.0f), p, v_fma(v_set(1.0f / 6.0f), q, u[0]));
    r[1] = v_fma(v_set(-ROOT2 / 3.0f), u[1] - u[2], v_set(ROOT2 / 6.0f) * (u[3] - u[4]));
    r[2] = v_fma(v_set(1.0f / 3.0f), q - p, u[5]);
}

/* The two-sided transform of a [from x from] square to [to x to], by the one-sided f. */
#define WINOGRAD_BOTH(f, from, to, in, out)                                                        \
    do {                                                                                           \
        vec half[to][from];                                                                        \
        UNROLL for (int j = 0; j < from; j++) {                                                    \
            vec column[from], done[to];                                                            \
            UNROLL for (int i = 0; i < from; i++) column[i] = in[i][j];                            \
            f(column, done);                                                                       \
            UNROLL for (int i = 0; i < to; i++) half[i][j] = done[i];                              \
        }                                                                                          \
        UNROLL for (int i = 0; i < to; i++) f(half[i], out[i]);                                    \
    } while (0)

static void winograd_weights(const float *w, float *out, int64_t step) {
    vec in[3][3], u[6][6];
    UNROLL for (int i = 0; i < 9; i++) in[i / 3][i % 3] = v_load(w + i * VL);
    WINOGRAD_BOTH(winograd_g, 3, 6, in, u);
    UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step, u[i / 6][i % 6]);
}

static void winograd_weights_back(const float *u, int64_t step, float *dw) {
    vec in[6][6], r[3][3];
    UNROLL for (int i = 0; i < 36; i++) in[i / 6][i % 6] = v_load(u + i * step);
    WINOGRAD_BOTH(winograd_gt, 6, 3, in, r);
    UNROLL for (int i = 0; i < 9; i++) v_store(dw + i * VL, r[i / 3][i % 3]);
}

static void winograd_input(const float *src, int64_t row, int64_t pixel, int64_t channels,
                           float *out, int64_t step) {
    for (int64_t c = 0; c < channels; c += VL) {
        vec d[6][6], v[6][6];
        UNROLL for (int i = 0; i < 36; i++) d[i / 6][i % 6] =
            v_load(src + i / 6 * row + i % 6 * pixel + c);
        WINOGRAD_BOTH(winograd_b, 6, 6, d, v);
        UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step + c, v[i / 6][i % 6]);
    }
}

static void winograd_output(const float *m, int64_t step, int64_t lanes, const float *bias,
                            bool relu, int rows, int columns, float *out, int64_t row,
                            int64_t pixel) {
    for (int64_t c = 0; c < lanes; c += VL) {
        vec in[6][6], y[4][4];
        UNROLL for (int i = 0; i < 36; i++) in[i / 6][i % 6] = v_load(m + i * step + c);
        WINOGRAD_BOTH(winograd_a, 6, 4, in, y);
        const vec b = v_load(bias + c);
        UNROLL for (int i = 0; i < 16; i++) {
            vec r = y[i / 4][i % 4] + b;
            if (i / 4 < rows && i % 4 < columns)
                v_store(out + i / 4 * row + i % 4 * pixel + c, relu ? v_relu(r) : r);
        }
    }
}

static void winograd_output_back(const float *dy, int64_t row, int64_t pixel, int rows, int columns,
                                 int64_t lanes, float *out, int64_t step) {
    for (int64_t c = 0; c < lanes; c += VL) {
        vec in[4][4], m[6][6];
        UNROLL for (int i = 0; i < 16; i++) in[i / 4][i % 4] =
            i / 4 < rows && i % 4 < columns ? v_load(dy + i / 4 * row + i % 4 * pixel + c)
                                            : v_zero();
        WINOGRAD_BOTH(winograd_at, 4, 6, in, m);
        UNROLL for (int i = 0; i < 36; i++) v_store(out + i * step + c, m[i / 6][i % 6]);
    }
}

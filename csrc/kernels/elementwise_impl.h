/* elementwise_impl.h: the loops, compiled once for each instruction set. The including
 * file defines SUFFIX(name). */
#include <math.h>

#include "kernels/elementwise.h"
#include "kernels/vmath.h"

#define UNUSED_SCALARS (void)s

/* clang-format off */
#define UNARY(NAME, VALUE)                                                                        \
    static void NAME(float *restrict yp, const float *restrict xp, int64_t n, sm_scalars s) {     \
        UNUSED_SCALARS;                                                                           \
        for (int64_t i = 0; i < n; i++) { const float x = xp[i]; yp[i] = VALUE; }                 \
    }
#define UNARY_GRAD(NAME, VALUE)                                                                   \
    static void NAME(float *restrict dxp, const float *restrict dyp, const float *restrict xp,    \
                     const float *restrict yp, int64_t n, sm_scalars s) {                         \
        UNUSED_SCALARS;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                         \
            const float x = xp[i], y = yp[i], dy = dyp[i];                                        \
            (void)x; (void)y; (void)dy;                                                                   \
            dxp[i] = VALUE;                                                                       \
        }                                                                                         \
    }
#define BINARY(NAME, VALUE)                                                                       \
    static void NAME(float *restrict yp, const float *restrict ap, const float *restrict bp,      \
                     int64_t n) {                                                                 \
        for (int64_t i = 0; i < n; i++) { const float a = ap[i], b = bp[i]; yp[i] = VALUE; }      \
    }
#define BINARY_GRAD(NAME, VALUE)                                                                  \
    static void NAME(float *restrict dp, const float *restrict dyp, const float *restrict ap,     \
                     const float *restrict bp, int64_t n) {                                       \
        for (int64_t i = 0; i < n; i++) {                                                         \
            const float a = ap[i], b = bp[i], dy = dyp[i];                                        \
            (void)a; (void)b; (void)dy;                                                                   \
            dp[i] = VALUE;                                                                        \
        }                                                                                         \
    }
/* clang-format on */

#define SQRT_HALF 0.70710678118654752440f
#define SQRT_2_OVER_PI 0.79788456080286535588f
#define INV_SQRT_2PI 0.39894228040143267794f
#define TWO_OVER_SQRT_PI 1.12837916709551257390f

/* Gaussian error linear unit (Hendrycks and Gimpel 2016): x Phi(x), and its tanh
 * approximation. */
static inline float gelu_tanh_inner(float x) {
    return SQRT_2_OVER_PI * (x + 0.044715f * x * x * x);
}

static inline float gelu_tanh_slope(float x) {
    float t = vm_tanh(gelu_tanh_inner(x));
    return 0.5f * (1 + t) +
           0.5f * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * 0.044715f * x * x);
}

static inline float gelu_slope(float x) {
    return 0.5f * (1 + erff(x * SQRT_HALF)) + x * INV_SQRT_2PI * vm_exp(-0.5f * x * x);
}

/* relu6(x + 3), of which Hardsigmoid and Hardswish are made (Howard et al. 2019, section
 * 5.2). */
static inline float hard_gate(float x) {
    const float z = x + 3;
    return z < 0 ? 0.0f : z > 6 ? 6.0f : z;
}

static inline float hardswish_slope(float x) {
    return x <= -3 ? 0.0f : x < 3 ? x / 3 + 0.5f : 1.0f;
}

/* x sigmoid(x) (Elfwing, Uchibe, Doya 2018). */
static inline float silu_slope(float x) {
    const float g = vm_sigmoid(x);
    return g * (1 + x * (1 - g));
}

static inline float power_slope(float x, float a) {
    return a == 0 ? 0.0f : a * powf(x, a - 1);
}

UNARY(exp_, vm_exp(x))
UNARY(log_, vm_log(x))
UNARY(sqrt_, sqrtf(x))
UNARY(abs_, fabsf(x))
UNARY(neg_, -x)
UNARY(reciprocal_, 1.0f / x)
UNARY(square_, x *x)
UNARY(sign_, x > 0 ? 1.0f : x < 0 ? -1.0f : x)
UNARY(floor_, floorf(x))
UNARY(ceil_, ceilf(x))
UNARY(round_, rintf(x))
UNARY(sin_, sinf(x))
UNARY(cos_, cosf(x))
UNARY(tanh_, vm_tanh(x))
UNARY(sigmoid_, vm_sigmoid(x))
UNARY(relu_, x < 0 ? 0.0f : x)
UNARY(leaky_, x > 0 ? x : s.a * x)
UNARY(gelu_, 0.5f * x * (1 + erff(x * SQRT_HALF)))
UNARY(gelu_tanh_, 0.5f * x * (1 + vm_tanh(gelu_tanh_inner(x))))
UNARY(erf_, erff(x))
UNARY(log1p_, vm_log1p(x))
UNARY(expm1_, vm_expm1(x))
UNARY(softplus_, s.a *x > s.b ? x : vm_log1p(vm_exp(s.a * x)) / s.a)
UNARY(clamp_, x<s.a ? s.a : x> s.b ? s.b : x)
UNARY(pow_, powf(x, s.a))
UNARY(relu6_, x<0 ? 0.0f : x> 6 ? 6.0f : x)
UNARY(hardsigmoid_, hard_gate(x) / 6)
UNARY(hardswish_, x *hard_gate(x) / 6)
UNARY(silu_, x *vm_sigmoid(x))
UNARY(elu_, x > 0 ? x : s.a * vm_expm1(x))

UNARY_GRAD(d_exp, dy *y)
UNARY_GRAD(d_log, dy / x)
UNARY_GRAD(d_sqrt, dy * 0.5f / y)
UNARY_GRAD(d_abs, x > 0 ? dy : x < 0 ? -dy : 0.0f)
UNARY_GRAD(d_neg, -dy)
UNARY_GRAD(d_reciprocal, -dy *y *y)
UNARY_GRAD(d_square, 2 * dy * x)
UNARY_GRAD(d_zero, 0.0f)
UNARY_GRAD(d_sin, dy *cosf(x))
UNARY_GRAD(d_cos, -dy *sinf(x))
UNARY_GRAD(d_tanh, dy *(1 - y * y))
UNARY_GRAD(d_sigmoid, dy *y *(1 - y))
UNARY_GRAD(d_relu, y > 0 ? dy : 0.0f)
UNARY_GRAD(d_leaky, x > 0 ? dy : s.a * dy)
UNARY_GRAD(d_gelu, dy *gelu_slope(x))
UNARY_GRAD(d_gelu_tanh, dy *gelu_tanh_slope(x))
UNARY_GRAD(d_erf, dy *TWO_OVER_SQRT_PI *vm_exp(-x *x))
UNARY_GRAD(d_log1p, dy / (1 + x))
UNARY_GRAD(d_expm1, dy *(y + 1))
UNARY_GRAD(d_softplus, s.a *x > s.b ? dy : dy * vm_sigmoid(s.a * x))
UNARY_GRAD(d_clamp, x<s.a || x> s.b ? 0.0f : dy)
UNARY_GRAD(d_pow, dy *power_slope(x, s.a))
UNARY_GRAD(d_relu6, y > 0 && y < 6 ? dy : 0.0f)
UNARY_GRAD(d_hardsigmoid, x > -3 && x < 3 ? dy / 6 : 0.0f)
UNARY_GRAD(d_hardswish, dy *hardswish_slope(x))
UNARY_GRAD(d_silu, dy *silu_slope(x))
UNARY_GRAD(d_elu, x > 0 ? dy : dy * s.a * vm_exp(x))

static inline float remainder_of(float a, float b) {
    float r = fmodf(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

BINARY(add_, a + b)
BINARY(sub_, a - b)
BINARY(mul_, a *b)
BINARY(div_, a / b)
BINARY(power_, powf(a, b))
BINARY(maximum_, a != a || a > b ? a : b)
BINARY(minimum_, a != a || a < b ? a : b)
BINARY(remainder_, remainder_of(a, b))
BINARY(floor_divide_, floorf(a / b))
BINARY(prelu_, a > 0 ? a : b * a)

BINARY_GRAD(same_, dy)
BINARY_GRAD(opposite_, -dy)
BINARY_GRAD(mul_a, dy *b)
BINARY_GRAD(mul_b, dy *a)
BINARY_GRAD(div_a, dy / b)
BINARY_GRAD(div_b, -dy *a / (b * b))
BINARY_GRAD(power_a, b == 0 ? 0.0f : dy * b * powf(a, b - 1))
BINARY_GRAD(power_b, a == 0 && b >= 0 ? 0.0f : dy * powf(a, b) * logf(a))
BINARY_GRAD(maximum_a, a > b ? dy : a == b ? 0.5f * dy : 0.0f)
BINARY_GRAD(maximum_b, b > a ? dy : a == b ? 0.5f * dy : 0.0f)
BINARY_GRAD(minimum_a, a < b ? dy : a == b ? 0.5f * dy : 0.0f)
BINARY_GRAD(minimum_b, b < a ? dy : a == b ? 0.5f * dy : 0.0f)
BINARY_GRAD(remainder_b, -dy *floorf(a / b))
BINARY_GRAD(zero_, 0.0f)
BINARY_GRAD(prelu_a, a > 0 ? dy : b * dy)
BINARY_GRAD(prelu_b, a > 0 ? 0.0f : a * dy)

const sm_elementwise SUFFIX(sm_elementwise) = {
    .unary = {[SM_EXP] = exp_,
              [SM_LOG] = log_,
              [SM_SQRT] = sqrt_,
              [SM_ABS] = abs_,
              [SM_NEG] = neg_,
              [SM_RECIPROCAL] = reciprocal_,
              [SM_SQUARE] = square_,
              [SM_SIGN] = sign_,
              [SM_FLOOR] = floor_,
              [SM_CEIL] = ceil_,
              [SM_ROUND] = round_,
              [SM_SIN] = sin_,
              [SM_COS] = cos_,
              [SM_TANH] = tanh_,
              [SM_SIGMOID] = sigmoid_,
              [SM_RELU] = relu_,
              [SM_LEAKY_RELU] = leaky_,
              [SM_GELU] = gelu_,
              [SM_GELU_TANH] = gelu_tanh_,
              [SM_ERF] = erf_,
              [SM_LOG1P] = log1p_,
              [SM_EXPM1] = expm1_,
              [SM_SOFTPLUS] = softplus_,
              [SM_CLAMP] = clamp_,
              [SM_POW] = pow_,
              [SM_RELU6] = relu6_,
              [SM_HARDSIGMOID] = hardsigmoid_,
              [SM_HARDSWISH] = hardswish_,
              [SM_SILU] = silu_,
              [SM_ELU] = elu_},
    .unary_grad = {[SM_EXP] = d_exp,
                   [SM_LOG] = d_log,
                   [SM_SQRT] = d_sqrt,
                   [SM_ABS] = d_abs,
                   [SM_NEG] = d_neg,
                   [SM_RECIPROCAL] = d_reciprocal,
                   [SM_SQUARE] = d_square,
                   [SM_SIGN] = d_zero,
                   [SM_FLOOR] = d_zero,
                   [SM_CEIL] = d_zero,
                   [SM_ROUND] = d_zero,
                   [SM_SIN] = d_sin,
                   [SM_COS] = d_cos,
                   [SM_TANH] = d_tanh,
                   [SM_SIGMOID] = d_sigmoid,
                   [SM_RELU] = d_relu,
                   [SM_LEAKY_RELU] = d_leaky,
                   [SM_GELU] = d_gelu,
                   [SM_GELU_TANH] = d_gelu_tanh,
                   [SM_ERF] = d_erf,
                   [SM_LOG1P] = d_log1p,
                   [SM_EXPM1] = d_expm1,
                   [SM_SOFTPLUS] = d_softplus,
                   [SM_CLAMP] = d_clamp,
                   [SM_POW] = d_pow,
                   [SM_RELU6] = d_relu6,
                   [SM_HARDSIGMOID] = d_hardsigmoid,
                   [SM_HARDSWISH] = d_hardswish,
                   [SM_SILU] = d_silu,
                   [SM_ELU] = d_elu},
    .binary = {[SM_ADD] = add_,
               [SM_SUB] = sub_,
               [SM_MUL] = mul_,
               [SM_DIV] = div_,
               [SM_POWER] = power_,
               [SM_MAXIMUM] = maximum_,
               [SM_MINIMUM] = minimum_,
               [SM_REMAINDER] = remainder_,
               [SM_FLOOR_DIVIDE] = floor_divide_,
               [SM_PRELU] = prelu_},
    .binary_grad = {[SM_ADD] = {same_, same_},
                    [SM_SUB] = {same_, opposite_},
                    [SM_MUL] = {mul_a, mul_b},
                    [SM_DIV] = {div_a, div_b},
                    [SM_POWER] = {power_a, power_b},
                    [SM_MAXIMUM] = {maximum_a, maximum_b},
                    [SM_MINIMUM] = {minimum_a, minimum_b},
                    [SM_REMAINDER] = {same_, remainder_b},
                    [SM_FLOOR_DIVIDE] = {zero_, zero_},
                    [SM_PRELU] = {prelu_a, prelu_b}}};

/* elementwise.h: float32 functions of one and two operands, over any strides.
 *
 * The loops are written once (elementwise_impl.h) and compiled for each instruction set;
 * the compiler vectorises them. exp, log, sigmoid and tanh are the project's own
 * polynomials: at most 2 ulp from the exact value over the whole range, infinities, NaN
 * and subnormal results included; expm1 and log1p, made of them, at most 3.
 */
#ifndef SM_KERNELS_ELEMENTWISE_H
#define SM_KERNELS_ELEMENTWISE_H

#include "kernels/strided.h"

typedef enum sm_unary {
    SM_EXP,
    SM_LOG,
    SM_SQRT,
    SM_ABS,
    SM_NEG,
    SM_RECIPROCAL,
    SM_SQUARE,
    SM_SIGN,
    SM_FLOOR,
    SM_CEIL,
    SM_ROUND, /* half to even */
    SM_SIN,
    SM_COS,
    SM_TANH,
    SM_SIGMOID,
    SM_RELU,
    SM_LEAKY_RELU, /* a: the slope below 0 */
    SM_GELU,       /* exact */
    SM_GELU_TANH,
    SM_ERF,
    SM_LOG1P,
    SM_EXPM1,
    SM_SOFTPLUS, /* a: beta, b: the threshold */
    SM_CLAMP,    /* a..b */
    SM_POW,      /* x^a */
    SM_RELU6,
    SM_HARDSIGMOID,
    SM_HARDSWISH,
    SM_SILU,
    SM_ELU, /* a: alpha */
    SM_UNARY_COUNT
} sm_unary;

typedef enum sm_binary {
    SM_ADD,
    SM_SUB,
    SM_MUL,
    SM_DIV,
    SM_POWER,
    SM_MAXIMUM,
    SM_MINIMUM,
    SM_REMAINDER, /* sign of the divisor */
    SM_FLOOR_DIVIDE,
    SM_PRELU, /* b: the slope below 0 */
    SM_BINARY_COUNT
} sm_binary;

typedef struct sm_scalars {
    float a, b;
} sm_scalars;

/* walk: operand 0 is the result y, operand 1 is x. */
void sm_unary_run(sm_unary kind, sm_scalars s, const sm_strided *walk);
/* Operands: dx, dy, x and y = f(x): dx = dy * f'(x). The functions read x or y as it
 * suits them. */
void sm_unary_grad_run(sm_unary kind, sm_scalars s, const sm_strided *walk);
/* Operands: y, a, b. */
void sm_binary_run(sm_binary kind, const sm_strided *walk);
/* Operands: da (or db), dy, a, b. */
void sm_binary_grad_run(sm_binary kind, int operand, const sm_strided *walk);

/* The loops behind them, on dense memory. */
typedef void (*sm_unary_loop)(float *restrict y, const float *restrict x, int64_t n,
                              sm_scalars s);
typedef void (*sm_unary_grad_loop)(float *restrict dx, const float *restrict dy,
                                   const float *restrict x, const float *restrict y,
                                   int64_t n, sm_scalars s);
typedef void (*sm_binary_loop)(float *restrict y, const float *restrict a,
                               const float *restrict b, int64_t n);
typedef void (*sm_binary_grad_loop)(float *restrict d, const float *restrict dy,
                                    const float *restrict a, const float *restrict b,
                                    int64_t n);

typedef struct sm_elementwise {
    sm_unary_loop unary[SM_UNARY_COUNT];
    sm_unary_grad_loop unary_grad[SM_UNARY_COUNT];
    sm_binary_loop binary[SM_BINARY_COUNT];
    sm_binary_grad_loop binary_grad[SM_BINARY_COUNT][2];
} sm_elementwise;

extern const sm_elementwise sm_elementwise__ref, sm_elementwise__avx2,
    sm_elementwise__avx512;
/* The table of the path in use. */
const sm_elementwise *sm_elementwise_table(void);

#endif

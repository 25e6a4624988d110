/* elementwise.h: ops that work element by element, with broadcasting.
 *
 * Operands may be of any dtype; they are brought to a common one first: float32 if any is
 * float32 (or the op needs it: division and the transcendental functions), else int64.
 */
#ifndef SM_OPS_ELEMENTWISE_H
#define SM_OPS_ELEMENTWISE_H

#include "kernels/elementwise.h"
#include "ops/op.h"

/* y = f(x) in float32. */
typedef struct sm_unary_params {
    sm_unary kind;
    sm_scalars s;
} sm_unary_params;
extern const sm_op sm_op_unary;

/* y = f(a, b). */
typedef struct sm_binary_params {
    sm_binary kind;
} sm_binary_params;
extern const sm_op sm_op_binary;

/* uint8 masks: 1 where the comparison holds. */
typedef enum sm_comparison { SM_EQ, SM_NE, SM_LT, SM_LE, SM_GT, SM_GE } sm_comparison;
typedef struct sm_compare_params {
    sm_comparison kind;
} sm_compare_params;
extern const sm_op sm_op_compare;

/* y = mask ? a : b; operands: mask (uint8), a, b. */
extern const sm_op sm_op_where;

/* uint8 mask of x: NaN, or finite. */
typedef struct sm_classify_params {
    bool finite;
} sm_classify_params;
extern const sm_op sm_op_classify;

/* *out = t as `dtype` (t itself with one more reference where it is), outside the graph.
 */
sm_status sm_cast(sm_tensor *t, sm_dtype dtype, sm_tensor **out, sm_error *err);
/* Gives back->din[i] the sum of x (of x y, of x's shape, where y is not NULL) over the
 * dimensions along which input i was broadcast. */
sm_status sm_din_sum(sm_back *back, int i, sm_tensor *x, sm_tensor *y, sm_error *err);
/* The same for `full` alone, one reference to which is taken over; `full` itself where
 * input i was not broadcast. */
sm_status sm_din_unbroadcast(sm_back *back, int i, sm_tensor *full, sm_error *err);

#endif

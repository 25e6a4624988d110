/* norm.h: batch normalisation, layer normalisation, and unit length. */
#ifndef SM_OPS_NORM_H
#define SM_OPS_NORM_H

#include "kernels/limits.h"
#include "ops/op.h"

/* Ioffe and Szegedy 2015. Operands: input [N,C,...], running mean [C], running variance
 * [C], weight [C], bias [C], a residual of the input's shape; all but the input may be
 * absent. In training the batch's statistics normalise and the running ones are moved (in
 * place): r = (1 - momentum) r + momentum s, with the unbiased variance, as PyTorch does.
 * y = limits(norm(x) + residual): a residual and an activation cost no pass of their own.
 */
typedef struct sm_batch_norm_params {
    bool training;
    float momentum, eps;
    sm_limits limits;
} sm_batch_norm_params;
extern const sm_op sm_op_batch_norm;

/* Ba, Kiros, Hinton 2016, over the last `dims` dimensions. Operands: input, weight, bias
 * (of the normalised shape, or absent). */
typedef struct sm_layer_norm_params {
    int dims;
    float eps;
} sm_layer_norm_params;
extern const sm_op sm_op_layer_norm;

/* y = x / max(|x|_2, eps) along a dimension. */
typedef struct sm_normalize_params {
    int dim;
    float eps;
} sm_normalize_params;
extern const sm_op sm_op_normalize;

#endif

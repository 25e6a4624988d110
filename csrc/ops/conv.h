/* conv.h: 2-D convolution. Operands: input [N,C,H,W], weight [O,C/groups,KH,KW], bias [O]
 * or none. */
#ifndef SM_OPS_CONV_H
#define SM_OPS_CONV_H

#include "kernels/limits.h"
#include "ops/op.h"

typedef struct sm_conv2d_params {
    int64_t stride[2], padding[2], dilation[2]; /* height, width */
    int64_t groups;
    sm_limits limits; /* of y: a fused activation */
} sm_conv2d_params;
extern const sm_op sm_op_conv2d;

/* limits(batch_norm(conv(x)) + residual) with running statistics, in one pass: the
 * normalisation becomes a factor and a term of each channel. Not differentiable.
 * Operands: input, weight, bias or none, running mean [O], running variance [O], the
 * norm's weight [O] or none, its bias [O] or none, a residual of the result's shape or
 * none. */
typedef struct sm_conv2d_norm_params {
    sm_conv2d_params conv;
    float eps;
} sm_conv2d_norm_params;
extern const sm_op sm_op_conv2d_norm;

#endif

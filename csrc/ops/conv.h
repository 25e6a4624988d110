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

#endif

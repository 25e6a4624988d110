/* conv_transpose.h: transposed 2-D convolution. */
#ifndef SM_OPS_CONV_TRANSPOSE_H
#define SM_OPS_CONV_TRANSPOSE_H

#include "ops/op.h"

/* The gradient of a convolution for its input, as a layer (Zeiler et al. 2010): each
 * element of the input puts the kernel, times itself, into the output. Operands: input
 * [N,I,H,W], weight [I,O/groups,KH,KW], bias [O] (may be NULL); the output is [N,O,OH,OW]
 * with OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
 * output_padding must be below the stride: an input with zeros behind it does for more.
 */
typedef struct sm_conv_transpose2d_params {
    int64_t stride[2], padding[2], output_padding[2], dilation[2]; /* height, width */
    int64_t groups;
} sm_conv_transpose2d_params;
extern const sm_op sm_op_conv_transpose2d;

#endif

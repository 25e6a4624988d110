/* pool.h: pooling over the last two dimensions of [N,C,H,W]. */
#ifndef SM_OPS_POOL_H
#define SM_OPS_POOL_H

#include "ops/op.h"

typedef struct sm_pool_params {
    int64_t kernel[2], stride[2], padding[2], dilation[2]; /* height, width */
    bool ceil_mode;
    bool count_include_pad; /* averages: divide by the whole window */
} sm_pool_params;
extern const sm_op sm_op_max_pool2d;
extern const sm_op sm_op_avg_pool2d;

/* Averages over as even bins as there are: bin i of n covers floor(i H / n) .. ceil((i +
 * 1) H / n). */
typedef struct sm_adaptive_params {
    int64_t size[2];
} sm_adaptive_params;
extern const sm_op sm_op_adaptive_avg_pool2d;

#endif

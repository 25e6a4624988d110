/* group_norm.h: normalisation of each image by itself, over groups of its channels. */
#ifndef SM_OPS_GROUP_NORM_H
#define SM_OPS_GROUP_NORM_H

#include "ops/op.h"

/* Group normalisation (Wu and He 2018, section 3.1) of [N,C,...]; with a group for each
 * channel instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016, eq. 8). Operands:
 * input, running_mean, running_var, weight, bias, the last four [C] or absent. Running
 * statistics are of instance normalisation alone: they move by the momentum towards the
 * mean of the images' means and unbiased variances. */
typedef struct sm_group_norm_params {
    int64_t groups; /* 0: instance normalisation */
    float eps, momentum;
} sm_group_norm_params;
extern const sm_op sm_op_group_norm;

#endif

/* local_norm.h: normalisation of each pixel over neighbouring channels. */
#ifndef SM_OPS_LOCAL_NORM_H
#define SM_OPS_LOCAL_NORM_H

#include "ops/op.h"

/* Local response normalisation of [N,C,...] (Krizhevsky, Sutskever and Hinton 2012,
 * section 3.3; their alpha is alpha / size here, as in PyTorch): x (k + alpha / size sum
 * x^2)^-beta over `size` channels, size / 2 of them below. */
typedef struct sm_local_norm_params {
    int64_t size;
    float alpha, beta, k;
} sm_local_norm_params;
extern const sm_op sm_op_local_norm;

#endif

/* heads.h: pooling of whole images. */
#ifndef SM_OPS_HEADS_H
#define SM_OPS_HEADS_H

#include "ops/op.h"

/* Generalised mean (Radenovic, Tolias and Chum 2018, eq. 3): of each channel of [N,C,...]
 * the mean of max(x, eps)^p over its pixels, to the power of 1 / p. Operands: x, and p of
 * one element. Gives [N,C,1,...]. */
typedef struct sm_gem_params {
    float eps;
} sm_gem_params;
extern const sm_op sm_op_gem;

/* Maxima over as even bins of [N,C,H,W] as there are: bin i of n covers floor(i H / n) ..
 * ceil((i + 1) H / n). NaN wins; the gradient goes to the first of several. */
typedef struct sm_adaptive_max_params {
    int64_t size[2];
} sm_adaptive_max_params;
extern const sm_op sm_op_adaptive_max_pool2d;

#endif

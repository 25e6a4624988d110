/* distance.h: distances between embeddings, row by row or all against all. */
#ifndef SM_OPS_DISTANCE_H
#define SM_OPS_DISTANCE_H

#include "ops/op.h"

/* |a - b + eps|_p of the rows of a and b [N,D]: [N]. As PyTorch's, eps is added to each
 * difference. */
typedef struct sm_pairwise_params {
    float p, eps;
} sm_pairwise_params;
extern const sm_op sm_op_pairwise_distance;

/* a . b / max(|a| |b|, eps) of the rows of a and b [N,D]: [N]. */
typedef struct sm_cosine_params {
    float eps;
} sm_cosine_params;
extern const sm_op sm_op_cosine_similarity;

/* Euclidean distances of all rows of a [N,D] from all of b [M,D]: [N,M], by one matrix
 * product: |a|^2 + |b|^2 - 2 a.b, not below 0. The gradient of a distance of 0 is 0. */
typedef struct sm_cdist_params {
    bool squared;
} sm_cdist_params;
extern const sm_op sm_op_cdist;

#endif

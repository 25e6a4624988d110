/* reduce.h: ops that shrink or run along dimensions: sums, extremes, moments, softmax,
 * sorting.
 *
 * All of them see the input as rows: the reduced dimensions are brought behind the others
 * and joined, giving a dense [M,K] whose rows are worked on one by one, on all threads. A
 * row is summed in double.
 */
#ifndef SM_OPS_REDUCE_H
#define SM_OPS_REDUCE_H

#include "ops/op.h"

typedef enum sm_reduction {
    SM_SUM,
    SM_MEAN,
    SM_AMAX, /* the gradient is shared by all that tie */
    SM_AMIN,
    SM_VAR, /* a: the correction (1: unbiased) */
    SM_STD,
    SM_NORM, /* a: p */
    SM_PROD,
    SM_LOGSUMEXP,
    SM_REDUCTION_COUNT
} sm_reduction;

typedef struct sm_reduce_params {
    sm_reduction kind;
    unsigned dims; /* bit d: dimension d is reduced */
    bool keepdim;
    float a;
} sm_reduce_params;
extern const sm_op sm_op_reduce;

/* Values and int64 positions (from 1) of the largest (smallest) along one dimension, or,
 * with dim -1, of all elements. NaN wins; the first of several. */
typedef struct sm_extreme_params {
    int dim;
    bool keepdim;
    bool smallest;
} sm_extreme_params;
extern const sm_op sm_op_extreme;

/* softmax and log_softmax along a dimension. */
typedef struct sm_softmax_params {
    int dim;
    bool log;
} sm_softmax_params;
extern const sm_op sm_op_softmax;

/* Running sums along a dimension. */
typedef struct sm_cumsum_params {
    int dim;
} sm_cumsum_params;
extern const sm_op sm_op_cumsum;

/* The k first of the sorted values along a dimension, and their int64 positions (from 1).
 * Stable; NaN counts as the largest. */
typedef struct sm_topk_params {
    int dim;
    int64_t k; /* -1: all */
    bool descending;
} sm_topk_params;
extern const sm_op sm_op_topk;

#endif

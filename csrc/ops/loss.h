/* loss.h: losses. Each forward computes the loss and its gradient in one pass and keeps
 * the gradient. */
#ifndef SM_OPS_LOSS_H
#define SM_OPS_LOSS_H

#include "ops/op.h"

typedef enum sm_loss_reduction {
    SM_REDUCE_MEAN,
    SM_REDUCE_SUM,
    SM_REDUCE_NONE
} sm_loss_reduction;

typedef enum sm_pointwise_kind {
    /* Hadsell, Chopra, LeCun 2006, eq. 4, with same = 1 - Y: operands distance, same.
     * same l(d - b) + (1 - same) l(a - d), with a the margin of different pairs, b that
     * of same ones, and l(v) = max(0, v)^2 / 2, or max(0, v) with `plain` */
    SM_LOSS_CONTRASTIVE,
    /* Operands logits x, targets t; a weighs the positive ones:
     * -(a t log s(x) + (1 - t) log(1 - s(x))) */
    SM_LOSS_BCE_LOGITS,
    SM_LOSS_MSE
} sm_pointwise_kind;

/* Operands: input and target of one shape; the target gets no gradient. */
typedef struct sm_pointwise_params {
    sm_pointwise_kind kind;
    sm_loss_reduction reduction;
    float a, b;
    bool plain;
} sm_pointwise_params;
extern const sm_op sm_op_pointwise_loss;

/* -log softmax(logits [N,C])[label], labels int64 [N] from 1. With smoothing e the target
 * is (1 - e) one-hot + e / C (Szegedy et al. 2016, section 7). */
typedef struct sm_cross_entropy_params {
    sm_loss_reduction reduction;
    float smoothing;
} sm_cross_entropy_params;
extern const sm_op sm_op_cross_entropy;

/* Batch-hard triplet loss (Hermans, Beyer, Leibe 2017, eq. 5): for each row of embeddings
 * [N,D] the farthest row of its class (labels int64 [N]) and the closest of another:
 * max(0, margin + d_p - d_n), or log(1 + exp(d_p - d_n)) with `soft`. Rows without a
 * positive or without a negative are left out: they count for nothing, also not in the
 * mean. */
typedef struct sm_batch_hard_params {
    sm_loss_reduction reduction;
    float margin;
    bool soft, squared;
} sm_batch_hard_params;
extern const sm_op sm_op_batch_hard;

#endif

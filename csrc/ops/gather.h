/* gather.h: ops that pick by index, and ops that join tensors. Indices are int64 and
 * count from 1. */
#ifndef SM_OPS_GATHER_H
#define SM_OPS_GATHER_H

#include "ops/op.h"

typedef struct sm_dim_params {
    int dim;
} sm_dim_params;

/* Operands x, index [K]: slices of x along dim. */
extern const sm_op sm_op_index_select;
/* Operands x, index of x's number of dimensions: out[i][j] = x[index[i][j]][j] for the
 * first dim. */
extern const sm_op sm_op_gather;
/* Operands x, index, source: x + source added at index along dim (the inverse of gather).
 */
extern const sm_op sm_op_scatter_add;
/* Any number of tensors one behind another along dim. */
extern const sm_op sm_op_cat;

/* Labels [..] as float32 [.., classes] with a 1 each. */
typedef struct sm_one_hot_params {
    int64_t classes;
} sm_one_hot_params;
extern const sm_op sm_op_one_hot;

#endif

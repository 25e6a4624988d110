/* manhattan.h: sums of absolute differences, all rows against all. */
#ifndef SM_OPS_MANHATTAN_H
#define SM_OPS_MANHATTAN_H

#include "ops/op.h"

/* |a_i - b_j|_1 of all rows of a [N,D] and b [M,D]: [N,M]. The gradient of a difference
 * of 0 is 0. */
extern const sm_op sm_op_manhattan;

#endif

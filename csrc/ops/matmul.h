/* matmul.h: matrix products, with NumPy's and PyTorch's rules for vectors and batches. */
#ifndef SM_OPS_MATMUL_H
#define SM_OPS_MATMUL_H

#include "ops/op.h"

/* [M,K] x [K,N]; a 1-D operand stands for a row (left) or column (right) and its
 * dimension disappears; further dimensions in front are batches and broadcast. */
extern const sm_op sm_op_matmul;

/* y[...,out] = x[...,in] W[out,in]^T + b[out]; operands x, W, b (b may be absent). */
extern const sm_op sm_op_linear;

#endif

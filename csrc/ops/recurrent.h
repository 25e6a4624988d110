/* recurrent.h: one layer of a recurrent network in one direction, over whole sequences.
 */
#ifndef SM_OPS_RECURRENT_H
#define SM_OPS_RECURRENT_H

#include "ops/op.h"

typedef enum sm_recurrent_kind {
    SM_RNN_TANH,
    SM_RNN_RELU,
    SM_LSTM,
    SM_GRU
} sm_recurrent_kind;

/* Operands: input [T,N,I] ([N,T,I] where batch_first), weight_ih [G H,I], weight_hh [G
 * H,H], and, each of them or NULL, h0 [N,H], c0 [N,H] (LSTM), bias_ih [G H], bias_hh [G
 * H], lengths [N] of int64 from 1 to T. G is 1, 4 (LSTM: i, f, g, o) or 3 (GRU: r, z, n).
 * Outputs: the states [T,N,H] ([N,T,H]), the last state [N,H] and, of an LSTM, the last
 * cell [N,H].
 *
 * With lengths each sequence ends at its own: states beyond are zero, the last state is
 * that at its end, and the reverse direction begins there. What the input holds beyond
 * does not matter. */
typedef struct sm_recurrent_params {
    sm_recurrent_kind kind;
    bool reverse, batch_first;
} sm_recurrent_params;
extern const sm_op sm_op_recurrent;

#endif

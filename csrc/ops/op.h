/* op.h: what a differentiable operation is.
 *
 * An op is one descriptor. Autograd (autograd/graph.h) runs it: sm_apply calls `check`,
 * allocates the outputs that check described, calls `forward`, and, where a gradient will
 * be wanted, records a node; sm_backward later calls `backward`. An op never sees the
 * graph.
 *
 *     check     does all validation and describes the outputs (call->meta). Nothing is
 * validated later. forward   reads call->in, writes call->out (contiguous or, where check
 * set channels_last, so; contents undefined). If call->record, it may leave tensors that
 * only backward needs in call->keep (the node owns them then). backward  reads back->dout
 * (gradients of the outputs: same shape, NOT always contiguous, NULL where no gradient
 * arrived), the saved tensors and params; for each input i with back->want[i] it provides
 * the gradient through one of the sm_din functions below. Exactly the inputs named in
 * `save_in` and outputs in `save_out` (bit masks) are there.
 *
 * A view op sets `view` instead of forward: it turns the input's view into the output's.
 *
 * Inputs are numbered from 1 in errors (err->operand) and from 0 in arrays. An optional
 * operand may be NULL. Inputs may have any strides: use sm_tensor_contiguous where a
 * kernel wants them dense. For a non-float32 input want[i] is never set.
 */
#ifndef SM_OPS_OP_H
#define SM_OPS_OP_H

#include "tensor/tensor.h"

enum { SM_MAX_OUT = 3, SM_MAX_KEEP = 4 };

struct sm_op;

typedef struct sm_call {
    const struct sm_op *op;
    int n_in;
    sm_tensor *const *in;
    const void *params; /* the op's params struct; lives as long as the call or node */
    int n_out;          /* set from op->n_out; check may lower it */
    sm_meta meta[SM_MAX_OUT]; /* written by check */
    sm_tensor *out[SM_MAX_OUT];
    bool record; /* backward may come: keep what it needs */
    sm_tensor *keep[SM_MAX_KEEP];
} sm_call;

typedef struct sm_back {
    const struct sm_op *op;
    int n_in;
    sm_tensor *const *in;   /* saved inputs; NULL where not in save_in (or absent) */
    const sm_meta *in_meta; /* shapes and dtypes of all inputs */
    sm_tensor *const *out;  /* saved outputs; NULL where not in save_out */
    sm_tensor *const *keep;
    sm_tensor *const *dout;
    const void *params;
    const bool *want;
    sm_tensor **din;  /* filled by the sm_din functions */
    sm_tensor ***sum; /* where the input's gradient so far is kept */
} sm_back;

typedef struct sm_op {
    const char *name;
    const char *(*label)(
        const void *params); /* the name by params, where one op is many; or NULL */
    int min_in, max_in;      /* max_in < 0: any number (cat, stack) */
    int n_out;
    size_t params_size;
    unsigned save_in, save_out; /* bit i: input (output) i is kept for backward */
    sm_status (*check)(sm_call *call, sm_error *err);
    sm_status (*forward)(sm_call *call, sm_error *err);
    sm_status (*backward)(sm_back *back, sm_error *err); /* NULL: not differentiable */
    /* View ops only, instead of forward: out starts as an alias of in[0]; set its shape,
     * strides and offset from call->in[0] and call->meta[0]. sm_view_backward serves any
     * of them. */
    void (*view)(const sm_call *call, sm_tensor *out);
    /* Multiplications with an addition that forward takes, after check; NULL where there
     * are none to speak of. */
    uint64_t (*multiply_adds)(const sm_call *call);
} sm_op;

/* The gradient of input i, in one of four ways. The first three give *out, a borrowed
 * float32 tensor of the input's shape, contiguous, for backward to fill: sm_din undefined
 * contents, to be overwritten; sm_din_zeros    zeros; sm_din_add      zeros or the sum of
 * what came before from other uses: backward ADDS into it; sm_din_give     hands over `t`
 * (one reference is taken over) as it is: a tensor of the input's shape with any strides,
 * for instance sm_tensor_ref(back->dout[0]). It is never written to afterwards unless
 * nobody else holds it. */
sm_status sm_din(sm_back *back, int i, sm_tensor **out, sm_error *err);
/* sm_din in the order [N,...,C] (sm_tensor_pixels). */
sm_status sm_din_pixels(sm_back *back, int i, sm_tensor **out, sm_error *err);
sm_status sm_din_zeros(sm_back *back, int i, sm_tensor **out, sm_error *err);
sm_status sm_din_add(sm_back *back, int i, sm_tensor **out, sm_error *err);
sm_status sm_din_give(sm_back *back, int i, sm_tensor *t, sm_error *err);

/* Backward of any view op: takes the same view of the input's gradient and adds dout into
 * it. */
sm_status sm_view_backward(sm_back *back, sm_error *err);

/* Checks that most ops begin with; each fails with the op's name, the operand and what
 * came. `name` is the operand's name in the message ("input", "weight"). */
sm_status sm_want_dtype(const sm_call *call, int i, const char *name, sm_dtype dtype,
                        sm_error *err);
sm_status sm_want_ndim(const sm_call *call, int i, const char *name, int ndim,
                       const char *layout, sm_error *err);
/* The op's name in messages. */
const char *sm_op_label(const sm_op *op, const void *params);
/* The elements of the first output times `each`, for multiply_adds. */
uint64_t sm_work(const sm_call *call, int64_t each);
/* The first output gets the shape and dtype of input i. */
void sm_out_like(sm_call *call, int i);
/* The first output is channels-last where an input of its shape is. */
void sm_out_order(sm_call *call);

#endif

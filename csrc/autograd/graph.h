/* graph.h: records operations and runs them backwards.
 *
 * A node holds what its op's backward needs (saved tensors as detached aliases, a copy of
 * the params) and one edge an input: the node that made the input, or the leaf itself. An
 * output holds its node. Nodes never point at their outputs, so there are no cycles and
 * reference counts suffice. Freeing a chain of nodes and walking backward are loops, not
 * recursions: depth is limited by memory alone.
 */
#ifndef SM_AUTOGRAD_GRAPH_H
#define SM_AUTOGRAD_GRAPH_H

#include "ops/op.h"

/* Runs `op` on n_in inputs; `params` (op->params_size bytes, may be NULL when 0) is
 * copied if needed. On success out[0..op->n_out) each hold a new reference (NULL past
 * what check left). */
sm_status sm_apply(const sm_op *op, int n_in, sm_tensor *const *in, const void *params,
                   sm_tensor **out, sm_error *err);

/* Adds d(root)/d(leaf) into the grad of every leaf that requires one. `gradient` has
 * root's shape; NULL means 1 and needs a one-element root. Unless `retain`, the graph is
 * let go on the way and a second call is an error. */
sm_status sm_backward(sm_tensor *root, sm_tensor *gradient, bool retain, sm_error *err);

/* Gradient recording for the calling thread; returns the previous state. */
bool sm_grad_enabled(void);
bool sm_set_grad_enabled(bool on);

/* May t be written in place now? Refuses members of a recorded graph and, while
 * recording, leaves that require a gradient; `what` opens the message. The caller moves
 * the version by writing through the tensor functions, or by sm_touch. */
sm_status sm_check_inplace(const sm_tensor *t, const char *what, sm_error *err);
static inline void sm_touch(sm_tensor *t) {
    t->storage->version++;
}

/* What the forwards of the calling thread have taken so far. */
typedef struct sm_work_done {
    uint64_t multiply_adds; /* of the ops that count them */
    uint64_t bytes;         /* of outputs that are no views */
} sm_work_done;

sm_work_done sm_get_work(void);

/* Once, before the first sm_apply. */
void sm_graph_init(void);

#endif

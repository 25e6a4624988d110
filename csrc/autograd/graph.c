/* graph.c: the recorded graph and its backward walk. See graph.h. */
#include "autograd/graph.h"

#include <string.h>

#include "base/mem.h"

typedef struct edge {
    struct sm_node *node; /* what made the input, or */
    sm_tensor *leaf;      /* the input itself, when it is a leaf that wants a gradient */
    int output_index;
} edge;

typedef struct sm_node {
    int refs;
    const sm_op *op;
    uint64_t sequence;
    int n_in, n_out;
    bool released; /* backward has passed: saved tensors and edges are gone */
    bool queued;
    sm_tensor *grad[SM_MAX_OUT];      /* gradients of the outputs, while backward runs */
    sm_tensor *saved_out[SM_MAX_OUT]; /* detached aliases */
    unsigned out_version[SM_MAX_OUT];
    sm_tensor *keep[SM_MAX_KEEP];
    struct sm_node *next_free; /* in the list of nodes being freed */
    /* Arrays of n_in, in the same block. */
    sm_meta *in_meta;
    edge *edges;
    sm_tensor **saved_in; /* detached aliases, NULL where not saved */
    unsigned *in_version;
    bool *want;
    void *params;
} sm_node;

static _Thread_local bool grad_off;
static _Thread_local uint64_t next_sequence = 1;

static _Thread_local sm_work_done work;

sm_work_done sm_get_work(void) {
    return work;
}

bool sm_grad_enabled(void) {
    return !grad_off;
}

bool sm_set_grad_enabled(bool on) {
    bool was = !grad_off;
    grad_off = !on;
    return was;
}

/* ---- nodes ---- */

static sm_node *node_new(const sm_op *op, int n_in) {
    size_t n = (size_t)n_in;
    size_t params_at =
        sizeof(sm_node) + n * (sizeof(sm_meta) + sizeof(edge) + sizeof(sm_tensor *) +
                               sizeof(unsigned) + sizeof(bool));
    params_at = (params_at + 15) / 16 * 16;
    sm_node *node = sm_calloc(params_at + op->params_size);
    if (!node)
        return NULL;
    node->refs = 1;
    node->op = op;
    node->n_in = n_in;
    node->sequence = next_sequence++;
    node->in_meta = (sm_meta *)(node + 1);
    node->edges = (edge *)(node->in_meta + n);
    node->saved_in = (sm_tensor **)(node->edges + n);
    node->in_version = (unsigned *)(node->saved_in + n);
    node->want = (bool *)(node->in_version + n);
    node->params = (char *)node + params_at;
    return node;
}

static void drop(sm_tensor **slot) {
    sm_tensor_unref(*slot);
    *slot = NULL;
}

/* Lets saved tensors go; they are aliases without nodes, so this does not recurse. */
static void drop_saved(sm_node *node) {
    for (int i = 0; i < node->n_in; i++)
        drop(&node->saved_in[i]);
    for (int k = 0; k < SM_MAX_OUT; k++)
        drop(&node->saved_out[k]);
    for (int k = 0; k < SM_MAX_KEEP; k++)
        drop(&node->keep[k]);
}

/* Takes one reference away; at zero the node goes to the list of nodes to free. */
static void unref_into(sm_node *node, sm_node **doomed) {
    if (!node || --node->refs > 0)
        return;
    node->next_free = *doomed;
    *doomed = node;
}

static void drop_edges(sm_node *node, sm_node **doomed) {
    for (int i = 0; i < node->n_in; i++) {
        drop(&node->edges[i].leaf);
        unref_into(node->edges[i].node, doomed);
        node->edges[i].node = NULL;
    }
}

static void free_doomed(sm_node *doomed) {
    while (doomed) {
        sm_node *node = doomed;
        doomed = node->next_free;
        drop_saved(node);
        drop_edges(node, &doomed);
        for (int k = 0; k < SM_MAX_OUT; k++)
            drop(&node->grad[k]);
        sm_free(node);
    }
}

static void node_unref(sm_node *node) {
    sm_node *doomed = NULL;
    unref_into(node, &doomed);
    free_doomed(doomed);
}

void sm_graph_init(void) {
    sm_tensor_node_unref = node_unref;
}

/* ---- recording ---- */

static bool wants_gradient(const sm_tensor *t) {
    return t && t->requires_grad;
}

static bool will_record(const sm_op *op, int n_in, sm_tensor *const *in) {
    if (grad_off || !op->backward || sm_shapes_only())
        return false;
    for (int i = 0; i < n_in; i++)
        if (wants_gradient(in[i]))
            return true;
    return false;
}

static sm_status save_alias(sm_tensor *t, sm_tensor **slot, unsigned *version,
                            sm_error *err) {
    *version = t->storage->version;
    return sm_tensor_alias(t, slot, err);
}

static sm_status record_input(sm_node *node, int i, sm_tensor *t, bool save,
                              sm_error *err) {
    if (!t)
        return SM_OK;
    node->in_meta[i] = sm_tensor_meta(t);
    node->want[i] = wants_gradient(t);
    if (node->want[i] && t->node) {
        node->edges[i].node = t->node;
        node->edges[i].output_index = t->output_index;
        t->node->refs++;
    } else if (node->want[i]) {
        node->edges[i].leaf = sm_tensor_ref(t);
    }
    return save ? save_alias(t, &node->saved_in[i], &node->in_version[i], err) : SM_OK;
}

/* Makes the node of a finished call and hangs it on the outputs; takes call->keep over.
 */
static sm_status record(sm_call *call, sm_error *err) {
    const sm_op *op = call->op;
    sm_node *node = node_new(op, call->n_in);
    if (!node)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", op->name);
    if (op->params_size)
        memcpy(node->params, call->params, op->params_size);
    node->n_out = call->n_out;
    sm_status status = SM_OK;
    for (int i = 0; i < call->n_in && status == SM_OK; i++)
        status =
            record_input(node, i, call->in[i], op->save_in >> (i < 31 ? i : 31) & 1, err);
    for (int k = 0; k < call->n_out && status == SM_OK; k++)
        if (op->save_out >> k & 1)
            status =
                save_alias(call->out[k], &node->saved_out[k], &node->out_version[k], err);
    if (status != SM_OK) {
        node_unref(node);
        return status;
    }
    memcpy(node->keep, call->keep, sizeof node->keep);
    memset(call->keep, 0, sizeof call->keep);
    for (int k = 0; k < call->n_out; k++) {
        if (call->out[k]->dtype != SM_F32)
            continue;
        call->out[k]->requires_grad = true;
        call->out[k]->output_index = k;
        call->out[k]->node = node;
        node->refs++;
    }
    node_unref(node);
    return SM_OK;
}

static sm_status make_outputs(sm_call *call, sm_error *err) {
    if (call->op->view) {
        sm_status status = sm_tensor_alias(call->in[0], &call->out[0], err);
        if (status == SM_OK)
            call->op->view(call, call->out[0]);
        return status;
    }
    for (int k = 0; k < call->n_out; k++) {
        sm_status status = sm_tensor_new(&call->meta[k], &call->out[k], err);
        if (status != SM_OK)
            return status;
        work.bytes += call->out[k]->storage->bytes;
    }
    return SM_OK;
}

/* Is there nothing to compute (sm_set_shapes_only)? Integers are computed all the same:
 * they may be indices, which must be in range. */
static bool is_left_out(const sm_call *call) {
    for (int k = 0; k < call->n_out; k++)
        if (call->out[k]->dtype != SM_F32)
            return false;
    return sm_shapes_only();
}

static sm_status forward(sm_call *call, sm_error *err) {
    if (call->op->multiply_adds)
        work.multiply_adds += call->op->multiply_adds(call);
    if (!call->op->forward || is_left_out(call))
        return SM_OK;
    return call->op->forward(call, err);
}

sm_status sm_apply(const sm_op *op, int n_in, sm_tensor *const *in, const void *params,
                   sm_tensor **out, sm_error *err) {
    sm_call call = {
        .op = op, .n_in = n_in, .in = in, .params = params, .n_out = op->n_out};
    if (n_in < op->min_in || (op->max_in >= 0 && n_in > op->max_in))
        return sm_fail(err, SM_EINVAL, 0, "%s: wrong number of operands: %d", op->name,
                       n_in);
    call.record = will_record(op, n_in, in);
    sm_status status = op->check(&call, err);
    if (status == SM_OK)
        status = make_outputs(&call, err);
    if (status == SM_OK)
        status = forward(&call, err);
    if (status == SM_OK && call.record)
        status = record(&call, err);
    for (int k = 0; k < SM_MAX_KEEP; k++)
        sm_tensor_unref(call.keep[k]);
    for (int k = 0; k < SM_MAX_OUT; k++) {
        if (status != SM_OK)
            sm_tensor_unref(call.out[k]);
        if (k < op->n_out)
            out[k] = status == SM_OK ? call.out[k] : NULL;
    }
    return status;
}

sm_status sm_check_inplace(const sm_tensor *t, const char *what, sm_error *err) {
    if (t->node)
        return sm_fail(
            err, SM_EINVAL, 0,
            "%s: cannot change in place a tensor that is part of a recorded graph; "
            "use detach() or no_grad()",
            what);
    if (t->requires_grad && !grad_off)
        return sm_fail(err, SM_EINVAL, 0,
                       "%s: cannot change in place a leaf that requires a gradient; "
                       "do it inside no_grad()",
                       what);
    return SM_OK;
}

/* ---- the queue: a binary heap of nodes, the highest sequence number first ---- */

typedef struct queue {
    sm_node **nodes;
    size_t count, room;
} queue;

static bool push(queue *q, sm_node *node) {
    if (node->queued)
        return true;
    if (q->count == q->room) {
        size_t room = q->room ? 2 * q->room : 64;
        sm_node **nodes = sm_realloc(q->nodes, room * sizeof *nodes);
        if (!nodes)
            return false;
        q->nodes = nodes;
        q->room = room;
    }
    node->queued = true;
    node->refs++;
    size_t at = q->count++;
    for (; at && q->nodes[(at - 1) / 2]->sequence < node->sequence; at = (at - 1) / 2)
        q->nodes[at] = q->nodes[(at - 1) / 2];
    q->nodes[at] = node;
    return true;
}

static sm_node *pop(queue *q) {
    sm_node *top = q->nodes[0], *last = q->nodes[--q->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= q->count)
            break;
        if (child + 1 < q->count &&
            q->nodes[child + 1]->sequence > q->nodes[child]->sequence)
            child++;
        if (q->nodes[child]->sequence < last->sequence)
            break;
        q->nodes[at] = q->nodes[child];
        at = child;
    }
    q->nodes[at] = last;
    top->queued = false;
    return top;
}

/* ---- backward ---- */

/* Nobody else sees it, and no element twice. */
static bool is_exclusive(const sm_tensor *t, bool contiguous) {
    return t->refs == 1 && t->storage->refs == 1 &&
           (sm_tensor_is_contiguous(t) || (!contiguous && sm_tensor_is_channels_last(t)));
}

/* Replaces *slot by a copy of its own. */
static sm_status own(sm_tensor **slot, bool contiguous, sm_error *err) {
    sm_tensor *copy;
    sm_meta meta = sm_tensor_meta(*slot);
    meta.channels_last = !contiguous && sm_tensor_is_channels_last(*slot);
    sm_status status = sm_tensor_new(&meta, &copy, err);
    if (status != SM_OK)
        return status;
    sm_tensor_copy(copy, *slot);
    sm_tensor_unref(*slot);
    *slot = copy;
    return SM_OK;
}

/* *sum += t; takes the reference to t over. A leaf's gradient belongs to the user, is
 * contiguous and never shared with the graph; what lies between is copied only when it
 * must be written.
 */
static sm_status accumulate(sm_tensor **sum, sm_tensor *t, bool leaf, sm_error *err) {
    sm_status status = SM_OK;
    if (!*sum) {
        *sum = t;
        return leaf && !is_exclusive(t, true) ? own(sum, true, err) : SM_OK;
    }
    if (!leaf && !is_exclusive(*sum, false))
        status = own(sum, false, err);
    if (status == SM_OK)
        sm_tensor_add(*sum, t);
    sm_tensor_unref(t);
    return status;
}

static sm_status check_versions(const sm_node *node, sm_error *err) {
    for (int i = 0; i < node->n_in; i++)
        if (node->saved_in[i] &&
            node->saved_in[i]->storage->version != node->in_version[i])
            return sm_fail(
                err, SM_EINVAL, 0,
                "backward: operand %d of %s was changed in place after the forward pass",
                i + 1, sm_op_label(node->op, node->params));
    for (int k = 0; k < node->n_out; k++)
        if (node->saved_out[k] &&
            node->saved_out[k]->storage->version != node->out_version[k])
            return sm_fail(
                err, SM_EINVAL, 0,
                "backward: the result of %s was changed in place after the forward pass",
                sm_op_label(node->op, node->params));
    return SM_OK;
}

/* Runs one node's backward and spreads the gradients over its edges. */
static sm_status step(sm_node *node, queue *q, sm_error *err) {
    size_t n = (size_t)node->n_in;
    sm_tensor **din = sm_calloc(n * (sizeof *din + sizeof(sm_tensor **)));
    if (!din)
        return sm_fail(err, SM_ENOMEM, 0, "backward: out of memory");
    sm_tensor ***sum = (sm_tensor ***)(din + n);
    for (int i = 0; i < node->n_in; i++) {
        edge *e = &node->edges[i];
        sum[i] = e->node   ? &e->node->grad[e->output_index]
                 : e->leaf ? &e->leaf->grad
                           : NULL;
    }
    sm_back back = {.op = node->op,
                    .n_in = node->n_in,
                    .in = node->saved_in,
                    .in_meta = node->in_meta,
                    .out = node->saved_out,
                    .keep = node->keep,
                    .dout = node->grad,
                    .params = node->params,
                    .want = node->want,
                    .din = din,
                    .sum = sum};
    sm_status status = check_versions(node, err);
    if (status == SM_OK)
        status = node->op->backward(&back, err);
    for (int k = 0; k < node->n_out; k++)
        drop(&node->grad[k]);
    for (int i = 0; i < node->n_in; i++) {
        edge *e = &node->edges[i];
        if (din[i] && status == SM_OK)
            status = accumulate(sum[i], din[i], e->leaf != NULL, err);
        else
            sm_tensor_unref(din[i]);
        if (status == SM_OK && e->node && !push(q, e->node))
            status = sm_fail(err, SM_ENOMEM, 0, "backward: out of memory");
    }
    sm_free(din);
    return status;
}

static sm_status walk(sm_node *root, bool retain, sm_error *err) {
    queue q = {0};
    sm_node *doomed = NULL;
    sm_status status = SM_OK;
    if (!push(&q, root))
        return sm_fail(err, SM_ENOMEM, 0, "backward: out of memory");
    while (q.count) {
        sm_node *node = pop(&q);
        if (status == SM_OK && node->released)
            status = sm_fail(
                err, SM_EINVAL, 1,
                "backward: the graph has been used already (at %s); run the forward "
                "pass again, or pass retain_graph = true the first time",
                node->op->name);
        bool reached = false;
        for (int k = 0; k < node->n_out; k++)
            reached = reached || node->grad[k];
        if (status == SM_OK && reached)
            status = step(node, &q, err);
        for (int k = 0; k < SM_MAX_OUT; k++)
            drop(&node->grad[k]);
        if (status == SM_OK && !retain) {
            node->released = true;
            drop_saved(node);
            drop_edges(node, &doomed);
        }
        unref_into(node, &doomed);
    }
    free_doomed(doomed);
    sm_free(q.nodes);
    return status;
}

static sm_status first_gradient(sm_tensor *root, sm_tensor *gradient, sm_tensor **out,
                                sm_error *err) {
    char came[SM_SHAPE_TEXT], wanted[SM_SHAPE_TEXT];
    sm_tensor_shape_text(wanted, root);
    if (!root->requires_grad)
        return sm_fail(
            err, SM_EINVAL, 1,
            "backward: the tensor does not require a gradient and nothing that made it "
            "does");
    if (!gradient && sm_tensor_numel(root) != 1)
        return sm_fail(
            err, SM_EINVAL, 1,
            "backward: without a gradient the tensor must have one element, got shape %s",
            wanted);
    if (gradient && (!sm_tensor_same_shape(root, gradient) || gradient->dtype != SM_F32))
        return sm_fail(
            err, SM_EINVAL, 2, "backward: gradient must be float32 %s, got %s %s", wanted,
            sm_dtype_name(gradient->dtype), sm_tensor_shape_text(came, gradient));
    if (gradient)
        return sm_tensor_alias(gradient, out, err);
    sm_meta meta = sm_tensor_meta(root);
    sm_status status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        sm_tensor_fill(*out, 1);
    return status;
}

sm_status sm_backward(sm_tensor *root, sm_tensor *gradient, bool retain, sm_error *err) {
    sm_tensor *first = NULL;
    sm_status status = first_gradient(root, gradient, &first, err);
    if (status != SM_OK)
        return status;
    if (!root->node)
        return accumulate(&root->grad, first, true, err);
    root->node->grad[root->output_index] = first;
    return walk(root->node, retain, err);
}

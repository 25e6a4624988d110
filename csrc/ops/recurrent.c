/* recurrent.c: see recurrent.h.
 *
 * The products of all inputs with their weights are one matrix product; so are, backward,
 * the gradients of input and weights. Between them each thread takes some sequences
 * through all steps by itself: a product with the packed weights of the state, and the
 * cell's arithmetic (kernels/recurrent.h), a step. A step's row is wherever the order of
 * batch and time puts it, so neither order is copied into the other.
 */
#include "ops/recurrent.h"

#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/gemm.h"
#include "kernels/gemm_packed.h"
#include "kernels/recurrent.h"
#include "ops/elementwise.h"

enum { INPUT, W_IH, W_HH, H0, C0, B_IH, B_HH, LENGTHS, OPERANDS };
/* What forward keeps: gates [T N,G H] behind their functions; the cells before each step
 * (LSTM), or the state's part of n (GRU) [T N,H]; the states before each step [T N,H]. */
enum { GATES, INNER, BEFORE };

static const char *label(const void *params) {
    static const char *const names[] = {"rnn", "rnn", "lstm", "gru"};
    return names[((const sm_recurrent_params *)params)->kind];
}

static int64_t gates_of(sm_recurrent_kind kind) {
    return kind == SM_LSTM ? 4 : kind == SM_GRU ? 3 : 1;
}

static sm_tensor *operand(sm_tensor *const *in, int n_in, int i) {
    return i < n_in ? in[i] : NULL;
}

/* ---- check ---- */

static sm_status want_shape(const sm_call *call, int i, const char *name, sm_dtype dtype,
                            int ndim, const int64_t *shape, sm_error *err) {
    const sm_tensor *t = operand(call->in, call->n_in, i);
    char wanted[SM_SHAPE_TEXT], came[SM_SHAPE_TEXT];
    if (!t || (t->dtype == dtype && t->ndim == ndim &&
               memcmp(t->shape, shape, (size_t)ndim * sizeof *shape) == 0))
        return SM_OK;
    return sm_fail(err, SM_EINVAL, i + 1, "%s: %s must be %s %s, got %s %s",
                   label(call->params), name, sm_dtype_name(dtype),
                   sm_shape_text(wanted, ndim, shape), sm_dtype_name(t->dtype),
                   sm_tensor_shape_text(came, t));
}

static sm_status check_shapes(const sm_call *call, int64_t n, int64_t h, int64_t width,
                              sm_error *err) {
    const sm_recurrent_params *p = call->params;
    const int64_t state[] = {n, h}, inputs[] = {width, call->in[INPUT]->shape[2]};
    sm_status status = want_shape(call, W_IH, "weight_ih", SM_F32, 2, inputs, err);
    if (status == SM_OK)
        status = want_shape(call, H0, "h0", SM_F32, 2, state, err);
    if (status == SM_OK)
        status = want_shape(call, C0, "c0", SM_F32, 2, state, err);
    if (status == SM_OK)
        status = want_shape(call, B_IH, "bias_ih", SM_F32, 1, &width, err);
    if (status == SM_OK)
        status = want_shape(call, B_HH, "bias_hh", SM_F32, 1, &width, err);
    if (status == SM_OK)
        status = want_shape(call, LENGTHS, "lengths", SM_I64, 1, &n, err);
    if (status == SM_OK && p->kind != SM_LSTM && operand(call->in, call->n_in, C0))
        status =
            sm_fail(err, SM_EINVAL, C0 + 1, "%s: has no cells: c0 must be nil", label(p));
    return status;
}

static sm_status check_lengths(const sm_call *call, int64_t steps, sm_error *err) {
    const sm_tensor *lengths = operand(call->in, call->n_in, LENGTHS);
    for (int64_t i = 0; lengths && i < lengths->shape[0]; i++) {
        const int64_t length = sm_i64(lengths)[i * lengths->stride[0]];
        if (length < 1 || length > steps)
            return sm_fail(err, SM_EINVAL, LENGTHS + 1,
                           "%s: length %lld of sequence %lld is out of range 1..%lld",
                           label(call->params), (long long)length, (long long)i + 1,
                           (long long)steps);
    }
    return SM_OK;
}

static sm_status recurrent_check(sm_call *call, sm_error *err) {
    const sm_recurrent_params *p = call->params;
    const sm_tensor *x = call->in[INPUT], *w = call->in[W_HH];
    char text[SM_SHAPE_TEXT];
    if (x->dtype != SM_F32 || x->ndim != 3)
        return sm_fail(err, SM_EINVAL, 1, "%s: input must be float32 %s, got %s %s",
                       label(p), p->batch_first ? "[N,T,I]" : "[T,N,I]",
                       sm_dtype_name(x->dtype), sm_tensor_shape_text(text, x));
    const int64_t gates = gates_of(p->kind);
    if (w->dtype != SM_F32 || w->ndim != 2 || w->shape[0] % gates != 0 ||
        w->shape[0] / gates != w->shape[1] || w->shape[1] < 1)
        return sm_fail(err, SM_EINVAL, W_HH + 1,
                       "%s: weight_hh must be float32 [%lld H,H], got %s %s", label(p),
                       (long long)gates, sm_dtype_name(w->dtype),
                       sm_tensor_shape_text(text, w));
    const int64_t n = x->shape[p->batch_first ? 0 : 1],
                  steps = x->shape[!!p->batch_first];
    const int64_t h = w->shape[1];
    if (steps < 1)
        return sm_fail(err, SM_EINVAL, 1, "%s: the sequences of input %s are empty",
                       label(p), sm_tensor_shape_text(text, x));
    sm_status status = check_shapes(call, n, h, w->shape[0], err);
    if (status == SM_OK)
        status = check_lengths(call, steps, err);
    sm_out_like(call, INPUT);
    call->meta[0].shape[2] = h;
    call->meta[1] = (sm_meta){.dtype = SM_F32, .ndim = 2, .shape = {n, h}};
    call->meta[2] = call->meta[1];
    call->n_out = p->kind == SM_LSTM ? 3 : 2;
    return status;
}

static uint64_t recurrent_multiply_adds(const sm_call *call) {
    return sm_work(call, gates_of(((const sm_recurrent_params *)call->params)->kind) *
                             (call->in[W_IH]->shape[1] + call->in[W_HH]->shape[1]));
}

/* ---- what forward and backward share ---- */

typedef struct cell_run {
    sm_recurrent_params p;
    const sm_recurrent *cells;
    int64_t n, steps, inputs, h, gates, width; /* width = gates h */
    int64_t step_rows, sequence_rows;          /* rows from step to step, ... */
    sm_tensor *lengths;                        /* dense, or NULL */
    sm_gemm_packed *weight;
    float *gate, *inner, *before; /* as kept; the last two may be NULL */
    /* forward */
    float *bias;   /* [width], of a GRU [4 h] */
    float *hidden; /* [n, width] of a GRU */
    float *y, *state, *cell;
    /* backward */
    const float *dy; /* or NULL */
    float *dgate, *dhidden, *dstate, *dcell;
} cell_run;

static cell_run open_run(const sm_recurrent_params *p, const int64_t *x,
                         const int64_t *w) {
    cell_run r = {.p = *p, .cells = sm_recurrent_table()};
    r.n = x[p->batch_first ? 0 : 1];
    r.steps = x[p->batch_first ? 1 : 0];
    r.inputs = x[2];
    r.h = w[1];
    r.width = w[0];
    r.gates = gates_of(p->kind);
    r.step_rows = p->batch_first ? 1 : r.n;
    r.sequence_rows = p->batch_first ? r.steps : 1;
    return r;
}

static int64_t row_of(const cell_run *r, int64_t step, int64_t sequence) {
    return step * r->step_rows + sequence * r->sequence_rows;
}

static bool is_active(const cell_run *r, int64_t step, int64_t sequence) {
    return !r->lengths || step < sm_i64(r->lengths)[sequence];
}

/* The sequences of [begin, end) up to the last that has this step. */
static int64_t count_active(const cell_run *r, int64_t step, int64_t begin, int64_t end) {
    while (end > begin && !is_active(r, step, end - 1))
        end--;
    return end - begin;
}

/* Sequences that are worth a thread. */
static int64_t sequence_grain(const cell_run *r) {
    const double macs = (double)r->steps * (double)r->width * (double)r->h;
    return macs < 1 << 17 ? 1 + (int64_t)((1 << 17) / macs) : 1;
}

static void clear(float *rows, int64_t row, int64_t width) {
    if (rows)
        memset(rows + row * width, 0, (size_t)width * sizeof *rows);
}

static void copy(float *to, const float *from, int64_t n) {
    memcpy(to, from, (size_t)n * sizeof *to);
}

/* Dense copies (or more references) of the tensors in `from`; NULL stays NULL. */
static sm_status open_dense(sm_tensor *const *from, int count, sm_tensor **to,
                            sm_error *err) {
    sm_status status = SM_OK;
    for (int i = 0; i < count && status == SM_OK; i++)
        if (from[i])
            status = sm_tensor_contiguous(from[i], &to[i], err);
    return status;
}

static void close_dense(sm_tensor **t, int count) {
    for (int i = 0; i < count; i++)
        sm_tensor_unref(t[i]);
}

static sm_status new_rows(int64_t rows, int64_t width, sm_tensor **out, float **data,
                          sm_error *err) {
    const sm_meta meta = {.dtype = SM_F32, .ndim = 2, .shape = {rows, width}};
    sm_status status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        *data = sm_f32(*out);
    return status;
}

/* ---- forward ---- */

/* One sequence's step. */
static void run_cell(const cell_run *r, int64_t row, int64_t sequence) {
    float *gates = r->gate + row * r->width, *state = r->state + sequence * r->h;
    if (r->before)
        copy(r->before + row * r->h, state, r->h);
    if (r->p.kind == SM_LSTM) {
        float *cell = r->cell + sequence * r->h;
        if (r->inner)
            copy(r->inner + row * r->h, cell, r->h);
        r->cells->lstm(r->h, r->bias, gates, cell, state);
    } else if (r->p.kind == SM_GRU) {
        float *hidden = r->hidden + sequence * r->width;
        r->cells->gru(r->h, r->bias, gates, hidden, state);
        if (r->inner)
            copy(r->inner + row * r->h, hidden + 2 * r->h, r->h);
    } else {
        r->cells->rnn(r->h, r->p.kind == SM_RNN_RELU, r->bias, gates, state);
    }
    copy(r->y + row * r->h, state, r->h);
}

/* Sequences [begin, end) from their first step to their last. */
static void run_sequences(void *context, int64_t begin, int64_t end, int thread) {
    const cell_run *r = context;
    const bool gru = r->p.kind == SM_GRU;
    (void)thread;
    for (int64_t s = 0; s < r->steps; s++) {
        const int64_t step = r->p.reverse ? r->steps - 1 - s : s;
        const int64_t active = count_active(r, step, begin, end);
        const float *state = r->state + begin * r->h;
        if (gru)
            sm_gemm_packed_run(r->weight, active, state, r->h,
                               r->hidden + begin * r->width, r->width, false);
        else
            sm_gemm_packed_run(r->weight, active, state, r->h,
                               r->gate + row_of(r, step, begin) * r->width,
                               r->sequence_rows * r->width, true);
        for (int64_t i = begin; i < end; i++) {
            const int64_t row = row_of(r, step, i);
            if (is_active(r, step, i)) {
                run_cell(r, row, i);
            } else {
                clear(r->y, row, r->h);
                clear(r->before, row, r->h);
            }
        }
    }
}

/* bias: the sum of both, but for a GRU's n, whose two stay apart. */
static void set_bias(cell_run *r, sm_tensor *const *in) {
    const float *ih = in[B_IH] ? sm_f32(in[B_IH]) : NULL;
    const float *hh = in[B_HH] ? sm_f32(in[B_HH]) : NULL;
    const int64_t apart = r->p.kind == SM_GRU ? 2 * r->h : r->width;
    for (int64_t j = 0; j < r->width; j++) {
        const float a = ih ? ih[j] : 0, b = hh ? hh[j] : 0;
        r->bias[j] = j < apart ? a + b : a;
        if (j >= apart)
            r->bias[j + r->h] = b;
    }
}

static void start_state(float *state, const sm_tensor *from, int64_t count) {
    if (from)
        copy(state, sm_f32(from), count);
    else
        memset(state, 0, (size_t)count * sizeof *state);
}

/* Room for bias and, of a GRU, the products of the state. */
static sm_status get_room(cell_run *r, sm_error *err) {
    const int64_t hidden = r->p.kind == SM_GRU ? r->n * r->width : 0;
    r->bias = sm_alloc((size_t)(r->width + r->h + hidden) * sizeof *r->bias);
    if (!r->bias)
        return sm_fail(err, SM_ENOMEM, 0, "%s: no memory for its work space",
                       label(&r->p));
    r->hidden = r->bias + r->width + r->h;
    return SM_OK;
}

/* The arrays of gates, and, where backward may come, what else it needs. */
static sm_status get_kept(cell_run *r, sm_call *call, sm_error *err) {
    const int64_t rows = r->steps * r->n;
    const bool inner = r->p.kind == SM_LSTM || r->p.kind == SM_GRU;
    sm_status status = new_rows(rows, r->width, &call->keep[GATES], &r->gate, err);
    if (status == SM_OK && call->record && inner)
        status = new_rows(rows, r->h, &call->keep[INNER], &r->inner, err);
    if (status == SM_OK && call->record)
        status = new_rows(rows, r->h, &call->keep[BEFORE], &r->before, err);
    return status;
}

static sm_status recurrent_forward(sm_call *call, sm_error *err) {
    sm_tensor *in[OPERANDS] = {NULL};
    cell_run r = open_run(call->params, call->in[INPUT]->shape, call->in[W_HH]->shape);
    sm_status status = open_dense(call->in, call->n_in, in, err);
    if (status == SM_OK)
        status = get_kept(&r, call, err);
    if (status == SM_OK)
        status = get_room(&r, err);
    if (status == SM_OK)
        status = sm_gemm_pack(true, r.width, r.h, sm_f32(in[W_HH]), &r.weight, err);
    if (status == SM_OK)
        status =
            sm_gemm(false, true, r.steps * r.n, r.width, r.inputs, 1, sm_f32(in[INPUT]),
                    r.inputs, sm_f32(in[W_IH]), r.inputs, 0, r.gate, r.width, err);
    if (status == SM_OK) {
        r.lengths = in[LENGTHS];
        r.y = sm_f32(call->out[0]);
        r.state = sm_f32(call->out[1]);
        r.cell = r.p.kind == SM_LSTM ? sm_f32(call->out[2]) : NULL;
        set_bias(&r, in);
        start_state(r.state, in[H0], r.n * r.h);
        if (r.cell)
            start_state(r.cell, in[C0], r.n * r.h);
        sm_parallel_for(r.n, sequence_grain(&r), run_sequences, &r);
    }
    sm_gemm_packed_free(r.weight);
    sm_free(r.bias);
    close_dense(in, OPERANDS);
    return status;
}

/* ---- backward ---- */

static void run_cell_back(const cell_run *r, int64_t row, int64_t sequence) {
    const float *gates = r->gate + row * r->width, *inner = r->inner + row * r->h;
    const float *dy = r->dy ? r->dy + row * r->h : NULL;
    float *dgates = r->dgate + row * r->width, *dstate = r->dstate + sequence * r->h;
    if (r->p.kind == SM_LSTM)
        r->cells->lstm_back(r->h, gates, inner, dy, dgates, r->dcell + sequence * r->h,
                            dstate);
    else if (r->p.kind == SM_GRU)
        r->cells->gru_back(r->h, gates, inner, r->before + row * r->h, dy, dgates,
                           r->dhidden + row * r->width, dstate);
    else
        r->cells->rnn_back(r->h, r->p.kind == SM_RNN_RELU, gates, dy, dgates, dstate);
}

/* Sequences [begin, end) from their last step to their first. A sequence that does not
 * have a step has no gradients of gates there, and its dstate stays as it is. */
static void back_sequences(void *context, int64_t begin, int64_t end, int thread) {
    const cell_run *r = context;
    const float *from = r->p.kind == SM_GRU ? r->dhidden : r->dgate;
    (void)thread;
    for (int64_t s = 0; s < r->steps; s++) {
        const int64_t step = r->p.reverse ? s : r->steps - 1 - s;
        for (int64_t i = begin; i < end; i++) {
            const int64_t row = row_of(r, step, i);
            if (is_active(r, step, i)) {
                run_cell_back(r, row, i);
            } else {
                clear(r->dgate, row, r->width);
                clear(r->dhidden, row, r->width);
            }
        }
        sm_gemm_packed_run(r->weight, count_active(r, step, begin, end),
                           from + row_of(r, step, begin) * r->width,
                           r->sequence_rows * r->width, r->dstate + begin * r->h, r->h,
                           true);
    }
}

/* Where the gradient of a state runs, beginning with that of the last one: the gradient
 * of operand i if that is wanted, else scratch. */
static sm_status start_gradient(sm_back *back, int i, const sm_tensor *last,
                                const cell_run *r, sm_tensor **scratch, float **out,
                                sm_error *err) {
    sm_tensor *t;
    const sm_meta meta = {.dtype = SM_F32, .ndim = 2, .shape = {r->n, r->h}};
    const bool wanted = i < back->n_in && back->want[i];
    sm_status status =
        wanted ? sm_din(back, i, &t, err) : sm_tensor_new(&meta, scratch, err);
    if (status != SM_OK)
        return status;
    t = wanted ? t : *scratch;
    *out = sm_f32(t);
    if (last)
        sm_tensor_copy(t, last);
    else
        sm_tensor_fill(t, 0);
    return SM_OK;
}

/* x with zeros behind the sequences' ends, so that nothing there (a NaN, say) gets into a
 * sum. */
static sm_status mask_input(const cell_run *r, sm_tensor *x, sm_tensor **out,
                            sm_error *err) {
    const sm_meta meta = sm_tensor_meta(x);
    if (!r->lengths) {
        *out = sm_tensor_ref(x);
        return SM_OK;
    }
    sm_status status = sm_tensor_new(&meta, out, err);
    for (int64_t step = 0; step < r->steps && status == SM_OK; step++)
        for (int64_t i = 0; i < r->n; i++) {
            const int64_t row = row_of(r, step, i);
            if (is_active(r, step, i))
                copy(sm_f32(*out) + row * r->inputs, sm_f32(x) + row * r->inputs,
                     r->inputs);
            else
                clear(sm_f32(*out), row, r->inputs);
        }
    return status;
}

/* dW_ih = dgates^T x, dW_hh = dgates^T states before. */
static sm_status weight_gradients(sm_back *back, const cell_run *r, sm_tensor *x,
                                  sm_error *err) {
    const int64_t rows = r->steps * r->n;
    const float *dhidden = r->dhidden ? r->dhidden : r->dgate;
    sm_tensor *d, *masked = NULL;
    sm_status status = SM_OK;
    if (back->want[W_IH]) {
        status = mask_input(r, x, &masked, err);
        if (status == SM_OK)
            status = sm_din(back, W_IH, &d, err);
        if (status == SM_OK)
            status =
                sm_gemm(true, false, r->width, r->inputs, rows, 1, r->dgate, r->width,
                        sm_f32(masked), r->inputs, 0, sm_f32(d), r->inputs, err);
        sm_tensor_unref(masked);
    }
    if (status == SM_OK && back->want[W_HH])
        status = sm_din(back, W_HH, &d, err);
    if (status == SM_OK && back->want[W_HH])
        status = sm_gemm(true, false, r->width, r->h, rows, 1, dhidden, r->width,
                         r->before, r->h, 0, sm_f32(d), r->h, err);
    return status;
}

/* The rows of dgates that an operand's bias saw, summed. */
static sm_status bias_gradients(sm_back *back, sm_tensor *dgate, sm_tensor *dhidden,
                                sm_error *err) {
    sm_status status = SM_OK;
    for (int i = B_IH; i <= B_HH && i < back->n_in && status == SM_OK; i++)
        if (back->want[i])
            status =
                sm_din_sum(back, i, i == B_HH && dhidden ? dhidden : dgate, NULL, err);
    return status;
}

static sm_status input_gradient(sm_back *back, const cell_run *r, const sm_tensor *w,
                                sm_error *err) {
    sm_tensor *dx;
    if (!back->want[INPUT])
        return SM_OK;
    sm_status status = sm_din(back, INPUT, &dx, err);
    if (status == SM_OK)
        status = sm_gemm(false, false, r->steps * r->n, r->inputs, r->width, 1, r->dgate,
                         r->width, sm_f32(w), r->inputs, 0, sm_f32(dx), r->inputs, err);
    return status;
}

/* The steps, with dgates in `rows`; from these all other gradients. */
static sm_status run_backward(sm_back *back, cell_run *r, sm_tensor *const *in,
                              sm_tensor **rows, sm_error *err) {
    const int64_t count = r->steps * r->n;
    sm_status status = new_rows(count, r->width, &rows[0], &r->dgate, err);
    if (status == SM_OK && r->p.kind == SM_GRU)
        status = new_rows(count, r->width, &rows[1], &r->dhidden, err);
    if (status == SM_OK)
        status = sm_gemm_pack(false, r->h, r->width, sm_f32(in[W_HH]), &r->weight, err);
    if (status != SM_OK)
        return status;
    sm_parallel_for(r->n, sequence_grain(r), back_sequences, r);
    status = input_gradient(back, r, in[W_IH], err);
    if (status == SM_OK)
        status = weight_gradients(back, r, in[INPUT], err);
    return status == SM_OK ? bias_gradients(back, rows[0], rows[1], err) : status;
}

static sm_status recurrent_backward(sm_back *back, sm_error *err) {
    sm_tensor *in[OPERANDS] = {NULL}, *dy = NULL, *rows[2] = {NULL}, *scratch[2] = {NULL};
    cell_run r =
        open_run(back->params, back->in_meta[INPUT].shape, back->in_meta[W_HH].shape);
    sm_status status = open_dense(back->in, back->n_in, in, err);
    if (status == SM_OK)
        status = open_dense(back->dout, 1, &dy, err);
    if (status == SM_OK)
        status = start_gradient(back, H0, back->dout[1], &r, &scratch[0], &r.dstate, err);
    if (status == SM_OK && r.p.kind == SM_LSTM)
        status = start_gradient(back, C0, back->dout[2], &r, &scratch[1], &r.dcell, err);
    if (status == SM_OK) {
        r.lengths = in[LENGTHS];
        r.gate = sm_f32(back->keep[GATES]);
        r.inner = back->keep[INNER] ? sm_f32(back->keep[INNER]) : r.gate;
        r.before = sm_f32(back->keep[BEFORE]);
        r.dy = dy ? sm_f32(dy) : NULL;
        status = run_backward(back, &r, in, rows, err);
    }
    sm_gemm_packed_free(r.weight);
    close_dense(in, OPERANDS);
    close_dense(rows, 2);
    close_dense(scratch, 2);
    sm_tensor_unref(dy);
    return status;
}

const sm_op sm_op_recurrent = {.name = "recurrent",
                               .label = label,
                               .min_in = 3,
                               .max_in = OPERANDS,
                               .n_out = 3,
                               .save_in =
                                   1u << INPUT | 1u << W_IH | 1u << W_HH | 1u << LENGTHS,
                               .params_size = sizeof(sm_recurrent_params),
                               .check = recurrent_check,
                               .forward = recurrent_forward,
                               .backward = recurrent_backward,
                               .multiply_adds = recurrent_multiply_adds};

/* elementwise.c: brings strided operands to the dense loops. See elementwise.h.
 *
 * An operand whose inner stride is not 1 goes through a small buffer: gathered (or, for
 * stride 0, filled) before the loop, scattered after it.
 */
#include "kernels/elementwise.h"

#include "base/cpu.h"

enum { CHUNK = 512 };

const sm_elementwise *sm_elementwise_table(void) {
#if defined(__x86_64__)
    static const sm_elementwise *const tables[SM_ISA_COUNT] = {
        &sm_elementwise__ref, &sm_elementwise__avx2, &sm_elementwise__avx512};
    return tables[sm_cpu_isa()];
#else
    return &sm_elementwise__ref;
#endif
}

/* The dense form of n elements of an operand: itself, or buffer with them. */
static const float *dense(const char *data, int64_t stride, int64_t first, int64_t n,
                          float *buffer) {
    const float *x = (const float *)data + first * stride;
    if (stride == 1)
        return x;
    for (int64_t i = 0; i < n; i++)
        buffer[i] = x[i * stride];
    return buffer;
}

static void scatter(char *data, int64_t stride, int64_t first, int64_t n,
                    const float *from) {
    float *y = (float *)data + first * stride;
    for (int64_t i = 0; i < n; i++)
        y[i * stride] = from[i];
}

typedef struct task {
    int inputs;
    sm_scalars s;
    sm_unary_loop unary;
    sm_unary_grad_loop unary_grad;
    sm_binary_loop binary;
    sm_binary_grad_loop binary_grad;
} task;

static void run_loop(const task *t, float *y, const float *const *x, int64_t n) {
    if (t->unary)
        t->unary(y, x[0], n, t->s);
    else if (t->unary_grad)
        t->unary_grad(y, x[0], x[1], x[2], n, t->s);
    else if (t->binary)
        t->binary(y, x[0], x[1], n);
    else
        t->binary_grad(y, x[0], x[1], x[2], n);
}

static void run_line(const void *context, int64_t n, char *const *data,
                     const int64_t *stride) {
    const task *t = context;
    float buffer[SM_STRIDED_MAX_OPERANDS][CHUNK];
    bool all_dense = stride[0] == 1;
    for (int k = 1; k <= t->inputs; k++)
        all_dense = all_dense && stride[k] == 1;
    int64_t chunk = all_dense ? n : CHUNK;
    for (int64_t first = 0; first < n; first += chunk) {
        int64_t count = n - first < chunk ? n - first : chunk;
        const float *x[3];
        for (int k = 1; k <= t->inputs; k++)
            x[k - 1] = dense(data[k], stride[k], first, count, buffer[k]);
        if (stride[0] == 1) {
            run_loop(t, (float *)data[0] + first, x, count);
        } else {
            run_loop(t, buffer[0], x, count);
            scatter(data[0], stride[0], first, count, buffer[0]);
        }
    }
}

void sm_unary_run(sm_unary kind, sm_scalars s, const sm_strided *walk) {
    task t = {.inputs = 1, .s = s, .unary = sm_elementwise_table()->unary[kind]};
    sm_strided_run(walk, run_line, &t);
}

void sm_unary_grad_run(sm_unary kind, sm_scalars s, const sm_strided *walk) {
    task t = {
        .inputs = 3, .s = s, .unary_grad = sm_elementwise_table()->unary_grad[kind]};
    sm_strided_run(walk, run_line, &t);
}

void sm_binary_run(sm_binary kind, const sm_strided *walk) {
    task t = {.inputs = 2, .binary = sm_elementwise_table()->binary[kind]};
    sm_strided_run(walk, run_line, &t);
}

void sm_binary_grad_run(sm_binary kind, int operand, const sm_strided *walk) {
    task t = {.inputs = 3,
              .binary_grad = sm_elementwise_table()->binary_grad[kind][operand]};
    sm_strided_run(walk, run_line, &t);
}

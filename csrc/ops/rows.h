/* rows.h: a tensor seen as rows along some of its dimensions. */
#ifndef SM_OPS_ROWS_H
#define SM_OPS_ROWS_H

#include "ops/op.h"

typedef struct sm_rows {
    int64_t m, k; /* rows and their length */
    sm_tensor *t; /* dense [M,K]: the dimensions in `dims` last, joined */
} sm_rows;

/* x as rows along the dimensions of the mask `dims`; copies only where the strides demand
 * it. sm_rows_close gives the reference back. */
sm_status sm_rows_open(sm_tensor *x, unsigned dims, sm_rows *rows, sm_error *err);
/* New float32 rows for a tensor of that shape (contents undefined), */
sm_status sm_rows_new(const sm_meta *meta, unsigned dims, sm_rows *rows, sm_error *err);
/* and a view of them in the tensor's own order of dimensions, */
sm_status sm_rows_restore(const sm_rows *rows, const sm_meta *meta, unsigned dims,
                          sm_tensor **out, sm_error *err);
/* or a copy of them into a contiguous tensor of that shape. */
sm_status sm_rows_copy(const sm_rows *rows, unsigned dims, sm_tensor *out, sm_error *err);
void sm_rows_close(sm_rows *rows);

/* Runs fn over the m rows on all threads. */
void sm_rows_run(const sm_rows *rows,
                 void (*fn)(void *context, int64_t begin, int64_t end, int thread),
                 void *context);

#endif

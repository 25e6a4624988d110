/* transpose.c: see transpose.h. Cut into pieces of a few rows, so that a single large
 * image keeps all threads busy. */
#include "kernels/transpose.h"

#include "base/pool.h"
#include "kernels/conv2d_blocked.h"

enum { ROWS = 64, GRAIN = 8192 };

typedef struct job {
    int64_t rows, columns, pieces;
    const float *src;
    float *dst;
} job;

static void turn(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const conv2d_kernels *k = sm_conv2d_kernels_in_use();
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t image = item / j->pieces * j->rows * j->columns;
        const int64_t row = item % j->pieces * ROWS;
        const int64_t rows = j->rows - row < ROWS ? j->rows - row : ROWS;
        k->transpose(j->src + image + row * j->columns, j->columns, rows, j->columns,
                     j->dst + image + row, j->rows);
    }
}

void sm_transpose_f32(int64_t batch, int64_t rows, int64_t columns, const float *src,
                      float *dst) {
    job j = {rows, columns, (rows + ROWS - 1) / ROWS, src, dst};
    sm_parallel_for(batch * j.pieces, 1 + GRAIN / (ROWS * columns), turn, &j);
}

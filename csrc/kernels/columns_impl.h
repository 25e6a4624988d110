/* columns_impl.h: the loops of columns.h. The including file defines SUFFIX(name). */
#include <string.h>

#include "kernels/columns.h"

/* Blocks of `w` columns, a constant, so that their sums stay in registers. */
#define INLINE static inline __attribute__((always_inline))

INLINE void dot_block(const float *x, const float *y, int64_t rows, int64_t c, float *sum,
                      int64_t at, const int w) {
    float a[64] = {0};
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < w; j++)
            a[j] += x[i * c + at + j] * y[i * c + at + j];
    memcpy(sum + at, a, (size_t)w * sizeof *sum);
}

static void dot_(const float *x, const float *y, int64_t rows, int64_t c, float *sum) {
    int64_t at = 0;
    for (; at + 32 <= c; at += 32)
        dot_block(x, y, rows, c, sum, at, 32);
    for (; at + 8 <= c; at += 8)
        dot_block(x, y, rows, c, sum, at, 8);
    for (; at < c; at++)
        dot_block(x, y, rows, c, sum, at, 1);
}

const sm_columns SUFFIX(sm_columns) = {dot_};

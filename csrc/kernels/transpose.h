/* transpose.h: rows to columns, for the two orders of images. */
#ifndef SM_KERNELS_TRANSPOSE_H
#define SM_KERNELS_TRANSPOSE_H

#include <stdint.h>

/* dst[b][c][r] = src[b][r][c] for b < batch, r < rows, c < columns; on all threads. */
void sm_transpose_f32(int64_t batch, int64_t rows, int64_t columns, const float *src,
                      float *dst);

#endif

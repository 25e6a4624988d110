/* conv2d_blocked_avx512.c: the inner loops of the implicit-GEMM convolution in 512-bit
 * vectors. Of the 32 registers, 24 hold sums (6 pixels by 64 channels), 4 weights and 1
 * the broadcast value. */
#if defined(__x86_64__)
#include "kernels/conv2d_blocked.h"
#include "kernels/vec_avx512.h"

#define VECTORS 4
enum { PIXELS_1 = 12, PIXELS_2 = 12, PIXELS_3 = 8, PIXELS_4 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_avx512
#define KERNELS_LABEL "avx512"

#include "kernels/conv2d_blocked_impl.h"
#endif

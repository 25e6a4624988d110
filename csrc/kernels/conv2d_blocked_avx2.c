/* conv2d_blocked_avx2.c: the inner loops of the implicit-GEMM convolution in 256-bit
 * vectors. Of the 16 registers, 12 hold sums (6 pixels by 16 channels), 2 weights and 1
 * the broadcast value. */
#if defined(__x86_64__)
#include "kernels/conv2d_blocked.h"
#include "kernels/vec_avx2.h"

#define VECTORS 2
enum { PIXELS_1 = 12, PIXELS_2 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_avx2
#define KERNELS_LABEL "avx2"

#include "kernels/conv2d_blocked_impl.h"
#endif

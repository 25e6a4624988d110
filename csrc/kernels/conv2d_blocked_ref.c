/* conv2d_blocked_ref.c: the inner loops of the implicit-GEMM convolution in the
 * compiler's portable 128-bit vectors (SSE2 on any x86-64, NEON on aarch64). */
#include "kernels/conv2d_blocked.h"
#include "kernels/vec_ref.h"

#define VECTORS 2
enum { PIXELS_1 = 8, PIXELS_2 = 6, ROWS = 6 };
#define KERNELS_NAME sm_conv2d_kernels_ref
#define KERNELS_LABEL "portable"

#include "kernels/conv2d_blocked_impl.h"

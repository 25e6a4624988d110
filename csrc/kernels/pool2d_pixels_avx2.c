/* pool2d_pixels_avx2.c: the loops of pooling for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/vec_avx2.h"

#include "kernels/pool2d_pixels_impl.h"
#else
typedef int sm_pool2d_pixels_avx2_unused;
#endif

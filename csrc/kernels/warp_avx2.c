/* warp_avx2.c: the loops of warps for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/vec_avx2.h"

#include "kernels/warp_impl.h"
#else
typedef int sm_warp_avx2_unused;
#endif

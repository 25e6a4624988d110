/* pixels_avx2.c: the loops over pixels for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/vec_avx2.h"

#include "kernels/pixels_impl.h"
#else
typedef int sm_pixels_avx2_unused;
#endif

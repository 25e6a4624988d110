/* norm_avx2.c: the loops of normalisation for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/norm_impl.h"
#else
typedef int sm_norm_avx2_unused;
#endif

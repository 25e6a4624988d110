/* norm_avx512.c: the loops of normalisation for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/norm_impl.h"
#else
typedef int sm_norm_avx512_unused;
#endif

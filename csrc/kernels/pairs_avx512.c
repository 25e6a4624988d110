/* pairs_avx512.c: the loops over pairs for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/pairs_impl.h"
#else
typedef int sm_pairs_avx512_unused;
#endif

/* pairs_avx2.c: the loops over pairs for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/pairs_impl.h"
#else
typedef int sm_pairs_avx2_unused;
#endif

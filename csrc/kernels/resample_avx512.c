/* resample_avx512.c: the loops of resizing for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/vec_avx512.h"

#include "kernels/resample_impl.h"
#else
typedef int sm_resample_avx512_unused;
#endif

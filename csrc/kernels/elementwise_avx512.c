/* elementwise_avx512.c: the elementwise loops for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/elementwise_impl.h"
#else
typedef int sm_elementwise_avx512_unused;
#endif

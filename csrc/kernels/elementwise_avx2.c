/* elementwise_avx2.c: the elementwise loops for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/elementwise_impl.h"
#else
typedef int sm_elementwise_avx2_unused;
#endif

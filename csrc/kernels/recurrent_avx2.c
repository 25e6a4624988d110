/* recurrent_avx2.c: recurrent cells for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/recurrent_impl.h"
#else
typedef int sm_recurrent_avx2_unused;
#endif

/* recurrent_avx512.c: recurrent cells for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/recurrent_impl.h"
#else
typedef int sm_recurrent_avx512_unused;
#endif

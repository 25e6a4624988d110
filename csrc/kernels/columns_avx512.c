/* columns_avx512.c: the sweeps over columns for the avx512 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx512
#include "kernels/columns_impl.h"
#else
typedef int sm_columns_avx512_unused;
#endif

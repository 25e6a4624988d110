/* columns_avx2.c: the sweeps over columns for the avx2 path. */
#if defined(__x86_64__)
#define SUFFIX(name) name##__avx2
#include "kernels/columns_impl.h"
#else
typedef int sm_columns_avx2_unused;
#endif

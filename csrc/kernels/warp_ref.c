/* warp_ref.c: the loops of warps for the portable path. */
#define SUFFIX(name) name##__ref
#include "kernels/vec_ref.h"

#include "kernels/warp_impl.h"

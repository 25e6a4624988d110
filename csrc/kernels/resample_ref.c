/* resample_ref.c: the loops of resizing for the portable path. */
#define SUFFIX(name) name##__ref
#include "kernels/vec_ref.h"

#include "kernels/resample_impl.h"

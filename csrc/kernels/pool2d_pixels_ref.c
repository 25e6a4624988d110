/* pool2d_pixels_ref.c: the loops of pooling for the portable path. */
#define SUFFIX(name) name##__ref
#include "kernels/vec_ref.h"

#include "kernels/pool2d_pixels_impl.h"

/* pixels_ref.c: the loops over pixels for the portable path. */
#define SUFFIX(name) name##__ref
#include "kernels/vec_ref.h"

#include "kernels/pixels_impl.h"

/* norm_ref.c: the loops of normalisation for the ref path. */
#define SUFFIX(name) name##__ref
#include "kernels/norm_impl.h"

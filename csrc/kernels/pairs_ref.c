/* pairs_ref.c: the loops over pairs for the ref path. */
#define SUFFIX(name) name##__ref
#include "kernels/pairs_impl.h"

/* elementwise_ref.c: the elementwise loops for the ref path. */
#define SUFFIX(name) name##__ref
#include "kernels/elementwise_impl.h"

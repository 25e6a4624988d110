/* recurrent_ref.c: recurrent cells for any machine. */
#define SUFFIX(name) name##__ref
#include "kernels/recurrent_impl.h"

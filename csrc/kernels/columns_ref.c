/* columns_ref.c: the sweeps over columns for any machine. */
#define SUFFIX(name) name##__ref
#include "kernels/columns_impl.h"

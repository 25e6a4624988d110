/* strided.h: one walk over up to four strided operands of one common shape.
 *
 * Everything elementwise goes through it: dimensions that lie behind one another in
 * memory for all operands are merged, the innermost is handed to a loop, the outer ones
 * are cut among the threads.
 */
#ifndef SM_KERNELS_STRIDED_H
#define SM_KERNELS_STRIDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SM_STRIDED_MAX_OPERANDS = 4, SM_STRIDED_MAX_DIMS = 8 };

typedef struct sm_strided {
    int operands;
    int ndim;
    int64_t shape[SM_STRIDED_MAX_DIMS];
    char *data[SM_STRIDED_MAX_OPERANDS];
    size_t item[SM_STRIDED_MAX_OPERANDS];                         /* bytes per element */
    int64_t stride[SM_STRIDED_MAX_OPERANDS][SM_STRIDED_MAX_DIMS]; /* in elements */
    bool serial; /* must be walked by one thread in order: an operand is written more than
                    once */
} sm_strided;

/* n elements; data[k] points at the first of operand k, stride[k] is in elements. */
typedef void (*sm_strided_fn)(const void *context, int64_t n, char *const *data,
                              const int64_t *stride);

void sm_strided_run(const sm_strided *walk, sm_strided_fn fn, const void *context);

#endif

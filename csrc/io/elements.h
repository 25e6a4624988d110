/* elements.h: numbers as files of weights hold them, and their way into tensors.
 *
 * Here are three types: all floats become float32, signed integers and those that fit
 * int64, bytes and booleans uint8.
 */
#ifndef SM_IO_ELEMENTS_H
#define SM_IO_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/mapped.h"
#include "tensor/tensor.h"

typedef enum sm_element {
    SM_ELEMENT_F32,
    SM_ELEMENT_F64,
    SM_ELEMENT_F16,
    SM_ELEMENT_BF16,
    SM_ELEMENT_I64,
    SM_ELEMENT_I32,
    SM_ELEMENT_I16,
    SM_ELEMENT_I8,
    SM_ELEMENT_U64,
    SM_ELEMENT_U32,
    SM_ELEMENT_U16,
    SM_ELEMENT_U8,
    SM_ELEMENT_BOOL,
    SM_ELEMENT_COUNT
} sm_element;

/* Numbers that lie one behind another in a file. */
typedef struct sm_blob {
    sm_element type;
    int64_t numel;
    bool big_endian;
    const uint8_t *data; /* in the mapping; not aligned in general */
} sm_blob;

/* "F32", "BF16": the names of the safetensors format; -1 for one that is not read here.
 */
int sm_element_by_name(const char *name);
size_t sm_element_size(sm_element type);
/* The dtype that they get here. */
sm_dtype sm_element_target(sm_element type);

/* numel * size; false on overflow. */
bool sm_blob_bytes(const sm_blob *blob, uint64_t *bytes);
/* Converts all of the blob into `out` (of the target dtype), releasing the mapping's
 * pages as it goes. U64 beyond int64 gives int64's largest. */
void sm_blob_read(const sm_blob *blob, const sm_mapped *file, void *out);

#endif

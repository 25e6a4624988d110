/* safetensors.h: the safetensors format (Hugging Face, 2022): an 8-byte little-endian
 * header length, a JSON header that gives each tensor's dtype, shape and byte range, then
 * the bytes.
 *
 * Reading maps the file and checks everything before it hands out a pointer: the length
 * of the header, its syntax, names, dtypes, shapes, that the byte ranges agree with them,
 * do not overlap, leave no holes and end where the file does. Nothing in the file is ever
 * executed. All failures are SM_EIO (or SM_ENOMEM) with a message that names the file and
 * the reason.
 */
#ifndef SM_IO_SAFETENSORS_H
#define SM_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tensor/tensor.h"

typedef enum sm_st_dtype {
    SM_ST_F32,
    SM_ST_F64,
    SM_ST_F16,
    SM_ST_BF16,
    SM_ST_I64,
    SM_ST_I32,
    SM_ST_I16,
    SM_ST_I8,
    SM_ST_U8,
    SM_ST_BOOL,
    SM_ST_DTYPE_COUNT
} sm_st_dtype;

typedef struct sm_st_entry {
    const char *name; /* UTF-8, ends with 0 */
    sm_st_dtype dtype;
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    int64_t numel;
    const void *data; /* in the mapping; not aligned in general */
    uint64_t begin, end;
} sm_st_entry;

typedef struct sm_st_text {
    const char *key, *value;
} sm_st_text;

typedef struct sm_st_file {
    void *mapping;
    size_t size;
    sm_st_entry *entries; /* in the order of the file's bytes */
    int64_t count;
    sm_st_text *metadata;
    int64_t metadata_count;
    char *strings; /* all names, keys and values */
} sm_st_file;

/* Opens and checks. On failure *file is empty; sm_st_close is allowed on it. */
sm_status sm_st_open(const char *path, sm_st_file *file, sm_error *err);
void sm_st_close(sm_st_file *file);

/* The dtype that a tensor of it gets here: float32 for all floats, int64 for signed
 * integers, uint8. */
sm_dtype sm_st_target(sm_st_dtype dtype);
/* Converts the entry's elements into `out` of that dtype. */
void sm_st_convert(const sm_st_entry *entry, void *out);

/* Writes tensors (dense; F32, I64 or U8) and metadata into a temporary file beside
 * `path`, makes it durable, and renames it: the file is there whole or not at all. */
sm_status sm_st_write(const char *path, const sm_tensor *const *tensors,
                      const char *const *names, int64_t count, const sm_st_text *metadata,
                      int64_t metadata_count, sm_error *err);

#endif

/* safetensors.h: the safetensors format (Hugging Face, 2022): an 8-byte little-endian
 * header length, a JSON header that gives each tensor's dtype, shape and byte range, then
 * the bytes.
 *
 * Reading checks everything before it hands out a pointer: the length of the header (at
 * most 100 MB), its syntax and its first byte, names, dtypes, shapes, that the byte
 * ranges agree with them, do not overlap, leave no holes and end where the file does.
 * Nothing in the file is ever executed. All failures are SM_EIO (or SM_ENOMEM) with a
 * message that names the file and the reason.
 */
#ifndef SM_IO_SAFETENSORS_H
#define SM_IO_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "io/elements.h"
#include "tensor/tensor.h"

typedef struct sm_st_entry {
    const char *name; /* UTF-8, ends with 0 */
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    sm_blob blob;
    uint64_t begin, end;
} sm_st_entry;

typedef struct sm_st_text {
    const char *key, *value;
} sm_st_text;

typedef struct sm_st_file {
    sm_st_entry *entries; /* in the order of the file's bytes */
    int64_t count;
    sm_st_text *metadata;
    int64_t metadata_count;
    char *strings; /* all names, keys and values */
} sm_st_file;

/* Whether the bytes begin as a file of the format does: for telling kinds of files apart.
 */
bool sm_st_looks_so(const sm_mapped *bytes);
/* Checks all of the file and lists what is in it; the entries point into `bytes`. On
 * failure *file is empty; sm_st_close is allowed on it. */
sm_status sm_st_open(const char *path, const sm_mapped *bytes, sm_st_file *file,
                     sm_error *err);
void sm_st_close(sm_st_file *file);

/* Writes tensors (dense; F32, I64 or U8) and metadata into a temporary file beside
 * `path`, makes it durable, and renames it: the file is there whole or not at all. */
sm_status sm_st_write(const char *path, const sm_tensor *const *tensors,
                      const char *const *names, int64_t count, const sm_st_text *metadata,
                      int64_t metadata_count, sm_error *err);

#endif

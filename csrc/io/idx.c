/* idx.c: see idx.h. */
#include "io/idx.h"

#include <string.h>

#include "base/mem.h"
#include "io/gzip.h"

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads the header into *meta and checks that exactly the values follow it; *at is where.
 */
static sm_status read_header(const char *path, const uint8_t *data, size_t size,
                             sm_meta *meta, size_t *at, sm_error *err) {
    if (size < 4 || data[0] != 0 || data[1] != 0)
        return sm_fail(err, SM_EIO, 0, "%s: not an idx file", path);
    if (data[2] != 0x08)
        return sm_fail(err, SM_EIO, 0,
                       "%s: idx values of type 0x%02X, expected bytes (0x08)", path,
                       data[2]);
    *meta = (sm_meta){.dtype = SM_U8, .ndim = data[3]};
    *at = 4 + 4 * (size_t)data[3];
    if (meta->ndim < 1 || meta->ndim > SM_MAX_DIMS || size < *at)
        return sm_fail(err, SM_EIO, 0,
                       "%s: the idx header is broken (%d dimensions, %zu bytes)", path,
                       meta->ndim, size);
    for (int d = 0; d < meta->ndim; d++)
        meta->shape[d] = big32(data + 4 + 4 * d);
    int64_t numel;
    char shape[SM_SHAPE_TEXT];
    if (sm_meta_numel(meta, path, &numel, NULL) != SM_OK || (uint64_t)numel != size - *at)
        return sm_fail(err, SM_EIO, 0,
                       "%s: the idx header says %s, but %zu values follow", path,
                       sm_shape_text(shape, meta->ndim, meta->shape), size - *at);
    return SM_OK;
}

sm_status sm_idx_load(const char *path, size_t max_bytes, sm_tensor **out,
                      sm_error *err) {
    uint8_t *data = NULL;
    size_t size = 0, at = 0;
    sm_status status = sm_file_load(path, max_bytes, &data, &size, err);
    if (status != SM_OK)
        return status;
    sm_meta meta = {0};
    status = read_header(path, data, size, &meta, &at, err);
    if (status == SM_OK)
        status = sm_tensor_new(&meta, out, err);
    if (status == SM_OK)
        memcpy(sm_u8(*out), data + at, size - at);
    sm_free(data);
    return status;
}

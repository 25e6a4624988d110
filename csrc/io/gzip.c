/* gzip.c: see gzip.h. The format is RFC 1952: a header of 10 bytes with optional fields,
 * a DEFLATE stream, then the CRC-32 and the length of what was packed. Its length, which
 * stands last, is known before anything is unpacked, so the buffer is allocated once and
 * a lying file is caught. One member a file, as all writers of data sets do it. */
#include "io/gzip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32.h"
#include "base/mem.h"
#include "image/inflate.h"
#include "io/directory.h"

enum { HEADER = 10, TRAILER = 8 };
enum {
    FLAG_HCRC = 2,
    FLAG_EXTRA = 4,
    FLAG_NAME = 8,
    FLAG_COMMENT = 16,
    FLAG_RESERVED = 0xE0
};

static uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where the text that starts at `at` ends (after its zero), or `size` when it does not.
 */
static size_t skip_text(const uint8_t *data, size_t size, size_t at) {
    const uint8_t *zero = at < size ? memchr(data + at, 0, size - at) : NULL;
    return zero ? (size_t)(zero - data) + 1 : size;
}

/* Where the DEFLATE stream begins; 0 when the header is broken. */
static size_t stream_start(const uint8_t *data, size_t size) {
    int flags = data[3];
    size_t at = HEADER;
    if (data[2] != 8 || flags & FLAG_RESERVED)
        return 0;
    if (flags & FLAG_EXTRA)
        at = at + 2 <= size ? at + 2 + (data[at] | (size_t)data[at + 1] << 8) : size;
    if (flags & FLAG_NAME)
        at = skip_text(data, size, at);
    if (flags & FLAG_COMMENT)
        at = skip_text(data, size, at);
    if (flags & FLAG_HCRC)
        at += 2;
    return at + TRAILER <= size ? at : 0;
}

static sm_status unpack(const char *path, const uint8_t *data, size_t size,
                        size_t max_bytes, uint8_t **out, size_t *out_size,
                        sm_error *err) {
    size_t start = size >= HEADER + TRAILER ? stream_start(data, size) : 0;
    if (!start)
        return sm_fail(err, SM_EIO, 0, "%s: the gzip header is broken or truncated",
                       path);
    size_t packed = size - start - TRAILER, length = little32(data + size - 4);
    if (length > max_bytes)
        return sm_fail(err, SM_EIO, 0,
                       "%s: unpacks to %zu bytes, more than the limit of %zu", path,
                       length, max_bytes);
    if (length / 1032 > packed) /* DEFLATE packs at most 1032 to 1 */
        return sm_fail(err, SM_EIO, 0,
                       "%s: says it unpacks to %zu bytes, which its %zu cannot", path,
                       length, size);
    uint8_t *block = sm_alloc(length);
    if (!block)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory for %zu bytes", path,
                       length);
    /* The decoder looks some bytes beyond the stream's end: the trailer is there for it.
     */
    if (sm_inflate(block, length, data + start, packed + TRAILER) != (long long)length ||
        sm_crc32(block, length) != little32(data + size - TRAILER)) {
        sm_free(block);
        return sm_fail(err, SM_EIO, 0, "%s: the gzip data is truncated or corrupt", path);
    }
    *out = block;
    *out_size = length;
    return SM_OK;
}

/* The length of an open file, or -1; pipes and folders have none. */
static long file_length(FILE *file) {
    if (fseek(file, 0, SEEK_END) != 0)
        return -1;
    long length = ftell(file);
    return fseek(file, 0, SEEK_SET) == 0 ? length : -1;
}

static sm_status read_all(const char *path, FILE *file, size_t max_bytes, uint8_t **out,
                          size_t *size, sm_error *err) {
    long length = file_length(file);
    if (length < 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    if ((size_t)length > max_bytes)
        return sm_fail(err, SM_EIO, 0, "%s: %ld bytes, more than the limit of %zu", path,
                       length, max_bytes);
    uint8_t *data = sm_alloc((size_t)length);
    if (!data)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory for %ld bytes", path,
                       length);
    errno = 0;
    if (fread(data, 1, (size_t)length, file) != (size_t)length) {
        sm_free(data);
        return sm_fail(err, SM_EIO, 0, "%s: %s", path,
                       errno ? strerror(errno) : "read ended early");
    }
    *out = data;
    *size = (size_t)length;
    return SM_OK;
}

sm_status sm_file_load(const char *path, size_t max_bytes, uint8_t **out, size_t *size,
                       sm_error *err) {
    sm_entry_kind kind = sm_path_kind(path);
    if (kind == SM_ENTRY_FOLDER || kind == SM_ENTRY_OTHER)
        return sm_fail(err, SM_EIO, 0, "%s: not a file", path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    uint8_t *data = NULL;
    size_t bytes = 0;
    sm_status status = read_all(path, file, max_bytes, &data, &bytes, err);
    fclose(file);
    if (status != SM_OK)
        return status;
    if (bytes >= 2 && data[0] == 0x1F && data[1] == 0x8B) {
        status = unpack(path, data, bytes, max_bytes, out, size, err);
        sm_free(data);
        return status;
    }
    *out = data;
    *size = bytes;
    return SM_OK;
}

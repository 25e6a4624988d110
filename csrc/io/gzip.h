/* gzip.h: a whole file in memory, unpacked when it is a .gz. */
#ifndef SM_IO_GZIP_H
#define SM_IO_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads the file at `path`; a file that begins as a gzip member (RFC 1952) is unpacked,
 * and its CRC and length checked. Nothing beyond `max_bytes` (of the file, or of what is
 * in it) is allocated. *out is for sm_free. SM_EIO, with the path in the message, when
 * the file is missing, truncated, larger than allowed or broken. */
sm_status sm_file_load(const char *path, size_t max_bytes, uint8_t **out, size_t *size,
                       sm_error *err);

#endif

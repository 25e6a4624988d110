/* decode.h: picture files to bytes and back, over stb_image.
 *
 * Reads PNG, JPEG, binary PGM and PPM, BMP and the first frame of a GIF. 16-bit files are
 * reduced to 8 bits; transparency is ignored; colour becomes grey by stb_image's weights
 * (77 R + 150 G + 29 B) / 256. Sizes are checked against the limits before a picture is
 * decoded. All failures are SM_EIO with a message that begins with the picture's name.
 * Functions may be called from any thread.
 */
#ifndef SM_IMAGE_DECODE_H
#define SM_IMAGE_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sm_image {
    int64_t channels, height, width;
    uint8_t *data; /* [H,W,C], from sm_alloc; sm_image_free gives it back */
} sm_image;

typedef struct sm_image_limits {
    int64_t width, height, bytes; /* bytes: of the file, and of the decoded picture */
} sm_image_limits;

/* `channels` is 1 (grey) or 3 (RGB). */
sm_status sm_image_decode(const void *bytes, size_t size, const char *name, int channels,
                          const sm_image_limits *limits, sm_image *image, sm_error *err);
/* Never waits for a pipe or a device: it refuses what is not a file. */
sm_status sm_image_read(const char *path, int channels, const sm_image_limits *limits,
                        sm_image *image, sm_error *err);
void sm_image_free(sm_image *image);

/* Writes planar [C,H,W] bytes (C is 1 or 3) as PNG: into a temporary file beside `path`,
 * then renamed. */
sm_status sm_image_write_png(const char *path, const uint8_t *planar, int channels,
                             int64_t height, int64_t width, sm_error *err);

#endif

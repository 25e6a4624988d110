/* inflate.h: DEFLATE (RFC 1951) for those who read compressed files and are not images.
 *
 * The decoder is stb_image's, which lives in decode.c with the rest of that library.
 */
#ifndef SM_IMAGE_INFLATE_H
#define SM_IMAGE_INFLATE_H

#include <stddef.h>

/* Inflates a raw DEFLATE stream into a buffer of `out_size` bytes and never writes past
 * it. Gives the number of bytes written, or -1 when the stream is broken, does not fit,
 * or either size passes 2 GB. */
long long sm_inflate(void *out, size_t out_size, const void *in, size_t in_size);

#endif

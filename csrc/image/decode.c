/* decode.c: see decode.h. stb_image fills in what a truncated file lacks in some formats,
 * so the end of the file is looked at first. */
#include "image/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "image/pnm.h"
#include "stb_image.h"
#include "stb_image_write.h"

/* ---- reading ---- */

static bool begins(const uint8_t *b, size_t size, const char *magic, size_t n) {
    return size >= n && memcmp(b, magic, n) == 0;
}

static bool jpeg_ends(const uint8_t *b, size_t size) {
    for (size_t i = size; i >= 2; i--)
        if (b[i - 2] == 0xFF && b[i - 1] == 0xD9)
            return true;
    return false;
}

/* Whether every Huffman table (marker FF C4) has at most 256 codes. stb_image 2.27 writes
 * beyond its own where one has more; no sound file does. Looks at the marker wherever it
 * stands. */
static bool jpeg_tables_fit(const uint8_t *b, size_t size) {
    for (size_t i = 0; i + 3 < size; i++) {
        if (b[i] != 0xFF || b[i + 1] != 0xC4)
            continue;
        int64_t left = (b[i + 2] << 8 | b[i + 3]) - 2;
        for (size_t at = i + 4; left > 0;) {
            int codes = 0;
            for (size_t k = at + 1; k < at + 17 && k < size; k++)
                codes += b[k];
            if (codes > 256)
                return false;
            at += 17 + (size_t)codes;
            left -= 17 + codes;
        }
    }
    return true;
}

/* The last chunk, "IEND" and its checksum. */
static bool png_ends(const uint8_t *b, size_t size) {
    for (size_t i = size; i >= 8; i--)
        if (memcmp(b + i - 8, "IEND", 4) == 0)
            return true;
    return false;
}

static bool bmp_fits(const uint8_t *b, size_t size, int width, int height) {
    if (size < 54)
        return false;
    uint64_t offset =
        b[10] | (uint64_t)b[11] << 8 | (uint64_t)b[12] << 16 | (uint64_t)b[13] << 24;
    uint64_t bits = b[28] | (uint64_t)b[29] << 8;
    uint64_t row = ((uint64_t)width * bits + 31) / 32 * 4;
    return offset + row * (uint64_t)height <= size;
}

/* Whether a file that begins well also goes on to its end. */
static bool is_whole(const uint8_t *b, size_t size, int width, int height) {
    if (begins(b, size, "\xFF\xD8", 2))
        return jpeg_ends(b, size) && jpeg_tables_fit(b, size);
    if (begins(b, size, "BM", 2))
        return bmp_fits(b, size, width, height);
    if (begins(b, size, "GIF8", 4))
        return memchr(b + size - (size < 16 ? size : 16), 0x3B, size < 16 ? size : 16) !=
               NULL;
    return png_ends(b, size);
}

static sm_status check_area(const char *name, int64_t width, int64_t height,
                            const sm_image_limits *limits, sm_error *err) {
    if (width < 1 || height < 1)
        return sm_fail(err, SM_EIO, 0, "%s: the picture has no pixels", name);
    if (width > limits->width || height > limits->height ||
        height > limits->bytes / 4 / width)
        return sm_fail(
            err, SM_EIO, 0,
            "%s: %lld x %lld pixels are more than the limits (%lld x %lld, %lld bytes)",
            name, (long long)width, (long long)height, (long long)limits->width,
            (long long)limits->height, (long long)limits->bytes);
    return SM_OK;
}

/* The size that a PNG says it has; false for what is none. stb_image says of one that is
 * too large for it only that it knows no such format. */
static bool png_size(const uint8_t *b, size_t size, int64_t *width, int64_t *height) {
    if (size < 24 || !begins(b, size, "\x89PNG\r\n\x1a\n", 8) ||
        memcmp(b + 12, "IHDR", 4) != 0)
        return false;
    const uint8_t *w = b + 16, *h = b + 20;
    *width = (int64_t)w[0] << 24 | w[1] << 16 | w[2] << 8 | w[3];
    *height = (int64_t)h[0] << 24 | h[1] << 16 | h[2] << 8 | h[3];
    return true;
}

/* The failure of a picture whose header stb_image does not take. */
static sm_status refuse_header(const uint8_t *b, size_t size, const char *name,
                               const sm_image_limits *limits, sm_error *err) {
    int64_t width, height;
    const char *reason = stbi_failure_reason();
    if (!png_size(b, size, &width, &height) || width < 1 || height < 1)
        return sm_fail(err, SM_EIO, 0,
                       "%s: not a PNG, JPEG, PGM, PPM, BMP or GIF picture (%s)", name,
                       reason);
    sm_status status = check_area(name, width, height, limits, err);
    if (status != SM_OK)
        return status;
    if (height > (1 << 30) / 4 / width)
        return sm_fail(err, SM_EIO, 0,
                       "%s: a PNG of %lld x %lld pixels is larger than can be decoded "
                       "(2^28 pixels)",
                       name, (long long)width, (long long)height);
    return sm_fail(err, SM_EIO, 0, "%s: the PNG's header is broken", name);
}

static sm_status decode_pnm(const uint8_t *b, size_t size, const char *name,
                            const sm_image_limits *limits, sm_image *image,
                            sm_error *err) {
    sm_pnm p;
    if (!sm_pnm_header(b, size, &p))
        return sm_fail(err, SM_EIO, 0, "%s: the PGM or PPM header is broken", name);
    sm_status status = check_area(name, p.width, p.height, limits, err);
    if (status != SM_OK)
        return status;
    if (!sm_pnm_is_whole(&p, size))
        return sm_fail(err, SM_EIO, 0, "%s: the file is truncated", name);
    image->height = p.height;
    image->width = p.width;
    image->data = sm_alloc((size_t)(image->channels * p.height * p.width));
    if (!image->data)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", name);
    sm_pnm_pixels(b, &p, (int)image->channels, image->data);
    return SM_OK;
}

static sm_status decode_stb(const uint8_t *b, size_t size, const char *name,
                            const sm_image_limits *limits, sm_image *image,
                            sm_error *err) {
    int width, height, components, channels = (int)image->channels;
    if (!stbi_info_from_memory(b, (int)size, &width, &height, &components))
        return refuse_header(b, size, name, limits, err);
    sm_status status = check_area(name, width, height, limits, err);
    if (status != SM_OK)
        return status;
    if (!is_whole(b, size, width, height))
        return sm_fail(err, SM_EIO, 0, "%s: the file is truncated or broken", name);
    uint8_t *pixels =
        stbi_load_from_memory(b, (int)size, &width, &height, &components, channels);
    if (!pixels)
        return sm_fail(err, SM_EIO, 0, "%s: the picture is broken (%s)", name,
                       stbi_failure_reason());
    image->height = height;
    image->width = width;
    image->data = pixels;
    return SM_OK;
}

sm_status sm_image_decode(const void *bytes, size_t size, const char *name, int channels,
                          const sm_image_limits *limits, sm_image *image, sm_error *err) {
    const uint8_t *b = bytes;
    *image = (sm_image){.channels = channels};
    if (size < 3)
        return sm_fail(err, SM_EIO, 0, "%s: the file is empty or truncated", name);
    if ((int64_t)size > limits->bytes || size > INT32_MAX)
        return sm_fail(err, SM_EIO, 0, "%s: %zu bytes are more than the limit of %lld",
                       name, size, (long long)limits->bytes);
    if (b[0] == 'P' && b[1] >= '1' && b[1] <= '3')
        return sm_fail(err, SM_EIO, 0,
                       "%s: only binary PGM (P5) and PPM (P6) are read, this is P%c",
                       name, b[1]);
    if (b[0] == 'P' && (b[1] == '5' || b[1] == '6'))
        return decode_pnm(b, size, name, limits, image, err);
    return decode_stb(b, size, name, limits, image, err);
}

/* All of an open file in a block of sm_alloc. */
static sm_status read_all(int fd, const char *path, const sm_image_limits *limits,
                          uint8_t **bytes, size_t *size, sm_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return sm_fail(err, SM_EIO, 0, "%s: not a file", path);
    if (info.st_size > limits->bytes)
        return sm_fail(err, SM_EIO, 0, "%s: %lld bytes are more than the limit of %lld",
                       path, (long long)info.st_size, (long long)limits->bytes);
    *size = (size_t)info.st_size;
    *bytes = sm_alloc(*size);
    if (!*bytes)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    for (size_t got = 0; got < *size;) {
        ssize_t n = read(fd, *bytes + got, *size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sm_free(*bytes);
            return sm_fail(err, SM_EIO, 0, "%s: could not be read whole: %s", path,
                           n < 0 ? strerror(errno) : "it has become shorter");
        }
        got += (size_t)n;
    }
    return SM_OK;
}

sm_status sm_image_read(const char *path, int channels, const sm_image_limits *limits,
                        sm_image *image, sm_error *err) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    *image = (sm_image){.channels = channels};
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* opening a pipe is felt */
        return sm_fail(err, SM_EIO, 0, "%s: not a file", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* nor may it block */
    if (fd < 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    sm_status status = read_all(fd, path, limits, &bytes, &size, err);
    close(fd);
    if (status != SM_OK)
        return status;
    status = sm_image_decode(bytes, size, path, channels, limits, image, err);
    sm_free(bytes);
    return status;
}

void sm_image_free(sm_image *image) {
    sm_free(image->data);
    image->data = NULL;
}

/* ---- writing ---- */

typedef struct sink {
    FILE *file;
    bool failed;
} sink;

static void write_some(void *context, void *data, int size) {
    sink *s = context;
    s->failed = s->failed || fwrite(data, 1, (size_t)size, s->file) != (size_t)size;
}

static bool write_pixels(FILE *file, const uint8_t *planar, int channels, int height,
                         int width) {
    int64_t area = (int64_t)width * height;
    sink s = {file, false};
    uint8_t *pixels = sm_alloc((size_t)(area * channels));
    if (!pixels)
        return false;
    for (int c = 0; c < channels; c++)
        for (int64_t i = 0; i < area; i++)
            pixels[i * channels + c] = planar[c * area + i];
    int ok = stbi_write_png_to_func(write_some, &s, width, height, channels, pixels,
                                    width * channels);
    sm_free(pixels);
    return ok && !s.failed;
}

sm_status sm_image_write_png(const char *path, const uint8_t *planar, int channels,
                             int64_t height, int64_t width, sm_error *err) {
    char temporary[4096];
    if (height < 1 || width < 1 || height > 1 << 16 || width > 1 << 16)
        return sm_fail(err, SM_EIO, 0, "%s: cannot write a picture of %lld x %lld pixels",
                       path, (long long)width, (long long)height);
    if (snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid()) >=
        (int)sizeof temporary)
        return sm_fail(err, SM_EIO, 0, "%.200s...: the path is too long", path);
    FILE *file = fopen(temporary, "wb");
    if (!file)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    bool ok = write_pixels(file, planar, channels, (int)height, (int)width);
    int reason = errno;
    ok = fclose(file) == 0 && ok;
    if (ok && rename(temporary, path) == 0)
        return SM_OK;
    reason = ok ? errno : reason;
    remove(temporary);
    return sm_fail(err, SM_EIO, 0, "%s: could not be written: %s", path,
                   strerror(reason));
}

/* pictures.h: many pictures in files and archives, read when they are wanted.
 *
 * A list of N pictures knows their names and the form that they shall have; nothing of
 * them is in memory unless a cache is wanted. They are read by any number of threads at
 * once; everything else is done by one.
 *
 *     sm_pictures *p;
 *     status = sm_pictures_new(&form, paths, n, NULL, 0, &p, &err);
 *     status = sm_pictures_settle(p, &err);                  // what size they have
 *     status = sm_pictures_read(p, i, SM_F32, batch + k * size, &err);
 *     sm_pictures_unref(p);
 *
 * A failure names the picture's file.
 */
#ifndef SM_IO_PICTURES_H
#define SM_IO_PICTURES_H

#include "image/reader.h"
#include "io/archive.h"
#include "tensor/tensor.h"

typedef struct sm_pictures sm_pictures;

/* Pictures count from 0. A path that begins with that of one of the archives and a '/'
 * names an entry of it. Paths are copied, archives referenced. The form's fill is
 * SM_FILL_BYTES or SM_FILL_FLOATS: what a picture is kept as. SM_EINVAL when the form's
 * size is not possible. */
sm_status sm_pictures_new(const sm_form *form, const char *const *paths, int64_t n,
                          sm_archive *const *archives, int archive_count,
                          sm_pictures **out, sm_error *err);
/* References are counted by one thread. */
sm_pictures *sm_pictures_ref(sm_pictures *p);
void sm_pictures_unref(sm_pictures *p); /* NULL is allowed */

int64_t sm_pictures_count(const sm_pictures *p);
const char *sm_pictures_path(const sm_pictures *p, int64_t i);
/* Height and width are 0 where pictures may have any size. */
const sm_form *sm_pictures_form(const sm_pictures *p);
/* Where the form has no size, it becomes that of the first picture that can be read, and
 * those of another size can not be read from now on. For new lists alone, before anything
 * else is done with them. SM_EIO when no picture can be read: what was wrong with the
 * first. */
sm_status sm_pictures_settle(sm_pictures *p, sm_error *err);

/* Keeps what is read from now on, up to `bytes` in all (0: nothing more is kept). What is
 * kept stays until the list is freed. */
void sm_pictures_cache(sm_pictures *p, size_t bytes);
/* Bytes that are kept. */
size_t sm_pictures_cached(const sm_pictures *p);

/* Planes [channels, height, width] of a picture. */
typedef struct sm_planes {
    int64_t height, width;
    const void *data; /* bytes or floats, by the form's fill */
    void *own;        /* the block that they lie in, NULL when it is the cache's */
} sm_planes;

/* One picture, of whatever size the form allows. Planes are given back with
 * sm_planes_free, also when it fails. */
sm_status sm_pictures_get(sm_pictures *p, int64_t i, sm_planes *planes, sm_error *err);
void sm_planes_free(sm_planes *planes);
/* One picture of a list that has a size, straight to `out`: bytes as bytes (SM_U8) or
 * times 1 / 255 (SM_F32); floats as floats. */
sm_status sm_pictures_read(sm_pictures *p, int64_t i, sm_dtype dtype, void *out,
                           sm_error *err);

#endif

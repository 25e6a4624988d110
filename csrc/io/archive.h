/* archive.h: a zip file whose entries are read one at a time, by any thread.
 *
 * The directory is read once; the file stays open, and entries are read from it without
 * mapping it: should another program shorten or change the file meanwhile, reading fails.
 * Stored entries and DEFLATE, zip64 as well; no encryption. Sums are checked.
 *
 *     sm_archive *a;
 *     if (sm_archive_open("faces.zip", &a, &err) != SM_OK) ...
 *     const sm_zip_entry *e = sm_archive_find(a, "faces/1.png", 11);
 *     if (sm_archive_read(a, e, 1 << 28, &bytes, &size, &err) == SM_OK) ...
 * sm_free(bytes); sm_archive_unref(a);
 */
#ifndef SM_IO_ARCHIVE_H
#define SM_IO_ARCHIVE_H

#include "io/zip.h"

typedef struct sm_archive sm_archive;

/* SM_EIO, with the path in the message, when there is no such file or it is broken. The
 * archive has one reference. */
sm_status sm_archive_open(const char *path, sm_archive **out, sm_error *err);
/* References are counted by one thread. */
sm_archive *sm_archive_ref(sm_archive *a);
void sm_archive_unref(sm_archive *a); /* NULL is allowed */

const char *sm_archive_path(const sm_archive *a);
/* Entries in the order of their names; those that end in '/' are folders. */
size_t sm_archive_count(const sm_archive *a);
const sm_zip_entry *sm_archive_entry(const sm_archive *a, size_t i);
/* NULL if there is none of that name. */
const sm_zip_entry *sm_archive_find(const sm_archive *a, const char *name, size_t size);

/* What is in an entry, in a block for sm_free. SM_EIO, with the names of the archive and
 * of the entry, when it holds more than max_bytes, is broken or cannot be read. */
sm_status sm_archive_read(const sm_archive *a, const sm_zip_entry *e, size_t max_bytes,
                          uint8_t **out, size_t *size, sm_error *err);

#endif

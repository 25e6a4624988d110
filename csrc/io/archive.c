/* archive.c: see archive.h. */
#include "io/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32.h"
#include "base/mem.h"
#include "image/inflate.h"
#include "io/mapped.h"

enum { STORED = 0, DEFLATED = 8 };
enum { BEHIND = 8 }; /* the decoder of DEFLATE looks some bytes beyond the stream's end */

struct sm_archive {
    int refs, fd;
    sm_zip zip;
    char *path, *names;
};

/* The entries' names, which lie in the mapping, into a block of their own. */
static bool keep_names(sm_archive *a) {
    size_t bytes = 0;
    for (size_t i = 0; i < a->zip.count; i++)
        bytes += a->zip.entries[i].name_size;
    char *at = a->names = sm_alloc(bytes);
    if (!at)
        return false;
    for (size_t i = 0; i < a->zip.count; i++) {
        sm_zip_entry *e = &a->zip.entries[i];
        memcpy(at, e->name, e->name_size);
        e->name = at;
        e->data = NULL;
        at += e->name_size;
    }
    return true;
}

static sm_status read_directory(sm_archive *a, sm_error *err) {
    sm_mapped file;
    sm_status status = sm_mapped_open(a->path, &file, err);
    if (status != SM_OK)
        return status;
    if (!sm_zip_looks_so(file.data, file.size))
        status = sm_fail(err, SM_EIO, 0, "%s: not a zip archive", a->path);
    else
        status = sm_zip_open(a->path, file.data, file.size, &a->zip, err);
    if (status == SM_OK && !keep_names(a))
        status = sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", a->path);
    sm_mapped_close(&file);
    return status;
}

static sm_status open_file(sm_archive *a, sm_error *err) {
    a->fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (a->fd < 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", a->path, strerror(errno));
    return read_directory(a, err);
}

sm_status sm_archive_open(const char *path, sm_archive **out, sm_error *err) {
    sm_archive *a = sm_calloc(sizeof *a);
    char *name = sm_alloc(strlen(path) + 1);
    if (!a || !name) {
        sm_free(a);
        sm_free(name);
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    }
    memcpy(name, path, strlen(path) + 1);
    a->refs = 1;
    a->path = name;
    sm_status status = open_file(a, err);
    if (status == SM_OK)
        *out = a;
    else
        sm_archive_unref(a);
    return status;
}

sm_archive *sm_archive_ref(sm_archive *a) {
    a->refs++;
    return a;
}

void sm_archive_unref(sm_archive *a) {
    if (!a || --a->refs)
        return;
    if (a->fd >= 0)
        close(a->fd);
    sm_zip_close(&a->zip);
    sm_free(a->names);
    sm_free(a->path);
    sm_free(a);
}

const char *sm_archive_path(const sm_archive *a) {
    return a->path;
}

size_t sm_archive_count(const sm_archive *a) {
    return a->zip.count;
}

const sm_zip_entry *sm_archive_entry(const sm_archive *a, size_t i) {
    return &a->zip.entries[i];
}

const sm_zip_entry *sm_archive_find(const sm_archive *a, const char *name, size_t size) {
    return sm_zip_find(&a->zip, name, size);
}

/* ---- reading ---- */

static sm_status fail(const sm_archive *a, const sm_zip_entry *e, const char *reason,
                      sm_error *err) {
    return sm_fail(err, SM_EIO, 0, "%s/%.*s: %s", a->path,
                   (int)(e->name_size < 200 ? e->name_size : 200), e->name, reason);
}

static sm_status out_of_memory(const sm_archive *a, const sm_zip_entry *e,
                               sm_error *err) {
    fail(a, e, "out of memory", err);
    return SM_ENOMEM;
}

static sm_status read_packed(const sm_archive *a, const sm_zip_entry *e, uint8_t *to,
                             sm_error *err) {
    for (size_t got = 0; got < e->packed;) {
        ssize_t n = pread(a->fd, to + got, e->packed - got, (off_t)(e->at + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(a, e, n < 0 ? strerror(errno) : "the archive has become shorter",
                        err);
        got += (size_t)n;
    }
    return SM_OK;
}

static sm_status check_entry(const sm_archive *a, const sm_zip_entry *e, size_t max_bytes,
                             sm_error *err) {
    enum { MOST_PACKED = 1032 }; /* to 1: what DEFLATE can do at best */
    if (e->encrypted)
        return fail(a, e, "is encrypted", err);
    if (e->method != STORED && e->method != DEFLATED)
        return fail(a, e, "is compressed by a method that is not read (only DEFLATE is)",
                    err);
    if (e->size > max_bytes || e->packed > max_bytes)
        return sm_fail(err, SM_EIO, 0,
                       "%s/%.*s: %zu bytes are more than the limit of %zu", a->path,
                       (int)(e->name_size < 200 ? e->name_size : 200), e->name,
                       e->size > e->packed ? e->size : e->packed, max_bytes);
    if (e->method == DEFLATED && e->size / MOST_PACKED > e->packed)
        return fail(a, e, "says that it unpacks to more than it can", err);
    return SM_OK;
}

/* `packed` of BEHIND bytes more than it has, into a block of its size. */
static sm_status unpack(const sm_archive *a, const sm_zip_entry *e, uint8_t *packed,
                        uint8_t **out, sm_error *err) {
    uint8_t *block = sm_alloc(e->size);
    if (!block)
        return out_of_memory(a, e, err);
    memset(packed + e->packed, 0, BEHIND);
    if (sm_inflate(block, e->size, packed, e->packed + BEHIND) != (long long)e->size) {
        sm_free(block);
        return fail(a, e, "the compressed data is broken", err);
    }
    *out = block;
    return SM_OK;
}

sm_status sm_archive_read(const sm_archive *a, const sm_zip_entry *e, size_t max_bytes,
                          uint8_t **out, size_t *size, sm_error *err) {
    sm_status status = check_entry(a, e, max_bytes, err);
    if (status != SM_OK)
        return status;
    uint8_t *block = sm_alloc(e->packed + BEHIND), *packed = block;
    if (!block)
        return out_of_memory(a, e, err);
    status = read_packed(a, e, packed, err);
    if (status == SM_OK && e->method == DEFLATED) {
        status = unpack(a, e, packed, &block, err);
        sm_free(packed);
        if (status != SM_OK)
            return status;
    }
    if (status == SM_OK && sm_crc32(block, e->size) != e->crc)
        status = fail(a, e, "is damaged: its checksum is another", err);
    if (status != SM_OK) {
        sm_free(block);
        return status;
    }
    *out = block;
    *size = e->size;
    return SM_OK;
}

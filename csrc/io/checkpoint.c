/* checkpoint.c: see checkpoint.h. The layouts are those of torch/serialization.py and of
 * caffe2/serialize/inline_container.h in PyTorch 2. */
#include "io/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "io/zip.h"

/* The number 0x1950a86a20f9469cfc6c as any protocol from 2 on pickles it: LONG1 of 10
 * bytes. */
static const uint8_t MAGIC[] = {0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46,
                                0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};

static bool is_stream(const sm_mapped *file) {
    enum { WITHIN = 16 }; /* behind the protocol and, from protocol 4 on, a frame */
    for (size_t at = 0; at < WITHIN && at + sizeof MAGIC <= file->size; at++)
        if (memcmp(file->data + at, MAGIC, sizeof MAGIC) == 0)
            return file->data[0] == 0x80;
    return false;
}

/* A pickle of another kind is taken for a checkpoint too, to be refused as that. */
static bool is_pickle(const sm_mapped *file) {
    return file->size >= 2 && file->data[0] == 0x80 && file->data[1] >= 2 &&
           file->data[1] <= 5;
}

bool sm_checkpoint_looks_so(const sm_mapped *file) {
    return sm_zip_looks_so(file->data, file->size) || is_pickle(file);
}

/* ---- archives ---- */

/* The name in the archive's folder, which is called as the file was when it was saved. */
typedef struct folder {
    const sm_zip *zip;
    const char *name; /* with the slash behind it */
    size_t size;
} folder;

static const sm_zip_entry *find(const folder *f, const char *part, const char *name,
                                size_t size) {
    char whole[1024];
    size_t n = strlen(part);
    if (f->size + n + size > sizeof whole)
        return NULL;
    memcpy(whole, f->name, f->size);
    memcpy(whole + f->size, part, n);
    if (size)
        memcpy(whole + f->size + n, name, size);
    return sm_zip_find(f->zip, whole, f->size + n + size);
}

/* The folder that data.pkl is in, which must be the only one. */
static bool find_folder(const sm_zip *zip, folder *f) {
    static const char name[] = "data.pkl";
    enum { SIZE = sizeof name - 1 };
    int found = 0;
    for (size_t i = 0; i < zip->count; i++) {
        const sm_zip_entry *e = &zip->entries[i];
        if (e->name_size <= SIZE || e->name[e->name_size - SIZE - 1] != '/' ||
            memcmp(e->name + e->name_size - SIZE, name, SIZE) != 0)
            continue;
        *f = (folder){zip, e->name, e->name_size - SIZE};
        found++;
    }
    return found == 1;
}

static sm_status read_order(const char *path, const folder *f, bool *big_endian,
                            sm_error *err) {
    const sm_zip_entry *e = find(f, "byteorder", "", 0);
    *big_endian = e && e->data && e->size == 3 && memcmp(e->data, "big", 3) == 0;
    if (!e || *big_endian ||
        (e->data && e->size == 6 && memcmp(e->data, "little", 6) == 0))
        return SM_OK;
    return sm_fail(err, SM_EIO, 0, "%s: its byteorder is neither 'little' nor 'big'",
                   path);
}

static sm_status find_storages(const char *path, const folder *f, bool big_endian,
                               sm_pickle *p, sm_error *err) {
    for (size_t i = 0; i < p->storage_count; i++) {
        sm_pickle_storage *s = p->storages[i];
        const sm_zip_entry *e = find(f, "data/", s->key, s->key_size);
        int shown = s->key_size < 40 ? (int)s->key_size : 40;
        uint64_t bytes = 0;
        if (!e || !e->data)
            return sm_fail(err, SM_EIO, 0, "%s: the storage data/%.*s is %s", path, shown,
                           s->key, e ? "compressed" : "not there");
        if (!sm_blob_bytes(&s->blob, &bytes) || bytes != e->size)
            return sm_fail(err, SM_EIO, 0,
                           "%s: the storage data/%.*s has %zu bytes, its tensors want "
                           "%llu",
                           path, shown, s->key, e->size, (unsigned long long)bytes);
        s->blob.data = e->data;
        s->blob.big_endian = big_endian;
    }
    return SM_OK;
}

static sm_status read_archive(const char *path, const sm_zip *zip, sm_checkpoint *c,
                              sm_error *err) {
    folder f;
    if (!find_folder(zip, &f))
        return sm_fail(
            err, SM_EIO, 0,
            "%s: a zip archive, but no checkpoint of PyTorch: it does not have "
            "one data.pkl",
            path);
    const sm_zip_entry *e = find(&f, "data.pkl", "", 0);
    bool big_endian;
    size_t used;
    if (!e || !e->data)
        return sm_fail(err, SM_EIO, 0, "%s: its data.pkl is compressed", path);
    sm_status status = read_order(path, &f, &big_endian, err);
    if (status == SM_OK)
        status = sm_pickle_read(&c->pickle, e->data, e->size, &used, &c->value, err);
    if (status == SM_OK)
        status = sm_pickle_join_storages(&c->pickle, err);
    if (status == SM_OK)
        status = find_storages(path, &f, big_endian, &c->pickle, err);
    return status;
}

/* ---- streams ---- */

static sm_status read_next(sm_checkpoint *c, const sm_mapped *file, size_t *at,
                           sm_value **value, sm_error *err) {
    size_t used = 0;
    sm_status status =
        sm_pickle_read(&c->pickle, file->data + *at, file->size - *at, &used, value, err);
    *at += used;
    return status;
}

/* The magic number, the version and what machine wrote it; storages are little-endian
 * whatever that says. */
static sm_status read_preamble(const char *path, sm_checkpoint *c, const sm_mapped *file,
                               size_t *at, sm_error *err) {
    enum { VERSION = 1001 };
    sm_value *value = NULL;
    for (int i = 0; i < 3; i++) {
        sm_status status = read_next(c, file, at, &value, err);
        if (status != SM_OK)
            return status;
        if (i == 1 && (value->kind != SM_VALUE_INTEGER || value->integer != VERSION))
            return sm_fail(
                err, SM_EIO, 0,
                "%s: a checkpoint of a version that is not read here, expected "
                "%d",
                path, VERSION);
    }
    return SM_OK;
}

static sm_pickle_storage *find_storage(const sm_pickle *p, const char *key, size_t size) {
    size_t low = 0, high = p->storage_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        sm_pickle_storage *s = p->storages[middle];
        int order = memcmp(key, s->key, size < s->key_size ? size : s->key_size);
        if (!order)
            order = (size > s->key_size) - (size < s->key_size);
        if (!order)
            return s;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Storages follow one another in the keys' order, each behind its number of elements. */
static sm_status place_storage(const char *path, const sm_mapped *file, size_t *at,
                               sm_pickle_storage *s, sm_error *err) {
    uint64_t numel = 0, bytes = 0;
    if (file->size - *at < 8)
        return sm_fail(err, SM_EIO, 0, "%s: it ends before its storages do (truncated)",
                       path);
    for (int i = 7; i >= 0; i--)
        numel = numel << 8 | file->data[*at + (size_t)i];
    if (numel != (uint64_t)s->blob.numel)
        return sm_fail(err, SM_EIO, 0,
                       "%s: a storage has %llu elements, its tensors want %lld", path,
                       (unsigned long long)numel, (long long)s->blob.numel);
    *at += 8;
    if (!sm_blob_bytes(&s->blob, &bytes) || bytes > file->size - *at)
        return sm_fail(err, SM_EIO, 0, "%s: it ends before its storages do (truncated)",
                       path);
    s->blob.data = file->data + *at;
    *at += bytes;
    return SM_OK;
}

static sm_status place_storages(const char *path, const sm_mapped *file, size_t at,
                                const sm_value *keys, sm_pickle *p, sm_error *err) {
    if (keys->kind != SM_VALUE_LIST || keys->list.count != p->storage_count)
        return sm_fail(err, SM_EIO, 0,
                       "%s: broken checkpoint: it does not list the keys of its %zu "
                       "storages",
                       path, p->storage_count);
    for (uint32_t i = 0; i < keys->list.count; i++) {
        const sm_value *key = keys->list.items[i];
        sm_pickle_storage *s = key->kind == SM_VALUE_TEXT
                                   ? find_storage(p, key->text.bytes, key->text.size)
                                   : NULL;
        if (!s || s->blob.data)
            return sm_fail(err, SM_EIO, 0,
                           "%s: broken checkpoint: key %u of its storages is unknown or "
                           "repeated",
                           path, i + 1);
        sm_status status = place_storage(path, file, &at, s, err);
        if (status != SM_OK)
            return status;
    }
    return at == file->size
               ? SM_OK
               : sm_fail(err, SM_EIO, 0, "%s: bytes that belong to no storage", path);
}

static sm_status read_stream(const char *path, const sm_mapped *file, sm_checkpoint *c,
                             sm_error *err) {
    size_t at = 0;
    sm_value *keys = NULL;
    if (!is_stream(file)) { /* what is wrong with the pickle itself is said first */
        sm_status status = read_next(c, file, &at, &c->value, err);
        return status != SM_OK
                   ? status
                   : sm_fail(err, SM_EIO, 0,
                             "%s: a pickle, but not one that torch.save wrote", path);
    }
    sm_status status = read_preamble(path, c, file, &at, err);
    if (status == SM_OK)
        status = read_next(c, file, &at, &c->value, err);
    if (status == SM_OK)
        status = sm_pickle_join_storages(&c->pickle, err);
    if (status == SM_OK)
        status = read_next(c, file, &at, &keys, err);
    if (status == SM_OK)
        status = place_storages(path, file, at, keys, &c->pickle, err);
    return status;
}

/* ---- both ---- */

sm_status sm_checkpoint_open(const char *path, const sm_mapped *file, sm_checkpoint *c,
                             sm_error *err) {
    sm_zip zip = {0};
    sm_status status;
    *c = (sm_checkpoint){0};
    sm_pickle_init(&c->pickle, path);
    if (sm_zip_looks_so(file->data, file->size)) {
        status = sm_zip_open(path, file->data, file->size, &zip, err);
        if (status == SM_OK)
            status = read_archive(path, &zip, c, err);
        sm_zip_close(&zip);
    } else {
        status = read_stream(path, file, c, err);
    }
    if (status == SM_OK)
        status = sm_value_check(&c->pickle, c->value, err);
    if (status != SM_OK)
        sm_checkpoint_close(c);
    return status;
}

void sm_checkpoint_close(sm_checkpoint *c) {
    sm_pickle_free(&c->pickle);
    *c = (sm_checkpoint){0};
}

/* zip.c: see zip.h. An archive is read from its end: the end record tells where the
 * directory is, the directory where each entry's own header is, which is followed by the
 * entry. Every number is checked against the size of the archive before it is used. */
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    ENTRY_SIZE = 46,
    LOCAL_SIZE = 30
};
static const uint32_t END = 0x06054B50, LOCATOR = 0x07064B50, END64 = 0x06064B50,
                      ENTRY = 0x02014B50, LOCAL = 0x04034B50;

typedef struct archive {
    const uint8_t *bytes;
    size_t size;
    const char *reason; /* why reading stopped */
} archive;

static bool fail(archive *a, const char *reason) {
    a->reason = reason;
    return false;
}

/* A little-endian number of n bytes. */
static uint64_t little(const uint8_t *p, int n) {
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

static bool has(const archive *a, uint64_t at, uint64_t bytes) {
    return bytes <= a->size && at <= a->size - bytes;
}

bool sm_zip_looks_so(const uint8_t *bytes, size_t size) {
    return size >= 4 && (little(bytes, 4) == LOCAL || little(bytes, 4) == END);
}

typedef struct directory {
    uint64_t at, bytes, count;
} directory;

/* The zip64 end record, if a locator stands ahead of the end record at `end`. */
static bool read_end64(archive *a, size_t end, directory *d) {
    if (end < LOCATOR_SIZE || little(a->bytes + end - LOCATOR_SIZE, 4) != LOCATOR)
        return true;
    uint64_t at = little(a->bytes + end - LOCATOR_SIZE + 8, 8);
    if (!has(a, at, END64_SIZE) || little(a->bytes + at, 4) != END64)
        return fail(a, "the zip64 end record is not where it is said to be");
    *d = (directory){little(a->bytes + at + 48, 8), little(a->bytes + at + 40, 8),
                     little(a->bytes + at + 32, 8)};
    return true;
}

static bool find_directory(archive *a, directory *d) {
    enum { LONGEST_COMMENT = 65535 };
    if (a->size < END_SIZE)
        return fail(a, "too short");
    size_t last = a->size - END_SIZE;
    size_t first = last > LONGEST_COMMENT ? last - LONGEST_COMMENT : 0;
    for (size_t at = last + 1; at-- > first;) {
        const uint8_t *end = a->bytes + at;
        if (little(end, 4) != END || little(end + 20, 2) != last - at)
            continue;
        *d = (directory){little(end + 16, 4), little(end + 12, 4), little(end + 10, 2)};
        if (!read_end64(a, at, d))
            return false;
        if (!has(a, d->at, d->bytes) || d->count > d->bytes / ENTRY_SIZE)
            return fail(a, "the directory is not where it is said to be");
        return true;
    }
    return fail(a, "there is no end record (truncated)");
}

/* Where the sizes and the offset of an entry are 32 bits full of ones, the extra field 1
 * has them, in this order. */
static bool read_extra64(archive *a, const uint8_t *extra, size_t size,
                         uint64_t *values[3]) {
    for (size_t at = 0; at + 4 <= size;) {
        size_t id = little(extra + at, 2), n = little(extra + at + 2, 2), used = 0;
        at += 4;
        if (n > size - at)
            return fail(a, "an extra field is longer than its place");
        for (int i = 0; i < 3 && id == 1; i++) {
            if (*values[i] != UINT32_MAX)
                continue;
            if (used + 8 > n)
                return fail(a, "a zip64 field is too short");
            *values[i] = little(extra + at + used, 8);
            used += 8;
        }
        at += n;
    }
    return true;
}

/* The entry's data, behind its own header. */
static bool find_data(archive *a, uint64_t at, uint64_t packed, sm_zip_entry *e) {
    const bool readable = e->method == 0 && !e->encrypted;
    if (!has(a, at, LOCAL_SIZE) || little(a->bytes + at, 4) != LOCAL)
        return fail(a, "an entry is not where the directory says");
    uint64_t start =
        at + LOCAL_SIZE + little(a->bytes + at + 26, 2) + little(a->bytes + at + 28, 2);
    if (!has(a, start, packed))
        return fail(a, "an entry does not fit into the file");
    if (readable && packed != e->size)
        return fail(a, "an entry has two sizes");
    e->data = readable ? a->bytes + start : NULL;
    e->at = start;
    e->packed = (size_t)packed;
    return true;
}

/* Reads the entry of the directory at *at and moves *at behind it. */
static bool read_entry(archive *a, uint64_t *at, uint64_t end, sm_zip_entry *e) {
    const uint8_t *p = a->bytes + *at;
    if (end - *at < ENTRY_SIZE || little(p, 4) != ENTRY)
        return fail(a, "the directory is broken");
    size_t name = little(p + 28, 2), extra = little(p + 30, 2), note = little(p + 32, 2);
    if (end - *at - ENTRY_SIZE < name + extra + note)
        return fail(a, "the directory is broken");
    uint64_t size = little(p + 24, 4), packed = little(p + 20, 4),
             offset = little(p + 42, 4);
    uint64_t *const values[3] = {&size, &packed, &offset};
    if (!read_extra64(a, p + ENTRY_SIZE + name, extra, (uint64_t **)values))
        return false;
    if (size > a->size && little(p + 10, 2) == 0)
        return fail(a, "an entry does not fit into the file");
    *e = (sm_zip_entry){.name = (const char *)p + ENTRY_SIZE,
                        .name_size = name,
                        .size = (size_t)size,
                        .method = (unsigned)little(p + 10, 2),
                        .encrypted = p[8] & 1,
                        .crc = (uint32_t)little(p + 16, 4)};
    *at += ENTRY_SIZE + name + extra + note;
    return find_data(a, offset, packed, e);
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb) {
    int order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : (na > nb) - (na < nb);
}

static int by_name(const void *a, const void *b) {
    const sm_zip_entry *x = a, *y = b;
    return compare_names(x->name, x->name_size, y->name, y->name_size);
}

static int by_place(const void *a, const void *b) {
    const sm_zip_entry *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

/* A small archive whose entries all lie at one place would unpack to any size. */
static bool check_places(archive *a, sm_zip *zip) {
    qsort(zip->entries, zip->count, sizeof *zip->entries, by_place);
    const uint8_t *end = a->bytes;
    for (size_t i = 0; i < zip->count; i++) {
        const sm_zip_entry *e = &zip->entries[i];
        if (!e->data || !e->size)
            continue;
        if (e->data < end)
            return fail(a, "two entries lie at one place");
        end = e->data + e->size;
    }
    return true;
}

static bool check_names(archive *a, sm_zip *zip) {
    qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
    for (size_t i = 1; i < zip->count; i++)
        if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return fail(a, "two entries have one name");
    return true;
}

static bool read_directory(archive *a, const directory *d, sm_zip *zip) {
    uint64_t at = d->at;
    for (size_t i = 0; i < d->count; i++) {
        if (!read_entry(a, &at, d->at + d->bytes, &zip->entries[i]))
            return false;
        zip->count++;
    }
    return zip->count == 0 || (check_places(a, zip) && check_names(a, zip));
}

sm_status sm_zip_open(const char *path, const uint8_t *bytes, size_t size, sm_zip *zip,
                      sm_error *err) {
    archive a = {bytes, size, NULL};
    directory d;
    *zip = (sm_zip){0};
    if (!find_directory(&a, &d))
        return sm_fail(err, SM_EIO, 0, "%s: broken zip archive: %s", path, a.reason);
    zip->entries = sm_alloc((size_t)(d.count + 1) * sizeof *zip->entries);
    if (!zip->entries)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    if (read_directory(&a, &d, zip))
        return SM_OK;
    sm_zip_close(zip);
    return sm_fail(err, SM_EIO, 0, "%s: broken zip archive: %s", path, a.reason);
}

const sm_zip_entry *sm_zip_find(const sm_zip *zip, const char *name, size_t size) {
    size_t low = 0, high = zip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const sm_zip_entry *e = &zip->entries[middle];
        int order = compare_names(name, size, e->name, e->name_size);
        if (order == 0)
            return e;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void sm_zip_close(sm_zip *zip) {
    sm_free(zip->entries);
    *zip = (sm_zip){0};
}

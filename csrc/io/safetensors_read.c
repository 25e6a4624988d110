/* safetensors_read.c: the reading half of safetensors.h. The JSON that the format allows
 * is small: one object of objects with strings and arrays of whole numbers; this parser
 * reads that and no more. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/safetensors.h"

static const uint64_t HEADER_LIMIT = 100000000; /* the format's own */

static const struct {
    const char *name;
    size_t size;
    sm_dtype target;
} dtypes[SM_ST_DTYPE_COUNT] = {
    {"F32", 4, SM_F32}, {"F64", 8, SM_F32}, {"F16", 2, SM_F32}, {"BF16", 2, SM_F32},
    {"I64", 8, SM_I64}, {"I32", 4, SM_I64}, {"I16", 2, SM_I64}, {"I8", 1, SM_I64},
    {"U8", 1, SM_U8},   {"BOOL", 1, SM_U8}};

sm_dtype sm_st_target(sm_st_dtype dtype) {
    return dtypes[dtype].target;
}

/* ---- the header's JSON ---- */

typedef struct parser {
    const char *path;
    const char *at, *end;
    char *text; /* where the next string goes */
    sm_st_file *file;
    int64_t room, metadata_room;
    sm_error *err;
    const char *reason; /* why parsing stopped */
} parser;

static bool fail(parser *p, const char *reason) {
    if (!p->reason)
        p->reason = reason;
    return false;
}

static void skip_space(parser *p) {
    while (p->at < p->end && strchr(" \t\r\n", *p->at) && *p->at)
        p->at++;
}

/* Takes the character c, after white space, if it comes next. */
static bool take(parser *p, char c) {
    skip_space(p);
    if (p->at >= p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static bool expect(parser *p, char c, const char *reason) {
    return take(p, c) || fail(p, reason);
}

static int hex4(parser *p) {
    int value = 0;
    if (p->end - p->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *p->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static void put_utf8(parser *p, uint32_t c) {
    if (c < 0x80) {
        *p->text++ = (char)c;
    } else if (c < 0x800) {
        *p->text++ = (char)(0xC0 | c >> 6);
        *p->text++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *p->text++ = (char)(0xE0 | c >> 12);
        *p->text++ = (char)(0x80 | (c >> 6 & 63));
        *p->text++ = (char)(0x80 | (c & 63));
    } else {
        *p->text++ = (char)(0xF0 | c >> 18);
        *p->text++ = (char)(0x80 | (c >> 12 & 63));
        *p->text++ = (char)(0x80 | (c >> 6 & 63));
        *p->text++ = (char)(0x80 | (c & 63));
    }
}

static bool parse_unicode(parser *p) {
    int c = hex4(p);
    if (c >= 0xD800 && c < 0xDC00) { /* the first half of a pair */
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return fail(p, "half a surrogate pair");
        p->at += 2;
        int low = hex4(p);
        if (low < 0xDC00 || low > 0xDFFF)
            return fail(p, "half a surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    } else if (c >= 0xDC00 && c < 0xE000) {
        return fail(p, "half a surrogate pair");
    }
    if (c <= 0)
        return fail(p, "a wrong \\u escape");
    put_utf8(p, (uint32_t)c);
    return true;
}

/* A string; its decoded form is never longer than the source, so p->text has room for it.
 */
static const char *parse_string(parser *p) {
    static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *start = p->text;
    if (!expect(p, '"', "expected a string"))
        return NULL;
    while (p->at < p->end && *p->at != '"') {
        unsigned char c = (unsigned char)*p->at++;
        if (c < 0x20) {
            fail(p, "a control character in a string");
            return NULL;
        }
        if (c != '\\') {
            *p->text++ = (char)c;
            continue;
        }
        c = p->at < p->end ? (unsigned char)*p->at++ : 0;
        const char *known = c ? strchr(escapes, c) : NULL;
        if (known)
            *p->text++ = values[known - escapes];
        else if (c != 'u' || !parse_unicode(p)) {
            fail(p, "a wrong escape in a string");
            return NULL;
        }
    }
    if (p->at >= p->end) {
        fail(p, "a string without an end");
        return NULL;
    }
    p->at++;
    *p->text++ = '\0';
    return start;
}

static bool parse_count(parser *p, uint64_t *value) {
    skip_space(p);
    if (p->at >= p->end || *p->at < '0' || *p->at > '9')
        return fail(p, "expected a whole number");
    for (*value = 0; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*p->at - '0'), value))
            return fail(p, "a number that is too large");
    return true;
}

/* [a, b, ...] of at most `most` numbers. */
static bool parse_counts(parser *p, uint64_t *values, int most, int *count) {
    *count = 0;
    if (!expect(p, '[', "expected a list"))
        return false;
    if (take(p, ']'))
        return true;
    do {
        if (*count == most)
            return fail(p, "a list that is too long");
        if (!parse_count(p, &values[(*count)++]))
            return false;
    } while (take(p, ','));
    return expect(p, ']', "a list without an end");
}

static bool parse_dtype(parser *p, sm_st_entry *e) {
    char *mark = p->text;
    const char *name = parse_string(p);
    if (!name)
        return false;
    for (int i = 0; i < SM_ST_DTYPE_COUNT; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            e->dtype = (sm_st_dtype)i;
            p->text = mark;
            return true;
        }
    return fail(p, "an unknown dtype");
}

static bool parse_shape(parser *p, sm_st_entry *e) {
    uint64_t sizes[SM_MAX_DIMS];
    if (!parse_counts(p, sizes, SM_MAX_DIMS, &e->ndim))
        return false;
    for (int d = 0; d < e->ndim; d++) {
        if (sizes[d] > INT64_MAX)
            return fail(p, "a size that is too large");
        e->shape[d] = (int64_t)sizes[d];
    }
    return true;
}

static bool parse_offsets(parser *p, sm_st_entry *e) {
    uint64_t range[2];
    int count;
    if (!parse_counts(p, range, 2, &count))
        return false;
    if (count != 2)
        return fail(p, "data_offsets must be two numbers");
    e->begin = range[0];
    e->end = range[1];
    return true;
}

/* {"dtype": .., "shape": .., "data_offsets": ..}, each once, in any order. */
static bool parse_entry(parser *p, sm_st_entry *e) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    static bool (*const parse[])(parser *, sm_st_entry *) = {parse_dtype, parse_shape,
                                                             parse_offsets};
    unsigned seen = 0;
    if (!expect(p, '{', "expected an object"))
        return false;
    do {
        char *mark = p->text;
        const char *key = parse_string(p);
        int which = -1;
        for (int k = 0; key && k < 3; k++)
            if (strcmp(key, keys[k]) == 0)
                which = k;
        if (which < 0 || seen >> which & 1)
            return fail(p, "an unknown or repeated key of a tensor");
        p->text = mark;
        seen |= 1u << which;
        if (!expect(p, ':', "expected a colon") || !parse[which](p, e))
            return false;
    } while (take(p, ','));
    if (seen != 7)
        return fail(p, "a tensor without dtype, shape or data_offsets");
    return expect(p, '}', "an object without an end");
}

/* A bigger copy of an array that is full; the old one on failure. */
static bool grow(parser *p, void **list, int64_t count, int64_t *room, size_t item) {
    if (count < *room)
        return true;
    int64_t more = *room ? 2 * *room : 64;
    void *bigger = sm_realloc(*list, (size_t)more * item);
    if (!bigger)
        return fail(p, "out of memory");
    *list = bigger;
    *room = more;
    return true;
}

static bool parse_metadata(parser *p) {
    sm_st_file *f = p->file;
    if (!expect(p, '{', "expected an object"))
        return false;
    if (take(p, '}'))
        return true;
    do {
        if (!grow(p, (void **)&f->metadata, f->metadata_count, &p->metadata_room,
                  sizeof *f->metadata))
            return false;
        const char *key = parse_string(p);
        if (!key || !expect(p, ':', "expected a colon"))
            return false;
        const char *value = parse_string(p);
        if (!value)
            return false;
        f->metadata[f->metadata_count++] = (sm_st_text){key, value};
    } while (take(p, ','));
    return expect(p, '}', "an object without an end");
}

static bool parse_header(parser *p) {
    sm_st_file *f = p->file;
    bool has_metadata = false;
    if (!expect(p, '{', "the header does not begin with {"))
        return false;
    if (!take(p, '}')) {
        do {
            const char *name = parse_string(p);
            if (!name || !expect(p, ':', "expected a colon"))
                return false;
            if (strcmp(name, "__metadata__") == 0) {
                if (has_metadata || !parse_metadata(p))
                    return fail(p, "metadata twice");
                has_metadata = true;
                continue;
            }
            if (!grow(p, (void **)&f->entries, f->count, &p->room, sizeof *f->entries))
                return false;
            f->entries[f->count] = (sm_st_entry){.name = name};
            if (!parse_entry(p, &f->entries[f->count]))
                return false;
            f->count++;
        } while (take(p, ','));
        if (!expect(p, '}', "the header has no end"))
            return false;
    }
    skip_space(p);
    return p->at == p->end || fail(p, "something follows the header's end");
}

/* ---- checks across tensors ---- */

static int by_name(const void *a, const void *b) {
    return strcmp((*(const sm_st_entry *const *)a)->name,
                  (*(const sm_st_entry *const *)b)->name);
}

static int by_place(const void *a, const void *b) {
    const sm_st_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static bool check_unique(parser *p) {
    sm_st_file *f = p->file;
    bool unique = true;
    const sm_st_entry **list = sm_alloc((size_t)(f->count + 1) * sizeof *list);
    if (!list)
        return fail(p, "out of memory");
    for (int64_t i = 0; i < f->count; i++)
        list[i] = &f->entries[i];
    qsort(list, (size_t)f->count, sizeof *list, by_name);
    for (int64_t i = 1; i < f->count; i++)
        unique = unique && strcmp(list[i - 1]->name, list[i]->name) != 0;
    sm_free(list);
    return unique || fail(p, "two tensors of one name");
}

/* Sorted by place, the ranges must tile the bytes behind the header. */
static bool check_ranges(parser *p, const uint8_t *data, uint64_t bytes) {
    sm_st_file *f = p->file;
    uint64_t at = 0;
    if (f->count) /* qsort must not be given NULL, even for nothing */
        qsort(f->entries, (size_t)f->count, sizeof *f->entries, by_place);
    for (int64_t i = 0; i < f->count; i++) {
        sm_st_entry *e = &f->entries[i];
        uint64_t size = dtypes[e->dtype].size, n = 1;
        for (int d = 0; d < e->ndim; d++)
            if (__builtin_mul_overflow(n, (uint64_t)e->shape[d], &n) || n > INT64_MAX)
                return fail(p, "a shape that is too large");
        if (__builtin_mul_overflow(size, n, &size) || e->end < e->begin ||
            e->end - e->begin != size)
            return fail(p, "a shape that does not agree with data_offsets");
        if (e->begin != at || e->end > bytes)
            return fail(p, e->end > bytes ? "data_offsets beyond the end of the file"
                                          : "tensors that overlap or leave a hole");
        e->numel = (int64_t)n;
        e->data = data + e->begin;
        at = e->end;
    }
    return at == bytes || fail(p, "bytes that belong to no tensor");
}

/* ---- opening ---- */

static sm_status map_file(const char *path, sm_st_file *file, sm_error *err) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    sm_status status = SM_OK;
    if (fstat(fd, &info) != 0)
        status = sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = sm_fail(err, SM_EIO, 0, "%s: not a file", path);
    else if (info.st_size < 8)
        status = sm_fail(err, SM_EIO, 0, "%s: too short to be a safetensors file", path);
    if (status == SM_OK) {
        file->size = (size_t)info.st_size;
        file->mapping = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file->mapping == MAP_FAILED) {
            file->mapping = NULL;
            status = sm_fail(err, SM_EIO, 0, "%s: %s", path, strerror(errno));
        }
    }
    close(fd);
    return status;
}

sm_status sm_st_open(const char *path, sm_st_file *file, sm_error *err) {
    *file = (sm_st_file){0};
    sm_status status = map_file(path, file, err);
    if (status != SM_OK)
        return status;
    const uint8_t *bytes = file->mapping;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > HEADER_LIMIT || length > file->size - 8) {
        status = sm_fail(
            err, SM_EIO, 0,
            "%s: the header says it has %llu bytes, the file has %zu (truncated, or no "
            "safetensors file)",
            path, (unsigned long long)length, file->size);
        sm_st_close(file);
        return status;
    }
    file->strings = sm_alloc((size_t)length + 1);
    if (!file->strings) {
        sm_st_close(file);
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    }
    parser p = {
        .path = path, .at = (const char *)bytes + 8, .text = file->strings, .file = file};
    p.end = p.at + length;
    if (parse_header(&p) && check_unique(&p) &&
        check_ranges(&p, bytes + 8 + length, file->size - 8 - length))
        return SM_OK;
    sm_st_close(file);
    return sm_fail(err, SM_EIO, 0, "%s: broken safetensors header: %s", path,
                   p.reason ? p.reason : "unknown");
}

void sm_st_close(sm_st_file *file) {
    if (file->mapping)
        munmap(file->mapping, file->size);
    sm_free(file->entries);
    sm_free(file->metadata);
    sm_free(file->strings);
    *file = (sm_st_file){0};
}

/* ---- conversion ---- */

static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31,
             mantissa = h & 1023, bits;
    float x;
    if (exponent == 31) {
        bits = sign | 0x7F800000 | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        x = (float)mantissa * 0x1p-24f;
        return sign ? -x : x;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_bfloat(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define CONVERT(TYPE, TARGET, VALUE)                                                     \
    for (int64_t i = 0; i < e->numel; i++) {                                             \
        TYPE x;                                                                          \
        memcpy(&x, (const char *)e->data + i * (int64_t)sizeof x, sizeof x);             \
        ((TARGET *)out)[i] = VALUE;                                                      \
    }                                                                                    \
    break

void sm_st_convert(const sm_st_entry *e, void *out) {
    switch (e->dtype) {
    case SM_ST_F64:
        CONVERT(double, float, (float)x);
    case SM_ST_F16:
        CONVERT(uint16_t, float, from_half(x));
    case SM_ST_BF16:
        CONVERT(uint16_t, float, from_bfloat(x));
    case SM_ST_I32:
        CONVERT(int32_t, int64_t, x);
    case SM_ST_I16:
        CONVERT(int16_t, int64_t, x);
    case SM_ST_I8:
        CONVERT(int8_t, int64_t, x);
    case SM_ST_BOOL:
        CONVERT(uint8_t, uint8_t, x != 0);
    default:
        memcpy(out, e->data, (size_t)e->numel * dtypes[e->dtype].size);
    }
}

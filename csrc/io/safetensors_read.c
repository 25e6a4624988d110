/* safetensors_read.c: the reading half of safetensors.h. The JSON that the format allows
 * is small: one object of objects with strings and arrays of whole numbers; this parser
 * reads that and no more. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "io/safetensors.h"

static const uint64_t HEADER_LIMIT = 100000000; /* the format's own */

/* ---- the header's JSON ---- */

typedef struct parser {
    const char *at, *end;
    char *text; /* where the next string goes */
    sm_st_file *file;
    int64_t room, metadata_room;
    const char *reason; /* why parsing stopped */
    const char *tensor; /* of which, if of one */
    char made[96];      /* a reason with something of the file in it */
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
    if (!sm_utf8_valid(start, (size_t)(p->text - start - 1))) {
        fail(p, "a string that is not UTF-8");
        return NULL;
    }
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
    int type = sm_element_by_name(name);
    p->text = mark;
    if (type < 0) {
        snprintf(p->made, sizeof p->made, "an unknown dtype, '%.30s'", name);
        return fail(p, p->made);
    }
    e->blob.type = (sm_element)type;
    return true;
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
    if (p->at == p->end || *p->at++ != '{') /* no white space before it: the format */
        return fail(p, "the header does not begin with {");
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
            p->tensor = name;
            if (!parse_entry(p, &f->entries[f->count]))
                return false;
            p->tensor = NULL;
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
        uint64_t size, n = 1;
        p->tensor = e->name;
        for (int d = 0; d < e->ndim; d++)
            if (__builtin_mul_overflow(n, (uint64_t)e->shape[d], &n) || n > INT64_MAX)
                return fail(p, "a shape that is too large");
        e->blob.numel = (int64_t)n;
        e->blob.data = data + e->begin;
        if (!sm_blob_bytes(&e->blob, &size) || e->end < e->begin ||
            e->end - e->begin != size)
            return fail(p, "a shape that does not agree with data_offsets");
        if (e->begin != at || e->end > bytes)
            return fail(p, e->end > bytes ? "data_offsets beyond the end of the file"
                                          : "tensors that overlap or leave a hole");
        at = e->end;
    }
    p->tensor = NULL;
    return at == bytes || fail(p, "bytes that belong to no tensor");
}

/* ---- opening ---- */

static uint64_t header_length(const sm_mapped *bytes) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes->data[i];
    return length;
}

bool sm_st_looks_so(const sm_mapped *bytes) {
    return bytes->size > 8 && bytes->data[8] == '{' &&
           header_length(bytes) <= HEADER_LIMIT;
}

static sm_status read_header(const char *path, const sm_mapped *bytes, uint64_t length,
                             sm_st_file *file, sm_error *err) {
    file->strings = sm_alloc((size_t)length + 1);
    if (!file->strings)
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    const uint8_t *data = bytes->data + 8 + length;
    parser p = {.at = (const char *)bytes->data + 8, .text = file->strings, .file = file};
    p.end = p.at + length;
    if (parse_header(&p) && check_unique(&p) &&
        check_ranges(&p, data, bytes->size - 8 - length))
        return SM_OK;
    return sm_fail(err, SM_EIO, 0, "%s: broken safetensors header: %s%s%.100s%s", path,
                   p.reason ? p.reason : "unknown", p.tensor ? ", of tensor '" : "",
                   p.tensor ? p.tensor : "", p.tensor ? "'" : "");
}

sm_status sm_st_open(const char *path, const sm_mapped *bytes, sm_st_file *file,
                     sm_error *err) {
    *file = (sm_st_file){0};
    if (bytes->size < 8)
        return sm_fail(err, SM_EIO, 0, "%s: too short to be a safetensors file", path);
    uint64_t length = header_length(bytes);
    if (length > bytes->size - 8)
        return sm_fail(
            err, SM_EIO, 0,
            "%s: the header says it has %llu bytes, the file has %zu (truncated, or no "
            "file of weights: neither safetensors nor a PyTorch checkpoint)",
            path, (unsigned long long)length, bytes->size);
    if (length > HEADER_LIMIT)
        return sm_fail(err, SM_EIO, 0,
                       "%s: the header has %llu bytes, more than the format's limit of "
                       "%llu",
                       path, (unsigned long long)length,
                       (unsigned long long)HEADER_LIMIT);
    sm_status status = read_header(path, bytes, length, file, err);
    if (status != SM_OK)
        sm_st_close(file);
    return status;
}

void sm_st_close(sm_st_file *file) {
    sm_free(file->entries);
    sm_free(file->metadata);
    sm_free(file->strings);
    *file = (sm_st_file){0};
}

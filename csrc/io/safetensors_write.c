/* safetensors_write.c: the writing half of safetensors.h. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/durable.h"
#include "io/safetensors.h"

/* Text that grows; `failed` once memory ran out. */
typedef struct text {
    char *data;
    size_t size, room;
    bool failed;
} text;

static void add(text *t, const char *bytes, size_t n) {
    if (!t->failed && t->size + n > t->room) {
        size_t room = 2 * (t->size + n) + 1024;
        char *bigger = sm_realloc(t->data, room);
        t->failed = !bigger;
        t->data = bigger ? bigger : t->data;
        t->room = bigger ? room : t->room;
    }
    if (t->failed)
        return;
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
}

static void add_text(text *t, const char *string) {
    add(t, string, strlen(string));
}

static void add_string(text *t, const char *string) {
    add_text(t, "\"");
    for (const char *c = string; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\') {
            add(t, "\\", 1);
            add(t, c, 1);
        } else if ((unsigned char)*c < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*c);
            add_text(t, escape);
        } else {
            add(t, c, 1);
        }
    }
    add_text(t, "\"");
}

static void add_metadata(text *t, const sm_st_text *metadata, int64_t count) {
    add_text(t, "\"__metadata__\":{");
    for (int64_t i = 0; i < count; i++) {
        if (i)
            add_text(t, ",");
        add_string(t, metadata[i].key);
        add_text(t, ":");
        add_string(t, metadata[i].value);
    }
    add_text(t, "}");
}

static size_t tensor_bytes(const sm_tensor *t) {
    return (size_t)sm_tensor_numel(t) * sm_dtype_size(t->dtype);
}

static void add_entry(text *t, const char *name, const sm_tensor *tensor,
                      uint64_t begin) {
    static const char *const dtypes[SM_DTYPE_COUNT] = {"F32", "I64", "U8"};
    char shape[SM_SHAPE_TEXT], number[96];
    add_string(t, name);
    add_text(t, ":{\"dtype\":\"");
    add_text(t, dtypes[tensor->dtype]);
    add_text(t, "\",\"shape\":");
    add_text(t, sm_tensor_shape_text(shape, tensor));
    snprintf(number, sizeof number, ",\"data_offsets\":[%llu,%llu]}",
             (unsigned long long)begin,
             (unsigned long long)(begin + tensor_bytes(tensor)));
    add_text(t, number);
}

static text make_header(const sm_tensor *const *tensors, const char *const *names,
                        int64_t count, const sm_st_text *metadata,
                        int64_t metadata_count) {
    text t = {0};
    uint64_t at = 0;
    add_text(&t, "{");
    if (metadata_count)
        add_metadata(&t, metadata, metadata_count);
    for (int64_t i = 0; i < count; i++) {
        if (i || metadata_count)
            add_text(&t, ",");
        add_entry(&t, names[i], tensors[i], at);
        at += tensor_bytes(tensors[i]);
    }
    add_text(&t, "}");
    while (t.size % 8 && !t.failed) /* so that the tensors are aligned */
        add_text(&t, " ");
    return t;
}

static bool put(FILE *file, const void *data, size_t n) {
    return fwrite(data, 1, n, file) == n;
}

typedef struct content {
    text header;
    const sm_tensor *const *tensors;
    int64_t count;
} content;

static bool write_all(FILE *file, const void *context) {
    const content *c = context;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)c->header.size >> (8 * i));
    bool ok = put(file, length, 8) && put(file, c->header.data, c->header.size);
    for (int64_t i = 0; i < c->count && ok; i++)
        ok = put(file, sm_tensor_data(c->tensors[i]), tensor_bytes(c->tensors[i]));
    return ok;
}

sm_status sm_st_write(const char *path, const sm_tensor *const *tensors,
                      const char *const *names, int64_t count, const sm_st_text *metadata,
                      int64_t metadata_count, sm_error *err) {
    const content c = {make_header(tensors, names, count, metadata, metadata_count),
                       tensors, count};
    sm_status status = c.header.failed
                           ? sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path)
                           : sm_write_durably(path, write_all, &c, err);
    sm_free(c.header.data);
    return status;
}

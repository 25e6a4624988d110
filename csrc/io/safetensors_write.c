/* safetensors_write.c: the writing half of safetensors.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
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

static bool write_all(FILE *file, const text *header, const sm_tensor *const *tensors,
                      int64_t count) {
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header->size >> (8 * i));
    bool ok = put(file, length, 8) && put(file, header->data, header->size);
    for (int64_t i = 0; i < count && ok; i++)
        ok = put(file, sm_tensor_data(tensors[i]), tensor_bytes(tensors[i]));
    return ok && fflush(file) == 0 && fsync(fileno(file)) == 0;
}

/* Opens the temporary file and holds a lock on it for as long as it is open, which tells
 * sm_stale_remove that its writer lives. NULL with errno set on failure. Should the sweep
 * of another process take the new file between the two calls, it is made again. */
static FILE *open_temporary(const char *path) {
    for (int attempt = 0; attempt < 8; attempt++) {
        struct stat info;
        FILE *file = fopen(path, "wb");
        if (!file || flock(fileno(file), LOCK_EX) != 0 ||
            fstat(fileno(file), &info) != 0 || info.st_nlink > 0)
            return file; /* where there are no locks, there is nothing to hold */
        fclose(file);
    }
    errno = EAGAIN;
    return NULL;
}

/* Makes the rename itself durable. Folders that cannot be synchronised are let be. */
static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof folder)
        return;
    memcpy(folder, path, n);
    folder[n] = '\0';
    int fd = open(slash ? (n ? folder : "/") : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

sm_status sm_st_write(const char *path, const sm_tensor *const *tensors,
                      const char *const *names, int64_t count, const sm_st_text *metadata,
                      int64_t metadata_count, sm_error *err) {
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid()) >=
        (int)sizeof temporary)
        return sm_fail(err, SM_EIO, 0, "%.200s...: the path is too long", path);
    text header = make_header(tensors, names, count, metadata, metadata_count);
    if (header.failed) {
        sm_free(header.data);
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", path);
    }
    FILE *file = open_temporary(temporary);
    int reason = errno;
    bool ok = file && write_all(file, &header, tensors, count);
    if (file) {
        reason = errno;
        ok = fclose(file) == 0 && ok;
    }
    sm_free(header.data);
    if (ok && rename(temporary, path) == 0) {
        sync_folder(path);
        return SM_OK;
    }
    reason = ok ? errno : reason;
    if (file)
        remove(temporary);
    return sm_fail(err, SM_EIO, 0, "%s: could not be written: %s", path,
                   strerror(reason));
}

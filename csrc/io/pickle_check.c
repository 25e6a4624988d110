/* pickle_check.c: what can only be checked when all of a pickle has been read: that its
 * values are data and end somewhere, and that what it says of its storages agrees. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pickle.h"

const char *sm_value_name(const sm_value *value) {
    static const char *const names[] = {
        [SM_VALUE_NONE] = "None",         [SM_VALUE_TRUE] = "True",
        [SM_VALUE_FALSE] = "False",       [SM_VALUE_INTEGER] = "a whole number",
        [SM_VALUE_NUMBER] = "a number",   [SM_VALUE_TEXT] = "text",
        [SM_VALUE_LIST] = "a list",       [SM_VALUE_TUPLE] = "a tuple",
        [SM_VALUE_DICT] = "a dictionary", [SM_VALUE_TENSOR] = "a tensor",
        [SM_VALUE_STORAGE] = "a storage", [SM_VALUE_GLOBAL] = "a function or class",
        [SM_VALUE_MARK] = "a mark",
    };
    return names[value->kind];
}

/* ---- values ---- */

enum { UNSEEN, OPEN, DONE };

static sm_status refuse(const sm_pickle *p, const char *reason, const sm_value *value,
                        sm_error *err) {
    return sm_fail(err, SM_EIO, 0, "%s: broken pickle: %s%s", p->path, reason,
                   value ? sm_value_name(value) : "");
}

static bool is_container(const sm_value *v) {
    return v->kind == SM_VALUE_LIST || v->kind == SM_VALUE_TUPLE ||
           v->kind == SM_VALUE_DICT;
}

static bool is_key(const sm_value *v) {
    return v->kind == SM_VALUE_TEXT || v->kind == SM_VALUE_INTEGER ||
           v->kind == SM_VALUE_TRUE || v->kind == SM_VALUE_FALSE ||
           v->kind == SM_VALUE_TUPLE || (v->kind == SM_VALUE_NUMBER && !isnan(v->number));
}

/* The height of a value is that of the highest one in it plus one. What was seen before,
 * on another path, is not walked again: shared values cost nothing however often. */
static sm_status check(const sm_pickle *p, sm_value *v, int depth, sm_error *err) {
    if (v->kind == SM_VALUE_GLOBAL || v->kind == SM_VALUE_STORAGE)
        return refuse(p, "it holds, as if that were data, ", v, err);
    if (!is_container(v) || v->state == DONE)
        return SM_OK;
    if (v->state == OPEN)
        return refuse(p, "something in it holds itself: ", v, err);
    v->state = OPEN;
    int height = 0;
    for (uint32_t i = 0; i < v->list.count; i++) {
        sm_value *item = v->list.items[i];
        if (v->kind == SM_VALUE_DICT && i % 2 == 0 && !is_key(item))
            return refuse(p, "the key of a dictionary is ", item, err);
        if (depth >= SM_VALUE_DEPTH)
            return refuse(p, "it is nested too deep", NULL, err);
        sm_status status = check(p, item, depth + 1, err);
        if (status != SM_OK)
            return status;
        height = item->height > height ? item->height : height;
    }
    if (height >= SM_VALUE_DEPTH)
        return refuse(p, "it is nested too deep", NULL, err);
    v->height = (uint8_t)(height + 1);
    v->state = DONE;
    return SM_OK;
}

sm_status sm_value_check(const sm_pickle *p, sm_value *value, sm_error *err) {
    return check(p, value, 0, err);
}

/* ---- storages ---- */

static int by_key(const void *a, const void *b) {
    const sm_pickle_storage *x = *(sm_pickle_storage *const *)a,
                            *y = *(sm_pickle_storage *const *)b;
    size_t n = x->key_size < y->key_size ? x->key_size : y->key_size;
    int order = memcmp(x->key, y->key, n);
    return order ? order : (x->key_size > y->key_size) - (x->key_size < y->key_size);
}

sm_status sm_pickle_join_storages(sm_pickle *p, sm_error *err) {
    size_t kept = 0;
    uint64_t bytes;
    if (p->storage_count)
        qsort(p->storages, p->storage_count, sizeof *p->storages, by_key);
    for (size_t i = 0; i < p->storage_count; i++) {
        sm_pickle_storage *s = p->storages[i], *last = kept ? p->storages[kept - 1] : s;
        bool repeated = kept && by_key(&s, &last) == 0;
        if (!sm_blob_bytes(&s->blob, &bytes))
            return refuse(p, "a storage's size overflows", NULL, err);
        if (repeated &&
            (s->blob.type != last->blob.type || s->blob.numel != last->blob.numel))
            return refuse(p, "two storages of one key differ in type or size", NULL, err);
        s->same = repeated ? last : s;
        if (!repeated)
            p->storages[kept++] = s;
        s->number = s->same == s ? kept - 1 : last->number;
    }
    p->storage_count = kept;
    return SM_OK;
}

/* pickle.h: reads what torch.save pickled, and nothing else.
 *
 * Python's pickle is a program for a stack machine, which can call any function there is.
 * This machine has the stack, but knows no functions beyond those that put data together:
 * tensors, numbers, text, lists and dictionaries. Whatever else a pickle asks for is
 * refused by its name; nothing is ever executed, imported or looked up.
 *
 *     sm_pickle p;
 *     sm_pickle_init(&p, path);
 *     if (sm_pickle_read(&p, bytes, size, &used, &value, &err) != SM_OK) ...
 *     ... value->kind ...                  (values live as long as p)
 *     sm_pickle_free(&p);
 *
 * Values are a graph: two lists may hold one and the same third, as in Python, and a list
 * may even hold itself until sm_value_check has refused that. Memory is bounded: in
 * proportion to the pickle's bytes, and by SM_PICKLE_MEMORY.
 */
#ifndef SM_IO_PICKLE_H
#define SM_IO_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "io/elements.h"

enum { SM_PICKLE_MEMORY = 256 << 20, SM_VALUE_DEPTH = 100 };

typedef enum sm_value_kind {
    SM_VALUE_NONE,
    SM_VALUE_TRUE,
    SM_VALUE_FALSE,
    SM_VALUE_INTEGER,
    SM_VALUE_NUMBER,
    SM_VALUE_TEXT, /* str, bytes and bytearray; names of dtypes and devices, too */
    SM_VALUE_LIST, /* lists and sets */
    SM_VALUE_TUPLE,
    SM_VALUE_DICT,
    SM_VALUE_TENSOR,
    /* These are parts of tensors and no data by themselves. */
    SM_VALUE_STORAGE,
    SM_VALUE_GLOBAL,
    SM_VALUE_MARK
} sm_value_kind;

/* Numbers that a checkpoint keeps apart from its pickle, under a key. */
typedef struct sm_pickle_storage {
    const char *key;
    size_t key_size;
    sm_blob blob; /* its data is NULL until the checkpoint has found it */
    /* What stands for all storages of this key, once they are known to agree. */
    struct sm_pickle_storage *same;
    size_t number; /* of `same`, from 0 */
} sm_pickle_storage;

/* A view of a storage; checked to lie within it. */
typedef struct sm_pickle_tensor {
    sm_pickle_storage *storage;
    int ndim;
    int64_t shape[SM_MAX_DIMS], stride[SM_MAX_DIMS];
    int64_t offset;
} sm_pickle_tensor;

typedef struct sm_value {
    uint8_t kind;          /* sm_value_kind */
    uint8_t state, height; /* sm_value_check's */
    bool ordered;          /* a collections.OrderedDict */
    uint32_t id;           /* its own number, from 0 */
    union {
        int64_t integer;
        double number;
        struct {
            const char *bytes; /* in the pickle; no end */
            size_t size;
        } text;
        struct {
            struct sm_value **items; /* a dictionary's: key, value, key, value */
            uint32_t count, room;
        } list;
        sm_pickle_tensor *tensor;
        struct {
            sm_pickle_storage *of;
            int64_t offset, numel;
        } storage;
        const struct sm_global *global;
    };
} sm_value;

typedef struct sm_pickle {
    const char *path;
    sm_arena arena;
    uint32_t count; /* of values so far */
    sm_pickle_storage **storages;
    size_t storage_count, storage_room;
} sm_pickle;

void sm_pickle_init(sm_pickle *p, const char *path);
/* Reads one pickle, which ends within `size` bytes; *used is how many it took. May be
 * called again for the next. SM_EIO, with the path in the message, for a broken pickle
 * and for one that wants what is no data. */
sm_status sm_pickle_read(sm_pickle *p, const uint8_t *bytes, size_t size, size_t *used,
                         sm_value **value, sm_error *err);
/* Checks that the value is data all through, holds itself nowhere and is nested no deeper
 * than SM_VALUE_DEPTH, so that walking it by recursion ends. */
sm_status sm_value_check(const sm_pickle *p, sm_value *value, sm_error *err);
/* Finds the storages that have one key, checks that they agree, sorts p->storages by key
 * and leaves one of each key there. */
sm_status sm_pickle_join_storages(sm_pickle *p, sm_error *err);
void sm_pickle_free(sm_pickle *p);

/* How a value is called in messages: "a list". */
const char *sm_value_name(const sm_value *value);

#endif

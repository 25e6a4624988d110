/* pickle_calls.c: the globals that a checkpoint may name, and what calling them gives.
 *
 * These are all there are. Tensors come as torch._utils._rebuild_tensor_v2(storage,
 * offset, size, stride, requires_grad, hooks[, metadata]), storages as persistent ids
 * ("storage", torch.FloatStorage, key, device, number of elements): torch/_utils.py and
 * torch/serialization.py of PyTorch 2. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/pickle_machine.h"

typedef enum global_kind {
    GLOBAL_STORAGE, /* a type of storages */
    GLOBAL_CLASS,   /* a class that is named but not called */
    GLOBAL_TEXT,    /* data: its name */
    GLOBAL_TENSOR,
    GLOBAL_PARAMETER,
    GLOBAL_TYPED,
    GLOBAL_SAME, /* gives its argument: torch.Size of a tuple */
    GLOBAL_SET,
    GLOBAL_BYTES,
    GLOBAL_DICT,
    GLOBAL_LATIN1,
    GLOBAL_DEVICE
} global_kind;

typedef struct sm_global {
    const char *module, *name;
    global_kind kind;
    sm_element type;
} sm_global;

static const sm_global globals[] = {
    {"torch._utils", "_rebuild_tensor_v2", GLOBAL_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", GLOBAL_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", GLOBAL_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", GLOBAL_PARAMETER, 0},
    {"torch._tensor", "_rebuild_from_type_v2", GLOBAL_TYPED, 0},
    {"torch", "FloatStorage", GLOBAL_STORAGE, SM_ELEMENT_F32},
    {"torch", "DoubleStorage", GLOBAL_STORAGE, SM_ELEMENT_F64},
    {"torch", "HalfStorage", GLOBAL_STORAGE, SM_ELEMENT_F16},
    {"torch", "BFloat16Storage", GLOBAL_STORAGE, SM_ELEMENT_BF16},
    {"torch", "LongStorage", GLOBAL_STORAGE, SM_ELEMENT_I64},
    {"torch", "IntStorage", GLOBAL_STORAGE, SM_ELEMENT_I32},
    {"torch", "ShortStorage", GLOBAL_STORAGE, SM_ELEMENT_I16},
    {"torch", "CharStorage", GLOBAL_STORAGE, SM_ELEMENT_I8},
    {"torch", "ByteStorage", GLOBAL_STORAGE, SM_ELEMENT_U8},
    {"torch", "BoolStorage", GLOBAL_STORAGE, SM_ELEMENT_BOOL},
    {"torch", "Tensor", GLOBAL_CLASS, 0},
    {"torch.nn.parameter", "Parameter", GLOBAL_CLASS, 0},
    {"torch", "Size", GLOBAL_SAME, 0},
    {"torch", "device", GLOBAL_DEVICE, 0},
    {"torch", "float32", GLOBAL_TEXT, 0},
    {"torch", "float64", GLOBAL_TEXT, 0},
    {"torch", "float16", GLOBAL_TEXT, 0},
    {"torch", "bfloat16", GLOBAL_TEXT, 0},
    {"torch", "int64", GLOBAL_TEXT, 0},
    {"torch", "int32", GLOBAL_TEXT, 0},
    {"torch", "int16", GLOBAL_TEXT, 0},
    {"torch", "int8", GLOBAL_TEXT, 0},
    {"torch", "uint8", GLOBAL_TEXT, 0},
    {"torch", "bool", GLOBAL_TEXT, 0},
    {"collections", "OrderedDict", GLOBAL_DICT, 0},
    {"builtins", "set", GLOBAL_SET, 0},
    {"builtins", "frozenset", GLOBAL_SET, 0},
    {"builtins", "bytes", GLOBAL_BYTES, 0},
    {"builtins", "bytearray", GLOBAL_BYTES, 0},
    {"__builtin__", "set", GLOBAL_SET, 0}, /* as Python 2 and protocol 2 call them */
    {"__builtin__", "frozenset", GLOBAL_SET, 0},
    {"__builtin__", "bytes", GLOBAL_BYTES, 0},
    {"__builtin__", "bytearray", GLOBAL_BYTES, 0},
    {"_codecs", "encode", GLOBAL_LATIN1, 0}, /* how protocol 2 writes bytes */
};

/* ---- names ---- */

static bool is_text(const char *text, size_t size, const char *wanted) {
    return size == strlen(wanted) && memcmp(text, wanted, size) == 0;
}

static bool text_is(const sm_value *v, const char *wanted) {
    return v->kind == SM_VALUE_TEXT && is_text(v->text.bytes, v->text.size, wanted);
}

/* A name out of a file as a message can show it: its beginning, printable. */
static const char *shown(char *out, size_t room, const char *text, size_t size) {
    size_t n = size < room - 1 ? size : room - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = text[i] > 0x20 && text[i] < 0x7F ? text[i] : '?';
    out[n] = '\0';
    return out;
}

bool sm_machine_refuse(sm_machine *m, const char *module, size_t module_size,
                       const char *name, size_t name_size) {
    char a[80], b[80];
    m->status = sm_fail(m->err, SM_EIO, 0, "%s: wants %s.%s, which is not data",
                        m->p->path, shown(a, sizeof a, module, module_size),
                        shown(b, sizeof b, name, name_size));
    return false;
}

static sm_value *new_text(sm_machine *m, const char *bytes, size_t size) {
    char *copy = sm_machine_alloc(m, size + 1);
    sm_value *v = copy ? sm_machine_value(m, SM_VALUE_TEXT) : NULL;
    if (!v)
        return NULL;
    memcpy(copy, bytes, size);
    v->text.bytes = copy;
    v->text.size = size;
    return v;
}

bool sm_machine_global(sm_machine *m, const char *module, size_t module_size,
                       const char *name, size_t name_size) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        const sm_global *g = &globals[i];
        if (!is_text(name, name_size, g->name) ||
            !is_text(module, module_size, g->module))
            continue;
        if (g->kind == GLOBAL_TEXT) {
            char text[32];
            int size = snprintf(text, sizeof text, "%s.%s", g->module, g->name);
            return sm_machine_push(m, new_text(m, text, (size_t)size));
        }
        sm_value *v = sm_machine_value(m, SM_VALUE_GLOBAL);
        if (v)
            v->global = g;
        return sm_machine_push(m, v);
    }
    return sm_machine_refuse(m, module, module_size, name, name_size);
}

/* ---- storages ---- */

/* A part of the storage, as the oldest checkpoints have them: (key, offset, size). */
static bool narrow(sm_machine *m, sm_value *storage, const sm_value *part) {
    if (part->kind == SM_VALUE_NONE)
        return true;
    bool fits = part->kind == SM_VALUE_TUPLE && part->list.count == 3;
    for (uint32_t i = 1; i < 3 && fits; i++)
        fits = part->list.items[i]->kind == SM_VALUE_INTEGER &&
               part->list.items[i]->integer >= 0;
    if (!fits)
        return sm_machine_fail(m, "a part of a storage is not (key, offset, size)");
    int64_t offset = part->list.items[1]->integer, numel = part->list.items[2]->integer;
    if (offset > storage->storage.numel || numel > storage->storage.numel - offset)
        return sm_machine_fail(m, "a part of a storage is beyond its end");
    storage->storage.offset = offset;
    storage->storage.numel = numel;
    return true;
}

static bool add_storage(sm_machine *m, sm_pickle_storage *storage) {
    sm_pickle *p = m->p;
    if (p->storage_count * sizeof storage >= p->storage_room) {
        sm_pickle_storage **more = sm_arena_grow(&p->arena, p->storages, p->storage_room,
                                                 64 * sizeof storage, &p->storage_room);
        if (!more)
            return sm_machine_fail(m, "it has too many storages");
        p->storages = more;
    }
    p->storages[p->storage_count++] = storage;
    return true;
}

/* ("storage", type, key, device, number of elements[, part]); devices do not matter. */
static bool check_id(sm_machine *m, const sm_value *id) {
    sm_value *const *items = id->list.items;
    if (id->kind != SM_VALUE_TUPLE || id->list.count < 5 || id->list.count > 6 ||
        !text_is(items[0], "storage"))
        return sm_machine_fail(m, "it refers to something that is no storage");
    if (items[1]->kind != SM_VALUE_GLOBAL || items[1]->global->kind != GLOBAL_STORAGE)
        return sm_machine_fail(m, "it refers to a storage without a type");
    if (items[2]->kind != SM_VALUE_TEXT || items[4]->kind != SM_VALUE_INTEGER ||
        items[4]->integer < 0)
        return sm_machine_fail(m, "it refers to a storage without a key and a size");
    return true;
}

sm_value *sm_machine_storage(sm_machine *m, const sm_value *id) {
    if (!check_id(m, id))
        return NULL;
    sm_value *const *items = id->list.items;
    sm_value *v = sm_machine_value(m, SM_VALUE_STORAGE);
    sm_pickle_storage *s = v ? sm_machine_alloc(m, sizeof *s) : NULL;
    if (!s || !add_storage(m, s))
        return NULL;
    *s = (sm_pickle_storage){items[2]->text.bytes,
                             items[2]->text.size,
                             {items[1]->global->type, items[4]->integer, false, NULL},
                             NULL,
                             0};
    v->storage.of = s;
    v->storage.offset = 0;
    v->storage.numel = s->blob.numel;
    return id->list.count < 6 || narrow(m, v, items[5]) ? v : NULL;
}

/* ---- tensors ---- */

/* Whole numbers from 0 on, of a tuple or a list. */
static bool read_sizes(sm_machine *m, const sm_value *list, int *count, int64_t *out) {
    if (list->kind != SM_VALUE_TUPLE && list->kind != SM_VALUE_LIST)
        return sm_machine_fail(m, "a tensor's size is %s", sm_value_name(list));
    if (list->list.count > SM_MAX_DIMS)
        return sm_machine_fail(m, "a tensor has %u dimensions, here are at most %d",
                               list->list.count, SM_MAX_DIMS);
    *count = (int)list->list.count;
    for (int d = 0; d < *count; d++) {
        const sm_value *size = list->list.items[d];
        if (size->kind != SM_VALUE_INTEGER || size->integer < 0)
            return sm_machine_fail(m, "a tensor's size or stride is no whole number "
                                      "from 0 on");
        out[d] = size->integer;
    }
    return true;
}

/* That all elements lie among the `numel` of the storage. */
static bool check_extent(sm_machine *m, const sm_pickle_tensor *t, int64_t numel) {
    int64_t elements = 1, last = t->offset, step;
    bool fits = true;
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] == 0)
            elements = 0;
    for (int d = 0; d < t->ndim && elements; d++)
        fits = fits && !__builtin_mul_overflow(elements, t->shape[d], &elements) &&
               elements <= INT64_MAX / 8 &&
               !__builtin_mul_overflow(t->shape[d] - 1, t->stride[d], &step) &&
               !__builtin_add_overflow(last, step, &last);
    if (fits && (elements ? last < numel : t->offset <= numel))
        return true;
    return sm_machine_fail(m, "a tensor reaches beyond its storage of %lld elements",
                           (long long)numel);
}

/* The seventh argument says of lazy views, whose storage holds other values than theirs,
 * that they are: {"neg": True}, {"conj": True}. */
static bool check_plain(sm_machine *m, const sm_value *args) {
    const sm_value *about = args->list.count > 6 ? args->list.items[6] : NULL;
    if (!about || about->kind != SM_VALUE_DICT)
        return true;
    for (uint32_t i = 0; i + 1 < about->list.count; i += 2) {
        const sm_value *key = about->list.items[i], *on = about->list.items[i + 1];
        if (on->kind == SM_VALUE_TRUE && (text_is(key, "neg") || text_is(key, "conj")))
            return sm_machine_fail(m, "a tensor is a lazy view (torch.Tensor.resolve_neg "
                                      "makes one that is none)");
    }
    return true;
}

static sm_value *make_tensor(sm_machine *m, const sm_value *args) {
    sm_value *const *items = args->list.items;
    if (args->list.count < 4 || items[0]->kind != SM_VALUE_STORAGE ||
        items[1]->kind != SM_VALUE_INTEGER || items[1]->integer < 0) {
        sm_machine_fail(m, "a tensor without storage, offset, size and stride");
        return NULL;
    }
    sm_pickle_tensor *t = sm_machine_alloc(m, sizeof *t);
    int strides;
    if (!t)
        return NULL;
    *t = (sm_pickle_tensor){.storage = items[0]->storage.of, .offset = items[1]->integer};
    if (!read_sizes(m, items[2], &t->ndim, t->shape) ||
        !read_sizes(m, items[3], &strides, t->stride))
        return NULL;
    if (strides != t->ndim) {
        sm_machine_fail(m, "a tensor of %d dimensions has %d strides", t->ndim, strides);
        return NULL;
    }
    if (!check_extent(m, t, items[0]->storage.numel) || !check_plain(m, args))
        return NULL;
    t->offset += items[0]->storage.offset;
    sm_value *v = sm_machine_value(m, SM_VALUE_TENSOR);
    if (v)
        v->tensor = t;
    return v;
}

/* _rebuild_parameter(tensor, requires_grad, hooks): here it is the tensor. */
static sm_value *make_parameter(sm_machine *m, const sm_value *args) {
    if (args->list.count && args->list.items[0]->kind == SM_VALUE_TENSOR)
        return args->list.items[0];
    sm_machine_fail(m, "a parameter that is no tensor");
    return NULL;
}

/* _rebuild_from_type_v2(function, class, arguments, attributes): a tensor that somebody
 * hung attributes on, which are left out. */
static sm_value *make_typed(sm_machine *m, const sm_value *args) {
    sm_value *const *items = args->list.items;
    if (args->list.count != 4 || items[0]->kind != SM_VALUE_GLOBAL ||
        items[1]->kind != SM_VALUE_GLOBAL || items[1]->global->kind != GLOBAL_CLASS ||
        items[2]->kind != SM_VALUE_TUPLE) {
        sm_machine_fail(m, "a tensor with attributes that is none");
        return NULL;
    }
    if (items[0]->global->kind == GLOBAL_TENSOR)
        return make_tensor(m, items[2]);
    if (items[0]->global->kind == GLOBAL_PARAMETER)
        return make_parameter(m, items[2]);
    sm_machine_fail(m, "a tensor with attributes that is none");
    return NULL;
}

/* ---- the rest ---- */

static sm_value *wrong_arguments(sm_machine *m, const sm_value *function) {
    sm_machine_fail(m, "%s.%s is called with the wrong arguments",
                    function->global->module, function->global->name);
    return NULL;
}

/* OrderedDict(), or of a list of pairs. */
static sm_value *make_dict(sm_machine *m, const sm_value *function,
                           const sm_value *args) {
    sm_value *dict = sm_machine_value(m, SM_VALUE_DICT);
    if (!dict)
        return NULL;
    dict->ordered = true;
    if (!args->list.count)
        return dict;
    const sm_value *pairs = args->list.items[0];
    if (pairs->kind != SM_VALUE_LIST)
        return wrong_arguments(m, function);
    for (uint32_t i = 0; i < pairs->list.count; i++) {
        const sm_value *pair = pairs->list.items[i];
        if ((pair->kind != SM_VALUE_LIST && pair->kind != SM_VALUE_TUPLE) ||
            pair->list.count != 2)
            return wrong_arguments(m, function);
        if (!sm_machine_add(m, dict, pair->list.items[0]) ||
            !sm_machine_add(m, dict, pair->list.items[1]))
            return NULL;
    }
    return dict;
}

static sm_value *make_set(sm_machine *m, const sm_value *function, const sm_value *args) {
    sm_value *set = sm_machine_value(m, SM_VALUE_LIST);
    if (!set || !args->list.count)
        return set;
    const sm_value *list = args->list.items[0];
    if (list->kind != SM_VALUE_LIST && list->kind != SM_VALUE_TUPLE)
        return wrong_arguments(m, function);
    for (uint32_t i = 0; i < list->list.count; i++)
        if (!sm_machine_add(m, set, list->list.items[i]))
            return NULL;
    return set;
}

static sm_value *make_bytes(sm_machine *m, const sm_value *function,
                            const sm_value *args) {
    if (!args->list.count)
        return new_text(m, "", 0);
    sm_value *text = args->list.items[0];
    return text->kind == SM_VALUE_TEXT ? text : wrong_arguments(m, function);
}

/* encode(text, "latin1"): a byte for each character, none of which is beyond U+00FF. */
static sm_value *make_latin1(sm_machine *m, const sm_value *function,
                             const sm_value *args) {
    sm_value *const *items = args->list.items;
    if (args->list.count != 2 || items[0]->kind != SM_VALUE_TEXT ||
        !(text_is(items[1], "latin1") || text_is(items[1], "latin-1")))
        return wrong_arguments(m, function);
    sm_value *v = new_text(m, items[0]->text.bytes, items[0]->text.size);
    if (!v)
        return NULL;
    uint8_t *bytes = (uint8_t *)v->text.bytes; /* new_text's own copy */
    size_t n = 0;
    for (size_t i = 0; i < v->text.size; i++) {
        bool pair = (bytes[i] & 0xFE) == 0xC2 && i + 1 < v->text.size &&
                    (bytes[i + 1] & 0xC0) == 0x80;
        if (bytes[i] >= 0x80 && !pair)
            return wrong_arguments(m, function);
        bytes[n++] = pair ? (uint8_t)(bytes[i] << 6 | (bytes[i + 1] & 0x3F)) : bytes[i];
        i += pair;
    }
    v->text.size = n;
    return v;
}

/* device("cuda", 0): "cuda:0". */
static sm_value *make_device(sm_machine *m, const sm_value *function,
                             const sm_value *args) {
    sm_value *const *items = args->list.items;
    char text[64];
    if (args->list.count < 1 || args->list.count > 2 || items[0]->kind != SM_VALUE_TEXT ||
        items[0]->text.size > 32)
        return wrong_arguments(m, function);
    int size = snprintf(text, sizeof text, "%.*s", (int)items[0]->text.size,
                        items[0]->text.bytes);
    if (args->list.count == 2 && items[1]->kind == SM_VALUE_INTEGER)
        size += snprintf(text + size, sizeof text - (size_t)size, ":%lld",
                         (long long)items[1]->integer);
    return new_text(m, text, (size_t)size);
}

sm_value *sm_machine_call(sm_machine *m, const sm_value *function, const sm_value *args) {
    if (function->kind != SM_VALUE_GLOBAL || args->kind != SM_VALUE_TUPLE) {
        sm_machine_fail(m, "it calls %s with %s", sm_value_name(function),
                        sm_value_name(args));
        return NULL;
    }
    switch (function->global->kind) {
    case GLOBAL_TENSOR:
        return make_tensor(m, args);
    case GLOBAL_PARAMETER:
        return make_parameter(m, args);
    case GLOBAL_TYPED:
        return make_typed(m, args);
    case GLOBAL_SAME:
        return args->list.count == 1 && args->list.items[0]->kind == SM_VALUE_TUPLE
                   ? args->list.items[0]
                   : wrong_arguments(m, function);
    case GLOBAL_SET:
        return make_set(m, function, args);
    case GLOBAL_BYTES:
        return make_bytes(m, function, args);
    case GLOBAL_DICT:
        return make_dict(m, function, args);
    case GLOBAL_LATIN1:
        return make_latin1(m, function, args);
    case GLOBAL_DEVICE:
        return make_device(m, function, args);
    default:
        return wrong_arguments(m, function);
    }
}

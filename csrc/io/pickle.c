/* pickle.c: the stack machine of Python's pickle module, protocols 2 to 5 (PEP 307, 3154,
 * 574; Lib/pickletools.py describes every opcode). One function does one opcode, or all
 * that differ in the width of a number only. A value of the kind MARK on the stack is
 * where a list of arguments begins. */
#include "io/pickle.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/pickle_machine.h"

void sm_pickle_init(sm_pickle *p, const char *path) {
    *p = (sm_pickle){.path = path, .arena.limit = SM_PICKLE_MEMORY};
}

void sm_pickle_free(sm_pickle *p) {
    sm_arena_free(&p->arena);
    *p = (sm_pickle){0};
}

/* ---- what the parts share ---- */

bool sm_machine_fail(sm_machine *m, const char *format, ...) {
    char reason[256];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    m->status = sm_fail(m->err, SM_EIO, 0, "%s: broken pickle: %s", m->p->path, reason);
    return false;
}

static bool out_of_memory(sm_machine *m) {
    m->status = sm_fail(m->err, SM_EIO, 0,
                        "%s: what is pickled in it takes more memory than there is, or "
                        "than the %d MB it may",
                        m->p->path, SM_PICKLE_MEMORY >> 20);
    return false;
}

void *sm_machine_alloc(sm_machine *m, size_t bytes) {
    void *piece = sm_arena_alloc(&m->p->arena, bytes);
    if (!piece)
        out_of_memory(m);
    return piece;
}

sm_value *sm_machine_value(sm_machine *m, sm_value_kind kind) {
    sm_value *v = sm_machine_alloc(m, sizeof *v);
    if (v)
        *v = (sm_value){.kind = (uint8_t)kind, .id = m->p->count++};
    return v;
}

/* Makes room for one more pointer in an array of `count`. */
static bool grow(sm_machine *m, sm_value ***array, size_t count, size_t *room) {
    size_t need = (count + 1) * sizeof **array;
    if (need <= *room)
        return true;
    size_t least = need < 4 * sizeof **array ? 4 * sizeof **array : need;
    sm_value **bigger = sm_arena_grow(&m->p->arena, *array, *room, least, room);
    if (!bigger)
        return out_of_memory(m);
    *array = bigger;
    return true;
}

bool sm_machine_push(sm_machine *m, sm_value *value) {
    if (!value || !grow(m, &m->stack, m->depth, &m->room))
        return false;
    m->stack[m->depth++] = value;
    return true;
}

bool sm_machine_add(sm_machine *m, sm_value *list, sm_value *item) {
    size_t room = list->list.room;
    if (!grow(m, &list->list.items, list->list.count, &room))
        return false;
    list->list.room = (uint32_t)room;
    list->list.items[list->list.count++] = item;
    return true;
}

/* ---- the stack and the bytes ---- */

static sm_value *pop(sm_machine *m) {
    if (m->depth && m->stack[m->depth - 1]->kind != SM_VALUE_MARK)
        return m->stack[--m->depth];
    sm_machine_fail(m, "it takes a value that is not there");
    return NULL;
}

static sm_value *top(sm_machine *m) {
    if (m->depth && m->stack[m->depth - 1]->kind != SM_VALUE_MARK)
        return m->stack[m->depth - 1];
    sm_machine_fail(m, "it takes a value that is not there");
    return NULL;
}

/* Where the values above the last mark begin; the mark is just below. 0: there is none.
 */
static size_t above_mark(sm_machine *m) {
    size_t at = m->depth;
    while (at && m->stack[at - 1]->kind != SM_VALUE_MARK)
        at--;
    if (!at)
        sm_machine_fail(m, "it takes a mark that is not there");
    return at;
}

/* The next n bytes, NULL if there are fewer. */
static const uint8_t *take(sm_machine *m, uint64_t n) {
    const uint8_t *bytes = m->at;
    if (n > (uint64_t)(m->end - m->at)) {
        sm_machine_fail(m, "it ends too early (truncated)");
        return NULL;
    }
    m->at += n;
    return bytes;
}

static uint64_t little(const uint8_t *bytes, size_t n) {
    uint64_t value = 0;
    while (n--)
        value = value << 8 | bytes[n];
    return value;
}

/* A little-endian number of n bytes. */
static bool take_number(sm_machine *m, size_t n, uint64_t *value) {
    const uint8_t *bytes = take(m, n);
    if (bytes)
        *value = little(bytes, n);
    return bytes != NULL;
}

/* Text up to the end of the line. */
static const char *take_line(sm_machine *m, size_t *size) {
    const uint8_t *line = m->at;
    const uint8_t *end = memchr(line, '\n', (size_t)(m->end - m->at));
    if (!end) {
        sm_machine_fail(m, "a line without an end");
        return NULL;
    }
    m->at = end + 1;
    *size = (size_t)(end - line);
    return (const char *)line;
}

/* ---- opcodes: numbers and text ---- */

static bool op_proto(sm_machine *m, uint8_t op) {
    uint64_t version;
    (void)op;
    if (!take_number(m, 1, &version))
        return false;
    return version <= 5 || sm_machine_fail(m, "protocol %d", (int)version);
}

static bool op_frame(sm_machine *m, uint8_t op) {
    uint64_t size;
    (void)op;
    if (!take_number(m, 8, &size))
        return false;
    return size <= (uint64_t)(m->end - m->at) ||
           sm_machine_fail(m, "a frame ends behind its end (truncated)");
}

static bool op_constant(sm_machine *m, uint8_t op) {
    return sm_machine_push(m, sm_machine_value(m, op == 'N'    ? SM_VALUE_NONE
                                                  : op == 0x88 ? SM_VALUE_TRUE
                                                               : SM_VALUE_FALSE));
}

static bool push_integer(sm_machine *m, int64_t integer) {
    sm_value *v = sm_machine_value(m, SM_VALUE_INTEGER);
    if (v)
        v->integer = integer;
    return sm_machine_push(m, v);
}

static bool op_integer(sm_machine *m, uint8_t op) {
    uint64_t value;
    if (!take_number(m, op == 'J' ? 4 : op == 'M' ? 2 : 1, &value))
        return false;
    return push_integer(m, op == 'J' ? (int32_t)(uint32_t)value : (int64_t)value);
}

static bool push_number(sm_machine *m, double number) {
    sm_value *v = sm_machine_value(m, SM_VALUE_NUMBER);
    if (v)
        v->number = number;
    return sm_machine_push(m, v);
}

/* Two's complement of any length; what passes 64 bits becomes a float. */
static bool op_long(sm_machine *m, uint8_t op) {
    uint64_t size, whole = 0;
    if (!take_number(m, op == 0x8A ? 1 : 4, &size))
        return false;
    const uint8_t *bytes = take(m, size);
    if (!bytes)
        return false;
    bool negative = size && bytes[size - 1] & 0x80;
    if (size <= 8) {
        for (size_t i = 0; i < 8; i++)
            whole |= (uint64_t)(i < size ? bytes[i] : negative ? 0xFF : 0) << (8 * i);
        return push_integer(m, (int64_t)whole);
    }
    double number = 0;
    for (size_t i = size; i-- > 0;)
        number = number * 256 + (negative ? (uint8_t)~bytes[i] : bytes[i]);
    return push_number(m, negative ? -number - 1 : number);
}

static bool op_float(sm_machine *m, uint8_t op) {
    const uint8_t *bytes = take(m, 8);
    uint64_t bits = 0;
    double number;
    (void)op;
    if (!bytes)
        return false;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    memcpy(&number, &bits, sizeof number);
    return push_number(m, number);
}

static bool push_text(sm_machine *m, const uint8_t *bytes, uint64_t size) {
    sm_value *v = bytes ? sm_machine_value(m, SM_VALUE_TEXT) : NULL;
    if (v) {
        v->text.bytes = (const char *)bytes;
        v->text.size = (size_t)size;
    }
    return sm_machine_push(m, v);
}

/* str, bytes and bytearray, with their length in 1, 4 or 8 bytes. */
static bool op_text(sm_machine *m, uint8_t op) {
    size_t width = op == 'X' || op == 'B' || op == 'T'    ? 4
                   : op == 0x8C || op == 'C' || op == 'U' ? 1
                                                          : 8;
    uint64_t size;
    return take_number(m, width, &size) && push_text(m, take(m, size), size);
}

/* ---- opcodes: lists and dictionaries ---- */

static bool op_mark(sm_machine *m, uint8_t op) {
    (void)op;
    return sm_machine_push(m, sm_machine_value(m, SM_VALUE_MARK));
}

static bool op_pop(sm_machine *m, uint8_t op) {
    size_t at = op == '1' ? above_mark(m) : m->depth;
    if (!at)
        return op == '1' ? false
                         : sm_machine_fail(m, "it takes a value that is not there");
    m->depth = at - 1;
    return true;
}

static bool op_dup(sm_machine *m, uint8_t op) {
    (void)op;
    return sm_machine_push(m, top(m));
}

static bool op_empty(sm_machine *m, uint8_t op) {
    return sm_machine_push(m, sm_machine_value(m, op == ')'   ? SM_VALUE_TUPLE
                                                  : op == '}' ? SM_VALUE_DICT
                                                              : SM_VALUE_LIST));
}

/* The values from `from` on leave the stack and go into the list. */
static bool gather(sm_machine *m, sm_value *list, size_t from) {
    if (!list)
        return false;
    if (list->kind == SM_VALUE_DICT && (m->depth - from) % 2)
        return sm_machine_fail(m, "a dictionary has a key without a value");
    for (size_t i = from; i < m->depth; i++)
        if (!sm_machine_add(m, list, m->stack[i]))
            return false;
    m->depth = from;
    return true;
}

/* A tuple of 1, 2 or 3 values. */
static bool op_tuple_n(sm_machine *m, uint8_t op) {
    size_t n = (size_t)(op - 0x84);
    sm_value *tuple = sm_machine_value(m, SM_VALUE_TUPLE);
    for (size_t i = 0; i < n; i++)
        if (m->depth < n || m->stack[m->depth - 1 - i]->kind == SM_VALUE_MARK)
            return sm_machine_fail(m, "it takes a value that is not there");
    return gather(m, tuple, m->depth - n) && sm_machine_push(m, tuple);
}

/* Tuples, lists, dictionaries and frozen sets of all that is above the mark. */
static bool op_marked(sm_machine *m, uint8_t op) {
    size_t at = above_mark(m);
    sm_value *list = !at ? NULL
                         : sm_machine_value(m, op == 't'   ? SM_VALUE_TUPLE
                                               : op == 'd' ? SM_VALUE_DICT
                                                           : SM_VALUE_LIST);
    if (!gather(m, list, at))
        return false;
    m->depth = at - 1;
    return sm_machine_push(m, list);
}

static bool check_kind(sm_machine *m, const sm_value *v, sm_value_kind kind) {
    return v->kind == kind ||
           sm_machine_fail(m, "it adds to %s as if that were %s", sm_value_name(v),
                           kind == SM_VALUE_DICT ? "a dictionary" : "a list");
}

/* One value or key and value, or all above the mark, go into what is below them. */
static bool op_add(sm_machine *m, uint8_t op) {
    bool marked = op == 'e' || op == 'u' || op == 0x90;
    size_t n = op == 's' ? 2 : 1;
    size_t from = marked ? above_mark(m) : m->depth - n;
    if (marked ? from < 2 : m->depth < n + 1)
        return m->status != SM_OK ? false
                                  : sm_machine_fail(m, "there is nothing to add to");
    sm_value *list = m->stack[from - (marked ? 2 : 1)];
    for (size_t i = from; i < m->depth; i++)
        if (m->stack[i]->kind == SM_VALUE_MARK)
            return sm_machine_fail(m, "it takes a value that is not there");
    if (!check_kind(m, list, op == 's' || op == 'u' ? SM_VALUE_DICT : SM_VALUE_LIST) ||
        !gather(m, list, from))
        return false;
    m->depth = from - marked;
    return true;
}

/* ---- opcodes: the memo ---- */

static bool op_get(sm_machine *m, uint8_t op) {
    uint64_t index;
    if (!take_number(m, op == 'h' ? 1 : 4, &index))
        return false;
    if (index >= m->memo_room / sizeof *m->memo || !m->memo[index])
        return sm_machine_fail(m, "it remembers what it has not seen");
    return sm_machine_push(m, m->memo[index]);
}

static bool op_put(sm_machine *m, uint8_t op) {
    uint64_t index = m->memo_next;
    if (op != 0x94 && !take_number(m, op == 'q' ? 1 : 4, &index))
        return false;
    sm_value *value = top(m);
    if (!value)
        return false;
    /* Writers count up from 0, a byte or more each: no index is beyond the bytes read. */
    if (index > (uint64_t)(m->at - m->start))
        return sm_machine_fail(m, "the memo's index %llu is out of all proportion",
                               (unsigned long long)index);
    size_t before = m->memo_room;
    if (!grow(m, &m->memo, (size_t)index, &m->memo_room))
        return false;
    memset((char *)m->memo + before, 0, m->memo_room - before);
    m->memo[index] = value;
    m->memo_next++;
    return true;
}

/* ---- opcodes: what would call functions ---- */

static bool op_global(sm_machine *m, uint8_t op) {
    size_t module_size = 0, name_size = 0;
    const char *module, *name;
    if (op == 0x93) {
        const sm_value *second = pop(m), *first = second ? pop(m) : NULL;
        if (!first)
            return false;
        if (first->kind != SM_VALUE_TEXT || second->kind != SM_VALUE_TEXT)
            return sm_machine_fail(m, "it names a global by what is no text");
        return sm_machine_global(m, first->text.bytes, first->text.size,
                                 second->text.bytes, second->text.size);
    }
    module = take_line(m, &module_size);
    name = module ? take_line(m, &name_size) : NULL;
    if (!name)
        return false;
    if (op == 'i') /* an instance of a class of before Python 3: never a tensor's */
        return sm_machine_refuse(m, module, module_size, name, name_size);
    return sm_machine_global(m, module, module_size, name, name_size);
}

static bool op_call(sm_machine *m, uint8_t op) {
    if (op == 0x92) { /* NEWOBJ_EX: with named arguments, of which there may be none */
        const sm_value *named = pop(m);
        if (!named)
            return false;
        if (named->kind != SM_VALUE_DICT || named->list.count)
            return sm_machine_fail(m, "it calls a function with named arguments");
    }
    const sm_value *args = pop(m), *function = args ? pop(m) : NULL;
    return function && sm_machine_push(m, sm_machine_call(m, function, args));
}

/* Attributes: of ordered dictionaries alone, where state_dict() keeps the versions of its
 * modules, which nothing here needs. */
static bool op_build(sm_machine *m, uint8_t op) {
    const sm_value *state = pop(m), *object = state ? top(m) : NULL;
    (void)op;
    if (!object)
        return false;
    return (object->kind == SM_VALUE_DICT && object->ordered) ||
           sm_machine_fail(m, "it sets attributes of %s", sm_value_name(object));
}

static bool op_storage(sm_machine *m, uint8_t op) {
    const sm_value *id = pop(m);
    (void)op;
    return id && sm_machine_push(m, sm_machine_storage(m, id));
}

/* ---- the loop ---- */

typedef bool (*operation)(sm_machine *m, uint8_t op);

static const operation operations[256] = {
    [0x80] = op_proto,    [0x95] = op_frame,   ['N'] = op_constant, [0x88] = op_constant,
    [0x89] = op_constant, ['J'] = op_integer,  ['K'] = op_integer,  ['M'] = op_integer,
    [0x8A] = op_long,     [0x8B] = op_long,    ['G'] = op_float,    ['X'] = op_text,
    [0x8C] = op_text,     [0x8D] = op_text,    ['B'] = op_text,     ['C'] = op_text,
    [0x8E] = op_text,     [0x96] = op_text,    ['U'] = op_text,     ['T'] = op_text,
    ['('] = op_mark,      ['0'] = op_pop,      ['1'] = op_pop,      ['2'] = op_dup,
    [')'] = op_empty,     [']'] = op_empty,    ['}'] = op_empty,    [0x8F] = op_empty,
    [0x85] = op_tuple_n,  [0x86] = op_tuple_n, [0x87] = op_tuple_n, ['t'] = op_marked,
    ['l'] = op_marked,    ['d'] = op_marked,   [0x91] = op_marked,  ['a'] = op_add,
    ['e'] = op_add,       ['s'] = op_add,      ['u'] = op_add,      [0x90] = op_add,
    ['h'] = op_get,       ['j'] = op_get,      ['q'] = op_put,      ['r'] = op_put,
    [0x94] = op_put,      ['c'] = op_global,   [0x93] = op_global,  ['i'] = op_global,
    ['R'] = op_call,      [0x81] = op_call,    [0x92] = op_call,    ['b'] = op_build,
    ['Q'] = op_storage,
};

static bool run(sm_machine *m) {
    enum { STOP = '.' };
    for (;;) {
        const uint8_t *op = take(m, 1);
        if (!op)
            return false;
        if (*op == STOP)
            return true;
        if (!operations[*op])
            return sm_machine_fail(m, "its byte %zu is 0x%02X, which is no opcode here",
                                   (size_t)(op - m->start) + 1, *op);
        if (!operations[*op](m, *op))
            return false;
    }
}

sm_status sm_pickle_read(sm_pickle *p, const uint8_t *bytes, size_t size, size_t *used,
                         sm_value **value, sm_error *err) {
    sm_machine m = {.p = p, .start = bytes, .at = bytes, .end = bytes + size, .err = err};
    if (!run(&m))
        return m.status;
    *value = pop(&m);
    if (!*value)
        return m.status;
    *used = (size_t)(m.at - m.start);
    return SM_OK;
}

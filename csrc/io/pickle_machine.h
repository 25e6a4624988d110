/* pickle_machine.h: what the parts of the pickle reader share: pickle.c has the opcodes,
 * pickle_calls.c the few functions that a pickle may call, pickle_check.c what is checked
 * when all is read. All functions that can fail return false (or NULL) with m->err
 * filled. */
#ifndef SM_IO_PICKLE_MACHINE_H
#define SM_IO_PICKLE_MACHINE_H

#include "io/pickle.h"

typedef struct sm_machine {
    sm_pickle *p;
    const uint8_t *start, *at, *end;
    sm_value **stack;
    size_t depth, room; /* room: in bytes */
    sm_value **memo;
    size_t memo_room, memo_next;
    sm_error *err;
    sm_status status;
} sm_machine;

/* "PATH: broken pickle: ..." */
bool sm_machine_fail(sm_machine *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "PATH: wants MODULE.NAME, which is not data" */
bool sm_machine_refuse(sm_machine *m, const char *module, size_t module_size,
                       const char *name, size_t name_size);
void *sm_machine_alloc(sm_machine *m, size_t bytes);

/* A new value; lists and dictionaries are empty. */
sm_value *sm_machine_value(sm_machine *m, sm_value_kind kind);
/* Adds to a list, tuple or dictionary. */
bool sm_machine_add(sm_machine *m, sm_value *list, sm_value *item);
bool sm_machine_push(sm_machine *m, sm_value *value);

/* Finds what module.name stands for: pushes a global, or what it means as data. */
bool sm_machine_global(sm_machine *m, const char *module, size_t module_size,
                       const char *name, size_t name_size);
/* What the function gives for the arguments (a tuple). */
sm_value *sm_machine_call(sm_machine *m, const sm_value *function, const sm_value *args);
/* The storage that a persistent id names. */
sm_value *sm_machine_storage(sm_machine *m, const sm_value *id);

#endif

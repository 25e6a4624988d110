/* lsm.h: what the binding files share.
 *
 * A tensor in Lua is a userdata box with one reference. Boxes are made before the
 * resource (as in liolib.c's newprefile), so nothing is lost when Lua raises. All ops are
 * called through lsm_apply, which raises errors as argument errors, and counts bytes so
 * that Lua's collector, which does not see C memory, is stepped in proportion.
 *
 * A binding function for an op with the operands at stack indices 1..2:
 *
 *     static int l_matmul(lua_State *L) {
 *         const int args[] = {1, 2};
 *         return lsm_apply(L, &sm_op_matmul, 2, args, NULL);
 *     }
 */
#ifndef SM_LUA_LSM_H
#define SM_LUA_LSM_H

#include <lauxlib.h>
#include <lua.h>

#include "autograd/graph.h"

#define LSM_TENSOR "siamese.Tensor"

/* What luaL_argerror, luaL_typeerror, luaL_argcheck and luaL_error are, but errors below
 * files of the library have the position of the script's line that called into it. */
int lsm_argerror(lua_State *L, int arg, const char *message);
int lsm_typeerror(lua_State *L, int arg, const char *wanted);
int lsm_error(lua_State *L, const char *format, ...);
#define lsm_argcheck(L, condition, arg, message)                                         \
    ((void)((condition) || lsm_argerror(L, arg, message)))

/* The tensor at `arg`; an argument error if it is something else or has been freed. */
sm_tensor *lsm_check_tensor(lua_State *L, int arg);
/* The same, or NULL when it is not a (live) tensor. */
sm_tensor *lsm_to_tensor(lua_State *L, int arg);
/* nil or none gives NULL. */
sm_tensor *lsm_opt_tensor(lua_State *L, int arg);
/* A tensor of `dtype`; a Lua number becomes a 0-d tensor and a table a tensor, boxed in
 * place of the argument (so `arg` must be a positive stack index that exists). float32
 * with whole values is converted where int64 is wanted. */
sm_tensor *lsm_cast_arg(lua_State *L, int arg, sm_dtype dtype);

/* A contiguous version of the tensor at `arg`, outside the graph where that is a copy,
 * boxed in place of the argument. */
sm_tensor *lsm_dense_arg(lua_State *L, int arg);

/* The tensor at index `at` with a reference of its own, in a box that is pushed: whatever
 * finalizers do while the caller allocates, it lives on. */
sm_tensor *lsm_push_held(lua_State *L, int at);

/* Pushes an empty box; fill *slot with a new reference, then call lsm_account. */
sm_tensor **lsm_push_box(lua_State *L);
/* Pushes a new contiguous tensor (undefined contents or zeros); raises when there is no
 * memory. */
sm_tensor *lsm_push_tensor(lua_State *L, const sm_meta *meta, bool zeros);
/* Counts a new tensor's bytes; may step the collector: call it with everything anchored.
 */
void lsm_account(lua_State *L, size_t bytes);
/* Collects what a forward pass left lying, before backward fills memory on top of it;
 * only where that much was made, and so seldom that it costs next to nothing. */
void lsm_tidy(lua_State *L);
/* Seconds of a clock that only moves on. */
double lsm_clock(void);

/* Runs an op on the operands at the n given stack indices (0 stands for an absent
 * optional operand; nil or none there is absent too) and pushes its outputs; returns
 * their number. An error about operand k is raised as an argument error of index
 * args[k-1]. */
int lsm_apply(lua_State *L, const sm_op *op, int n, const int *args, const void *params);
/* The same for one tensor at index 1, the commonest case. */
int lsm_apply1(lua_State *L, const sm_op *op, const void *params);
/* The same for an array of tensors that the caller keeps anchored (cat, stack). */
int lsm_apply_array(lua_State *L, const sm_op *op, int n, sm_tensor *const *in,
                    const int *args, const void *params);
/* Raises what err says. `args` maps operands to stack indices and may be NULL. */
int lsm_raise(lua_State *L, sm_status status, const sm_error *err, int n,
              const int *args);
/* Pushes nil and err's message (for SM_EIO); returns 2. */
int lsm_push_failure(lua_State *L, const sm_error *err);

/* A dimension argument, 1-based, negative from the end, as 0-based; `ndim` of the tensor
 * it is for. */
int lsm_check_dim(lua_State *L, int arg, int ndim);
/* Sizes from arg on: integers, or one table of integers; returns the index after them. */
int lsm_check_shape(lua_State *L, int arg, int *ndim, int64_t *shape);
/* The dtype named by a string at arg. */
sm_dtype lsm_check_dtype(lua_State *L, int arg);

/* A path: a string without zero bytes, which no file's name has. */
const char *lsm_check_path(lua_State *L, int arg);
/* Pushes a shape as a table of integers. */
void lsm_push_shape(lua_State *L, int ndim, const int64_t *shape);

/* Fields of an options table at index arg (nil or none: all defaults). */
double lsm_opt_number_field(lua_State *L, int arg, const char *key, double default_value);
int64_t lsm_opt_integer_field(lua_State *L, int arg, const char *key,
                              int64_t default_value);
bool lsm_opt_boolean_field(lua_State *L, int arg, const char *key, bool default_value);
/* One integer for both or a table {height, width}. */
void lsm_opt_pair_field(lua_State *L, int arg, const char *key, int64_t default_value,
                        int64_t pair[2]);
/* Raises, naming the key, unless every key of the table is in `allowed`
 * (NULL-terminated). */
void lsm_check_keys(lua_State *L, int arg, const char *const *allowed);

/* The generator behind siamese.manual_seed, one per Lua state. */
struct sm_rng *lsm_rng(lua_State *L);

/* Registration: the core table is at the top of the stack while openers run.
 * lsm_functions adds to it; lsm_methods adds to the tensor's methods (and to the core
 * table too, so that siamese.exp(t) is t:exp()). */
void lsm_functions(lua_State *L, const luaL_Reg *functions);
void lsm_methods(lua_State *L, const luaL_Reg *methods);

/* One opener a file; lua_core.c calls them. */
void lsm_open_tensor(lua_State *L);
void lsm_open_view(lua_State *L);
void lsm_open_index(lua_State *L);
void lsm_open_print(lua_State *L);
void lsm_open_autograd(lua_State *L);
void lsm_open_random(lua_State *L);
void lsm_open_math(lua_State *L);
void lsm_open_reduce(lua_State *L);
void lsm_open_gather(lua_State *L);
void lsm_open_nn(lua_State *L);
void lsm_open_layers(lua_State *L);
void lsm_open_sequence(lua_State *L);
void lsm_open_loss(lua_State *L);
void lsm_open_optim(lua_State *L);
void lsm_open_image(lua_State *L);
void lsm_open_augment(lua_State *L); /* after image */
void lsm_open_io(lua_State *L);
void lsm_open_load(lua_State *L);
void lsm_open_generator(lua_State *L);
void lsm_open_system(lua_State *L);
void lsm_open_metrics(lua_State *L);
void lsm_open_matrix_loss(lua_State *L);
void lsm_open_mining(lua_State *L);
void lsm_open_pictures(lua_State *L);
void lsm_open_loader(lua_State *L);
void lsm_open_trace(lua_State *L);
void lsm_open_blame(lua_State *L);

#endif

/* tensor.h: dense tensors of float32, int64 and uint8 with shape, strides and an offset.
 *
 * A tensor is a reference-counted view of a reference-counted storage; several tensors
 * (views) may share one storage. sm_tensor_new gives one reference, which sm_tensor_unref
 * gives back. Strides and the offset count elements, never bytes; a stride may be 0
 * (expanded) but never negative. Dimensions in this interface count from 0; the binding
 * turns Lua's 1-based ones into these.
 *
 * Tensors are not locked: one tensor belongs to one Lua state, so to one thread at a
 * time.
 */
#ifndef SM_TENSOR_TENSOR_H
#define SM_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { SM_MAX_DIMS = 8, SM_SHAPE_TEXT = 8 * 21 + 3 };

typedef enum sm_dtype { SM_F32 = 0, SM_I64, SM_U8, SM_DTYPE_COUNT } sm_dtype;

/* What a tensor will be: enough to allocate it. */
typedef struct sm_meta {
    sm_dtype dtype;
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    bool channels_last; /* lay it out so (see below); never set by sm_tensor_meta */
} sm_meta;

typedef struct sm_storage {
    int refs;
    unsigned version; /* moves with every in-place write, so that backward sees stale
                         saved tensors */
    size_t bytes;
    void *data;
} sm_storage;

struct sm_node;

typedef struct sm_tensor {
    int refs;
    sm_dtype dtype;
    int ndim;
    int64_t shape[SM_MAX_DIMS];
    int64_t stride[SM_MAX_DIMS];
    int64_t offset;
    sm_storage *storage;
    /* What autograd hangs on a tensor; see autograd/graph.h. */
    bool requires_grad;
    int output_index;       /* which output of `node` it is */
    struct sm_node *node;   /* what made it; NULL for a leaf */
    struct sm_tensor *grad; /* leaf: the gradient so far, or NULL */
    uint64_t
        traced; /* its number in a trace (lua/lua_trace.c), that of its aliases too */
} sm_tensor;

/* "float32", "int64", "uint8". */
const char *sm_dtype_name(sm_dtype dtype);
/* The dtype of that name, or -1. */
int sm_dtype_by_name(const char *name);
size_t sm_dtype_size(sm_dtype dtype);

/* Checks 0 <= ndim <= SM_MAX_DIMS, sizes >= 0 and that the bytes do not overflow; gives
 * the number of elements. `what` opens the message. */
sm_status sm_meta_numel(const sm_meta *meta, const char *what, int64_t *numel,
                        sm_error *err);

/* While it is on, tensors have shapes and no values, in the calling thread: new ones are
 * zeros that occupy next to no memory (sm_alloc_unwritten), copying and filling float32
 * ones does nothing, and sm_apply records nothing and leaves forward out where only
 * float32 comes out. It is how the shapes inside a network are found without computing
 * it. Returns what was. */
bool sm_set_shapes_only(bool on);
bool sm_shapes_only(void);

/* A dense tensor with undefined contents: contiguous, or channels-last if meta says so.
 */
sm_status sm_tensor_new(const sm_meta *meta, sm_tensor **out, sm_error *err);
/* The same, filled with zeros. */
sm_status sm_tensor_zeros(const sm_meta *meta, sm_tensor **out, sm_error *err);
/* Another view of t's storage with t's shape, without its place in the graph (a detached
 * alias). */
sm_status sm_tensor_alias(const sm_tensor *t, sm_tensor **out, sm_error *err);
sm_tensor *sm_tensor_ref(sm_tensor *t);
void sm_tensor_unref(sm_tensor *t); /* NULL is allowed */
/* How a tensor lets go of its node; autograd sets it, since this layer does not know
 * graphs. */
extern void (*sm_tensor_node_unref)(struct sm_node *node);

int64_t sm_tensor_numel(const sm_tensor *t);
bool sm_tensor_is_contiguous(const sm_tensor *t);
/* Channels-last: [N,C,...] whose channels lie together in memory, as [N,...,C]. It is how
 * image layers compute: a vector holds the channels of one pixel. False for tensors of
 * fewer than 3 dimensions and for those that are contiguous as well (C is 1, or all sizes
 * behind C are). */
bool sm_tensor_is_channels_last(const sm_tensor *t);
sm_meta sm_tensor_meta(const sm_tensor *t);
bool sm_tensor_same_shape(const sm_tensor *a, const sm_tensor *b);
/* Fills strides (in elements) of a contiguous tensor of that shape. */
void sm_contiguous_strides(int ndim, const int64_t *shape, int64_t *stride);

/* The first element. */
static inline void *sm_tensor_data(const sm_tensor *t) {
    static const unsigned char sizes[SM_DTYPE_COUNT] = {4, 8, 1};
    return (char *)t->storage->data + t->offset * sizes[t->dtype];
}
static inline float *sm_f32(const sm_tensor *t) {
    return (float *)t->storage->data + t->offset;
}
static inline int64_t *sm_i64(const sm_tensor *t) {
    return (int64_t *)t->storage->data + t->offset;
}
static inline uint8_t *sm_u8(const sm_tensor *t) {
    return (uint8_t *)t->storage->data + t->offset;
}

/* Copies src into dst elementwise: broadcasts src to dst's shape, converts the dtype
 * (float to integer truncates toward zero and saturates; NaN gives 0), any strides. The
 * shapes must be broadcastable: the caller has checked. Memory may not overlap. Moves
 * dst's version. */
void sm_tensor_copy(sm_tensor *dst, const sm_tensor *src);
/* *out = t itself with one more reference if it is contiguous, else a contiguous copy
 * outside the graph. */
sm_status sm_tensor_contiguous(sm_tensor *t, sm_tensor **out, sm_error *err);
/* The same for the order [N,...,C] of a tensor [N,C,...]: *out's data is dense in it. */
sm_status sm_tensor_pixels(sm_tensor *t, sm_tensor **out, sm_error *err);
/* Fills with a value (converted as in sm_tensor_copy). Moves the version. */
void sm_tensor_fill(sm_tensor *t, double value);
/* dst += src, float32, same shape, any strides (a dst stride of 0 sums, as the gradient
 * of expand needs; such a dst is walked by one thread). Moves dst's version. */
void sm_tensor_add(sm_tensor *dst, const sm_tensor *src);

/* Writes "[64,1,3,3]" into text (SM_SHAPE_TEXT bytes); returns text. */
const char *sm_shape_text(char *text, int ndim, const int64_t *shape);
static inline const char *sm_tensor_shape_text(char *text, const sm_tensor *t) {
    return sm_shape_text(text, t->ndim, t->shape);
}

/* The shape that a and b broadcast to (NumPy's rule), false if there is none. */
bool sm_broadcast_shape(int na, const int64_t *a, int nb, const int64_t *b, int *n,
                        int64_t *out);
/* Strides that read t as the broadcast shape (0 where it repeats). */
void sm_broadcast_strides(const sm_tensor *t, int ndim, const int64_t *shape,
                          int64_t *stride);

#endif

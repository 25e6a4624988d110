/* status.h: how a function of the core says that it failed.
 *
 * Every function that can fail returns an sm_status and takes an sm_error that it fills
 * on failure (and leaves alone on success). The error carries the 1-based number of the
 * operand at fault (0 when none is) and a message that stands alone: it names the
 * operation, the operand, what was expected and what came. Nothing in the core prints,
 * exits or jumps.
 *
 *     if (x->ndim != 4)
 *         return sm_fail(err, SM_EINVAL, 1, "conv2d: input must be 4-D [N,C,H,W], got
 * %s", shape);
 */
#ifndef SM_BASE_STATUS_H
#define SM_BASE_STATUS_H

typedef enum sm_status {
    SM_OK = 0,
    SM_EINVAL, /* misuse: the binding raises it as an argument error */
    SM_ENOMEM, /* out of memory, or the memory limit: the binding collects, retries,
                  raises */
    SM_EIO /* the environment: a missing or broken file; the binding returns nil, message
            */
} sm_status;

typedef struct sm_error {
    int operand; /* 1-based operand at fault, 0 if none */
    char message[512];
} sm_error;

/* Fills err (which may be NULL) and returns status, so that callers can `return
 * sm_fail(...)`. */
sm_status sm_fail(sm_error *err, sm_status status, int operand, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif

/* status.c: fills an error. See status.h. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

sm_status sm_fail(sm_error *err, sm_status status, int operand, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->operand = operand;
    }
    return status;
}

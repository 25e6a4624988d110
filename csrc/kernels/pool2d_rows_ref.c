/* pool2d_rows_ref.c: see pool2d_rows.h. */
#include <stdbool.h>

#include "kernels/pool2d_rows.h"

/* A later element replaces an earlier one if it is larger or NaN, unless the earlier is
 * NaN. */
static bool replaces(float later, float earlier) {
    return earlier == earlier && !(later <= earlier);
}

static void max_(const float *top, const float *low, int64_t n, float *y,
                 uint8_t *where) {
    for (int64_t j = 0; j < n; j++) {
        float a = top[2 * j], b = top[2 * j + 1], c = low[2 * j], d = low[2 * j + 1];
        bool right = replaces(b, a), low_right = replaces(d, c);
        float u = right ? b : a, v = low_right ? d : c;
        bool below = replaces(v, u);
        y[j] = below ? v : u;
        if (where)
            where[j] = (uint8_t)(below ? 2 + low_right : right);
    }
}

static void spread_(const float *dy, const uint8_t *where, int64_t n, float *top,
                    float *low) {
    for (int64_t j = 0; j < n; j++) {
        top[2 * j] = where[j] == 0 ? dy[j] : 0;
        top[2 * j + 1] = where[j] == 1 ? dy[j] : 0;
        low[2 * j] = where[j] == 2 ? dy[j] : 0;
        low[2 * j + 1] = where[j] == 3 ? dy[j] : 0;
    }
}

const sm_pool2d_rows sm_pool2d_rows__ref = {max_, spread_};

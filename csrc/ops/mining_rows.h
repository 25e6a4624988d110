/* mining_rows.h: what mining.c shares with mining_random.c. Not for others. */
#ifndef SM_OPS_MINING_ROWS_H
#define SM_OPS_MINING_ROWS_H

#include "ops/mining.h"

/* Memory of a thread: a row of marks, of numbers, of sums. */
typedef struct sm_mine_space {
    float *w;      /* [m] */
    int64_t *list; /* [max(n,m)] */
    double *sums;  /* [m] */
} sm_mine_space;

/* Where a row's entries go: counted, and written where `lists` is there, from at[] on. */
typedef struct sm_mine_sink {
    int64_t *const *lists;
    int64_t at[2], count[2];
} sm_mine_sink;

static inline void sm_emit_pair(sm_mine_sink *s, int part, int64_t i, int64_t j) {
    if (s->lists) {
        s->lists[2 * part][s->at[part] + s->count[part]] = i + 1;
        s->lists[2 * part + 1][s->at[part] + s->count[part]] = j + 1;
    }
    s->count[part]++;
}

static inline void sm_emit_triplet(sm_mine_sink *s, int64_t a, int64_t p, int64_t n) {
    if (s->lists) {
        int64_t at = s->at[0] + s->count[0];
        s->lists[0][at] = a + 1;
        s->lists[1][at] = p + 1;
        s->lists[2][at] = n + 1;
    }
    s->count[0]++;
}

typedef void (*sm_mine_row)(const sm_mining *m, int64_t i, sm_mine_space *space,
                            sm_mine_sink *sink);

/* Runs row over all rows, with sinks that write to `lists` (NULL: that count into
 * m->counts). */
void sm_mine_rows(const sm_mining *m, sm_mine_row row, int64_t *const *lists);

void sm_mine_weighted_row(const sm_mining *m, int64_t i, sm_mine_space *space,
                          sm_mine_sink *sink);
sm_status sm_mine_histogram_count(sm_mining *m, sm_error *err);
void sm_mine_histogram_fill(const sm_mining *m, int64_t *const *lists);

#endif

/* mining_random.c: the miners that draw. See mining.h. Draw k of a call is block counter
 * + k of the generator. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "ops/mining_rows.h"

static double uniform_at(const sm_mining *m, int64_t draw) {
    sm_rng rng = m->p.rng;
    rng.counter += (uint64_t)draw;
    return sm_rng_uniform(&rng);
}

/* ---- weighted by distance ---- */

/* Running sums of the weights of row i: exp((2 - D) log d - (D - 3) / 2 log(1 - d^2 /
 * 4)), the inverse of the density of distances on the sphere (Wu et al. 2017,
 * section 4), over the largest of the row. Returns the total. */
static double sum_weights(const sm_mining *m, int64_t i, const float *w, double *sums) {
    const float *x = m->x + i * m->pairs.m;
    const double size = (double)m->p.size;
    double most = -INFINITY, total = 0;
    for (int64_t j = 0; j < m->pairs.m; j++) {
        double d = x[j] > m->p.cutoff ? x[j] : m->p.cutoff;
        bool counts = w[j] < 0 && d < m->p.zero_cutoff && d < 2;
        sums[j] = counts ? (2 - size) * log(d) - (size - 3) / 2 * log(1 - d * d / 4)
                         : -INFINITY;
        most = sums[j] > most ? sums[j] : most;
    }
    for (int64_t j = 0; j < m->pairs.m; j++) {
        total += sums[j] > -INFINITY ? exp(sums[j] - most) : 0;
        sums[j] = total;
    }
    return total;
}

static bool any_weight(const sm_mining *m, int64_t i, const float *w) {
    const float *x = m->x + i * m->pairs.m;
    float limit = m->p.zero_cutoff < 2 ? m->p.zero_cutoff : 2;
    for (int64_t j = 0; j < m->pairs.m; j++)
        if (w[j] < 0 && (x[j] > m->p.cutoff ? x[j] : m->p.cutoff) < limit)
            return true;
    return false;
}

/* The first column whose running sum passes `at`. */
static int64_t find_sum(const double *sums, int64_t n, double at) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (sums[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void sm_mine_weighted_row(const sm_mining *m, int64_t i, sm_mine_space *s,
                          sm_mine_sink *sink) {
    const int64_t *list;
    int64_t count = sm_pairs_positives(&m->pairs, i, s->list, &list);
    if (count == 0)
        return;
    sm_pairs_row(&m->pairs, i, true, s->w);
    if (!any_weight(m, i, s->w))
        return;
    if (!sink->lists) {
        sink->count[0] = count;
        return;
    }
    double total = sum_weights(m, i, s->w, s->sums);
    for (int64_t k = 0; k < count; k++) {
        double at = uniform_at(m, sink->at[0] + k) * total;
        sm_emit_triplet(sink, i, list[k], find_sum(s->sums, m->pairs.m, at));
    }
}

/* ---- uniform over the histogram ---- */

static int64_t bin_of(const sm_mining *m, int part, float d) {
    double low = m->bound[part][0], high = m->bound[part][1];
    double at = (d - low) / (high - low) * (double)m->p.bins;
    return !(at >= 1) ? 0 : at >= (double)m->p.bins ? m->p.bins - 1 : (int64_t)at;
}

static int64_t *row_bins(const sm_mining *m, int part, int64_t i) {
    return m->before + ((int64_t)part * (m->pairs.n + 1) + i) * m->p.bins;
}

/* A pair with a distance that is a number. */
static bool is_part(float w, float d, int part) {
    return (part ? w < 0 : w > 0) && d == d;
}

/* Counts in the next row's place, where the running sums will be made. */
static void count_bins(const sm_mining *m, int64_t i, sm_mine_space *s,
                       sm_mine_sink *sink) {
    (void)sink;
    const float *x = m->x + i * m->pairs.m;
    sm_pairs_row(&m->pairs, i, true, s->w);
    for (int64_t j = 0; j < m->pairs.m; j++)
        for (int part = 0; part < 2; part++)
            if (is_part(s->w[j], x[j], part))
                row_bins(m, part, i + 1)[bin_of(m, part, x[j])]++;
}

static void find_bounds(sm_mining *m, float *w) {
    for (int part = 0; part < 2; part++) {
        m->bound[part][0] = INFINITY;
        m->bound[part][1] = -INFINITY;
    }
    for (int64_t i = 0; i < m->pairs.n && m->pairs.m > 0; i++) {
        const float *x = m->x + i * m->pairs.m;
        sm_pairs_row(&m->pairs, i, true, w);
        for (int part = 0; part < 2; part++) {
            float *bound = m->bound[part], sign = part ? -1 : 1;
            float high = m->k->top(x, w, m->pairs.m, sign, 1);
            float low = -m->k->top(x, w, m->pairs.m, sign, -1);
            bound[0] = low < bound[0] ? low : bound[0];
            bound[1] = high > bound[1] ? high : bound[1];
        }
    }
}

sm_status sm_mine_histogram_count(sm_mining *m, sm_error *err) {
    size_t bytes;
    int64_t rows = m->pairs.n + 1, bins = m->p.bins;
    if (!sm_mul_size(2 * (size_t)rows * sizeof(int64_t), (size_t)bins, &bytes) ||
        !(m->before = sm_calloc(bytes)))
        return sm_fail(err, SM_ENOMEM, 0, "uniform_histogram: out of memory");
    find_bounds(m, (float *)m->spaces);
    sm_mine_rows(m, count_bins, NULL);
    for (int part = 0; part < 2; part++) {
        int64_t filled = 0;
        for (int64_t i = 0; i < m->pairs.n; i++)
            for (int64_t b = 0; b < bins; b++)
                row_bins(m, part, i + 1)[b] += row_bins(m, part, i)[b];
        for (int64_t b = 0; b < bins; b++)
            filled += row_bins(m, part, m->pairs.n)[b] > 0;
        if (!sm_mul_i64(filled, m->p.each[part], &m->total[part]))
            return sm_fail(err, SM_ENOMEM, 0, "uniform_histogram: too many pairs");
    }
    return SM_OK;
}

/* The column of the `at`-th pair (from 0) of row i in a bin. */
static int64_t find_pair(const sm_mining *m, int part, int64_t i, int64_t bin, int64_t at,
                         float *w) {
    const float *x = m->x + i * m->pairs.m;
    sm_pairs_row(&m->pairs, i, true, w);
    for (int64_t j = 0; j < m->pairs.m; j++)
        if (is_part(w[j], x[j], part) && bin_of(m, part, x[j]) == bin && at-- == 0)
            return j;
    return 0;
}

/* The row in which the pair number `at` (from 0) of a bin lies. */
static int64_t find_row(const sm_mining *m, int part, int64_t bin, int64_t at) {
    int64_t low = 0, high = m->pairs.n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (row_bins(m, part, middle + 1)[bin] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void sm_mine_histogram_fill(const sm_mining *m, int64_t *const *lists) {
    int64_t draw = 0;
    for (int part = 0; part < 2; part++) {
        int64_t out = 0;
        for (int64_t b = 0; b < m->p.bins; b++) {
            int64_t count = row_bins(m, part, m->pairs.n)[b];
            for (int64_t k = 0; k < m->p.each[part] && count > 0; k++, draw++, out++) {
                int64_t at = (int64_t)(uniform_at(m, draw) * (double)count);
                int64_t row = find_row(m, part, b, at);
                at -= row_bins(m, part, row)[b];
                lists[2 * part][out] = row + 1;
                lists[2 * part + 1][out] =
                    find_pair(m, part, row, b, at, (float *)m->spaces) + 1;
            }
        }
    }
}

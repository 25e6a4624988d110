/* mining.c: see mining.h. The random kinds are in mining_random.c. */
#include "ops/mining.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "ops/mining_rows.h"

/* ---- easy and hard ---- */

/* The largest (or smallest) entry of a sign within (low, high) and the range; -1 for
 * none. The first of several. */
static int64_t extreme(const sm_mining *m, int64_t i, const float *w, int part,
                       bool largest, float low, float high) {
    const float *x = m->x + i * m->pairs.m, sign = part ? -1 : 1;
    const float *range = m->p.range[part];
    int64_t best = -1;
    for (int64_t j = 0; j < m->pairs.m; j++)
        if (sign * w[j] > 0 && x[j] > low && x[j] < high && x[j] >= range[0] &&
            x[j] <= range[1] && (best < 0 || (largest ? x[j] > x[best] : x[j] < x[best])))
            best = j;
    return best;
}

/* One positive (part 0) or negative (1). For a semi-hard one `rival` is what the other
 * part chose. */
static int64_t choose(const sm_mining *m, int64_t i, const float *w, int part,
                      int64_t rival) {
    sm_mine_choice choice = m->p.choice[part];
    float low = -INFINITY, high = INFINITY;
    bool hard = choice != SM_CHOOSE_EASY, largest = part == 0 ? hard : !hard;
    if (choice == SM_CHOOSE_SEMIHARD && rival < 0)
        return -1;
    if (choice == SM_CHOOSE_SEMIHARD && part == 0)
        high = m->x[i * m->pairs.m + rival];
    if (choice == SM_CHOOSE_SEMIHARD && part == 1)
        low = m->x[i * m->pairs.m + rival];
    return extreme(m, i, w, part, largest, low, high);
}

static void emit_all(const sm_mining *m, int64_t i, const float *w, int part,
                     sm_mine_sink *sink) {
    for (int64_t j = 0; j < m->pairs.m; j++)
        if (part ? w[j] < 0 : w[j] > 0)
            sm_emit_pair(sink, part, i, j);
}

static void easy_hard_row(const sm_mining *m, int64_t i, sm_mine_space *s,
                          sm_mine_sink *sink) {
    const sm_mine_choice *choice = m->p.choice;
    bool all[2] = {choice[0] == SM_CHOOSE_ALL, choice[1] == SM_CHOOSE_ALL};
    int first = choice[0] == SM_CHOOSE_SEMIHARD ? 1 : 0;
    int64_t chosen[2] = {-1, -1};
    sm_pairs_row(&m->pairs, i, true, s->w);
    for (int k = 0; k < 2; k++) {
        int part = k ? 1 - first : first;
        if (!all[part])
            chosen[part] = choose(m, i, s->w, part, chosen[1 - part]);
    }
    bool whole = all[0] || all[1] || (chosen[0] >= 0 && chosen[1] >= 0);
    for (int part = 0; part < 2; part++)
        if (all[part])
            emit_all(m, i, s->w, part, sink);
        else if (whole && chosen[part] >= 0)
            sm_emit_pair(sink, part, i, chosen[part]);
}

/* ---- triplets ---- */

static void triplets_row(const sm_mining *m, int64_t a, sm_mine_space *s,
                         sm_mine_sink *sink) {
    const float *x = m->x + a * m->pairs.m;
    const int64_t *list;
    int64_t count = sm_pairs_positives(&m->pairs, a, s->list, &list);
    if (count > 0)
        sm_pairs_row(&m->pairs, a, true, s->w);
    for (int64_t k = 0; k < count; k++)
        for (int64_t n = 0; n < m->pairs.m; n++) {
            float gap = x[n] - x[list[k]];
            if (s->w[n] < 0 && gap > m->p.low && gap <= m->p.high)
                sm_emit_triplet(sink, a, list[k], n);
        }
}

/* The angle at n: tan = |a - p| / (2 |n - (a + p) / 2|), of unit vectors. */
static void angles_row(const sm_mining *m, int64_t a, sm_mine_space *s,
                       sm_mine_sink *sink) {
    const float *x = m->x + a * m->pairs.m;
    const double t2 = (double)m->p.tangent * m->p.tangent;
    const int64_t *list;
    int64_t count = sm_pairs_positives(&m->pairs, a, s->list, &list);
    if (count > 0)
        sm_pairs_row(&m->pairs, a, true, s->w);
    for (int64_t k = 0; k < count; k++) {
        const float *y = m->other + list[k] * m->pairs.m;
        double near = 2 - 2 * (double)x[list[k]];
        double base = 1.5 + 0.5 * (double)x[list[k]];
        for (int64_t n = 0; n < m->pairs.m; n++) {
            double far = base - ((double)x[n] + y[n]);
            if (s->w[n] < 0 && near > 4 * t2 * (far > 0 ? far : 0))
                sm_emit_triplet(sink, a, list[k], n);
        }
    }
}

/* ---- pairs ---- */

static void similar_row(const sm_mining *m, int64_t i, sm_mine_space *s,
                        sm_mine_sink *sink) {
    const float *x = m->x + i * m->pairs.m, epsilon = m->p.epsilon;
    sm_pairs_row(&m->pairs, i, true, s->w);
    float best = m->k->top(x, s->w, m->pairs.m, -1, 1);
    float worst = -m->k->top(x, s->w, m->pairs.m, 1, -1);
    for (int64_t j = 0; j < m->pairs.m; j++) {
        if (s->w[j] > 0 && x[j] - epsilon < best)
            sm_emit_pair(sink, 0, i, j);
        if (s->w[j] < 0 && x[j] + epsilon > worst)
            sm_emit_pair(sink, 1, i, j);
    }
}

static void margins_row(const sm_mining *m, int64_t i, sm_mine_space *s,
                        sm_mine_sink *sink) {
    const float *x = m->x + i * m->pairs.m;
    sm_pairs_row(&m->pairs, i, true, s->w);
    for (int64_t j = 0; j < m->pairs.m; j++) {
        if (s->w[j] > 0 && x[j] > m->p.positive)
            sm_emit_pair(sink, 0, i, j);
        if (s->w[j] < 0 && x[j] < m->p.negative)
            sm_emit_pair(sink, 1, i, j);
    }
}

static const struct kind {
    sm_mine_row row;
    bool triplets;
} kinds[SM_MINE_COUNT] = {
    [SM_MINE_EASY_HARD] = {easy_hard_row, false},
    [SM_MINE_TRIPLETS] = {triplets_row, true},
    [SM_MINE_SIMILAR] = {similar_row, false},
    [SM_MINE_MARGINS] = {margins_row, false},
    [SM_MINE_ANGLES] = {angles_row, true},
    [SM_MINE_WEIGHTED] = {sm_mine_weighted_row, true},
    [SM_MINE_HISTOGRAM] = {NULL, false},
};

bool sm_mines_triplets(sm_mine_kind kind) {
    return kinds[kind].triplets;
}

/* ---- the passes ---- */

typedef struct pass {
    const sm_mining *m;
    sm_mine_row row;
    int64_t *const *lists;
} pass;

static void run_rows(void *context, int64_t begin, int64_t end, int thread) {
    const pass *p = context;
    const sm_mining *m = p->m;
    size_t cols = (size_t)m->pairs.m;
    size_t longest = cols > (size_t)m->pairs.n ? cols : (size_t)m->pairs.n;
    sm_mine_space s;
    s.list = (int64_t *)(m->spaces + m->space * (size_t)thread);
    s.sums = (double *)(s.list + longest);
    s.w = (float *)(s.sums + cols);
    for (int64_t i = begin; i < end; i++) {
        sm_mine_sink sink = {.lists = p->lists};
        for (int k = 0; k < 2 && p->lists; k++)
            sink.at[k] = m->counts[2 * i + k];
        p->row(m, i, &s, &sink);
        for (int k = 0; k < 2 && !p->lists; k++)
            m->counts[2 * i + k] = sink.count[k];
    }
}

void sm_mine_rows(const sm_mining *m, sm_mine_row row, int64_t *const *lists) {
    pass p = {m, row, lists};
    if (m->pairs.m > 0)
        sm_parallel_for(m->pairs.n, 1 + 8192 / (m->pairs.m + 1), run_rows, &p);
}

/* Counts become places. */
static void place_rows(sm_mining *m) {
    for (int k = 0; k < 2; k++) {
        int64_t at = 0;
        for (int64_t i = 0; i < m->pairs.n; i++) {
            int64_t count = m->counts[2 * i + k];
            m->counts[2 * i + k] = at;
            at += count;
        }
        m->total[k] = at;
    }
}

static sm_status make_space(sm_mining *m, const char *name, sm_error *err) {
    size_t n = (size_t)m->pairs.n, cols = (size_t)m->pairs.m, all, counts;
    size_t longest = cols > n ? cols : n;
    if (n == 0 || cols == 0)
        longest = 0;
    bool fits = sm_mul_size(longest + 8, sizeof(int64_t) + sizeof(double) + sizeof(float),
                            &m->space);
    m->space = (m->space + 63) / 64 * 64;
    fits = fits && sm_mul_size(m->space, (size_t)sm_threads(), &all) &&
           sm_mul_size(2 * (n + 1), sizeof(int64_t), &counts);
    m->spaces = fits ? sm_alloc(all) : NULL;
    m->counts = fits ? sm_calloc(counts) : NULL;
    return m->spaces && m->counts ? SM_OK
                                  : sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", name);
}

static sm_status open_matrix(const char *name, sm_tensor *t, int operand, int64_t n,
                             int64_t m, sm_tensor **held, const float **data,
                             sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (t->dtype != SM_F32 || t->ndim != 2 || t->shape[0] != n || t->shape[1] != m)
        return sm_fail(err, SM_EINVAL, operand,
                       "%s: the matrix must be float32 [%lld,%lld], got %s %s", name,
                       (long long)n, (long long)m, sm_dtype_name(t->dtype),
                       sm_tensor_shape_text(text, t));
    sm_status status = sm_tensor_contiguous(t, held, err);
    if (status == SM_OK)
        *data = sm_f32(*held);
    return status;
}

sm_status sm_mining_open(const sm_pair_source *s, sm_tensor *matrix, sm_tensor *other,
                         const sm_mine_params *p, sm_mining *m, sm_error *err) {
    memset(m, 0, sizeof *m);
    m->p = *p;
    m->k = sm_pair_kernels_table();
    sm_status status = sm_pair_source_check(s, err);
    if (status == SM_OK)
        status = sm_pairs_open(s, &m->pairs, err);
    if (status == SM_OK)
        status = open_matrix(s->name, matrix, 1, s->n, s->m, &m->held[0], &m->x, err);
    if (status == SM_OK && p->kind == SM_MINE_ANGLES && !other)
        status =
            sm_fail(err, SM_EINVAL, 0, "%s: needs the matrix of the columns", s->name);
    if (status == SM_OK && p->kind == SM_MINE_ANGLES)
        status = open_matrix(s->name, other, 0, s->m, s->m, &m->held[1], &m->other, err);
    if (status == SM_OK)
        status = make_space(m, s->name, err);
    if (status == SM_OK && p->kind == SM_MINE_HISTOGRAM) {
        status = sm_mine_histogram_count(m, err);
    } else if (status == SM_OK) {
        sm_mine_rows(m, kinds[p->kind].row, NULL);
        place_rows(m);
    }
    if (status != SM_OK)
        sm_mining_close(m);
    return status;
}

void sm_mining_fill(const sm_mining *m, int64_t *const lists[4]) {
    if (m->p.kind == SM_MINE_HISTOGRAM)
        sm_mine_histogram_fill(m, lists);
    else
        sm_mine_rows(m, kinds[m->p.kind].row, lists);
}

uint64_t sm_mining_draws(const sm_mining *m) {
    return (uint64_t)m->total[0] + (uint64_t)m->total[1];
}

void sm_mining_close(sm_mining *m) {
    sm_pairs_close(&m->pairs);
    for (int k = 0; k < 2; k++) {
        sm_tensor_unref(m->held[k]);
        m->held[k] = NULL;
    }
    sm_free(m->counts);
    sm_free(m->spaces);
    sm_free(m->before);
    m->counts = m->before = NULL;
    m->spaces = NULL;
}

/* ---- labels ---- */

/* Sorts the rows by label and, of one label, by number: a merge sort, from the bottom. */
static void sort_rows(const int64_t *labels, int64_t n, int64_t *rows, int64_t *space) {
    for (int64_t i = 0; i < n; i++)
        rows[i] = i;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t low = 0; low < n; low += 2 * width) {
            int64_t middle = low + width < n ? low + width : n;
            int64_t high = middle + width < n ? middle + width : n;
            int64_t a = low, b = middle;
            for (int64_t k = low; k < high; k++) {
                bool left =
                    b == high || (a < middle && labels[rows[a]] <= labels[rows[b]]);
                space[k] = left ? rows[a++] : rows[b++];
            }
        }
        memcpy(rows, space, (size_t)n * sizeof *rows);
    }
}

sm_status sm_group_labels(const int64_t *labels, int64_t n, int64_t *ids, int64_t *ranks,
                          int64_t *classes, sm_error *err) {
    int64_t *rows = sm_alloc(2 * ((size_t)n + 1) * sizeof *rows);
    if (!rows)
        return sm_fail(err, SM_ENOMEM, 0, "group: out of memory");
    int64_t *first = rows + n; /* of each row, the first row of its class */
    sort_rows(labels, n, rows, first);
    for (int64_t k = 0; k < n; k++) {
        bool same = k > 0 && labels[rows[k]] == labels[rows[k - 1]];
        ranks[rows[k]] = same ? ranks[rows[k - 1]] + 1 : 1;
        first[rows[k]] = same ? first[rows[k - 1]] : rows[k];
    }
    *classes = 0;
    for (int64_t i = 0; i < n; i++)
        ids[i] = first[i] == i ? ++*classes : ids[first[i]];
    sm_free(rows);
    return SM_OK;
}

void sm_first_pairs(const int64_t *ids, int64_t classes, const int64_t *a,
                    const int64_t *p, int64_t count, int64_t *first, int64_t *second) {
    memset(first, 0, (size_t)classes * sizeof *first);
    memset(second, 0, (size_t)classes * sizeof *second);
    for (int64_t k = 0; k < count; k++) {
        int64_t i = a ? a[k] : k + 1, c = ids[i - 1] - 1;
        if (!first[c]) {
            first[c] = i;
            second[c] = a ? p[k] : 0;
        } else if (!a && !second[c]) {
            second[c] = i;
        }
    }
}

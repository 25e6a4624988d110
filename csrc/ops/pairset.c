/* pairset.c: see pairset.h. */
#include "ops/pairset.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/pairs.h"

static const char *const list_names[2][4] = {
    {"anchors", "positives", "negatives", ""},
    {"anchors of positives", "positives", "anchors of negatives", "negatives"}};

/* ---- checks ---- */

static int list_count(const sm_pair_source *s) {
    int count = 0;
    while (count < 4 && s->lists[count])
        count++;
    return count;
}

static sm_status check_labels(const sm_pair_source *s, const sm_tensor *labels,
                              int operand, const char *what, int64_t size,
                              sm_error *err) {
    char text[SM_SHAPE_TEXT];
    if (labels->dtype != SM_I64)
        return sm_fail(err, SM_EINVAL, operand, "%s: %s must be int64, got %s", s->name,
                       what, sm_dtype_name(labels->dtype));
    if (labels->ndim != 1 || labels->shape[0] != size)
        return sm_fail(err, SM_EINVAL, operand, "%s: %s must be [%lld], got %s", s->name,
                       what, (long long)size, sm_tensor_shape_text(text, labels));
    return SM_OK;
}

/* A list is [K], and as long as the one it goes with. */
static sm_status check_list(const sm_pair_source *s, int k, const char *const *names,
                            int with, sm_error *err) {
    char text[SM_SHAPE_TEXT];
    const sm_tensor *list = s->lists[k];
    int operand = s->first_operand + 2 + k;
    if (list->dtype != SM_I64 || list->ndim != 1)
        return sm_fail(err, SM_EINVAL, operand, "%s: %s must be int64 [K], got %s %s",
                       s->name, names[k], sm_dtype_name(list->dtype),
                       sm_tensor_shape_text(text, list));
    if (list->shape[0] != s->lists[with]->shape[0])
        return sm_fail(err, SM_EINVAL, operand, "%s: there are %lld %s for %lld %s",
                       s->name, (long long)list->shape[0], names[k],
                       (long long)s->lists[with]->shape[0], names[with]);
    return SM_OK;
}

sm_status sm_pair_source_check(const sm_pair_source *s, sm_error *err) {
    int count = list_count(s);
    sm_status status = SM_OK;
    if (count == 0 && !s->labels)
        return sm_fail(err, SM_EINVAL, s->first_operand,
                       "%s: needs labels, or lists of pairs or triplets", s->name);
    if (count == 1 || count == 2)
        return sm_fail(err, SM_EINVAL, s->first_operand + 2,
                       "%s: pairs are four lists, triplets three, got %d", s->name,
                       count);
    if (!s->ref_labels && s->labels && count == 0 && s->n != s->m)
        return sm_fail(err, SM_EINVAL, s->first_operand + 1,
                       "%s: %lld columns for %lld rows need labels of their own", s->name,
                       (long long)s->m, (long long)s->n);
    if (s->labels)
        status = check_labels(s, s->labels, s->first_operand, "labels", s->n, err);
    if (status == SM_OK && s->ref_labels)
        status = check_labels(s, s->ref_labels, s->first_operand + 1,
                              "labels of the references", s->m, err);
    for (int k = 0; k < count && status == SM_OK; k++)
        status =
            check_list(s, k, list_names[count == 4], count == 4 ? k / 2 * 2 : 0, err);
    return status;
}

/* ---- lists ---- */

/* Every entry from 1 to `most`. */
static sm_status check_range(const sm_pair_source *s, int k, const int64_t *list,
                             int64_t most, const char *what, sm_error *err) {
    for (int64_t i = 0; i < s->lists[k]->shape[0]; i++)
        if (list[i] < 1 || list[i] > most)
            return sm_fail(
                err, SM_EINVAL, s->first_operand + 2 + k,
                "%s: index %lld of the %s (number %lld) is out of range 1..%lld", s->name,
                (long long)list[i], what, (long long)i + 1, (long long)most);
    return SM_OK;
}

/* Sorts the values of K entries by their keys (both from 1), keeping the order of equal
 * keys: begin [keys + 1], out [K], both from 0. */
static void sort_by(const int64_t *key, const int64_t *value, int64_t count, int64_t keys,
                    int64_t *begin, int64_t *out) {
    memset(begin, 0, (size_t)(keys + 1) * sizeof *begin);
    for (int64_t k = 0; k < count; k++)
        begin[key[k]]++;
    for (int64_t i = 0; i < keys; i++)
        begin[i + 1] += begin[i];
    for (int64_t k = count - 1; k >= 0; k--)
        out[--begin[key[k]]] = value[k] - 1;
    /* Going down, begin[key] went from the end of the key's entries, which is where the
     * next key's begin, to their start: it lies one place too high. */
    memmove(begin, begin + 1, (size_t)keys * sizeof *begin);
    begin[keys] = count;
}

/* No entry may be both. `seen` [m]. */
static sm_status check_apart(const sm_pairs *p, int64_t *seen, int operand,
                             sm_error *err) {
    memset(seen, 0, (size_t)p->m * sizeof *seen);
    for (int64_t i = 0; i < p->n; i++) {
        for (int64_t k = p->positive_begin[i]; k < p->positive_begin[i + 1]; k++)
            seen[p->positive[k]] = i + 1;
        for (int64_t k = p->negative_begin[i]; k < p->negative_begin[i + 1]; k++)
            if (seen[p->negative[k]] == i + 1)
                return sm_fail(err, SM_EINVAL, operand,
                               "%s: the pair of %lld and %lld is both positive and "
                               "negative",
                               p->name, (long long)i + 1, (long long)p->negative[k] + 1);
    }
    return SM_OK;
}

static bool list_sizes(const sm_pairs *p, size_t positives, size_t negatives,
                       size_t *bytes) {
    size_t rows = 2 * ((size_t)p->n + 1) + 2 * ((size_t)p->m + 1);
    size_t count = rows + 3 * positives + negatives;
    return positives < SIZE_MAX / 64 && negatives < SIZE_MAX / 64 &&
           sm_mul_size(count, sizeof(int64_t), bytes);
}

static sm_status sort_lists(const sm_pair_source *s, int64_t *const *lists, sm_pairs *p,
                            sm_error *err) {
    int64_t positives = s->lists[1]->shape[0];
    int64_t negatives = s->lists[p->triplets ? 2 : 3]->shape[0];
    size_t bytes;
    if (!list_sizes(p, (size_t)positives, (size_t)negatives, &bytes) ||
        !(p->block = sm_alloc(bytes)))
        return sm_fail(err, SM_ENOMEM, 0, "%s: out of memory", s->name);
    int64_t *seen = p->block;
    p->positive_begin = seen + p->m;
    p->negative_begin = p->positive_begin + p->n + 1;
    p->back_begin = p->negative_begin + p->n + 1;
    p->positive = p->back_begin + p->m + 1;
    p->back = p->positive + positives;
    p->back_negative = p->back + positives;
    p->negative = p->back_negative + positives;
    sort_by(lists[0], lists[1], positives, p->n, p->positive_begin, p->positive);
    sort_by(lists[1], lists[0], positives, p->m, p->back_begin, p->back);
    if (p->triplets)
        sort_by(lists[1], lists[2], positives, p->m, p->back_begin, p->back_negative);
    sort_by(lists[p->triplets ? 0 : 2], lists[p->triplets ? 2 : 3], negatives, p->n,
            p->negative_begin, p->negative);
    p->any_positive = positives > 0;
    p->any_negative = negatives > 0;
    return check_apart(p, seen, s->first_operand + (p->triplets ? 4 : 5), err);
}

static sm_status open_lists(const sm_pair_source *s, sm_pairs *p, sm_error *err) {
    int count = list_count(s);
    int64_t *lists[4];
    const char *const *names = list_names[count == 4];
    sm_status status = SM_OK;
    p->listed = true;
    p->triplets = count == 3;
    for (int k = 0; k < count && status == SM_OK; k++) {
        bool rows = k == 0 || (count == 4 && k == 2);
        status = sm_tensor_contiguous(s->lists[k], &p->held[2 + k], err);
        if (status == SM_OK) {
            lists[k] = sm_i64(p->held[2 + k]);
            status = check_range(s, k, lists[k], rows ? s->n : s->m, names[k], err);
        }
    }
    return status == SM_OK ? sort_lists(s, lists, p, err) : status;
}

/* ---- labels ---- */

/* Whether there is any pair of either kind. */
static void look_for_pairs(sm_pairs *p) {
    for (int64_t i = 0; i < p->n && !(p->any_positive && p->any_negative); i++) {
        int64_t own = p->own >= 0 && p->m > 0 ? (p->own + i) % p->m : -1;
        for (int64_t j = 0; j < p->m; j++) {
            bool same = p->labels[i] == p->ref_labels[j];
            p->any_negative = p->any_negative || !same;
            p->any_positive = p->any_positive || (same && j != own);
        }
    }
}

sm_status sm_pairs_open(const sm_pair_source *s, sm_pairs *p, sm_error *err) {
    sm_status status = SM_OK;
    *p = (sm_pairs){.name = s->name, .n = s->n, .m = s->m, .own = s->own};
    if (s->labels)
        status = sm_tensor_contiguous(s->labels, &p->held[0], err);
    if (status == SM_OK && s->ref_labels)
        status = sm_tensor_contiguous(s->ref_labels, &p->held[1], err);
    if (status == SM_OK && s->labels) {
        p->labels = sm_i64(p->held[0]);
        p->ref_labels = s->ref_labels  ? sm_i64(p->held[1])
                        : s->n == s->m ? p->labels
                                       : NULL;
    }
    if (status == SM_OK && list_count(s) > 0)
        status = open_lists(s, p, err);
    else if (status == SM_OK)
        look_for_pairs(p);
    if (status != SM_OK)
        sm_pairs_close(p);
    return status;
}

void sm_pairs_close(sm_pairs *p) {
    for (size_t k = 0; k < sizeof p->held / sizeof *p->held; k++) {
        sm_tensor_unref(p->held[k]);
        p->held[k] = NULL;
    }
    sm_free(p->block);
    p->block = NULL;
}

/* ---- reading ---- */

void sm_pairs_row(const sm_pairs *p, int64_t i, bool once, float *w) {
    if (!p->listed) {
        sm_pair_kernels_table()->mark(w, p->ref_labels, p->m, p->labels[i]);
        if (p->own >= 0 && p->m > 0)
            w[(p->own + i) % p->m] = 0;
        return;
    }
    memset(w, 0, (size_t)p->m * sizeof *w);
    for (int64_t k = p->positive_begin[i]; k < p->positive_begin[i + 1]; k++)
        w[p->positive[k]] = once ? 1 : w[p->positive[k]] + 1;
    for (int64_t k = p->negative_begin[i]; k < p->negative_begin[i + 1]; k++)
        w[p->negative[k]] = once ? -1 : w[p->negative[k]] - 1;
}

int64_t sm_pairs_positives(const sm_pairs *p, int64_t i, int64_t *space,
                           const int64_t **list) {
    int64_t count = 0;
    if (p->listed) {
        *list = p->positive + p->positive_begin[i];
        return p->positive_begin[i + 1] - p->positive_begin[i];
    }
    for (int64_t j = 0; j < p->m; j++)
        if (p->ref_labels[j] == p->labels[i] && !sm_pairs_is_own(p, i, j))
            space[count++] = j;
    *list = space;
    return count;
}

int64_t sm_pairs_anchors(const sm_pairs *p, int64_t j, int64_t *space,
                         const int64_t **list) {
    int64_t count = 0;
    if (p->listed) {
        *list = p->back + p->back_begin[j];
        return p->back_begin[j + 1] - p->back_begin[j];
    }
    for (int64_t i = 0; i < p->n; i++)
        if (p->labels[i] == p->ref_labels[j] && !sm_pairs_is_own(p, i, j))
            space[count++] = i;
    *list = space;
    return count;
}

/* retrieval.c: see retrieval.h. Only the nearest max(R, k) references of a query and what
 * ties with the last of them matter; they are picked by quickselect (Hoare 1961) from
 * what passes a bound that falls on the way, and only they are sorted. */
#include "kernels/retrieval.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "kernels/roc.h"

enum { LEAST_LIMIT = 512, ROUNDS = 64 };

/* ---- the nearest ---- */

static float middle_of(float a, float b, float c) {
    float low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Moves what is below `pivot` to the front and what equals it behind that; returns the
 * counts. */
static void split(sm_scored *s, int64_t n, float pivot, int64_t *below, int64_t *equal) {
    int64_t low = 0, at = 0, high = n;
    while (at < high) {
        sm_scored x = s[at];
        if (x.distance < pivot) {
            s[at++] = s[low];
            s[low++] = x;
        } else if (x.distance > pivot) {
            s[at] = s[--high];
            s[high] = x;
        } else {
            at++;
        }
    }
    *below = low;
    *equal = high - low;
}

/* Moves the `wanted` (from 1 to n) smallest, and all that tie with the largest of these,
 * to the front; returns how many they are. */
static int64_t keep_nearest(sm_scored *s, sm_scored *scratch, int64_t n, int64_t wanted) {
    int64_t first = 0, count = n, below, equal;
    for (int round = 0; round < ROUNDS; round++) {
        sm_scored *part = s + first;
        float pivot = middle_of(part[0].distance, part[count / 2].distance,
                                part[count - 1].distance);
        split(part, count, pivot, &below, &equal);
        if (wanted - first <= below) {
            count = below;
        } else if (wanted - first <= below + equal) {
            return first + below + equal;
        } else {
            first += below + equal;
            count -= below + equal;
        }
    }
    const sm_scored *sorted = sm_scored_sort(s, scratch, n);
    if (sorted != s)
        memcpy(s, sorted, (size_t)n * sizeof *s);
    for (count = wanted; count < n && s[count].distance == s[wanted - 1].distance;)
        count++;
    return count;
}

typedef struct query {
    const float *distance;
    int64_t label, self; /* self: the reference to leave out, or -1 */
    int64_t same;        /* R */
} query;

static int64_t count_same(const sm_retrieval *r, const query *q) {
    int64_t count = 0;
    for (int64_t i = 0; i < r->references; i++)
        count += r->label[i] == q->label;
    return count - (q->self >= 0 && r->label[q->self] == q->label);
}

/* The nearest `wanted` and their ties, sorted; *n is their number. */
static const sm_scored *nearest(const sm_retrieval *r, const query *q, int64_t wanted,
                                sm_scored *found, sm_scored *scratch, int64_t *n) {
    int64_t count = 0, limit = 2 * wanted > LEAST_LIMIT ? 2 * wanted : LEAST_LIMIT;
    float bound = INFINITY;
    for (int64_t i = 0; i < r->references; i++) {
        if (q->distance[i] > bound || i == q->self)
            continue;
        found[count++] = (sm_scored){q->distance[i], (uint32_t)(r->label[i] == q->label)};
        if (count < limit)
            continue;
        count = keep_nearest(found, scratch, count, wanted);
        bound = found[0].distance;
        for (int64_t k = 1; k < count; k++)
            bound = found[k].distance > bound ? found[k].distance : bound;
        limit = 2 * count > limit ? 2 * count : limit; /* many ties */
    }
    if (count > wanted)
        count = keep_nearest(found, scratch, count, wanted);
    *n = count;
    return sm_scored_sort(found, scratch, count);
}

/* ---- the values ---- */

/* References at one distance: `before` are nearer, `right` of these of the class. */
typedef struct tie {
    int64_t before, right, count, same;
} tie;

/* The chance that none of `same` is among the first k of `count` in random order. */
static double miss(int64_t count, int64_t same, int64_t k) {
    double chance = 1;
    for (int64_t i = 0; i < k && chance > 0; i++)
        chance *= (double)(count - same - i) / (double)(count - i);
    return chance > 0 ? chance : 0;
}

/* The first tie with one of the class decides. */
static void add_recall(const sm_retrieval *r, const tie *t, float *recall) {
    if (t->right || !t->same)
        return;
    for (int64_t k = 0; k < r->ranks; k++) {
        int64_t room = r->rank[k] - t->before;
        if (room > 0)
            recall[k] =
                (float)(1 - miss(t->count, t->same, room < t->count ? room : t->count));
    }
}

/* The part of a tie within rank R in R-precision and in average precision, times R. At
 * place i of the tie a reference is of the class with chance s/n, and then (i-1)(s-1) /
 * (n-1) of those before it are, in the mean. */
static void add_precision(const tie *t, int64_t last, double *found, double *average) {
    int64_t within = last - t->before < t->count ? last - t->before : t->count;
    if (within <= 0 || !t->same)
        return;
    double share = (double)t->same / (double)t->count;
    double others = t->count > 1 ? (double)(t->same - 1) / (double)(t->count - 1) : 0;
    *found += share * (double)within;
    for (int64_t i = 1; i <= within; i++)
        *average += share * ((double)t->right + 1 + (double)(i - 1) * others) /
                    (double)(t->before + i);
}

static void judge(const sm_retrieval *r, const query *q, int64_t number,
                  const sm_scored *s, int64_t n) {
    float *recall = r->recall + number * r->ranks;
    double found = 0, average = 0;
    tie t = {0};
    for (int64_t k = 0; k < r->ranks; k++)
        recall[k] = 0;
    for (int64_t i = 0; i < n; t.before += t.count, t.right += t.same) {
        t.count = t.same = 0;
        for (float d = s[i].distance; i < n && s[i].distance == d; i++) {
            t.count++;
            t.same += s[i].same;
        }
        add_recall(r, &t, recall);
        add_precision(&t, q->same, &found, &average);
    }
    r->r_precision[number] = (float)(found / (double)q->same);
    r->average_precision[number] = (float)(average / (double)q->same);
}

static void left_out(const sm_retrieval *r, int64_t number) {
    r->r_precision[number] = r->average_precision[number] = NAN;
    for (int64_t k = 0; k < r->ranks; k++)
        r->recall[number * r->ranks + k] = NAN;
}

typedef struct job {
    const sm_retrieval *r;
    sm_scored *scratch; /* [threads, 2, references] */
    int64_t most;       /* the largest rank */
} job;

static void run_queries(void *context, int64_t begin, int64_t end, int thread) {
    const job *j = context;
    const sm_retrieval *r = j->r;
    sm_scored *found = j->scratch + 2 * r->references * thread;
    for (int64_t i = begin; i < end; i++) {
        query q = {.distance = r->distance + i * r->references,
                   .label = r->query_label[i],
                   .self = r->self < 0 ? -1 : r->self + i};
        q.same = count_same(r, &q);
        if (!q.same) {
            left_out(r, i);
            continue;
        }
        int64_t n, others = r->references - (q.self >= 0),
                   wanted = q.same > j->most ? q.same : j->most;
        const sm_scored *s = nearest(r, &q, wanted < others ? wanted : others, found,
                                     found + r->references, &n);
        judge(r, &q, i, s, n);
    }
}

sm_status sm_retrieval_run(const sm_retrieval *r, sm_error *err) {
    size_t bytes;
    job j = {.r = r, .most = 1};
    for (int64_t k = 0; k < r->ranks; k++)
        j.most = r->rank[k] > j.most ? r->rank[k] : j.most;
    if (!sm_mul_size(2 * sizeof *j.scratch * (size_t)sm_threads(), (size_t)r->references,
                     &bytes) ||
        !(j.scratch = sm_alloc(bytes)))
        return sm_fail(err, SM_ENOMEM, 0, "retrieval: out of memory");
    sm_parallel_for(r->queries, 1, run_queries, &j);
    sm_free(j.scratch);
    return SM_OK;
}

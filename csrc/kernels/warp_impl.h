/* warp_impl.h: the loops of warp.h, over the vectors of vec.h. The including file defines
 * SUFFIX(name). */
#include "kernels/warp.h"

/* Lanes of one vector: the pixel at the upper left of each place and how far the place is
 * from it. */
typedef struct lanes {
    ivec at;        /* elements from a plane's beginning; valid where a mask says so */
    vec u, v;       /* 0 .. 1 */
    vmask in[2][2]; /* [below][right]: neighbours inside the picture */
} lanes;

INLINE vec lerp(vec a, vec b, vec t) {
    return v_fma(t, v_sub(b, a), a);
}

/* Whether any lane has a neighbour inside; fills l. */
INLINE int find(const sm_warp_source *s, const sm_warp_places *p, int i, lanes *l) {
    const vec x = v_load(p->x + i), y = v_load(p->y + i);
    const vmask near =
        m_and(v_inside(x, v_set((float)(-1 - p->ox)), v_set((float)(s->w - p->ox))),
              v_inside(y, v_set((float)(-1 - p->oy)), v_set((float)(s->h - p->oy))));
    if (!m_any(near))
        return 0;
    const vec fx = v_floor(x), fy = v_floor(y);
    const ivec col = i_add(v_whole(fx), i_set(p->ox)),
               row = i_add(v_whole(fy), i_set(p->oy));
    const ivec one = i_set(1), w = i_set(s->w), h = i_set(s->h);
    const vmask left = m_and(near, i_below(col, w)),
                right = m_and(near, i_below(i_add(col, one), w));
    const vmask upper = i_below(row, h), lower = i_below(i_add(row, one), h);
    l->u = v_where(v_sub(x, fx), near); /* NaN must not come through */
    l->v = v_where(v_sub(y, fy), near);
    l->at = i_add(i_mul(row, i_set(s->row)), col);
    l->in[0][0] = m_and(left, upper);
    l->in[0][1] = m_and(right, upper);
    l->in[1][0] = m_and(left, lower);
    l->in[1][1] = m_and(right, lower);
    return 1;
}

/* n lanes of channel k, of its four neighbours. */
INLINE void sample(const sm_warp_source *s, const lanes *l, int64_t k, float *out,
                   int n) {
    const vec fill = v_set(s->fill[k]);
    const float *from = s->data + k * s->plane;
    const ivec one = i_set(1), below = i_add(l->at, i_set(s->row));
    const vec a = v_gather(from, l->at, l->in[0][0], fill);
    const vec b = v_gather(from, i_add(l->at, one), l->in[0][1], fill);
    const vec c = v_gather(from, below, l->in[1][0], fill);
    const vec d = v_gather(from, i_add(below, one), l->in[1][1], fill);
    v_store_n(out, lerp(lerp(a, b, l->u), lerp(c, d, l->u), l->v), n);
}

static void bilinear_(const sm_warp_source *s, const sm_warp_places *p, float *out,
                      int64_t plane) {
    for (int i = 0; i < p->n; i += VL) {
        const int n = p->n - i < VL ? p->n - i : VL;
        lanes l;
        if (find(s, p, i, &l))
            for (int64_t k = 0; k < s->c; k++)
                sample(s, &l, k, out + k * plane + i, n);
        else
            for (int64_t k = 0; k < s->c; k++)
                v_store_n(out + k * plane + i, v_set(s->fill[k]), n);
    }
}

static void nearest_(const sm_warp_source *s, const sm_warp_places *p, float *out,
                     int64_t plane) {
    for (int i = 0; i < p->n; i += VL) {
        const int n = p->n - i < VL ? p->n - i : VL;
        const vec x = v_nearest(v_load(p->x + i)), y = v_nearest(v_load(p->y + i));
        const vmask near =
            m_and(v_inside(x, v_set((float)(-1 - p->ox)), v_set((float)(s->w - p->ox))),
                  v_inside(y, v_set((float)(-1 - p->oy)), v_set((float)(s->h - p->oy))));
        const ivec col = i_add(v_whole(x), i_set(p->ox)),
                   row = i_add(v_whole(y), i_set(p->oy));
        const ivec at = i_add(i_mul(row, i_set(s->row)), col);
        for (int64_t k = 0; k < s->c; k++)
            v_store_n(out + k * plane + i,
                      v_gather(s->data + k * s->plane, at, near, v_set(s->fill[k])), n);
    }
}

static void line_(sm_warp_places *p, const double from[3], const double step[3]) {
    const float x = (float)from[0], y = (float)from[1], z = (float)from[2];
    const float dx = (float)step[0], dy = (float)step[1], dz = (float)step[2];
    for (int i = 0; i < SM_WARP_RUN; i++) {
        p->x[i] = x + (float)i * dx;
        p->y[i] = y + (float)i * dy;
    }
    if (z == 1 && dz == 0)
        return;
    for (int i = 0; i < SM_WARP_RUN; i++) {
        const float w = 1 / (z + (float)i * dz);
        p->x[i] *= w;
        p->y[i] *= w;
    }
}

static void moved_line_(sm_warp_places *p, const double from[3], const double step[3],
                        const double across[3], const float *dx, const float *dy) {
    float f[3], s[3], a[3];
    for (int k = 0; k < 3; k++) {
        f[k] = (float)from[k];
        s[k] = (float)step[k];
        a[k] = (float)across[k];
    }
    for (int i = 0; i < p->n; i++) {
        const float t = (float)i + dx[i], v = dy[i];
        const float w = 1 / (f[2] + t * s[2] + v * a[2]);
        p->x[i] = (f[0] + t * s[0] + v * a[0]) * w;
        p->y[i] = (f[1] + t * s[1] + v * a[1]) * w;
    }
}

const sm_warp_kernels SUFFIX(sm_warp_kernels) = {bilinear_, nearest_, line_, moved_line_};

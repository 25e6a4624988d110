/* act_resize.c: resizing. See run.h and resize.h. */
#include "image/resize.h"

#include "image/run.h"

static sm_resize_mode mode_of(sm_interpolation mode, bool antialias) {
    switch (mode) {
    case SM_NEAREST:
        return SM_RESIZE_NEAREST;
    case SM_NEAREST_EXACT:
        return SM_RESIZE_NEAREST_EXACT;
    case SM_BICUBIC:
        return antialias ? SM_RESIZE_BICUBIC_ANTIALIAS : SM_RESIZE_BICUBIC;
    case SM_AREA:
        return SM_RESIZE_AREA;
    default:
        return antialias ? SM_RESIZE_BILINEAR_ANTIALIAS : SM_RESIZE_BILINEAR;
    }
}

sm_status sm_act_resize(sm_run *r, void *to) {
    const sm_view *v = &r->view;
    const sm_resize_mode mode = mode_of(r->act.u.resize.mode, r->act.u.resize.antialias);
    const int64_t lanes = sm_resample_table()->lanes;
    const size_t size = sm_dtype_size(v->dtype);
    sm_resize_plan plan;
    void *table;
    float *work;
    sm_status status = sm_scratch_take(r->scratch, SM_BLOCK_TABLE,
                                       sm_resize_plan_bytes(mode, v->h, v->w, r->h, r->w),
                                       &table, r->err);
    if (status != SM_OK)
        return status;
    sm_resize_prepare(&plan, table, mode, v->h, v->w, r->h, r->w);
    status = sm_scratch_take(r->scratch, SM_BLOCK_ROWS,
                             sm_resize_work(&plan) * sizeof *work, &work, r->err);
    if (status != SM_OK)
        return status;
    for (int64_t c = 0; c < v->c; c++) {
        const char *from = (const char *)v->data + c * v->plane * (int64_t)size;
        char *out = (char *)to + (size_t)(c * r->h * r->w) * size;
        for (int64_t y = 0; y < r->h; y += lanes)
            sm_resize_strip(&plan, v->dtype, from, v->row, out, y,
                            r->h - y < lanes ? r->h - y : lanes, work);
    }
    return SM_OK;
}

#include "kernels/conv2d.h"
sm_status sm_conv2d_forward(const sm_conv2d *g, const float *x, const float *w, const float *bias,
                            float *y, bool relu, sm_error *err) {
    (void)err;
    sm_conv2d_forward_ref(g, x, w, bias, y, relu);
    return SM_OK;
}
sm_status sm_conv2d_backward_data(const sm_conv2d *g, const float *dy, const float *w, float *dx,
                                  sm_error *err) {
    (void)err;
    sm_conv2d_backward_data_ref(g, dy, w, dx);
    return SM_OK;
}
sm_status sm_conv2d_backward_weight(const sm_conv2d *g, const float *x, const float *dy, float *dw,
                                    float *dbias, sm_error *err) {
    (void)err;
    sm_conv2d_backward_weight_ref(g, x, dy, dw, dbias);
    return SM_OK;
}
const char *sm_conv2d_algorithm(const sm_conv2d *g, sm_conv2d_pass pass) {
    (void)g;
    (void)pass;
    return "reference";
}

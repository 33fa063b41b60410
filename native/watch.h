// What somebody who watches a run is told of its steps; a plain specification, as those of core.h.
#pragma once
#include <cstdint>

namespace chainrule {

// What is noted of the steps for somebody who watches the run; all 0: nothing.
struct WatchData {
    // Norms are noted in the steps of the run that `every` divides, in none if it is 0; `first_step` is the
    // first of the epoch, as they are counted. So many `steps_before` of the epoch were an earlier call's.
    std::int64_t every, first_step, steps_before;
    // (n,), in the order in which the samples are taken: C_i, and the gradient norm of n s_i / (sum s) C_i.
    double *sample_losses, *sample_norms;
    // (noted steps, arrays of parameters, 4), of W of layer 1, its b, W of layer 2 and so on: the norms of the
    // parameters before the step, the gradient before clipping, the update, and the gradient without penalty.
    double* layer_norms;
    // (steps, 4) or null, of the parameter at place `traced` of theta: before the step, its gradient, the same
    // clipped, and after the step.
    double* trace;
    std::int64_t traced;
};

} // namespace chainrule

// An epoch: steps in stretches short enough to ask now and then whether to go on, watched for
// numbers that are no longer finite.
#pragma once
#include "core.h"

namespace chainrule {

// Called by the calling thread about every 50 ms, with the steps done and the mean loss so far; true: stop.
struct Progress {
    bool (*ask)(void* context, std::int64_t steps, double mean_loss);
    void* context;
};

struct EpochOutcome {
    double loss;
    std::int64_t steps;
    std::int64_t failed_step; // of the epoch, or -1
    bool stopped;
};

// Trains `core` for the steps of an epoch. theta and slots (public layout) are read at the start and
// hold the result at the end; where a step gave a number that is not finite, they hold the state
// before that step.
EpochOutcome run_epoch(Core& core, const EpochData& data, std::int64_t steps, std::int64_t first_run_step,
                       void* theta, void* const* slots, const Progress& progress);

} // namespace chainrule

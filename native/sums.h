// In which order the sums of a step are taken, where there is a choice: whoever trains a network, alone or
// beside others, follows it, so that both come to the same bits.
#pragma once
#include "core.h"
#include "limits.h"

namespace chainrule {
namespace CR_ISA {

// C_i and delta need no more than each unit's own a.
inline bool loss_from_a(Loss loss, Activation output) {
    return loss != Loss::cross_entropy && loss != Loss::binary_cross_entropy && loss != Loss::poisson &&
           output != Activation::softmax;
}

struct Sums {
    bool tiny;   // every layer fits into one vector: sums begin with the bias, and take rows as tiny.h does
    bool halves; // dW is the sum over the batch's first half plus that over its second
};

// For vectors of `lanes` numbers of `size` bytes.
inline Sums sums_of(const NetworkSpec& network, const PlanSpec& plan, int lanes, std::size_t size) {
    const int L = network.n_layers, batch = static_cast<int>(plan.batch_size);
    const LayerSpec* layers = network.layers;
    // Tiny steps note no C_i of losses that are computed from a.
    bool tiny = plan.clip_norm == 0 &&
                !(loss_from_a(network.loss, layers[L].activation) && plan.largest_loss < __builtin_huge_val());
    std::int64_t parameters = 0, numbers_a_sample = 0;
    tiny = tiny && !network.output && !network.output_weights;
    for (int l = 1; l <= L; ++l) {
        tiny = tiny && layers[l].activation != Activation::custom;
        const int in = layers[l - 1].units, out = layers[l].units;
        tiny = tiny && out <= lanes && layers[l].dropout == 0;
        parameters += std::int64_t{in + (network.biases ? 1 : 0)} * ((out + lanes - 1) / lanes * lanes);
        numbers_a_sample += in + out;
    }
    tiny = tiny && layers[0].units <= 4 * lanes;
    // Where dW over half the batch is less to hand over to another thread than the a and delta of it;
    // a half then has two samples at least.
    const bool halves = !tiny && plan.clip_norm == 0 && batch >= 4 &&
                        static_cast<std::size_t>(parameters) * size <= small_network &&
                        numbers_a_sample * batch / 2 > parameters;
    return {tiny, halves};
}

} // namespace CR_ISA
} // namespace chainrule

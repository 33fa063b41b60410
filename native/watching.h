// What is noted for somebody who watches the run: C_i and the gradient norm of each sample, the norms of
// each layer's parameters, gradient and update, and the way of one parameter. Nothing here changes a number
// of the training.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

template <class T> double squares_of_row(const T* p, int count) {
    using Wide = typename Simd<T>::Wide;
    Wide sums{};
    int k = 0;
    for (; k + lanes<T> <= count; k += lanes<T>) {
        const Wide x = __builtin_convertvector(load_unaligned<T>(p + k), Wide);
        sums += x * x;
    }
    double sum = 0;
    for (int i = 0; i < lanes<T>; ++i) sum += sums[i];
    for (; k < count; ++k) sum += double(p[k]) * double(p[k]);
    return sum;
}

template <class T> void Trainer<T>::begin_watch() {
    const WatchData& watch = data_.watch;
    if (watch.steps_before) { // the powers that a whole epoch would have come to, to the bit
        const double start = static_cast<double>(run_step_ - watch.steps_before);
        beta1_power_ = __builtin_pow(beta1_, start), beta2_power_ = __builtin_pow(beta2_, start);
        for (std::int64_t s = 0; s < watch.steps_before; ++s) beta1_power_ *= beta1_, beta2_power_ *= beta2_;
    }
    if (!watch.every && !watch.trace) return;
    const std::size_t chunks = std::size_t(most_threads_) * chunk_size<T>;
    const std::size_t most = tiny_ ? parameters_ : chunks;
    if (watched_.size() < 2 * most) watched_.resize(2 * most);
    const int parts = 8 * larger(n_items_, L_ + 1);
    if (watched_parts_.size() < std::size_t(parts)) watched_parts_.resize(parts);
    if (!watch.trace) return;
    std::int64_t left = watch.traced;
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const std::int64_t weights = std::int64_t{layer.out} * layer.in, all = weights + (biases_ ? layer.out : 0);
        if (left < all) {
            const int unit = static_cast<int>(left < weights ? left / layer.in : left - weights);
            const int row = static_cast<int>(left < weights ? left % layer.in : layer.in);
            traced_ = {l, unit / panel_width<T>, row, row + 1};
            traced_column_ = unit % panel_width<T>;
            return;
        }
        left -= all;
    }
}

// The gradient norm is that of n s_i / (sum s) C_i, whose mean over the batch is the loss without penalty.
template <class T> void Trainer<T>::note_samples(const Batch& b, Range samples, const T* x, int ld_x) const {
    if (!data_.watch.sample_losses) return;
    for (int i = samples.first; i < samples.last; ++i) data_.watch.sample_losses[b.start + i] = C(b)[i];
    if (!notes_norms(b)) return;
    for (int i = samples.first; i < samples.last; ++i) {
        double total = 0;
        for (int l = 1; l <= L_; ++l) {
            const Layer<T>& layer = layers_[l];
            const T* below = l > 1 ? layers_[l - 1].a.get() + std::ptrdiff_t{i} * layers_[l - 1].ld
                                   : x + std::ptrdiff_t{i} * ld_x;
            const double inputs = squares_of_row<T>(below, layer.in) + (biases_ ? 1 : 0);
            total += inputs * squares_of_row<T>(layer.delta.get() + std::ptrdiff_t{i} * layer.ld, layer.out);
        }
        data_.watch.sample_norms[b.start + i] = __builtin_sqrt(total) * b.n;
    }
}

// Of a stretch of one panel, whose weights come before its biases; `before` and `g` are overwritten.
template <class T>
void Trainer<T>::note_update(const Batch& b, const Item& item, double* parts, T* before, T* g, const T* after,
                             T scale) {
    const Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    const std::ptrdiff_t weights = std::ptrdiff_t{smaller(item.last_row, layer.in) - item.first_row} * width;
    const std::ptrdiff_t biases = std::ptrdiff_t{item.last_row - item.first_row} * width - weights;
    if (data_.watch.trace && item.layer == traced_.layer && item.panel == traced_.panel &&
        item.first_row <= traced_.first_row && traced_.first_row < item.last_row) {
        const std::ptrdiff_t at = std::ptrdiff_t{traced_.first_row - item.first_row} * width + traced_column_;
        double* to = data_.watch.trace + 4 * b.step;
        to[0] = before[at], to[1] = g[at], to[2] = static_cast<T>(g[at] * scale), to[3] = after[at];
    }
    if (!notes_norms(b)) return;
    parts[0] = sum_of_squares<T>(before, weights), parts[4] = sum_of_squares<T>(before + weights, biases);
    parts[1] = parts[3] = sum_of_squares<T>(g, weights);
    parts[5] = parts[7] = sum_of_squares<T>(g + weights, biases);
    if (l2_ != 0) {
        const T l2 = static_cast<T>(l2_of_step_);
        for (std::ptrdiff_t i = 0; i < weights; i += lanes<T>)
            put<T>(g + i, get<T>(g + i) - l2 * get<T>(before + i));
        parts[3] = sum_of_squares<T>(g, weights);
    }
    for (std::ptrdiff_t i = 0; i < weights + biases; i += lanes<T>)
        put<T>(before + i, get<T>(after + i) - get<T>(before + i));
    parts[2] = sum_of_squares<T>(before, weights), parts[6] = sum_of_squares<T>(before + weights, biases);
}

template <class T>
void Trainer<T>::watched_update(const Batch& b, int index, const T* dW, T scale, int thread) {
    if (!notes_updates(b)) return update_item(index, dW, scale);
    const Item& item = items_[index];
    const Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    const T* w = layer.Wf.get() + layer.F.offset(item.panel) + std::ptrdiff_t{item.first_row} * width;
    const std::ptrdiff_t weights = std::ptrdiff_t{smaller(item.last_row, layer.in) - item.first_row} * width;
    const std::ptrdiff_t all = std::ptrdiff_t{item.last_row - item.first_row} * width;
    T* before = watched_.get() + std::ptrdiff_t{thread} * 2 * chunk_size<T>;
    T* g = before + chunk_size<T>;
    const T l2 = static_cast<T>(clip_norm_ > 0 ? 0 : l2_of_step_); // with clipping it is in dW already
    for (std::ptrdiff_t i = 0; i < all; i += lanes<T>) {
        const Vec<T> w_i = get<T>(w + i);
        put<T>(before + i, w_i);
        put<T>(g + i, i < weights ? get<T>(dW + i) + l2 * w_i : get<T>(dW + i));
    }
    update_item(index, dW, scale);
    note_update(b, item, &watched_parts_[8 * std::ptrdiff_t{index}], before, g, w, scale);
}

// The norms of each array of parameters, from the sums of squares of its stretches.
template <class T> void Trainer<T>::note_layers(const Batch& b) const {
    if (!notes_norms(b)) return;
    const std::int64_t every = data_.watch.every, first = data_.watch.first_step;
    const std::int64_t recorded = (first + b.step) / every - (first + every - 1) / every;
    const int kinds = biases_ ? 2 : 1;
    double* to = data_.watch.layer_norms + recorded * L_ * kinds * 4;
    for (int l = 1; l <= L_; ++l) {
        const int count = tiny_ ? 1 : layers_[l].chunks * layers_[l].F.count();
        const int first_part = tiny_ ? l : layers_[l].first_item;
        for (int k = 0; k < 4 * kinds; ++k) {
            double sum = 0;
            for (int i = 0; i < count; ++i) sum += watched_parts_[8 * std::ptrdiff_t{first_part + i} + k];
            *to++ = __builtin_sqrt(sum);
        }
    }
}

// For the steps of tiny.h: all parameters before the update, and afterwards what came of them. Its gradients
// stand behind them in `watched_`.
template <class T> void Trainer<T>::keep_tiny() {
    for (int l = 1; l <= L_; ++l)
        std::memcpy(watched_.get() + layers_[l].first_parameter, layers_[l].Wf.get(),
                    sizeof(T) * layers_[l].F.size());
}
template <class T> void Trainer<T>::note_tiny(const Batch& b) {
    for (int l = 1; l <= L_; ++l) {
        T* before = watched_.get() + layers_[l].first_parameter;
        note_update(b, {l, 0, 0, layers_[l].F.rows}, &watched_parts_[8 * l], before, before + parameters_,
                    layers_[l].Wf.get(), T(1));
    }
    note_layers(b);
}

} // namespace CR_ISA
} // namespace chainrule

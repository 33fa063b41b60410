// Parameters and optimiser slots in and out of the panels, and batches of samples into padded rows.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

// --- parameters in and out ---------------------------------------------------------------------

template <class T>
void Trainer<T>::load(const void* theta, const void* const* slots, std::int64_t step) {
    std::ptrdiff_t at = 0;
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        const std::ptrdiff_t W = at, b = at + std::ptrdiff_t{layer.out} * layer.in;
        const auto pack = [&](const void* flat, T* to) {
            const T* from = static_cast<const T*>(flat);
            pack_forward<T>(from + W, biases_ ? from + b : nullptr, layer.F, layer.in, to);
        };
        pack(theta, layer.Wf.get());
        if (l > 1) pack_backward<T>(static_cast<const T*>(theta) + W, layer.B, layer.in, layer.Wb.get());
        if (slots && layer.s1.size()) pack(slots[0], layer.s1.get());
        if (slots && layer.s2.size()) pack(slots[1], layer.s2.get());
        at = b + (biases_ ? layer.out : 0);
    }
    run_step_ = step;
    beta1_power_ = __builtin_pow(beta1_, static_cast<double>(step));
    beta2_power_ = __builtin_pow(beta2_, static_cast<double>(step));
}

template <class T> void Trainer<T>::store(void* theta, void* const* slots) const {
    std::ptrdiff_t at = 0;
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const std::ptrdiff_t W = at, b = at + std::ptrdiff_t{layer.out} * layer.in;
        const auto unpack = [&](const T* from, void* flat) {
            T* to = static_cast<T*>(flat);
            unpack_forward<T>(from, layer.F, layer.in, to + W, biases_ ? to + b : nullptr);
        };
        unpack(layer.Wf.get(), theta);
        if (layer.s1.size()) unpack(layer.s1.get(), slots[0]);
        if (layer.s2.size()) unpack(layer.s2.get(), slots[1]);
        at = b + (biases_ ? layer.out : 0);
    }
}

template <class T> void Trainer<T>::unpack(const void* gradient, void* g) const {
    T* to = static_cast<T*>(g);
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        T* b = to + std::ptrdiff_t{layer.out} * layer.in;
        unpack_forward<T>(static_cast<const T*>(gradient) + layer.first_parameter, layer.F, layer.in, to,
                          biases_ ? b : nullptr);
        to = b + (biases_ ? layer.out : 0);
    }
}

template <class T> bool Trainer<T>::parameters_finite() const {
    for (int l = 1; l <= L_; ++l) {
        Vec<T> zero{}; // 0 * x is 0 for every finite x, and NaN for the others
        const T* w = layers_[l].Wf.get();
        for (std::ptrdiff_t i = 0; i < layers_[l].F.size(); i += lanes<T>) zero += get<T>(w + i) * T(0);
        for (int i = 0; i < lanes<T>; ++i)
            if (!(zero[i] == T(0))) return false;
    }
    return true;
}

// --- batches ------------------------------------------------------------------------------------

template <class T> void Trainer<T>::make_side(int side) {
    const int ld = layers_[0].ld, inputs = layers_[0].out;
    x_[side].resize(std::size_t(batch_) * ld);
    y_[side].resize(std::size_t(batch_) * layers_[L_].ld);
    shares_[side].resize(batch_);
    for (std::int64_t i = 0; i < batch_; ++i) x_[side][i * ld + inputs] = T(1); // which meets the biases
}
template <class T> void Trainer<T>::begin_epoch(const EpochData& data) {
    data_ = data;
    if (data.n_samples > batch_ && shares_[1].size() == 0) make_side(1); // a batch and the next one
    double largest = 0;
    for (std::int64_t i = 0; data.sample_weights && i < data.n_samples; ++i)
        largest = data.sample_weights[row(i)] > largest ? data.sample_weights[row(i)] : largest;
    epoch_exponent_ = exponent(largest);
    const auto bytes = [&](const MatrixView& m) {
        return m.data ? data.n_samples * (m.row_stride < 0 ? -m.row_stride : m.row_stride) : 0;
    };
    asks_ahead_ = bytes(data.X) + bytes(data.y) > cached_data;
    begin_watch();
}

template <class T> typename Trainer<T>::Batch Trainer<T>::batch(std::int64_t step) const {
    const std::int64_t start = step * batch_, left = data_.n_samples - start;
    return {step, start, static_cast<std::uint32_t>(run_step_ + step - first_),
            static_cast<int>(left < batch_ ? left : batch_), static_cast<int>(step & 1)};
}

// The weight of a batch, and of this thread's samples their shares in it, s_i / sum s. Weights are brought
// near 1 by a power of two first, which changes no digit: so their sum neither overflows nor vanishes.
template <class T> void Trainer<T>::weigh_batch(const Batch& b, Range mine, int thread) {
    T* shares = shares_[b.side].get();
    if (!data_.sample_weights) {
        if (thread == 0) weight_[b.side] = {double(b.n), double(b.n)};
        const T equal = static_cast<T>(1.0 / b.n);
        for (int i = mine.first; i < mine.last; ++i) shares[i] = equal;
        return;
    }
    double largest = 0, sum = 0;
    for (int i = 0; i < b.n; ++i) {
        const double s = data_.sample_weights[row(b.start + i)];
        largest = s > largest ? s : largest;
    }
    const int power = exponent(largest);
    const double scale = __builtin_ldexp(1, -power);
    for (int i = 0; i < b.n; ++i) sum += data_.sample_weights[row(b.start + i)] * scale;
    if (thread == 0)
        weight_[b.side] = {__builtin_ldexp(sum, power), __builtin_ldexp(sum, power - epoch_exponent_)};
    for (int i = mine.first; i < mine.last; ++i)
        shares[i] = sum > 0 ? static_cast<T>(data_.sample_weights[row(b.start + i)] * scale / sum) : T(0);
}

// This thread's samples of a batch: x beside the 1 that meets the biases, y, and their shares.
template <class T> void Trainer<T>::gather_batch(const Batch& b, int thread, bool may_leave) {
    const Range mine = threads_ == 1 ? Range{0, b.n} : part_of(b.n, thread, threads_);
    weigh_batch(b, mine, thread);
    const EpochData& data = data_;
    const int inputs = layers_[0].out, ld_x = layers_[0].ld, outputs = layers_[L_].out, ld_y = layers_[L_].ld;
    const bool plain_X = is_plain<T>(data.X), plain_y = is_plain<T>(data.y) && !data.classes;
    const std::int64_t lines = plain_X ? (inputs * sizeof(T) + 63) / 64 : 1, asked = lines < 16 ? lines : 16;
    T* x = x_[b.side].get() + std::ptrdiff_t{mine.first} * ld_x;
    T* y = y_[b.side].get() + std::ptrdiff_t{mine.first} * ld_y;
    for (int i = mine.first; i < mine.last; ++i, x += ld_x, y += ld_y) {
        if (i % rows_between_polls == 0 && may_leave && poll_ && poll_says_stop(thread))
            return; // and the passes after it
        const std::int64_t sample = row(b.start + i);
        // The order jumps about in data that is larger than the cache: ask for the next batch's rows now.
        if (asks_ahead_ && b.start + i + batch_ < data.n_samples) {
            const std::int64_t soon = row(b.start + i + batch_);
            const char* next = row_of(data.X, soon);
            __builtin_prefetch(next);
            for (std::int64_t line = 1; line < asked; ++line) __builtin_prefetch(next + 64 * line);
            if (!data.classes) __builtin_prefetch(row_of(data.y, soon));
        }
        if (plain_X) copy_row<T>(row_of(data.X, sample), inputs, x);
        else gather<T>(data.X, sample, inputs, x);
        if (plain_y) {
            copy_row<T>(row_of(data.y, sample), outputs, y);
        } else if (data.classes) {
            std::memset(y, 0, sizeof(T) * outputs);
            // The array is the user's own, and may be written to while this goes on.
            const std::int64_t of_sample = data.classes[sample];
            if (of_sample >= 0 && of_sample < outputs) y[of_sample] = T(1);
        } else {
            gather<T>(data.y, sample, outputs, y);
        }
        for (int j = 0; row_loss_.weighs_targets() && j < outputs; ++j) y[j] *= row_loss_.weights[j];
    }
}

} // namespace CR_ISA
} // namespace chainrule

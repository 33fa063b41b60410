// dW, chunk by chunk, and the update that each chunk goes straight into.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

// --- dW = sum_i delta_i a_i^T, and the update -----------------------------------------------------

// The chunks that are a thread's. Where columns of a^(l-1) are gathered, those of the same columns follow
// one another.
template <class T> template <class F> void Trainer<T>::my_items(int thread, F&& f) const {
    for (int l = L_; l >= 1; --l) {
        const Layer<T>& layer = layers_[l];
        const int* cut = &thread_items_[std::ptrdiff_t(l) * (threads_ + 1) + thread];
        const int apart = layer.gathers ? layer.chunks : 1;
        for (int first = cut[0]; first < cut[0] + apart; ++first)
            for (int i = first; i < cut[1]; i += apart) f(i);
    }
}

template <class T> void Trainer<T>::gather_columns(const Batch& b, const Item& item, T* to) const {
    const int ld = layers_[item.layer - 1].ld, width = round_up(item.last_row - item.first_row, lanes<T>);
    const T* from = a(b, item.layer - 1) + item.first_row;
    for (int i = 0; i < b.n; ++i, from += ld, to += chunk_rows_limit<T>)
        for (int k = 0; k < width; k += lanes<T>) put<T>(to + k, get<T>(from + k));
}

// A chunk of dW: rows k of W^T (and the bias row), one panel of units j; sums over some samples.
template <class T>
void Trainer<T>::gradient_chunk(const Batch& b, const Item& item, Range samples, T* dW, int thread) {
    const Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    int below = layers_[item.layer - 1].ld;
    const T* a_below = a(b, item.layer - 1) + item.first_row + std::ptrdiff_t{samples.first} * below;
    if (layer.gathers) {
        T* columns = columns_.get() + std::ptrdiff_t{thread} * batch_ * chunk_rows_limit<T>;
        Item& of = columns_of_[thread];
        if (of.layer != item.layer || of.first_row != item.first_row) gather_columns(b, item, columns);
        of = item;
        a_below = columns, below = chunk_rows_limit<T>;
    }
    const T* delta = layer.delta.get() + item.panel * panel_width<T> + std::ptrdiff_t{samples.first} * layer.ld;
    panel_product<T>(item.last_row - item.first_row, width / lanes<T>, samples.last - samples.first, a_below, 1,
                     below, delta, layer.ld, dW, width);
}

template <class T> std::ptrdiff_t Trainer<T>::place(const Item& item) const {
    const Layer<T>& layer = layers_[item.layer];
    return layer.first_parameter + layer.F.offset(item.panel) +
           std::ptrdiff_t{item.first_row} * layer.F.width(item.panel);
}
// All of dW over one half of the batch, by the thread that carried it through the layers.
template <class T> void Trainer<T>::gradient_of_half(const Batch& b, int half) {
    for (int i = 0; i < n_items_ && !abort_.load(std::memory_order_relaxed); ++i)
        gradient_chunk(b, items_[i], part_of(b.n, half, 2), half_[b.side][half].get() + place(items_[i]), half);
}
// A chunk of dW over the whole batch.
template <class T> const T* Trainer<T>::gradient(const Batch& b, int index, int thread) {
    const Item& item = items_[index];
    T* dW = scratch_.get() + std::ptrdiff_t{thread} * 2 * chunk_size<T>;
    if (!halves_) {
        gradient_chunk(b, item, {0, b.n}, dW, thread);
        return dW;
    }
    const T* halves[2];
    for (int half = 0; half < 2; ++half) {
        T* to = dW + half * chunk_size<T>;
        halves[half] = threads_ == 2 ? half_[b.side][half].get() + place(item) : to;
        if (threads_ != 2) gradient_chunk(b, item, part_of(b.n, half, 2), to, thread);
    }
    const std::ptrdiff_t count =
        std::ptrdiff_t{item.last_row - item.first_row} * layers_[item.layer].F.width(item.panel);
    for (std::ptrdiff_t i = 0; i < count; i += lanes<T>)
        put<T>(dW + i, get<T>(halves[0] + i) + get<T>(halves[1] + i));
    return dW;
}

template <class T> void Trainer<T>::update_item(int index, const T* dW, T scale) {
    const T l2 = static_cast<T>(clip_norm_ > 0 ? 0 : l2_of_step_); // with clipping it is in dW already
    const Item& item = items_[index];
    const auto own = held(layers_[item.layer], 0);
    update_item(item, own, [&](T* w, T* s1, T* s2, std::ptrdiff_t from, std::ptrdiff_t n, bool decays) {
        update<T>(w, s1, s2, dW + from, n, scale, decays ? l2 : T(0), hyper_, rule_);
    });
}
template <class T> typename Trainer<T>::Stretch Trainer<T>::stretch(const Item& item) const {
    const Layer<T>& layer = layers_[item.layer];
    const std::ptrdiff_t width = layer.F.width(item.panel), rows = item.last_row - item.first_row;
    const std::ptrdiff_t weight_rows = smaller(item.last_row, layer.in) - item.first_row;
    return {layer.F.offset(item.panel) + item.first_row * width, weight_rows * width,
            (rows - weight_rows) * width};
}
// The sum of all w^2 of a chunk.
template <class T> double Trainer<T>::squares_of(const Item& item) const {
    const Stretch of = stretch(item);
    return sum_of_squares<T>(layers_[item.layer].Wf.get() + of.at, of.weights);
}
// Calls f(w, s1, s2, from, count, are weights) for the weights of a chunk and for its biases.
template <class T>
template <class F>
CR_INLINE void Trainer<T>::update_item(const Item& item, const Held& held, F&& f) {
    const Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    const auto [at, weights, biases] = stretch(item);
    T* w = held.Wf + at;
    T* s1 = held.s1 + at;
    T* s2 = held.s2 + at;
    f(w, s1, s2, std::ptrdiff_t{0}, weights, true);
    if (biases) f(w + weights, s1 + weights, s2 + weights, weights, biases, false);
    if (item.layer > 1 && hyper_.kind != Optimizer::gradient)
        refresh_backward<T>(held.Wf + layer.F.offset(item.panel), width, layer.F.real(item.panel),
                            item.panel * panel_width<T>, item.first_row, smaller(item.last_row, layer.in), layer.B,
                            held.Wb);
}

template <class T> void Trainer<T>::update_all(const Batch& b, int thread) {
    columns_of_[thread].layer = 0;
    const auto note_penalty = [&](int i) { // of the weights before the update, as the reported loss is
        if (l2_ != 0) l2_parts_[i] = squares_of(items_[i]);
    };
    if (clip_norm_ == 0) {
        my_items(thread, [&](int i) {
            if (leaves_update(thread)) return;
            const T* dW = gradient(b, i, thread);
            note_penalty(i);
            watched_update(b, i, dW, T(1), thread);
        });
        return;
    }
    my_items(thread, [&](int i) {
        if (leaves_update(thread)) return;
        const Item& item = items_[i];
        const auto [at, weights, biases] = stretch(item);
        Layer<T>& layer = layers_[item.layer];
        T* g = layer.dW.get() + at;
        const T* w = layer.Wf.get() + at;
        gradient_chunk(b, item, {0, b.n}, g, thread);
        note_penalty(i);
        if (l2_ != 0)
            for (std::ptrdiff_t k = 0; k < weights; ++k) g[k] += static_cast<T>(l2_of_step_) * w[k];
        norm_parts_[i] = sum_of_squares<T>(g, weights + biases);
    });
    barrier_.wait();
    double square = 0;
    for (int i = 0; i < n_items_; ++i) square += norm_parts_[i];
    const double norm = __builtin_sqrt(square);
    const T scale = norm > clip_norm_ ? static_cast<T>(clip_norm_ / norm) : T(1);
    my_items(thread, [&](int i) {
        watched_update(b, i, layers_[items_[i].layer].dW.get() + stretch(items_[i]).at, scale, thread);
    });
}

// --- the gradient itself --------------------------------------------------------------------------

template <class T>
bool Trainer<T>::sum_gradient(const EpochData& data, std::int64_t draw, BatchSums& sums) {
    begin_epoch(data);
    run_step_ = draw;
    EpochSums of{0, 0};
    run(0, 1, of, nullptr);
    const double weight = weight_[0].sum;
    sums = {weight, of.weight_sum > 0 ? weight * (of.loss_sum / of.weight_sum) : 0};
    return sums.loss * 0 == 0;
}
template <class T> void Trainer<T>::copy_gradient(void* to) const {
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        std::memcpy(static_cast<T*>(to) + layer.first_parameter, layer.s1.get(), sizeof(T) * layer.F.size());
    }
}
template <class T> CR_INLINE void add_numbers(T* to, const T* from, std::ptrdiff_t count) {
    for (std::ptrdiff_t i = 0; i < count; i += lanes<T>) put<T>(to + i, get<T>(to + i) + get<T>(from + i));
}
template <class T> void Trainer<T>::add_gradient(void* to) const {
    for (int l = 1; l <= L_; ++l)
        add_numbers(static_cast<T*>(to) + layers_[l].first_parameter, layers_[l].s1.get(), layers_[l].F.size());
}
template <class T>
void Trainer<T>::add(void* to, const void* from, std::size_t first, std::size_t last) const {
    const std::size_t at = first / sizeof(T), end = last / sizeof(T);
    add_numbers(static_cast<T*>(to) + at, static_cast<const T*>(from) + at, end - at);
}

} // namespace CR_ISA
} // namespace chainrule

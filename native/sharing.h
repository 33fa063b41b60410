// What a trainer is made of for a network and a plan, and which thread does what.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

template <class T> Trainer<T>::Trainer(const NetworkSpec& network, const PlanSpec& plan) {
    L_ = network.n_layers;
    layers_ = new Layer<T>[L_ + 1];
    biases_ = network.biases;
    l2_ = l2_of_step_ = network.l2, l2_per_sample_ = plan.l2_per_sample, largest_loss_ = plan.largest_loss;
    clip_norm_ = plan.clip_norm;
    hyper_ = hyper_of<T>(plan);
    beta1_ = plan.beta1, beta2_ = plan.beta2, weight_decay_ = plan.weight_decay;
    seed_ = plan.seed;
    batch_ = plan.batch_size;
    const int n = static_cast<int>(batch_);

    double weights = 0;
    parameters_ = 0;
    row_loss_ = row_loss_of(network, output_weights_);
    const Sums sums = sums_of(network, plan, lanes<T>, sizeof(T));
    tiny_ = sums.tiny, halves_ = sums.halves;
    for (int l = 0; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        layer.out = network.layers[l].units;
        layer.ld = row_length<T>(layer.out);
        if (l == 0) continue;
        layer.in = layers_[l - 1].out;
        layer.g = network.layers[l].activation;
        layer.both = network.layers[l].both;
        layer.dropout = network.layers[l].dropout;
        layer.keeps_derivative = l < L_ && (layer.dropout > 0 || !derivative_from_a<T>(layer.g));
        layer.F = {layer.in + (biases_ ? 1 : 0), layer.out};
        layer.B = {layer.out, layer.in};
        layer.Wf.resize(layer.F.size());
        if (l > 1) layer.Wb.resize(layer.B.size());
        if (slot_count(hyper_.kind) > 0) layer.s1.resize(layer.F.size());
        if (slot_count(hyper_.kind) > 1) layer.s2.resize(layer.F.size());
        if (clip_norm_ > 0) layer.dW.resize(layer.F.size());
        layer.a.resize(std::size_t(n) * layer.ld);
        layer.delta.resize(std::size_t(n) * layer.ld);
        if (layer.keeps_derivative) layer.d.resize(std::size_t(n) * layer.ld);
        weights += double(layer.in) * layer.out * (l == 1 ? 2 : 3);
        layer.first_parameter = parameters_;
        parameters_ += layer.F.size();
    }
    flops_ = 2 * weights * n;

    bool gathers = false;
    for (int l = 1; l <= L_; ++l) {
        const std::size_t below = std::size_t(n) * layers_[l - 1].ld * sizeof(T);
        layers_[l].gathers = !halves_ && n >= gathered_rows && below > gathered_bytes;
        gathers = gathers || layers_[l].gathers;
    }

    // By samples threads meet twice a step, and hand each other W; by units they meet at each layer, keep to
    // their own units' parameters, and hand each other a and delta.
    double handed = 0, of_samples = 0;
    for (int l = 1; l <= L_; ++l) {
        handed += double(layers_[l].F.size()) + (l > 1 ? double(layers_[l].B.size()) : 0);
        of_samples += double(n) * layers_[l].out;
    }
    by_samples_ = halves_ || (parameters_ * sizeof(T) <= cached_network && handed <= of_samples);

    most_threads_ = threads_ = tiny_ || flops_ < threads_pay_step ? 1 : larger(1, plan.threads);
    share_out();

    make_side(0);
    C_.resize(2 * std::size_t(n));
    if (l2_ != 0) l2_parts_.resize(n_items_);
    if (clip_norm_ > 0) norm_parts_.resize(n_items_);
    scratch_.resize(std::size_t(threads_) * 2 * chunk_size<T>);
    if (halves_ && threads_ >= 2) make_own();
    if (gathers) columns_.resize(std::size_t(threads_) * n * chunk_rows_limit<T>);
    columns_of_.resize(threads_);
    barrier_.reset(threads_);
}

// Decides which thread does what.
template <class T> void Trainer<T>::share_out() {
    const int n = static_cast<int>(batch_);
    const bool by_samples = n >= 2 * threads_ && by_samples_;
    all_by_samples_ = true;
    int n_items = 0;
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        const auto choose = [&](const Panels<T>& panels) {
            const int count = panels.count();
            if (by_samples || threads_ == 1) return Split::samples;
            if (count % threads_ == 0 || count >= 6 * threads_) return Split::units;
            return n >= 4 * threads_ || count < 2 ? Split::samples : Split::units;
        };
        layer.forward = choose(layer.F);
        layer.backward = choose(layer.B);
        if (layer.forward != Split::samples || (l > 1 && layer.backward != Split::samples))
            all_by_samples_ = false;
        // Chunks of at most 96 rows; more of them where there would be too few for the threads.
        // The cut depends on the layer and the batch alone, since partial sums follow it.
        const int limit = layer.gathers ? gathered_chunk_limit : chunk_limit;
        int chunks = (layer.in + limit - 1) / limit;
        while (chunks * layer.F.count() < 4 && (layer.in + chunks - 1) / chunks > lanes<T>) ++chunks;
        layer.chunk_rows = round_up((layer.in + chunks - 1) / chunks, lanes<T>);
        layer.chunks = (layer.in + layer.chunk_rows - 1) / layer.chunk_rows;
        layer.first_item = n_items;
        n_items += layer.chunks * layer.F.count();
    }
    n_items_ = n_items;
    items_.resize(n_items);
    for (int l = 1, i = 0; l <= L_; ++l)
        for (int p = 0; p < layers_[l].F.count(); ++p)
            for (int c = 0; c < layers_[l].chunks; ++c, ++i) {
                const int first = c * layers_[l].chunk_rows;
                // the bias row goes with the last chunk
                const int last = c == layers_[l].chunks - 1 ? layers_[l].F.rows : first + layers_[l].chunk_rows;
                items_[i] = {l, p, first, last};
            }
    // Each layer's items are shared out evenly and in order, so that a thread meets its own part of
    // W again in the forward pass.
    thread_items_.resize(std::size_t(L_ + 1) * (threads_ + 1));
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const int count = layer.chunks * layer.F.count();
        double of_layer = 0, before = 0;
        for (int i = 0; i < count; ++i) {
            const Item& item = items_[layer.first_item + i];
            of_layer += double(item.last_row - item.first_row) * layer.F.width(item.panel);
        }
        int* cut = &thread_items_[std::ptrdiff_t(l) * (threads_ + 1)];
        int t = 0;
        cut[0] = layer.first_item;
        for (int i = 0; i < count; ++i) {
            const Item& item = items_[layer.first_item + i];
            const double size = double(item.last_row - item.first_row) * layer.F.width(item.panel);
            const int owner = smaller(threads_ - 1, static_cast<int>((before + size / 2) * threads_ / of_layer));
            while (t < owner) cut[++t] = layer.first_item + i;
            before += size;
        }
        while (t < threads_) cut[++t] = layer.first_item + count;
    }
}

} // namespace CR_ISA
} // namespace chainrule

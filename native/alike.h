// Two threads that take half of a batch each, and each have parameters of their own: both do the whole
// update, from the same dW, so that all they hand each other is half of dW, once a step. What a thread
// writes and another reads would otherwise be W as well, and W once more for the backward pass.
//
// They meet once a step, so one may be a step ahead of the other: what both touch is there twice, by side.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

template <class T> void Trainer<T>::make_own() {
    for (auto& side : half_)
        for (Array<T>& half : side) half.resize(parameters_);
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        layer.own_Wf.resize(layer.Wf.size());
        if (l > 1) layer.own_Wb.resize(layer.Wb.size());
        if (layer.s1.size()) layer.own_s1.resize(layer.s1.size());
        if (layer.s2.size()) layer.own_s2.resize(layer.s2.size());
    }
}

// By thread 1, before the first step: what thread 0 has.
template <class T> void Trainer<T>::bring_own() {
    const auto copy = [](const Array<T>& from, Array<T>& to) {
        if (from.size()) std::memcpy(to.get(), from.get(), sizeof(T) * from.size());
    };
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        copy(layer.Wf, layer.own_Wf), copy(layer.Wb, layer.own_Wb);
        copy(layer.s1, layer.own_s1), copy(layer.s2, layer.own_s2);
    }
}

// What follows the passes of a step.
template <class T> void Trainer<T>::step_alike(const Batch& b, int thread) {
    gradient_alike(b, thread);
    if (thread == 0) {
        prepare_step(b);
        rules_[b.side] = {rule_, static_cast<T>(l2_of_step_)};
    }
    barrier_.wait();
    const double squares = update_alike(b, thread);
    if (b.step + 1 < first_ + count_) gather_batch(batch(b.step + 1), thread);
    if (thread == 0) sum_losses(b), add_to_sums(b, squares);
}

// dW over this thread's half of the batch.
template <class T> void Trainer<T>::gradient_alike(const Batch& b, int thread) {
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        for (int p = 0; p < layer.F.count(); ++p) {
            const Item item{l, p, 0, layer.F.rows};
            gradient_chunk(b, item, part_of(b.n, thread, 2), half_[b.side][thread].get() + place(item), thread);
        }
    }
}

// Returns the sum of all w^2 before it, to thread 0 where there is a penalty.
template <class T> double Trainer<T>::update_alike(const Batch& b, int thread) {
    const StepRule rule = rules_[b.side];
    double squares = 0;
    for (int i = 0; l2_ != 0 && thread == 0 && i < n_items_; ++i) squares += squares_of(items_[i]);
    for (int l = 1; l <= L_; ++l)
        for (int p = 0; p < layers_[l].F.count(); ++p) {
            const Item item{l, p, 0, layers_[l].F.rows};
            const T *first = half_[b.side][0].get() + place(item), *second = half_[b.side][1].get() + place(item);
            update_item(item, held(layers_[l], thread),
                        [&](T* w, T* s1, T* s2, std::ptrdiff_t from, std::ptrdiff_t n, bool decays) {
                            const T l2 = decays ? rule.l2 : T(0);
                            update<T>(w, s1, s2, first + from, second + from, n, T(1), l2, hyper_, rule.step);
                        });
        }
    return squares;
}

} // namespace CR_ISA
} // namespace chainrule

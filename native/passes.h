// The two passes of a step: forward with the activation in its epilogue, the loss, and backward with g'
// in its epilogue; each for a range of samples and of panels, as its caller shares them out.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

// --- forward: a^(l) = g(a^(l-1) W^T + b) ----------------------------------------------------------

template <class T> void Trainer<T>::forward(const Batch& b, int l, Range samples, Range panels, int thread) {
    const Layer<T>& layer = layers_[l];
    const int rows = samples.last - samples.first, below = layers_[l - 1].ld;
    if (rows <= 0) return;
    const T* a_below = a(b, l - 1) + std::ptrdiff_t{samples.first} * below;
    T* z = layer.a.get() + std::ptrdiff_t{samples.first} * layer.ld;
    const T* W = held(layer, thread).Wf;
    for (int p = panels.first; p < panels.last; ++p) {
        const int width = layer.F.width(p), unit = p * panel_width<T>;
        panel_product<T>(rows, width / lanes<T>, layer.F.rows, a_below, below, 1, W + layer.F.offset(p), width,
                         z + unit, layer.ld);
        if (l < L_) activate(b, l, samples, unit, width);
        if (poll_ && poll_says_stop(thread)) return;
    }
    // The 1 that meets the next layer's biases stands behind the last unit.
    if (l < L_ && panels.last == layer.F.count())
        for (int i = 0; i < rows; ++i) z[std::ptrdiff_t{i} * layer.ld + layer.out] = T(1);
}

// z becomes a in place; with dropout a = m g(z), and m g'(z) is kept.
template <class T> void Trainer<T>::activate(const Batch& b, int l, Range samples, int first_unit, int width) {
    const Layer<T>& layer = layers_[l];
    if (layer.g == Activation::identity && !layer.keeps_derivative) return;
    if (layer.g == Activation::custom) return activate_by_formula(b, l, samples, first_unit, width);
    alignas(64) T m[panel_width<T>];
    with_activation<T>(layer.g, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        for (int i = samples.first; i < samples.last; ++i) {
            T* z = layer.a.get() + std::ptrdiff_t{i} * layer.ld + first_unit;
            if (!layer.keeps_derivative) {
                for (int j = 0; j < width; j += lanes<T>) put<T>(z + j, G::value(get<T>(z + j)));
                continue;
            }
            T* d = layer.d.get() + std::ptrdiff_t{i} * layer.ld + first_unit;
            if (layer.dropout > 0)
                dropout_factors<T>(seed_, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(l), b.run_step,
                                   layer.dropout, first_unit, width, m);
            for (int j = 0; j < width; j += lanes<T>) {
                Vec<T> a_j, d_j;
                G::both(get<T>(z + j), a_j, d_j);
                if (layer.dropout > 0) {
                    const Vec<T> m_j = get<T>(m + j);
                    a_j *= m_j, d_j *= m_j;
                }
                put<T>(z + j, a_j);
                put<T>(d + j, d_j);
            }
        }
    });
}

template <class T>
void Trainer<T>::activate_by_formula(const Batch& b, int l, Range samples, int first_unit, int width) {
    const Layer<T>& layer = layers_[l];
    const auto at = [&](const Array<T>& array, int i, int v) CR_LAMBDA_INLINE {
        return const_cast<T*>(array.get()) + std::ptrdiff_t{samples.first + i} * layer.ld + first_unit +
               v * lanes<T>;
    };
    alignas(64) T m[panel_width<T>];
    int dropped = -1; // the sample that m belongs to
    by_formula<T, 1, 2>(
        *layer.both, samples.last - samples.first, width / lanes<T>,
        [&](int, int i, int v) CR_LAMBDA_INLINE { return get<T>(at(layer.a, i, v)); },
        [&](int i, int v, const Vec<T>* found) CR_LAMBDA_INLINE {
            Vec<T> a = found[0], d = found[1];
            // Behind the last unit z is 0, where a formula may be infinite.
            const int left = layer.out - first_unit - v * lanes<T>;
            if (left < lanes<T>) {
                const IVec<T> real = iota<T>() < IVec<T>{} + static_cast<typename Simd<T>::Int>(left);
                a = select<T>(real, a, Vec<T>{}), d = select<T>(real, d, Vec<T>{});
            }
            if (layer.dropout > 0) {
                if (dropped != i)
                    dropout_factors<T>(seed_, static_cast<std::uint32_t>(samples.first + i),
                                       static_cast<std::uint32_t>(l), b.run_step, layer.dropout, first_unit, width,
                                       m);
                dropped = i;
                const Vec<T> m_v = get<T>(m + v * lanes<T>);
                a *= m_v, d *= m_v;
            }
            put<T>(at(layer.a, i, v), a);
            put<T>(at(layer.d, i, v), d);
        });
}

// --- loss: C_i, a^(L) and delta^(L), already times s_i / sum s --------------------------------------

template <class T> void Trainer<T>::losses(const Batch& b, Range samples) {
    const Layer<T>& last = layers_[L_];
    double* of = C(b);
    for (int i = samples.first; i < samples.last; ++i) {
        T* z = last.a.get() + std::ptrdiff_t{i} * last.ld;
        of[i] = row_loss_(z, y_[b.side].get() + std::ptrdiff_t{i} * last.ld,
                          last.delta.get() + std::ptrdiff_t{i} * last.ld, shares_[b.side][i]);
        if (data_.outputs) {
            std::memcpy(static_cast<T*>(data_.outputs) + row(b.start + i) * last.out, z, sizeof(T) * last.out);
        }
    }
}

// --- backward: delta^(l-1) = (delta^(l) W^(l)) g'(z^(l-1)) ------------------------------------------

template <class T> void Trainer<T>::backward(int l, Range samples, Range panels, int thread) {
    const Layer<T>& layer = layers_[l];
    const Layer<T>& below = layers_[l - 1];
    const int rows = samples.last - samples.first;
    if (rows <= 0) return;
    const T* delta = layer.delta.get() + std::ptrdiff_t{samples.first} * layer.ld;
    T* delta_below = below.delta.get() + std::ptrdiff_t{samples.first} * below.ld;
    const T* W = held(layer, thread).Wb;
    for (int q = panels.first; q < panels.last; ++q) {
        const int width = layer.B.width(q), unit = q * panel_width<T>;
        panel_product<T>(rows, width / lanes<T>, layer.out, delta, layer.ld, 1, W + layer.B.offset(q), width,
                         delta_below + unit, below.ld);
        const T* kept = (below.keeps_derivative ? below.d.get() : below.a.get()) +
                        std::ptrdiff_t{samples.first} * below.ld + unit;
        T* to = delta_below + unit;
        const auto multiply = [&](auto derivative) CR_LAMBDA_INLINE {
            for (int i = 0; i < rows; ++i)
                for (int k = 0; k < width; k += lanes<T>) {
                    const std::ptrdiff_t at = std::ptrdiff_t{i} * below.ld + k;
                    put<T>(to + at, get<T>(to + at) * derivative(get<T>(kept + at)));
                }
        };
        if (below.keeps_derivative) multiply([](Vec<T> d) CR_LAMBDA_INLINE { return d; });
        else if (below.g != Activation::identity)
            with_activation<T>(below.g, [&](auto g) CR_LAMBDA_INLINE {
                using G = decltype(g);
                if constexpr (DerivativeFromA<G, T>)
                    multiply([](Vec<T> a) CR_LAMBDA_INLINE { return G::derivative(a); });
            });
        if (poll_ && poll_says_stop(thread)) return;
    }
}

} // namespace CR_ISA
} // namespace chainrule

// The step of a network whose layers fit into one vector each: no threads, no tiles, no calls from
// layer to layer. At 2-2-1 with one sample a step is two dozen multiply-adds and two tanh after one
// another; everything else must stay out of that chain.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

// Forward, loss and backward of `rows` samples from row `first` of the batch; returns their part of
// the batch's loss, or where that is computed from z, notes each one's C_i.
template <class T>
template <int rows>
double Trainer<T>::tiny_samples(const Batch& b, const T* x, int ld_x, int first) {
    constexpr int n = lanes<T>;
    Vec<T> v[rows];
    const T* below = x + std::ptrdiff_t{first} * ld_x;
    int ld_below = ld_x;
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const T* W = layer.Wf.get();
        const int in = layer.in;
        const Vec<T> bias = biases_ ? get<T>(W + in * n) : Vec<T>{};
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) v[i] = bias;
        for (int k = 0; k < in; ++k) {
            const Vec<T> w = get<T>(W + k * n);
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) v[i] += below[i * ld_below + k] * w;
        }
        if (l == L_) break;
        T* a = layer.a.get() + std::ptrdiff_t{first} * layer.ld;
        const int ld = layer.ld;
        with_activation<T>(layer.g, [&](auto g) CR_LAMBDA_INLINE {
            using G = decltype(g);
            if constexpr (!DerivativeFromA<G, T>) {
                T* d = layer.d.get() + std::ptrdiff_t{first} * ld;
#pragma GCC unroll 8
                for (int i = 0; i < rows; ++i) {
                    Vec<T> a_i, d_i;
                    if constexpr (rows == 1 && DerivativeBeside<G, T>) // the next layer waits for the value
                        a_i = G::value(v[i]), d_i = G::slope(v[i], a_i);
                    else G::both(v[i], a_i, d_i);
                    put<T>(a + i * ld, a_i);
                    put<T>(d + i * ld, d_i);
                }
            } else {
#pragma GCC unroll 8
                for (int i = 0; i < rows; ++i) put<T>(a + i * ld, G::value(v[i]));
            }
        });
        below = a, ld_below = ld;
    }

    const Layer<T>& last = layers_[L_];
    T* z = last.a.get() + std::ptrdiff_t{first} * last.ld;
    T* delta = last.delta.get() + std::ptrdiff_t{first} * last.ld;
    const T* y = y_[b.side].get() + std::ptrdiff_t{first} * last.ld;
    const T* share = shares_[b.side].get() + first;
    double loss = 0;
    if (row_loss_.from_a()) {
        Vec<T> sum{};
        const IVec<T> real = row_loss_.inside(0);
        Vec<T> a[rows] = {}, d[rows] = {};
        with_activation<T>(last.g, [&](auto g) CR_LAMBDA_INLINE {
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) decltype(g)::both(v[i], a[i], d[i]);
        });
        with_loss<T>(row_loss_.loss, [&](auto cost) CR_LAMBDA_INLINE {
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) {
                Vec<T> c, dC_da;
                decltype(cost)::both(a[i], get<T>(y + i * last.ld), c, dC_da);
                sum += c * share[i];
                if (data_.watch.sample_losses) {
                    C(b)[first + i] = 0;
                    for (int j = 0; j < last.out; ++j) C(b)[first + i] += double(c[j]);
                }
                v[i] = select<T>(real, dC_da * (d[i] * share[i]), Vec<T>{});
            }
        });
        for (int i = 0; i < rows; ++i) put<T>(delta + i * last.ld, v[i]);
        if (data_.outputs)
            for (int i = 0; i < rows; ++i) put<T>(z + i * last.ld, a[i]);
        for (int j = 0; j < last.out; ++j) loss += double(sum[j]);
    } else {
        for (int i = 0; i < rows; ++i) {
            put<T>(z + i * last.ld, v[i]);
            C(b)[first + i] = row_loss_(z + i * last.ld, y + i * last.ld, delta + i * last.ld, share[i]);
        }
    }
    if (data_.outputs)
        for (int i = 0; i < rows; ++i)
            std::memcpy(static_cast<T*>(data_.outputs) + row(b.start + first + i) * last.out, z + i * last.ld,
                        sizeof(T) * last.out);

    for (int l = L_; l > 1; --l) {
        const Layer<T>& layer = layers_[l];
        const Layer<T>& lower = layers_[l - 1];
        const T* W = layer.Wb.get();
        const T* above = layer.delta.get() + std::ptrdiff_t{first} * layer.ld;
        T* to = lower.delta.get() + std::ptrdiff_t{first} * lower.ld;
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) v[i] = Vec<T>{};
        for (int j = 0; j < layer.out; ++j) {
            const Vec<T> w = get<T>(W + j * n);
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) v[i] += above[i * layer.ld + j] * w;
        }
        const T* kept =
            (lower.keeps_derivative ? lower.d.get() : lower.a.get()) + std::ptrdiff_t{first} * lower.ld;
        if (lower.keeps_derivative) {
#pragma GCC unroll 8
            for (int i = 0; i < rows; ++i) put<T>(to + i * lower.ld, v[i] * get<T>(kept + i * lower.ld));
        } else {
            with_activation<T>(lower.g, [&](auto g) CR_LAMBDA_INLINE {
                using G = decltype(g);
                if constexpr (DerivativeFromA<G, T>)
#pragma GCC unroll 8
                    for (int i = 0; i < rows; ++i)
                        put<T>(to + i * lower.ld, v[i] * G::derivative(get<T>(kept + i * lower.ld)));
            });
        }
    }
    return loss;
}

// In four sums, since one alone would be waited for.
template <class T> [[gnu::noinline]] Vec<T> sum_of_rows(const T* rows, int ld, int count) {
    Vec<T> sums[4] = {};
    for (; count >= 4; count -= 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k, rows += ld) sums[k] += get<T>(rows);
    for (; count > 0; --count, rows += ld) sums[0] += get<T>(rows);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// dW and the update of every layer; returns the sum of the squared weights before it.
template <class T>
template <class Rule>
CR_INLINE double Trainer<T>::tiny_update(const Batch& b, const T* x, int ld_x, Rule) {
    constexpr int n = lanes<T>;
    Vec<T> squares{};
    const T l2 = static_cast<T>(l2_of_step_);
    const Hyper<T> hyper = hyper_;
    const Step<T> rule = rule_;
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        const T* a = l > 1 ? layers_[l - 1].a.get() : x;
        const int ld_a = l > 1 ? layers_[l - 1].ld : ld_x, ld = layer.ld, in = layer.in;
        const T* delta = layer.delta.get();
        T* W = layer.Wf.get();
        T* s1 = layer.s1.get();
        T* s2 = layer.s2.get();
        const T* dW = scratch_.get();
        T* noted = notes_updates(b) ? watched_.get() + parameters_ + layer.first_parameter : nullptr;
        const bool few = b.n < 4; // then the sums are too short for the kernel
        if (!few) panel_block<T>(in, 1, b.n, a, 1, ld_a, delta, ld, scratch_.get(), n, false);
        for (int k = 0; k < in; ++k) {
            Vec<T> g;
            if (few) {
                g = a[k] * get<T>(delta);
                for (int i = 1; i < b.n; ++i) g += a[i * ld_a + k] * get<T>(delta + i * ld);
            } else {
                g = get<T>(dW + k * n);
            }
            const Vec<T> w = get<T>(W + k * n);
            if (l2_ != 0) {
                g += l2 * w;
                squares += w * w;
            }
            if (noted) put<T>(noted + k * n, g);
            put<T>(W + k * n, updated<Rule::value, T>(w, g, s1 + k * n, s2 + k * n, hyper, rule));
        }
        if (biases_) {
            Vec<T> g = get<T>(delta);
            if (few)
                for (int i = 1; i < b.n; ++i) g += get<T>(delta + i * ld);
            else g = sum_of_rows<T>(delta, ld, b.n);
            if (noted) put<T>(noted + in * n, g);
            put<T>(W + in * n,
                   updated<Rule::value, T>(get<T>(W + in * n), g, s1 + in * n, s2 + in * n, hyper, rule));
        }
        if (l > 1) {
            T* Wb = layer.Wb.get();
            const int out = layer.out;
            if (in * out <= 4 * n || in < n || out < n) {
                for (int j = 0; j < out; ++j)
                    for (int k = 0; k < in; ++k) Wb[j * n + k] = W[k * n + j];
            } else {
                transpose_square<T>(W, n, Wb, n); // in == out == n
            }
        }
    }
    return l2_ != 0 ? sum_lanes<T>(squares) : 0.0;
}

template <class T> void Trainer<T>::tiny_steps() {
    // One sample at a time needs no copy of x.
    const bool direct = batch_ == 1 && is_plain<T>(data_.X) && !data_.classes && is_plain<T>(data_.y) &&
                        !data_.sample_weights && data_.X.row_stride % sizeof(T) == 0 &&
                        data_.y.row_stride % sizeof(T) == 0 &&
                        reinterpret_cast<std::uintptr_t>(data_.X.data) % sizeof(T) == 0 &&
                        reinterpret_cast<std::uintptr_t>(data_.y.data) % sizeof(T) == 0 && layers_[L_].out == 1;
    for (int side = 0; direct && side < 2 && shares_[side].size() > 0; ++side)
        shares_[side][0] = T(1), weight_[side] = {1, 1};
    with_optimizer(hyper_.kind, [&](auto kind) CR_LAMBDA_INLINE {
        for (std::int64_t s = first_; s < first_ + count_; ++s) {
            const Batch b = batch(s);
            const T* x = x_[b.side].get();
            int ld_x = layers_[0].ld;
            double loss = 0;
            if (direct) {
                const std::int64_t sample = row(b.start);
                if (asks_ahead_ && s + 12 < first_ + count_) { // the order jumps about
                    const std::int64_t soon = row(b.start + 12);
                    __builtin_prefetch(row_of(data_.X, soon));
                    __builtin_prefetch(row_of(data_.y, soon));
                }
                x = reinterpret_cast<const T*>(row_of(data_.X, sample));
                put<T>(y_[b.side].get(), splat<T>(*reinterpret_cast<const T*>(row_of(data_.y, sample))));
            } else {
                gather_batch(b, 0, true);
                if (abort_.load(std::memory_order_relaxed)) return;
            }
            prepare_step(b);
            int i = 0;
            for (; i + 8 <= b.n; i += 8) {
                if (i % rows_between_polls == 0 && poll_ && poll_says_stop(0)) return;
                loss += tiny_samples<8>(b, x, ld_x, i);
            }
            for (; i < b.n; ++i) loss += tiny_samples<1>(b, x, ld_x, i);
            batch_loss_ = told_loss_ = loss;
            if (!row_loss_.from_a()) sum_losses(b);
            note_samples(b, {0, b.n}, x, ld_x);
            const bool noting = notes_updates(b);
            if (noting) keep_tiny();
            add_to_sums(b, tiny_update(b, x, ld_x, kind));
            if (noting) note_tiny(b);
        }
    });
}

} // namespace CR_ISA
} // namespace chainrule

// Losses of one sample: C_i and delta^(L) = dC_i/dz^(L), as in losses.py.
#pragma once
#include "activations.h"

namespace chainrule {
namespace CR_ISA {

// c(a_j, y_j) and dc/da_j of one output.
template <class T> struct SquaredError {
    static CR_INLINE void both(Vec<T> a, Vec<T> y, Vec<T>& c, Vec<T>& v) {
        const Vec<T> d = a - y;
        c = d * d, v = d + d;
    }
};
template <class T> struct HalfSquaredError {
    static CR_INLINE void both(Vec<T> a, Vec<T> y, Vec<T>& c, Vec<T>& v) {
        v = a - y;
        c = v * v * T(0.5);
    }
};
template <class T> struct AbsoluteError {
    static CR_INLINE void both(Vec<T> a, Vec<T> y, Vec<T>& c, Vec<T>& v) {
        const Vec<T> d = a - y;
        c = abs<T>(d);
        const Vec<T> zero = T(0) * d; // 0 at the kink, as PyTorch takes it; NaN stays NaN
        v = d > T(0) ? splat<T>(1) : d < T(0) ? splat<T>(-1) : zero;
    }
};
template <class T> struct Huber {
    static CR_INLINE void both(Vec<T> a, Vec<T> y, Vec<T>& c, Vec<T>& v) {
        const Vec<T> d = a - y, size = abs<T>(d);
        c = size <= T(1) ? d * d * T(0.5) : size - T(0.5);
        v = clamp<T>(d, T(-1), T(1));
    }
};
template <class T> struct Poisson {
    static CR_INLINE void both(Vec<T> a, Vec<T> y, Vec<T>& c, Vec<T>& v) {
        const Vec<T> zero = splat<T>(0);
        c = a - (y == T(0) ? zero : y * log<T>(a));
        v = T(1) - (y == T(0) ? zero : y / a);
    }
};
// After a sigmoid, from z: softplus(z) - y z would cancel for large z and y = 1, so the two parts are
// kept apart: y softplus(-z) + (1 - y) softplus(z).
template <class T> struct BinaryCrossEntropy {
    static CR_INLINE Vec<T> value(Vec<T> z, Vec<T> y) {
        const Vec<T> tail = log1p_unit<T>(exp_not_large<T>(-abs<T>(z)));
        const Vec<T> up = z < T(0) ? splat<T>(0) : z, down = z > T(0) ? splat<T>(0) : -z;
        return y * (down + tail) + (T(1) - y) * (up + tail);
    }
};

// Calls f with the class of a loss that is computed from a.
template <class T, class F> CR_INLINE void with_loss(Loss loss, F&& f) {
    switch (loss) {
    case Loss::squared_error: return f(SquaredError<T>{});
    case Loss::half_squared_error: return f(HalfSquaredError<T>{});
    case Loss::absolute_error: return f(AbsoluteError<T>{});
    case Loss::huber: return f(Huber<T>{});
    case Loss::poisson: return f(Poisson<T>{});
    case Loss::cross_entropy:
    case Loss::binary_cross_entropy: return; // from z
    }
    __builtin_unreachable();
}

// One row: z (padded to whole vectors) becomes a in place; delta gets dC_i/dz times `share`
// (s_i / sum s), and 0 in the padding. Returns C_i.
template <class T> struct RowLoss {
    int units, vectors; // units_L, and the vectors that hold them
    Loss loss;
    Activation activation;

    CR_INLINE IVec<T> inside(int v) const {
        return iota<T>() + static_cast<typename Simd<T>::Int>(v * lanes<T>) <
               IVec<T>{} + static_cast<typename Simd<T>::Int>(units);
    }

    // Activation and loss act on each unit alone: a and g' first (in the places of z and delta), then
    // C_i and delta.
    double elementwise(T* z, const T* y, T* delta, T share) const {
        with_activation<T>(activation, [&](auto g) CR_LAMBDA_INLINE {
            for (int v = 0; v < vectors * lanes<T>; v += lanes<T>) {
                Vec<T> a, d;
                decltype(g)::both(load<T>(z + v), a, d);
                store<T>(z + v, a);
                store<T>(delta + v, d);
            }
        });
        Vec<T> sum{};
        with_loss<T>(loss, [&](auto cost) CR_LAMBDA_INLINE {
            for (int v = 0; v < vectors; ++v) {
                Vec<T> c, dC_da;
                const Vec<T> d = load<T>(delta + v * lanes<T>);
                decltype(cost)::both(load<T>(z + v * lanes<T>), load<T>(y + v * lanes<T>), c, dC_da);
                const IVec<T> real = inside(v);
                store<T>(delta + v * lanes<T>, select<T>(real, dC_da * d * share, Vec<T>{}));
                sum += select<T>(real, c, Vec<T>{});
            }
        });
        return sum_lanes<T>(sum);
    }

    // a = softmax(z) in place; returns ln sum e^(z - max), with max in `largest`.
    CR_INLINE double softmax_row(T* z, double& largest) const {
        T top = z[0];
        for (int j = 1; j < units; ++j) top = z[j] > top || top != top ? z[j] : top;
        Vec<T> sums{};
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> e = exp<T>(load<T>(z + v * lanes<T>) - top);
            const Vec<T> kept = select<T>(inside(v), e, Vec<T>{});
            store<T>(z + v * lanes<T>, kept);
            sums += kept;
        }
        const double sum = sum_lanes<T>(sums);
        for (int v = 0; v < vectors; ++v)
            store<T>(z + v * lanes<T>, load<T>(z + v * lanes<T>) / static_cast<T>(sum));
        largest = top;
        return __builtin_log(sum);
    }

    double cross_entropy(T* z, const T* y, T* delta, T share) const {
        T total = 0;
        double dot = 0, largest;
        for (int j = 0; j < units; ++j) total += y[j];
        T top = z[0];
        for (int j = 1; j < units; ++j) top = z[j] > top || top != top ? z[j] : top;
        for (int j = 0; j < units; ++j)
            dot += static_cast<double>(y[j]) * static_cast<double>(z[j] - top);
        const double log_sum = softmax_row(z, largest);
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> d = load<T>(z + v * lanes<T>) * total - load<T>(y + v * lanes<T>);
            store<T>(delta + v * lanes<T>, select<T>(inside(v), d * share, Vec<T>{}));
        }
        return static_cast<double>(total) * log_sum - dot;
    }

    double binary_cross_entropy(T* z, const T* y, T* delta, T share) const {
        Vec<T> sum{};
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> z_v = load<T>(z + v * lanes<T>), y_v = load<T>(y + v * lanes<T>);
            const Vec<T> a = sigmoid<T>(z_v);
            const IVec<T> real = inside(v);
            store<T>(z + v * lanes<T>, a);
            store<T>(delta + v * lanes<T>, select<T>(real, (a - y_v) * share, Vec<T>{}));
            sum += select<T>(real, BinaryCrossEntropy<T>::value(z_v, y_v), Vec<T>{});
        }
        return sum_lanes<T>(sum);
    }

    // softmax with any other loss: delta_j = a_j (v_j - sum_m v_m a_m), v = dC/da
    template <class Cost> double after_softmax(T* z, const T* y, T* delta, T share) const {
        double largest;
        softmax_row(z, largest);
        Vec<T> sum{}, dots{};
        for (int v = 0; v < vectors; ++v) {
            Vec<T> c, dC_da;
            const Vec<T> a = load<T>(z + v * lanes<T>);
            Cost::both(a, load<T>(y + v * lanes<T>), c, dC_da);
            const IVec<T> real = inside(v);
            sum += select<T>(real, c, Vec<T>{});
            dots += select<T>(real, dC_da * a, Vec<T>{});
            store<T>(delta + v * lanes<T>, dC_da);
        }
        const T dot = static_cast<T>(sum_lanes<T>(dots));
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> a = load<T>(z + v * lanes<T>);
            const Vec<T> d = a * (load<T>(delta + v * lanes<T>) - dot) * share;
            store<T>(delta + v * lanes<T>, select<T>(inside(v), d, Vec<T>{}));
        }
        return sum_lanes<T>(sum);
    }

    // C_i and delta need no more than each unit's own a.
    CR_INLINE bool from_a() const {
        return loss != Loss::cross_entropy && loss != Loss::binary_cross_entropy &&
               activation != Activation::softmax;
    }

    double operator()(T* z, const T* y, T* delta, T share) const {
        if (loss == Loss::cross_entropy) return cross_entropy(z, y, delta, share);
        if (loss == Loss::binary_cross_entropy) return binary_cross_entropy(z, y, delta, share);
        if (activation != Activation::softmax) return elementwise(z, y, delta, share);
        double C_i = 0;
        with_loss<T>(loss, [&](auto cost) CR_LAMBDA_INLINE {
            C_i = after_softmax<decltype(cost)>(z, y, delta, share);
        });
        return C_i;
    }
};

} // namespace CR_ISA
} // namespace chainrule

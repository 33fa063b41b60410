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

    // a = softmax(z) in place, from z - max z, so that no power overflows; gives max z, in every lane, and
    // ln sum e^(z - max). A NaN in z makes every a NaN.
    CR_INLINE T softmax_row(T* z, Vec<T>& top) const {
        top = splat<T>(-__builtin_huge_val());
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> z_v = load<T>(z + v * lanes<T>);
            top = inside(v) & (z_v > top) ? z_v : top;
        }
        top = largest_everywhere<T>(top);
        Vec<T> sum{};
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> e = exp<T>(load<T>(z + v * lanes<T>) - top);
            const Vec<T> kept = select<T>(inside(v), e, Vec<T>{});
            store<T>(z + v * lanes<T>, kept);
            sum += kept;
        }
        sum = sum_everywhere<T>(sum);
        for (int v = 0; v < vectors; ++v) store<T>(z + v * lanes<T>, load<T>(z + v * lanes<T>) / sum);
        return sizeof(T) == 4 ? __builtin_logf(sum[0]) : __builtin_log(sum[0]);
    }

    // C_i = (sum y) ln sum e^(z - max) - sum y (z - max)
    double cross_entropy(T* z, const T* y, T* delta, T share) const {
        Vec<T> top, total{}, dot{};
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> y_v = select<T>(inside(v), load<T>(y + v * lanes<T>), Vec<T>{});
            store<T>(delta + v * lanes<T>, load<T>(z + v * lanes<T>));
            total += y_v;
        }
        const T log_sum = softmax_row(z, top);
        total = sum_everywhere<T>(total);
        for (int v = 0; v < vectors; ++v) {
            const IVec<T> real = inside(v);
            const Vec<T> y_v = load<T>(y + v * lanes<T>), z_v = load<T>(delta + v * lanes<T>);
            dot += select<T>(real, y_v * (z_v - top), Vec<T>{});
            const Vec<T> d = load<T>(z + v * lanes<T>) * total - y_v;
            store<T>(delta + v * lanes<T>, select<T>(real, d * share, Vec<T>{}));
        }
        return double(total[0]) * double(log_sum) - double(sum_everywhere<T>(dot)[0]);
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
        Vec<T> top, sum{}, dots{};
        softmax_row(z, top);
        for (int v = 0; v < vectors; ++v) {
            Vec<T> c, dC_da;
            const Vec<T> a = load<T>(z + v * lanes<T>);
            Cost::both(a, load<T>(y + v * lanes<T>), c, dC_da);
            const IVec<T> real = inside(v);
            sum += select<T>(real, c, Vec<T>{});
            dots += select<T>(real, dC_da * a, Vec<T>{});
            store<T>(delta + v * lanes<T>, dC_da);
        }
        const Vec<T> dot = sum_everywhere<T>(dots);
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

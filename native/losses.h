// Losses of one sample: C_i and delta^(L) = dC_i/dz^(L), as in losses.py.
#pragma once
#include "activations.h"
#include "formulas.h"
#include "layout.h"
#include "sums.h"

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

// The losses below are computed from z, since a may round to 0 or 1 where its logarithm is taken: C_i of one
// output, a = g(z), and dC_i/dz with all its digits.

// After a sigmoid: softplus(z) - y z would cancel for large z and y = 1, so the two parts are kept apart:
// y softplus(-z) + (1 - y) softplus(z). The derivative is (1 - y) sigma(z) - y sigma(-z) = a - y.
template <class T> struct BinaryCrossEntropy {
    static CR_INLINE void both(Vec<T> z, Vec<T> y, Vec<T>& a, Vec<T>& c, Vec<T>& d) {
        const Vec<T> e = exp<T>(minus_abs<T>(z)), tail = log1p_unit<T>(e), other = T(1) - y;
        Vec<T> rest;
        sigmoids<T>(z, e, a, rest);
        c = y * (at_least(-z, T(0)) + tail) + other * (at_least(z, T(0)) + tail);
        d = other * a - y * rest;
    }
};
// a - y ln a and g'(z) (1 - y / a) = (g' / g) (a - y), with ln g and g' / g from z.
template <class T> struct PoissonOfSigmoid { // ln a = -softplus(-z), g' / g = sigma(-z)
    static CR_INLINE void both(Vec<T> z, Vec<T> y, Vec<T>& a, Vec<T>& c, Vec<T>& d) {
        const Vec<T> e = exp<T>(minus_abs<T>(z));
        Vec<T> rest;
        sigmoids<T>(z, e, a, rest);
        c = a + y * (at_least(-z, T(0)) + log1p_unit<T>(e));
        d = rest * (a - y);
    }
};
template <class T> struct PoissonOfSoftplus { // far below 0, where a is e^z, ln a = z and g' / g = 1
    static CR_INLINE void both(Vec<T> z, Vec<T> y, Vec<T>& a, Vec<T>& c, Vec<T>& d) {
        const Vec<T> e = exp<T>(minus_abs<T>(z));
        Vec<T> slope, rest;
        a = softplus<T>(z, e);
        sigmoids<T>(z, e, slope, rest);
        const IVec<T> is_power = z < Constants<T>::softplus_is_power;
        c = a - y * select<T>(is_power, z, log<T>(a));
        d = select<T>(is_power, splat<T>(1), slope / a) * (a - y);
    }
};

// Calls f with the class of a loss that is computed from a.
template <class T, class F> CR_INLINE void with_loss(Loss loss, F&& f) {
    switch (loss) {
    case Loss::squared_error: return f(SquaredError<T>{});
    case Loss::half_squared_error: return f(HalfSquaredError<T>{});
    case Loss::absolute_error: return f(AbsoluteError<T>{});
    case Loss::huber: return f(Huber<T>{});
    case Loss::poisson:
    case Loss::cross_entropy:
    case Loss::binary_cross_entropy: return; // from z
    case Loss::custom: return;               // formulas.h
    }
    __builtin_unreachable();
}

// One row: z (padded to whole vectors) becomes a in place; delta gets dC_i/dz times `share`
// (s_i / sum s), and 0 in the padding. Returns C_i.
template <class T> struct RowLoss {
    int units, vectors; // units_L, and the vectors that hold them
    Loss loss;
    Activation activation;
    const Formula* formula = nullptr; // of a custom activation or loss, as NetworkSpec has it
    const T* weights = nullptr;       // of the outputs, in whole vectors; or null

    // Cross-entropy is linear in y, which is where its outputs' weights are multiplied in.
    bool weighs_targets() const { return weights && loss == Loss::cross_entropy; }
    CR_INLINE Vec<T> weighted(Vec<T> x, int v) const { return weights ? x * load<T>(weights + v * lanes<T>) : x; }

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
                store<T>(delta + v * lanes<T>, select<T>(real, weighted(dC_da, v) * d * share, Vec<T>{}));
                sum += select<T>(real, weighted(c, v), Vec<T>{});
            }
        });
        return sum_lanes<T>(sum);
    }

    // Each unit alone, but from z.
    template <class Cost> double from_z(T* z, const T* y, T* delta, T share) const {
        Vec<T> sum{};
        for (int v = 0; v < vectors * lanes<T>; v += lanes<T>) {
            Vec<T> a, c, d;
            Cost::both(load<T>(z + v), load<T>(y + v), a, c, d);
            const IVec<T> real = inside(v / lanes<T>);
            store<T>(z + v, a);
            store<T>(delta + v, select<T>(real, weighted(d, v / lanes<T>) * share, Vec<T>{}));
            sum += select<T>(real, weighted(c, v / lanes<T>), Vec<T>{});
        }
        return sum_lanes<T>(sum);
    }

    // Each unit alone, by the formula of a, c and dc/dz.
    double by_its_formula(T* z, const T* y, T* delta, T share) const {
        Vec<T> sum{};
        by_formula<T, 2, 3>(
            *formula, 1, vectors,
            [=](int input, int, int v) CR_LAMBDA_INLINE { return load<T>((input ? y : z) + v * lanes<T>); },
            [&](int, int v, const Vec<T>* found) CR_LAMBDA_INLINE {
                const IVec<T> real = inside(v);
                store<T>(z + v * lanes<T>, found[0]);
                store<T>(delta + v * lanes<T>, select<T>(real, weighted(found[2], v) * share, Vec<T>{}));
                sum += select<T>(real, weighted(found[1], v), Vec<T>{});
            });
        return sum_lanes<T>(sum);
    }

    // e^(z - max z), so that no power overflows, in place of z, and their sum: `tops` powers are 1, and `rest`
    // is the sum of the others, which keeps its digits where it is small.
    struct Powers {
        Vec<T> top, tops, rest, sum; // the same in every lane; top = max z
    };
    CR_INLINE Powers powers(T* z) const {
        Powers p{splat<T>(-__builtin_huge_val()), {}, {}, {}};
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> z_v = load<T>(z + v * lanes<T>);
            p.top = (inside(v) & (z_v > p.top)) ? z_v : p.top;
        }
        p.top = largest_everywhere<T>(p.top);
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> z_v = load<T>(z + v * lanes<T>);
            const Vec<T> e = select<T>(inside(v), exp<T>(z_v - p.top), Vec<T>{});
            const IVec<T> is_top = inside(v) & (z_v == p.top);
            store<T>(z + v * lanes<T>, e);
            p.tops += select<T>(is_top, splat<T>(1), Vec<T>{});
            p.rest += select<T>(is_top, Vec<T>{}, e);
        }
        p.tops = sum_everywhere<T>(p.tops);
        p.rest = sum_everywhere<T>(p.rest); // NaN, if a z is
        p.sum = p.tops + p.rest;
        return p;
    }
    // ln (1 + rest) where rest is small, so that it keeps its digits.
    static CR_INLINE T log_of_sum(const Powers& p) {
        if (p.tops[0] == T(1) && p.rest[0] < T(0.5)) return log1p_unit<T>(p.rest)[0];
        return sizeof(T) == 4 ? __builtin_logf(p.sum[0]) : __builtin_log(p.sum[0]);
    }
    // a = softmax(z) in place. A NaN in z makes every a NaN.
    CR_INLINE Powers softmax(T* z) const {
        const Powers p = powers(z);
        for (int v = 0; v < vectors; ++v) store<T>(z + v * lanes<T>, load<T>(z + v * lanes<T>) / p.sum);
        return p;
    }

    // C_i = (sum y) ln sum e^(z - max) - sum y (z - max), delta_j = a_j sum y - y_j. With S = tops + rest for
    // the sum of powers, delta_j S is (sum y - tops y_j) - rest y_j where z_j = max z, and keeps its digits
    // where a_j rounds to 1.
    double cross_entropy(T* z, const T* y, T* delta, T share) const {
        Vec<T> total{}, dot{};
        for (int v = 0; v < vectors; ++v) {
            total += select<T>(inside(v), load<T>(y + v * lanes<T>), Vec<T>{});
            store<T>(delta + v * lanes<T>, load<T>(z + v * lanes<T>));
        }
        total = sum_everywhere<T>(total);
        const Powers p = powers(z);
        const Vec<T> part = share / p.sum;
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> y_v = load<T>(y + v * lanes<T>), e = load<T>(z + v * lanes<T>);
            const Vec<T> below_top = load<T>(delta + v * lanes<T>) - p.top;
            const IVec<T> real = inside(v), is_top = below_top == T(0);
            dot += select<T>(real & (y_v != T(0)), y_v * below_top, Vec<T>{}); // 0 * infinity is 0 here
            const Vec<T> d = select<T>(is_top, (total - p.tops * y_v) - p.rest * y_v, e * total - p.sum * y_v);
            store<T>(delta + v * lanes<T>, select<T>(real, d * part, Vec<T>{}));
            store<T>(z + v * lanes<T>, e / p.sum);
        }
        return double(total[0]) * double(log_of_sum(p)) - double(sum_everywhere<T>(dot)[0]);
    }

    // softmax with a loss of a: delta_j = a_j (v_j - sum_m v_m a_m), v = dC/da. The v of the largest a is taken
    // off all of them, which changes no delta and spares that one's the cancellation.
    template <class Cost> CR_INLINE double after_softmax(T* z, const T* y, T* delta, T share, Cost&& cost) const {
        const Vec<T> largest = splat<T>(1) / softmax(z).sum;
        Vec<T> sum{}, dots{}, of_largest = splat<T>(-__builtin_huge_val());
        for (int v = 0; v < vectors; ++v) {
            Vec<T> c, dC_da;
            const Vec<T> a = load<T>(z + v * lanes<T>);
            cost(a, load<T>(y + v * lanes<T>), c, dC_da);
            c = weighted(c, v), dC_da = weighted(dC_da, v);
            const IVec<T> real = inside(v);
            sum += select<T>(real, c, Vec<T>{});
            of_largest = (real & (a == largest) & (dC_da > of_largest)) ? dC_da : of_largest;
            store<T>(delta + v * lanes<T>, dC_da);
        }
        of_largest = largest_everywhere<T>(of_largest);
        for (int v = 0; v < vectors; ++v) {
            const Vec<T> dC_da = load<T>(delta + v * lanes<T>) - of_largest;
            dots += select<T>(inside(v), dC_da * load<T>(z + v * lanes<T>), Vec<T>{});
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

    CR_INLINE bool from_a() const { return loss_from_a(loss, activation); }

    double operator()(T* z, const T* y, T* delta, T share) const {
        if (loss == Loss::cross_entropy) return cross_entropy(z, y, delta, share);
        if (loss == Loss::binary_cross_entropy) return from_z<BinaryCrossEntropy<T>>(z, y, delta, share);
        if (loss == Loss::poisson && !formula) {
            if (activation == Activation::sigmoid) return from_z<PoissonOfSigmoid<T>>(z, y, delta, share);
            if (activation == Activation::softplus) return from_z<PoissonOfSoftplus<T>>(z, y, delta, share);
            return 1 + cross_entropy(z, y, delta, share); // sum a = 1, and the rest is the same
        }
        if (formula) {
            if (activation != Activation::softmax) return by_its_formula(z, y, delta, share);
            Registers<T> registers;
            return after_softmax(z, y, delta, share, [&](Vec<T> a, Vec<T> y_v, Vec<T>& c, Vec<T>& dC_da) {
                registers.of[0][0] = a, registers.of[1][0] = y_v;
                compute<T>(*formula, registers, 1);
                c = registers.of[formula->results[0]][0], dC_da = registers.of[formula->results[1]][0];
            });
        }
        if (activation != Activation::softmax) return elementwise(z, y, delta, share);
        double C_i = 0;
        with_loss<T>(loss, [&](auto cost) CR_LAMBDA_INLINE {
            C_i = after_softmax(z, y, delta, share,
                                [](Vec<T> a, Vec<T> y_v, Vec<T>& c, Vec<T>& dC_da)
                                    CR_LAMBDA_INLINE { decltype(cost)::both(a, y_v, c, dC_da); });
        });
        return C_i;
    }
};

// The loss of a network's rows; `weights` holds those of its outputs, in whole vectors.
template <class T> RowLoss<T> row_loss_of(const NetworkSpec& network, Array<T>& weights) {
    const LayerSpec& last = network.layers[network.n_layers];
    const int vectors = round_up(last.units, lanes<T>) / lanes<T>;
    if (network.output_weights) {
        weights.resize(std::size_t(vectors) * lanes<T>);
        for (int j = 0; j < last.units; ++j) weights[j] = static_cast<T>(network.output_weights[j]);
    }
    return {last.units,      vectors,        network.loss,
            last.activation, network.output, network.output_weights ? weights.get() : nullptr};
}

} // namespace CR_ISA
} // namespace chainrule

// Losses of one sample of many networks at once: as losses.h, but a unit is a vector of the networks' numbers.
#pragma once
#include "losses.h"

namespace chainrule {
namespace CR_ISA {

template <class T> struct LaneLoss {
    using V = Vec<T>;
    int units;
    int single; // lanes of the vectors in which a network alone has its units: sums are taken as there
    bool tiny;
    Loss loss;
    Activation activation;

    // The sum over units of f(j), in the order of losses.h: by places in its vectors, then their sum_everywhere.
    template <class F> CR_INLINE V over_units(F&& f) const {
        V sums[16] = {};
        for (int j = 0; j < units; ++j) sums[j % single] += f(j);
        for (int distance = single / 2; distance > 0; distance /= 2)
            for (int i = 0; i < distance; ++i) sums[i] += sums[i + distance];
        return sums[0];
    }

    V elementwise(V* z, const V* y, V* delta, V share) const {
        with_activation<T>(activation, [&](auto g) CR_LAMBDA_INLINE {
            for (int j = 0; j < units; ++j) {
                V a, d;
                decltype(g)::both(z[j], a, d);
                z[j] = a, delta[j] = d;
            }
        });
        V sum{};
        with_loss<T>(loss, [&](auto cost) CR_LAMBDA_INLINE {
            for (int j = 0; j < units; ++j) {
                V c, dC_da;
                decltype(cost)::both(z[j], y[j], c, dC_da);
                delta[j] = tiny ? dC_da * (delta[j] * share) : dC_da * delta[j] * share;
                sum += c;
            }
        });
        return sum;
    }

    template <class Cost> V from_z(V* z, const V* y, V* delta, V share) const {
        V sum{};
        for (int j = 0; j < units; ++j) {
            V a, c, d;
            Cost::both(z[j], y[j], a, c, d);
            z[j] = a, delta[j] = d * share;
            sum += c;
        }
        return sum;
    }

    struct Powers {
        V top, tops, rest, sum;
    };
    CR_INLINE Powers powers(V* z) const {
        Powers p{splat<T>(-__builtin_huge_val()), {}, {}, {}};
        for (int j = 0; j < units; ++j) p.top = z[j] > p.top ? z[j] : p.top;
        p.tops = over_units([&](int j) CR_LAMBDA_INLINE { return select<T>(z[j] == p.top, splat<T>(1), V{}); });
        p.rest = over_units([&](int j) CR_LAMBDA_INLINE {
            const V e = exp<T>(z[j] - p.top);
            const IVec<T> is_top = z[j] == p.top;
            z[j] = e;
            return select<T>(is_top, V{}, e);
        });
        p.sum = p.tops + p.rest;
        return p;
    }
    static CR_INLINE V log_of_sum(const Powers& p) {
        const V small = log1p_unit<T>(p.rest);
        V result;
        for (int q = 0; q < lanes<T>; ++q) {
            if (p.tops[q] == T(1) && p.rest[q] < T(0.5)) result[q] = small[q];
            else result[q] = sizeof(T) == 4 ? __builtin_logf(p.sum[q]) : __builtin_log(p.sum[q]);
        }
        return result;
    }
    V cross_entropy(V* z, const V* y, V* delta, V share, double* told) const {
        const V total = over_units([&](int j) CR_LAMBDA_INLINE { return y[j]; });
        for (int j = 0; j < units; ++j) delta[j] = z[j];
        const Powers p = powers(z);
        const V part = share / p.sum;
        V dot{};
        for (int j = 0; j < units; ++j) {
            const V y_j = y[j], e = z[j], below_top = delta[j] - p.top;
            const IVec<T> is_top = below_top == T(0);
            dot += select<T>(y_j != T(0), y_j * below_top, V{}); // 0 * infinity is 0 here
            const V d = select<T>(is_top, (total - p.tops * y_j) - p.rest * y_j, e * total - p.sum * y_j);
            delta[j] = d * part;
            z[j] = e / p.sum;
        }
        const V log = log_of_sum(p);
        for (int q = 0; q < lanes<T>; ++q) told[q] = double(total[q]) * double(log[q]) - double(dot[q]);
        return total * log - dot;
    }

    template <class Cost> V after_softmax(V* z, const V* y, V* delta, V share) const {
        const Powers p = powers(z);
        for (int j = 0; j < units; ++j) z[j] = z[j] / p.sum;
        const V largest = splat<T>(1) / p.sum;
        V sum{}, of_largest = splat<T>(-__builtin_huge_val());
        for (int j = 0; j < units; ++j) {
            V c, dC_da;
            Cost::both(z[j], y[j], c, dC_da);
            sum += c;
            of_largest = ((z[j] == largest) & (dC_da > of_largest)) ? dC_da : of_largest;
            delta[j] = dC_da;
        }
        const V dot = over_units([&](int j) CR_LAMBDA_INLINE {
            const V dC_da = delta[j] - of_largest;
            delta[j] = dC_da;
            return dC_da * z[j];
        });
        for (int j = 0; j < units; ++j) delta[j] = z[j] * (delta[j] - dot) * share;
        return sum;
    }

    // a^(L) in place of z, dC_i/dz times `share` in delta; returns C_i, and tells it of each lane as losses.h
    // does.
    CR_INLINE V operator()(V* z, const V* y, V* delta, V share, double* told) const {
        if (loss == Loss::cross_entropy) return cross_entropy(z, y, delta, share, told);
        const V C_i = other(z, y, delta, share, told);
        for (int q = 0; q < lanes<T>; ++q) told[q] = C_i[q];
        return C_i;
    }
    V other(V* z, const V* y, V* delta, V share, double* told) const {
        if (loss == Loss::binary_cross_entropy) return from_z<BinaryCrossEntropy<T>>(z, y, delta, share);
        if (loss == Loss::poisson) {
            if (activation == Activation::sigmoid) return from_z<PoissonOfSigmoid<T>>(z, y, delta, share);
            if (activation == Activation::softplus) return from_z<PoissonOfSoftplus<T>>(z, y, delta, share);
            return T(1) + cross_entropy(z, y, delta, share, told); // sum a = 1, and the rest is the same
        }
        if (activation != Activation::softmax) return elementwise(z, y, delta, share);
        V C_i{};
        with_loss<T>(loss,
                     [&](auto cost) CR_LAMBDA_INLINE { C_i = after_softmax<decltype(cost)>(z, y, delta, share); });
        return C_i;
    }
};

} // namespace CR_ISA
} // namespace chainrule

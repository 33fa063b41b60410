// Update rules on flat stretches of parameters, as in optimizers.py: theta, its slots and the
// gradient g lie in the same layout, so a rule is one loop.
#pragma once
#include "core.h"
#include "simd.h"

namespace chainrule {
namespace CR_ISA {

// What a rule needs at one step; t counts from 1.
template <class N> struct Step { // N: a number, or a vector of them where each lane has its own
    N eta;          // learning rate
    N adam_step;    // eta / (1 - beta1^t)
    N adam_root;    // 1 / sqrt(1 - beta2^t)
    N decay_factor; // 1 - eta weight_decay
};
template <class T> constexpr T smallest_normal = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
template <class T> constexpr T larger_of(T a, T b) { return a > b ? a : b; }
template <class T> struct Hyper {
    Optimizer kind;
    T momentum, rho, one_minus_rho, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
};

template <class T> Hyper<T> hyper_of(const PlanSpec& plan) {
    return {plan.optimizer,
            static_cast<T>(plan.momentum),
            static_cast<T>(plan.decay),
            static_cast<T>(1 - plan.decay),
            static_cast<T>(plan.beta1),
            static_cast<T>(1 - plan.beta1),
            static_cast<T>(plan.beta2),
            static_cast<T>(1 - plan.beta2),
            larger_of(static_cast<T>(plan.epsilon), smallest_normal<T>)}; // padding has 0 / (0 + epsilon)
}

template <Optimizer kind, class T, class N>
CR_INLINE Vec<T> updated(Vec<T> w, Vec<T> g, T* s1, T* s2, const Hyper<T>& h, const Step<N>& step) {
    if constexpr (kind == Optimizer::gradient) {
        store<T>(s1, step.eta * g);
        return w;
    } else if constexpr (kind == Optimizer::gradient_descent) {
        return w - step.eta * g;
    } else if constexpr (kind == Optimizer::momentum || kind == Optimizer::nesterov) {
        const Vec<T> v = h.momentum * load<T>(s1) + g;
        store<T>(s1, v);
        if constexpr (kind == Optimizer::momentum) return w - step.eta * v;
        return w - step.eta * (g + h.momentum * v);
    } else if constexpr (kind == Optimizer::adagrad) {
        const Vec<T> s = load<T>(s1) + g * g;
        store<T>(s1, s);
        return w - step.eta * g / (sqrt(s) + h.epsilon);
    } else if constexpr (kind == Optimizer::rmsprop) {
        const Vec<T> s = h.rho * load<T>(s1) + h.one_minus_rho * (g * g);
        store<T>(s1, s);
        return w - step.eta * g / (sqrt(s) + h.epsilon);
    } else {
        const Vec<T> m = h.beta1 * load<T>(s1) + h.one_minus_beta1 * g;
        const Vec<T> v = h.beta2 * load<T>(s2) + h.one_minus_beta2 * (g * g);
        store<T>(s1, m);
        store<T>(s2, v);
        if constexpr (kind == Optimizer::adamw) w = w * step.decay_factor;
        return w - step.adam_step * m / (sqrt(v) * step.adam_root + h.epsilon);
    }
}

// Calls f with the rule as a constant, so that loops are compiled once for each.
template <class F> CR_INLINE void with_optimizer(Optimizer kind, F&& f) {
    switch (kind) {
#define CR_CASE(name) \
    case Optimizer::name: return f(std::integral_constant<Optimizer, Optimizer::name>{});
        CR_OPTIMIZERS(CR_CASE)
        CR_CASE(gradient)
#undef CR_CASE
    }
}

// w, s1, s2 and what g(i) reads are whole vectors long; the gradient is scale * g(i) (+ l2 * w on weights).
template <class T, class N, class G>
CR_INLINE void update_by(T* w, T* s1, T* s2, G&& g, std::ptrdiff_t count, N scale, N l2, const Hyper<T>& h,
                         const Step<N>& step) {
    with_optimizer(h.kind, [&](auto kind) CR_LAMBDA_INLINE {
        for (std::ptrdiff_t i = 0; i < count; i += lanes<T>) {
            const Vec<T> w_i = load<T>(w + i);
            const Vec<T> g_i = g(i) * scale + l2 * w_i;
            const Vec<T> next = updated<decltype(kind)::value, T>(w_i, g_i, s1 + i, s2 + i, h, step);
            if constexpr (decltype(kind)::value != Optimizer::gradient) store<T>(w + i, next);
        }
    });
}
template <class T, class N>
void update(T* w, T* s1, T* s2, const T* g, std::ptrdiff_t count, N scale, N l2, const Hyper<T>& h,
            const Step<N>& step) {
    const auto at = [g](std::ptrdiff_t i) CR_LAMBDA_INLINE { return load<T>(g + i); };
    update_by<T>(w, s1, s2, at, count, scale, l2, h, step);
}
// The gradient is that of two parts.
template <class T, class N>
void update(T* w, T* s1, T* s2, const T* g, const T* more, std::ptrdiff_t count, N scale, N l2, const Hyper<T>& h,
            const Step<N>& step) {
    const auto at = [g, more](std::ptrdiff_t i) CR_LAMBDA_INLINE { return load<T>(g + i) + load<T>(more + i); };
    update_by<T>(w, s1, s2, at, count, scale, l2, h, step);
}

} // namespace CR_ISA
} // namespace chainrule

// Activation functions: g(z) beside g'(z), on one vector, as in activations.py.
//
// `both` gives the two from z, g' with all its digits also where a has lost them (1 - a^2 of a tanh that
// rounds to 1). A class with `derivative` can tell g' from a as exactly; of the others g' is computed in the
// forward pass and kept.
#pragma once
#include "core.h"
#include "vecmath.h"

namespace chainrule {
namespace CR_ISA {

template <class T> struct Identity {
    static CR_INLINE Vec<T> value(Vec<T> z) { return z; }
    static CR_INLINE Vec<T> derivative(Vec<T>) { return splat<T>(1); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = z, d = splat<T>(1); }
};
template <class T> struct Sigmoid {
    static CR_INLINE Vec<T> value(Vec<T> z) { return sigmoid<T>(z); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { // sigma(z) sigma(-z)
        Vec<T> rest;
        sigmoids<T>(z, a, rest);
        d = a * rest;
    }
};
template <class T> struct Tanh {
    static CR_INLINE Vec<T> value(Vec<T> z) { return tanh(z); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { tanh<T>(z, a, d); }
    // The derivative beside it, for who is in a hurry to have the value.
    static CR_INLINE Vec<T> slope(Vec<T> z, Vec<T> a) { return tanh_slope<T>(z, a); }
};
template <class T> struct ReLU {
    static CR_INLINE Vec<T> value(Vec<T> z) { return z < T(0) ? splat<T>(0) : z; } // NaN stays
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a > T(0) ? splat<T>(1) : splat<T>(0); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct LeakyReLU {
    static CR_INLINE Vec<T> value(Vec<T> z) { return z > T(0) ? z : z * T(0.01); }
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a > T(0) ? splat<T>(1) : splat<T>(0.01); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(z); }
};
template <class T> struct ELU {
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) {
        expm1<T>(z, a, d); // of no use where z > 0
        a = z > T(0) ? z : a, d = z > T(0) ? splat<T>(1) : d;
    }
    static CR_INLINE Vec<T> value(Vec<T> z) {
        Vec<T> a, d;
        both(z, a, d);
        return a;
    }
};
template <class T> struct GELU {
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) {
        Vec<T> distribution, density;
        normal<T>(z, distribution, density);
        a = z * distribution;
        d = distribution + z * density;
    }
    static CR_INLINE Vec<T> value(Vec<T> z) {
        Vec<T> a, d;
        both(z, a, d);
        return a;
    }
};
template <class T> struct SiLU {
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) {
        Vec<T> s, rest;
        sigmoids<T>(z, s, rest);
        a = z * s;
        d = s * (T(1) + z * rest);
    }
    static CR_INLINE Vec<T> value(Vec<T> z) { return z * sigmoid<T>(z); }
};
template <class T> struct Softplus {
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) {
        const Vec<T> e = exp<T>(minus_abs<T>(z));
        Vec<T> rest;
        a = softplus<T>(z, e);
        sigmoids<T>(z, e, d, rest);
    }
    static CR_INLINE Vec<T> value(Vec<T> z) { return softplus<T>(z); }
};

// Whether g' is told from a alone, or from z and a.
template <class G, class T>
concept DerivativeFromA = requires(Vec<T> a) { G::derivative(a); };
template <class G, class T>
concept DerivativeBeside = requires(Vec<T> z) { G::slope(z, z); };

// Calls f with the class of an activation that acts on each element alone; softmax comes as Identity,
// since it is applied to whole rows by the loss.
template <class T, class F> CR_INLINE void with_activation(Activation g, F&& f) {
    switch (g) {
    case Activation::sigmoid: return f(Sigmoid<T>{});
    case Activation::tanh: return f(Tanh<T>{});
    case Activation::relu: return f(ReLU<T>{});
    case Activation::leaky_relu: return f(LeakyReLU<T>{});
    case Activation::elu: return f(ELU<T>{});
    case Activation::gelu: return f(GELU<T>{});
    case Activation::silu: return f(SiLU<T>{});
    case Activation::softplus: return f(Softplus<T>{});
    case Activation::identity:
    case Activation::softmax: return f(Identity<T>{});
    case Activation::custom: break; // formulas.h
    }
    __builtin_unreachable();
}
template <class T> bool derivative_from_a(Activation kind) {
    bool from_a = false;
    if (kind == Activation::custom) return false;
    with_activation<T>(kind, [&](auto g) { from_a = DerivativeFromA<decltype(g), T>; });
    return from_a;
}
} // namespace CR_ISA
} // namespace chainrule

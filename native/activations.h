// Activation functions: g(z) beside g'(z), on one vector, as in activations.py.
//
// `derivative` gives g' from a = g(z) where that is exact enough; `needs_z` marks the others, whose
// derivative is computed beside the value in the forward pass and kept.
#pragma once
#include "core.h"
#include "vecmath.h"

namespace chainrule {
namespace CR_ISA {

template <class T> struct Identity {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return z; }
    static CR_INLINE Vec<T> derivative(Vec<T>) { return splat<T>(1); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = z, d = splat<T>(1); }
};
template <class T> struct Sigmoid {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return sigmoid<T>(z); }
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a * (T(1) - a); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct Tanh {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return tanh(z); }
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return T(1) - a * a; }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct ReLU {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return z < T(0) ? splat<T>(0) : z; } // NaN stays
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a > T(0) ? splat<T>(1) : splat<T>(0); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct LeakyReLU {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return z > T(0) ? z : z * T(0.01); }
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a > T(0) ? splat<T>(1) : splat<T>(0.01); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct ELU {
    static constexpr bool needs_z = false;
    static CR_INLINE Vec<T> value(Vec<T> z) { return z > T(0) ? z : expm1<T>(z); }
    // e^z = a + 1 where z <= 0, and 1 at z = 0 from both sides
    static CR_INLINE Vec<T> derivative(Vec<T> a) { return a > T(0) ? splat<T>(1) : a + T(1); }
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = derivative(a); }
};
template <class T> struct GELU {
    static constexpr bool needs_z = true;
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
    static CR_INLINE Vec<T> derivative(Vec<T>) { return splat<T>(0); } // never asked
};
template <class T> struct SiLU {
    static constexpr bool needs_z = true;
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) {
        const Vec<T> s = sigmoid<T>(z);
        a = z * s;
        d = s * (T(1) + z * sigmoid<T>(-z)); // sigma(-z) = 1 - sigma(z), exact in the tails
    }
    static CR_INLINE Vec<T> value(Vec<T> z) { return z * sigmoid<T>(z); }
    static CR_INLINE Vec<T> derivative(Vec<T>) { return splat<T>(0); } // never asked
};
template <class T> struct Softplus {
    static constexpr bool needs_z = true;
    static CR_INLINE void both(Vec<T> z, Vec<T>& a, Vec<T>& d) { a = value(z), d = sigmoid<T>(z); }
    static CR_INLINE Vec<T> value(Vec<T> z) { return softplus<T>(z); }
    static CR_INLINE Vec<T> derivative(Vec<T>) { return splat<T>(0); } // never asked
};

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
    }
    __builtin_unreachable();
}
inline bool needs_z(Activation g) {
    return g == Activation::gelu || g == Activation::silu || g == Activation::softplus;
}

} // namespace CR_ISA
} // namespace chainrule

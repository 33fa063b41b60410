// exp, log(1+u), tanh, the normal distribution: a few units in the last place, NaN in, NaN out, no
// tables, no branches. Polynomials are near-minimax fits made with mpmath (coefficients.py beside
// this file makes them again).
#pragma once
#include "simd.h"

namespace chainrule {
namespace CR_ISA {

// Powers ascend; Horner's scheme leaves one multiply-add a coefficient.
template <class T, int n> CR_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[n]) {
    Vec<T> p = splat<T>(c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; --i) p = p * x + c[i];
    return p;
}

template <class T> struct Constants;
template <> struct Constants<float> {
    static constexpr float round_to_int = 12582912.0f; // 1.5 * 2^23: adding it leaves the integer
    static constexpr float log2_e = 1.44269504089f;
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float exp_low = -104.0f, exp_high = 89.0f, expm1_limit = 30.0f;
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
    // (e^r - 1 - r) / r^2 on |r| <= ln2 / 2
    static constexpr float exp_tail[] = {0.5000000014f,    0.1666666668f,    0.0416664642f,
                                         0.008333310845f,  0.001393373072f,  0.0001989108046f};
    // (2 atanh(s) / s - 2) / s^2 in s^2 on [0, 1/9]
    static constexpr float atanh_tail[] = {0.6666666732f, 0.3999970633f, 0.2859235799f,
                                           0.217065758f, 0.2322432922f};
    // e^(x^2) erfc(x) (1 + 2x) in t = (x - 2) / (x + 2)
    static constexpr float erfcx[] = {
        1.276978391f,      -0.09276381574f,  -0.1660310904f,   0.1640504971f,
        -0.05421199524f,   -0.008024739103f, 0.008689252695f,  0.001230503217f,
        -0.001395805088f,  -0.0003709284114f, 0.0001608403463f, 6.807514759e-5f};
};
template <> struct Constants<double> {
    static constexpr double round_to_int = 6755399441055744.0; // 1.5 * 2^52
    static constexpr double log2_e = 1.4426950408889634074;
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double exp_low = -746.0, exp_high = 710.0, expm1_limit = 80.0;
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
    static constexpr double exp_tail[] = {
        0.5,                       0.1666666666666667103,     0.04166666666666666978,
        0.00833333333332608312,    0.001388888888888371117,   0.0001984126987500227879,
        0.0000248015873256774619,  2.755725517000088744e-6,   2.755727347871858047e-7,
        2.510531272962210179e-8,   2.09147553258932022e-9};
    static constexpr double atanh_tail[] = {
        0.66666666666666666661, 0.40000000000000015496, 0.28571428571421936219,
        0.22222222223333060497, 0.18181818085922600213, 0.15384620257534106314,
        0.13333176845154815784, 0.11767999621908994712, 0.10480378055059916646,
        0.099421746268553625476, 0.063335142575231039087, 0.15232286637463645911};
    static constexpr double erfcx[] = {
        1.276978381552528718,      -0.09276382658574601116,  -0.1660303976152888362,
        0.1640512800334416669,     -0.05422000099207113883,  -0.008034015082381490865,
        0.008722653876530033307,   0.001271338964933005977,  -0.001456813956931684133,
        -0.0004543408208269841468, 0.0002063672802685968022, 0.0001510391230618837701,
        -1.510150925771987984e-6,  -0.00003642318484214354175, -0.00001349187186640395527,
        3.710456477895486875e-6,   5.220886777056341933e-6,  1.504090471146755503e-6,
        -6.878048091518103378e-7,  -8.34251590862639601e-7,  -2.772830092070181001e-7,
        1.358916720521425784e-7,   1.800943602013930195e-7,  3.084586816533899891e-8,
        -4.522966395219402577e-8,  -1.874418470245968757e-8, 4.761857829888925545e-9,
        2.811402672324179724e-9};
};

// x = k ln2 + r with |r| <= ln2 / 2; gives k as an integer vector and e^r - 1.
template <class T> CR_INLINE Vec<T> reduce_exp(Vec<T> x, IVec<T>& k) {
    using C = Constants<T>;
    const Vec<T> shifted = x * C::log2_e + C::round_to_int;
    const Vec<T> n = shifted - C::round_to_int;
    k = bits<T>(shifted) - bits<T>(splat<T>(C::round_to_int));
    Vec<T> r = x - n * C::ln2_high;
    r = r - n * C::ln2_low;
    return r + r * r * polynomial<T>(r, C::exp_tail);
}
template <class T> CR_INLINE Vec<T> power_of_two(IVec<T> k) {
    return from_bits<T>((k + Constants<T>::exponent_bias) << Constants<T>::mantissa_bits);
}

template <class T> CR_INLINE Vec<T> exp(Vec<T> x) {
    IVec<T> k;
    const Vec<T> m = reduce_exp<T>(clamp<T>(x, Constants<T>::exp_low, Constants<T>::exp_high), k);
    // Two factors, so that neither leaves the exponent's range where the result is tiny or infinite.
    const IVec<T> half = k >> 1;
    return (m + T(1)) * power_of_two<T>(half) * power_of_two<T>(k - half);
}

// e^x for x <= 0 or small positive x, where one factor suffices; used inside other functions.
template <class T> CR_INLINE Vec<T> exp_not_large(Vec<T> x) {
    constexpr T low = sizeof(T) == 4 ? T(-87) : T(-708);
    IVec<T> k;
    const Vec<T> m = reduce_exp<T>(x < low ? splat<T>(low) : x, k);
    const Vec<T> s = power_of_two<T>(k);
    return m * s + s;
}

// e^x - 1 for x <= expm1_limit (e^x - 1 is -1 to rounding well above -expm1_limit for floats).
template <class T> CR_INLINE Vec<T> expm1(Vec<T> x) {
    constexpr T limit = Constants<T>::expm1_limit;
    IVec<T> k;
    const Vec<T> m = reduce_exp<T>(clamp<T>(x, -limit, limit), k);
    const Vec<T> s = power_of_two<T>(k);
    return s * m + (s - T(1));
}

// ln(1 + u) for u in [0, 1], by 2 atanh(s) with s = u / (2 + u).
template <class T> CR_INLINE Vec<T> log1p_unit(Vec<T> u) {
    const Vec<T> s = quotient(u, u + T(2));
    const Vec<T> s2 = s * s;
    return s * (s2 * polynomial<T>(s2, Constants<T>::atanh_tail) + T(2));
}

// The logarithm of positive normal numbers; 0 gives -inf, negative numbers NaN.
template <class T> CR_INLINE Vec<T> log(Vec<T> x) {
    Vec<T> r;
    for (int i = 0; i < lanes<T>; ++i) {
        if constexpr (sizeof(T) == 4)
            r[i] = __builtin_logf(x[i]);
        else
            r[i] = __builtin_log(x[i]);
    }
    return r;
}

// tanh z = z P(z^2) / Q(z^2), a minimax fit; beyond 8.4 the result is 1 to an ulp.
CR_INLINE Vec<float> tanh(Vec<float> z) {
    const Vec<float> u = z * z, u2 = u * u;
    // Estrin's scheme: the shortest chain, which a step of a tiny network waits for.
    const Vec<float> P = (u * 0.13379768745f + 0.999999979276f) +
                         u2 * ((u * 2.05843591442e-5f + 0.00349409290358f) + u2 * 1.33201341954e-8f);
    const Vec<float> Q = (u * 0.467130840655f + 1.0f) +
                         u2 * ((u * 0.00032831847206f + 0.0258713003688f) + u2 * 7.76248668069e-7f);
    const Vec<float> inside = quotient(z * P, Q);
    return ((abs<float>(z) > 8.4f) | (abs<float>(inside) > 1.0f)) ? copy_sign<float>(splat<float>(1), z)
                                                                : inside;
}
// tanh |z| = m / (m + 2) with m = e^(2|z|) - 1, accurate near 0 too.
CR_INLINE Vec<double> tanh(Vec<double> z) {
    const Vec<double> x = clamp<double>(abs<double>(z), 0.0, 20.0);
    const Vec<double> m = expm1<double>(x + x);
    return copy_sign<double>(m / (m + 2.0), z);
}

// sigma(z) = 1 / (1 + e^-z), without overflow: e^-|z| is in (0, 1].
template <class T> CR_INLINE Vec<T> sigmoid(Vec<T> z) {
    const Vec<T> e = exp_not_large<T>(-abs<T>(z));
    const Vec<T> numerator = z < T(0) ? e : splat<T>(1);
    return quotient(numerator, e + T(1));
}

// ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|)
template <class T> CR_INLINE Vec<T> softplus(Vec<T> z) {
    const Vec<T> e = exp_not_large<T>(-abs<T>(z));
    const Vec<T> positive = z < T(0) ? splat<T>(0) : z;
    return positive + log1p_unit<T>(e);
}

// Phi(z), the normal distribution, and phi(z), its density.
template <class T> CR_INLINE void normal(Vec<T> z, Vec<T>& distribution, Vec<T>& density) {
    constexpr T root_half = T(0.70710678118654752440), root_2pi_inverse = T(0.39894228040143267794);
    const Vec<T> x = abs<T>(z) * root_half;
    const Vec<T> e = exp_not_large<T>(z * z * T(-0.5));
    const Vec<T> t = (x - T(2)) / (x + T(2));
    const Vec<T> upper = T(0.5) * e * polynomial<T>(t, Constants<T>::erfcx) / (x + x + T(1));
    distribution = z < T(0) ? upper : T(1) - upper;
    density = e * root_2pi_inverse;
}

} // namespace CR_ISA
} // namespace chainrule

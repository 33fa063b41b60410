// exp, ln(1 + u), tanh, the normal distribution: a few units in the last place over the whole range, no
// tables, no branches. NaN in, NaN out. At the ends (0, infinity, underflow) a function gives its limit;
// what lies below the smallest normal number is rounded to a denormal one, as IEEE 754 has it, and not
// cut off. Polynomials are near-minimax fits made with mpmath (coefficients.py beside this file makes them
// again).
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
// The same from x and its square, which halves the chain: even and odd powers side by side.
template <class T, int n> CR_INLINE Vec<T> polynomial(Vec<T> x, Vec<T> x2, const T (&c)[n]) {
    Vec<T> p = splat<T>(c[n - 1]), q = splat<T>(c[n - 2]);
#pragma GCC unroll 16
    for (int i = n - 3; i > 0; i -= 2) p = p * x2 + c[i], q = q * x2 + c[i - 1];
    return n % 2 ? (p * x2 + c[0]) + q * x : p * x + q;
}

template <class T> struct Constants;
template <> struct Constants<float> {
    static constexpr float round_to_int = 12582912.0f; // 1.5 * 2^23: adding it leaves the integer
    static constexpr float log2_e = 1.44269504089f;
#if defined(__FMA__) || defined(__aarch64__)
    // Products are not rounded: what one number leaves of ln2, times the largest k, is 3e-7.
    static constexpr float ln2_high = 0.69314718056f, ln2_low = 0;
#else
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f; // k times `high` is exact
#endif
    static constexpr float exp_low = -106.0f; // 4 e^-106 rounds to 0
    static constexpr float exp_high = 89.0f;  // and e^89 to infinity
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
    static constexpr int lift = 64; // 2^(k + lift) is a normal number for every k of x >= exp_low
    static constexpr float unlift = 0x1p-64f, half_unlift = 0x1p-32f;
    static constexpr float softplus_is_power = -18.0f; // below it ln(1 + e^z) is e^z to rounding
    static constexpr float normal_limit = 15.0f; // beyond it Phi(-z) and phi(z) round to 0
    // (e^r - 1 - r) / r^2 on |r| <= ln2 / 2
    static constexpr float exp_tail[] = {0.5f, 0.1666657667f, 0.04166655421f, 0.008363232884f, 0.001392625083f};
    // (2 atanh(s) / s - 2) / s^2 in s^2 on [0, 1/9]
    static constexpr float atanh_tail[] = {0.6666666732f, 0.3999970633f, 0.2859235799f, 0.217065758f,
                                           0.2322432922f};
    // e^(x^2) erfc(x) (1 + 2x) in t = (x - 2) / (x + 2)
    static constexpr float erfcx[] = {1.276978391f,     -0.09276381574f,   -0.1660310904f,   0.1640504971f,
                                      -0.05421199524f,  -0.008024739103f,  0.008689252695f,  0.001230503217f,
                                      -0.001395805088f, -0.0003709284114f, 0.0001608403463f, 6.807514759e-5f};
};
template <> struct Constants<double> {
    static constexpr double round_to_int = 6755399441055744.0; // 1.5 * 2^52
    static constexpr double log2_e = 1.4426950408889634074;
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double exp_low = -748.0, exp_high = 710.0;
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
    static constexpr int lift = 512;
    static constexpr double unlift = 0x1p-512, half_unlift = 0x1p-256;
    static constexpr double softplus_is_power = -38.0;
    static constexpr double normal_limit = 39.0;
    static constexpr double exp_tail[] = {
        0.5000000000000001031,   0.1666666666666666746,    0.04166666666662382053,   0.008333333333330038197,
        0.001388888891736708056, 0.0001984126986317155603, 0.0000248015210578682052, 2.755726827690569619e-6,
        2.762020159103154879e-7, 2.5100472505694996e-8};
    static constexpr double atanh_tail[] = {
        0.66666666666666666661, 0.40000000000000015496,  0.28571428571421936219,  0.22222222223333060497,
        0.18181818085922600213, 0.15384620257534106314,  0.13333176845154815784,  0.11767999621908994712,
        0.10480378055059916646, 0.099421746268553625476, 0.063335142575231039087, 0.15232286637463645911};
    static constexpr double erfcx[] = {
        1.276978381552528718,     -0.09276382658574601116,    -0.1660303976152888362,     0.1640512800334416669,
        -0.05422000099207113883,  -0.008034015082381490865,   0.008722653876530033307,    0.001271338964933005977,
        -0.001456813956931684133, -0.0004543408208269841468,  0.0002063672802685968022,   0.0001510391230618837701,
        -1.510150925771987984e-6, -0.00003642318484214354175, -0.00001349187186640395527, 3.710456477895486875e-6,
        5.220886777056341933e-6,  1.504090471146755503e-6,    -6.878048091518103378e-7,   -8.34251590862639601e-7,
        -2.772830092070181001e-7, 1.358916720521425784e-7,    1.800943602013930195e-7,    3.084586816533899891e-8,
        -4.522966395219402577e-8, -1.874418470245968757e-8,   4.761857829888925545e-9,    2.811402672324179724e-9};
};

// e^x = 2^k (1 + m) for x <= 0, with k whole and m small. `lifted` is 2^(k + lift), a normal number
// wherever e^x is not 0; what it is multiplied into needs `unlift` once more.
template <class T> CR_INLINE Vec<T> reduce_exp(Vec<T> x, Vec<T>& lifted) {
    using C = Constants<T>;
    // Adding `place` leaves the exponent field of 2^(k + lift) in the lowest bits; n is k and the rest of it.
    constexpr T place = C::round_to_int + T(C::exponent_bias + C::lift);
    x = at_least(x, C::exp_low);
    const Vec<T> shifted = x * C::log2_e + place;
    const Vec<T> n = shifted - place;
    lifted = from_bits<T>(bits<T>(shifted) << C::mantissa_bits);
    Vec<T> r = x - n * C::ln2_high;
    if constexpr (C::ln2_low != 0) r = r - n * C::ln2_low;
    const Vec<T> r2 = r * r;
    return r + r2 * polynomial<T>(r, r2, C::exp_tail);
}

// e^x for x <= 0, from 1 down to 0.
template <class T> CR_INLINE Vec<T> exp(Vec<T> x) {
    Vec<T> lifted;
    const Vec<T> m = reduce_exp<T>(x, lifted);
    return (m * lifted + lifted) * Constants<T>::unlift;
}

// e^x - 1, without loss near 0, and e^x, for x <= 0.
template <class T> CR_INLINE void expm1(Vec<T> x, Vec<T>& power_less_1, Vec<T>& power) {
    Vec<T> lifted;
    const Vec<T> m = reduce_exp<T>(x, lifted), s = lifted * Constants<T>::unlift;
    power_less_1 = m * s + (s - T(1));
    power = (m * lifted + lifted) * Constants<T>::unlift;
}

// ln(1 + u) for u in [0, 1], by 2 atanh(s) with s = u / (2 + u).
template <class T> CR_INLINE Vec<T> log1p_unit(Vec<T> u) {
    const Vec<T> s = quotient(u, u + T(2));
    const Vec<T> s2 = s * s;
    return s * (s2 * polynomial<T>(s2, Constants<T>::atanh_tail) + T(2));
}

// The natural logarithm, number by number: that of the C library. 0 gives -infinity, below it NaN.
template <class T> CR_INLINE Vec<T> log(Vec<T> x) {
    Vec<T> r;
    for (int i = 0; i < lanes<T>; ++i) {
        if constexpr (sizeof(T) == 4) r[i] = __builtin_logf(x[i]);
        else r[i] = __builtin_log(x[i]);
    }
    return r;
}

// tanh z and 1 - tanh^2 z = 4 e / (1 + e)^2 with e = e^(-2|z|), which keeps its digits where tanh z rounds
// to 1: as 1 + |tanh z| = 2 / (1 + e), it is e (1 + |tanh z|)^2.
template <class T> CR_INLINE void tanh(Vec<T> z, Vec<T>& a, Vec<T>& d) {
    using C = Constants<T>;
    const Vec<T> x = minus_abs<T>(z);
    Vec<T> lifted;
    const Vec<T> m = reduce_exp<T>(x + x, lifted), s = lifted * C::unlift;
    const Vec<T> rest = (T(1) - s) - m * s; // 1 - e
    const Vec<T> size = quotient(rest, T(2) - rest), t = size * C::half_unlift + C::half_unlift;
    a = with_sign<T>(size, z);
    d = (m * lifted + lifted) * t * t;
}
// The same derivative where tanh z is there already.
template <class T> CR_INLINE Vec<T> tanh_slope(Vec<T> z, Vec<T> a) {
    using C = Constants<T>;
    const Vec<T> x = minus_abs<T>(z);
    Vec<T> lifted;
    const Vec<T> m = reduce_exp<T>(x + x, lifted);
    const Vec<T> t = abs<T>(a) * C::half_unlift + C::half_unlift;
    return (m * lifted + lifted) * t * t;
}
// tanh z alone = z P(z^2) / Q(z^2), a minimax fit; beyond 8.4 the result is 1 to an ulp.
CR_INLINE Vec<float> tanh(Vec<float> z) {
    const Vec<float> u = z * z, u2 = u * u;
    // Estrin's scheme: the shortest chain, which a step of a tiny network waits for.
    const Vec<float> P = (u * 0.13379768745f + 0.999999979276f) +
                         u2 * ((u * 2.05843591442e-5f + 0.00349409290358f) + u2 * 1.33201341954e-8f);
    const Vec<float> Q =
        (u * 0.467130840655f + 1.0f) + u2 * ((u * 0.00032831847206f + 0.0258713003688f) + u2 * 7.76248668069e-7f);
    const Vec<float> inside = quotient(z * P, Q);
    return ((abs<float>(z) > 8.4f) | (abs<float>(inside) > 1.0f)) ? with_sign<float>(splat<float>(1), z) : inside;
}
CR_INLINE Vec<double> tanh(Vec<double> z) {
    Vec<double> a, d;
    tanh<double>(z, a, d);
    return a;
}

// sigma(z) and sigma(-z) from e = e^-|z|, as e / (1 + e) and 1 / (1 + e): neither overflows, and neither
// loses digits to the other.
template <class T> CR_INLINE void sigmoids(Vec<T> z, Vec<T> e, Vec<T>& of_z, Vec<T>& of_minus_z) {
    const Vec<T> upper = quotient(splat<T>(1), e + T(1)), lower = e * upper;
    of_z = z < T(0) ? lower : upper, of_minus_z = z < T(0) ? upper : lower;
}
template <class T> CR_INLINE void sigmoids(Vec<T> z, Vec<T>& of_z, Vec<T>& of_minus_z) {
    sigmoids<T>(z, exp<T>(minus_abs<T>(z)), of_z, of_minus_z);
}
template <class T> CR_INLINE Vec<T> sigmoid(Vec<T> z) {
    Vec<T> of_z, of_minus_z;
    sigmoids<T>(z, of_z, of_minus_z);
    return of_z;
}

// ln(1 + e^z) = max(z, 0) + ln(1 + e) with e = e^-|z|
template <class T> CR_INLINE Vec<T> softplus(Vec<T> z, Vec<T> e) { return at_least(z, T(0)) + log1p_unit<T>(e); }
template <class T> CR_INLINE Vec<T> softplus(Vec<T> z) { return softplus<T>(z, exp<T>(minus_abs<T>(z))); }

// Phi(z), the normal distribution, and phi(z), its density.
template <class T> CR_INLINE void normal(Vec<T> z, Vec<T>& distribution, Vec<T>& density) {
    constexpr T root_half = T(0.70710678118654752440), root_2pi_inverse = T(0.39894228040143267794);
    using C = Constants<T>;
    const Vec<T> size = abs<T>(z), w = size > C::normal_limit ? splat<T>(C::normal_limit) : size;
    // What rounding takes from z^2 would be a factor of e^(-z^2 / 2) that counts: it is put back.
    const Vec<T> square = w * w, rest = square_rest(w, square);
    const Vec<T> power = exp<T>(square * T(-0.5)), e = power - power * (rest * T(0.5));
    const Vec<T> x = w * root_half;
    const Vec<T> t = (x - T(2)) / (x + T(2));
    const Vec<T> upper = T(0.5) * e * polynomial<T>(t, C::erfcx) / (x + x + T(1));
    distribution = z < T(0) ? upper : T(1) - upper;
    density = e * root_2pi_inverse;
}

// --- what only formulas of custom functions need (formulas.h) ---------------------------------------

// e^x for any x: 2^k comes in two factors, since one alone may be no normal number.
template <class T> CR_INLINE Vec<T> exp_of_any(Vec<T> x) {
    using C = Constants<T>;
    x = at_least(x, C::exp_low);
    x = x > C::exp_high ? splat<T>(C::exp_high) : x;
    const Vec<T> shifted = x * C::log2_e + C::round_to_int, n = shifted - C::round_to_int;
    Vec<T> r = x - n * C::ln2_high;
    if constexpr (C::ln2_low != 0) r = r - n * C::ln2_low;
    const Vec<T> r2 = r * r, m = r + r2 * polynomial<T>(r, r2, C::exp_tail);
    const IVec<T> k = bits<T>(shifted) - bits<T>(splat<T>(C::round_to_int)), half = k >> 1;
    const Vec<T> one = from_bits<T>((half + C::exponent_bias) << C::mantissa_bits);
    const Vec<T> other = from_bits<T>((k - half + C::exponent_bias) << C::mantissa_bits);
    return (m * one + one) * other;
}
// e^x - 1 for any x: from 0 to 1 it is p / (1 - p) with p = 1 - e^-x.
template <class T> CR_INLINE Vec<T> expm1_of_any(Vec<T> x) {
    Vec<T> below, unused;
    expm1<T>(minus_abs<T>(x), below, unused);
    const Vec<T> near = -below / (T(1) + below), far = exp_of_any<T>(x) - T(1);
    return x > T(1) ? far : x > T(0) ? near : below; // NaN stays
}
// sinh x and cosh x from p = 1 - e^-|x|; beyond 1 from e^(|x| / 2), whose square overflows where they do.
template <class T> CR_INLINE void sinh_cosh(Vec<T> x, Vec<T>& sinh, Vec<T>& cosh) {
    Vec<T> minus_p, e;
    expm1<T>(minus_abs<T>(x), minus_p, e);
    const Vec<T> root = exp_of_any<T>(abs<T>(x) * T(0.5)), half = root * T(0.5);
    const Vec<T> near = -minus_p * (T(2) + minus_p) / (e + e), far = half * root - e * T(0.5);
    sinh = with_sign<T>(abs<T>(abs<T>(x) > T(1) ? far : near), x);
    cosh = half * root + e * T(0.5);
}
// ln cosh x = |x| + ln (1 + e^-2|x|) - ln 2
template <class T> CR_INLINE Vec<T> ln_cosh(Vec<T> x) {
    const Vec<T> size = abs<T>(x);
    return size + (log1p_unit<T>(exp<T>(minus_abs<T>(x + x))) - T(0.69314718055994530942));
}

// sin x of doubles, or with `quarters` 1 cos x, by x = n pi / 2 + r; what is beyond a million goes to the C
// library, number by number.
template <class V, class I> CR_INLINE V sine(V x, std::int64_t quarters) {
    constexpr double round = 6755399441055744.0, limit = 1e6; // n is of 20 bits, and the first parts of 33
    constexpr double part[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69};
    constexpr double sin_tail[] = {-0.16666666666666664599, 0.0083333333333309245621,  -0.00019841269836722417756,
                                   2.755731608381635861e-6, -2.5051127944014187575e-8, 1.5917848524808261007e-10};
    constexpr double cos_tail[] = {0.041666666666666665373,    -0.0013888888888887382271,
                                   0.000024801587298743069286, -2.7557317260008838164e-7,
                                   2.0876143827993132496e-9,   -1.1382456778061305849e-11};
    const V shifted = x * 0.63661977236758134308 + round, n = shifted - round;
    const V r = ((x - n * part[0]) - n * part[1]) - n * part[2], u = r * r;
    V s = V{} + sin_tail[5], c = V{} + cos_tail[5];
    for (int i = 4; i >= 0; --i) s = s * u + sin_tail[i], c = c * u + cos_tail[i];
    s = r + r * u * s, c = (1.0 - u * 0.5) + u * u * c;
    const I k = (I)shifted + quarters;
    V result = (k & 1) != 0 ? c : s;
    result = (V)((I)result ^ ((k & 2) << 62));
    const I far = (I)((x < -limit) | (x > limit) | (x != x));
    std::int64_t any = 0;
    for (std::size_t i = 0; i < sizeof(V) / sizeof(double); ++i) any |= far[i];
    for (std::size_t i = 0; any && i < sizeof(V) / sizeof(double); ++i)
        if (!(__builtin_fabs(x[i]) <= limit)) result[i] = quarters ? __builtin_cos(x[i]) : __builtin_sin(x[i]);
    return result;
}
template <class T> CR_INLINE Vec<T> sine(Vec<T> x, std::int64_t quarters) {
    using Wide = typename Simd<T>::Wide;
    const Wide wide = __builtin_convertvector(x, Wide);
    return __builtin_convertvector(sine<Wide, typename Simd<T>::WideI>(wide, quarters), Vec<T>);
}

} // namespace CR_ISA
} // namespace chainrule

// One vector type for each element type, as wide as the flags of this translation unit allow.
// GCC's and Clang's vector extensions give arithmetic, comparison and selection on every target, so
// only a few operations name an instruction.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if !defined(__GNUC__) && !defined(__clang__)
#error "chainrule's core needs GCC or Clang (on Windows: clang-cl) for its vector extensions"
#endif

#ifndef CR_ISA
#error "CR_ISA names the instruction set's namespace"
#endif

#if defined(__AVX512F__)
#define CR_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define CR_VECTOR_BYTES 32
#else
#define CR_VECTOR_BYTES 16
#endif
#define CR_INLINE inline __attribute__((always_inline))
// A pointer that the compiler knows nothing about from here on.
#define CR_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define CR_LAMBDA_INLINE __attribute__((always_inline))

namespace chainrule {
namespace CR_ISA {

template <class T> struct Simd;
template <> struct Simd<float> {
    typedef float V __attribute__((vector_size(CR_VECTOR_BYTES)));
    typedef std::int32_t I __attribute__((vector_size(CR_VECTOR_BYTES)));
    typedef double Wide __attribute__((vector_size(CR_VECTOR_BYTES * 2))); // as many doubles
    typedef std::int64_t WideI __attribute__((vector_size(CR_VECTOR_BYTES * 2)));
    typedef std::int32_t Int;
    static constexpr int lanes = CR_VECTOR_BYTES / 4;
};
template <> struct Simd<double> {
    typedef double V __attribute__((vector_size(CR_VECTOR_BYTES)));
    typedef std::int64_t I __attribute__((vector_size(CR_VECTOR_BYTES)));
    typedef V Wide;
    typedef I WideI;
    typedef std::int64_t Int;
    static constexpr int lanes = CR_VECTOR_BYTES / 8;
};
template <class T> using Vec = typename Simd<T>::V;
template <class T> using IVec = typename Simd<T>::I;
template <class T> constexpr int lanes = Simd<T>::lanes;

// Registers decide how large a tile of the matrix kernel is.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int registers = 32;
#else
constexpr int registers = 16;
#endif

template <class T> CR_INLINE Vec<T> load(const T* p) { return *reinterpret_cast<const Vec<T>*>(p); }
template <class T> CR_INLINE void store(T* p, Vec<T> v) { *reinterpret_cast<Vec<T>*>(p) = v; }
template <class T> CR_INLINE Vec<T> load_unaligned(const T* p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class T> CR_INLINE void store_unaligned(T* p, Vec<T> v) { std::memcpy(p, &v, sizeof v); }
template <class T> CR_INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }
template <class T> CR_INLINE IVec<T> bits(Vec<T> v) { return (IVec<T>)v; }
template <class T> CR_INLINE Vec<T> from_bits(IVec<T> v) { return (Vec<T>)v; }

template <class T> CR_INLINE Vec<T> select(IVec<T> mask, Vec<T> yes, Vec<T> no) { return mask ? yes : no; }
// NaN in, NaN out: a comparison with NaN is false, so x must be what is kept then. The instructions keep
// their second operand.
CR_INLINE Vec<float> at_least(Vec<float> x, float low) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_max_ps((__m512)splat<float>(low), (__m512)x);
#elif defined(__AVX2__)
    return (Vec<float>)_mm256_max_ps((__m256)splat<float>(low), (__m256)x);
#elif defined(__x86_64__)
    return (Vec<float>)_mm_max_ps((__m128)splat<float>(low), (__m128)x);
#else
    return x < low ? splat<float>(low) : x;
#endif
}
CR_INLINE Vec<double> at_least(Vec<double> x, double low) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_max_pd((__m512d)splat<double>(low), (__m512d)x);
#elif defined(__AVX2__)
    return (Vec<double>)_mm256_max_pd((__m256d)splat<double>(low), (__m256d)x);
#elif defined(__x86_64__)
    return (Vec<double>)_mm_max_pd((__m128d)splat<double>(low), (__m128d)x);
#else
    return x < low ? splat<double>(low) : x;
#endif
}
template <class T> CR_INLINE Vec<T> clamp(Vec<T> x, T low, T high) {
    x = x < low ? splat<T>(low) : x;
    return x > high ? splat<T>(high) : x;
}
template <class T> constexpr typename Simd<T>::Int sign_bit = typename Simd<T>::Int(1) << (sizeof(T) * 8 - 1);
template <class T> CR_INLINE Vec<T> abs(Vec<T> x) { return from_bits<T>(bits<T>(x) & ~sign_bit<T>); }
// The magnitude has no sign.
template <class T> CR_INLINE Vec<T> with_sign(Vec<T> magnitude, Vec<T> sign) {
    return from_bits<T>(bits<T>(magnitude) | (bits<T>(sign) & sign_bit<T>));
}
template <class T> CR_INLINE Vec<T> minus_abs(Vec<T> x) { return from_bits<T>(bits<T>(x) | sign_bit<T>); }

CR_INLINE Vec<float> sqrt(Vec<float> x) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (Vec<float>)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
    return (Vec<float>)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__)
    return (Vec<float>)vsqrtq_f32((float32x4_t)x);
#else
    for (int i = 0; i < lanes<float>; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}
CR_INLINE Vec<double> sqrt(Vec<double> x) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
    return (Vec<double>)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
    return (Vec<double>)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
    return (Vec<double>)vsqrtq_f64((float64x2_t)x);
#else
    for (int i = 0; i < lanes<double>; ++i) x[i] = __builtin_sqrt(x[i]);
    return x;
#endif
}

// Without a fused multiply-add: z is cut at `low` bits, so that the products of its halves are exact.
template <class T>
CR_INLINE Vec<T> split_square_rest(Vec<T> z, Vec<T> square, typename Simd<T>::Int low) {
    const Vec<T> high = from_bits<T>(bits<T>(z) & ~low), rest = z - high;
    return ((high * high - square) + T(2) * high * rest) + rest * rest;
}
// z^2 - square, exactly, where `square` is z^2 as rounded; z^2 must be well inside of the range.
CR_INLINE Vec<float> square_rest(Vec<float> z, Vec<float> square) {
#if defined(__AVX512F__)
    return (Vec<float>)_mm512_fmsub_ps((__m512)z, (__m512)z, (__m512)square);
#elif defined(__FMA__)
    return (Vec<float>)_mm256_fmsub_ps((__m256)z, (__m256)z, (__m256)square);
#elif defined(__aarch64__)
    return (Vec<float>)vfmaq_f32((float32x4_t)-square, (float32x4_t)z, (float32x4_t)z);
#else
    return split_square_rest<float>(z, square, 0xfff);
#endif
}
CR_INLINE Vec<double> square_rest(Vec<double> z, Vec<double> square) {
#if defined(__AVX512F__)
    return (Vec<double>)_mm512_fmsub_pd((__m512d)z, (__m512d)z, (__m512d)square);
#elif defined(__FMA__)
    return (Vec<double>)_mm256_fmsub_pd((__m256d)z, (__m256d)z, (__m256d)square);
#elif defined(__aarch64__)
    return (Vec<double>)vfmaq_f64((float64x2_t)-square, (float64x2_t)z, (float64x2_t)z);
#else
    return split_square_rest<double>(z, square, 0x7ffffff);
#endif
}

// a / b for finite b away from 0 and from the largest numbers: within an ulp, cheaper than division
// where there is an estimate to start from.
CR_INLINE Vec<float> quotient(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__) && !defined(CR_PLAIN_QUOTIENT)
    Vec<float> r = (Vec<float>)_mm512_rcp14_ps((__m512)b);
    r = r + r * (1.0f - b * r);
    Vec<float> q = a * r;
    return q + r * (a - b * q);
#else
    return a / b;
#endif
}
CR_INLINE Vec<double> quotient(Vec<double> a, Vec<double> b) { return a / b; }

// Lane numbers 0, 1, 2, ...
template <class T, std::size_t... i> CR_INLINE IVec<T> iota_of(std::index_sequence<i...>) {
    return IVec<T>{static_cast<typename Simd<T>::Int>(i)...};
}
template <class T> CR_INLINE IVec<T> iota() { return iota_of<T>(std::make_index_sequence<lanes<T>>{}); }
// Sum of the lanes in a fixed order.
template <class T> CR_INLINE double sum_lanes(Vec<T> v) {
    double s = 0;
    for (int i = 0; i < lanes<T>; ++i) s += static_cast<double>(v[i]);
    return s;
}

// Sum of the squares of whole vectors, in double precision and a fixed order.
template <class T> double sum_of_squares(const T* p, std::ptrdiff_t count) {
    using Wide = typename Simd<T>::Wide;
    Wide sums[2] = {};
    for (std::ptrdiff_t i = 0, side = 0; i < count; i += lanes<T>, side = 1 - side) {
        const Wide x = __builtin_convertvector(load<T>(p + i), Wide);
        sums[side] += x * x;
    }
    double sum = 0;
    for (int i = 0; i < lanes<T>; ++i) sum += sums[0][i] + sums[1][i];
    return sum;
}

// The lanes in another order: lane i comes from lane i ^ distance.
template <class T, int distance, std::size_t... i>
CR_INLINE Vec<T> exchange_of(Vec<T> v, std::index_sequence<i...>) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(v, v, (static_cast<int>(i) ^ distance)...);
#else
    return __builtin_shuffle(v, IVec<T>{(static_cast<typename Simd<T>::Int>(i) ^ distance)...});
#endif
}
template <class T, int distance> CR_INLINE Vec<T> exchange(Vec<T> v) {
    return exchange_of<T, distance>(v, std::make_index_sequence<lanes<T>>{});
}
// The sum, or the largest, of all lanes, in every lane.
template <class T, int distance = lanes<T> / 2> CR_INLINE Vec<T> sum_everywhere(Vec<T> v) {
    v += exchange<T, distance>(v);
    if constexpr (distance > 1) v = sum_everywhere<T, distance / 2>(v);
    return v;
}
template <class T, int distance = lanes<T> / 2> CR_INLINE Vec<T> largest_everywhere(Vec<T> v) {
    const Vec<T> other = exchange<T, distance>(v);
    v = other > v ? other : v;
    if constexpr (distance > 1) v = largest_everywhere<T, distance / 2>(v);
    return v;
}

template <class T, int half, std::size_t... i>
CR_INLINE Vec<T> interleave_of(Vec<T> a, Vec<T> b, std::index_sequence<i...>) {
    constexpr int n = lanes<T>;
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, (static_cast<int>(i / 2 + half * (n / 2) + (i % 2) * n))...);
#else
    return __builtin_shuffle(a, b,
                             IVec<T>{static_cast<typename Simd<T>::Int>(i / 2 + half * (n / 2) + (i % 2) * n)...});
#endif
}
// a0 b0 a1 b1 ... of the lower (half = 0) or upper (half = 1) lanes.
template <class T, int half> CR_INLINE Vec<T> interleave(Vec<T> a, Vec<T> b) {
    return interleave_of<T, half>(a, b, std::make_index_sequence<lanes<T>>{});
}

// A square block of lanes x lanes, transposed in registers by log2(lanes) perfect shuffles.
template <class T>
CR_INLINE void transpose_square(const T* from, std::ptrdiff_t from_ld, T* to, std::ptrdiff_t to_ld) {
    constexpr int n = lanes<T>;
    Vec<T> r[n], s[n];
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) r[i] = load_unaligned<T>(from + i * from_ld);
#pragma GCC unroll 4
    for (int width = 1; width < n; width *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < n / 2; ++i) {
            s[2 * i] = interleave<T, 0>(r[i], r[i + n / 2]);
            s[2 * i + 1] = interleave<T, 1>(r[i], r[i + n / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < n; ++i) r[i] = s[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) store_unaligned<T>(to + i * to_ld, r[i]);
}

// to[c][r] = from[r][c] for a block of any shape.
template <class T>
void transpose(const T* from, std::ptrdiff_t from_ld, int rows, int columns, T* to, std::ptrdiff_t to_ld) {
    constexpr int n = lanes<T>;
    int r = 0;
    for (; r + n <= rows; r += n) {
        int c = 0;
        for (; c + n <= columns; c += n)
            transpose_square<T>(from + r * from_ld + c, from_ld, to + c * to_ld + r, to_ld);
        for (; c < columns; ++c)
            for (int i = r; i < r + n; ++i) to[c * to_ld + i] = from[i * from_ld + c];
    }
    for (; r < rows; ++r)
        for (int c = 0; c < columns; ++c) to[c * to_ld + r] = from[r * from_ld + c];
}

} // namespace CR_ISA
} // namespace chainrule

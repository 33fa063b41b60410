// Rows of the user's arrays, of any element type and strides, into padded rows of the core's type.
#pragma once
#include "core.h"
#include "layout.h"

namespace chainrule {
namespace CR_ISA {

// Powers of two that bring a weight near 1; within bounds that leave the factor a normal number.
inline int exponent(double weight) {
    if (!(weight > 0)) return 0;
    const int power = __builtin_ilogb(weight);
    return power < -1000 ? -1000 : power > 1000 ? 1000 : power;
}

template <class From, class T>
void gather_row(const char* from, std::int64_t stride, int n, T* to) {
    for (int j = 0; j < n; ++j) {
        From x;
        std::memcpy(&x, from + j * stride, sizeof x);
        to[j] = static_cast<T>(x);
    }
}
// The rows are the core's own numbers, side by side.
template <class T> bool is_plain(const MatrixView& m) {
    return m.element == (sizeof(T) == 4 ? Element::f32 : Element::f64) &&
           m.column_stride == static_cast<std::int64_t>(sizeof(T));
}
inline const char* row_of(const MatrixView& m, std::int64_t row) {
    return static_cast<const char*>(m.data) + row * m.row_stride;
}
template <class T, int count> CR_INLINE void copy_rest(const char* from, int n, int j, T* to) {
    if (n & count) {
        std::memcpy(to + j, from + j * sizeof(T), count * sizeof(T));
        j += count;
    }
    if constexpr (count > 1) copy_rest<T, count / 2>(from, n, j, to);
}
// A call of memcpy costs more than a short row; what is left behind whole vectors goes by halves of one.
template <class T> CR_INLINE void copy_row(const char* from, int n, T* to) {
    int j = 0;
    for (; j + lanes<T> <= n; j += lanes<T>) {
        Vec<T> v;
        std::memcpy(&v, from + j * sizeof(T), sizeof v);
        store_unaligned<T>(to + j, v);
    }
    copy_rest<T, lanes<T> / 2>(from, n, j, to);
}
template <class T> void gather(const MatrixView& from, std::int64_t row, int n, T* to) {
    const char* p = row_of(from, row);
    if (is_plain<T>(from)) return copy_row<T>(p, n, to);
    switch (from.element) {
    case Element::f32: return gather_row<float, T>(p, from.column_stride, n, to);
    case Element::f64: return gather_row<double, T>(p, from.column_stride, n, to);
    case Element::i8: return gather_row<std::int8_t, T>(p, from.column_stride, n, to);
    case Element::i16: return gather_row<std::int16_t, T>(p, from.column_stride, n, to);
    case Element::i32: return gather_row<std::int32_t, T>(p, from.column_stride, n, to);
    case Element::i64: return gather_row<std::int64_t, T>(p, from.column_stride, n, to);
    case Element::boolean:
    case Element::u8: return gather_row<std::uint8_t, T>(p, from.column_stride, n, to);
    case Element::u16: return gather_row<std::uint16_t, T>(p, from.column_stride, n, to);
    case Element::u32: return gather_row<std::uint32_t, T>(p, from.column_stride, n, to);
    case Element::u64: return gather_row<std::uint64_t, T>(p, from.column_stride, n, to);
    }
}

// Rows first .. last - 1 as T: side by side into `out`, where they are asked for. False if one is not finite.
template <class T>
bool read_rows(const MatrixView& from, std::int64_t first, std::int64_t last, int columns, T* out) {
    constexpr int piece = 1024; // numbers, which are looked at while they are in the cache
    T read[piece];
    Vec<T> sums[4] = {}; // 0 * x is 0 for every finite x, and NaN for the others
    T rest = 0;
    const bool in_place = is_plain<T>(from) && !out;
    for (std::int64_t row = first; row < last; ++row)
        for (int at = 0; at < columns; at += piece) {
            const int n = smaller(columns - at, piece);
            MatrixView part = from;
            part.data = row_of(from, row) + at * from.column_stride;
            const char* x = static_cast<const char*>(part.data);
            if (!in_place) {
                T* to = out ? out + row * columns + at : read;
                gather<T>(part, 0, n, to);
                x = reinterpret_cast<const char*>(to);
            }
            const auto vector = [x](int j) CR_LAMBDA_INLINE {
                Vec<T> v;
                std::memcpy(&v, x + j * sizeof(T), sizeof v);
                return v;
            };
            int j = 0;
            for (; j + 4 * lanes<T> <= n; j += 4 * lanes<T>)
#pragma GCC unroll 4
                for (int k = 0; k < 4; ++k) sums[k] += vector(j + k * lanes<T>) * T(0);
            for (; j < n; ++j) {
                T number;
                std::memcpy(&number, x + j * sizeof(T), sizeof number);
                rest += number * T(0);
            }
        }
    const Vec<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int i = 0; i < lanes<T>; ++i) rest += sum[i];
    return rest == T(0);
}

} // namespace CR_ISA
} // namespace chainrule

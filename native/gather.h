// Rows of the user's arrays, of any element type and strides, into padded rows of the core's type.
#pragma once
#include "core.h"
#include "layout.h"

namespace chainrule {
namespace CR_ISA {

template <class From, class T>
void gather_row(const char* from, std::int64_t stride, int n, T* to) {
    for (int j = 0; j < n; ++j) {
        From x;
        std::memcpy(&x, from + j * stride, sizeof x);
        to[j] = static_cast<T>(x);
    }
}
template <class T> void gather(const MatrixView& from, std::int64_t row, int n, T* to) {
    const char* p = static_cast<const char*>(from.data) + row * from.row_stride;
    const Element own = sizeof(T) == 4 ? Element::f32 : Element::f64;
    if (from.element == own && from.column_stride == sizeof(T)) {
        std::memcpy(to, p, sizeof(T) * n);
        return;
    }
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

} // namespace CR_ISA
} // namespace chainrule

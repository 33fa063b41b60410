// The matrix product of many networks at once: every number of B and C is a vector, one network to a lane.
#pragma once
#include <utility>

#include "simd.h"

namespace chainrule {
namespace CR_ISA {

// C[i][j] = begin[i][j] + sum_k A[i][k] B[k][j], on a tile of C that stays in registers. A is of vectors, or of
// numbers that all networks share. Steps are from one number to the next.
template <class T, class A, int rows, int columns>
void lane_tile(int depth, const A* a, std::ptrdiff_t a_row, std::ptrdiff_t a_step, const Vec<T>* b,
               std::ptrdiff_t b_step, std::ptrdiff_t b_column, Vec<T>* c, std::ptrdiff_t c_row,
               const Vec<T>* begin, std::ptrdiff_t begin_row) {
    Vec<T> sum[rows][columns];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) sum[i][j] = begin ? begin[i * begin_row + j] : Vec<T>{};
    for (int k = 0; k < depth; ++k, a += a_step, b += b_step) {
        Vec<T> b_k[columns];
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) b_k[j] = b[j * b_column];
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
            const A x = a[i * a_row];
#pragma GCC unroll 8
            for (int j = 0; j < columns; ++j) sum[i][j] += x * b_k[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) c[i * c_row + j] = sum[i][j];
}

// With 32 registers 5 x 5 sums, 5 of B and 1 of A; with 16 it is 3 x 3.
constexpr int lane_side = registers == 32 ? 5 : 3;

template <class T, class A>
using LaneTile = void (*)(int, const A*, std::ptrdiff_t, std::ptrdiff_t, const Vec<T>*, std::ptrdiff_t,
                          std::ptrdiff_t, Vec<T>*, std::ptrdiff_t, const Vec<T>*, std::ptrdiff_t);
template <class T, class A> struct LaneTiles {
    LaneTile<T, A> at[lane_side][lane_side];
    template <int i, std::size_t... j> constexpr void fill_row(std::index_sequence<j...>) {
        ((at[i][j] = lane_tile<T, A, i + 1, int(j) + 1>), ...);
    }
    template <std::size_t... i> constexpr void fill(std::index_sequence<i...>) {
        (fill_row<int(i)>(std::make_index_sequence<lane_side>{}), ...);
    }
    constexpr LaneTiles() : at{} { fill(std::make_index_sequence<lane_side>{}); }
};
template <class T, class A> inline constexpr LaneTiles<T, A> lane_tiles{};

// C = begin + A B for any size, `begin` null for 0. Rows and columns are shared out evenly over the tiles.
template <class T, class A>
void lane_product(int rows, int columns, int depth, const A* a, std::ptrdiff_t a_row, std::ptrdiff_t a_step,
                  const Vec<T>* b, std::ptrdiff_t b_step, std::ptrdiff_t b_column, Vec<T>* c, const Vec<T>* begin,
                  std::ptrdiff_t begin_row) {
    int down = (rows + lane_side - 1) / lane_side;
    for (int i = 0; i < rows; --down) {
        const int m = (rows - i + down - 1) / down;
        int across = (columns + lane_side - 1) / lane_side;
        for (int j = 0; j < columns; --across) {
            const int n = (columns - j + across - 1) / across;
            lane_tiles<T, A>.at[m - 1][n - 1](depth, a + i * a_row, a_row, a_step, b + j * b_column, b_step,
                                              b_column, c + std::ptrdiff_t{i} * columns + j, columns,
                                              begin ? begin + i * begin_row + j : nullptr, begin_row);
            j += n;
        }
        i += m;
    }
}

} // namespace CR_ISA
} // namespace chainrule

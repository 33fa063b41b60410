// The one matrix kernel of the core, C (+)= A B on a tile of C that stays in registers.
//
// A is read one number at a time and spread over a vector, with any two strides: rows of activations
// (forward), rows of delta (backward) or columns of activations (dW = delta^T a) are the same to it.
// B is a panel: up to `panel_vectors` vectors side by side, row k at B + k * ldb.
#pragma once
#include "simd.h"

namespace chainrule {
namespace CR_ISA {

// With 32 registers a tile is 6 rows x 4 vectors (24 sums, 4 of B, 1 of A), or a tall one of the same
// size where a panel is narrower; with 16 it is 6 x 2. A browser compiles WebAssembly for 16 registers too,
// but keeps some of them for itself, so that larger tiles than 4 x 2 spill.
constexpr int panel_vectors = registers == 32 ? 4 : 2;
constexpr int tallest_tile = 12;
constexpr int tile_rows(int vectors) {
#if defined(__wasm__)
    return vectors == 2 ? 4 : 6;
#else
    return registers == 32 ? (vectors == 4 ? 6 : vectors == 3 ? 8 : 12) : (vectors == 2 ? 6 : 12);
#endif
}
template <class T> constexpr int panel_width = panel_vectors * lanes<T>;
// k is cut so that a block of B (depth x panel) stays in the second-level cache beside much else.
constexpr int depth_block = 384;

template <class T, int rows, int vectors>
void tile(int depth, const T* A, std::ptrdiff_t row_step, std::ptrdiff_t k_step, const T* B, std::ptrdiff_t ldb,
          T* C, std::ptrdiff_t ldc, bool add) {
    constexpr int n = lanes<T>;
    Vec<T> sum[rows][vectors];
    const T* a[rows];
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
        a[m] = A + m * row_step;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sum[m][v] = Vec<T>{};
    }
    if (add) {
        const T* c = C;
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m, c += ldc) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[m][v] = load<T>(c + v * n);
        }
    }
    for (int k = 0; k < depth; ++k) {
        Vec<T> b[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) b[v] = load<T>(B + v * n);
        B += ldb;
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
            const T x = *a[m];
            a[m] += k_step;
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[m][v] += x * b[v];
        }
    }
    // The compiler must not keep two dozen addresses of C from above in registers that it lacks.
    CR_OPAQUE(C);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m, C += ldc) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) store<T>(C + v * n, sum[m][v]);
    }
}

template <class T>
using Tile = void (*)(int, const T*, std::ptrdiff_t, std::ptrdiff_t, const T*, std::ptrdiff_t, T*, std::ptrdiff_t,
                      bool);

// tiles[vectors - 1][rows - 1]; entries above tile_rows(vectors) would spill and stay null.
template <class T, int vectors, std::size_t... m>
constexpr void fill_tiles(Tile<T>* row, std::index_sequence<m...>) {
    ((row[m] = tile<T, static_cast<int>(m) + 1, vectors>), ...);
}
template <class T> struct Tiles {
    Tile<T> at[4][tallest_tile] = {};
    constexpr Tiles() {
        fill_tiles<T, 1>(at[0], std::make_index_sequence<tile_rows(1)>{});
        fill_tiles<T, 2>(at[1], std::make_index_sequence<tile_rows(2)>{});
        if constexpr (panel_vectors == 4) {
            fill_tiles<T, 3>(at[2], std::make_index_sequence<tile_rows(3)>{});
            fill_tiles<T, 4>(at[3], std::make_index_sequence<tile_rows(4)>{});
        }
    }
};
template <class T> inline constexpr Tiles<T> tiles{};

// C (+)= A B for any number of rows, one panel wide, one block of k deep. Rows are shared out evenly
// over the tiles, since a thin last tile cannot hide the latency of its sums.
template <class T>
void panel_block(int rows, int vectors, int depth, const T* A, std::ptrdiff_t row_step, std::ptrdiff_t k_step,
                 const T* B, std::ptrdiff_t ldb, T* C, std::ptrdiff_t ldc, bool add) {
    int left = (rows + tile_rows(vectors) - 1) / tile_rows(vectors);
    for (int r = 0; r < rows; --left) {
        const int m = (rows - r + left - 1) / left;
        tiles<T>.at[vectors - 1][m - 1](depth, A + r * row_step, row_step, k_step, B, ldb, C + r * ldc, ldc, add);
        r += m;
    }
}

// C = A B for any depth, one panel wide.
template <class T>
void panel_product(int rows, int vectors, int depth, const T* A, std::ptrdiff_t row_step, std::ptrdiff_t k_step,
                   const T* B, std::ptrdiff_t ldb, T* C, std::ptrdiff_t ldc) {
    int k = 0;
    do {
        // The last two blocks share what is left, for the same reason.
        const int left = depth - k;
        const int d = left <= depth_block ? left : left < 2 * depth_block ? (left + 1) / 2 : depth_block;
        panel_block<T>(rows, vectors, d, A + k * k_step, row_step, k_step, B + k * ldb, ldb, C, ldc, k > 0);
        k += d;
    } while (k < depth);
}

} // namespace CR_ISA
} // namespace chainrule

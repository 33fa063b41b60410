// Where numbers lie: matrices in panels of columns, activations in padded rows.
#pragma once
#include <cstdlib>

#include "core.h"
#include "kernel.h"

namespace chainrule {
namespace CR_ISA {

constexpr int round_up(int x, int m) { return (x + m - 1) / m * m; }
inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }

// Zeroed memory on whole cache lines; large blocks ask for large pages. Plain on purpose: templates
// of the standard library, compiled with this file's flags, could end up in code for other machines.
void* allocate_bytes(std::size_t bytes);
void release_bytes(void* p);

template <class T> class Array {
public:
    Array() {}
    ~Array() { release_bytes(data_); }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    void resize(std::size_t n) {
        release_bytes(data_);
        data_ = nullptr, size_ = 0; // what comes may throw
        data_ = static_cast<T*>(allocate_bytes(n * sizeof(T) + 64));
        size_ = n;
    }
    T* get() const { return data_; }
    T& operator[](std::ptrdiff_t i) const { return data_[i]; }
    std::size_t size() const { return size_; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

// A matrix rows x columns, cut into panels of `panel_width` columns (the last as wide as it needs to
// be, in whole vectors); in a panel row k follows row k - 1 directly.
template <class T> struct Panels {
    int rows = 0, columns = 0;
    int count() const { return (columns + panel_width<T> - 1) / panel_width<T>; }
    int width(int p) const { return smaller(panel_width<T>, round_up(columns, lanes<T>) - p * panel_width<T>); }
    int real(int p) const { return smaller(panel_width<T>, columns - p * panel_width<T>); }
    std::ptrdiff_t offset(int p) const { return std::ptrdiff_t{p} * panel_width<T> * rows; }
    std::ptrdiff_t size() const { return std::ptrdiff_t{rows} * round_up(columns, lanes<T>); }
};

// Numbers from one row of activations to the next: room for the constant 1 that carries the bias,
// whole cache lines, and an odd number of them, since rows a power of two apart would all fall into
// the same few sets of the cache.
template <class T> int row_length(int units) {
    constexpr int line = 64 / static_cast<int>(sizeof(T));
    const int lines = (units + line) / line;
    return (lines % 2 ? lines : lines + 1) * line;
}

// A layer's parameters: W^T over b in panels of units j ("forward": row k is input unit k, and the
// last row is b), and W in panels of input units k ("backward").
template <class T>
void pack_forward(const T* W, const T* b, const Panels<T>& F, int in, T* to) {
    for (int p = 0; p < F.count(); ++p) {
        T* panel = to + F.offset(p);
        const int width = F.width(p), real = F.real(p), j = p * panel_width<T>;
        if (real < width) std::memset(panel, 0, sizeof(T) * width * F.rows);
        transpose<T>(W + std::ptrdiff_t{j} * in, in, real, in, panel, width);
        if (b) std::memcpy(panel + std::ptrdiff_t{in} * width, b + j, sizeof(T) * real);
    }
}
template <class T>
void unpack_forward(const T* from, const Panels<T>& F, int in, T* W, T* b) {
    for (int p = 0; p < F.count(); ++p) {
        const T* panel = from + F.offset(p);
        const int width = F.width(p), real = F.real(p), j = p * panel_width<T>;
        transpose<T>(panel, width, in, real, W + std::ptrdiff_t{j} * in, in);
        if (b) std::memcpy(b + j, panel + std::ptrdiff_t{in} * width, sizeof(T) * real);
    }
}
template <class T> void pack_backward(const T* W, const Panels<T>& B, int in, T* to) {
    for (int q = 0; q < B.count(); ++q) {
        T* panel = to + B.offset(q);
        const int width = B.width(q), real = B.real(q), k = q * panel_width<T>;
        for (int j = 0; j < B.rows; ++j) {
            std::memcpy(panel + std::ptrdiff_t{j} * width, W + std::ptrdiff_t{j} * in + k, sizeof(T) * real);
            for (int i = real; i < width; ++i) panel[std::ptrdiff_t{j} * width + i] = T(0);
        }
    }
}
// Rows k0 .. k1 - 1 of one forward panel, written into the backward panels.
template <class T>
void refresh_backward(const T* forward_panel, int width, int real, int j, int k0, int k1, const Panels<T>& B,
                      T* to) {
    while (k0 < k1) {
        const int q = k0 / panel_width<T>, inside = k0 - q * panel_width<T>;
        const int end = smaller(k1, (q + 1) * panel_width<T>);
        transpose<T>(forward_panel + std::ptrdiff_t{k0} * width, width, end - k0, real,
                     to + B.offset(q) + std::ptrdiff_t{j} * B.width(q) + inside, B.width(q));
        k0 = end;
    }
}

} // namespace CR_ISA
} // namespace chainrule

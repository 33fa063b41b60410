// Compiled once for each instruction set, with that set's flags and CR_ISA as its namespace. All that
// leaves this file is one table.
#include "predictor.h"
#include "tiny.h"

#include <new>

#define CR_TEXT_OF(x) #x
#define CR_TEXT(x) CR_TEXT_OF(x)
#define CR_JOIN_OF(a, b) a##b
#define CR_JOIN(a, b) CR_JOIN_OF(a, b)

namespace chainrule {
namespace CR_ISA {

template <class T> Core* make_core(const NetworkSpec& network, const PlanSpec& plan) {
    return new Trainer<T>(network, plan);
}
template <class T> Predictor* make_predictor(const NetworkSpec& network, int threads) {
    return new ForwardOnly<T>(network, threads);
}

template <class T>
void activation(Activation kind, std::int64_t n, const T* z, T* a, T* d) {
    with_activation<T>(kind, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        for (std::int64_t i = 0; i < n; i += lanes<T>) {
            T in[lanes<T>] = {}, value[lanes<T>], slope[lanes<T>];
            const int count = static_cast<int>(n - i < lanes<T> ? n - i : lanes<T>);
            std::memcpy(in, z + i, sizeof(T) * count);
            Vec<T> a_i, d_i;
            G::both(load_unaligned<T>(in), a_i, d_i);
            store_unaligned<T>(value, a_i);
            store_unaligned<T>(slope, d_i);
            std::memcpy(a + i, value, sizeof(T) * count);
            std::memcpy(d + i, slope, sizeof(T) * count);
        }
    });
}

// C = A B by the path that training takes: B in panels, the result in padded rows.
template <class T> void product(int m, int n, int k, const T* A, const T* B, T* C) {
    const Panels<T> panels{k, n};
    Array<T> packed, rows;
    const int ld = row_length<T>(n);
    packed.resize(panels.size());
    rows.resize(std::size_t(m) * ld);
    for (int p = 0; p < panels.count(); ++p) {
        for (int i = 0; i < k; ++i)
            std::memcpy(packed.get() + panels.offset(p) + std::ptrdiff_t{i} * panels.width(p),
                        B + std::ptrdiff_t{i} * n + p * panel_width<T>, sizeof(T) * panels.real(p));
        panel_product<T>(m, panels.width(p) / lanes<T>, k, A, k, 1, packed.get() + panels.offset(p),
                         panels.width(p), rows.get() + p * panel_width<T>, ld);
    }
    for (int i = 0; i < m; ++i)
        std::memcpy(C + std::ptrdiff_t{i} * n, rows.get() + std::ptrdiff_t{i} * ld, sizeof(T) * n);
}

void dropout_words(std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step,
                   int units, std::uint32_t* words) {
    std::uint32_t four[4];
    for (int j = 0; j < units; j += 4) {
        philox_words(seed, row, layer, step, j, 4, four);
        for (int i = j; i < units && i < j + 4; ++i) words[i] = four[i - j];
    }
}

void* allocate_bytes(std::size_t bytes) { return chainrule_allocate(bytes); }
void release_bytes(void* p) { chainrule_release(p); }

extern const InstructionSet table{CR_TEXT(CR_ISA),
                                  make_core<float>,
                                  make_core<double>,
                                  make_predictor<float>,
                                  make_predictor<double>,
                                  activation<float>,
                                  activation<double>,
                                  product<float>,
                                  product<double>,
                                  dropout_words};

} // namespace CR_ISA
} // namespace chainrule

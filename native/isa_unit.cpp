// Compiled once for each instruction set, with that set's flags and CR_ISA as its namespace. All that
// leaves this file is one table.
#if !defined(__wasm__)
#include "lanes.h"
#endif
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

#if !defined(__wasm__)
template <class T> Lanes* make_lanes(const NetworkSpec& network, const PlanSpec& plan, int single_bytes) {
    return new LaneTrainer<T>(network, plan, single_bytes);
}
#else
template <class T> Lanes* make_lanes(const NetworkSpec&, const PlanSpec&, int) { return nullptr; }
#endif

template <class T>
bool rule_step(const PlanSpec& plan, std::int64_t t, double eta, double scale, std::int64_t n, T* w, T* s1, T* s2,
               const T* g) {
    const Hyper<T> hyper = hyper_of<T>(plan);
    const double root = 1 - __builtin_pow(plan.beta2, double(t));
    const Step<T> step{static_cast<T>(eta), static_cast<T>(eta / (1 - __builtin_pow(plan.beta1, double(t)))),
                       static_cast<T>(1 / __builtin_sqrt(root)), static_cast<T>(1 - eta * plan.weight_decay)};
    constexpr int some = 16 * lanes<T>; // numbers: the arrays may lie anywhere, a rule takes whole vectors
    alignas(64) T own[4][some] = {};
    T* const given[3] = {w, s1, s2};
    Vec<T> zero{}; // 0 * x is 0 for every finite x, and NaN for the others
    for (std::int64_t i = 0; i < n; i += some) {
        const std::size_t bytes = sizeof(T) * (n - i < some ? n - i : some);
        for (int k = 0; k < 3; ++k)
            if (given[k]) std::memcpy(own[k], given[k] + i, bytes);
        std::memcpy(own[3], g + i, bytes);
        update<T>(own[0], own[1], own[2], own[3], some, static_cast<T>(scale), T(0), hyper, step);
        for (int k = 0; k < some; k += lanes<T>) zero += load<T>(own[0] + k) * T(0) + load<T>(own[3] + k) * T(0);
        for (int k = 0; k < 3; ++k)
            if (given[k]) std::memcpy(given[k] + i, own[k], bytes);
    }
    for (int i = 0; i < lanes<T>; ++i)
        if (!(zero[i] == T(0))) return false;
    return true;
}

// Calls f(x, y) on one vector after another, where y are as many vectors as there are results.
template <class T, int results, class F> CR_INLINE void on_vectors(std::int64_t n, const T* x,
                                                                   T* const (&to)[results], F&& f) {
    for (std::int64_t i = 0; i < n; i += lanes<T>) {
        T in[lanes<T>] = {}, out[lanes<T>];
        const int count = static_cast<int>(n - i < lanes<T> ? n - i : lanes<T>);
        std::memcpy(in, x + i, sizeof(T) * count);
        Vec<T> y[results];
        f(load_unaligned<T>(in), y);
        for (int r = 0; r < results; ++r) {
            store_unaligned<T>(out, y[r]);
            std::memcpy(to[r] + i, out, sizeof(T) * count);
        }
    }
}
template <class T>
void activation(Activation kind, std::int64_t n, const T* z, T* value, T* a, T* d) {
    with_activation<T>(kind, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        on_vectors<T, 3>(n, z, {value, a, d}, [](Vec<T> z_i, Vec<T>* y) CR_LAMBDA_INLINE {
            y[0] = G::value(z_i);
            G::both(z_i, y[1], y[2]);
        });
    });
}
template <class T> void function(Function kind, std::int64_t n, const T* x, T* y) {
    const auto each = [&](auto f) CR_LAMBDA_INLINE {
        on_vectors<T, 1>(n, x, {y}, [f](Vec<T> x_i, Vec<T>* y_i) CR_LAMBDA_INLINE { y_i[0] = f(x_i); });
    };
    const auto normal_of = [](Vec<T> z, int which) CR_LAMBDA_INLINE {
        Vec<T> both[2];
        normal<T>(z, both[0], both[1]);
        return both[which];
    };
    switch (kind) {
    case Function::exp: return each([](Vec<T> v) CR_LAMBDA_INLINE { return exp<T>(v); });
    case Function::log: return each([](Vec<T> v) CR_LAMBDA_INLINE { return log<T>(v); });
    case Function::log1p: return each([](Vec<T> v) CR_LAMBDA_INLINE { return log1p_unit<T>(v); });
    case Function::distribution: return each([=](Vec<T> v) CR_LAMBDA_INLINE { return normal_of(v, 0); });
    case Function::density: return each([=](Vec<T> v) CR_LAMBDA_INLINE { return normal_of(v, 1); });
    case Function::tanh_slope: return each([](Vec<T> v) CR_LAMBDA_INLINE { return tanh_slope<T>(v, tanh(v)); });
    }
}

template <class T>
void formula(const Formula& of, std::int64_t n, const T* const* inputs, int count, T* const* results,
             int n_results) {
    Registers<T> registers;
    for (std::int64_t i = 0; i < n; i += lanes<T>) {
        const std::size_t bytes = sizeof(T) * (n - i < lanes<T> ? n - i : lanes<T>);
        for (int k = 0; k < count; ++k)
            registers.of[k][0] = Vec<T>{}, std::memcpy(registers.of[k], inputs[k] + i, bytes);
        compute<T>(of, registers, 1);
        for (int k = 0; k < n_results; ++k) std::memcpy(results[k] + i, registers.of[of.results[k]], bytes);
    }
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

void dropout_words(std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step, int units,
                   std::uint32_t* words) {
    std::uint32_t four[4];
    for (int j = 0; j < units; j += 4) {
        philox_words(seed, row, layer, step, j, 4, four);
        for (int i = j; i < units && i < j + 4; ++i) words[i] = four[i - j];
    }
}

void* allocate_bytes(std::size_t bytes) { return chainrule_allocate(bytes); }
void release_bytes(void* p) { chainrule_release(p); }

extern const InstructionSet table{
    CR_TEXT(CR_ISA),        CR_VECTOR_BYTES,   make_core<float>,   make_core<double>,  make_predictor<float>,
    make_predictor<double>, make_lanes<float>, make_lanes<double>, read_rows<float>,   read_rows<double>,
    rule_step<float>,       rule_step<double>, activation<float>,  activation<double>, function<float>,
    function<double>,       product<float>,    product<double>,    formula<float>,     formula<double>,
    dropout_words};

} // namespace CR_ISA
} // namespace chainrule

// Formulas of custom activations and losses: small programs, computed on some vectors at a time, so that what
// it costs to read an instruction is shared.
#pragma once
#include "core.h"
#include "vecmath.h"

namespace chainrule {
namespace CR_ISA {

template <class T> struct Registers {
    static constexpr int vectors = 256 / CR_VECTOR_BYTES; // at a time
    Vec<T> of[formula_registers][vectors];
};

template <class T, class F> CR_INLINE Vec<T> number_by_number(Vec<T> x, F&& f) {
    for (int i = 0; i < lanes<T>; ++i) x[i] = f(x[i]);
    return x;
}

// Inputs are in the first registers.
template <class T> [[gnu::noinline]] void compute(const Formula& formula, Registers<T>& registers, int vectors) {
    constexpr bool single = sizeof(T) == 4;
    for (int i = 0; i < formula.count; ++i) {
        const Instruction& todo = formula.instructions[i];
        Vec<T>* to = registers.of[todo.to];
        const Vec<T>*x = registers.of[todo.x], *y = registers.of[todo.y], *z = registers.of[todo.z];
        const auto one = [=](auto f) CR_LAMBDA_INLINE {
            for (int v = 0; v < vectors; ++v) to[v] = f(x[v]);
        };
        const auto two = [=](auto f) CR_LAMBDA_INLINE {
            for (int v = 0; v < vectors; ++v) to[v] = f(x[v], y[v]);
        };
        switch (todo.operation) {
        case Operation::number:
            for (int v = 0; v < vectors; ++v) to[v] = splat<T>(static_cast<T>(todo.number));
            break;
        case Operation::add: two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a + b; }); break;
        case Operation::subtract: two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a - b; }); break;
        case Operation::multiply: two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a * b; }); break;
        case Operation::divide: two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a / b; }); break;
        case Operation::negate: one([](Vec<T> a) CR_LAMBDA_INLINE { return -a; }); break;
        case Operation::above:
            two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a > b ? splat<T>(1) : Vec<T>{}; });
            break;
        case Operation::at_least:
            two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return a >= b ? splat<T>(1) : Vec<T>{}; });
            break;
        case Operation::choose:
            for (int v = 0; v < vectors; ++v) to[v] = x[v] != T(0) ? y[v] : z[v];
            break;
        // NaN stays, whichever of the two it is.
        case Operation::largest:
            two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return ((b > a) | (b != b)) ? b : a; });
            break;
        case Operation::smallest:
            two([](Vec<T> a, Vec<T> b) CR_LAMBDA_INLINE { return ((b < a) | (b != b)) ? b : a; });
            break;
        case Operation::power:
            for (int v = 0; v < vectors; ++v)
                for (int k = 0; k < lanes<T>; ++k)
                    to[v][k] = single ? __builtin_powf(x[v][k], y[v][k]) : __builtin_pow(x[v][k], y[v][k]);
            break;
        case Operation::exp: one([](Vec<T> a) CR_LAMBDA_INLINE { return exp_of_any<T>(a); }); break;
        case Operation::expm1: one([](Vec<T> a) CR_LAMBDA_INLINE { return expm1_of_any<T>(a); }); break;
        case Operation::ln: one([](Vec<T> a) CR_LAMBDA_INLINE { return log<T>(a); }); break;
        case Operation::log1p:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                return number_by_number<T>(a,
                                           [](T b) { return single ? __builtin_log1pf(b) : __builtin_log1p(b); });
            });
            break;
        case Operation::sqrt: one([](Vec<T> a) CR_LAMBDA_INLINE { return sqrt(a); }); break;
        case Operation::abs: one([](Vec<T> a) CR_LAMBDA_INLINE { return abs<T>(a); }); break;
        case Operation::sign:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                return a > T(0) ? splat<T>(1) : a < T(0) ? splat<T>(-1) : a * T(0);
            });
            break;
        case Operation::sin: one([](Vec<T> a) CR_LAMBDA_INLINE { return sine<T>(a, 0); }); break;
        case Operation::cos: one([](Vec<T> a) CR_LAMBDA_INLINE { return sine<T>(a, 1); }); break;
        case Operation::atan:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                return number_by_number<T>(a, [](T b) { return single ? __builtin_atanf(b) : __builtin_atan(b); });
            });
            break;
        case Operation::tanh: one([](Vec<T> a) CR_LAMBDA_INLINE { return tanh(a); }); break;
        case Operation::tanh_slope:
            one([](Vec<T> a) CR_LAMBDA_INLINE { return tanh_slope<T>(a, tanh(a)); });
            break;
        case Operation::sinh:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                Vec<T> s, c;
                sinh_cosh<T>(a, s, c);
                return s;
            });
            break;
        case Operation::cosh:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                Vec<T> s, c;
                sinh_cosh<T>(a, s, c);
                return c;
            });
            break;
        case Operation::ln_cosh: one([](Vec<T> a) CR_LAMBDA_INLINE { return ln_cosh<T>(a); }); break;
        case Operation::sigma: one([](Vec<T> a) CR_LAMBDA_INLINE { return sigmoid<T>(a); }); break;
        case Operation::softplus: one([](Vec<T> a) CR_LAMBDA_INLINE { return softplus<T>(a); }); break;
        case Operation::distribution:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                Vec<T> whole, density;
                normal<T>(a, whole, density);
                return whole;
            });
            break;
        case Operation::density:
            one([](Vec<T> a) CR_LAMBDA_INLINE {
                Vec<T> whole, density;
                normal<T>(a, whole, density);
                return density;
            });
            break;
        }
    }
}

// The formula on rows of vectors: `get(register, row, v)` gives an input, and `put(row, v, results)` takes what
// comes of it, for a number of rows of so many vectors.
template <class T, int inputs, int results, class Get, class Put>
CR_INLINE void by_formula(const Formula& formula, int rows, int vectors, Get&& get, Put&& put) {
    Registers<T> registers;
    constexpr int most = Registers<T>::vectors;
    const auto block = [&](int row, int first, int n_rows, int n) CR_LAMBDA_INLINE {
        int at = 0;
        for (int i = 0; i < n_rows; ++i)
            for (int v = 0; v < n; ++v, ++at)
                for (int input = 0; input < inputs; ++input)
                    registers.of[input][at] = get(input, row + i, first + v);
        compute<T>(formula, registers, at);
        at = 0;
        for (int i = 0; i < n_rows; ++i)
            for (int v = 0; v < n; ++v, ++at) {
                Vec<T> found[results];
                for (int k = 0; k < results; ++k) found[k] = registers.of[formula.results[k]][at];
                put(row + i, first + v, found);
            }
    };
    if (vectors > most) {
        for (int row = 0; row < rows; ++row)
            for (int first = 0; first < vectors; first += most)
                block(row, first, 1, vectors - first < most ? vectors - first : most);
        return;
    }
    const int at_once = most / vectors;
    for (int row = 0; row < rows; row += at_once)
        block(row, 0, rows - row < at_once ? rows - row : at_once, vectors);
}

} // namespace CR_ISA
} // namespace chainrule

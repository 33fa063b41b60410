// What the processor and the operating system can do, asked of them directly. The compiler's own answer
// (__builtin_cpu_supports) reads a variable of its runtime library, which some toolchains leave at zero.
#pragma once
#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

namespace chainrule {

struct Processor {
    bool avx2 = false, avx512 = false; // with fused multiply-add; of AVX-512 the parts F, BW, DQ and VL
};

inline Processor processor() {
    unsigned a, b, c, d;
    const auto has = [](unsigned word, int bit) { return (word >> bit & 1) != 0; };
    if (!__get_cpuid(1, &a, &b, &c, &d)) return {};
    const bool fma = has(c, 12), avx = has(c, 28), system_saves = has(c, 27); // OSXSAVE
    if (!fma || !avx || !system_saves) return {};
    unsigned low, high; // XCR0: the registers that the system saves when it switches between programs
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6) != 0x6) return {}; // of 128 and 256 bits
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {};
    Processor found;
    found.avx2 = has(b, 5);
#if defined(__APPLE__)
    const bool saves_512 = true; // from a program's first use of them on
#else
    const bool saves_512 = (low & 0xe0) == 0xe0; // masks, and both halves of the wide registers
#endif
    found.avx512 = found.avx2 && saves_512 && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31);
    return found;
}

} // namespace chainrule
#endif

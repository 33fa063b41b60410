// The random words of dropout: Philox4x32-10 (Salmon et al., 2011), as in random.py. A word is a
// function of seed, step, layer, row and unit alone, so any thread can make any part of a mask.
#pragma once
#include "simd.h"

namespace chainrule {
namespace CR_ISA {

// words[j] for units first .. first + count - 1 of one row; first and count are multiples of 4.
inline void philox_words(std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step, int first,
                         int count, std::uint32_t* words) {
    constexpr int width = 16; // counters side by side, for the compiler to put into vectors
    for (int done = 0; done < count; done += 4 * width) {
        std::uint32_t c0[width], c1[width], c2[width], c3[width];
        for (int i = 0; i < width; ++i) {
            c0[i] = static_cast<std::uint32_t>((first + done) / 4 + i);
            c1[i] = row, c2[i] = layer, c3[i] = step;
        }
        std::uint32_t k0 = static_cast<std::uint32_t>(seed);
        std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
        for (int round = 0; round < 10; ++round) {
            for (int i = 0; i < width; ++i) {
                const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[i];
                const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2[i];
                c0[i] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
                c1[i] = static_cast<std::uint32_t>(p1);
                c2[i] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
                c3[i] = static_cast<std::uint32_t>(p0);
            }
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        const int left = (count - done) / 4 < width ? (count - done) / 4 : width;
        for (int i = 0; i < left; ++i) {
            std::uint32_t* w = words + done + 4 * i;
            w[0] = c0[i], w[1] = c1[i], w[2] = c2[i], w[3] = c3[i];
        }
    }
}

// factors[j] = 0 where the unit is dropped, else 1 / (1 - p), on `count` lanes from unit `first`.
template <class T>
void dropout_factors(std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step, double p,
                     int first, int count, T* factors) {
    const std::uint32_t threshold = static_cast<std::uint32_t>(p * 4294967296.0);
    const T kept = T(1) / static_cast<T>(1 - p);
    std::uint32_t words[64];
    for (int done = 0; done < count; done += 64) {
        const int n = count - done < 64 ? count - done : 64;
        philox_words(seed, row, layer, step, first + done, (n + 3) / 4 * 4, words);
        for (int j = 0; j < n; ++j) factors[done + j] = words[j] >= threshold ? kept : T(0);
    }
}

} // namespace CR_ISA
} // namespace chainrule

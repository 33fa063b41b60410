// The order in which an epoch takes the samples: the numbers of `epoch_orders` in chainrule/random.py, which
// are those of NumPy's Philox (Philox4x64-10) and of its Generator.shuffle (masked, drawn again if too large).
#pragma once
#include <cstdint>

namespace chainrule {

class OrderStream {
public:
    OrderStream(std::uint64_t seed, std::uint64_t epoch, std::uint64_t shard)
        : counter_{0, 0, shard, epoch}, key_(seed) {}

    // 0 .. most
    std::uint32_t up_to(std::uint32_t most) {
        const std::uint32_t mask = UINT32_MAX >> __builtin_clz(most | 1);
        std::uint32_t drawn;
        do drawn = next() & mask;
        while (drawn > most);
        return drawn;
    }

private:
    std::uint32_t next() { // each word's lower half first
        if (place_ == 8) refill();
        const std::uint64_t word = words_[place_ / 2];
        return static_cast<std::uint32_t>(place_++ % 2 ? word >> 32 : word);
    }
    void refill() {
        if (++counter_[0] == 0 && ++counter_[1] == 0 && ++counter_[2] == 0) ++counter_[3];
        std::uint64_t c[4] = {counter_[0], counter_[1], counter_[2], counter_[3]}, k0 = key_, k1 = 0;
        for (int round = 0; round < 10; ++round) {
            const unsigned __int128 p0 = static_cast<unsigned __int128>(0xD2E7470EE14C6C93u) * c[0];
            const unsigned __int128 p1 = static_cast<unsigned __int128>(0xCA5A826395121157u) * c[2];
            const std::uint64_t c1 = c[1], c3 = c[3];
            c[0] = static_cast<std::uint64_t>(p1 >> 64) ^ c1 ^ k0, c[1] = static_cast<std::uint64_t>(p1);
            c[2] = static_cast<std::uint64_t>(p0 >> 64) ^ c3 ^ k1, c[3] = static_cast<std::uint64_t>(p0);
            k0 += 0x9E3779B97F4A7C15u, k1 += 0xBB67AE8584CAA73Bu;
        }
        for (int i = 0; i < 4; ++i) words_[i] = c[i];
        place_ = 0;
    }

    std::uint64_t counter_[4], key_, words_[4] = {};
    int place_ = 8; // of halves of words
};

// A permutation of 0 .. n - 1, with n at most 2^32.
inline void epoch_order(std::uint64_t seed, std::uint64_t epoch, std::int64_t n, std::int64_t* order,
                        std::uint64_t shard = 0) {
    OrderStream stream(seed, epoch, shard);
    for (std::int64_t i = 0; i < n; ++i) order[i] = i;
    for (std::int64_t i = n - 1; i > 0; --i) {
        const std::int64_t j = stream.up_to(static_cast<std::uint32_t>(i)), kept = order[i];
        order[i] = order[j], order[j] = kept;
    }
}

} // namespace chainrule

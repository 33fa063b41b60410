// When what pays: sizes measured on machines of 2 to 16 cores (AMD Zen 3 and 4, Intel Ice Lake and later).
// None of them changes a result; near one of them both ways take about the same time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace chainrule {

// Threads meet in about a microsecond, and one that is asleep wakes up in 20 to 100.
constexpr double threads_pay_step = 2.5e5;       // operations of a step, whose threads are awake
constexpr double threads_pay_prediction = 2e6;   // operations of a call, whose threads may be asleep
constexpr std::ptrdiff_t threads_pay_packing = 200'000; // parameters that are brought into panels
constexpr double threads_pay_reading = 1 << 19;            // numbers of an array that is checked
constexpr std::int64_t numbers_at_once = 1 << 16;          // of it, to whoever comes
// Of one sample reading the weights is what takes the time, and beyond one core's cache it takes long.
constexpr std::size_t threads_pay_sample = 1 << 20; // bytes of parameters

// To give the interpreter away and take it back costs as much as this many multiplications.
constexpr double brief_prediction = 1e4;

// Comparing the parameters with those in the panels costs as much as using them once as they lie.
constexpr std::ptrdiff_t packing_pays_up_to = 2048; // parameters, for a few samples
constexpr int few_samples = 4;

// Beyond it a step lasts milliseconds: it takes all threads, and is asked in its middle whether to go on.
constexpr double long_step = 1e9; // operations
constexpr int rows_between_polls = 4096; // that are gathered, or carried through a tiny network

constexpr std::int64_t applied_at_once = 1 << 14; // parameters, where a gradient comes from elsewhere
constexpr double threads_pay_applying = 1e5;      // parameters
constexpr std::size_t threads_pay_adding = 1 << 19; // bytes of each of two sums

constexpr std::size_t small_network = 192 * 1024; // bytes of parameters that fit into every core's cache
constexpr std::size_t cached_network = 1 << 20;   // and into what each has for itself in all
constexpr std::int64_t cached_data = 512 * 1024;  // bytes of X and y that a second-level cache holds
// Columns of a^(l-1) are gathered for dW where it has so many rows that lie so far apart in all.
constexpr int gathered_rows = 512;
constexpr std::size_t gathered_bytes = 4 << 20;

} // namespace chainrule

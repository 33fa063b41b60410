#include "reading.h"

#include "limits.h"
#include "pool.h"

namespace chainrule {
namespace {

struct Reading {
    const MatrixView* from;
    std::int64_t rows, at_once;
    int columns;
    bool single;
    void* out;
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> finite{true};

    bool part(std::int64_t first, std::int64_t last) const {
        const InstructionSet& isa = instruction_set();
        return single ? isa.read_f32(*from, first, last, columns, static_cast<float*>(out))
                      : isa.read_f64(*from, first, last, columns, static_cast<double*>(out));
    }
    // Parts go to whoever comes.
    void work() {
        for (std::int64_t first; (first = next.fetch_add(at_once, std::memory_order_relaxed)) < rows;) {
            if (!finite.load(std::memory_order_relaxed)) return;
            if (!part(first, first + at_once < rows ? first + at_once : rows))
                finite.store(false, std::memory_order_relaxed);
        }
    }
};

} // namespace

bool read_numbers(const MatrixView& from, std::int64_t rows, int columns, bool single, void* out, int threads) {
    Reading reading{&from, rows, 1 + numbers_at_once / (columns > 0 ? columns : 1), columns, single, out};
    run_on_threads(
        double(rows) * columns < threads_pay_reading ? 1 : threads,
        [](void* self, int) { static_cast<Reading*>(self)->work(); }, &reading);
    return reading.finite.load(std::memory_order_relaxed);
}

} // namespace chainrule

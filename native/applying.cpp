#include "applying.h"

#include "limits.h"
#include "pool.h"

#include <cstring>

namespace chainrule {
namespace {

struct Work {
    const PlanSpec* plan;
    const InstructionSet* isa;
    bool single;
    std::int64_t t, n;
    double eta, scale;
    void* changed[3]; // theta and the slots; null where there is none
    char* before[3];
    const void* g;
    std::atomic<std::int64_t> next{0};
    std::atomic<bool> finite{true};

    template <class T, class F> bool part(std::int64_t first, std::int64_t count, F&& step) const {
        T* at[3];
        for (int i = 0; i < 3; ++i) {
            at[i] = changed[i] ? static_cast<T*>(changed[i]) + first : nullptr;
            if (at[i]) std::memcpy(before[i] + first * sizeof(T), at[i], sizeof(T) * count);
        }
        return step(*plan, t, eta, scale, count, at[0], at[1], at[2], static_cast<const T*>(g) + first);
    }
    // Parts go to whoever comes.
    void work() {
        for (std::int64_t first; (first = next.fetch_add(applied_at_once, std::memory_order_relaxed)) < n;) {
            const std::int64_t count = n - first < applied_at_once ? n - first : applied_at_once;
            if (!(single ? part<float>(first, count, isa->step_f32) : part<double>(first, count, isa->step_f64)))
                finite.store(false, std::memory_order_relaxed);
        }
    }
};

} // namespace

bool Applying::run(std::int64_t t, double eta, double scale, std::int64_t n, void* theta, void* const* slots,
                   const void* g) {
    const std::size_t bytes = std::size_t(n) * (single_ ? 4 : 8);
    Work work{&plan_, &isa_, single_, t, n, eta, scale, {theta, slots[0], slots[1]}, {}, g};
    for (int i = 0; i < 3; ++i) {
        if (work.changed[i] && before_[i].size() != bytes) before_[i].resize(bytes);
        work.before[i] = before_[i].data();
    }
    run_on_threads(
        double(n) < threads_pay_applying ? 1 : plan_.threads,
        [](void* self, int) { static_cast<Work*>(self)->work(); }, &work);
    if (work.finite.load(std::memory_order_relaxed)) return true;
    for (int i = 0; i < 3; ++i)
        if (work.changed[i]) std::memcpy(work.changed[i], work.before[i], bytes);
    return false;
}

} // namespace chainrule

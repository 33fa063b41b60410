#include "many.h"

#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds ask_every{45};

} // namespace

Many::Many(const NetworkSpec& network, const PlanSpec& plan, int element_size) {
    for (int t = 0; t < plan.threads; ++t) {
        lanes_.emplace_back(make_lanes(network, plan, element_size));
        if (!lanes_.back()) throw std::runtime_error("this core was built without lanes");
    }
}

struct Many::Job {
    Many* many;
    const EpochData* data;
    Member* members;
    int count, epochs;
    std::ptrdiff_t losses_apart;
    const Progress* progress;
    std::atomic<int> next{0};
    std::atomic<std::int64_t> done{0};
    std::atomic<bool> stopped{false};
    Clock::time_point last_asked = Clock::now();

    void work(int thread) {
        Lanes& lanes = *many->lanes_[thread];
        const int width = lanes.width();
        struct Asking {
            Job* job;
            bool asks; // Python: only the calling thread may
        } asking{this, thread == 0};
        const auto stop = [](void* context) {
            const Asking& a = *static_cast<Asking*>(context);
            Job& job = *a.job;
            if (a.asks && !job.stopped.load(std::memory_order_relaxed) &&
                Clock::now() - job.last_asked > ask_every) {
                job.last_asked = Clock::now();
                if (job.progress->ask(job.progress->context, job.done.load(std::memory_order_relaxed), 0))
                    job.stopped.store(true, std::memory_order_relaxed);
            }
            return job.stopped.load(std::memory_order_relaxed);
        };
        for (int first; (first = next.fetch_add(width)) < count;) {
            const int mine = std::min(width, count - first);
            if (!lanes.run(*data, members + first, mine, epochs, losses_apart, stop, &asking)) return;
            done.fetch_add(std::int64_t{mine} * epochs, std::memory_order_relaxed);
        }
    }
};

bool Many::run(const EpochData& data, std::vector<Member>& members, int epochs, std::ptrdiff_t losses_apart,
               const Progress& progress) {
    Job job{this, &data, members.data(), static_cast<int>(members.size()), epochs, losses_apart, &progress};
    const int packs = (job.count + lanes_[0]->width() - 1) / lanes_[0]->width();
    run_on_threads(
        std::min(static_cast<int>(lanes_.size()), packs),
        [](void* context, int thread) { static_cast<Job*>(context)->work(thread); }, &job);
    return job.stopped;
}

} // namespace chainrule

#include "gradients.h"

#include "limits.h"
#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds ask_every{45};

// Where the tree over so many leaves is cut in two: at the largest power of two below.
int tree_cut(int leaves) {
    int cut = 1;
    while (2 * cut < leaves) cut *= 2;
    return cut;
}

// The sum over parts first .. last - 1 goes into what `leaf` has given part `first`.
template <class Add> void add_up(int first, int last, Add&& add) {
    if (last - first < 2) return;
    const int middle = first + tree_cut(last - first);
    add_up(first, middle, add), add_up(middle, last, add);
    add(first, middle);
}

} // namespace

Gradients::Gradients(const NetworkSpec& network, const PlanSpec& plan, bool single, const InstructionSet& isa)
    : network_(network), plan_(plan), single_(single), isa_(isa) {
    plan_.optimizer = Optimizer::gradient;
    alone_.resize(plan.threads), together_.resize(1);
}

Gradients::Hand& Gradients::hand(std::vector<Hand>& hands, int i, int threads) const {
    Hand& found = hands[i];
    if (!found.core) {
        PlanSpec plan = plan_;
        plan.threads = threads;
        found.core.reset(single_ ? isa_.make_core_f32(network_, plan) : isa_.make_core_f64(network_, plan));
        found.core->use_threads(std::min(threads, found.core->likely_threads()));
    }
    return found;
}

void Gradients::room(std::vector<Bytes>& rooms, std::size_t i) const {
    if (rooms.size() <= i) rooms.resize(i + 1);
    if (!rooms[i]) rooms[i].reset(chainrule_allocate(bytes_));
}

// Blocks of micro-batches go to whoever comes; what they come to is added slice by slice.
struct Gradients::Job {
    Gradients* all;
    std::vector<Hand>* hands;
    const void* theta;
    std::vector<MicroBatch>* batches;
    int block, blocks; // so many batches in each
    const Progress* progress;
    std::atomic<int> next{0};
    std::atomic<bool> stopped{false};
    Clock::time_point last_asked = Clock::now();

    // By the calling thread.
    void ask() {
        if (stopped.load(std::memory_order_relaxed) || Clock::now() - last_asked < ask_every) return;
        last_asked = Clock::now();
        if (progress->ask(progress->context, 0, 0)) stopped.store(true, std::memory_order_relaxed);
    }

    void sum(Hand& hand, int first, int last, std::size_t level, void* to, bool adds, int thread) {
        if (last - first > 1) {
            const int middle = first + tree_cut(last - first);
            void* own = adds ? hand.sums[level].get() : to;
            sum(hand, first, middle, level + 1, own, false, thread);
            sum(hand, middle, last, level + 1, own, true, thread);
            if (adds) hand.core->add(to, own, 0, all->bytes_);
            return;
        }
        if (thread == 0) ask();
        if (stopped.load(std::memory_order_relaxed)) return;
        MicroBatch& batch = (*batches)[first];
        batch.finite = hand.core->sum_gradient(batch.data, batch.draw, batch.sums);
        adds ? hand.core->add_gradient(to) : hand.core->copy_gradient(to);
    }
    void work(int thread) {
        Hand& own = (*hands)[thread];
        const int count = static_cast<int>(batches->size());
        bool loaded = false;
        for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < blocks; loaded = true) {
            if (!loaded) own.core->load(theta, nullptr, 0);
            sum(own, i * block, std::min((i + 1) * block, count), 0, all->nodes_[i].get(), false, thread);
        }
    }
    // Slice `thread` of the sums over the blocks.
    void add(int thread, int slices) const {
        const std::size_t lines = (all->bytes_ + 63) / 64;
        const std::size_t first = lines * thread / slices * 64;
        const std::size_t last = std::min(lines * (thread + 1) / slices * 64, all->bytes_);
        const Core& core = *all->alone_[0].core;
        add_up(0, blocks,
               [&](int to, int from) { core.add(all->nodes_[to].get(), all->nodes_[from].get(), first, last); });
    }
};

bool Gradients::run(const void* theta, std::vector<MicroBatch>& batches, void* g, const Progress& progress) {
    const int count = static_cast<int>(batches.size());
    const Core& one = *hand(alone_, 0, 1).core;
    bytes_ = one.gradient_bytes();
    const double flops = one.flops_per_step() * count;
    // Threads take micro-batches of their own where there are enough of them, and share each one where not.
    const bool shared = count < plan_.threads && flops >= threads_pay_step;
    const int hands = shared || flops < threads_pay_step ? 1 : plan_.threads;
    int block = hands > 1 ? 1 : count;
    while (hands > 1 && (count + 2 * block - 1) / (2 * block) >= 2 * hands) block *= 2;
    const int blocks = (count + block - 1) / block;
    Job job{this, shared ? &together_ : &alone_, theta, &batches, block, blocks, &progress};
    // All memory now: where a thread of the pool finds none, nobody hears of it.
    for (int i = 0; i < blocks; ++i) room(nodes_, i);
    for (int i = 0; i < hands; ++i) {
        Hand& own = hand(*job.hands, i, shared ? plan_.threads : 1);
        for (int level = 0, leaves = block; leaves > 1; leaves = tree_cut(leaves), ++level) room(own.sums, level);
    }

    run_on_threads(hands, [](void* self, int thread) { static_cast<Job*>(self)->work(thread); }, &job);
    if (job.stopped.load(std::memory_order_relaxed)) return false;
    if (blocks > 1) {
        struct Slices {
            const Job* job;
            std::atomic<int> next{0};
            int count;
        } slices{&job, {}, bytes_ < threads_pay_adding ? 1 : hands};
        run_on_threads(
            slices.count,
            [](void* self, int) {
                Slices& s = *static_cast<Slices*>(self);
                for (int i; (i = s.next.fetch_add(1, std::memory_order_relaxed)) < s.count;)
                    s.job->add(i, s.count);
            },
            &slices);
    }
    one.unpack(nodes_[0].get(), g);
    add_up(0, count, [&](int to, int from) {
        batches[to].sums.weight += batches[from].sums.weight;
        batches[to].sums.loss += batches[from].sums.loss;
    });
    return true;
}

} // namespace chainrule

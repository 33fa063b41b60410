#include "pool.h"

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(_WIN32)
#include <process.h>
static int process_id() { return _getpid(); }
#else
#include <unistd.h>
static int process_id() { return static_cast<int>(getpid()); }
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace chainrule {
namespace {

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int usable_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n ? static_cast<int>(n) : 1;
}

// How long a thread watches before it sleeps: what follows within that time finds it awake, and waking one
// takes 20 to 100 us. With fewer cores than threads, watching would only keep others from working.
using Clock = std::chrono::steady_clock;
constexpr auto watch = std::chrono::microseconds(200);
bool may_watch(int threads) { return threads <= usable_cores(); }

// Waits until `word` is no longer `old`: watches it for a while, then sleeps.
template <class T> void wait_while(const std::atomic<T>& word, T old, bool watching) {
    if (watching) {
        for (int i = 0; i < 64; ++i)
            if (word.load(std::memory_order_acquire) != old) return;
        for (const auto until = Clock::now() + watch; Clock::now() < until;)
            for (int i = 0; i < 16; ++i) {
                if (word.load(std::memory_order_acquire) != old) return;
                relax();
            }
    }
    while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

// The system may wake a thread on the very core of its waker although others are idle (a virtual machine
// takes a halted core for a busy one) and leave both there for milliseconds: the one that is woken moves.
int this_core() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}
void leave_core(int core) {
#if defined(__linux__)
    cpu_set_t all, others;
    if (core < 0 || sched_getcpu() != core || sched_getaffinity(0, sizeof all, &all) != 0) return;
    others = all;
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    (void)sched_setaffinity(0, sizeof all, &all); // it stays where it is now, and is free to move
#else
    (void)core;
#endif
}

thread_local bool leads = false; // this thread is inside a call of the pool, as its thread 0

class Pool {
public:
    explicit Pool(int process) : process_(process) {}

    int process() const { return process_; }

    void run(int threads, void (*job)(void*, int), void* context) {
        std::lock_guard<std::mutex> one_at_a_time(running_);
        const bool watching = may_watch(threads);
        for (; workers_ < threads - 1; ++workers_)
            std::thread([this, thread = workers_ + 1, seen = call_.load()] { work(thread, seen); }).detach();
        job_ = job, context_ = context, wanted_ = threads, watching_ = watching, core_ = this_core();
        const std::uint32_t call = call_.load(std::memory_order_relaxed) + 1;
        state_.store(std::uint64_t{call} << 32, std::memory_order_release); // open, nobody inside
        call_.store(call, std::memory_order_release);
        call_.notify_all();
        std::this_thread::yield(); // to one that was woken here
        leads = true;
        job(context, 0);
        leads = false;
        // Who has not come by now is not waited for.
        std::uint64_t state = state_.fetch_or(closed, std::memory_order_acq_rel) | closed;
        for (; inside(state) != 0; state = state_.load(std::memory_order_acquire))
            wait_while(state_, state, watching);
    }

private:
    static constexpr std::uint64_t closed = std::uint64_t{1} << 31;
    static std::uint32_t inside(std::uint64_t state) { return static_cast<std::uint32_t>(state & (closed - 1)); }

    // Takes part in the current call, if it is still open and not yet `served`.
    bool enter(std::uint32_t& served) {
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        while (!(state & closed) && static_cast<std::uint32_t>(state >> 32) != served)
            if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
                served = static_cast<std::uint32_t>(state >> 32);
                return true;
            }
        return false;
    }
    void work(int thread, std::uint32_t served) {
        std::uint32_t seen = served;
        for (bool watching = false;;) {
            wait_while(call_, seen, watching);
            seen = call_.load(std::memory_order_acquire);
            watching = false;
            if (!enter(served)) continue;
            if (thread < wanted_) {
                watching = watching_;
                if (watching) leave_core(core_);
                job_(context_, thread);
            }
            if (inside(state_.fetch_sub(1, std::memory_order_acq_rel)) == 1) state_.notify_one();
        }
    }

    const int process_;
    std::mutex running_;
    int workers_ = 0;
    // Written while no worker is inside, read by those that are.
    int wanted_ = 0, core_ = -1;
    bool watching_ = false;
    void (*job_)(void*, int) = nullptr;
    void* context_ = nullptr;
    alignas(64) std::atomic<std::uint32_t> call_{0}; // the number of the latest call: what workers wait for
    alignas(64) std::atomic<std::uint64_t> state_{closed}; // its number, whether it is over, workers inside
};

// Never destroyed: at the end of the process the workers are asleep, and waiting for them (in a forked
// child they do not even exist) could only hang.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    Pool* current = pool.load(std::memory_order_acquire);
    // A forked child has the object but none of its threads: it lets go of it and makes its own.
    while (!current || current->process() != process_id()) {
        Pool* own = new Pool(process_id());
        if (pool.compare_exchange_strong(current, own, std::memory_order_acq_rel)) return *own;
        delete own; // another thread was faster
    }
    return *current;
}

} // namespace

void Barrier::reset(int threads) {
    threads_ = threads;
    watching_ = may_watch(threads);
    arrived_.store(0, std::memory_order_relaxed);
}

void Barrier::wait() {
    if (threads_ == 1) return;
    const std::uint32_t generation = generation_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_.store(generation + 1, std::memory_order_release);
        generation_.notify_all();
        return;
    }
    wait_while(generation_, generation, watching_);
}

void run_on_threads(int threads, void (*job)(void*, int), void* context) {
    if (threads <= 1) return job(context, 0);
    if (!leads) return the_pool().run(threads, job, context);
    // A job asked Python whether to go on, and a signal handler there began another one.
    std::vector<std::thread> own;
    for (int thread = 1; thread < threads; ++thread) own.emplace_back(job, context, thread);
    job(context, 0);
    for (std::thread& thread : own) thread.join();
}

void wait_for_count(const std::atomic<int>& counter, int value) {
    for (int i = 0; counter.load(std::memory_order_acquire) < value; ++i)
        i % 1024 == 1023 ? std::this_thread::yield() : relax(); // whoever counts may need this core
}

int default_threads() {
    const char* text = std::getenv("CHAINRULE_NUM_THREADS");
    if (!text || !*text) return usable_cores();
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end || n < 1 || n > thread_limit)
        throw std::invalid_argument("CHAINRULE_NUM_THREADS is '" + std::string(text) +
                                    "'; expected a number of threads, 1 to " + std::to_string(thread_limit));
    return static_cast<int>(n);
}

} // namespace chainrule

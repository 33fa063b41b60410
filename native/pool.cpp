#include "pool.h"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
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

class Pool {
public:
    explicit Pool(int process) : process_(process) {}

    int process() const { return process_; }

    void run(int threads, void (*job)(void*, int), void* context) {
        std::lock_guard<std::mutex> one_at_a_time(running_);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (workers_ < threads - 1) {
                const int thread = workers_ + 1;
                std::thread([this, thread, seen = epoch_] { work(thread, seen); }).detach();
                ++workers_;
            }
            job_ = job, context_ = context, wanted_ = threads, left_ = threads - 1;
            ++epoch_;
        }
        wake_.notify_all();
        job(context, 0);
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return left_ == 0; });
    }

private:
    void work(int thread, std::uint64_t seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return epoch_ != seen; });
            seen = epoch_;
            if (thread >= wanted_) continue;
            void (*job)(void*, int) = job_;
            void* context = context_;
            lock.unlock();
            job(context, thread);
            lock.lock();
            if (--left_ == 0) done_.notify_one();
        }
    }

    const int process_;
    std::mutex running_, mutex_;
    std::condition_variable wake_, done_;
    int workers_ = 0;
    std::uint64_t epoch_ = 0;
    void (*job_)(void*, int) = nullptr;
    void* context_ = nullptr;
    int wanted_ = 0, left_ = 0;
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
    spins_ = threads <= usable_cores() ? 4000 : 0;
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
    for (int i = 0; i < spins_; ++i) {
        if (generation_.load(std::memory_order_acquire) != generation) return;
        if (i > 64) relax();
    }
    while (generation_.load(std::memory_order_acquire) == generation)
        generation_.wait(generation, std::memory_order_acquire);
}

void run_on_threads(int threads, void (*job)(void*, int), void* context) {
    if (threads <= 1) return job(context, 0);
    the_pool().run(threads, job, context);
}

int default_threads() {
    const char* text = std::getenv("CHAINRULE_NUM_THREADS");
    if (!text || !*text) return usable_cores();
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end || n < 1 || n > 1024)
        throw std::invalid_argument("CHAINRULE_NUM_THREADS is '" + std::string(text) +
                                    "'; expected a number of threads, 1 or more");
    return static_cast<int>(n);
}

} // namespace chainrule

// The core's own threads: started once, asleep between calls that are more than 0.2 ms apart, meeting at
// barriers inside one.
#pragma once
#include <atomic>
#include <cstdint>

namespace chainrule {

constexpr int thread_limit = 1024; // more than the cores of any machine; each thread has buffers of its own

// Threads that meet again and again. Watching covers the usual wait of a fraction of a
// microsecond; whoever waits longer sleeps until the last one arrives, so that more threads than
// cores stay sound.
class Barrier {
public:
    void reset(int threads);
    void wait();

private:
    int threads_ = 1;
    bool watching_ = false;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> generation_{0};
};

// Runs job(context, thread) on threads 0 .. threads - 1, of which 0 is the caller, and waits for all that
// have begun: a thread that wakes after the caller's job(context, 0) has returned stays out. A job that
// needs all of them meets at a barrier; one that hands out its parts one by one does not.
// Calls from several Python threads queue up. After a fork the child starts threads of its own.
void run_on_threads(int threads, void (*job)(void* context, int thread), void* context);

// Waits until `counter`, which other threads that are at work count up, has reached `value`.
void wait_for_count(const std::atomic<int>& counter, int value);

// Cores that this process may use, or CHAINRULE_NUM_THREADS. Throws std::invalid_argument if that is
// not a number of threads up to the limit.
int default_threads();

} // namespace chainrule

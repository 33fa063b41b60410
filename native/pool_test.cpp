// The pool under ThreadSanitizer: barriers order what threads write, with fewer and with more threads
// than cores, from one caller and from several.
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "pool.h"

using namespace chainrule;

struct Work {
    int threads;
    Barrier barrier;
    std::vector<long> plain; // written by one thread, read by the next after the barrier
};

static void job(void* context, int thread) {
    Work& w = *static_cast<Work*>(context);
    for (int round = 0; round < 300; ++round) {
        w.plain[thread] = round;
        w.barrier.wait();
        if (w.plain[(thread + 1) % w.threads] != round) std::abort();
        w.barrier.wait();
    }
}

static void epochs(int threads) {
    for (int epoch = 0; epoch < 5; ++epoch) {
        Work w;
        w.threads = threads;
        w.plain.resize(threads);
        w.barrier.reset(threads);
        run_on_threads(threads, job, &w);
    }
}

// Short calls that hand out parts: each part is done once, also where a worker comes too late.
struct Parts {
    std::atomic<int> next{0};
    std::vector<int> done;
};

static void take_parts(void* context, int) {
    Parts& p = *static_cast<Parts*>(context);
    for (int i; (i = p.next.fetch_add(1)) < static_cast<int>(p.done.size());) ++p.done[i];
}

static void short_calls(int calls, int threads) {
    for (int call = 0; call < calls; ++call) {
        Parts p;
        p.done.resize(1 + call % 5);
        run_on_threads(threads, take_parts, &p);
        for (int times : p.done)
            if (times != 1) std::abort();
        if (call % 100 == 0) epochs(threads);
    }
}

int main() {
    for (int threads : {1, 2, 3, 7}) epochs(threads);
    std::thread first(epochs, 2), second(epochs, 3);
    for (int threads : {2, 3}) short_calls(1000, threads);
    first.join();
    second.join();
    std::puts("1 passed, 0 failed");
}

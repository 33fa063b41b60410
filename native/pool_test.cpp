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
    for (int epoch = 0; epoch < 20; ++epoch) {
        Work w;
        w.threads = threads;
        w.plain.resize(threads);
        w.barrier.reset(threads);
        run_on_threads(threads, job, &w);
    }
}

int main() {
    for (int threads : {1, 2, 3, 7}) epochs(threads);
    std::thread first(epochs, 2), second(epochs, 3);
    first.join();
    second.join();
    std::puts("1 passed, 0 failed");
}

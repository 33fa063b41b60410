// How many threads a step takes: as many as were fastest lately. On a machine that others use too, threads that
// wait for each other can be slower than fewer; and beyond some number of them a step gains nothing. The numbers
// of a step do not depend on it, so the choice is free, and is made anew now and then.
#pragma once
#include <cstdint>

namespace chainrule {

struct Pace {
    static constexpr int most_ways = 12;
    int ways = 0;           // of running: 1, 2, 4, ... threads, the last as many as there are
    int threads[most_ways]; // of each
    double of[most_ways];   // seconds a step, when it was last tried; 0: never
    int home = 0, way = 0;  // the one that is taken, and the one in use, which differs during a trial
    int turn = 0;           // of the others, whose trial is next
    bool trying = true, begun = false; // the trial's first stretch fills caches and wakes threads
    double spent = 0, best = 0;        // seconds in this way so far; the best of the trial, or 0
    double patience = 0;               // seconds until the next trial
    double eager = 0;                  // seconds for which trials follow each other soon

    // Once: ways up to so many threads, beginning with the one nearest to `likely`; or all threads alone.
    void prepare(int most, int likely, bool choice);
    // How many steps to run before the clock is read again; `guess` are the seconds of one that was never run.
    std::int64_t steps(double guess) const;
    // What these steps took.
    void note(double seconds, double steps);

private:
    void go(int to, bool as_trial);
    void settle(bool moved);
    int other(int turn) const;
    int next(bool unknown_only);
};

// What a step is made of, as far as threads are concerned.
struct StepCosts {
    double flops; // which are shared out
    double bytes; // that all threads together write and read: each gets the others' share from their caches
    int meetings; // of all threads
};
double likely_seconds(const StepCosts& step, int threads);
// As many threads, up to `most`, as make it the fastest.
int likely_threads(const StepCosts& step, int most);

} // namespace chainrule

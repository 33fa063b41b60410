#include "pace.h"

namespace chainrule {
namespace {

constexpr double stretch = 0.010, first_stretch = 1e-3; // seconds of steps between looks at the clock
constexpr int others_of_a_way = 4;
constexpr double most_steps = 1e6;                      // in one stretch; the clock costs nothing beside them
constexpr double trial = 0.001, trial_parts = 3, memory = 0.005; // seconds
// What disturbs threads (another library's, which still watch for work) is often over soon: so for a while
// after the start, and after each change for the worse, the others are tried every `soon`, later seldom.
constexpr double soon = 0.012, eager_for = 0.25, try_every = 0.15, try_slow_every = 1;

// Of one core; of what comes from another one's cache, bytes a second; of a meeting of n threads, first + each *
// n. Measured with two threads of AMD Zen 4 (benchmarks/threads.py); where it is wrong, trials correct it.
constexpr double speed = 8e10, handing_over = 8e9, first_meeting = 0.3e-6, each_meeting = 0.1e-6;

} // namespace

double likely_seconds(const StepCosts& step, int threads) {
    if (threads == 1) return step.flops / speed;
    const double others = double(threads - 1) / threads;
    return step.flops / (speed * threads) + step.bytes * others / handing_over +
           step.meetings * (first_meeting + each_meeting * threads);
}
int likely_threads(const StepCosts& step, int most) {
    int best = 1;
    for (int n = 2; n <= most; ++n)
        if (likely_seconds(step, n) < likely_seconds(step, best)) best = n;
    return best;
}

void Pace::prepare(int most, int likely, bool choice) {
    if (ways > 0) return;
    for (int n = 1; choice && n < most && ways < most_ways - 1; n *= 2) threads[ways++] = n;
    threads[ways++] = most;
    for (int i = 0; i < ways; ++i) {
        of[i] = 0;
        const int off = threads[i] - likely, off_home = threads[home] - likely;
        if (off * off <= off_home * off_home) home = i;
    }
    way = home;
    eager = eager_for, patience = soon;
}

std::int64_t Pace::steps(double guess) const {
    const double pace = of[way];
    const double count = pace == 0            ? first_stretch / guess
                         : trying && ways > 1 ? trial / trial_parts / pace
                         // on a busy machine what a trial found may be over already
                         : spent < stretch && ways > 1 ? first_stretch / pace
                                                       : stretch / pace;
    return count < 1 ? 1 : count > most_steps ? std::int64_t(most_steps) : static_cast<std::int64_t>(count);
}

void Pace::go(int to, bool as_trial) {
    way = to, trying = as_trial;
    spent = best = 0, begun = false;
}

// Who is compared with home: those beside it, and one thread and all, since what lies between may be slower than
// both. -1: none.
int Pace::other(int which) const {
    const int others[others_of_a_way] = {home - 1, home + 1, 0, ways - 1};
    const int found = others[which];
    return found >= 0 && found < ways && found != home ? found : -1;
}
int Pace::next(bool unknown_only) {
    for (int i = 0; i < others_of_a_way; ++i) {
        const int found = other(turn);
        turn = (turn + 1) % others_of_a_way;
        if (found >= 0 && (!unknown_only || of[found] == 0)) return found;
    }
    return -1;
}

// The trial is over: home is the better one.
void Pace::settle(bool moved) {
    const int unknown = next(true); // at the start each is tried once
    if (unknown >= 0) return go(unknown, true);
    double fastest = 0; // of the others
    for (int i = 0; i < others_of_a_way; ++i)
        if (const int way_i = other(i); way_i >= 0 && (fastest == 0 || of[way_i] < fastest)) fastest = of[way_i];
    const double rarest = fastest > 3 * of[home] ? try_slow_every : try_every;
    if (moved || eager > 0) patience = soon;
    else patience = 2 * patience < rarest ? 2 * patience : rarest;
    go(home, false);
}

void Pace::note(double seconds, double steps) {
    const double now = seconds / steps;
    spent += seconds, eager -= seconds;
    if (ways == 1) {
        of[0] = now, trying = false;
        return;
    }
    if (trying) {
        if (begun && (best == 0 || now < best)) best = now;
        begun = true;
        if (of[way] == 0) of[way] = now;
        if (best == 0 || spent < trial) return;
        of[way] = best;
        const int before = home;
        if (way != home && of[way] < of[home]) {
            home = way;
            const int further = home + (home - before); // the same way on
            if (further >= 0 && further < ways) return go(further, true);
        }
        return settle(home != before);
    }
    double& own = of[way];
    own = own == 0 ? now : own + (now - own) * (seconds < memory ? seconds / memory : 1);
    for (int i = 0; i < others_of_a_way; ++i) // slower than another was: a disturbance, perhaps
        if (const int faster = other(i); faster >= 0 && of[faster] > 0 && own > 1.1 * of[faster]) {
            home = faster;
            eager = eager_for, patience = soon;
            return go(home, false);
        }
    if (spent < patience) return;
    if (const int tried = next(false); tried >= 0) go(tried, true);
}

} // namespace chainrule

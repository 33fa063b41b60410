#include "epoch.h"

#include <chrono>
#include <cmath>

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double stretch = 0.010;  // seconds of steps between looks at the clock
constexpr double ask_every = 0.045; // seconds between questions to Python
constexpr double save_every = 0.5; // seconds between copies to fall back on

double seconds(Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
}

struct Question { // asked from inside a long step, too
    const Progress* progress;
    Clock::time_point last_asked;
    const EpochSums* sums;
    std::int64_t steps;
    bool stop;

    bool ask() {
        last_asked = Clock::now();
        stop = progress->ask(progress->context, steps, mean(*sums)) || stop;
        return stop;
    }
    bool due() const { return seconds(last_asked) >= ask_every; }
    static double mean(const EpochSums& s) { return s.weight_sum > 0 ? s.loss_sum / s.weight_sum : 0.0; }
};

// All threads (1) or one (0)? On a machine that others use too, threads that wait for each other can be
// slower than one alone; whichever was faster of late goes on, and the other is tried now and then.
int choose_way(Core& core) {
    if (core.most_threads() == 1) return 0;
    if (core.flops_per_step() > 1e9 || core.pace[1] == 0) return 1;
    if (core.pace[0] == 0) return 0;
    const int faster = core.pace[1] <= core.pace[0];
    const bool far = core.pace[1 - faster] > 3 * core.pace[faster];
    return ++core.stretches % (far ? 128 : 16) == 0 ? 1 - faster : faster;
}

std::int64_t steps_for(const Core& core, int way) {
    const int faster = core.pace[1] > 0 && core.pace[1] <= core.pace[0];
    const double pace = core.pace[way];
    double count = stretch / pace;
    if (pace == 0) { // a first look, by a guess at the speed
        count = 3e-3 / (core.flops_per_step() / 1e11 + 1e-7);
    } else if (way != faster && core.most_threads() > 1) {
        count /= 8; // a try
    }
    return count < 1 ? 1 : count > 1e6 ? 1000000 : static_cast<std::int64_t>(count);
}

// The first stretch of each way fills caches and wakes threads: it says nothing of the pace. What is old
// says little: of the way that is taken now and then only the last time counts.
void note_pace(Core& core, int way, double seconds_a_step) {
    const bool taken_often = core.pace[way] <= core.pace[1 - way];
    if (!core.warm[way]) {
        core.warm[way] = true;
    } else {
        core.pace[way] = core.pace[way] > 0 && taken_often ? (core.pace[way] + seconds_a_step) / 2 : seconds_a_step;
    }
}

bool due_and_stop(void* context) {
    Question& q = *static_cast<Question*>(context);
    return q.due() && q.ask();
}

} // namespace

EpochOutcome run_epoch(Core& core, const EpochData& data, std::int64_t steps, std::int64_t first_run_step,
                       void* theta, void* const* slots, const Progress& progress) {
    EpochSums sums{0, 0}, saved_sums{0, 0};
    std::int64_t done = 0, saved = 0;
    Question question{&progress, Clock::now(), &sums, 0, false};
    const Poll poll{due_and_stop, &question};
    // Only a step that may outlast a question's turn is interrupted in its middle.
    const bool long_steps = core.flops_per_step() > 1e9;

    core.load(theta, slots, first_run_step);
    core.begin_epoch(data);
    Clock::time_point last_saved = Clock::now();
    while (done < steps && !question.stop) {
        const Clock::time_point start = Clock::now();
        const int way = choose_way(core);
        core.use_threads(way ? core.most_threads() : 1);
        const std::int64_t count = steps_for(core, way);
        const std::int64_t now = count < steps - done ? count : steps - done;
        question.steps = done;
        const std::int64_t ran = core.run(done, now, sums, long_steps ? &poll : nullptr);
        done += ran;
        question.steps = done;
        if (ran > 0) note_pace(core, way, seconds(start) / static_cast<double>(ran));

        // A number that is not finite stays so: it is enough to look now and then, and to go back to
        // the last good state and repeat step by step when one has turned up.
        const bool save = seconds(last_saved) > save_every || done == steps || ran < now;
        if (!std::isfinite(sums.loss_sum) || (save && !core.parameters_finite())) {
            core.load(theta, slots, first_run_step + saved);
            sums = saved_sums;
            const std::int64_t limit = done;
            EpochSums good = sums;
            for (done = saved; done < limit; ++done) {
                good = sums;
                core.run(done, 1, sums, nullptr);
                if (!std::isfinite(sums.loss_sum) || !core.parameters_finite()) break;
            }
            if (done < limit) { // once more, up to the step before
                core.load(theta, slots, first_run_step + saved);
                EpochSums again = saved_sums;
                if (done > saved) core.run(saved, done - saved, again, nullptr);
                core.store(theta, slots);
                return {Question::mean(good), done, done, false};
            }
        }
        if (save) {
            core.store(theta, slots);
            saved = done, saved_sums = sums, last_saved = Clock::now();
        }
        if (done < steps && !question.stop && question.due()) question.ask();
    }
    if (saved < done) core.store(theta, slots);
    return {Question::mean(sums), done, -1, question.stop && done < steps};
}

} // namespace chainrule

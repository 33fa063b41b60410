#include "epoch.h"

#include "limits.h"

#include <chrono>
#include <cmath>

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double stretch = 0.010;  // seconds of steps between looks at the clock
constexpr double ask_every = 0.045; // seconds between questions to Python
constexpr double save_every = 0.5; // seconds between copies to fall back on
// Before anything was measured: seconds, operations a second, seconds a step beside those.
constexpr double first_stretch = 1e-3, guessed_speed = 1e11, guessed_overhead = 1e-7;
constexpr double most_steps = 1e6; // in one stretch; the clock costs nothing beside them

double seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

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

// All threads or one? On a machine that others use too, threads that wait for each other can be slower
// than one alone. Whichever is faster goes on, and the other is tried now and then.
constexpr double trial = 0.002, memory = 0.005, try_again = 0.03, try_every = 0.15, try_slow_every = 1; // seconds

// A step of milliseconds is worth all threads in any case.
bool has_choice(const Core& core) { return core.most_threads() > 1 && core.flops_per_step() <= long_step; }

std::int64_t steps_for(const Core& core) {
    const double pace = core.pace.of[core.pace.way];
    const double count = pace == 0 ? first_stretch / (core.flops_per_step() / guessed_speed + guessed_overhead)
                         : core.pace.trying ? trial / 3 / pace
                                            : stretch / pace;
    return count < 1 ? 1 : count > most_steps ? std::int64_t(most_steps) : static_cast<std::int64_t>(count);
}

void note_pace(Core& core, double seconds, double steps) {
    Core::Pace& p = core.pace;
    double& own = p.of[p.way];
    const double other = p.of[1 - p.way], now = seconds / steps;
    p.spent += seconds;
    if (!has_choice(core)) {
        own = now, p.trying = false;
        return;
    }
    if (p.trying) {
        if (p.begun && (p.best == 0 || now < p.best)) p.best = now;
        p.begun = true;
        if (own == 0) own = now;
        if (p.best == 0 || p.spent < trial) return;
        own = p.best;
        p.trying = other == 0; // at the start each is tried once
        if (p.trying || other < own) p.way = 1 - p.way;
        const double rarest = p.of[1 - p.way] > 3 * p.of[p.way] ? try_slow_every : try_every;
        p.patience = 2 * p.patience < rarest ? 2 * p.patience : rarest;
    } else {
        own = own == 0 ? now : own + (now - own) * (seconds < memory ? seconds / memory : 1);
        const bool worse = other > 0 && own > 1.1 * other; // than the other one was
        if (!worse && p.spent < p.patience) return;
        p.way = 1 - p.way, p.trying = !worse;
        if (worse) p.patience = try_again; // it may have been a moment's disturbance
    }
    p.spent = p.best = 0, p.begun = false;
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
    Poll poll{due_and_stop, &question, false};
    // Only a step that may outlast a question's turn is interrupted in its middle.
    const bool long_steps = core.flops_per_step() > long_step;

    core.load(theta, slots, first_run_step);
    core.begin_epoch(data);
    Clock::time_point last_saved = Clock::now();
    while (done < steps && !question.stop) {
        const Clock::time_point start = Clock::now();
        core.use_threads(core.pace.way ? core.most_threads() : 1);
        const std::int64_t count = steps_for(core);
        const std::int64_t now = count < steps - done ? count : steps - done;
        question.steps = done;
        poll.in_update = done == saved && now == 1;
        const std::int64_t ran = core.run(done, now, sums, long_steps ? &poll : nullptr);
        if (ran == 0 && done == saved) break; // theta and slots are from before that step
        done += ran;
        question.steps = done;
        if (ran > 0) note_pace(core, seconds(start), static_cast<double>(ran));

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

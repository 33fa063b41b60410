#include "epoch.h"

#include "limits.h"

#include <chrono>
#include <cmath>

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double ask_every = 0.045; // seconds between questions to Python
constexpr double save_every = 0.5; // seconds between copies to fall back on
// Before anything was measured: operations a second, seconds a step beside those.
constexpr double guessed_speed = 1e11, guessed_overhead = 1e-7;

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
    core.pace.prepare(core.most_threads(), core.likely_threads(), !long_steps);
    Clock::time_point last_saved = Clock::now();
    while (done < steps && !question.stop) {
        const Clock::time_point start = Clock::now();
        core.use_threads(core.pace.threads[core.pace.way]);
        const std::int64_t count = core.pace.steps(core.flops_per_step() / guessed_speed + guessed_overhead);
        const std::int64_t now = count < steps - done ? count : steps - done;
        question.steps = done;
        poll.in_update = done == saved && now == 1;
        const std::int64_t ran = core.run(done, now, sums, long_steps ? &poll : nullptr);
        if (ran == 0 && done == saved) break; // theta and slots are from before that step
        done += ran;
        question.steps = done;
        if (ran > 0) core.pace.note(seconds(start), static_cast<double>(ran));

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

// chainrule._native: the seam to Python. It forwards; checks of values and all policy are in
// engines/compiled.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "applying.h"
#include "arrays.h"
#include "core.h"
#include "epoch.h"
#include "gradients.h"
#include "limits.h"
#include "many.h"
#include "orders.h"
#include "pace.h"
#include "pool.h"
#include "reading.h"

namespace nb = nanobind;
using namespace chainrule;

namespace {

using Flat = nb::ndarray<nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Integers = nb::ndarray<const std::int64_t, nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Reals = nb::ndarray<const double, nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Layers = std::vector<std::tuple<int, int, double>>; // units, activation, dropout

// A formula as engines/programs.py writes it: operation, register, three operands and a number of each
// instruction; and the registers of the results.
using Program = std::tuple<std::vector<std::tuple<int, int, int, int, int, double>>, std::vector<int>>;
using Programs = std::vector<std::optional<std::tuple<Program, Program>>>; // value and both, of each layer

void require(bool ok, const char* what) {
    if (!ok) throw nb::value_error(what);
}
// The value of an enumeration that Python gave as its place in the list of names.
template <class Enum, std::size_t count> Enum item_of(const char* const (&)[count], int place, const char* what) {
    require(place >= 0 && std::size_t(place) < count, what);
    return static_cast<Enum>(place);
}

struct OwnFormula {
    std::vector<Instruction> instructions;
    Formula formula{};

    OwnFormula(const Program& program, int results) {
        const auto& [given, found] = program;
        const auto is_register = [](int r) { return r >= 0 && r < formula_registers; };
        require(given.size() <= std::size_t(formula_limit), "a formula has too many instructions");
        for (const auto& [operation, to, x, y, z, number] : given) {
            require(is_register(to) && is_register(x) && is_register(y) && is_register(z),
                    "there is no such register");
            instructions.push_back({item_of<Operation>(operation_names, operation, "there is no such operation"),
                                    to, x, y, z, number});
        }
        require(found.size() == std::size_t(results), "a formula has another number of results");
        formula.instructions = instructions.data(), formula.count = static_cast<int>(instructions.size());
        for (int i = 0; i < results; ++i) {
            require(is_register(found[i]), "there is no such register");
            formula.results[i] = found[i];
        }
    }
};

struct Specification {
    std::vector<LayerSpec> layers;
    NetworkSpec network;
    std::vector<std::unique_ptr<OwnFormula>> formulas;
    std::vector<double> output_weights;

    const Formula* own(const Program& program, int results) {
        formulas.push_back(std::make_unique<OwnFormula>(program, results));
        return &formulas.back()->formula;
    }

    Specification(const Layers& given, bool biases, int loss, double l2,
                  const std::optional<Programs>& programs = {}, const std::optional<Program>& output_program = {},
                  const std::optional<std::vector<double>>& weights = {}) {
        constexpr int custom_activation = int(Activation::custom), custom_loss = int(Loss::custom);
        require(!programs || programs->size() + 1 == given.size(), "there is a formula or None for each layer");
        require(given.size() >= 2, "a network has an input and at least one layer");
        for (const auto& [units, g, dropout] : given) {
            const std::size_t l = layers.size();
            const bool is_custom = g == custom_activation;
            const auto activation = is_custom
                                        ? Activation::custom
                                        : item_of<Activation>(activation_names, g, "there is no such activation");
            const bool has_formula = l > 0 && programs && (*programs)[l - 1];
            require(!is_custom || l == 0 || has_formula, "a custom activation needs its formula");
            require(units >= 1, "a layer has at least one unit");
            require(dropout >= 0 && dropout < 1, "dropout is from 0 to below 1");
            require(activation != Activation::softmax || layers.size() + 1 == given.size(),
                    "softmax is for the output layer");
            layers.push_back({units, activation, dropout});
            if (is_custom && has_formula) {
                const auto& [value, both] = *(*programs)[l - 1];
                layers.back().value = own(value, 1), layers.back().both = own(both, 2);
            }
        }
        network = {layers.data(), static_cast<int>(layers.size()) - 1, biases,
                   loss == custom_loss ? Loss::custom : item_of<Loss>(loss_names, loss, "there is no such loss"),
                   l2};
        require(l2 >= 0, "l2 is 0 or more");
        if (weights) {
            require(weights->size() == std::size_t(layers.back().units), "there is one weight for each output");
            output_weights = *weights, network.output_weights = output_weights.data();
        }
        if (output_program)
            network.output = own(*output_program, layers.back().activation == Activation::softmax ? 2 : 3);
        require(output_program || (loss != custom_loss && layers.back().activation != Activation::custom),
                "a custom loss or output needs its formula");
        // Losses that are computed from z, for which the kernels take these outputs for granted.
        const Activation output = layers.back().activation;
        require(network.loss != Loss::cross_entropy || output == Activation::softmax,
                "cross_entropy needs a softmax output");
        require(network.loss != Loss::binary_cross_entropy || output == Activation::sigmoid,
                "binary_cross_entropy needs a sigmoid output");
        require(network.loss != Loss::poisson || network.output || output == Activation::sigmoid ||
                    output == Activation::softplus || (output == Activation::softmax && !network.output_weights),
                "poisson needs a sigmoid, softplus or softmax output");
    }
    std::size_t parameters() const {
        std::size_t n = 0;
        for (std::size_t l = 1; l < layers.size(); ++l)
            n += std::size_t(layers[l].units) * (layers[l - 1].units + (network.biases ? 1 : 0));
        return n;
    }
};

PlanSpec plan_of(int optimizer, double momentum, double decay, double beta1, double beta2, double epsilon,
                 double weight_decay, double clip_norm, bool l2_per_sample, double largest_loss,
                 std::int64_t batch_size, std::uint64_t seed, int threads) {
    require(batch_size >= 1 && batch_size <= batch_limit, "batch_size is from 1 to 2**24");
    require(threads >= 1 && threads <= thread_limit, "threads is from 1 to 1024");
    return {item_of<Optimizer>(optimizer_names, optimizer, "there is no such optimizer"),
            momentum,
            decay,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            clip_norm,
            l2_per_sample,
            largest_loss,
            batch_size,
            seed,
            threads};
}

// An exception raised by the callback (a KeyboardInterrupt, say) stops training cleanly first.
struct Asker {
    nb::callable& on_progress;
    std::exception_ptr error;

    static bool ask(void* self, std::int64_t steps, double loss) {
        Asker& a = *static_cast<Asker*>(self);
        if (a.error) return true;
        nb::gil_scoped_acquire held;
        try {
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
            return nb::cast<bool>(a.on_progress(steps, loss));
        } catch (...) {
            a.error = std::current_exception();
            return true;
        }
    }
};

// Samples as the core reads them; the arrays are held as long as this lives.
struct SampleArrays {
    Buffer x, targets;
    EpochData data{};

    SampleArrays(const Specification& spec, nb::handle X, nb::handle y, const std::optional<Reals>& weights)
        : x(X, PyBUF_FORMAT | PyBUF_STRIDES), targets(y, PyBUF_FORMAT | PyBUF_STRIDES) {
        require(x.matrix(spec.layers.front().units, data.X),
                "X does not fit the network, or is of a type that the core does not read");
        const std::size_t n = x->shape[0];
        Element of_classes;
        if (targets.held() && targets->ndim == 1) {
            require(targets.element(of_classes) && of_classes == Element::i64 && targets.is_aligned() &&
                        targets->strides[0] == sizeof(std::int64_t),
                    "classes are int64, side by side");
            data.classes = static_cast<const std::int64_t*>(targets->buf);
        } else {
            require(targets.matrix(spec.layers.back().units, data.y),
                    "y does not fit the network, or is of a type that the core does not read");
        }
        require(n > 0 && std::size_t(targets->shape[0]) == n, "y does not fit X");
        require(!weights || weights->shape(0) == n, "weights do not fit X");
        data.sample_weights = weights ? weights->data() : nullptr;
        data.n_samples = static_cast<std::int64_t>(n);
    }
    void check_order(const std::int64_t* order, std::size_t count) const {
        std::uint64_t largest = 0; // of numbers below 0, too
        for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, static_cast<std::uint64_t>(order[i]));
        require(largest < std::uint64_t(x->shape[0]), "order names a sample that X does not have");
    }
};

template <class T, int dimensions>
using Table = nb::ndarray<T, nb::c_contig, nb::device::cpu, nb::ndim<dimensions>>;

class TrainerHandle {
public:
    TrainerHandle(const Layers& layers, bool biases, int loss, double l2, bool single, int optimizer,
                  double momentum, double decay, double beta1, double beta2, double epsilon, double weight_decay,
                  double clip_norm, bool l2_per_sample, double largest_loss, std::int64_t batch_size,
                  std::uint64_t seed, int threads, const std::optional<Programs>& formulas,
                  const std::optional<Program>& output, const std::optional<std::vector<double>>& output_weights)
        : spec_(layers, biases, loss, l2, formulas, output, output_weights), single_(single),
          batch_size_(batch_size) {
        const PlanSpec plan = plan_of(optimizer, momentum, decay, beta1, beta2, epsilon, weight_decay, clip_norm,
                                      l2_per_sample, largest_loss, batch_size, seed, threads);
        slots_ = slot_count(plan.optimizer);
        const InstructionSet& isa = instruction_set_for(spec_.network, single ? 4 : 8);
        core_.reset(single ? isa.make_core_f32(spec_.network, plan) : isa.make_core_f64(spec_.network, plan));
    }

    // For tests and benchmarks: no step with fewer.
    void take_all_threads() {
        core_->pace = {};
        core_->pace.prepare(core_->most_threads(), core_->most_threads(), false);
    }
    nb::tuple run_epoch(Flat theta, const std::vector<Flat>& slots, std::int64_t run_step, nb::handle X,
                        nb::handle y, std::optional<Reals> weights, std::optional<Integers> order,
                        Reals learning_rates, std::optional<nb::ndarray<nb::c_contig, nb::device::cpu>> outputs,
                        std::optional<Table<double, 2>> step_losses, nb::callable on_progress, std::int64_t every,
                        std::int64_t first_step, std::int64_t steps_before,
                        std::optional<Table<double, 1>> sample_losses,
                        std::optional<Table<double, 1>> sample_norms, std::optional<Table<double, 3>> layer_norms,
                        std::int64_t traced, std::optional<Table<double, 2>> trace) {
        const auto own = single_ ? nb::dtype<float>() : nb::dtype<double>();
        const std::size_t parameters = spec_.parameters(), steps = learning_rates.shape(0);
        require(theta.dtype() == own && theta.shape(0) == parameters, "theta does not fit the network");
        require(slots.size() == slots_, "the number of slots is not that of the optimizer");
        void* slot_pointers[2] = {nullptr, nullptr};
        for (std::size_t i = 0; i < slots_; ++i) {
            require(slots[i].dtype() == own && slots[i].shape(0) == parameters, "a slot does not fit the network");
            slot_pointers[i] = slots[i].data();
        }
        SampleArrays samples(spec_, X, y, weights);
        EpochData& data = samples.data;
        const std::size_t n = std::size_t(data.n_samples);
        require((n + batch_size_ - 1) / batch_size_ == steps, "there is one learning rate for each step");
        require(!outputs || (outputs->dtype() == own && outputs->ndim() == 2 && outputs->shape(0) == n &&
                             outputs->shape(1) == std::size_t(spec_.layers.back().units)),
                "outputs do not fit X, the network or its dtype");
        require(!step_losses || (step_losses->shape(0) == steps && step_losses->shape(1) == 2),
                "step_losses do not fit the steps");
        if (order) {
            require(order->shape(0) == n, "order does not fit X");
            samples.check_order(order->data(), n);
        }
        data.order = order ? order->data() : nullptr;
        data.learning_rates = learning_rates.data();
        data.step_losses = step_losses ? step_losses->data() : nullptr;
        data.outputs = outputs ? outputs->data() : nullptr;
        require(every >= 0 && first_step >= 0 && (every == 0 || (sample_losses && sample_norms && layer_norms)),
                "every needs arrays for the norms of samples and layers");
        const std::size_t L = spec_.layers.size() - 1, arrays = spec_.network.biases ? 2 * L : L;
        const std::size_t noted =
            every == 0 ? 0 : (first_step + steps + every - 1) / every - (first_step + every - 1) / every;
        require((!sample_losses || sample_losses->shape(0) == n) && (!sample_norms || sample_norms->shape(0) == n),
                "the losses or norms of samples do not fit X");
        require(!layer_norms || (layer_norms->shape(0) == noted && layer_norms->shape(1) == arrays &&
                                 layer_norms->shape(2) == 4),
                "the norms of layers do not fit the network and the steps");
        require(!trace || (trace->shape(0) == steps && trace->shape(1) == 4 && traced >= 0 &&
                           std::size_t(traced) < parameters),
                "the trace does not fit the steps or the parameters");
        require(steps_before >= 0 && steps_before <= run_step, "steps_before does not fit the step of the run");
        data.watch = {every,
                      first_step,
                      steps_before,
                      sample_losses ? sample_losses->data() : nullptr,
                      sample_norms ? sample_norms->data() : nullptr,
                      layer_norms ? layer_norms->data() : nullptr,
                      trace ? trace->data() : nullptr,
                      traced};

        Asker asker{on_progress, {}};
        EpochOutcome outcome;
        {
            nb::gil_scoped_release released;
            outcome = chainrule::run_epoch(*core_, data, static_cast<std::int64_t>(steps), run_step, theta.data(),
                                           slot_pointers, {&Asker::ask, &asker});
        }
        if (asker.error) std::rethrow_exception(asker.error);
        return nb::make_tuple(outcome.loss, outcome.steps, outcome.failed_step, outcome.stopped);
    }

private:
    Specification spec_;
    bool single_;
    std::size_t batch_size_, slots_;
    std::unique_ptr<Core> core_;
};

// X, y, weights, rows, which dropout masks, and what receives a^(L) at the rows.
using Leaf = std::tuple<nb::object, nb::object, std::optional<Reals>, Integers, std::int64_t,
                        std::optional<nb::ndarray<nb::c_contig, nb::device::cpu>>>;

// Gradients of micro-batches, which others take their steps with.
class GradientsHandle {
public:
    GradientsHandle(const Layers& layers, bool biases, int loss, double l2, bool single, std::int64_t batch_size,
                    std::uint64_t seed, int threads, const std::optional<Programs>& formulas,
                    const std::optional<Program>& output, const std::optional<std::vector<double>>& output_weights)
        : spec_(layers, biases, loss, l2, formulas, output, output_weights), single_(single),
          batch_size_(batch_size),
          gradients_(spec_.network,
                     plan_of(0, 0, 0, 0, 0, 0, 0, 0, false, std::numeric_limits<double>::infinity(), batch_size,
                             seed, threads),
                     single, instruction_set_for(spec_.network, single ? 4 : 8)) {}

    GradientsHandle(const GradientsHandle&) = delete;

    // Returns the sums of weights and of losses, and the first batch whose loss is not finite, or -1.
    nb::tuple run(Flat theta, const std::vector<Leaf>& leaves, Flat g, nb::callable on_progress) {
        const auto own = single_ ? nb::dtype<float>() : nb::dtype<double>();
        const std::size_t parameters = spec_.parameters(), units = spec_.layers.back().units;
        require(theta.dtype() == own && theta.shape(0) == parameters && g.dtype() == own &&
                    g.shape(0) == parameters,
                "theta and g do not fit the network");
        require(!leaves.empty(), "there is at least one micro-batch");
        std::vector<std::unique_ptr<SampleArrays>> held;
        std::vector<MicroBatch> batches;
        for (const auto& [X, y, weights, rows, draw, outputs] : leaves) {
            held.push_back(std::make_unique<SampleArrays>(spec_, X, y, weights));
            SampleArrays& samples = *held.back();
            const std::size_t n = samples.data.n_samples, taken = rows.shape(0);
            require(taken >= 1 && taken <= batch_size_, "a micro-batch has from 1 to batch_size rows");
            samples.check_order(rows.data(), taken);
            require(!outputs || (outputs->dtype() == own && outputs->ndim() == 2 && outputs->shape(0) == n &&
                                 outputs->shape(1) == units),
                    "outputs do not fit X, the network or its dtype");
            samples.data.order = rows.data();
            samples.data.n_samples = static_cast<std::int64_t>(taken);
            samples.data.outputs = outputs ? outputs->data() : nullptr;
            batches.push_back({samples.data, draw, {}, false});
        }
        Asker asker{on_progress, {}};
        {
            nb::gil_scoped_release released;
            gradients_.run(theta.data(), batches, g.data(), {&Asker::ask, &asker});
        }
        if (asker.error) std::rethrow_exception(asker.error);
        int failed = 0;
        while (failed < int(batches.size()) && batches[failed].finite) ++failed;
        return nb::make_tuple(batches[0].sums.weight, batches[0].sums.loss,
                              failed < int(batches.size()) ? failed : -1);
    }

private:
    Specification spec_;
    bool single_;
    std::size_t batch_size_;
    Gradients gradients_;
};

// The rule of an optimiser, for gradients that others have computed.
class RuleHandle {
public:
    RuleHandle(bool single, int optimizer, double momentum, double decay, double beta1, double beta2,
               double epsilon, double weight_decay, int threads)
        : single_(single), plan_(plan_of(optimizer, momentum, decay, beta1, beta2, epsilon, weight_decay, 0, false,
                                         std::numeric_limits<double>::infinity(), 1, 0, threads)),
          applying_(plan_, single, instruction_set()) {}

    bool apply(Flat theta, const std::vector<Flat>& slots, Flat g, std::int64_t t, double eta, double scale) {
        const auto own = single_ ? nb::dtype<float>() : nb::dtype<double>();
        const std::size_t n = theta.shape(0);
        require(theta.dtype() == own && g.dtype() == own && g.shape(0) == n, "theta and g do not fit");
        require(slots.size() == std::size_t(slot_count(plan_.optimizer)),
                "the number of slots is not that of the optimizer");
        require(t >= 1, "steps are counted from 1");
        void* slot_pointers[2] = {nullptr, nullptr};
        for (std::size_t i = 0; i < slots.size(); ++i) {
            require(slots[i].dtype() == own && slots[i].shape(0) == n, "a slot does not fit theta");
            slot_pointers[i] = slots[i].data();
        }
        nb::gil_scoped_release released;
        return applying_.run(t, eta, scale, static_cast<std::int64_t>(n), theta.data(), slot_pointers, g.data());
    }

private:
    bool single_;
    PlanSpec plan_;
    Applying applying_;
};

using Rows2 = nb::ndarray<nb::c_contig, nb::device::cpu, nb::ndim<2>>; // of either dtype
using Rows3 = nb::ndarray<nb::c_contig, nb::device::cpu, nb::ndim<3>>;

// Many networks of one shape, trained side by side.
class ManyHandle {
public:
    ManyHandle(const Layers& layers, bool biases, int loss, bool single, int optimizer, double momentum,
               double decay, double beta1, double beta2, double epsilon, double weight_decay, double clip_norm,
               bool l2_per_sample, double largest_loss, std::int64_t batch_size, int threads)
        : spec_(layers, biases, loss, 0), single_(single), batch_size_(batch_size) {
        const PlanSpec plan = plan_of(optimizer, momentum, decay, beta1, beta2, epsilon, weight_decay, clip_norm,
                                      l2_per_sample, largest_loss, batch_size, 0, threads);
        slots_ = slot_count(plan.optimizer);
        many_ = std::make_unique<Many>(spec_.network, plan, single ? 4 : 8);
    }

    // theta and each slot: (M, parameters). orders: (1 or M, epochs, n), the same for all or each one's own.
    // rates: (M, epochs, steps). losses: (M, epochs). outputs: (M, n, units_L). step_losses: (M, epochs, steps,
    // 2). trained: (M,).
    bool run(Rows2 theta, const std::vector<Rows2>& slots, Integers run_steps, nb::handle X, nb::handle y,
             std::optional<Reals> weights, std::optional<Table<const std::int64_t, 3>> orders,
             Table<const double, 3> rates, Reals l2, Table<const std::uint64_t, 1> seeds, Table<double, 2> losses,
             std::optional<Rows3> outputs, std::optional<Table<double, 4>> step_losses, Table<bool, 1> trained,
             nb::callable on_progress) {
        const auto own = single_ ? nb::dtype<float>() : nb::dtype<double>();
        const std::size_t count = theta.shape(0), parameters = spec_.parameters(), size = single_ ? 4 : 8;
        require(theta.dtype() == own && theta.shape(1) == parameters, "theta does not fit the network");
        require(slots.size() == slots_, "the number of slots is not that of the optimizer");
        for (const auto& slot : slots)
            require(slot.dtype() == own && slot.shape(0) == count && slot.shape(1) == parameters,
                    "a slot does not fit the networks");
        SampleArrays samples(spec_, X, y, weights);
        const std::size_t epochs = rates.shape(1), units = spec_.layers.back().units;
        std::size_t n = std::size_t(samples.data.n_samples);
        if (orders) {
            require((orders->shape(0) == 1 || orders->shape(0) == count) && orders->shape(1) == epochs &&
                        orders->shape(2) > 0,
                    "orders do not fit the networks or the epochs");
            n = orders->shape(2);
            samples.check_order(orders->data(), orders->size());
        }
        samples.data.n_samples = static_cast<std::int64_t>(n);
        const std::size_t steps = (n + batch_size_ - 1) / batch_size_;
        require(rates.shape(0) == count && rates.shape(2) == steps, "there is one learning rate for each step");
        require(run_steps.shape(0) == count && l2.shape(0) == count && seeds.shape(0) == count &&
                    losses.shape(0) == count && losses.shape(1) == epochs && trained.shape(0) == count,
                "there is one number for each network");
        require(!outputs || (outputs->dtype() == own && outputs->shape(0) == count && outputs->shape(1) == n &&
                             outputs->shape(2) == units),
                "outputs do not fit X, the networks or their dtype");
        require(!step_losses || (step_losses->shape(0) == count && step_losses->shape(1) == epochs &&
                                 step_losses->shape(2) == steps && step_losses->shape(3) == 2),
                "step_losses do not fit the networks or the steps");

        std::vector<Member> members(count);
        for (std::size_t i = 0; i < count; ++i) {
            Member& m = members[i];
            m.theta = static_cast<char*>(theta.data()) + i * parameters * size;
            for (std::size_t s = 0; s < slots_; ++s)
                m.slots[s] = static_cast<char*>(slots[s].data()) + i * parameters * size;
            m.run_step = run_steps.data()[i];
            m.learning_rates = rates.data() + i * epochs * steps;
            m.order = orders ? orders->data() + (orders->shape(0) == 1 ? 0 : i * epochs * n) : nullptr;
            m.outputs = outputs ? static_cast<char*>(outputs->data()) + i * n * units * size : nullptr;
            m.losses = losses.data() + i * epochs;
            m.step_losses = step_losses ? step_losses->data() + i * epochs * steps * 2 : nullptr;
            m.l2 = l2.data()[i];
            m.seed = seeds.data()[i];
            m.trained = false;
        }
        Asker asker{on_progress, {}};
        bool stopped;
        {
            nb::gil_scoped_release released;
            stopped = many_->run(samples.data, members, static_cast<int>(epochs), 1, {&Asker::ask, &asker});
        }
        for (std::size_t i = 0; i < count; ++i) trained.data()[i] = members[i].trained;
        if (asker.error) std::rethrow_exception(asker.error);
        return stopped;
    }

private:
    Specification spec_;
    bool single_;
    std::size_t batch_size_, slots_;
    std::unique_ptr<Many> many_;
};

// What a predictor answers.
enum Answer : int {
    not_handled = 0, // the arrays are not what it reads, and nothing was done
    done = 1,
    not_finite = 2, // done, and some number is not finite
};

class PredictorHandle {
public:
    PredictorHandle(const Layers& layers, bool biases, int loss, bool single, int threads,
                    const std::optional<Programs>& formulas, const std::optional<Program>& output,
                    const std::optional<std::vector<double>>& output_weights)
        : spec_(layers, biases, loss, 0, formulas, output, output_weights), single_(single),
          isa_(&instruction_set()) {
        require(threads >= 1 && threads <= thread_limit, "threads is from 1 to 1024");
        predictor_.reset(single ? isa_->make_predictor_f32(spec_.network, threads)
                                : isa_->make_predictor_f64(spec_.network, threads));
    }

    int predict(nb::handle theta, nb::handle X, nb::handle out) { return run(theta, X, out, nullptr, nullptr); }
    // The same, and C_i of every row; y is (n, units_L), of the network's dtype, as out is.
    int losses(nb::handle theta, nb::handle X,
               const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu, nb::ndim<2>>& y, nb::handle out,
               nb::ndarray<double, nb::c_contig, nb::device::cpu, nb::ndim<1>> C) {
        require(y.dtype() == (single_ ? nb::dtype<float>() : nb::dtype<double>()) && y.shape(0) == C.shape(0) &&
                    y.shape(1) == std::size_t(spec_.layers.back().units) && nb::len(X) == C.shape(0),
                "y or C does not fit X, the network or its dtype");
        return run(theta, X, out, y.data(), C.data());
    }

private:
    int run(nb::handle theta, nb::handle X, nb::handle out, const void* y, double* C) {
        if (isa_ != &instruction_set()) return not_handled;
        const Buffer t(theta, PyBUF_FORMAT | PyBUF_ND), x(X, PyBUF_FORMAT | PyBUF_STRIDES),
            a(out, PyBUF_FORMAT | PyBUF_ND | PyBUF_WRITABLE);
        if (!t.held() || !a.held() || !t.is_aligned() || !a.is_aligned()) return not_handled;
        const char own = single_ ? 'f' : 'd';
        const std::size_t columns = spec_.layers[0].units, units = spec_.layers.back().units;
        MatrixView view;
        if (!x.matrix(columns, view) || t.type() != own || a.type() != own ||
            std::size_t(t->len) != spec_.parameters() * t->itemsize ||
            std::size_t(a->len) != std::size_t(x->shape[0]) * units * a->itemsize || x->shape[0] == 0)
            return not_handled;
        const std::int64_t n = x->shape[0];
        const bool brief = double(n) * double(spec_.parameters()) < brief_prediction;
        if (brief && busy_.try_lock()) {
            std::lock_guard<std::mutex> one_at_a_time(busy_, std::adopt_lock);
            return predictor_->run(t->buf, view, n, a->buf, y, C) ? done : not_finite;
        }
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> one_at_a_time(busy_);
        return predictor_->run(t->buf, view, n, a->buf, y, C) ? done : not_finite;
    }

    Specification spec_;
    bool single_;
    const InstructionSet* isa_;
    std::unique_ptr<Predictor> predictor_;
    std::mutex busy_;
};

// Whether all numbers of an array are finite, as floats or doubles, which `out` receives where it is not None.
int read_array(nb::handle given, nb::handle out, bool single) {
    const Buffer from(given, PyBUF_FORMAT | PyBUF_STRIDES);
    MatrixView view;
    if (!from.held() || !from.element(view.element) || from->itemsize == 0) return not_handled;
    std::int64_t count = from->len / from->itemsize, rows = count, columns = 1, side_by_side = from->itemsize;
    bool plain = true;
    for (int i = from->ndim - 1; i >= 0; side_by_side *= from->shape[i--])
        plain = plain && (from->shape[i] == 1 || from->strides[i] == side_by_side);
    view.data = from->buf, view.column_stride = from->itemsize;
    constexpr std::int64_t row = 4096; // numbers, of those that lie side by side
    if (plain) {
        columns = std::min(count, row), rows = columns ? count / columns : 0;
        view.row_stride = columns * from->itemsize;
    } else if (from->ndim == 2 && from->shape[1] <= std::numeric_limits<int>::max()) {
        rows = from->shape[0], columns = from->shape[1];
        view.row_stride = from->strides[0], view.column_stride = from->strides[1];
    } else if (from->ndim == 1) {
        view.row_stride = from->strides[0];
    } else {
        return not_handled;
    }
    std::optional<Buffer> into;
    if (!out.is_none()) {
        into.emplace(out, PyBUF_FORMAT | PyBUF_ND | PyBUF_WRITABLE);
        if (!into->held() || into->type() != (single ? 'f' : 'd') || !into->is_aligned() ||
            (*into)->len / (*into)->itemsize != count)
            return not_handled;
    }
    char* const to = into ? static_cast<char*>((*into)->buf) : nullptr;
    const auto all = [&] {
        int threads = 1;
        try {
            threads = default_threads();
        } catch (const std::invalid_argument&) { // training says what is wrong with the number
        }
        bool finite = read_numbers(view, rows, static_cast<int>(columns), single, to, threads);
        if (const std::int64_t so_far = rows * columns; finite && so_far < count) { // left behind whole rows
            MatrixView rest = view;
            rest.data = static_cast<const char*>(view.data) + so_far * from->itemsize;
            finite = read_numbers(rest, 1, static_cast<int>(count - so_far), single,
                                  to ? to + so_far * (single ? 4 : 8) : nullptr, 1);
        }
        return finite ? done : not_finite;
    };
    if (double(count) < brief_prediction) return all();
    nb::gil_scoped_release released;
    return all();
}

template <class T> using Input = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Output = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

} // namespace

NB_MODULE(_native, m) {
    const auto names = [](const auto& all) {
        nb::list list;
        for (const char* name : all) list.append(name);
        return nb::tuple(list);
    };
    // The place of a name in these is what stands for it below.
    m.attr("activations") = names(activation_names);
    m.attr("losses") = names(loss_names);
    m.attr("optimizers") = names(optimizer_names);
    m.attr("functions") = names(function_names);
    m.attr("operations") = names(operation_names);
    m.attr("registers") = formula_registers;
    m.attr("instructions") = formula_limit;
    m.attr("batch_limit") = batch_limit;
    m.attr("thread_limit") = thread_limit;
    m.attr("NOT_HANDLED") = int(not_handled);
    m.attr("DONE") = int(done);
    m.attr("NOT_FINITE") = int(not_finite);

    nb::class_<RuleHandle>(m, "Rule")
        .def(nb::init<bool, int, double, double, double, double, double, double, int>(), nb::kw_only(),
             nb::arg("single"), nb::arg("optimizer"), nb::arg("momentum"), nb::arg("decay"), nb::arg("beta1"),
             nb::arg("beta2"), nb::arg("epsilon"), nb::arg("weight_decay"), nb::arg("threads"))
        .def("apply", &RuleHandle::apply, nb::arg("theta").noconvert(), nb::arg("slots").noconvert(),
             nb::arg("g").noconvert(), nb::arg("t"), nb::arg("eta"), nb::arg("scale"));
    nb::class_<TrainerHandle>(m, "Trainer")
        .def(nb::init<const Layers&, bool, int, double, bool, int, double, double, double, double, double, double,
                      double, bool, double, std::int64_t, std::uint64_t, int, const std::optional<Programs>&,
                      const std::optional<Program>&, const std::optional<std::vector<double>>&>(),
             nb::kw_only(), nb::arg("layers"), nb::arg("biases"), nb::arg("loss"), nb::arg("l2"),
             nb::arg("single"), nb::arg("optimizer"), nb::arg("momentum"), nb::arg("decay"), nb::arg("beta1"),
             nb::arg("beta2"), nb::arg("epsilon"), nb::arg("weight_decay"), nb::arg("clip_norm"),
             nb::arg("l2_per_sample"), nb::arg("largest_loss"), nb::arg("batch_size"), nb::arg("seed"),
             nb::arg("threads"), nb::arg("formulas") = nb::none(), nb::arg("output") = nb::none(),
             nb::arg("output_weights") = nb::none())
        .def("take_all_threads", &TrainerHandle::take_all_threads)
        .def("run_epoch", &TrainerHandle::run_epoch, nb::arg("theta").noconvert(), nb::arg("slots").noconvert(),
             nb::arg("run_step"), nb::arg("X"), nb::arg("y"), nb::arg("weights").none(), nb::arg("order").none(),
             nb::arg("learning_rates"), nb::arg("outputs").none().noconvert(),
             nb::arg("step_losses").none().noconvert(), nb::arg("on_progress"), nb::arg("every") = 0,
             nb::arg("first_step") = 0, nb::arg("steps_before") = 0,
             nb::arg("sample_losses").none().noconvert() = nb::none(),
             nb::arg("sample_norms").none().noconvert() = nb::none(),
             nb::arg("layer_norms").none().noconvert() = nb::none(), nb::arg("traced") = 0,
             nb::arg("trace").none().noconvert() = nb::none());
    nb::class_<GradientsHandle>(m, "Gradients")
        .def(nb::init<const Layers&, bool, int, double, bool, std::int64_t, std::uint64_t, int,
                      const std::optional<Programs>&, const std::optional<Program>&,
                      const std::optional<std::vector<double>>&>(),
             nb::kw_only(), nb::arg("layers"), nb::arg("biases"), nb::arg("loss"), nb::arg("l2"),
             nb::arg("single"), nb::arg("batch_size"), nb::arg("seed"), nb::arg("threads"),
             nb::arg("formulas") = nb::none(), nb::arg("output") = nb::none(),
             nb::arg("output_weights") = nb::none())
        .def("run", &GradientsHandle::run, nb::arg("theta").noconvert(), nb::arg("leaves").noconvert(),
             nb::arg("g").noconvert(), nb::arg("on_progress"));
    nb::class_<ManyHandle>(m, "Many")
        .def(nb::init<const Layers&, bool, int, bool, int, double, double, double, double, double, double, double,
                      bool, double, std::int64_t, int>(),
             nb::kw_only(), nb::arg("layers"), nb::arg("biases"), nb::arg("loss"), nb::arg("single"),
             nb::arg("optimizer"), nb::arg("momentum"), nb::arg("decay"), nb::arg("beta1"), nb::arg("beta2"),
             nb::arg("epsilon"), nb::arg("weight_decay"), nb::arg("clip_norm"), nb::arg("l2_per_sample"),
             nb::arg("largest_loss"), nb::arg("batch_size"), nb::arg("threads"))
        .def("run", &ManyHandle::run, nb::arg("theta").noconvert(), nb::arg("slots").noconvert(),
             nb::arg("run_steps"), nb::arg("X"), nb::arg("y"), nb::arg("weights").none(), nb::arg("orders").none(),
             nb::arg("rates"), nb::arg("l2"), nb::arg("seeds"), nb::arg("losses").noconvert(),
             nb::arg("outputs").none().noconvert(), nb::arg("step_losses").none().noconvert(),
             nb::arg("trained").noconvert(), nb::arg("on_progress"));
    nb::class_<PredictorHandle>(m, "Predictor")
        .def(nb::init<const Layers&, bool, int, bool, int, const std::optional<Programs>&,
                      const std::optional<Program>&, const std::optional<std::vector<double>>&>(),
             nb::kw_only(), nb::arg("layers"), nb::arg("biases"), nb::arg("loss"), nb::arg("single"),
             nb::arg("threads"), nb::arg("formulas") = nb::none(), nb::arg("output") = nb::none(),
             nb::arg("output_weights") = nb::none())
        .def("predict", &PredictorHandle::predict)
        .def("losses", &PredictorHandle::losses);

    // For benchmarks: seconds that a meeting of so many threads takes, of as many meetings.
    m.def("meeting_seconds", [](int threads, int count) {
        require(threads >= 1 && threads <= thread_limit && count >= 1, "threads is from 1 to 1024");
        struct Meetings {
            Barrier barrier;
            int count;
        } meetings;
        meetings.barrier.reset(threads), meetings.count = count;
        nb::gil_scoped_release released;
        const auto start = std::chrono::steady_clock::now();
        run_on_threads(
            threads,
            [](void* given, int) {
                auto& m = *static_cast<Meetings*>(given);
                for (int i = 0; i < m.count; ++i) m.barrier.wait();
            },
            &meetings);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
    });
    // For tests: how the number of threads is chosen.
    nb::class_<Pace>(m, "Pace")
        .def(
            "__init__",
            [](Pace* self, int most, int likely, bool choice) {
                new (self) Pace;
                self->prepare(most, likely, choice);
            },
            nb::arg("most"), nb::arg("likely"), nb::arg("choice") = true)
        .def("steps", &Pace::steps)
        .def("note", &Pace::note)
        .def_prop_ro("threads", [](const Pace& p) { return p.threads[p.way]; })
        .def_prop_ro("settled", [](const Pace& p) { return !p.trying; });
    m.def(
        "likely_threads",
        [](double flops, double bytes, int meetings, int most) {
            return likely_threads({flops, bytes, meetings}, most);
        },
        nb::arg("flops"), nb::arg("bytes"), nb::arg("meetings"), nb::arg("most"));
    m.def(
        "likely_seconds",
        [](double flops, double bytes, int meetings, int threads) {
            return likely_seconds({flops, bytes, meetings}, threads);
        },
        nb::arg("flops"), nb::arg("bytes"), nb::arg("meetings"), nb::arg("threads"));
    m.def("read", &read_array, nb::arg("given"), nb::arg("out").none(), nb::arg("single"));
    // Fills rows with the orders of as many epochs from one on.
    m.def("epoch_orders",
          [](std::uint64_t seed, std::uint64_t epoch, Table<std::int64_t, 2> orders, std::uint64_t shard) {
              require(orders.shape(1) <= std::size_t{1} << 32, "an order is of at most 2**32 samples");
              for (std::size_t i = 0; i < orders.shape(0); ++i)
                  epoch_order(seed, epoch + i, static_cast<std::int64_t>(orders.shape(1)),
                              orders.data() + i * orders.shape(1), shard);
          });
    m.def("instruction_set", [] { return std::string(instruction_set().name); });
    m.def("available_instruction_sets", [] {
        std::vector<std::string> names;
        for (const char* const* n = available_instruction_sets(); *n; ++n) names.emplace_back(*n);
        return names;
    });
    m.def(
        "force_instruction_set",
        [](std::optional<std::string> name) { force_instruction_set(name ? name->c_str() : nullptr); },
        nb::arg("name").none());
    m.def("default_threads", &default_threads);

    // For the tests of single kernels.
    const auto activation = [](int kind, auto z, auto value, auto a, auto d, auto f) {
        require(value.size() == z.size() && a.size() == z.size() && d.size() == z.size(), "sizes differ");
        f(item_of<Activation>(activation_names, kind, "there is no such activation"),
          static_cast<std::int64_t>(z.size()), z.data(), value.data(), a.data(), d.data());
    };
    m.def("activation", [=](int kind, Input<float> z, Output<float> value, Output<float> a, Output<float> d) {
        activation(kind, z, value, a, d, instruction_set().activation_f32);
    });
    m.def("activation", [=](int kind, Input<double> z, Output<double> value, Output<double> a, Output<double> d) {
        activation(kind, z, value, a, d, instruction_set().activation_f64);
    });
    const auto formula = [](const Program& program, const auto& inputs, const auto& results, auto f) {
        const OwnFormula own(program, static_cast<int>(results.size()));
        require(!inputs.empty() && !results.empty() && results.size() <= 3, "there is an input and a result");
        std::vector<decltype(inputs[0].data())> from;
        std::vector<decltype(results[0].data())> to;
        const std::size_t n = inputs[0].size();
        for (const auto& input : inputs) require(input.size() == n, "sizes differ"), from.push_back(input.data());
        for (const auto& result : results)
            require(result.size() == n, "sizes differ"), to.push_back(result.data());
        f(own.formula, static_cast<std::int64_t>(n), from.data(), static_cast<int>(from.size()), to.data(),
          static_cast<int>(to.size()));
    };
    m.def(
        "formula",
        [=](const Program& program, const std::vector<Input<float>>& inputs,
            const std::vector<Output<float>>& results) {
            formula(program, inputs, results, instruction_set().formula_f32);
        },
        nb::arg("program"), nb::arg("inputs").noconvert(), nb::arg("results").noconvert());
    m.def(
        "formula",
        [=](const Program& program, const std::vector<Input<double>>& inputs,
            const std::vector<Output<double>>& results) {
            formula(program, inputs, results, instruction_set().formula_f64);
        },
        nb::arg("program"), nb::arg("inputs").noconvert(), nb::arg("results").noconvert());
    const auto function = [](int kind, auto x, auto y, auto f) {
        require(y.size() == x.size(), "sizes differ");
        f(item_of<Function>(function_names, kind, "there is no such function"),
          static_cast<std::int64_t>(x.size()), x.data(), y.data());
    };
    m.def("function", [=](int kind, Input<float> x, Output<float> y) {
        function(kind, x, y, instruction_set().function_f32);
    });
    m.def("function", [=](int kind, Input<double> x, Output<double> y) {
        function(kind, x, y, instruction_set().function_f64);
    });
    const auto product = [](auto A, auto B, auto C, auto f) {
        require(A.ndim() == 2 && B.ndim() == 2 && C.ndim() == 2 && A.shape(1) == B.shape(0) &&
                    C.shape(0) == A.shape(0) && C.shape(1) == B.shape(1),
                "shapes differ");
        f(static_cast<int>(A.shape(0)), static_cast<int>(B.shape(1)), static_cast<int>(A.shape(1)), A.data(),
          B.data(), C.data());
    };
    m.def("product", [=](Input<float> A, Input<float> B, Output<float> C) {
        product(A, B, C, instruction_set().product_f32);
    });
    m.def("product", [=](Input<double> A, Input<double> B, Output<double> C) {
        product(A, B, C, instruction_set().product_f64);
    });
    m.def("dropout_words", [](std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step,
                              nb::ndarray<std::uint32_t, nb::c_contig, nb::device::cpu, nb::ndim<1>> words) {
        instruction_set().dropout_words(seed, row, layer, step, static_cast<int>(words.shape(0)), words.data());
    });
}

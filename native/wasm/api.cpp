// The core as a WebAssembly module: functions of numbers and of addresses in the module's memory, into
// which the caller copies its arrays. What binding.cpp is for CPython; engines/wasm.py checks and calls.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../core.h"
#include "../epoch.h"
#include "../orders.h"

using namespace chainrule;

#define CR_EXPORT(name) extern "C" __attribute__((visibility("default"), export_name(#name)))

// Of the host: what Progress asks.
extern "C" __attribute__((import_module("chainrule"), import_name("ask"))) int host_ask(double steps, double loss);

extern bool used_up; // of one_thread.cpp

namespace {

// Everything is read from doubles, in which the caller writes integers, too (all are below 2**53; the
// seed comes in halves).
class Numbers {
public:
    explicit Numbers(const double* from) : at_(from) {}
    double real() { return *at_++; }
    std::int64_t integer() { return static_cast<std::int64_t>(real()); }
    template <class Enum> Enum item() { return static_cast<Enum>(integer()); }
    // An address in the module's memory; 0 is null.
    template <class T> T* address() { return reinterpret_cast<T*>(static_cast<std::uintptr_t>(integer())); }
    MatrixView matrix() {
        MatrixView m{};
        m.data = address<const void>();
        m.element = item<Element>();
        m.row_stride = integer(), m.column_stride = integer();
        return m;
    }

private:
    const double* at_;
};

struct OwnFormula {
    std::vector<Instruction> instructions;
    Formula formula{};
};

// A network and, where there is a plan, who trains it; else who predicts.
struct Machine {
    std::vector<LayerSpec> layers;
    std::vector<std::unique_ptr<OwnFormula>> formulas;
    std::vector<double> output_weights;
    NetworkSpec network;
    std::unique_ptr<Core> core;
    std::unique_ptr<Predictor> predictor;

    // How many instructions, each one's operation, register, three operands and number; how many results, and
    // their registers.
    const Formula* read_formula(Numbers& in) {
        formulas.push_back(std::make_unique<OwnFormula>());
        OwnFormula& own = *formulas.back();
        own.instructions.resize(static_cast<std::size_t>(in.integer()));
        for (Instruction& i : own.instructions) {
            i.operation = in.item<Operation>();
            for (int* place : {&i.to, &i.x, &i.y, &i.z}) *place = static_cast<int>(in.integer());
            i.number = in.real();
        }
        own.formula.instructions = own.instructions.data();
        own.formula.count = static_cast<int>(own.instructions.size());
        const int results = static_cast<int>(in.integer());
        for (int i = 0; i < results; ++i) own.formula.results[i] = static_cast<int>(in.integer());
        return &own.formula;
    }
    // biases, loss, l2, single, number of layers with the input, and units, activation, dropout of each; of each
    // layer that has a custom activation, two formulas; the number of weights of outputs, and these; whether there
    // is a formula of the output, and that.
    bool read_network(Numbers& in) {
        const bool biases = in.integer() != 0;
        const Loss loss = in.item<Loss>();
        const double l2 = in.real();
        const bool single = in.integer() != 0;
        const int n = static_cast<int>(in.integer());
        for (int l = 0; l < n; ++l) {
            LayerSpec layer;
            layer.units = static_cast<int>(in.integer());
            layer.activation = in.item<Activation>();
            layer.dropout = in.real();
            layers.push_back(layer);
        }
        network = {layers.data(), n - 1, biases, loss, l2};
        for (LayerSpec& layer : layers)
            if (layer.activation == Activation::custom)
                layer.value = read_formula(in), layer.both = read_formula(in);
        output_weights.resize(static_cast<std::size_t>(in.integer()));
        for (double& weight : output_weights) weight = in.real();
        if (!output_weights.empty()) network.output_weights = output_weights.data();
        if (in.integer()) network.output = read_formula(in);
        return single;
    }
};

template <class T, std::size_t n> void append(std::string& text, const T (&names)[n]) {
    for (const char* name : names) (text += name) += ' ';
    text += '\n';
}

constexpr double ask_every = 0.045; // seconds between questions, also between short epochs

bool ask(void*, std::int64_t steps, double loss) { return host_ask(static_cast<double>(steps), loss) != 0; }

} // namespace

// Zero-terminated: the names of activations, losses, optimizers and operations, a line each, in their order, and
// what the module was compiled for.
CR_EXPORT(names) const char* names() {
    static const std::string all = [] {
        std::string text;
        append(text, activation_names);
        append(text, loss_names);
        append(text, optimizer_names);
        append(text, operation_names);
#if defined(__wasm_relaxed_simd__)
        text += "relaxed-simd";
#else
        text += "simd128";
#endif
        return text;
    }();
    return all.c_str();
}

// Null where there is no memory left.
CR_EXPORT(allocate) void* allocate(std::size_t bytes) { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
CR_EXPORT(release) void release(void* p) { std::free(p); }

// After the network: optimizer, momentum, decay, beta1, beta2, epsilon, weight_decay, clip_norm,
// l2_per_sample, largest_loss, batch_size, and the lower and upper half of the seed.
CR_EXPORT(make_trainer) Machine* make_trainer(const double* numbers) {
    auto* const machine = new Machine;
    Numbers in(numbers);
    const bool single = machine->read_network(in);
    PlanSpec plan{};
    plan.optimizer = in.item<Optimizer>();
    plan.momentum = in.real(), plan.decay = in.real(), plan.beta1 = in.real(), plan.beta2 = in.real();
    plan.epsilon = in.real(), plan.weight_decay = in.real(), plan.clip_norm = in.real();
    plan.l2_per_sample = in.integer() != 0, plan.largest_loss = in.real(), plan.batch_size = in.integer();
    const std::uint64_t lower = in.integer(), upper = in.integer();
    plan.seed = upper << 32 | lower, plan.threads = 1;
    const InstructionSet& isa = instruction_set();
    machine->core.reset(single ? isa.make_core_f32(machine->network, plan)
                               : isa.make_core_f64(machine->network, plan));
    return machine;
}

CR_EXPORT(make_predictor) Machine* make_predictor(const double* numbers) {
    auto* const machine = new Machine;
    Numbers in(numbers);
    const bool single = machine->read_network(in);
    const InstructionSet& isa = instruction_set();
    machine->predictor.reset(single ? isa.make_predictor_f32(machine->network, 1)
                                    : isa.make_predictor_f64(machine->network, 1));
    return machine;
}

CR_EXPORT(drop) void drop(Machine* machine) { delete machine; }

// In: addresses of theta and two slots, the run's step, X, y (as matrices), addresses of classes, weights,
// order, rates, step losses and outputs, n, steps, how many epochs, and the address for loss, steps, failed
// step or -1, stopped of each. Several epochs have an order each, one after the other, and the same rates.
// Gives how many were run: one that fails or is stopped is the last.
CR_EXPORT(epochs) int epochs(Machine* machine, const double* numbers) {
    Numbers in(numbers);
    void* const theta = in.address<void>();
    void* slots[2];
    for (void*& slot : slots) slot = in.address<void>();
    const std::int64_t run_step = in.integer();
    EpochData data{};
    data.X = in.matrix(), data.y = in.matrix();
    data.classes = in.address<const std::int64_t>();
    data.sample_weights = in.address<const double>();
    data.order = in.address<const std::int64_t>();
    data.learning_rates = in.address<const double>();
    data.step_losses = in.address<double>();
    data.outputs = in.address<void>();
    data.n_samples = in.integer();
    const std::int64_t steps = in.integer();
    const int count = static_cast<int>(in.integer());
    double* result = in.address<double>();
    using Clock = std::chrono::steady_clock;
    Clock::time_point last_asked = Clock::now();
    for (int i = 0; i < count; ++i, result += 4) {
        const EpochOutcome outcome =
            run_epoch(*machine->core, data, steps, run_step + i * steps, theta, slots, {ask, nullptr});
        result[0] = outcome.loss, result[1] = static_cast<double>(outcome.steps);
        result[2] = static_cast<double>(outcome.failed_step), result[3] = outcome.stopped;
        if (outcome.failed_step >= 0 || outcome.stopped) return i + 1;
        if (data.order) data.order += data.n_samples;
        if (i + 1 < count && std::chrono::duration<double>(Clock::now() - last_asked).count() > ask_every) {
            if (host_ask(result[1], result[0])) return i + 1;
            last_asked = Clock::now();
        }
    }
    return count;
}

// In: lower and upper half of the seed, the first epoch, how many, n, and the address of (how many, n) orders.
CR_EXPORT(orders) void orders(const double* numbers) {
    Numbers in(numbers);
    const std::uint64_t lower = in.integer(), upper = in.integer(), first = in.integer();
    const std::int64_t count = in.integer(), n = in.integer();
    auto* order = in.address<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i, order += n) epoch_order(upper << 32 | lower, first + i, n, order);
}

// Whether the module stopped for want of memory.
CR_EXPORT(memory_is_used_up) int memory_is_used_up() { return used_up; }

// In: address of theta, X (as a matrix), n, addresses of the outputs, of y and of C. Gives whether every
// number is finite.
CR_EXPORT(predict) int predict(Machine* machine, const double* numbers) {
    Numbers in(numbers);
    const void* const theta = in.address<const void>();
    const MatrixView X = in.matrix();
    const std::int64_t n = in.integer();
    void* const outputs = in.address<void>();
    const void* const y = in.address<const void>();
    double* const C = in.address<double>();
    return machine->predictor->run(theta, X, n, outputs, y, C);
}

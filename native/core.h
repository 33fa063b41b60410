// What the engine outside the kernels knows of a core: plain specifications and one abstract class.
// Every instruction set brings its own implementation of `Core` (see isa_unit.cpp); nothing in this
// header may be an inline function of weight, since it is compiled with every set of flags.
#pragma once
#include "watch.h"

#include <cstddef>
#include <cstdint>

#include "pace.h"

namespace chainrule {

// What the core knows, by the names that Python calls it; written once, and exported by binding.cpp.
#define CR_ACTIVATIONS(X) \
    X(identity) X(sigmoid) X(tanh) X(relu) X(leaky_relu) X(elu) X(gelu) X(silu) X(softplus) X(softmax)
#define CR_LOSSES(X) \
    X(squared_error) \
    X(half_squared_error) X(absolute_error) X(huber) X(cross_entropy) X(binary_cross_entropy) X(poisson)
#define CR_OPTIMIZERS(X) X(gradient_descent) X(momentum) X(nesterov) X(adagrad) X(rmsprop) X(adam) X(adamw)

// What a formula of a custom activation or loss is computed with, one after another.
// clang-format off
#define CR_OPERATIONS(X) \
    X(number) X(add) X(subtract) X(multiply) X(divide) X(negate) X(above) X(at_least) X(choose) X(largest) \
    X(smallest) X(power) X(exp) X(expm1) X(ln) X(log1p) X(sqrt) X(abs) X(sign) X(sin) X(cos) X(atan) X(tanh) \
    X(tanh_slope) X(sinh) X(cosh) X(ln_cosh) X(sigma) X(softplus) X(distribution) X(density)
// clang-format on

// The vector functions below them, for tests.
#define CR_FUNCTIONS(X) X(exp) X(log) X(log1p) X(distribution) X(density) X(tanh_slope)

#define CR_ITEM(name) name,
#define CR_TEXT_ITEM(name) #name,
// `custom`: its formula stands beside it.
enum class Activation : int { CR_ACTIVATIONS(CR_ITEM) custom };
enum class Loss : int { CR_LOSSES(CR_ITEM) custom };
enum class Operation : int { CR_OPERATIONS(CR_ITEM) };
// `gradient` takes no step: its slot receives the gradient, times the weight of the batch.
enum class Optimizer : int { CR_OPTIMIZERS(CR_ITEM) gradient };
enum class Function : int { CR_FUNCTIONS(CR_ITEM) };
constexpr const char* activation_names[] = {CR_ACTIVATIONS(CR_TEXT_ITEM)};
constexpr const char* loss_names[] = {CR_LOSSES(CR_TEXT_ITEM)};
constexpr const char* optimizer_names[] = {CR_OPTIMIZERS(CR_TEXT_ITEM)};
constexpr const char* operation_names[] = {CR_OPERATIONS(CR_TEXT_ITEM)};
constexpr const char* function_names[] = {CR_FUNCTIONS(CR_TEXT_ITEM)};
#undef CR_ITEM
#undef CR_TEXT_ITEM

// Element types that a batch can be gathered from.
enum class Element : int { f32, f64, i8, i16, i32, i64, u8, u16, u32, u64, boolean };

// Register `to` becomes what the operation makes of others, or a number.
struct Instruction {
    Operation operation;
    int to, x, y, z;
    double number;
};
constexpr int formula_registers = 32, formula_limit = 512; // instructions
// Its inputs are in the first registers.
struct Formula {
    const Instruction* instructions;
    int count;
    int results[3]; // in which registers
};

struct LayerSpec {
    int units;             // units_l; layer 0 is the input
    Activation activation; // g of the layer (ignored for layer 0)
    double dropout;        // p: probability that a unit's activation is dropped in training
    const Formula* value = nullptr; // of a custom activation: z to a
    const Formula* both = nullptr;  // and z to a, g'(z)
};

// Vectors like theta that a rule remembers from step to step.
constexpr int slot_count(Optimizer kind) {
    switch (kind) {
    case Optimizer::gradient_descent: return 0;
    case Optimizer::adam:
    case Optimizer::adamw: return 2;
    default: return 1;
    }
}

struct NetworkSpec {
    const LayerSpec* layers; // L + 1 of them; copied by the core
    int n_layers;            // L
    bool biases;
    Loss loss;
    double l2;
    // Where the activation of the output or the loss is custom: z, y to a, c(a, y), dc/dz, of one output; or
    // after a softmax a, y to c, dc/da. Formulas and weights stay with the caller.
    const Formula* output = nullptr;
    const double* output_weights = nullptr; // u_j of C_i = sum_j u_j c(a_j, y_j), or null
};

struct PlanSpec {
    Optimizer optimizer;
    double momentum, decay, beta1, beta2, epsilon, weight_decay;
    double clip_norm; // 0: no clipping
    bool l2_per_sample; // the penalty of a step is l2 divided by the sum of its samples' weights
    double largest_loss; // in step_losses a sample's loss counts as at most this
    std::int64_t batch_size;
    std::uint64_t seed;
    int threads; // the most that may be used; a core uses fewer where they would not pay
};
constexpr std::int64_t batch_limit = 1 << 24; // samples; rows of a batch are counted in 32 bits

// A matrix of someone else's: strides in bytes, any element type.
struct MatrixView {
    const void* data;
    Element element;
    std::int64_t row_stride, column_stride;
};

struct EpochData {
    MatrixView X;
    MatrixView y;                 // y.data null: classes are given
    const std::int64_t* classes;  // (n,) or null
    const double* sample_weights; // (n,) or null
    const std::int64_t* order;    // (n,) or null: as they lie
    const double* learning_rates; // one for each step of the epoch
    std::int64_t n_samples;
    double* step_losses;          // (steps, 2): each step's loss without its penalty, and that; or null
    void* outputs;                // (n, units_L) of the network's dtype, C-contiguous, or null
    WatchData watch;
};

// Sums over the steps that were done; the epoch's loss is loss_sum / weight_sum. Both are in a unit of the
// core's choosing.
struct EpochSums {
    double loss_sum, weight_sum;
};

// Of one batch: the sums of its weights, and of its losses, each times its weight.
struct BatchSums {
    double weight, loss;
};

// Asked now and then from inside a long step by the calling thread; true: leave the step undone.
struct Poll {
    bool (*due_and_stop)(void* context);
    void* context;
    bool in_update; // also where parameters have moved: the caller has those from before the step
};

class Core {
public:
    virtual ~Core() {}
    // theta and slots: flat vectors in the public layout, slots null for the rule `gradient`; step: the
    // run's step number.
    virtual void load(const void* theta, const void* const* slots, std::int64_t step) = 0;
    virtual void store(void* theta, void* const* slots) const = 0;
    virtual void begin_epoch(const EpochData& data) = 0;
    // Steps first, first + 1, ... of the epoch; returns how many were done (fewer if poll said so; one
    // that was left in its update needs a load after it).
    virtual std::int64_t run(std::int64_t first, std::int64_t count, EpochSums& sums, const Poll* poll) = 0;
    virtual bool parameters_finite() const = 0;
    virtual double flops_per_step() const = 0;
    // The result is the same, to the bit, with any number of threads; only the pace differs.
    virtual int most_threads() const = 0;
    virtual void use_threads(int threads) = 0;

    virtual int likely_threads() const = 0; // before anything was measured

    // Of a core whose rule is `gradient`: the gradient of one batch, of all the samples that `data` names,
    // times their weight, with the masks of step `draw`. It stays in the core. False if the loss is not finite.
    virtual bool sum_gradient(const EpochData& data, std::int64_t draw, BatchSums& sums) = 0;
    virtual std::size_t gradient_bytes() const = 0; // as it lies there
    virtual void copy_gradient(void* to) const = 0;
    virtual void add_gradient(void* to) const = 0;
    // Numbers first, ... of two of them, counted in bytes: multiples of a cache line.
    virtual void add(void* to, const void* from, std::size_t first, std::size_t last) const = 0;
    virtual void unpack(const void* gradient, void* g) const = 0; // to the public layout
    Pace pace; // kept from epoch to epoch
};

// One of many networks of one shape that are trained side by side. theta and slots as `Core` has them.
struct Member {
    void* theta;
    void* slots[2];
    std::int64_t run_step; // of the run, at the first step
    const double* learning_rates; // one for each step of each epoch
    const std::int64_t* order; // (epochs, n), or null: as they lie
    void* outputs; // (n, units_L) in the order of the samples, or null; of the last epoch
    double* losses; // of each epoch, `losses_apart` numbers from one to the next
    double* step_losses; // (epochs, steps, 2), as of EpochData; or null
    double l2;
    std::uint64_t seed;
    bool trained; // by `run`: every number stayed finite, and theta and slots are those of the end
};

// Trains as many networks at once as a vector has numbers, each in a lane of its own: what becomes of one
// does not depend on the others.
class Lanes {
public:
    virtual ~Lanes() {}
    virtual int width() const = 0;
    // So many epochs; of `data` sample_weights and what the members do not bring. `stop` says now and then
    // whether to leave, and nothing has changed then; false if it did.
    virtual bool run(const EpochData& data, Member* members, int count, int epochs, std::ptrdiff_t losses_apart,
                     bool (*stop)(void* context), void* context) = 0;
};

// Forward passes only: a^(L) of n rows into out (n, units_L), C-contiguous, of the network's dtype, and
// where y, laid out as out, is given, each row's C_i. False if a number of X, theta or some z is not
// finite; out and C are what the arithmetic makes of it.
class Predictor {
public:
    virtual ~Predictor() {}
    virtual bool run(const void* theta, const MatrixView& X, std::int64_t n, void* out, const void* y = nullptr,
                     double* C = nullptr) = 0;
};

struct InstructionSet {
    const char* name;
    int bytes; // of a vector
    Core* (*make_core_f32)(const NetworkSpec&, const PlanSpec&);
    Core* (*make_core_f64)(const NetworkSpec&, const PlanSpec&);
    Predictor* (*make_predictor_f32)(const NetworkSpec&, int threads);
    Predictor* (*make_predictor_f64)(const NetworkSpec&, int threads);
    // Null where they are left out. `single_bytes`: of the vectors in which a network alone is trained.
    Lanes* (*make_lanes_f32)(const NetworkSpec&, const PlanSpec&, int single_bytes);
    Lanes* (*make_lanes_f64)(const NetworkSpec&, const PlanSpec&, int single_bytes);
    // Numbers as the core has them, into `out` if it is not null (row `first` at first * columns): false if one
    // is not finite.
    bool (*read_f32)(const MatrixView&, std::int64_t first, std::int64_t last, int columns, float* out);
    bool (*read_f64)(const MatrixView&, std::int64_t first, std::int64_t last, int columns, double* out);
    // Step t of a rule for n parameters with the gradient scale * g; false if a number of g or w is then not
    // finite.
    bool (*step_f32)(const PlanSpec&, std::int64_t t, double eta, double scale, std::int64_t n, float* w,
                     float* s1, float* s2, const float* g);
    bool (*step_f64)(const PlanSpec&, std::int64_t t, double eta, double scale, std::int64_t n, double* w,
                     double* s1, double* s2, const double* g);
    // For tests: of n numbers g as predictions have it, g and g' as training has them, and a vector function;
    // C = A B (m x k times k x n, row-major, packed inside).
    void (*activation_f32)(Activation, std::int64_t n, const float* z, float* value, float* a, float* d);
    void (*activation_f64)(Activation, std::int64_t n, const double* z, double* value, double* a, double* d);
    void (*function_f32)(Function, std::int64_t n, const float* x, float* y);
    void (*function_f64)(Function, std::int64_t n, const double* x, double* y);
    void (*product_f32)(int m, int n, int k, const float* A, const float* B, float* C);
    void (*product_f64)(int m, int n, int k, const double* A, const double* B, double* C);
    void (*formula_f32)(const Formula&, std::int64_t n, const float* const* inputs, int count,
                        float* const* results, int n_results);
    void (*formula_f64)(const Formula&, std::int64_t n, const double* const* inputs, int count,
                        double* const* results, int n_results);
    void (*dropout_words)(std::uint64_t seed, std::uint32_t row, std::uint32_t layer, std::uint32_t step,
                          int units, std::uint32_t* words);
};

// The instruction set in use: the best that the processor has, or the one CHAINRULE_ISA names.
// Throws std::invalid_argument for a name that is unknown or that this machine lacks.
const InstructionSet& instruction_set();
// The one for a given network: layers that fill less than half of a wide vector are done in narrow
// ones, unless CHAINRULE_ISA asked for something else.
const InstructionSet& instruction_set_for(const NetworkSpec& network, int element_size);
// Networks side by side, in the widest vectors in use, to the bits of `instruction_set_for`; null where the
// core was built without them.
Lanes* make_lanes(const NetworkSpec& network, const PlanSpec& plan, int element_size);
// All that were built and that this machine can run, best first; null-terminated names.
const char* const* available_instruction_sets();
void force_instruction_set(const char* name); // nullptr: the best again

// Zeroed memory on cache lines, compiled once for all instruction sets.
void* chainrule_allocate(std::size_t bytes);
void chainrule_release(void* p);

} // namespace chainrule

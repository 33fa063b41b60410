// One training step on all threads: forward, loss, backward, update. The letters are the design
// page's: W, b, z, a, delta, dW; l = 1..L counts the layers.
//
// Every number is a sum taken in one order, whoever computes it, so that the result does not depend
// on the number of threads.
#pragma once
#include "gather.h"
#include "layout.h"
#include "limits.h"
#include "losses.h"
#include "optimizers.h"
#include "philox.h"
#include "pool.h"
#include "sums.h"

namespace chainrule {
namespace CR_ISA {

struct Range {
    int first, last;
};
// Part `i` of `parts` of 0 .. n - 1, cut at multiples of `grain`.
inline Range part_of(int n, int i, int parts, int grain = 1) {
    const int grains = (n + grain - 1) / grain;
    const int first = static_cast<int>(std::int64_t{grains} * i / parts) * grain;
    const int last = static_cast<int>(std::int64_t{grains} * (i + 1) / parts) * grain;
    return {smaller(first, n), smaller(last, n)};
}

// Inside a class that has a load and a store of its own.
template <class T> CR_INLINE Vec<T> get(const T* p) { return load<T>(p); }
template <class T> CR_INLINE void put(T* p, Vec<T> v) { store<T>(p, v); }

// How a layer is shared out among the threads: each takes some samples, or some units.
enum class Split { samples, units };

template <class T> struct Layer {
    int in, out;       // units_{l-1}, units_l
    int ld;            // row length of a^(l) and delta^(l)
    Activation g;
    const Formula* both; // of a custom g
    double dropout;
    bool keeps_derivative; // g' is stored in the forward pass (dropout's factor included)
    Panels<T> F, B;        // forward and backward panels
    Array<T> Wf, Wb;       // W^T over b; W (not for l = 1, whose input needs no gradient)
    Array<T> s1, s2;       // the optimiser's slots, laid out as Wf
    Array<T> own_Wf, own_Wb, own_s1, own_s2; // the same, of thread 1 where each has its own (alike.h)
    Array<T> dW;           // only if the gradient's norm is needed before the update
    Array<T> a, delta, d;  // a^(l); delta^(l); m g'(z^(l)) where keeps_derivative
    Split forward, backward; // who computes a^(l); who computes delta^(l-1)
    // dW^(l) is cut into chunks of a panel: `chunks` for each panel, `chunk_rows` rows of Wf each.
    int chunks, chunk_rows, first_item;
    std::ptrdiff_t first_parameter; // where Wf would start if all layers' lay behind one another
    bool gathers; // a^(l-1) is too large for the cache to be read by columns as it lies
};
struct Item { // one chunk of dW
    int layer, panel, first_row, last_row;
};

template <class T> class Trainer final : public Core {
public:
    Trainer(const NetworkSpec& network, const PlanSpec& plan);
    ~Trainer() override { delete[] layers_; }

    void load(const void* theta, const void* const* slots, std::int64_t step) override;
    void store(void* theta, void* const* slots) const override;
    void begin_epoch(const EpochData& data) override;
    std::int64_t run(std::int64_t first, std::int64_t count, EpochSums& sums, const Poll* poll) override;
    bool parameters_finite() const override;
    double flops_per_step() const override { return flops_; }
    bool sum_gradient(const EpochData& data, std::int64_t draw, BatchSums& sums) override;
    std::size_t gradient_bytes() const override { return parameters_ * sizeof(T); }
    void copy_gradient(void* to) const override;
    void add_gradient(void* to) const override;
    void add(void* to, const void* from, std::size_t first, std::size_t last) const override;
    void unpack(const void* gradient, void* g) const override;
    int most_threads() const override { return most_threads_; }
    int likely_threads() const override {
        // W (where threads share samples, not units), W once more for the backward pass, and what dW needs.
        if (halves_ && most_threads_ == 2) // dW alone; each has parameters of its own
            return chainrule::likely_threads({flops_, double(parameters_) * sizeof(T), 1}, 2);
        double numbers = by_samples_ ? double(parameters_) : 0, of_samples = 0;
        for (int l = 1; l <= L_; ++l) {
            if (l > 1) numbers += double(layers_[l].B.size());
            of_samples += double(batch_) * (layers_[l].in + layers_[l].out);
        }
        numbers += halves_ ? double(parameters_) : of_samples;
        return chainrule::likely_threads({flops_, numbers * sizeof(T), by_samples_ ? 2 : 2 * L_ + 1},
                                         most_threads_);
    }
    void use_threads(int threads) override {
        if (threads == threads_) return;
        threads_ = threads;
        share_out();
    }

private:
    // The batch of one step; each thread keeps its own copy.
    struct Batch {
        std::int64_t step, start; // of the epoch; the first sample's place in the order
        std::uint32_t run_step; // of the run: dropout's counter
        int n, side; // samples; which of x_, y_, shares_
    };
    Batch batch(std::int64_t step) const;
    struct Held { // what a thread reads and updates of a layer
        T *Wf, *Wb, *s1, *s2;
    };
    std::int64_t row(std::int64_t place) const { return data_.order ? data_.order[place] : place; }

    // The parts of a step; `thread` is who asks. Ranges of samples are of rows of the batch.
    void gather_batch(const Batch& b, int thread, bool may_leave = false);
    void weigh_batch(const Batch& b, Range mine, int thread);
    void forward(const Batch& b, int l, Range samples, Range panels, int thread);
    void activate(const Batch& b, int l, Range samples, int first_unit, int width);
    void activate_by_formula(const Batch& b, int l, Range samples, int first_unit, int width);
    void losses(const Batch& b, Range samples);
    void backward(int l, Range samples, Range panels, int thread);
    template <class F> void my_items(int thread, F&& f) const;
    void gather_columns(const Batch& b, const Item& item, T* to) const;
    void gradient_chunk(const Batch& b, const Item& item, Range samples, T* dW, int thread);
    void gradient_of_half(const Batch& b, int half);
    const T* gradient(const Batch& b, int index, int thread);
    std::ptrdiff_t place(const Item& item) const;
    void update_item(int index, const T* dW, T scale);
    template <class F> void update_item(const Item& item, const Held& held, F&& f);
    struct Stretch { // where a chunk begins in Wf, and how many numbers are weights and biases
        std::ptrdiff_t at, weights, biases;
    };
    Stretch stretch(const Item& item) const;
    double squares_of(const Item& item) const;
    void update_all(const Batch& b, int thread);
    bool step(const Batch& b, int thread);
    void make_side(int side);
    // Each of two threads with parameters of its own (alike.h).
    void make_own();
    void bring_own();
    void step_alike(const Batch& b, int thread);
    void gradient_alike(const Batch& b, int thread);
    double update_alike(const Batch& b, int thread);
    Held held(const Layer<T>& layer, int thread) const {
        if (alike_ && thread == 1)
            return {layer.own_Wf.get(), layer.own_Wb.get(), layer.own_s1.get(), layer.own_s2.get()};
        return {layer.Wf.get(), layer.Wb.get(), layer.s1.get(), layer.s2.get()};
    }

    void prepare_step(const Batch& b);
    double* C(const Batch& b) const { return C_.get() + b.side * batch_; }
    void sum_losses(const Batch& b);
    void add_to_sums(const Batch& b, double squares);
    bool poll_says_stop(int thread);
    bool leaves_update(int thread) { return poll_ && poll_->in_update && poll_says_stop(thread); }
    void share_out();

    // The same for networks whose layers fit into one vector each (tiny.h).
    void tiny_steps();
    template <int rows> double tiny_samples(const Batch& b, const T* x, int ld_x, int first);
    template <class Rule> double tiny_update(const Batch& b, const T* x, int ld_x, Rule rule);

    // What is noted for somebody who watches the run (watching.h).
    bool notes_norms(const Batch& b) const {
        const WatchData& watch = data_.watch;
        return watch.every && (watch.first_step + b.step) % watch.every == 0;
    }
    bool notes_updates(const Batch& b) const { return data_.watch.trace || notes_norms(b); }
    void begin_watch();
    void note_samples(const Batch& b, Range samples, const T* x, int ld_x) const;
    void note_update(const Batch& b, const Item& item, double* parts, T* before, T* g, const T* after, T scale);
    void watched_update(const Batch& b, int index, const T* dW, T scale, int thread);
    void note_layers(const Batch& b) const;
    void keep_tiny();
    void note_tiny(const Batch& b);

    const T* a(const Batch& b, int l) const { return l ? layers_[l].a.get() : x_[b.side].get(); }
    Range panels_of(const Panels<T>& panels, int thread) const {
        return part_of(panels.count(), thread, threads_);
    }

    int L_;
    Layer<T>* layers_; // 0 .. L
    bool biases_;
    RowLoss<T> row_loss_;
    Array<T> output_weights_;
    double l2_, l2_of_step_;
    bool l2_per_sample_;
    double largest_loss_;
    double clip_norm_;
    Hyper<T> hyper_;
    double beta1_, beta2_, weight_decay_;
    std::uint64_t seed_;
    std::int64_t batch_, parameters_;
    int threads_, most_threads_;
    bool tiny_, all_by_samples_;
    bool by_samples_; // the layers of several threads' steps, where there are samples enough
    bool halves_; // dW is the sum over the batch's first half plus that over its second
    double flops_;
    Array<Item> items_;
    int n_items_;
    Array<int> thread_items_; // of layer l, thread t does items [l][t] .. [l][t + 1] - 1

    EpochData data_;
    bool asks_ahead_ = false; // for rows of X and y, which the cache does not hold
    Array<T> x_[2], y_[2], shares_[2]; // this step's batch and the next one's; s_i / sum s
    struct Weight {
        double sum; // sum s of the batch
        double scaled; // the same times a power of two, so that an epoch's sum of it does not overflow
    } weight_[2];
    int epoch_exponent_ = 0; // of the largest weight of the epoch: that power
    Array<double> C_; // C_i of the batch, and of the next one
    Array<double> l2_parts_, norm_parts_;
    Array<T> scratch_; // two chunks of dW for each thread
    Array<T> half_[2][2]; // by side: dW of each half of the batch, where two threads take one each
    bool alike_ = false; // two threads keep parameters of their own
    Array<T> columns_; // for each thread: the columns of a^(l-1) that a chunk is about, side by side
    Array<Item> columns_of_;
    Array<T> watched_; // for each thread: a chunk of parameters before the update, and its gradient
    Array<double> watched_parts_; // for each chunk: its part of the sums of squares in layer_norms
    Item traced_; // the row that the traced parameter is in
    int traced_column_;

    Step<T> rule_; // of the step being done
    struct StepRule {
        Step<T> step;
        T l2;
    } rules_[2]; // by side, where a thread may be a step ahead of the other
    double beta1_power_, beta2_power_;
    double batch_loss_, told_loss_; // without the penalty; with each C_i at most largest_loss_
    std::int64_t run_step_; // steps of the run when `run` was called
    EpochSums* sums_;
    const Poll* poll_;
    std::atomic<bool> abort_{false}; // poll has asked to leave the step
    bool left_passes_ = false, left_update_ = false;
    std::int64_t first_, count_, done_;
    Barrier barrier_;
};

constexpr int sample_block = 96; // most samples carried through all layers in one go

// Rows of a chunk of dW: at most this many (more where a^(l-1) is gathered for it), rounded up to whole
// vectors, and the bias row.
constexpr int chunk_limit = 96, gathered_chunk_limit = 192;
template <class T> constexpr int chunk_rows_limit = round_up(gathered_chunk_limit + lanes<T> + 1, lanes<T>);
template <class T> constexpr int chunk_size = chunk_rows_limit<T> * panel_width<T>;

// --- the step -----------------------------------------------------------------------------------

template <class T> bool Trainer<T>::poll_says_stop(int thread) {
    if (thread == 0 && !abort_.load(std::memory_order_relaxed) && poll_->due_and_stop(poll_->context))
        abort_.store(true, std::memory_order_relaxed);
    return abort_.load(std::memory_order_relaxed);
}

// What the update of this step needs besides dW; by one thread, before the others read it.
template <class T> void Trainer<T>::prepare_step(const Batch& b) {
    const double weight = weight_[b.side].sum;
    const double eta = hyper_.kind == Optimizer::gradient ? weight : data_.learning_rates[b.step];
    if (l2_per_sample_) l2_of_step_ = weight > 0 ? l2_ / weight : 0;
    rule_.eta = static_cast<T>(eta);
    if (hyper_.kind == Optimizer::adam || hyper_.kind == Optimizer::adamw) {
        beta1_power_ *= beta1_;
        beta2_power_ *= beta2_;
        rule_.adam_step = static_cast<T>(eta / (1 - beta1_power_));
        rule_.adam_root = static_cast<T>(1 / __builtin_sqrt(1 - beta2_power_));
        rule_.decay_factor = static_cast<T>(1 - eta * weight_decay_);
    }
}

template <class T> void Trainer<T>::sum_losses(const Batch& b) {
    batch_loss_ = told_loss_ = 0;
    const double* of = C(b);
    for (int i = 0; i < b.n; ++i) {
        const double share = shares_[b.side][i];
        batch_loss_ += share * of[i];
        told_loss_ += share * (of[i] > largest_loss_ ? largest_loss_ : of[i]);
    }
}

// `squares`: the sum of all w^2 before the update.
template <class T> void Trainer<T>::add_to_sums(const Batch& b, double squares) {
    const double penalty = l2_of_step_ / 2 * squares;
    if (data_.step_losses) {
        data_.step_losses[2 * b.step] = told_loss_;
        data_.step_losses[2 * b.step + 1] = penalty;
    }
    sums_->loss_sum += weight_[b.side].scaled * (batch_loss_ + penalty);
    sums_->weight_sum += weight_[b.side].scaled;
    ++done_;
}

// False if the step was left, as poll asked for. Thread 0 says so before each meeting, since all threads
// have to agree.
template <class T> bool Trainer<T>::step(const Batch& b, int thread) {
    const Range every_sample{0, b.n}, mine = part_of(b.n, thread, threads_);
    if (all_by_samples_) {
        const int rows = mine.last - mine.first, blocks = (rows + sample_block - 1) / sample_block;
        for (int i = 0; i < blocks; ++i) {
            const Range part = part_of(rows, i, blocks);
            const Range block{mine.first + part.first, mine.first + part.last};
            if (abort_.load(std::memory_order_relaxed)) break;
            for (int l = 1; l <= L_; ++l) forward(b, l, block, {0, layers_[l].F.count()}, thread);
            losses(b, block);
            for (int l = L_; l > 1; --l) backward(l, block, {0, layers_[l].B.count()}, thread);
        }
        if (alike_) return step_alike(b, thread), true;
        if (halves_ && threads_ == 2) gradient_of_half(b, thread);
    } else {
        // Threads meet between two parts unless both are shared out by samples.
        Split before = Split::units;
        const auto meet = [&](Split now) {
            if (before == Split::units || now == Split::units) barrier_.wait();
            before = now;
        };
        for (int l = 1; l <= L_; ++l) {
            const Split split = layers_[l].forward;
            if (l > 1) meet(split);
            before = split;
            if (split == Split::samples) forward(b, l, mine, {0, layers_[l].F.count()}, thread);
            else forward(b, l, every_sample, panels_of(layers_[l].F, thread), thread);
        }
        meet(Split::samples);
        losses(b, mine);
        for (int l = L_; l > 1; --l) {
            const Split split = layers_[l].backward;
            meet(split);
            if (split == Split::samples) backward(l, mine, {0, layers_[l].B.count()}, thread);
            else backward(l, every_sample, panels_of(layers_[l].B, thread), thread);
        }
    }
    if (thread == 0) {
        left_passes_ = abort_.load(std::memory_order_relaxed);
        if (!left_passes_) prepare_step(b);
    }
    barrier_.wait();
    if (left_passes_) return false; // no parameter has moved yet
    if (thread == 0) sum_losses(b);
    note_samples(b, mine, a(b, 0), layers_[0].ld);
    update_all(b, thread);
    if (b.step + 1 < first_ + count_) gather_batch(batch(b.step + 1), thread);
    if (thread == 0) left_update_ = abort_.load(std::memory_order_relaxed);
    barrier_.wait();
    if (left_update_) return false;
    if (thread == 0) {
        double squares = 0;
        for (int i = 0; l2_ != 0 && i < n_items_; ++i) squares += l2_parts_[i];
        add_to_sums(b, squares);
        note_layers(b);
    }
    return true;
}

template <class T>
std::int64_t Trainer<T>::run(std::int64_t first, std::int64_t count, EpochSums& sums, const Poll* poll) {
    first_ = first, count_ = count, done_ = 0;
    sums_ = &sums, poll_ = poll;
    abort_.store(false, std::memory_order_relaxed);
    if (tiny_) {
        tiny_steps();
    } else {
        const auto job = [](void* self, int thread) {
            Trainer& t = *static_cast<Trainer*>(self);
            if (t.alike_ && thread == 1) t.bring_own();
            t.gather_batch(t.batch(t.first_), thread, true);
            t.barrier_.wait();
            for (std::int64_t s = t.first_; s < t.first_ + t.count_; ++s)
                if (!t.step(t.batch(s), thread)) return;
        };
        // Whoever watches, or leaves a step in its middle, needs both threads at one place.
        const WatchData& watch = data_.watch;
        alike_ = halves_ && threads_ == 2 && hyper_.kind != Optimizer::gradient && !poll_ &&
                 !watch.sample_losses && !watch.every && !watch.trace;
        barrier_.reset(threads_);
        run_on_threads(threads_, job, this);
    }
    run_step_ += done_;
    return done_;
}

} // namespace CR_ISA
} // namespace chainrule

#include "alike.h"
#include "gradient.h"
#include "parameters.h"
#include "passes.h"
#include "sharing.h"
#include "watching.h"

// One training step on all threads: forward, loss, backward, update. The letters are the design
// page's: W, b, z, a, delta, dW; l = 1..L counts the layers.
//
// Every number is a sum taken in one order, whoever computes it, so that the result does not depend
// on the number of threads.
#pragma once
#include "gather.h"
#include "layout.h"
#include "losses.h"
#include "optimizers.h"
#include "philox.h"
#include "pool.h"

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
    double dropout;
    bool keeps_derivative; // g' is stored in the forward pass (dropout's factor included)
    Panels<T> F, B;        // forward and backward panels
    Array<T> Wf, Wb;       // W^T over b; W (not for l = 1, whose input needs no gradient)
    Array<T> s1, s2;       // the optimiser's slots, laid out as Wf
    Array<T> dW;           // only if the gradient's norm is needed before the update
    Array<T> a, delta, d;  // a^(l); delta^(l); m g'(z^(l)) where keeps_derivative
    Split forward, backward; // who computes a^(l); who computes delta^(l-1)
    // dW^(l) is cut into chunks of a panel: `chunks` for each panel, `chunk_rows` rows of Wf each.
    int chunks, chunk_rows, first_item;
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
    int most_threads() const override { return most_threads_; }
    void use_threads(int threads) override {
        if (threads == threads_) return;
        threads_ = threads;
        share_out();
    }

private:
    // The batch of one step; each thread keeps its own copy.
    struct Batch {
        std::int64_t step, start; // of the epoch; the first sample's place in the order
        std::uint32_t run_step;   // of the run: dropout's counter
        int n, side;              // samples; which of x_, y_, shares_
    };
    Batch batch(std::int64_t step) const;
    std::int64_t row(std::int64_t place) const { return data_.order ? data_.order[place] : place; }

    // The parts of a step; `thread` is who asks. Ranges of samples are of rows of the batch.
    void gather_batch(const Batch& b, int thread);
    void forward(const Batch& b, int l, Range samples, Range panels, int thread);
    void activate(const Batch& b, int l, Range samples, int first_unit, int width);
    void losses(const Batch& b, Range samples);
    void backward(int l, Range samples, Range panels, int thread);
    template <class F> void my_items(int thread, F&& f) const;
    void gather_columns(const Batch& b, const Item& item, T* to) const;
    void gradient_chunk(const Batch& b, const Item& item, T* dW, int thread);
    void update_item(int index, const T* dW, T scale);
    void update_all(const Batch& b, int thread);
    void step(const Batch& b, int thread);
    void prepare_step(const Batch& b);
    void sum_losses(const Batch& b);
    void add_to_sums(const Batch& b, double squares);
    bool poll_says_stop(int thread);
    void share_out();

    // The same for networks whose layers fit into one vector each (tiny.h).
    void tiny_steps();
    template <int rows> double tiny_samples(const Batch& b, const T* x, int ld_x, int first);
    template <class Rule> double tiny_update(const Batch& b, const T* x, int ld_x, Rule rule);

    const T* a(const Batch& b, int l) const { return l ? layers_[l].a.get() : x_[b.side].get(); }
    Range panels_of(const Panels<T>& panels, int thread) const {
        return part_of(panels.count(), thread, threads_);
    }

    int L_;
    Layer<T>* layers_; // 0 .. L
    bool biases_;
    RowLoss<T> row_loss_;
    double l2_, l2_of_step_;
    bool l2_per_sample_;
    double clip_norm_;
    Hyper<T> hyper_;
    double beta1_, beta2_, weight_decay_;
    std::uint64_t seed_;
    std::int64_t batch_, parameters_;
    int threads_, most_threads_;
    bool tiny_, all_by_samples_;
    double flops_;
    Array<Item> items_;
    int n_items_;
    Array<int> thread_items_; // of layer l, thread t does items [l][t] .. [l][t + 1] - 1

    EpochData data_;
    Array<T> x_[2], y_[2], shares_[2]; // this step's batch and the next one's; s_i / sum s
    double weight_[2];                 // sum s of the batch
    Array<double> C_;                  // C_i of the batch
    Array<double> l2_parts_, norm_parts_;
    Array<T> scratch_; // a chunk of dW for each thread
    Array<T> columns_; // for each thread: the columns of a^(l-1) that a chunk is about, side by side
    Array<Item> columns_of_;

    Step<T> rule_; // of the step being done
    double beta1_power_, beta2_power_, batch_loss_;
    std::int64_t run_step_; // steps of the run when `run` was called
    EpochSums* sums_;
    const Poll* poll_;
    std::atomic<bool> abort_{false};
    std::int64_t first_, count_, done_;
    Barrier barrier_;
};

constexpr int sample_block = 96; // most samples carried through all layers in one go

// Rows of a chunk of dW: at most this many (more where a^(l-1) is gathered for it), rounded up to whole
// vectors, and the bias row.
constexpr int chunk_limit = 96, gathered_chunk_limit = 192;
template <class T> constexpr int chunk_rows_limit = round_up(gathered_chunk_limit + lanes<T> + 1, lanes<T>);
template <class T> constexpr int chunk_size = chunk_rows_limit<T> * panel_width<T>;

template <class T> Trainer<T>::Trainer(const NetworkSpec& network, const PlanSpec& plan) {
    L_ = network.n_layers;
    layers_ = new Layer<T>[L_ + 1];
    biases_ = network.biases;
    l2_ = l2_of_step_ = network.l2, l2_per_sample_ = plan.l2_per_sample;
    clip_norm_ = plan.clip_norm;
    hyper_ = {plan.optimizer,
              static_cast<T>(plan.momentum),
              static_cast<T>(plan.decay),
              static_cast<T>(1 - plan.decay),
              static_cast<T>(plan.beta1),
              static_cast<T>(1 - plan.beta1),
              static_cast<T>(plan.beta2),
              static_cast<T>(1 - plan.beta2),
              static_cast<T>(plan.epsilon)};
    beta1_ = plan.beta1, beta2_ = plan.beta2, weight_decay_ = plan.weight_decay;
    seed_ = plan.seed;
    batch_ = plan.batch_size;
    const int n = static_cast<int>(batch_);

    double weights = 0;
    bool gathers = false;
    parameters_ = 0;
    tiny_ = plan.clip_norm == 0;
    for (int l = 0; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        layer.out = network.layers[l].units;
        layer.ld = row_length<T>(layer.out);
        if (l == 0) continue;
        layer.in = layers_[l - 1].out;
        layer.g = network.layers[l].activation;
        layer.dropout = network.layers[l].dropout;
        layer.keeps_derivative = l < L_ && (layer.dropout > 0 || needs_z(layer.g));
        layer.F = {layer.in + (biases_ ? 1 : 0), layer.out};
        layer.B = {layer.out, layer.in};
        layer.Wf.resize(layer.F.size());
        if (l > 1) layer.Wb.resize(layer.B.size());
        if (slot_count(hyper_.kind) > 0) layer.s1.resize(layer.F.size());
        if (slot_count(hyper_.kind) > 1) layer.s2.resize(layer.F.size());
        if (clip_norm_ > 0) layer.dW.resize(layer.F.size());
        layer.gathers = n >= 512 && std::size_t(n) * layers_[l - 1].ld * sizeof(T) > (4u << 20);
        gathers = gathers || layer.gathers;
        layer.a.resize(std::size_t(n) * layer.ld);
        layer.delta.resize(std::size_t(n) * layer.ld);
        if (layer.keeps_derivative) layer.d.resize(std::size_t(n) * layer.ld);
        weights += double(layer.in) * layer.out * (l == 1 ? 2 : 3);
        parameters_ += layer.F.size();
        tiny_ = tiny_ && layer.out <= lanes<T> && layer.dropout == 0;
    }
    tiny_ = tiny_ && layers_[0].out <= 4 * lanes<T>;
    flops_ = 2 * weights * n;

    // Threads pay where a step is well above the microsecond that it takes them to meet.
    most_threads_ = threads_ = tiny_ || flops_ < 2.5e5 ? 1 : larger(1, plan.threads);
    share_out();

    const Layer<T>& last = layers_[L_];
    row_loss_ = {last.out, round_up(last.out, lanes<T>) / lanes<T>, network.loss, last.g};
    for (int side = 0; side < 2; ++side) {
        x_[side].resize(std::size_t(n) * layers_[0].ld);
        y_[side].resize(std::size_t(n) * last.ld);
        shares_[side].resize(n);
    }
    C_.resize(n);
    if (l2_ != 0) l2_parts_.resize(n_items_);
    if (clip_norm_ > 0) norm_parts_.resize(n_items_);
    scratch_.resize(std::size_t(threads_) * chunk_size<T>);
    if (gathers) columns_.resize(std::size_t(threads_) * n * chunk_rows_limit<T>);
    columns_of_.resize(threads_);
    barrier_.reset(threads_);
}

// Decides which thread does what.
template <class T> void Trainer<T>::share_out() {
    const int n = static_cast<int>(batch_);
    // Small networks are shared out by samples: two meetings a step, and all layers' parameters fit
    // into every core's cache. In large ones each thread keeps to its own units' parameters.
    const bool by_samples = n >= 2 * threads_ && parameters_ * sizeof(T) <= 192 * 1024;
    all_by_samples_ = true;
    int n_items = 0;
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        const auto choose = [&](const Panels<T>& panels) {
            const int count = panels.count();
            if (by_samples || threads_ == 1) return Split::samples;
            if (count % threads_ == 0 || count >= 6 * threads_) return Split::units;
            return n >= 4 * threads_ || count < 2 ? Split::samples : Split::units;
        };
        layer.forward = choose(layer.F);
        layer.backward = choose(layer.B);
        if (layer.forward != Split::samples || (l > 1 && layer.backward != Split::samples))
            all_by_samples_ = false;
        // Chunks of at most 96 rows; more of them where there would be too few for the threads.
        // The cut depends on the layer and the batch alone, since partial sums follow it.
        const int limit = layer.gathers ? gathered_chunk_limit : chunk_limit;
        int chunks = (layer.in + limit - 1) / limit;
        while (chunks * layer.F.count() < 4 && (layer.in + chunks - 1) / chunks > lanes<T>) ++chunks;
        layer.chunk_rows = round_up((layer.in + chunks - 1) / chunks, lanes<T>);
        layer.chunks = (layer.in + layer.chunk_rows - 1) / layer.chunk_rows;
        layer.first_item = n_items;
        n_items += layer.chunks * layer.F.count();
    }
    n_items_ = n_items;
    items_.resize(n_items);
    for (int l = 1, i = 0; l <= L_; ++l)
        for (int p = 0; p < layers_[l].F.count(); ++p)
            for (int c = 0; c < layers_[l].chunks; ++c, ++i) {
                const int first = c * layers_[l].chunk_rows;
                // the bias row goes with the last chunk
                const int last = c == layers_[l].chunks - 1 ? layers_[l].F.rows : first + layers_[l].chunk_rows;
                items_[i] = {l, p, first, last};
            }
    // Each layer's items are shared out evenly and in order, so that a thread meets its own part of
    // W again in the forward pass.
    thread_items_.resize(std::size_t(L_ + 1) * (threads_ + 1));
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const int count = layer.chunks * layer.F.count();
        double of_layer = 0, before = 0;
        for (int i = 0; i < count; ++i) {
            const Item& item = items_[layer.first_item + i];
            of_layer += double(item.last_row - item.first_row) * layer.F.width(item.panel);
        }
        int* cut = &thread_items_[std::ptrdiff_t(l) * (threads_ + 1)];
        int t = 0;
        cut[0] = layer.first_item;
        for (int i = 0; i < count; ++i) {
            const Item& item = items_[layer.first_item + i];
            const double size = double(item.last_row - item.first_row) * layer.F.width(item.panel);
            const int owner = smaller(threads_ - 1, static_cast<int>((before + size / 2) * threads_ / of_layer));
            while (t < owner) cut[++t] = layer.first_item + i;
            before += size;
        }
        while (t < threads_) cut[++t] = layer.first_item + count;
    }
}

// --- parameters in and out ---------------------------------------------------------------------

template <class T>
void Trainer<T>::load(const void* theta, const void* const* slots, std::int64_t step) {
    std::ptrdiff_t at = 0;
    for (int l = 1; l <= L_; ++l) {
        Layer<T>& layer = layers_[l];
        const std::ptrdiff_t W = at, b = at + std::ptrdiff_t{layer.out} * layer.in;
        const auto pack = [&](const void* flat, T* to) {
            const T* from = static_cast<const T*>(flat);
            pack_forward<T>(from + W, biases_ ? from + b : nullptr, layer.F, layer.in, to);
        };
        pack(theta, layer.Wf.get());
        if (l > 1) pack_backward<T>(static_cast<const T*>(theta) + W, layer.B, layer.in, layer.Wb.get());
        if (layer.s1.size()) pack(slots[0], layer.s1.get());
        if (layer.s2.size()) pack(slots[1], layer.s2.get());
        at = b + (biases_ ? layer.out : 0);
    }
    run_step_ = step;
    beta1_power_ = __builtin_pow(beta1_, static_cast<double>(step));
    beta2_power_ = __builtin_pow(beta2_, static_cast<double>(step));
}

template <class T> void Trainer<T>::store(void* theta, void* const* slots) const {
    std::ptrdiff_t at = 0;
    for (int l = 1; l <= L_; ++l) {
        const Layer<T>& layer = layers_[l];
        const std::ptrdiff_t W = at, b = at + std::ptrdiff_t{layer.out} * layer.in;
        const auto unpack = [&](const T* from, void* flat) {
            T* to = static_cast<T*>(flat);
            unpack_forward<T>(from, layer.F, layer.in, to + W, biases_ ? to + b : nullptr);
        };
        unpack(layer.Wf.get(), theta);
        if (layer.s1.size()) unpack(layer.s1.get(), slots[0]);
        if (layer.s2.size()) unpack(layer.s2.get(), slots[1]);
        at = b + (biases_ ? layer.out : 0);
    }
}

template <class T> bool Trainer<T>::parameters_finite() const {
    for (int l = 1; l <= L_; ++l) {
        Vec<T> zero{}; // 0 * x is 0 for every finite x, and NaN for the others
        const T* w = layers_[l].Wf.get();
        for (std::ptrdiff_t i = 0; i < layers_[l].F.size(); i += lanes<T>)
            zero += get<T>(w + i) * T(0);
        for (int i = 0; i < lanes<T>; ++i)
            if (!(zero[i] == T(0))) return false;
    }
    return true;
}

// --- batches ------------------------------------------------------------------------------------

template <class T> void Trainer<T>::begin_epoch(const EpochData& data) {
    data_ = data;
}

template <class T> typename Trainer<T>::Batch Trainer<T>::batch(std::int64_t step) const {
    const std::int64_t start = step * batch_, left = data_.n_samples - start;
    return {step, start, static_cast<std::uint32_t>(run_step_ + step - first_),
            static_cast<int>(left < batch_ ? left : batch_), static_cast<int>(step & 1)};
}

// This thread's samples of a batch: x with the 1 that meets the biases, y, and s_i / sum s.
template <class T> void Trainer<T>::gather_batch(const Batch& b, int thread) {
    const Range mine = threads_ == 1 ? Range{0, b.n} : part_of(b.n, thread, threads_);
    const Layer<T>& last = layers_[L_];
    double sum = b.n;
    if (data_.sample_weights) {
        sum = 0;
        for (int i = 0; i < b.n; ++i) sum += data_.sample_weights[row(b.start + i)];
    }
    if (thread == 0) weight_[b.side] = sum;
    const T equal_share = static_cast<T>(1.0 / sum);
    const bool plain_X = is_plain<T>(data_.X), plain_y = is_plain<T>(data_.y) && !data_.classes;
    const std::int64_t row_lines = plain_X ? (layers_[0].out * sizeof(T) + 63) / 64 : 1;
    for (int i = mine.first; i < mine.last; ++i) {
        const std::int64_t sample = row(b.start + i);
        // The order jumps about in data that may be far larger than the cache: ask for the next
        // batch's rows now.
        if (b.start + i + batch_ < data_.n_samples) {
            const std::int64_t soon = row(b.start + i + batch_);
            const char* next = row_of(data_.X, soon);
            for (std::int64_t line = 0; line < row_lines && line < 16; ++line)
                __builtin_prefetch(next + 64 * line);
            if (!data_.classes) __builtin_prefetch(row_of(data_.y, soon));
        }
        T* x = x_[b.side].get() + std::ptrdiff_t{i} * layers_[0].ld;
        T* y = y_[b.side].get() + std::ptrdiff_t{i} * last.ld;
        if (plain_X)
            copy_row<T>(row_of(data_.X, sample), layers_[0].out, x);
        else
            gather<T>(data_.X, sample, layers_[0].out, x);
        x[layers_[0].out] = T(1);
        if (plain_y) {
            copy_row<T>(row_of(data_.y, sample), last.out, y);
        } else if (data_.classes) {
            std::memset(y, 0, sizeof(T) * last.out);
            y[data_.classes[sample]] = T(1);
        } else {
            gather<T>(data_.y, sample, last.out, y);
        }
        shares_[b.side][i] = !data_.sample_weights ? equal_share
                             : sum > 0 ? static_cast<T>(data_.sample_weights[sample] / sum)
                                       : T(0);
    }
}

// --- forward: a^(l) = g(a^(l-1) W^T + b) ----------------------------------------------------------

template <class T> void Trainer<T>::forward(const Batch& b, int l, Range samples, Range panels, int thread) {
    const Layer<T>& layer = layers_[l];
    const int rows = samples.last - samples.first, below = layers_[l - 1].ld;
    if (rows <= 0) return;
    const T* a_below = a(b, l - 1) + std::ptrdiff_t{samples.first} * below;
    T* z = layer.a.get() + std::ptrdiff_t{samples.first} * layer.ld;
    for (int p = panels.first; p < panels.last; ++p) {
        const int width = layer.F.width(p), unit = p * panel_width<T>;
        panel_product<T>(rows, width / lanes<T>, layer.F.rows, a_below, below, 1,
                         layer.Wf.get() + layer.F.offset(p), width, z + unit, layer.ld);
        if (l < L_) activate(b, l, samples, unit, width);
        if (poll_ && poll_says_stop(thread)) return;
    }
    // The 1 that meets the next layer's biases stands behind the last unit.
    if (l < L_ && panels.last == layer.F.count())
        for (int i = 0; i < rows; ++i) z[std::ptrdiff_t{i} * layer.ld + layer.out] = T(1);
}

// z becomes a in place; with dropout a = m g(z), and m g'(z) is kept.
template <class T> void Trainer<T>::activate(const Batch& b, int l, Range samples, int first_unit, int width) {
    const Layer<T>& layer = layers_[l];
    if (layer.g == Activation::identity && !layer.keeps_derivative) return;
    alignas(64) T m[panel_width<T>];
    with_activation<T>(layer.g, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        for (int i = samples.first; i < samples.last; ++i) {
            T* z = layer.a.get() + std::ptrdiff_t{i} * layer.ld + first_unit;
            if (!layer.keeps_derivative) {
                for (int j = 0; j < width; j += lanes<T>) put<T>(z + j, G::value(get<T>(z + j)));
                continue;
            }
            T* d = layer.d.get() + std::ptrdiff_t{i} * layer.ld + first_unit;
            if (layer.dropout > 0)
                dropout_factors<T>(seed_, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(l),
                                   b.run_step, layer.dropout, first_unit,
                                   width, m);
            for (int j = 0; j < width; j += lanes<T>) {
                Vec<T> a_j, d_j;
                G::both(get<T>(z + j), a_j, d_j);
                if (layer.dropout > 0) {
                    const Vec<T> m_j = get<T>(m + j);
                    a_j *= m_j, d_j *= m_j;
                }
                put<T>(z + j, a_j);
                put<T>(d + j, d_j);
            }
        }
    });
}

// --- loss: C_i, a^(L) and delta^(L), already times s_i / sum s --------------------------------------

template <class T> void Trainer<T>::losses(const Batch& b, Range samples) {
    const Layer<T>& last = layers_[L_];
    for (int i = samples.first; i < samples.last; ++i) {
        T* z = last.a.get() + std::ptrdiff_t{i} * last.ld;
        C_[i] = row_loss_(z, y_[b.side].get() + std::ptrdiff_t{i} * last.ld,
                          last.delta.get() + std::ptrdiff_t{i} * last.ld, shares_[b.side][i]);
        if (data_.outputs) {
            std::memcpy(static_cast<T*>(data_.outputs) + row(b.start + i) * last.out, z, sizeof(T) * last.out);
        }
    }
}

// --- backward: delta^(l-1) = (delta^(l) W^(l)) g'(z^(l-1)) ------------------------------------------

template <class T> void Trainer<T>::backward(int l, Range samples, Range panels, int thread) {
    const Layer<T>& layer = layers_[l];
    const Layer<T>& below = layers_[l - 1];
    const int rows = samples.last - samples.first;
    if (rows <= 0) return;
    const T* delta = layer.delta.get() + std::ptrdiff_t{samples.first} * layer.ld;
    T* delta_below = below.delta.get() + std::ptrdiff_t{samples.first} * below.ld;
    for (int q = panels.first; q < panels.last; ++q) {
        const int width = layer.B.width(q), unit = q * panel_width<T>;
        panel_product<T>(rows, width / lanes<T>, layer.out, delta, layer.ld, 1,
                         layer.Wb.get() + layer.B.offset(q), width, delta_below + unit, below.ld);
        const T* kept = (below.keeps_derivative ? below.d.get() : below.a.get()) +
                        std::ptrdiff_t{samples.first} * below.ld + unit;
        T* to = delta_below + unit;
        const auto multiply = [&](auto derivative) CR_LAMBDA_INLINE {
            for (int i = 0; i < rows; ++i)
                for (int k = 0; k < width; k += lanes<T>) {
                    const std::ptrdiff_t at = std::ptrdiff_t{i} * below.ld + k;
                    put<T>(to + at, get<T>(to + at) * derivative(get<T>(kept + at)));
                }
        };
        if (below.keeps_derivative)
            multiply([](Vec<T> d) CR_LAMBDA_INLINE { return d; });
        else if (below.g != Activation::identity)
            with_activation<T>(below.g, [&](auto g) CR_LAMBDA_INLINE {
                using G = decltype(g);
                multiply([](Vec<T> a) CR_LAMBDA_INLINE { return G::derivative(a); });
            });
        if (poll_ && poll_says_stop(thread)) return;
    }
}

// --- dW = sum_i delta_i a_i^T, and the update -----------------------------------------------------

// The chunks that are a thread's. Where columns of a^(l-1) are gathered, those of the same columns follow
// one another.
template <class T> template <class F> void Trainer<T>::my_items(int thread, F&& f) const {
    for (int l = L_; l >= 1; --l) {
        const Layer<T>& layer = layers_[l];
        const int* cut = &thread_items_[std::ptrdiff_t(l) * (threads_ + 1) + thread];
        const int apart = layer.gathers ? layer.chunks : 1;
        for (int first = cut[0]; first < cut[0] + apart; ++first)
            for (int i = first; i < cut[1]; i += apart) f(i);
    }
}

template <class T> void Trainer<T>::gather_columns(const Batch& b, const Item& item, T* to) const {
    const int ld = layers_[item.layer - 1].ld, width = round_up(item.last_row - item.first_row, lanes<T>);
    const T* from = a(b, item.layer - 1) + item.first_row;
    for (int i = 0; i < b.n; ++i, from += ld, to += chunk_rows_limit<T>)
        for (int k = 0; k < width; k += lanes<T>) put<T>(to + k, get<T>(from + k));
}

// A chunk of dW: rows k of W^T (and the bias row), one panel of units j; sums over all samples.
template <class T>
void Trainer<T>::gradient_chunk(const Batch& b, const Item& item, T* dW, int thread) {
    const Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    const T* a_below = a(b, item.layer - 1) + item.first_row;
    int below = layers_[item.layer - 1].ld;
    if (layer.gathers) {
        T* columns = columns_.get() + std::ptrdiff_t{thread} * b.n * chunk_rows_limit<T>;
        Item& of = columns_of_[thread];
        if (of.layer != item.layer || of.first_row != item.first_row) gather_columns(b, item, columns);
        of = item;
        a_below = columns, below = chunk_rows_limit<T>;
    }
    panel_product<T>(item.last_row - item.first_row, width / lanes<T>, b.n, a_below, 1, below,
                     layer.delta.get() + item.panel * panel_width<T>, layer.ld, dW, width);
}

template <class T> void Trainer<T>::update_item(int index, const T* dW, T scale) {
    const Item& item = items_[index];
    Layer<T>& layer = layers_[item.layer];
    const int width = layer.F.width(item.panel);
    const std::ptrdiff_t at = layer.F.offset(item.panel) + std::ptrdiff_t{item.first_row} * width;
    const int weight_rows = smaller(item.last_row, layer.in) - item.first_row;
    const std::ptrdiff_t weights = std::ptrdiff_t{weight_rows} * width;
    const std::ptrdiff_t biases = std::ptrdiff_t{item.last_row - item.first_row - weight_rows} * width;
    T* w = layer.Wf.get() + at;
    T* s1 = layer.s1.get() + at;
    T* s2 = layer.s2.get() + at;
    const T l2 = static_cast<T>(clip_norm_ > 0 ? 0 : l2_of_step_); // with clipping it is in dW already
    update<T>(w, s1, s2, dW, weights, scale, l2, hyper_, rule_);
    if (biases)
        update<T>(w + weights, s1 + weights, s2 + weights, dW + weights, biases, scale, T(0), hyper_,
                  rule_);
    if (item.layer > 1)
        refresh_backward<T>(layer.Wf.get() + layer.F.offset(item.panel), width, layer.F.real(item.panel),
                            item.panel * panel_width<T>, item.first_row, item.first_row + weight_rows,
                            layer.B, layer.Wb.get());
}

template <class T> void Trainer<T>::update_all(const Batch& b, int thread) {
    T* scratch = scratch_.get() + std::ptrdiff_t{thread} * chunk_size<T>;
    columns_of_[thread].layer = 0;
    const auto weights_of = [&](const Item& item, std::ptrdiff_t& at) {
        const Layer<T>& layer = layers_[item.layer];
        const int width = layer.F.width(item.panel);
        at = layer.F.offset(item.panel) + std::ptrdiff_t{item.first_row} * width;
        return std::ptrdiff_t{smaller(item.last_row, layer.in) - item.first_row} * width;
    };
    if (l2_ != 0) // of the weights before the update, which the reported loss is about
        my_items(thread, [&](int i) {
            std::ptrdiff_t at;
            const std::ptrdiff_t count = weights_of(items_[i], at);
            const T* w = layers_[items_[i].layer].Wf.get() + at;
            double sum = 0;
            for (std::ptrdiff_t k = 0; k < count; ++k) sum += double(w[k]) * double(w[k]);
            l2_parts_[i] = sum;
        });
    if (clip_norm_ == 0) {
        my_items(thread, [&](int i) {
            gradient_chunk(b, items_[i], scratch, thread);
            update_item(i, scratch, T(1));
        });
        return;
    }
    my_items(thread, [&](int i) {
        std::ptrdiff_t at;
        const Item& item = items_[i];
        const std::ptrdiff_t count = weights_of(item, at);
        Layer<T>& layer = layers_[item.layer];
        T* g = layer.dW.get() + at;
        const T* w = layer.Wf.get() + at;
        gradient_chunk(b, item, g, thread);
        const std::ptrdiff_t all = std::ptrdiff_t{item.last_row - item.first_row} * layer.F.width(item.panel);
        if (l2_ != 0)
            for (std::ptrdiff_t k = 0; k < count; ++k) g[k] += static_cast<T>(l2_of_step_) * w[k];
        double sum = 0;
        for (std::ptrdiff_t k = 0; k < all; ++k) sum += double(g[k]) * double(g[k]);
        norm_parts_[i] = sum;
    });
    barrier_.wait();
    double square = 0;
    for (int i = 0; i < n_items_; ++i) square += norm_parts_[i];
    const double norm = __builtin_sqrt(square);
    const T scale = norm > clip_norm_ ? static_cast<T>(clip_norm_ / norm) : T(1);
    my_items(thread, [&](int i) {
        std::ptrdiff_t at;
        weights_of(items_[i], at);
        update_item(i, layers_[items_[i].layer].dW.get() + at, scale);
    });
}

// --- the step -----------------------------------------------------------------------------------

template <class T> bool Trainer<T>::poll_says_stop(int thread) {
    if (thread == 0 && !abort_.load(std::memory_order_relaxed) && poll_->due_and_stop(poll_->context))
        abort_.store(true, std::memory_order_relaxed);
    return abort_.load(std::memory_order_relaxed);
}

// What the update of this step needs besides dW; by one thread, before the others read it.
template <class T> void Trainer<T>::prepare_step(const Batch& b) {
    const double eta = data_.learning_rates[b.step];
    const double weight = weight_[b.side];
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
    batch_loss_ = 0;
    for (int i = 0; i < b.n; ++i) batch_loss_ += double(shares_[b.side][i]) * C_[i];
}

// `squares`: the sum of all w^2 before the update.
template <class T> void Trainer<T>::add_to_sums(const Batch& b, double squares) {
    const double penalty = l2_of_step_ / 2 * squares;
    if (data_.step_losses) {
        data_.step_losses[2 * b.step] = batch_loss_;
        data_.step_losses[2 * b.step + 1] = penalty;
    }
    sums_->loss_sum += weight_[b.side] * (batch_loss_ + penalty);
    sums_->weight_sum += weight_[b.side];
    ++done_;
}

template <class T> void Trainer<T>::step(const Batch& b, int thread) {
    const Range every_sample{0, b.n}, mine = part_of(b.n, thread, threads_);
    if (all_by_samples_) {
        const int rows = mine.last - mine.first, blocks = (rows + sample_block - 1) / sample_block;
        for (int i = 0; i < blocks; ++i) {
            const Range part = part_of(rows, i, blocks);
            const Range block{mine.first + part.first, mine.first + part.last};
            for (int l = 1; l <= L_; ++l) forward(b, l, block, {0, layers_[l].F.count()}, thread);
            losses(b, block);
            for (int l = L_; l > 1; --l) backward(l, block, {0, layers_[l].B.count()}, thread);
        }
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
            if (split == Split::samples)
                forward(b, l, mine, {0, layers_[l].F.count()}, thread);
            else
                forward(b, l, every_sample, panels_of(layers_[l].F, thread), thread);
        }
        meet(Split::samples);
        losses(b, mine);
        for (int l = L_; l > 1; --l) {
            const Split split = layers_[l].backward;
            meet(split);
            if (split == Split::samples)
                backward(l, mine, {0, layers_[l].B.count()}, thread);
            else
                backward(l, every_sample, panels_of(layers_[l].B, thread), thread);
        }
    }
    if (thread == 0 && !abort_.load(std::memory_order_relaxed)) prepare_step(b);
    barrier_.wait();
    if (abort_.load(std::memory_order_relaxed)) return; // no parameter has moved yet
    if (thread == 0) sum_losses(b);
    update_all(b, thread);
    if (b.step + 1 < first_ + count_) gather_batch(batch(b.step + 1), thread);
    barrier_.wait();
    if (thread == 0) {
        double squares = 0;
        for (int i = 0; l2_ != 0 && i < n_items_; ++i) squares += l2_parts_[i];
        add_to_sums(b, squares);
    }
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
            t.gather_batch(t.batch(t.first_), thread);
            t.barrier_.wait();
            for (std::int64_t s = t.first_; s < t.first_ + t.count_; ++s) {
                t.step(t.batch(s), thread);
                if (t.abort_.load(std::memory_order_relaxed)) return;
            }
        };
        barrier_.reset(threads_);
        run_on_threads(threads_, job, this);
    }
    run_step_ += done_;
    return done_;
}

} // namespace CR_ISA
} // namespace chainrule

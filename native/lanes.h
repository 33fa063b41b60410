// Many networks of one shape at once. Every number of theirs is a vector, one network to a lane, so that a
// small network fills the processor as well as a large one. No lane ever meets another: what becomes of a
// network does not depend on its neighbours. Sums are taken in the order in which trainer.h takes them.
#pragma once
#include "gather.h"
#include "lane_losses.h"
#include "lane_product.h"
#include "layout.h"
#include "optimizers.h"
#include "philox.h"

namespace chainrule {
namespace CR_ISA {

template <class T> class LaneTrainer final : public Lanes {
    using V = Vec<T>;
    static constexpr int width_ = lanes<T>;

public:
    LaneTrainer(const NetworkSpec& network, const PlanSpec& plan, int single_bytes);
    ~LaneTrainer() override { delete[] layers_; }
    int width() const override { return width_; }
    bool run(const EpochData& data, Member* members, int count, int epochs, std::ptrdiff_t losses_apart,
             bool (*stop)(void* context), void* context) override;

private:
    struct Layer {
        int in, out;
        Activation g;
        double dropout;
        bool keeps_derivative; // g' is kept from the forward pass, dropout's factor included
        std::ptrdiff_t at;     // of w[k][j] in w_; b follows
        Array<V> a, delta, d;  // of a block of rows
    };
    struct Lane { // one network's own numbers of the run
        const std::int64_t* order;
        double beta1_power, beta2_power, l2_of_step;
        double loss_sum, weight_sum; // of the epoch
        double batch_weight, weight_scale;
        double told_loss; // of the batch, for step_losses: with each C_i at most largest_loss_
        int power;
    };

    template <class F> void each_parameter(const Layer& layer, F&& f) const;
    void load(const void* const* from, V* to) const;
    void store(V* from, int lane, void* to) const;
    bool is_finite(int lane) const;
    std::int64_t row(int lane, std::int64_t place) const {
        return lane_[lane].order ? lane_[lane].order[place] : place;
    }

    void step(std::int64_t s);
    void weigh(std::int64_t start, int n);
    void gather_block(std::int64_t start, int n);
    void block(std::int64_t start, int first, int n, int alone, V* dW, V* bias_sums, bool fresh);
    void forward(int l, int first, int n, int alone);
    void backward(int l, int n);
    void gradient(int l, int n, V* dW, V* bias_sums, bool fresh);
    void drop(int l, int first, int i, V* m);
    void prepare(std::int64_t s);
    V clipping(V* g);
    void note_penalty();
    template <class F> void with_input(F&& f) const {
        if (together_) f(x_.get());
        else f(reinterpret_cast<const V*>(own_x_.get()));
    }
    static T* lane_of(V* numbers, int lane) { return reinterpret_cast<T*>(numbers) + lane; }

    int L_, inputs_, outputs_;
    bool biases_, l2_per_sample_;
    double clip_norm_, beta1_, beta2_, weight_decay_, largest_loss_;
    Layer* layers_; // 0 .. L; of 0 only `out`
    LaneLoss<T> loss_;
    Sums sums_;
    Hyper<T> hyper_;
    std::int64_t batch_;
    int rows_; // of a block, which is carried through all layers while it is in the cache
    std::ptrdiff_t parameters_ = 0;
    Array<V> w_, s1_, s2_, g_, other_half_, bias_sums_;
    Array<T> x_, own_x_, sample_, dropped_; // x of a block, for all lanes or for each its own
    Array<V> y_, shares_;                   // y of a block; s_i / sum s of the batch
    int equal_shares_ = 0;                  // 1 / n in all shares, for this n
    Array<double> squares_;

    EpochData data_;
    Member* members_;
    int count_;
    bool together_; // all lanes take the same samples in the same order
    bool same_step_, same_dropout_, has_l2_;
    std::int64_t step_of_run_, first_rate_;
    Lane lane_[lanes<T>];
    Step<V> rule_;
    V batch_loss_;
};

template <class T>
LaneTrainer<T>::LaneTrainer(const NetworkSpec& network, const PlanSpec& plan, int single_bytes) {
    L_ = network.n_layers;
    layers_ = new Layer[L_ + 1];
    biases_ = network.biases;
    l2_per_sample_ = plan.l2_per_sample, clip_norm_ = plan.clip_norm;
    hyper_ = hyper_of<T>(plan);
    beta1_ = plan.beta1, beta2_ = plan.beta2, weight_decay_ = plan.weight_decay;
    largest_loss_ = plan.largest_loss;
    batch_ = plan.batch_size;
    const int single = single_bytes / static_cast<int>(sizeof(T));
    sums_ = sums_of(network, plan, single, sizeof(T));
    inputs_ = network.layers[0].units, outputs_ = network.layers[L_].units;
    loss_ = {outputs_, single, sums_.tiny, network.loss, network.layers[L_].activation};

    int units = 0, widest = 0;
    for (int l = 0; l <= L_; ++l) units += network.layers[l].units;
    // Where 16 rows fit into the first-level cache they stay there; else longer sums pay more.
    rows_ = std::size_t(units) * 2 * 32 * sizeof(V) <= 64 * 1024 ? 16 : 32;
    for (int l = 0; l <= L_; ++l) {
        Layer& layer = layers_[l];
        layer.out = network.layers[l].units;
        if (l == 0) continue;
        layer.in = layers_[l - 1].out;
        layer.g = network.layers[l].activation;
        layer.dropout = network.layers[l].dropout;
        layer.keeps_derivative = l < L_ && (layer.dropout > 0 || !derivative_from_a<T>(layer.g));
        layer.at = parameters_;
        parameters_ += std::ptrdiff_t{layer.in + (biases_ ? 1 : 0)} * layer.out;
        widest = larger(widest, layer.out);
        layer.a.resize(std::size_t(rows_) * layer.out);
        layer.delta.resize(std::size_t(rows_) * layer.out);
        if (layer.keeps_derivative) layer.d.resize(std::size_t(rows_) * layer.out);
    }
    w_.resize(parameters_), g_.resize(parameters_);
    if (slot_count(hyper_.kind) > 0) s1_.resize(parameters_);
    if (slot_count(hyper_.kind) > 1) s2_.resize(parameters_);
    if (sums_.halves) other_half_.resize(parameters_);
    bias_sums_.resize(std::size_t(4) * widest * (L_ + 1));
    x_.resize(std::size_t(rows_) * inputs_);
    own_x_.resize(std::size_t(rows_) * inputs_ * width_);
    sample_.resize(larger(inputs_, outputs_));
    dropped_.resize(round_up(widest, 4));
    y_.resize(std::size_t(rows_) * outputs_);
    shares_.resize(batch_);
}

// --- parameters in and out ----------------------------------------------------------------------

// f(place in the public layout, place in w_)
template <class T> template <class F> void LaneTrainer<T>::each_parameter(const Layer& layer, F&& f) const {
    const std::ptrdiff_t weights = std::ptrdiff_t{layer.in} * layer.out;
    for (int j = 0; j < layer.out; ++j)
        for (int k = 0; k < layer.in; ++k)
            f(layer.at + std::ptrdiff_t{j} * layer.in + k, layer.at + std::ptrdiff_t{k} * layer.out + j);
    for (int j = 0; biases_ && j < layer.out; ++j) f(layer.at + weights + j, layer.at + weights + j);
}
template <class T> void LaneTrainer<T>::load(const void* const* from, V* to) const {
    for (int l = 1; l <= L_; ++l)
        each_parameter(layers_[l], [&](std::ptrdiff_t flat, std::ptrdiff_t at) CR_LAMBDA_INLINE {
            V numbers;
            for (int q = 0; q < width_; ++q) numbers[q] = static_cast<const T*>(from[q])[flat];
            to[at] = numbers;
        });
}
template <class T> void LaneTrainer<T>::store(V* from, int lane, void* to) const {
    for (int l = 1; l <= L_; ++l)
        each_parameter(layers_[l], [&](std::ptrdiff_t flat, std::ptrdiff_t at) CR_LAMBDA_INLINE {
            static_cast<T*>(to)[flat] = *lane_of(from + at, lane);
        });
}
template <class T> bool LaneTrainer<T>::is_finite(int lane) const {
    for (std::ptrdiff_t i = 0; i < parameters_; ++i)
        if (!(*lane_of(w_.get() + i, lane) * T(0) == T(0))) return false;
    return true;
}

// --- batches ------------------------------------------------------------------------------------

// Each lane's weight of the batch, and its samples' shares in it, as trainer.h takes them.
template <class T> void LaneTrainer<T>::weigh(std::int64_t start, int n) {
    if (!data_.sample_weights) {
        if (equal_shares_ == n) return;
        equal_shares_ = n;
        for (int q = 0; q < width_; ++q) lane_[q].batch_weight = n, lane_[q].weight_scale = 1;
        const V equal = splat<T>(static_cast<T>(1.0 / n));
        for (int i = 0; i < n; ++i) shares_[i] = equal;
        return;
    }
    equal_shares_ = 0;
    for (int q = 0; q < width_; ++q) {
        double largest = 0, sum = 0;
        for (int i = 0; i < n; ++i) {
            const double s = data_.sample_weights[row(q, start + i)];
            largest = s > largest ? s : largest;
        }
        const int power = exponent(largest);
        const double scale = __builtin_ldexp(1, -power);
        for (int i = 0; i < n; ++i) sum += data_.sample_weights[row(q, start + i)] * scale;
        lane_[q].batch_weight = __builtin_ldexp(sum, power);
        lane_[q].weight_scale = __builtin_ldexp(1, -lane_[q].power);
        for (int i = 0; i < n; ++i)
            *lane_of(&shares_[i], q) =
                sum > 0 ? static_cast<T>(data_.sample_weights[row(q, start + i)] * scale / sum) : T(0);
    }
}

template <class T> void LaneTrainer<T>::gather_block(std::int64_t start, int n) {
    const auto row_of_y = [&](std::int64_t sample, T* to) {
        if (!data_.classes) return gather<T>(data_.y, sample, outputs_, to);
        for (int j = 0; j < outputs_; ++j) to[j] = T(0);
        const std::int64_t of_sample = data_.classes[sample];
        if (of_sample >= 0 && of_sample < outputs_) to[of_sample] = T(1);
    };
    T* const given = sample_.get();
    for (int i = 0; i < n; ++i) {
        V* y = y_.get() + std::ptrdiff_t{i} * outputs_;
        if (together_) {
            const std::int64_t sample = row(0, start + i);
            gather<T>(data_.X, sample, inputs_, x_.get() + std::ptrdiff_t{i} * inputs_);
            row_of_y(sample, given);
            for (int j = 0; j < outputs_; ++j) y[j] = splat<T>(given[j]);
            continue;
        }
        T* x = own_x_.get() + std::ptrdiff_t{i} * inputs_ * width_;
        for (int q = 0; q < width_; ++q) {
            const std::int64_t sample = row(q, start + i);
            gather<T>(data_.X, sample, inputs_, given);
            for (int k = 0; k < inputs_; ++k) x[std::ptrdiff_t{k} * width_ + q] = given[k];
            row_of_y(sample, given);
            for (int j = 0; j < outputs_; ++j) *lane_of(y + j, q) = given[j];
        }
    }
}

// --- the passes, on a block of n rows of the batch from row `first` --------------------------------

// Dropout's factors of row i of the block.
template <class T> void LaneTrainer<T>::drop(int l, int first, int i, V* m) {
    const Layer& layer = layers_[l];
    for (int q = 0; q < width_; ++q) {
        if (q == 0 || !same_dropout_)
            dropout_factors<T>(members_[q].seed, static_cast<std::uint32_t>(first + i),
                               static_cast<std::uint32_t>(l),
                               static_cast<std::uint32_t>(members_[q].run_step + step_of_run_), layer.dropout, 0,
                               layer.out, dropped_.get());
        for (int j = 0; j < layer.out; ++j) *lane_of(m + j, q) = dropped_[j];
    }
}

// In tiny networks rows from `alone` on are those that tiny.h takes one by one.
template <class T> void LaneTrainer<T>::forward(int l, int first, int n, int alone) {
    Layer& layer = layers_[l];
    const V* W = w_.get() + layer.at;
    const V* b = biases_ ? W + std::ptrdiff_t{layer.in} * layer.out : nullptr;
    const V* begin = sums_.tiny ? b : nullptr; // elsewhere the bias comes last
    const auto multiply = [&](const auto* below) {
        lane_product<T>(n, layer.out, layer.in, below, layer.in, 1, W, layer.out, 1, layer.a.get(), begin, 0);
    };
    if (l == 1) with_input(multiply);
    else multiply(static_cast<const V*>(layers_[l - 1].a.get()));
    const V* added = sums_.tiny ? nullptr : b;
    const int units = layer.out;
    const auto each = [&](auto f) CR_LAMBDA_INLINE {
        for (int i = 0; i < n; ++i) {
            V* z = layer.a.get() + std::ptrdiff_t{i} * units;
            for (int j = 0; j < units; ++j) z[j] = f(added ? z[j] + added[j] : z[j], i, j);
        }
    };
    if (l == L_) {
        if (added) each([](V z, int, int) CR_LAMBDA_INLINE { return z; });
        return;
    }
    with_activation<T>(layer.g, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        if (!layer.keeps_derivative) return each([](V z, int, int) CR_LAMBDA_INLINE { return G::value(z); });
        V* d = layer.d.get();
        each([&](V z, int i, int j) CR_LAMBDA_INLINE {
            V a, d_j;
            if constexpr (DerivativeBeside<G, T>) {
                if (i >= alone) a = G::value(z), d_j = G::slope(z, a);
                else G::both(z, a, d_j);
            } else {
                G::both(z, a, d_j);
            }
            d[std::ptrdiff_t{i} * units + j] = d_j;
            return a;
        });
    });
    if (layer.dropout == 0) return;
    for (int i = 0; i < n; ++i) {
        V* m = layer.delta.get(); // not in use yet
        drop(l, first, i, m);
        for (int j = 0; j < units; ++j) {
            layer.a[std::ptrdiff_t{i} * units + j] *= m[j];
            layer.d[std::ptrdiff_t{i} * units + j] *= m[j];
        }
    }
}

template <class T> void LaneTrainer<T>::backward(int l, int n) {
    const Layer& layer = layers_[l];
    Layer& below = layers_[l - 1];
    V* to = below.delta.get();
    lane_product<T>(n, layer.in, layer.out, static_cast<const V*>(layer.delta.get()), layer.out, 1,
                    w_.get() + layer.at, 1, layer.out, to, nullptr, 0);
    const std::ptrdiff_t count = std::ptrdiff_t{n} * below.out;
    if (below.keeps_derivative) {
        for (std::ptrdiff_t i = 0; i < count; ++i) to[i] = to[i] * below.d[i];
        return;
    }
    with_activation<T>(below.g, [&](auto g) CR_LAMBDA_INLINE {
        using G = decltype(g);
        if constexpr (DerivativeFromA<G, T>)
            for (std::ptrdiff_t i = 0; i < count; ++i) to[i] = to[i] * G::derivative(below.a[i]);
    });
}

// dW (+)= a^T delta, and for b the sum of delta: in four sums by row in tiny networks, in order elsewhere.
template <class T> void LaneTrainer<T>::gradient(int l, int n, V* dW, V* bias_sums, bool fresh) {
    const Layer& layer = layers_[l];
    const V* delta = layer.delta.get();
    V* to = dW + layer.at;
    const auto multiply = [&](const auto* below) {
        lane_product<T>(layer.in, layer.out, n, below, 1, layer.in, delta, layer.out, 1, to, fresh ? nullptr : to,
                        layer.out);
    };
    if (l == 1) with_input(multiply);
    else multiply(static_cast<const V*>(layers_[l - 1].a.get()));
    if (!biases_) return;
    V* b = to + std::ptrdiff_t{layer.in} * layer.out;
    if (bias_sums) {
        const int whole = n / 4 * 4; // a block in the middle of a batch has a multiple of 4 rows
        for (int j = 0; j < layer.out; ++j) {
            V* four = bias_sums + 4 * j;
            for (int k = 0; fresh && k < 4; ++k) four[k] = V{};
            for (int i = 0; i < n; ++i) four[i < whole ? i % 4 : 0] += delta[std::ptrdiff_t{i} * layer.out + j];
            b[j] = (four[0] + four[1]) + (four[2] + four[3]);
        }
        return;
    }
    for (int j = 0; j < layer.out; ++j) {
        V sum = fresh ? V{} : b[j];
        for (int i = 0; i < n; ++i) sum += delta[std::ptrdiff_t{i} * layer.out + j];
        b[j] = sum;
    }
}

template <class T>
void LaneTrainer<T>::block(std::int64_t start, int first, int n, int alone, V* dW, V* bias_sums, bool fresh) {
    gather_block(start + first, n);
    for (int l = 1; l <= L_; ++l) forward(l, first, n, alone);
    Layer& last = layers_[L_];
    for (int i = 0; i < n; ++i) {
        const std::ptrdiff_t at = std::ptrdiff_t{i} * outputs_;
        const V share = shares_[first + i];
        double C[lanes<T>];
        batch_loss_ += share * loss_(last.a.get() + at, y_.get() + at, last.delta.get() + at, share, C);
        for (int q = 0; q < count_ && members_[q].step_losses; ++q)
            lane_[q].told_loss += double(share[q]) * (C[q] > largest_loss_ ? largest_loss_ : C[q]);
        for (int q = 0; q < count_ && members_[q].outputs; ++q) {
            T* to = static_cast<T*>(members_[q].outputs) + (start + first + i) * outputs_;
            for (int j = 0; j < outputs_; ++j) to[j] = *lane_of(last.a.get() + at + j, q);
        }
    }
    for (int l = L_; l > 1; --l) backward(l, n);
    std::ptrdiff_t sums = 0;
    for (int l = 1; l <= L_; ++l) {
        gradient(l, n, dW, bias_sums ? bias_sums + sums : nullptr, fresh);
        sums += 4 * layers_[l].out;
    }
}

// --- the step -----------------------------------------------------------------------------------

template <class T> void LaneTrainer<T>::prepare(std::int64_t s) {
    const bool adam = hyper_.kind == Optimizer::adam || hyper_.kind == Optimizer::adamw;
    const double first = members_[0].learning_rates[first_rate_ + s];
    bool same = same_step_ && !has_l2_;
    for (int q = 1; q < width_; ++q) same = same && members_[q].learning_rates[first_rate_ + s] == first;
    const auto everywhere = [&](V& numbers) { numbers = same ? splat<T>(numbers[0]) : numbers; };
    for (int q = 0; q < (same ? 1 : width_); ++q) {
        Lane& lane = lane_[q];
        const double eta = members_[q].learning_rates[first_rate_ + s];
        rule_.eta[q] = static_cast<T>(eta);
        lane.l2_of_step = members_[q].l2;
        if (l2_per_sample_) lane.l2_of_step = lane.batch_weight > 0 ? members_[q].l2 / lane.batch_weight : 0;
        if (!adam) continue;
        lane.beta1_power *= beta1_, lane.beta2_power *= beta2_;
        rule_.adam_step[q] = static_cast<T>(eta / (1 - lane.beta1_power));
        rule_.adam_root[q] = static_cast<T>(1 / __builtin_sqrt(1 - lane.beta2_power));
        rule_.decay_factor[q] = static_cast<T>(1 - eta * weight_decay_);
    }
    everywhere(rule_.eta), everywhere(rule_.adam_step), everywhere(rule_.adam_root),
        everywhere(rule_.decay_factor);
    for (int q = 1; same && q < width_; ++q)
        lane_[q].beta1_power = lane_[0].beta1_power, lane_[q].beta2_power = lane_[0].beta2_power;
}

// The sums of w^2 before the update, for the reported losses.
template <class T> void LaneTrainer<T>::note_penalty() {
    using Wide = typename Simd<T>::Wide;
    Wide squares{};
    for (int l = 1; l <= L_; ++l)
        for (std::ptrdiff_t i = 0; i < std::ptrdiff_t{layers_[l].in} * layers_[l].out; ++i) {
            const Wide w = __builtin_convertvector(w_[layers_[l].at + i], Wide);
            squares += w * w;
        }
    for (int q = 0; q < width_; ++q) {
        const double penalty = lane_[q].l2_of_step / 2 * squares[q];
        lane_[q].loss_sum += lane_[q].batch_weight * lane_[q].weight_scale * penalty;
        if (members_[q].step_losses) members_[q].step_losses[2 * step_of_run_ + 1] = penalty;
    }
}

// Adds l2 w to g, and returns what brings each lane's |g| to clip_norm where it is longer.
template <class T> Vec<T> LaneTrainer<T>::clipping(V* g) {
    using Wide = typename Simd<T>::Wide;
    V l2;
    for (int q = 0; q < width_; ++q) l2[q] = static_cast<T>(lane_[q].l2_of_step);
    Wide squares{};
    for (int l = 1; l <= L_; ++l) {
        const std::ptrdiff_t weights = std::ptrdiff_t{layers_[l].in} * layers_[l].out;
        for (std::ptrdiff_t i = 0; i < weights + (biases_ ? layers_[l].out : 0); ++i) {
            V& g_i = g[layers_[l].at + i];
            if (has_l2_ && i < weights) g_i += l2 * w_[layers_[l].at + i];
            const Wide wide = __builtin_convertvector(g_i, Wide);
            squares += wide * wide;
        }
    }
    V scale;
    for (int q = 0; q < width_; ++q) {
        const double norm = __builtin_sqrt(squares[q]);
        scale[q] = norm > clip_norm_ ? static_cast<T>(clip_norm_ / norm) : T(1);
    }
    return scale;
}

template <class T> void LaneTrainer<T>::step(std::int64_t s) {
    const std::int64_t start = s * batch_, left = data_.n_samples - start;
    const int n = static_cast<int>(left < batch_ ? left : batch_);
    weigh(start, n);
    prepare(s);
    batch_loss_ = V{};
    for (int q = 0; q < width_; ++q) lane_[q].told_loss = 0;
    V* four = sums_.tiny && n >= 4 ? bias_sums_.get() : nullptr;
    const int half = sums_.halves ? n / 2 : 0, alone = sums_.tiny ? n / 8 * 8 : n;
    for (int part = half ? 0 : 1; part < 2; ++part) {
        const int begin = part ? half : 0, end = part ? n : half;
        for (int first = begin; first < end; first += rows_)
            block(start, first, smaller(rows_, end - first), alone - first,
                  part || !half ? g_.get() : other_half_.get(), four, first == begin);
    }
    V* g = g_.get();
    for (std::ptrdiff_t i = 0; half && i < parameters_; ++i) g[i] = other_half_[i] + g[i];

    for (int q = 0; q < width_; ++q) {
        Lane& lane = lane_[q];
        const double weight = lane.batch_weight * lane.weight_scale;
        lane.loss_sum += weight * static_cast<double>(batch_loss_[q]);
        lane.weight_sum += weight;
        if (!members_[q].step_losses) continue;
        members_[q].step_losses[2 * step_of_run_] = lane.told_loss;
        members_[q].step_losses[2 * step_of_run_ + 1] = 0;
    }
    if (has_l2_) note_penalty();
    V scale = splat<T>(1), l2{};
    if (clip_norm_ > 0) scale = clipping(g);
    else if (has_l2_)
        for (int q = 0; q < width_; ++q) l2[q] = static_cast<T>(lane_[q].l2_of_step);
    const auto flat = [](Array<V>& numbers, std::ptrdiff_t at) {
        return numbers.size() ? reinterpret_cast<T*>(numbers.get() + at) : nullptr;
    };
    for (int l = 1; l <= L_; ++l) {
        const std::ptrdiff_t at = layers_[l].at, weights = std::ptrdiff_t{layers_[l].in} * layers_[l].out;
        const auto move = [&](std::ptrdiff_t from, std::ptrdiff_t count, V own_l2) {
            update<T>(flat(w_, from), flat(s1_, from), flat(s2_, from), flat(g_, from), count * width_, scale,
                      own_l2, hyper_, rule_);
        };
        if (sums_.tiny && has_l2_) { // rounded as tiny.h does
            for (std::ptrdiff_t i = at; i < at + weights; ++i) g[i] += l2 * w_[i];
            move(at, weights, V{});
        } else {
            move(at, weights, l2);
        }
        if (biases_) move(at + weights, layers_[l].out, V{});
    }
}

template <class T>
bool LaneTrainer<T>::run(const EpochData& data, Member* given, int count, int epochs, std::ptrdiff_t losses_apart,
                         bool (*stop)(void* context), void* context) {
    Member all[lanes<T>];
    for (int q = 0; q < width_; ++q) {
        all[q] = given[q < count ? q : 0]; // lanes that are left over repeat the first network
        if (q >= count) all[q].outputs = nullptr, all[q].step_losses = nullptr;
    }
    data_ = data, members_ = all, count_ = count;
    const std::int64_t steps = (data.n_samples + batch_ - 1) / batch_;
    together_ = same_step_ = same_dropout_ = true, has_l2_ = false, equal_shares_ = 0;
    const void* from[lanes<T>];
    const auto load_from = [&](auto of, V* to) {
        for (int q = 0; q < width_; ++q) from[q] = of(all[q]);
        load(from, to);
    };
    load_from([](const Member& m) { return m.theta; }, w_.get());
    if (s1_.size()) load_from([](const Member& m) { return m.slots[0]; }, s1_.get());
    if (s2_.size()) load_from([](const Member& m) { return m.slots[1]; }, s2_.get());
    bool finite[lanes<T>];
    double largest = 0;
    for (std::int64_t i = 0; data.sample_weights && i < data.n_samples; ++i)
        largest = data.sample_weights[i] > largest ? data.sample_weights[i] : largest;
    for (int q = 0; q < width_; ++q) {
        together_ = together_ && all[q].order == all[0].order;
        same_step_ = same_step_ && all[q].run_step == all[0].run_step;
        same_dropout_ = same_dropout_ && same_step_ && all[q].seed == all[0].seed;
        has_l2_ = has_l2_ || all[q].l2 != 0;
        finite[q] = true;
        lane_[q].power = exponent(largest);
    }
    for (int e = 0; e < epochs; ++e) {
        first_rate_ = e * steps;
        for (int q = 0; q < width_; ++q) {
            Lane& lane = lane_[q];
            const double t = static_cast<double>(all[q].run_step + e * steps);
            lane.order = all[q].order ? all[q].order + e * data.n_samples : nullptr;
            lane.beta1_power = __builtin_pow(beta1_, t), lane.beta2_power = __builtin_pow(beta2_, t);
            lane.loss_sum = lane.weight_sum = 0;
        }
        for (std::int64_t s = 0; s < steps; ++s) {
            if (stop(context)) return false;
            step_of_run_ = first_rate_ + s;
            step(s);
        }
        for (int q = 0; q < count; ++q) {
            const double sum = lane_[q].loss_sum, weight = lane_[q].weight_sum;
            given[q].losses[e * losses_apart] = weight > 0 ? sum / weight : 0;
            finite[q] = finite[q] && __builtin_isfinite(sum);
        }
    }
    for (int q = 0; q < count; ++q) {
        given[q].trained = finite[q] && is_finite(q);
        if (!given[q].trained) continue;
        store(w_.get(), q, given[q].theta);
        if (s1_.size()) store(s1_.get(), q, given[q].slots[0]);
        if (s2_.size()) store(s2_.get(), q, given[q].slots[1]);
    }
    return true;
}

} // namespace CR_ISA
} // namespace chainrule

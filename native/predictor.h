// Forward passes without training: blocks of samples, each carried through all layers by one thread
// in two buffers of its own. A few samples of a network that is not small take the weights as they lie,
// since comparing them with the packed ones would cost more than using them once.
#pragma once
#include "trainer.h"

namespace chainrule {
namespace CR_ISA {

template <class T> class ForwardOnly final : public Predictor {
public:
    ForwardOnly(const NetworkSpec& network, int threads)
        : L_(network.n_layers), biases_(network.biases), threads_(larger(1, threads)) {
        layers_ = new Weights[L_ + 1];
        int widest = 0;
        for (int l = 0; l <= L_; ++l) {
            Weights& layer = layers_[l];
            layer.out = network.layers[l].units;
            layer.g = network.layers[l].activation;
            layer.value = network.layers[l].value;
            layer.ld = row_length<T>(layer.out);
            widest = larger(widest, layer.ld);
            if (l == 0) continue;
            layer.in = layers_[l - 1].out;
            layer.F = {layer.in + (biases_ ? 1 : 0), layer.out};
            layer.Wf.resize(layer.F.size());
            layer.at = parameters_;
            parameters_ += std::ptrdiff_t{layer.in + (biases_ ? 1 : 0)} * layer.out;
            flops_ += 2.0 * layer.in * layer.out;
            as_they_lie_ = as_they_lie_ && layer.in >= lanes<T>;
        }
        as_they_lie_ = as_they_lie_ && parameters_ > packing_pays_up_to;
        const Weights& last = layers_[L_];
        row_loss_ = row_loss_of(network, output_weights_);
        packed_.resize(parameters_);
        y_row_.resize(std::size_t(last.ld) * threads_);
        delta_.resize(std::size_t(last.ld) * threads_);
        stride_ = std::ptrdiff_t{widest} * block;
        buffers_.resize(2 * stride_ * threads_);
    }
    ~ForwardOnly() override { delete[] layers_; }

    bool run(const void* theta, const MatrixView& X, std::int64_t n, void* out, const void* y,
             double* C) override {
        theta_ = static_cast<const T*>(theta), X_ = X, n_ = n, out_ = static_cast<T*>(out);
        y_ = static_cast<const T*>(y), C_ = C;
        finite_.store(true, std::memory_order_relaxed);
        const std::int64_t bytes = is_plain<T>(X) ? std::int64_t{layers_[0].out} * sizeof(T) : 0;
        lines_ = bytes <= 1024 ? static_cast<int>((bytes + 63) / 64) : 0;
        if (n <= few_samples && as_they_lie_) {
            for (std::int64_t i = 0; i < n; ++i) one_sample(i);
            return finite_.load(std::memory_order_relaxed);
        }
        const int threads = flops_ * double(n) < threads_pay_prediction ? 1 : threads_;
        rows_ = block;
        if (n < std::int64_t{2} * block * threads) rows_ = static_cast<int>((n + 2 * threads - 1) / (2 * threads));
        if (threads == 1) rows_ = block;
        next_.store(0, std::memory_order_relaxed);
        pack(threads);
        run_on_threads(
            threads,
            [](void* self, int thread) {
                ForwardOnly& f = *static_cast<ForwardOnly*>(self);
                const auto take = [&f] { return f.next_.fetch_add(f.rows_, std::memory_order_relaxed); };
                for (std::int64_t first = take(), next; first < f.n_; first = next) {
                    next = take();
                    if (!f.samples(f.rows_from(first), f.rows_from(next), thread))
                        f.finite_.store(false, std::memory_order_relaxed);
                }
            },
            this);
        return finite_.load(std::memory_order_relaxed);
    }

private:
    static constexpr int block = 96, group = 8;
    struct Rows {
        std::int64_t first;
        int count;
    };
    Rows rows_from(std::int64_t first) const {
        const std::int64_t left = n_ - first;
        return {first, left < 0 ? 0 : static_cast<int>(left < rows_ ? left : rows_)};
    }
    struct Weights {
        int in, out, ld;
        std::ptrdiff_t at; // of W in the flat parameters; b follows it
        Activation g;
        const Formula* value; // of a custom g
        Panels<T> F;
        Array<T> Wf;
        bool ready = false; // Wf holds what the last call saw
        std::atomic<int> taken{0}, done{0}; // units of the sample that is being predicted
    };
    // 0 * x is 0 for every finite x, and NaN for the others: sums of it tell whether all were finite.
    static bool is_zero(Vec<T> sum) {
        for (int i = 0; i < lanes<T>; ++i)
            if (!(sum[i] == T(0))) return false;
        return true;
    }

    // Brings the weights into panels, where they are not those of the last call, and notes if one of them is
    // not finite. Layers are taken by whoever comes.
    void pack(int threads) {
        next_layer_.store(1, std::memory_order_relaxed);
        run_on_threads(
            parameters_ < threads_pay_packing ? 1 : threads,
            [](void* self, int) {
                ForwardOnly& f = *static_cast<ForwardOnly*>(self);
                for (int l; (l = f.next_layer_.fetch_add(1, std::memory_order_relaxed)) <= f.L_;)
                    if (!f.pack_layer(f.layers_[l])) f.finite_.store(false, std::memory_order_relaxed);
            },
            this);
    }
    // False if a weight is not finite; such a layer is looked at again the next time.
    bool pack_layer(Weights& layer) {
        const T* W = theta_ + layer.at;
        const std::ptrdiff_t count = std::ptrdiff_t{layer.in + (biases_ ? 1 : 0)} * layer.out;
        T* seen = packed_.get() + layer.at;
        if (layer.ready && std::memcmp(seen, W, count * sizeof(T)) == 0) return true;
        T zero = 0;
        for (std::ptrdiff_t i = 0; i < count; ++i) zero += W[i] * T(0);
        layer.ready = zero == T(0);
        std::memcpy(seen, W, count * sizeof(T));
        const T* b = W + std::ptrdiff_t{layer.in} * layer.out;
        pack_forward<T>(W, biases_ ? b : nullptr, layer.F, layer.in, layer.Wf.get());
        return layer.ready;
    }

    // a^(L) is found together with C_i, from z.
    Activation after(const Weights& layer) const {
        return y_ && &layer == &layers_[L_] ? Activation::identity : layer.g;
    }
    void activate(const Weights& layer, T* z, int rows, int width, Vec<T>& zero) {
        if (after(layer) == Activation::custom) {
            const auto at = [&](int i, int v)
                                CR_LAMBDA_INLINE { return z + std::ptrdiff_t{i} * layer.ld + v * lanes<T>; };
            by_formula<T, 1, 1>(
                *layer.value, rows, width / lanes<T>,
                [&](int, int i, int v) CR_LAMBDA_INLINE {
                    const Vec<T> z_v = get<T>(at(i, v));
                    zero += z_v * T(0);
                    return z_v;
                },
                [&](int i, int v, const Vec<T>* found) CR_LAMBDA_INLINE { put<T>(at(i, v), found[0]); });
            return;
        }
        with_activation<T>(after(layer), [&](auto g) CR_LAMBDA_INLINE {
            for (int j = 0; j < width; j += lanes<T>) {
                Vec<T> even{}, odd{}; // two sums, since one would be waited for
                const auto one = [&](int i, Vec<T>& sum) CR_LAMBDA_INLINE {
                    T* at = z + std::ptrdiff_t{i} * layer.ld + j;
                    const Vec<T> z_j = get<T>(at);
                    sum += z_j * T(0);
                    put<T>(at, decltype(g)::value(z_j));
                };
                for (int i = 0; i + 1 < rows; i += 2) one(i, even), one(i + 1, odd);
                if (rows % 2) one(rows - 1, even);
                zero += even + odd;
            }
        });
    }
    Vec<T> zero_of(const T* x, int n) {
        Vec<T> zero{};
        int j = 0;
        for (; j + lanes<T> <= n; j += lanes<T>) zero += load_unaligned<T>(x + j) * T(0);
        for (; j < n; ++j) zero[0] += x[j] * T(0);
        return zero;
    }
    // a^(L) of one sample, to where the caller wants it.
    void finish(T* a, std::int64_t sample, int thread) {
        const Weights& last = layers_[L_];
        if (y_) {
            T* y = y_row_.get() + std::ptrdiff_t{thread} * last.ld;
            copy_row<T>(reinterpret_cast<const char*>(y_ + sample * last.out), last.out, y);
            for (int j = 0; row_loss_.weighs_targets() && j < last.out; ++j) y[j] *= row_loss_.weights[j];
            C_[sample] = row_loss_(a, y, delta_.get() + std::ptrdiff_t{thread} * last.ld, T(1));
        } else if (last.g == Activation::softmax) {
            (void)row_loss_.softmax(a);
        }
        copy_row<T>(reinterpret_cast<const char*>(a), last.out, out_ + sample * last.out);
    }

    // --- one sample, W as it lies --------------------------------------------------------------------

    // z_j = sum_k W_jk a_k for a vector of units, `group` of them at a time, whose sums run side by side.
    // Behind the last whole vector of a row stands one that ends with the row, and meets zeros where it
    // overlaps.
    void dots(const T* W, int in, int units, const T* a, const T* tail, T* z) {
        constexpr int n = lanes<T>, rows = n < group ? n : group;
        alignas(64) T sums[n * n];
        for (int first = 0; first < n; first += rows) {
            const T* row[rows];
            Vec<T> sum[rows];
#pragma GCC unroll 8
            for (int j = 0; j < rows; ++j) {
                row[j] = W + std::ptrdiff_t{smaller(first + j, units - 1)} * in;
                sum[j] = Vec<T>{};
            }
            for (int k = 0; first < units && k + n <= in; k += n) {
                const Vec<T> a_k = load<T>(a + k);
#pragma GCC unroll 8
                for (int j = 0; j < rows; ++j) sum[j] += load_unaligned<T>(row[j] + k) * a_k;
            }
            if (in % n) {
                const Vec<T> a_k = load<T>(tail);
#pragma GCC unroll 8
                for (int j = 0; j < rows; ++j) sum[j] += load_unaligned<T>(row[j] + in - n) * a_k;
            }
#pragma GCC unroll 8
            for (int j = 0; j < rows; ++j) put<T>(sums + (first + j) * n, sum[j]);
        }
        transpose_square<T>(sums, n, sums, n);
        Vec<T> total = get<T>(sums);
#pragma GCC unroll 16
        for (int k = 1; k < n; ++k) total += get<T>(sums + k * n);
        put<T>(z, total);
    }
    // The units of a layer are taken `units_at_once` at a time by whoever comes; a layer is begun when the
    // one below is whole.
    void one_sample(std::int64_t i) {
        gather<T>(X_, i, layers_[0].out, buffers_.get());
        if (!is_zero(zero_of(buffers_.get(), layers_[0].out))) finite_.store(false, std::memory_order_relaxed);
        for (int l = 1; l <= L_; ++l) {
            layers_[l].taken.store(0, std::memory_order_relaxed);
            layers_[l].done.store(0, std::memory_order_relaxed);
        }
        const int threads = parameters_ * sizeof(T) < threads_pay_sample ? 1 : threads_;
        run_on_threads(threads, [](void* self, int) { static_cast<ForwardOnly*>(self)->take_units(); }, this);
        finish(buffers_.get() + (L_ % 2) * stride_, i, 0);
    }
    void take_units() {
        constexpr int n = lanes<T>, units_at_once = 64;
        alignas(64) T tail[n];
        Vec<T> zero{};
        for (int l = 1; l <= L_; ++l) {
            Weights& layer = layers_[l];
            const T* from = buffers_.get() + ((l - 1) % 2) * stride_;
            T* to = buffers_.get() + (l % 2) * stride_;
            const T* W = theta_ + layer.at;
            const T* b = W + std::ptrdiff_t{layer.in} * layer.out;
            bool first = true;
            for (int j; (j = layer.taken.fetch_add(units_at_once, std::memory_order_relaxed)) < layer.out;) {
                for (int k = 0; first && k < n; ++k)
                    tail[k] = k < n - layer.in % n ? T(0) : from[layer.in - n + k];
                first = false;
                const int end = smaller(j + units_at_once, layer.out), padded = round_up(end, n);
                for (int u = j; u < end; u += n)
                    dots(W + std::ptrdiff_t{u} * layer.in, layer.in, smaller(n, end - u), from, tail, to + u);
                for (int u = j; biases_ && u < end; ++u) to[u] += b[u];
                for (int u = end; u < padded; ++u) to[u] = T(0);
                activate(layer, to + j, 1, padded - j, zero);
                layer.done.fetch_add(end - j, std::memory_order_release);
            }
            wait_for_count(layer.done, layer.out);
        }
        if (!is_zero(zero)) finite_.store(false, std::memory_order_relaxed);
    }

    // --- blocks of samples, W in panels --------------------------------------------------------------

    // Rows that may be far away in memory are asked for while others are computed.
    void ask_for_row(const Rows& rows, int i) const {
        if (i >= rows.count) return;
        const char* x = row_of(X_, rows.first + i);
        for (int line = 0; line < lines_; ++line) __builtin_prefetch(x + 64 * line);
    }

    bool samples(const Rows& mine, const Rows& next, int thread) {
        const std::int64_t first = mine.first;
        const int rows = mine.count;
        T* from = buffers_.get() + 2 * stride_ * thread;
        T* to = from + stride_;
        Vec<T> zero{};
        for (int i = 0; i < rows; ++i) {
            T* x = from + std::ptrdiff_t{i} * layers_[0].ld;
            gather<T>(X_, first + i, layers_[0].out, x);
            zero += zero_of(x, layers_[0].out);
            x[layers_[0].out] = T(1);
            __builtin_prefetch(out_ + (first + i) * layers_[L_].out, 1);
        }
        for (int l = 1; l <= L_; ++l) {
            const Weights& layer = layers_[l];
            const int ld = layer.ld;
            for (int p = 0; p < layer.F.count(); ++p) {
                const int width = layer.F.width(p);
                T* z = to + p * panel_width<T>;
                panel_product<T>(rows, width / lanes<T>, layer.F.rows, from, layers_[l - 1].ld, 1,
                                 layer.Wf.get() + layer.F.offset(p), width, z, ld);
                activate(layer, z, rows, width, zero);
            }
            if (l < L_)
                for (int i = 0; i < rows; ++i) to[std::ptrdiff_t{i} * ld + layer.out] = T(1);
            T* const spare = from;
            from = to, to = spare;
        }
        for (int i = 0; i < rows; ++i) {
            ask_for_row(next, i);
            finish(from + std::ptrdiff_t{i} * layers_[L_].ld, first + i, thread);
        }
        return is_zero(zero);
    }

    int L_;
    bool biases_, as_they_lie_ = true;
    int threads_, rows_ = block;
    int lines_ = 0; // of memory in a row of X, where that is worth asking for
    Weights* layers_;
    double flops_ = 0;
    std::ptrdiff_t stride_, parameters_ = 0;
    Array<T> packed_; // the flat parameters that Wf was made from
    const T* theta_ = nullptr;
    Array<T> buffers_;
    MatrixView X_{};
    std::int64_t n_ = 0;
    T* out_ = nullptr;
    const T* y_ = nullptr;
    double* C_ = nullptr;
    RowLoss<T> row_loss_;
    Array<T> output_weights_;
    Array<T> y_row_, delta_; // for each thread: y of a row in whole vectors, and what C_i comes with
    std::atomic<std::int64_t> next_{0};
    std::atomic<int> next_layer_{0};
    std::atomic<bool> finite_{true};
};

} // namespace CR_ISA
} // namespace chainrule

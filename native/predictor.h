// Forward passes without training: blocks of samples, each carried through all layers by one thread
// in two buffers of its own. A few samples take the weights as they lie, since packing them would cost
// more than using them once.
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
        flops_ = 0;
        for (int l = 0; l <= L_; ++l) {
            Weights& layer = layers_[l];
            layer.out = network.layers[l].units;
            layer.g = network.layers[l].activation;
            layer.ld = row_length<T>(layer.out);
            widest = larger(widest, layer.ld);
            if (l == 0) continue;
            layer.in = layers_[l - 1].out;
            layer.F = {layer.in + (biases_ ? 1 : 0), layer.out};
            layer.Wf.resize(layer.F.size());
            flops_ += 2.0 * layer.in * layer.out;
            parameters_ += std::size_t(layer.in + (biases_ ? 1 : 0)) * layer.out;
        }
        stride_ = std::size_t(widest) * block;
        buffers_.resize(2 * stride_ * threads_);
    }
    ~ForwardOnly() override { delete[] layers_; }

    void run(const void* theta, const MatrixView& X, std::int64_t n, void* out) override {
        theta_ = static_cast<const T*>(theta);
        if (n <= few) {
            X_ = X, out_ = static_cast<T*>(out);
            for (std::int64_t i = 0; i < n; ++i) one_sample(i);
            return;
        }
        pack();
        X_ = X, n_ = n, out_ = static_cast<T*>(out);
        next_.store(0, std::memory_order_relaxed);
        // A few hundred thousand operations are done before another thread is awake.
        const std::int64_t blocks = (n + block - 1) / block;
        int threads = flops_ * double(n) < 2e6 ? 1 : threads_;
        rows_ = block;
        if (blocks < 2 * threads && threads > 1) {
            const std::int64_t share = (n + threads - 1) / threads;
            rows_ = static_cast<int>(share < block ? share : (n + 2 * threads - 1) / (2 * threads));
            if (rows_ > block) rows_ = block;
            if (rows_ < 1) rows_ = 1;
        }
        run_on_threads(
            threads,
            [](void* self, int thread) {
                ForwardOnly& f = *static_cast<ForwardOnly*>(self);
                for (;;) {
                    const std::int64_t first = f.next_.fetch_add(f.rows_, std::memory_order_relaxed);
                    if (first >= f.n_) return;
                    const std::int64_t left = f.n_ - first;
                    f.samples(first, static_cast<int>(left < f.rows_ ? left : f.rows_), thread);
                }
            },
            this);
    }

private:
    static constexpr int block = 96, few = 4;
    struct Weights {
        int in, out, ld;
        Activation g;
        Panels<T> F;
        Array<T> Wf;
    };

    // The weights in panels; those of the last call if nothing has changed since.
    void pack() {
        if (packed_.size() && std::memcmp(packed_.get(), theta_, parameters_ * sizeof(T)) == 0) return;
        if (!packed_.size()) packed_.resize(parameters_);
        std::memcpy(packed_.get(), theta_, parameters_ * sizeof(T));
        const T* from = theta_;
        for (int l = 1; l <= L_; ++l) {
            Weights& layer = layers_[l];
            const T* b = from + std::ptrdiff_t{layer.out} * layer.in;
            pack_forward<T>(from, biases_ ? b : nullptr, layer.F, layer.in, layer.Wf.get());
            from = b + (biases_ ? layer.out : 0);
        }
    }

    // z_j = sum_k W_jk a_k for `rows` units, whose sums run side by side.
    template <int rows> CR_INLINE void dots(const T* W, int in, const T* a, T* z) {
        Vec<T> sum[rows] = {};
        int k = 0;
        for (; k + lanes<T> <= in; k += lanes<T>) {
            const Vec<T> a_k = load_unaligned<T>(a + k);
#pragma GCC unroll 8
            for (int j = 0; j < rows; ++j)
                sum[j] += load_unaligned<T>(W + std::ptrdiff_t{j} * in + k) * a_k;
        }
        for (int j = 0; j < rows; ++j) {
            double rest = sum_lanes<T>(sum[j]);
            for (int i = k; i < in; ++i) rest += double(W[std::ptrdiff_t{j} * in + i]) * double(a[i]);
            z[j] = static_cast<T>(rest);
        }
    }
    void one_sample(std::int64_t i) {
        T* from = buffers_.get();
        T* to = from + stride_;
        gather<T>(X_, i, layers_[0].out, from);
        const T* W = theta_;
        for (int l = 1; l <= L_; ++l) {
            const Weights& layer = layers_[l];
            int j = 0;
            for (; j + 8 <= layer.out; j += 8) dots<8>(W + std::ptrdiff_t{j} * layer.in, layer.in, from, to + j);
            for (; j < layer.out; ++j) dots<1>(W + std::ptrdiff_t{j} * layer.in, layer.in, from, to + j);
            W += std::ptrdiff_t{layer.out} * layer.in;
            if (biases_)
                for (j = 0; j < layer.out; ++j) to[j] += W[j];
            if (biases_) W += layer.out;
            activate(layer, to, 1, round_up(layer.out, lanes<T>));
            T* const spare = from;
            from = to, to = spare;
        }
        finish(from, i);
    }
    void activate(const Weights& layer, T* z, int rows, int width) {
        if (layer.g == Activation::identity || layer.g == Activation::softmax) return;
        with_activation<T>(layer.g, [&](auto g) CR_LAMBDA_INLINE {
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < width; j += lanes<T>) {
                    T* at = z + std::ptrdiff_t{i} * layer.ld + j;
                    put<T>(at, decltype(g)::value(get<T>(at)));
                }
        });
    }
    // a^(L) of one sample, to where the caller wants it.
    void finish(T* a, std::int64_t sample) {
        const Weights& last = layers_[L_];
        const RowLoss<T> row{last.out, round_up(last.out, lanes<T>) / lanes<T>, Loss::cross_entropy, last.g};
        double largest;
        if (last.g == Activation::softmax) (void)row.softmax_row(a, largest);
        std::memcpy(out_ + sample * last.out, a, sizeof(T) * last.out);
    }

    void samples(std::int64_t first, int rows, int thread) {
        T* from = buffers_.get() + 2 * stride_ * thread;
        T* to = from + stride_;
        for (int i = 0; i < rows; ++i) {
            T* x = from + std::ptrdiff_t{i} * layers_[0].ld;
            gather<T>(X_, first + i, layers_[0].out, x);
            x[layers_[0].out] = T(1);
        }
        for (int l = 1; l <= L_; ++l) {
            const Weights& layer = layers_[l];
            const int ld = layer.ld;
            for (int p = 0; p < layer.F.count(); ++p) {
                const int width = layer.F.width(p);
                T* z = to + p * panel_width<T>;
                panel_product<T>(rows, width / lanes<T>, layer.F.rows, from, layers_[l - 1].ld, 1,
                                 layer.Wf.get() + layer.F.offset(p), width, z, ld);
                activate(layer, z, rows, width);
            }
            for (int i = 0; i < rows; ++i) to[std::ptrdiff_t{i} * ld + layer.out] = T(1);
            T* const spare = from;
            from = to, to = spare;
        }
        for (int i = 0; i < rows; ++i) finish(from + std::ptrdiff_t{i} * layers_[L_].ld, first + i);
    }

    int L_;
    bool biases_;
    int threads_, rows_ = block;
    Weights* layers_;
    double flops_;
    std::size_t stride_, parameters_ = 0;
    Array<T> packed_; // the flat parameters that Wf was made from
    const T* theta_ = nullptr;
    Array<T> buffers_;
    MatrixView X_{};
    std::int64_t n_ = 0;
    T* out_ = nullptr;
    std::atomic<std::int64_t> next_{0};
};

} // namespace CR_ISA
} // namespace chainrule

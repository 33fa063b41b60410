// chainrule._native: the seam to Python. It forwards; checks of values and all policy are in
// engines/native.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "core.h"
#include "epoch.h"
#include "pool.h"

namespace nb = nanobind;
using namespace chainrule;

namespace {

using Flat = nb::ndarray<nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Table = nb::ndarray<nb::ro, nb::device::cpu>;
using Integers = nb::ndarray<const std::int64_t, nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Reals = nb::ndarray<const double, nb::c_contig, nb::device::cpu, nb::ndim<1>>;
using Layers = std::vector<std::tuple<int, int, double>>; // units, activation, dropout

Element element_of(nb::dlpack::dtype t) {
    if (t == nb::dtype<float>()) return Element::f32;
    if (t == nb::dtype<double>()) return Element::f64;
    if (t == nb::dtype<bool>()) return Element::boolean;
    const bool is_signed = t.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int);
    if (is_signed || t.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt)) switch (t.bits) {
        case 8: return is_signed ? Element::i8 : Element::u8;
        case 16: return is_signed ? Element::i16 : Element::u16;
        case 32: return is_signed ? Element::i32 : Element::u32;
        case 64: return is_signed ? Element::i64 : Element::u64;
        }
    throw nb::type_error("the native engine can't read this dtype");
}

// The same of a buffer's type and size; false for other types.
bool element_of(char type, Py_ssize_t size, Element& element) {
    switch (type) {
    case 'f': element = Element::f32; return true;
    case 'd': element = Element::f64; return true;
    case '?': element = Element::boolean; return true;
    case 'b': case 'h': case 'i': case 'l': case 'q':
        element = size == 1 ? Element::i8 : size == 2 ? Element::i16 : size == 4 ? Element::i32 : Element::i64;
        return true;
    case 'B': case 'H': case 'I': case 'L': case 'Q':
        element = size == 1 ? Element::u8 : size == 2 ? Element::u16 : size == 4 ? Element::u32 : Element::u64;
        return true;
    }
    return false;
}

MatrixView view(const Table& t) {
    const Element element = element_of(t.dtype());
    const std::int64_t size = t.dtype().bits / 8;
    return {t.data(), element, t.stride(0) * size, t.ndim() > 1 ? t.stride(1) * size : size};
}

struct Specification {
    std::vector<LayerSpec> layers;
    NetworkSpec network;

    Specification(const Layers& given, bool biases, int loss, double l2) {
        for (const auto& [units, g, dropout] : given)
            layers.push_back({units, static_cast<Activation>(g), dropout});
        network = {layers.data(), static_cast<int>(layers.size()) - 1, biases, static_cast<Loss>(loss), l2};
    }
    std::size_t parameters() const {
        std::size_t n = 0;
        for (std::size_t l = 1; l < layers.size(); ++l)
            n += std::size_t(layers[l].units) * (layers[l - 1].units + (network.biases ? 1 : 0));
        return n;
    }
};

void require(bool ok, const char* what) {
    if (!ok) throw nb::value_error(what);
}

class TrainerHandle {
public:
    TrainerHandle(const Layers& layers, bool biases, int loss, double l2, bool single, int optimizer,
                  double momentum, double decay, double beta1, double beta2, double epsilon,
                  double weight_decay, double clip_norm, bool l2_per_sample, double largest_loss, std::int64_t batch_size,
                  std::uint64_t seed, int threads)
        : spec_(layers, biases, loss, l2), single_(single), batch_size_(batch_size) {
        const PlanSpec plan{static_cast<Optimizer>(optimizer), momentum, decay, beta1, beta2, epsilon,
                            weight_decay, clip_norm, l2_per_sample, largest_loss, batch_size, seed, threads};
        const InstructionSet& isa = instruction_set_for(spec_.network, single ? 4 : 8);
        core_.reset(single ? isa.make_core_f32(spec_.network, plan) : isa.make_core_f64(spec_.network, plan));
    }

    nb::tuple run_epoch(Flat theta, const std::vector<Flat>& slots, std::int64_t run_step, const Table& X,
                        const Table& y, std::optional<Reals> weights, std::optional<Integers> order,
                        Reals learning_rates, std::optional<nb::ndarray<nb::c_contig, nb::device::cpu>> outputs,
                        std::optional<nb::ndarray<double, nb::c_contig, nb::device::cpu, nb::ndim<2>>> step_losses,
                        nb::callable on_progress) {
        const auto own = single_ ? nb::dtype<float>() : nb::dtype<double>();
        const std::size_t n = X.shape(0), parameters = spec_.parameters();
        require(theta.dtype() == own && theta.shape(0) == parameters, "theta does not fit the network");
        std::vector<void*> slot_pointers;
        for (const Flat& s : slots) {
            require(s.dtype() == own && s.shape(0) == parameters, "a slot does not fit the network");
            slot_pointers.push_back(s.data());
        }
        slot_pointers.resize(2, nullptr);
        const auto units = [&](std::size_t l) { return std::size_t(spec_.layers[l].units); };
        const std::size_t L = spec_.layers.size() - 1, steps = learning_rates.shape(0);
        require(X.ndim() == 2 && X.shape(1) == units(0), "X does not fit the network");
        require(y.shape(0) == n && (y.ndim() == 1 ? y.dtype() == nb::dtype<std::int64_t>() && y.stride(0) == 1
                                                  : y.shape(1) == units(L)),
                "y does not fit X or the network");
        require(!weights || weights->shape(0) == n, "weights do not fit X");
        require(!order || order->shape(0) == n, "order does not fit X");
        require((n + batch_size_ - 1) / batch_size_ == steps, "one learning rate for each step");
        require(!outputs || (outputs->dtype() == own && outputs->ndim() == 2 && outputs->shape(0) == n &&
                             outputs->shape(1) == units(L)),
                "outputs do not fit X, the network or its dtype");
        require(!step_losses || (step_losses->shape(0) == steps && step_losses->shape(1) == 2),
                "step_losses do not fit the steps");
        EpochData data{};
        data.X = view(X);
        if (y.ndim() == 1)
            data.classes = static_cast<const std::int64_t*>(y.data());
        else
            data.y = view(y);
        data.sample_weights = weights ? weights->data() : nullptr;
        data.order = order ? order->data() : nullptr;
        data.learning_rates = learning_rates.data();
        data.n_samples = static_cast<std::int64_t>(n);
        data.step_losses = step_losses ? step_losses->data() : nullptr;
        data.outputs = outputs ? outputs->data() : nullptr;

        Asker asker{on_progress, {}};
        EpochOutcome outcome;
        {
            nb::gil_scoped_release released;
            outcome = chainrule::run_epoch(*core_, data, static_cast<std::int64_t>(steps), run_step, theta.data(),
                                slot_pointers.data(), {&Asker::ask, &asker});
        }
        if (asker.error) std::rethrow_exception(asker.error);
        return nb::make_tuple(outcome.loss, outcome.steps, outcome.failed_step, outcome.stopped);
    }

private:
    // An exception raised by the callback (a KeyboardInterrupt, say) stops the epoch cleanly first.
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

    Specification spec_;
    bool single_;
    std::int64_t batch_size_;
    std::unique_ptr<Core> core_;
};

// An array by Python's buffer protocol: a third of the time that a DLPack view takes to make.
class Buffer {
public:
    Buffer(nb::handle array, int flags) : held_(PyObject_GetBuffer(array.ptr(), &view_, flags) == 0) {
        if (!held_) PyErr_Clear();
    }
    ~Buffer() {
        if (held_) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    bool held() const { return held_; }
    // The type of its numbers, as the struct module writes it; 0 for what is not plain numbers.
    char type() const {
        const char* f = view_.format;
        return f && f[0] && !f[1] ? f[0] : '\0';
    }
    const Py_buffer* operator->() const { return &view_; }

private:
    Py_buffer view_;
    bool held_;
};

class PredictorHandle {
public:
    PredictorHandle(const Layers& layers, bool biases, int loss, bool single, int threads)
        : spec_(layers, biases, loss, 0), single_(single), isa_(&instruction_set()) {
        predictor_.reset(single ? isa_->make_predictor_f32(spec_.network, threads)
                                : isa_->make_predictor_f64(spec_.network, threads));
    }

    // 0: the arrays are not what this handles, and nothing was done; 1: done; 2: a number is not finite.
    int predict(nb::handle theta, nb::handle X, nb::handle out) {
        return run(theta, X, out, nullptr, nullptr);
    }
    // The same, and C_i of every row; y is (n, units_L), of the network's dtype, as out is.
    int losses(nb::handle theta, nb::handle X, const nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu, nb::ndim<2>>& y,
               nb::handle out, nb::ndarray<double, nb::c_contig, nb::device::cpu, nb::ndim<1>> C) {
        require(y.dtype() == (single_ ? nb::dtype<float>() : nb::dtype<double>()) && y.shape(0) == C.shape(0) &&
                    y.shape(1) == std::size_t(spec_.layers.back().units) && nb::len(X) == C.shape(0),
                "y or C does not fit X, the network or its dtype");
        return run(theta, X, out, y.data(), C.data());
    }

private:
    int run(nb::handle theta, nb::handle X, nb::handle out, const void* y, double* C) {
        if (isa_ != &instruction_set()) return 0;
        const Buffer t(theta, PyBUF_FORMAT | PyBUF_ND), x(X, PyBUF_FORMAT | PyBUF_STRIDES),
            a(out, PyBUF_FORMAT | PyBUF_ND | PyBUF_WRITABLE);
        if (!t.held() || !x.held() || !a.held()) return 0;
        const char own = single_ ? 'f' : 'd';
        const std::size_t columns = spec_.layers[0].units, units = spec_.layers.back().units;
        Element element;
        if (!element_of(x.type(), x->itemsize, element) || x->ndim != 2 ||
            std::size_t(x->shape[1]) != columns || t.type() != own || a.type() != own ||
            std::size_t(t->len) != spec_.parameters() * t->itemsize ||
            std::size_t(a->len) != std::size_t(x->shape[0]) * units * a->itemsize || x->shape[0] == 0)
            return 0;
        const MatrixView view{x->buf, element, x->strides[0], x->strides[1]};
        const std::int64_t n = x->shape[0];
        // Giving the interpreter away and taking it back costs as much as a small prediction.
        const bool brief = double(n) * double(spec_.parameters()) < 1e4;
        if (brief && busy_.try_lock()) {
            std::lock_guard<std::mutex> one_at_a_time(busy_, std::adopt_lock);
            return predictor_->run(t->buf, view, n, a->buf, y, C) ? 1 : 2;
        }
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> one_at_a_time(busy_);
        return predictor_->run(t->buf, view, n, a->buf, y, C) ? 1 : 2;
    }

    Specification spec_;
    bool single_;
    const InstructionSet* isa_;
    std::unique_ptr<Predictor> predictor_;
    std::mutex busy_;
};

template <class T> using Input = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Output = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

} // namespace

NB_MODULE(_native, m) {
    nb::class_<TrainerHandle>(m, "Trainer")
        .def(nb::init<const Layers&, bool, int, double, bool, int, double, double, double, double, double,
                      double, double, bool, double, std::int64_t, std::uint64_t, int>(),
             nb::kw_only(), nb::arg("layers"), nb::arg("biases"), nb::arg("loss"), nb::arg("l2"),
             nb::arg("single"), nb::arg("optimizer"), nb::arg("momentum"), nb::arg("decay"),
             nb::arg("beta1"), nb::arg("beta2"), nb::arg("epsilon"), nb::arg("weight_decay"),
             nb::arg("clip_norm"), nb::arg("l2_per_sample"), nb::arg("largest_loss"), nb::arg("batch_size"),
             nb::arg("seed"), nb::arg("threads"))
        .def("run_epoch", &TrainerHandle::run_epoch, nb::arg("theta").noconvert(),
             nb::arg("slots").noconvert(), nb::arg("run_step"), nb::arg("X").noconvert(),
             nb::arg("y").noconvert(), nb::arg("weights").none(), nb::arg("order").none(),
             nb::arg("learning_rates"), nb::arg("outputs").none().noconvert(),
             nb::arg("step_losses").none().noconvert(), nb::arg("on_progress"));
    nb::class_<PredictorHandle>(m, "Predictor")
        .def(nb::init<const Layers&, bool, int, bool, int>(), nb::kw_only(), nb::arg("layers"), nb::arg("biases"),
             nb::arg("loss"), nb::arg("single"), nb::arg("threads"))
        .def("predict", &PredictorHandle::predict)
        .def("losses", &PredictorHandle::losses);

    m.def("instruction_set", [] { return std::string(instruction_set().name); });
    m.def("available_instruction_sets", [] {
        std::vector<std::string> names;
        for (const char* const* n = available_instruction_sets(); *n; ++n) names.emplace_back(*n);
        return names;
    });
    m.def("force_instruction_set", [](std::optional<std::string> name) {
        force_instruction_set(name ? name->c_str() : nullptr);
    }, nb::arg("name").none());
    m.def("default_threads", &default_threads);

    // For the tests of single kernels.
    const auto activation = [](int kind, auto z, auto a, auto d, auto f) {
        require(a.size() == z.size() && d.size() == z.size(), "sizes differ");
        f(static_cast<Activation>(kind), static_cast<std::int64_t>(z.size()), z.data(), a.data(), d.data());
    };
    m.def("activation", [=](int kind, Input<float> z, Output<float> a, Output<float> d) {
        activation(kind, z, a, d, instruction_set().activation_f32);
    });
    m.def("activation", [=](int kind, Input<double> z, Output<double> a, Output<double> d) {
        activation(kind, z, a, d, instruction_set().activation_f64);
    });
    const auto product = [](auto A, auto B, auto C, auto f) {
        require(A.ndim() == 2 && B.ndim() == 2 && C.ndim() == 2 && A.shape(1) == B.shape(0) &&
                    C.shape(0) == A.shape(0) && C.shape(1) == B.shape(1), "shapes differ");
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

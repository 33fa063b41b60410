"""Planted faults: each classical error, and each that was once here, must be found by draws."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chainrule.equations import activations, backprop, optimizers
from chainrule.equations.layers import ByLayer
from chainrule.explain import derivation
from chainrule.explain.terms import Contributions

from . import (
    certificate_checks,
    draws,
    explain_checks,
    gradient_checks,
    prediction_checks,
    run_checks,
)
from .cases import Case, build
from .package import ReferenceEngine, Samples, go_on
from .record import Record

Array = Any
Plant = Callable[[pytest.MonkeyPatch], None]
backward, gradient, forward = backprop.backward, backprop.gradient, backprop.forward


@functools.cache
def cases(number: int = 11) -> tuple[Case, ...]:
    """Fifty cases without faults of their own that a planted one could hide behind."""
    drawn: list[Case] = []
    draws.each(number, lambda _, case: drawn.append(case))
    return tuple(drawn)


def finds(
    check: Callable[[Record, Any], None],
    kinds: set[str],
    chosen: Callable[[Case], Case | None] = lambda case: case,
) -> bool:
    """Whether a check finds something of these kinds in a case, changed as the fault needs it."""
    for case in cases():
        changed, record = chosen(case), Record()
        if changed is not None:
            with np.errstate(all="ignore"):
                check(record, build(changed))
        if kinds & {finding.kind for finding in record.findings}:
            return True
    return False


def runs(record: Record, built: Any, engine: Any = None) -> None:
    run_checks.check_runs(record, built, {"reference": engine or ReferenceEngine()})


STEPS = {"reference: parameters", "reference: slots"}
GRADIENT = {"gradient: as a whole"}


# --- faults of the equations ----------------------------------------------------------------------


def of_backward(change: Callable[..., Array]) -> Plant:
    """δ of every layer, with another step from layer l+1 to l."""

    def faulty(network: Any, passed: Any, y: Array) -> ByLayer[Array]:
        deltas = [backward(network, passed, y)[-1]]
        for l in range(len(passed.z) - 1, 0, -1):
            g, m = network.weighted_layers[l - 1].activation, passed.masks[l]
            W = network.weighted_layers[l].W.astype(deltas[-1].dtype)
            slope = g.derivative(passed.z[l], g.value(passed.z[l]))
            deltas.append(change(deltas[-1], W, slope if m is None else m * slope))
        return ByLayer(deltas[::-1])

    return lambda patch: patch.setattr(backprop, "backward", faulty)


def transposed(delta: Array, W: Array, slope: Array) -> Array:
    return (delta @ (W.T if W.shape[0] == W.shape[1] else W)) * slope


def of_gradient(change: Callable[[Any, Array], Any]) -> Plant:
    def faulty(network: Any, passed: Any, y: Array, weights: Any = None) -> Any:
        return change(gradient(network, passed, y, weights), y)

    return lambda patch: patch.setattr(backprop, "gradient", faulty)


def scaled(factor: Callable[[Any, Array], float]) -> Plant:
    def change(g: Any, y: Array) -> Any:
        dW = [(factor(g, y) * part).astype(part.dtype) for part in g.dW]
        return replace(g, dW=ByLayer(dW))

    return of_gradient(change)


def without_weights(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backprop, "gradient", lambda n, f, y, weights=None: gradient(n, f, y))


def without_bias(patch: pytest.MonkeyPatch) -> None:
    def faulty(network: Any, X: Array, mask: Any = None) -> Any:
        bare = network.copy()
        for layer in bare.weighted_layers:
            if layer.b is not None:
                layer.b[...] = 0
        return forward(bare, X, mask)

    patch.setattr(backprop, "forward", faulty)


def bias_of_one_sample(g: Any, y: Array) -> Any:
    db = [None if part is None else g.delta[l][0] for l, part in enumerate(g.db, start=1)]
    return replace(g, db=ByLayer(db))


EQUATIONS: dict[str, Plant] = {
    "transposed index": of_backward(transposed),
    "forgotten g'": of_backward(lambda delta, W, slope: delta @ W),
    "absolute weights": of_backward(lambda delta, W, slope: (delta @ np.abs(W)) * slope),
    "one path only": of_backward(lambda delta, W, slope: (delta[:, :1] @ W[:1]) * slope),
    "sum for mean": scaled(lambda g, y: len(y)),
    "mean over outputs": scaled(lambda g, y: 1 / y.shape[1]),
    "forgotten sample weights": without_weights,
    "forgotten biases": without_bias,
    "bias of one sample": of_gradient(bias_of_one_sample),
    "a millionth more": scaled(lambda g, y: 1 + 1e-6),
}


def in_float64(case: Case) -> Case:
    return replace(case, dtype="float64")


@pytest.mark.parametrize("fault", EQUATIONS)
def test_equations(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    EQUATIONS[fault](monkeypatch)
    assert finds(gradient_checks.check_gradient, GRADIENT)
    assert finds(gradient_checks.check_gradient, {"gradient: layer by layer"})
    assert finds(runs, STEPS, in_float64)


# --- faults of functions, which showed at the ends only -------------------------------------------


def elu_slope_from_a(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(activations.ELU, "derivative", lambda self, z, a: np.where(z > 0, 1, a + 1))


def sigmoid_slope_from_a(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(activations.Sigmoid, "derivative", lambda self, z, a: a * (1 - a))


def tanh_slope_from_a(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(activations.Tanh, "derivative", lambda self, z, a: 1 - a * a)


def exp_that_never_reaches_0(patch: pytest.MonkeyPatch) -> None:
    def value(self: Any, z: Array) -> Array:
        low = -87 if z.dtype == np.float32 else -708
        return z / (1 + np.exp(-np.clip(z, low, None)))

    patch.setattr(activations.SiLU, "value", value)


def gelu_by_tanh(patch: pytest.MonkeyPatch) -> None:
    def value(self: Any, z: Array) -> Array:
        return z * (1 + np.tanh(np.sqrt(2 / np.pi).astype(z.dtype) * (z + 0.044715 * z**3))) / 2

    patch.setattr(activations.GELU, "value", value)


def relu_slope_1_at_0(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(activations.ReLU, "derivative", lambda self, z, a: (z >= 0).astype(z.dtype))


ENDS: dict[str, tuple[Plant, str, float, float]] = {
    # name: (the fault, the function, a shift of z to where it shows, a size of W)
    "ELU' = a + 1": (elu_slope_from_a, "elu", -12.0, 1.0),
    "sigmoid' = a (1 - a)": (sigmoid_slope_from_a, "sigmoid", 9.5, 1.0),
    "tanh' = 1 - a²": (tanh_slope_from_a, "tanh", -9.5, 1.0),
    "an exp that never reaches 0": (exp_that_never_reaches_0, "silu", 0.0, 1e8),
    "GELU by tanh": (gelu_by_tanh, "gelu", 0.0, 1.0),
    "relu'(0) = 1": (relu_slope_1_at_0, "relu", 0.0, 0.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fault", ENDS)
def test_functions_at_their_ends(fault: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, function, shift, gain = ENDS[fault]

    def chosen(case: Case) -> Case | None:
        L = len(case.sizes) - 1
        if L == 1:
            return None
        return replace(
            case, dtype=dtype, hidden=(function,) * (L - 1), gains=(gain,) + (1.0,) * (L - 1),
            shifts=(shift,) + (0.0,) * (L - 1), biases=gain > 0, X_scale=1.0,
        )  # fmt: skip

    plant(monkeypatch)
    assert finds(runs, {*STEPS, "reference: outputs"}, chosen)
    assert finds(gradient_checks.check_gradient, GRADIENT, chosen)


# --- faults of rules and of engines ---------------------------------------------------------------


class Faulty(ReferenceEngine):
    """The reference engine, which does something to what it is handed."""

    def __init__(self, change: Callable[..., dict[str, Any]]) -> None:
        self.change = change

    def run_epoch(self, network: Any, epoch: Any, state: Any, on_progress: Any = go_on) -> Any:
        given = {"network": network, "samples": epoch.samples, "plan": epoch.plan, "state": state}
        changed = {**given, **self.change(**given)}
        before = state.step
        epoch = replace(epoch, samples=changed["samples"], plan=changed["plan"])
        result = super().run_epoch(changed["network"], epoch, changed["state"], on_progress)
        if changed["state"] is not state:
            state.step = before + result.steps
            for name, slot in changed["state"].slots.items():
                state.slots[name][...] = slot
        if changed["network"] is not network:
            network.parameters[...] = changed["network"].parameters
        return result


def first_for_last(samples: Any, **_: Any) -> dict[str, Any]:
    """Drop the last sample: the first is taken twice in its place."""
    rows = [*range(len(samples) - 1), 0]
    weights = None if samples.weights is None else samples.weights[rows]
    return {"samples": Samples(samples.X[rows], samples.y[rows], weights)}


def other_masks(state: Any, **_: Any) -> dict[str, Any]:
    return {"state": type(state)(state.step + 1, state.slots)}


def without_penalty(network: Any, **_: Any) -> dict[str, Any]:
    bare = network.copy()
    bare.l2 = 0.0
    return {"network": bare}


ENGINES: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[Case], Case | None]]] = {
    "a dropped sample": (first_for_last, lambda case: case if case.n > 1 else None),
    "masks of another step": (
        other_masks,
        lambda case: replace(case, dropout=(0.5,) * len(case.hidden)) if case.hidden else None,
    ),
    "no clipping": (
        lambda plan, **_: {"plan": replace(plan, clip_norm=None)},
        lambda case: replace(case, clip_norm=1e-3),
    ),
    "no penalty": (without_penalty, lambda case: replace(case, l2=0.1)),
    "half the learning rate of momentum": (
        lambda plan, **_: {"plan": replace(plan, optimizer=optimizers.GradientDescent(1.0))},
        lambda case: replace(
            case, optimizer="GradientDescent", hyperparameters=(("momentum", 0.9),)
        ),
    ),
}


@pytest.mark.parametrize("fault", ENGINES)
def test_engines(fault: str) -> None:
    change, chosen = ENGINES[fault]
    assert finds(lambda record, built: runs(record, built, Faulty(change)), STEPS, chosen)


def without_correction(self: Any, theta: Array, g: Array, slots: Any, eta: Any, t: int) -> None:
    m, v = slots["m"], slots["v"]
    m += (1 - self.beta1) * (g - m)
    v += (1 - self.beta2) * (g * g - v)
    theta -= eta * m / (np.sqrt(v) + self.epsilon)


def epsilon_within_the_root(
    self: Any, theta: Array, g: Array, slots: Any, eta: Any, t: int
) -> None:
    slots["s"] += g * g
    theta -= eta * g / np.sqrt(slots["s"] + self.epsilon)


RULES = {
    "Adam without its correction": (optimizers.Adam, without_correction),
    "ε within the root": (optimizers.AdaGrad, epsilon_within_the_root),
}


@pytest.mark.parametrize("fault", RULES)
def test_rules(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, update = RULES[fault]
    monkeypatch.setattr(rule, "update", update)
    only = {"optimizer": rule.__name__, "hyperparameters": ()}
    assert finds(runs, {"reference: parameters"}, lambda case: replace(case, **only))


def test_losses_that_read_bytes_as_they_lie() -> None:
    class Native(ReferenceEngine):
        def losses(self, network: Any, inputs: Array, y: Array, outputs: Array) -> Array:
            inputs = inputs.view(inputs.dtype.newbyteorder())
            return super().losses(network, inputs, y, outputs)

    engines = {"reference": Native()}
    assert finds(
        lambda record, built: prediction_checks.check_predictions(record, built, engines),
        {"reference: losses"},
    )


def test_an_order_that_takes_a_sample_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.training.task import Task

    order = Task.order

    def faulty(self: Task, seed: int, epoch: int) -> Array:
        rows = order(self, seed, epoch)
        rows[-1] = rows[0]
        return rows

    monkeypatch.setattr(Task, "order", faulty)
    kinds = {"fit: run", "fit: last batch"}
    assert finds(runs, kinds, lambda case: replace(case, shuffle=True))


# --- faults of explanations and certificates ------------------------------------------------------


def test_an_explanation_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.explain.derivative import Derivative

    right = vars(Derivative)["value"].func
    monkeypatch.setattr(Derivative, "value", property(lambda self: float(np.float32(right(self)))))
    assert finds(explain_checks.check_explanations, {"explain: value"})


def test_a_contribution_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Contributions):
        def __init__(self, values: Array, *rest: Any) -> None:
            values = values.copy()
            values[:, -1] = 0
            super().__init__(values, *rest)

    monkeypatch.setattr(derivation, "Contributions", Short)
    assert finds(explain_checks.check_explanations, {"explain: contributions add up"})


def test_a_term_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = derivation.chain
    monkeypatch.setattr(derivation, "chain", lambda p, target: chain(p, target)[:2])
    assert finds(explain_checks.check_explanations, {"explain: samples average"})


def test_certificates_that_believe_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.verify import Certificate

    monkeypatch.setattr(Certificate, "passed", True)
    kinds = {"certificate: wrong value passes"}
    assert finds(certificate_checks.check_certificates, kinds)


def test_certificates_that_believe_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.verify import certificate

    monkeypatch.setattr(certificate, "RELATIVE", -1.0)
    assert finds(certificate_checks.check_certificates, {"certificate: right value fails"})

"""A second opinion: the same derivative by the automatic differentiation of PyTorch or JAX.

Built-in activations and losses are those packages' own functions, in the form that cancels least;
a user's own are computed from their formulas. Everything runs in float64. A package is imported
only if it is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.equations import activations, losses
from chainrule.equations.activations import Activation
from chainrule.equations.formulas import evaluate, parse
from chainrule.equations.losses import Poisson
from chainrule.equations.targets import Bias, PreActivation, Target, UnitOutput, Weight
from chainrule.verify.setting import Array, Setting

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

Package = Literal["torch", "jax"]
LABELS: dict[str, str] = {"torch": "PyTorch", "jax": "JAX"}


def available() -> Package | None:
    """Return the package that is installed, PyTorch before JAX, without importing it."""
    if importlib.util.find_spec("torch") is not None:
        return "torch"
    return "jax" if importlib.util.find_spec("jax") is not None else None


def derivative(package: Package, setting: Setting, target: Target) -> float:
    """Differentiate C by the target."""
    if package == "torch":
        return _by_torch(setting, target)
    return _by_jax(setting, target)


@dataclass(frozen=True)
class _Functions:
    """What the forward pass needs of a package.

    ``losses`` are those of one output, c(a, y); ``losses_from_z`` give C_i of every sample;
    ``logarithms`` are ln g(z) of the outputs above 0.
    """

    array: Callable[[Array], Any]
    formulas: Mapping[str, Callable[..., Any]]
    activations: Mapping[str, Callable[[Any], Any]]
    losses: Mapping[str, Callable[[Any, Any], Any]]
    losses_from_z: Mapping[str, Callable[[Any, Any], Any]]
    logarithms: Mapping[str, Callable[[Any], Any]]


def _loss(setting: Setting, target: Target, functions: _Functions, t: Any) -> Any:
    """Return C with the target shifted by t, a scalar of the package."""
    array, network, f = functions.array, setting.network, setting.forward

    def shifted(values: Any, kind: type, layer: int, *place: int) -> Any:
        """Add t at the target's place, if that is in this array; the first axis may be samples."""
        if not (isinstance(target, kind) and target.layer == layer):
            return values
        one = np.zeros(values.shape[-len(place) :])
        one[place] = 1
        return values + t * array(one)

    j = target.j
    a, z, penalty = shifted(array(f.a[0]), UnitOutput, 0, j), None, 0.0
    for l, layer in enumerate(network.weighted_layers, start=1):
        W = array(layer.W)
        if isinstance(target, Weight):
            W = shifted(W, Weight, l, j, target.k)
        z = a @ W.T
        if layer.b is not None:
            z = z + shifted(array(layer.b), Bias, l, j)
        z = shifted(z, PreActivation, l, j)
        a = _activation(layer.activation, functions)(z)
        mask = f.masks[l]
        a = a if mask is None else array(mask) * a
        a = shifted(a, UnitOutput, l, j)
        penalty = penalty + (W * W).sum()
    last = isinstance(target, UnitOutput) and target.layer == len(network.layers) - 1
    C = _losses(network, functions, z, a, array(setting.y), from_a=last)
    return (array(setting.shares) * C).sum() + network.l2 / 2 * penalty


def _activation(g: Activation, functions: _Functions) -> Callable[[Any], Any]:
    if _is_built_in(g):
        return functions.activations[g.name]
    formula = parse(g.formula)[0]
    return lambda z: evaluate(formula, {"z": z}, functions.formulas)


def _is_built_in(g: Activation) -> bool:
    return type(activations.ACTIVATIONS.get(g.name)) is type(g)


def _losses(
    network: FeedForward, functions: _Functions, z: Any, a: Any, y: Any, from_a: bool
) -> Any:
    loss, g = network.loss, network.layers[-1].activation
    if type(losses.LOSSES.get(loss.name)) is type(loss):
        if not from_a and loss.name in functions.losses_from_z:
            return functions.losses_from_z[loss.name](z, y)
        if not from_a and isinstance(loss, Poisson) and _is_built_in(g):
            return (a - y * functions.logarithms[g.name](z)).sum(-1)
        return functions.losses[loss.name](a, y).sum(-1)
    c = evaluate(parse(loss.formula)[0], {"a": a, "y": y}, functions.formulas)
    return c.sum(-1)


def _by_torch(setting: Setting, target: Target) -> float:
    import torch
    from torch.nn import functional as nn

    def array(values: Array) -> Any:
        return torch.as_tensor(np.array(values, dtype=np.float64))

    def tensor(value: Any) -> Any:
        return torch.as_tensor(value, dtype=torch.float64)

    def of_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values: function(*(tensor(value) for value in values))

    names = ("exp", "sqrt", "abs", "sign", "sin", "cos", "tanh", "sinh", "cosh", "atan")
    formulas = {name: of_tensors(getattr(torch, name)) for name in names}
    formulas |= {
        "number": tensor, "ln": of_tensors(torch.log), "sigma": of_tensors(torch.sigmoid),
        "Phi": of_tensors(torch.special.ndtr),
        "phi": of_tensors(lambda z: torch.exp(-z * z / 2) / np.sqrt(2 * np.pi)),
        "max": of_tensors(torch.maximum), "min": of_tensors(torch.minimum),
        "where": lambda holds, then, other: torch.where(holds, tensor(then), tensor(other)),
    }  # fmt: skip

    def softplus(z: Any) -> Any:
        return nn.softplus(z, threshold=40)  # exact above, not only nearly

    functions = _Functions(
        array,
        formulas,
        activations={
            "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": nn.relu,
            "leaky_relu": nn.leaky_relu, "elu": nn.elu, "silu": nn.silu,
            # nn.gelu has 1 + erf, of which nothing is left where z is far below 0
            "gelu": lambda z: z * torch.special.erfc(-z / np.sqrt(2)) / 2,
            "softplus": softplus,
            "step": lambda z: (z > 0).to(z),
            "softmax": lambda z: torch.softmax(z, dim=-1),
        },
        losses={
            "squared_error": lambda a, y: nn.mse_loss(a, y, reduction="none"),
            "half_squared_error": lambda a, y: nn.mse_loss(a, y, reduction="none") / 2,
            "absolute_error": lambda a, y: nn.l1_loss(a, y, reduction="none"),
            "huber": lambda a, y: nn.huber_loss(a, y, reduction="none"),
            "poisson": lambda a, y: a - torch.xlogy(y, a),
            "cross_entropy": lambda a, y: -torch.xlogy(y, a),
            "binary_cross_entropy": lambda a, y: (
                -torch.xlogy(y, a) - torch.special.xlog1py(1 - y, -a)
            ),
        },
        losses_from_z={
            "cross_entropy": lambda z, y: -(y * torch.log_softmax(z, dim=-1)).sum(-1),
            # not nn.binary_cross_entropy_with_logits: the slope of its (1 - y) z - ln σ(z) cancels
            "binary_cross_entropy": lambda z, y: (
                y * softplus(-z) + (1 - y) * softplus(z)
            ).sum(-1),
        },
        logarithms={
            "sigmoid": nn.logsigmoid, "softmax": lambda z: torch.log_softmax(z, dim=-1),
            "softplus": lambda z: _log_softplus(torch, z, softplus),
        },
    )  # fmt: skip
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        C = _loss(setting, target, functions, t)
        if not C.requires_grad:  # behind a step nothing depends on t
            return 0.0
        (gradient,) = torch.autograd.grad(C, t)
    return float(gradient)


def _log_softplus(package: Any, z: Any, softplus: Callable[[Any], Any]) -> Any:
    """Return ln ln(1 + e^z): z + ln(1 - t/2 + t²/3 - ...) with t = e^z where t is small."""
    small = z < -15
    t = package.exp(package.where(small, z, -15.0))
    below = z + package.log1p(t * (t / 3 - 0.5))
    return package.where(small, below, package.log(softplus(package.where(small, -15.0, z))))


def _by_jax(setting: Setting, target: Target) -> float:
    import jax
    import jax.numpy as jnp

    def array(values: Array) -> Any:
        return jnp.asarray(np.asarray(values, dtype=np.float64))

    names = ("exp", "sqrt", "abs", "sign", "sin", "cos", "tanh", "sinh", "cosh", "where")
    formulas: dict[str, Callable[..., Any]] = {name: getattr(jnp, name) for name in names}
    formulas |= {
        "ln": jnp.log, "atan": jnp.arctan, "sigma": jax.nn.sigmoid, "Phi": jax.scipy.special.ndtr,
        "phi": lambda z: jnp.exp(-z * z / 2) / np.sqrt(2 * np.pi), "max": jnp.maximum,
        "min": jnp.minimum,
    }  # fmt: skip
    xlogy, xlog1py = jax.scipy.special.xlogy, jax.scipy.special.xlog1py
    functions = _Functions(
        array,
        formulas,
        activations={
            "identity": lambda z: z, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh,
            "relu": jax.nn.relu, "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu,
            "gelu": lambda z: z * jax.scipy.special.erfc(-z / np.sqrt(2)) / 2, "silu": jax.nn.silu,
            "softplus": jax.nn.softplus, "step": lambda z: (z > 0).astype(z.dtype),
            "softmax": jax.nn.softmax,
        },
        losses={
            "squared_error": lambda a, y: (a - y) ** 2,
            "half_squared_error": lambda a, y: (a - y) ** 2 / 2,
            "absolute_error": lambda a, y: jnp.abs(a - y),
            "huber": lambda a, y: jnp.where(
                jnp.abs(a - y) <= 1, (a - y) ** 2 / 2, jnp.abs(a - y) - 0.5
            ),
            "poisson": lambda a, y: a - xlogy(y, a),
            "cross_entropy": lambda a, y: -xlogy(y, a),
            "binary_cross_entropy": lambda a, y: -xlogy(y, a) - xlog1py(1 - y, -a),
        },
        losses_from_z={
            "cross_entropy": lambda z, y: -(y * jax.nn.log_softmax(z)).sum(-1),
            "binary_cross_entropy": lambda z, y: (
                y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z)
            ).sum(-1),
        },
        logarithms={
            "sigmoid": jax.nn.log_sigmoid, "softmax": jax.nn.log_softmax,
            "softplus": lambda z: _log_softplus(jnp, z, jax.nn.softplus),
        },
    )  # fmt: skip
    with _float64(jax):
        slope = jax.grad(lambda t: _loss(setting, target, functions, t))
        return float(jax.jit(slope)(np.float64(0.0)))  # compiled whole: faster than by operation


def _float64(jax: Any) -> contextlib.AbstractContextManager[Any]:
    if hasattr(jax, "enable_x64"):
        context: contextlib.AbstractContextManager[Any] = jax.enable_x64(True)
    else:
        context = jax.experimental.enable_x64()  # JAX before 0.8
    return context

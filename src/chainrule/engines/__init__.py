"""Engines: who computes an epoch."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from chainrule._exports import exported
from chainrule.engines.base import (
    Engine,
    Epoch,
    EpochResult,
    Failure,
    Plan,
    Seen,
    Shortcut,
    State,
    Together,
    go_on,
    noted,
)
from chainrule.engines.micro import MicroBatches
from chainrule.engines.reference import ReferenceEngine
from chainrule.equations import data
from chainrule.equations.arrays import numeric
from chainrule.equations.checks import warn

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

__all__ = [
    "Engine",
    "EngineWarning",
    "Epoch",
    "EpochResult",
    "Failure",
    "Plan",
    "Seen",
    "Shortcut",
    "State",
    "Together",
    "check_name",
    "choose",
    "go_on",
    "noted",
    "predict",
]


@exported("chainrule")
class EngineWarning(UserWarning):
    """Warn that a run falls back to a slower engine, because the faster one lacks what is asked.

    Examples:
        >>> import warnings
        >>> import chainrule as cr
        >>> warnings.filterwarnings("ignore", category=cr.EngineWarning)  # doctest: +SKIP
    """


def _engines() -> dict[str, Engine]:
    """Return the engines that are installed, the fastest first."""
    found: dict[str, Engine] = {}
    if (
        importlib.util.find_spec("chainrule.engines._native") is not None
    ):  # not in a pure installation
        from chainrule.engines.native import NativeEngine

        found["native"] = NativeEngine()
    if sys.platform == "emscripten":  # in a page
        from chainrule.engines import wasm

        if (in_page := wasm.find()) is not None:
            found["wasm"] = in_page
    found["reference"] = ReferenceEngine()
    return found


_ENGINES = _engines()
_said: set[str] = set()


def check_name(name: str) -> str:
    """Return the name, or raise ValueError if no engine is called that."""
    if name == "native" and name not in _ENGINES:
        raise ValueError("engine 'native' is not installed: this is a pure Python installation")
    if name == "wasm" and name not in _ENGINES:
        raise ValueError("engine 'wasm' is of live pages, in the browser; here take 'auto'")
    if name != "auto" and name not in _ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: auto, {', '.join(_ENGINES)}")
    return name


def choose(name: str, network: FeedForward, plan: Plan | None = None) -> Engine:
    """Return the engine of that name, or for "auto" the fastest that can do what is asked.

    Raises ValueError if an engine asked for by name lacks something. A run (with a plan) that falls
    back to a slower engine warns of it, once for each reason.
    """
    if name != "auto":
        engine = _ENGINES[name]
        if lack := engine.lacks(network, plan):
            raise ValueError(f"engine {name!r} can't do this: {lack}")
        return _by_plan(engine, plan)
    reason = ""
    for engine in _ENGINES.values():
        lack = engine.lacks(network, plan)
        if lack is None:
            break
        reason = reason or lack
    if reason and plan is not None and reason not in _said:
        _said.add(reason)
        warn(f"training with the {engine.name} engine: {reason}", EngineWarning)
    return _by_plan(engine, plan)


def _by_plan(engine: Engine, plan: Plan | None) -> Engine:
    return engine if plan is None or plan.micro_batches is None else MicroBatches(engine)


def predict(network: FeedForward, X: ArrayLike) -> NDArray[Any]:
    """Return the outputs a^(L), (n, units_L), in the network's dtype; (units_L,) for one x.

    Warns (RuntimeWarning) where a number overflows, and says in which sample and layer.
    """
    network.check_parameters()
    array = numeric(X, "X")
    inputs = data.inputs(array, network.sizes[0], network.dtype)
    outputs = choose(network.requested_engine, network).predict(network, inputs)
    return outputs[0] if array.ndim == 1 else outputs

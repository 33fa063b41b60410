"""Engines: who computes an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.engines.base import Engine, EpochResult, Failure, Plan, State
from chainrule.engines.reference import ReferenceEngine

if TYPE_CHECKING:
    from chainrule.network import Network

__all__ = ["Engine", "EpochResult", "Failure", "Plan", "State", "check_name", "choose"]

_ENGINES: dict[str, Engine] = {"reference": ReferenceEngine()}


def check_name(name: str) -> str:
    """Give the name back, or raise ValueError if no engine is called that."""
    if name != "auto" and name not in _ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: auto, {', '.join(_ENGINES)}")
    return name


def choose(name: str, network: Network, plan: Plan | None = None) -> Engine:
    """Give the engine of that name, or for "auto" the fastest that can do what is asked.

    Raises ValueError if an engine asked for by name lacks something.
    """
    if name == "auto":
        return next(e for e in _ENGINES.values() if e.lacks(network, plan) is None)
    engine = _ENGINES[name]
    if lack := engine.lacks(network, plan):
        raise ValueError(f"engine {name!r} can't do this: {lack}")
    return engine

"""State: what a model and an optimiser are before a step, as nested values that can be packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chainrule.foreign.torch.kept import generators, restore_generators
from chainrule.foreign.torch.watching.packing import copied


def of_model(model: torch.nn.Module) -> dict[str, Any]:
    """Return copies of the parameters and buffers, by name."""
    with torch.no_grad():
        return {
            "parameters": {name: p.detach().clone() for name, p in model.named_parameters()},
            "buffers": {name: b.detach().clone() for name, b in model.named_buffers()},
        }


def of_optimizer(optimizer: torch.optim.Optimizer | None) -> dict[str, Any]:
    """Return a copy of the optimiser's state and hyperparameters."""
    if optimizer is None:
        return {}
    state = optimizer.state_dict()
    groups = [settings_of(group) for group in state["param_groups"]]
    return {"state": copied(state["state"]), "param_groups": groups}


def settings_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parameter group says, as plain values."""
    found: dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, torch.Tensor):
            found[key] = value.item() if value.numel() == 1 else value.tolist()
        elif value is None or isinstance(value, bool | int | float | str):
            found[key] = value
        elif key == "params":
            if all(isinstance(v, int) for v in value):
                found[key] = list(value)
        elif isinstance(value, tuple | list):
            plain = [v.item() if isinstance(v, torch.Tensor) else v for v in value]
            if all(isinstance(v, bool | int | float | str) for v in plain):
                found[key] = tuple(plain)
    return found


def random_states() -> dict[str, Any]:
    """Return the states of the generators of PyTorch, NumPy and Python."""
    states = generators()
    version, words, gauss = states["python"]
    return {**states, "python": (version, np.array(words, dtype=np.int64), gauss)}


def put(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer | None, state: Mapping[str, Any]
) -> None:
    """Set a model and its optimiser to a state that was packed."""
    with torch.no_grad():
        for kind, found in (
            ("parameters", dict(model.named_parameters())),
            ("buffers", dict(model.named_buffers())),
        ):
            if missing := sorted(set(state[kind]) ^ set(found)):
                raise ValueError(
                    f"the model differs from the one that was watched, in {', '.join(missing[:3])}"
                    ". Pass the model of the run"
                )
            for name, value in state[kind].items():
                if found[name].shape != value.shape:
                    raise ValueError(
                        f"{name} has shape {tuple(found[name].shape)}; the one that was watched "
                        f"had {tuple(value.shape)}. Pass the model of the run"
                    )
                found[name].copy_(value)
    if optimizer is not None and state["optimizer"]:
        own = optimizer.state_dict()
        groups = [
            {**mine, **{k: v for k, v in theirs.items() if k in mine}}
            for mine, theirs in zip(
                own["param_groups"], state["optimizer"]["param_groups"], strict=True
            )
        ]
        optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})


def put_random(states: Mapping[str, Any]) -> None:
    """Set the generators to states that were packed."""
    version, words, gauss = states["python"]
    restore_generators({**states, "python": (version, tuple(words.tolist()), gauss)})

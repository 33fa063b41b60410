"""State: what a model and an optimiser are before a step, as nested values that can be packed."""

from __future__ import annotations

import ctypes
import math
import random
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chainrule.foreign.torch.kept import generators, restore_generators

_NUMPY = 624  # words of NumPy's Mersenne twister


def now(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Any]:
    """Return what a model and its optimiser hold: parameters and buffers by name, no copies."""
    found: dict[str, Any] = {
        "parameters": {name: p.detach() for name, p in model.named_parameters()},
        "buffers": {name: b.detach() for name, b in model.named_buffers()},
        "optimizer": {},
    }
    if optimizer is not None:
        state = optimizer.state_dict()
        groups = [settings_of(group) for group in state["param_groups"]]
        found["optimizer"] = {"state": state["state"], "param_groups": groups}
    return found


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
    """Return the states of the generators of PyTorch, NumPy and Python, in as few arrays as can be.

    "words" holds the integers of Python's and NumPy's, then the bits of what each has left of a
    pair of normal numbers, then those of PyTorch's.
    """
    states = generators(_numpy)
    _, words, gauss = states.pop("python")
    numpy = states.pop("numpy")
    if not isinstance(numpy, tuple):  # not the generator that NumPy starts with
        states["numpy"] = numpy
        numpy = "", np.zeros(_NUMPY, dtype=np.uint32), 0, 0, 0.0
    _, key, position, has_gauss, cached = numpy
    state = states.pop("torch").numpy().view(np.int64)
    n = len(words)
    found = np.empty(n + _NUMPY + 4 + len(state), dtype=np.int64)
    found[:n] = array("Q", words)
    found[n : n + _NUMPY] = key
    found[n + _NUMPY : n + _NUMPY + 2] = position, has_gauss
    left = found[n + _NUMPY + 2 : n + _NUMPY + 4].view(np.float64)
    left[:] = math.nan if gauss is None else gauss, cached
    found[n + _NUMPY + 4 :] = state
    return {"words": found, **states}


_seen: tuple[bytes, Any] = b"", None  # the memory of NumPy's generator, and its state


def _numpy() -> Any:
    """Return the state of NumPy's generator, which takes longer to read than to see unchanged."""
    global _seen
    bits = np.random.get_bit_generator()  # type: ignore[attr-defined]  # NumPy's stubs lack it
    if type(bits) is not np.random.MT19937:
        return np.random.get_state()  # noqa: NPY002
    memory = ctypes.string_at(
        bits.ctypes.state_address, 4 * (_NUMPY + 1)
    )  # words, then their place
    # What it has left of a pair of normal numbers lies elsewhere, but comes of a draw that shows.
    if memory != _seen[0] or _seen[1][3]:
        _seen = memory, np.random.get_state()  # noqa: NPY002
    return _seen[1]


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
    """Set the generators to states that `random_states` returned."""
    version, now, _ = random.getstate()
    ends = np.cumsum([len(now), _NUMPY, 2, 2])
    words, key, (position, has_gauss), left, torch_state = np.split(states["words"], ends)
    gauss, cached = left.view(np.float64).tolist()
    numpy = "MT19937", key.astype(np.uint32), int(position), int(has_gauss), cached
    restore_generators(
        {
            "numpy": numpy,
            **{key: value for key, value in states.items() if key != "words"},
            "python": (version, tuple(words.tolist()), None if math.isnan(gauss) else gauss),
            "torch": torch.from_numpy(torch_state.view(np.uint8)),
        }
    )

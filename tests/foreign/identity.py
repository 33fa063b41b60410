"""The identity that a tape is held to: contributions, by forward mode, sum to the reverse mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch


def elements(value: Any) -> Iterator[tuple[int, ...]]:
    """The element with the largest derivative, the first and the middle one."""
    grad = value.grad.reshape(-1)
    for flat in {int(grad.abs().argmax()), 0, grad.numel() // 2}:
        at = torch.unravel_index(torch.tensor(flat), value.grad.shape) if value.grad.dim() else ()
        yield tuple(int(i) for i in at)


def errors(run: Any, most: int | None = None, step: int = 1) -> Iterator[tuple[float, str]]:
    """The error of each value, in its size, and the calls that read it."""
    for value in run.values[:most:step]:
        if value.grad is None or not value.users:
            continue
        for index in elements(value):
            parts = [float(p) for use in run.uses(value, index) for p in use.parts]
            number = float(value.grad[index])
            size = math.fsum(map(abs, parts)) + abs(number)
            floor = 1e-6 * float(
                value.grad.abs().max()
            )  # kernels leave rounding of this for a zero
            error = abs(math.fsum(parts) - number) / (size + floor + 1e-300)
            yield error, "/".join(call.name for call in value.users)

"""Slots: the batches of a segment, in safetensors files with a place for each of its steps.

A step fills its place and then writes its number into the tensor "step", so that a process that is
killed leaves whole batches alone. The file is made once, when a batch has a form that none before
it had, which saves a new file and a new header in every step.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from chainrule.diagnose import folder as folders
from chainrule.diagnose.spares import Spares
from chainrule.foreign.torch.watching import packing

_NAME = ".batches.safetensors"
_STEP = "step"  # a tensor of the file; those of batches begin with "."


@dataclass(frozen=True)
class _File:
    path: Path
    first: int  # the step of its first place
    steps: int  # where the numbers of steps begin
    starts: list[int]  # where each tensor of the first place begins


class Slots:
    """Write the batches of a segment.

    Args:
        folder: The folder of the segment.
        end: The first step after the segment.
        spares: Files that may be written over.
    """

    def __init__(self, folder: Path, end: int, spares: Spares) -> None:
        self._folder, self._end, self._spares = folder, end, spares
        self._files: dict[Any, _File] = {}

    def write(self, step: int, batch: Any) -> None:
        """Write a batch."""
        arrays: list[Any] = []
        kind = packing.kind_of(batch, arrays)
        file = self._files.get(kind)
        if file is None:
            file = self._files[kind] = self._made(step, batch)
        k = step - file.first
        descriptor = os.open(file.path, packing.OVER)
        try:
            for t, start in zip(arrays, file.starts, strict=True):
                data = packing.bytes_of(t)
                packing.write_at(descriptor, data, start + k * len(data))
            packing.write_at(descriptor, step.to_bytes(8, "little"), file.steps + 8 * k)
        finally:
            os.close(descriptor)

    def _made(self, first: int, batch: Any) -> _File:
        tensors: dict[str, torch.Tensor] = {}
        form = json.dumps(packing.pack(batch, "", tensors), separators=(",", ":"))
        count = self._end - first
        shapes = {name: (t.dtype, [count, *t.shape]) for name, t in tensors.items()}
        shapes[_STEP] = (torch.int64, [count])
        header, starts, size = packing.header_of(shapes, form)
        path = self._folder / f"{folders.name_of(first)}{_NAME}"

        def write(file: str) -> None:
            self._spares.take(path, size, file)
            descriptor = os.open(file, packing.OVER, 0o666)
            try:
                packing.write_at(descriptor, header, 0)
                none = packing.bytes_of(torch.full((count,), -1))
                packing.write_at(descriptor, none, starts[_STEP])
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)

        folders.rename_over(path, write)
        return _File(path, first, starts.pop(_STEP), [starts[name] for name in tensors])


def is_there(folder: Path, step: int) -> bool:
    """Return whether the batch of a step is on file."""
    return _place(folder, step) is not None


def load(folder: Path, step: int) -> Any:
    """Read the batch of a step.

    Raises ValueError if it is not on file.
    """
    found = _place(folder, step)
    if found is None:
        raise ValueError(
            f"the batch of step {step} is not on file: it could not be written, or is no longer "
            "kept. keep= of watch keeps more"
        )
    path, k = found

    def part(file: Any, name: str) -> torch.Tensor:
        there = file.get_slice(name)
        row: torch.Tensor = there[k : k + 1]
        return row.reshape(there.get_shape()[1:])

    return packing.load(path, part)


def _place(folder: Path, step: int) -> tuple[Path, int] | None:
    for path in sorted(folder.glob(f"*{_NAME}")):
        with safe_open(path, framework="pt") as file:
            at = (file.get_tensor(_STEP) == step).nonzero()
        if len(at):
            return path, int(at[0])
    return None

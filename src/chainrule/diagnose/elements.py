"""Elements: what a text such as "fc1.weight[3,7]" names among the parameters of a run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

_TARGET = re.compile(r"(?P<name>.+?)\[(?P<index>-?\d+(?:\s*,\s*-?\d+)*)\]")
_SUCH = "such as 'fc1.weight[3,7]'"


def element(target: object, parameters: Sequence[dict[str, Any]]) -> tuple[str, tuple[int, ...]]:
    """Return the name of a parameter and the index of an element of it, from the front.

    Raises TypeError for what is not a text, ValueError where there is no such element.
    """
    if not isinstance(target, str):
        raise TypeError(f"target is {target!r}; expected a text {_SUCH}")
    match = _TARGET.fullmatch(target.strip())
    if match is None:
        raise ValueError(f"target is {target!r}; expected one element of a parameter, {_SUCH}")
    shapes = {p["name"]: p["shape"] for p in parameters}
    name = match["name"]
    if name not in shapes and re.fullmatch(r"w\[\d+\]", name):
        name = name.upper()
    if name not in shapes:
        close = difflib.get_close_matches(name, shapes, 3, 0.4) or list(shapes)[:3]
        raise ValueError(
            f"target is {target!r}; there is no parameter {name!r}. Did you mean "
            f"{' or '.join(close)}? Frozen ones are not recorded"
        )
    index, shape = tuple(int(part) for part in match["index"].split(",")), shapes[name]
    fits = len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape, strict=True))
    if not fits:
        raise ValueError(f"target is {target!r}; {name} has shape {tuple(shape)}")
    return name, tuple(i % n for i, n in zip(index, shape, strict=True))

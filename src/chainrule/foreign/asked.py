"""Asked: the text of a target, such as "fc1.weight[3,7]", whichever library it is about."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Index = tuple[int, ...]
_TEXT = re.compile(r"(?P<name>[^\[\]:]*)(:(?P<call>[^\[\]:]+))?(\[(?P<index>[^\[\]]*)\])?")


@dataclass(frozen=True)
class Asked:
    """A target as it was written: a name, what of it, and the index of an element."""

    text: str
    name: str
    call: str | None
    index: Index | None


def parse(target: object) -> Asked:
    """Read a target.

    Raises TypeError for what is not a text, and ValueError for a text of another form.
    """
    if not isinstance(target, str):
        raise TypeError(
            f"target is {target!r}; expected a text such as 'fc1.weight[3,7]', 'fc1' or "
            "'fc1:output[0,3]'"
        )
    match = _TEXT.fullmatch(target.strip())
    if match is None or not (match["name"] or match["call"]):
        raise ValueError(
            f"target is {target!r}; expected a text such as 'fc1.weight[3,7]', 'fc1' or "
            "'fc1:output[0,3]'"
        )
    index = None
    if match["index"] is not None:
        try:
            index = tuple(int(part) for part in match["index"].split(",") if part.strip())
        except ValueError:
            raise ValueError(
                f"target is {target!r}; expected whole numbers between the brackets"
            ) from None
    return Asked(target.strip(), match["name"], match["call"], index)


def check_index(asked: Asked, name: str, shape: Sequence[int]) -> Index:
    """Return the index of an element, from the front.

    Raises ValueError if there is none, or the tensor has no such element.
    """
    example = ",".join(str(min(1, size - 1)) for size in shape)
    if asked.index is None:
        if not shape:
            return ()
        raise ValueError(
            f"{name} has shape {tuple(shape)}; expected the index of an element, such as "
            f"{name}[{example}]"
        )
    index = asked.index
    fits = len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape, strict=True))
    if not fits:
        shown = ",".join(map(str, index))
        such = f", such as {name}[{example}]" if shape else ""
        raise ValueError(
            f"{name}[{shown}] does not exist: {name} has shape {tuple(shape)}. Choose an element "
            f"of it{such}"
        )
    return tuple(i % n for i, n in zip(index, shape, strict=True))


def unknown(asked: Asked, name: str, known: Iterable[str]) -> ValueError:
    """Return the error that says which names may have been meant."""
    names = [each for each in known if each]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
    return ValueError(
        f"target is {asked.text!r}; there is no {name!r}. Did you mean {listed(close)}?"
        if close
        else f"target is {asked.text!r}; the model has no parameters and no modules"
    )


def listed(names: Sequence[str]) -> str:
    """Return names in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

"""Checks of what users hand in, names in the words of errors, and warnings at the user's line."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from numbers import Integral, Real


def positive(value: float, name: str) -> None:
    """Raise unless a hyperparameter is a finite number above 0."""
    if not (_number(value, name) and value > 0):
        raise ValueError(f"{name} must be above 0, got {value}")


def not_negative(value: float, name: str) -> None:
    """Raise unless a hyperparameter is a finite number, 0 or more."""
    if not (_number(value, name) and value >= 0):
        raise ValueError(f"{name} must be 0 or more, got {value}")


def integer(value: int, need: str) -> int:
    """Return an integer, of Python's or NumPy's, or raise TypeError with what is needed."""
    if type(value) is int:  # the usual case: an abstract class takes long to ask
        return value
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{need}, got {value!r}")
    return int(value)


def whole(value: int, name: str, least: int = 1) -> int:
    """Return an integer of at least ``least``, or raise."""
    value = integer(value, f"{name} must be an integer")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def _number(value: float, name: str) -> bool:
    """Return whether a number is finite; TypeError for anything else."""
    if type(value) is float:  # as above
        return math.isfinite(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return math.isfinite(value)


def guess(name: str, names: Sequence[str]) -> str:
    """Return the name that may have been meant, as part of a message, or nothing."""
    import difflib  # for those who have mistyped

    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names as a list in words, the first ones of many."""
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of chainrule that led here, as Python 3.12's skip_file_prefixes."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in ("chainrule", "contextlib")

"""How numbers are written: one rule for texts, pages and data.

Rounded, a number has significant digits (`format_number`); as it is, it has the fewest that read
back as it, as Python's ``repr`` writes them. `explorer/static/numbers.js` is the same rule in the
browser.
"""

from __future__ import annotations

import math
from typing import Any, Literal

Value = float | Literal["nan", "inf", "-inf"]  # what is not finite, JSON has no number for
_WHOLE = 10**15  # integers up to here are written out


def format_number(value: float, digits: int) -> str:
    """Write a number with significant digits: integers whole, no trailing zeros.

    Below 0.0001 and from 10**digits on it has a power of ten of two digits or more, 8.61e-05. Of
    two neighbours that are as near the even one is taken. What is not finite is nan, inf or -inf.
    """
    if math.isfinite(value) and value == int(value) and abs(value) < _WHOLE:
        return str(int(value))
    return f"{value:.{digits}g}"


def plain(value: Any) -> Any:
    """Return a number as JSON holds it: nan, inf and -inf are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value

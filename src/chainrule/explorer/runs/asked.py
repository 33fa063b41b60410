"""Asked: what a page's address asks for, read and checked."""

from __future__ import annotations

from collections.abc import Mapping

_LONGEST = 300  # characters that come from a page
_DIGITS = 12  # of a whole number


class Asked:
    """The fields of an address."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return bool(self._fields.get(name, "").strip())

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        return self._fields.get(name, default)[:_LONGEST].strip()

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number from 0 on.

        Raises ValueError if it is another text, or missing without a default.
        """
        text = self.text(name).replace(",", "")
        if not text and default is not None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise ValueError(f"{name} is {text[:20]!r}; expected a whole number from 0 on")
        return int(text)

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """Return one of some texts, the first if none is asked for."""
        text = self.text(name) or known[0]
        if text not in known:
            raise ValueError(f"{name} is {text[:20]!r}; expected {' or '.join(map(repr, known))}")
        return text

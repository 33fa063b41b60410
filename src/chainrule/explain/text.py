"""Unicode text: formulas on one line, with subscripts and superscripts where Unicode has them."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.equations.numbers import format_number
from chainrule.explain.writer import Writer

BELOW = dict(
    zip("0123456789aehijklmnoprstuvx+-=()", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₊₋₌₍₎", strict=True)
)
ABOVE = dict(
    zip(
        "0123456789abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW+-=()",
        "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ⁺⁻⁼⁽⁾",
        strict=True,
    )
)
ABOVE["⊤"] = "ᵀ"
_LETTERS = {"lambda": "λ", "eta": "η", "mean_s": "s̄", "sum_w2": "Σ w²"}
_NAMES = {"sigma": "σ", "Phi": "Φ", "phi": "φ"}
_SMALL_FRACTIONS = {("1", "2"): "½", ("1", "100"): "0.01"}


class TextWriter(Writer):
    """A writer of Unicode text."""

    def number(self, value: float) -> str:
        return format_number(value, self.notation.digits).replace("-", "−").replace("inf", "∞")

    def plain(self, index: str) -> str:
        return index

    def letter(self, name: str) -> str:
        return _LETTERS.get(name, name)

    def word(self, text: str) -> str:
        return text

    def dots(self) -> str:
        return "⋯"

    def comma(self) -> str:
        return ", "

    def symbol(self, letter: str, below: str, above: str) -> str:
        return letter + lower(below) + upper(above)

    def function(self, above: str, prime: bool) -> str:
        return "g" + ("′" if prime else "") + upper(above)

    def function_name(self, name: str) -> str:
        return _NAMES.get(name, name)

    def partial(self, of: str, by: str) -> str:
        return f"∂{of}/∂{by}" if of else f"∂/∂{by} "

    def fraction(self, upper: str, lower: str, long_upper: bool, long_lower: bool) -> str:
        if (upper, lower) in _SMALL_FRACTIONS:
            return _SMALL_FRACTIONS[upper, lower]
        upper = f"({upper})" if long_upper else upper
        return f"{upper}/({lower})" if long_lower else f"{upper}/{lower}"

    def power(self, base: str, exponent: str) -> str:
        return base + upper(exponent.replace("−", "-"))

    def exponential(self, exponent: str) -> str:
        return f"exp({exponent})"

    def root(self, inside: str) -> str:
        return f"√({inside})"

    def group(self, left: str, inside: str, right: str) -> str:
        return left + inside + right

    def cases(self, then: str, condition: str, otherwise: str) -> str:
        return f"{{{then} if {condition}, else {otherwise}}}"

    def big_sum(self, index: str, first: str, last: str, body: str) -> str:
        return f"Σ{lower(index + '=' + first)}{upper(last)} {body}"

    def grid(self, rows: Sequence[Sequence[str]]) -> str:
        return "[" + ", ".join(f"[{', '.join(row)}]" for row in rows) + "]"

    def operator(self, mark: str) -> str:
        return f" {({'<=': '≤', '>=': '≥'}).get(mark, mark)} "

    def sign(self, mark: str) -> str:
        return mark

    def gap(self, closed_before: bool, closed_after: bool) -> str:
        return "" if closed_before and closed_after else " "

    def row(self, parts: Sequence[str]) -> str:
        return "".join(parts)


def lower(text: str) -> str:
    """Return a text as a subscript, or after "_" where Unicode lacks one."""
    if all(c in BELOW or c == "," for c in text):
        return "".join(BELOW.get(c, c) for c in text)
    return f"_{text}"


def upper(text: str) -> str:
    """Return a text as a superscript, or after "^" where Unicode lacks one."""
    if all(c in ABOVE for c in text):
        return "".join(ABOVE[c] for c in text)
    return f"^({text})" if len(text) > 1 and not text.startswith("(") else f"^{text}"

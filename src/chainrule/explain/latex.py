r"""LaTeX: formulas for any document with amsmath, and for MathJax and KaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.equations.numbers import format_number
from chainrule.explain.writer import Writer

_LETTERS = {"lambda": r"\lambda", "eta": r"\eta", "mean_s": r"\bar{s}", "sum_w2": r"\sum w^{2}"}
_NAMES = {
    "sigma": r"\sigma", "Phi": r"\Phi", "phi": r"\varphi", "ln": r"\ln", "sin": r"\sin",
    "cos": r"\cos", "tanh": r"\tanh", "sinh": r"\sinh", "cosh": r"\cosh", "atan": r"\arctan",
    "max": r"\max", "min": r"\min", "sign": r"\operatorname{sign}",
}  # fmt: skip
_OPERATORS = {
    "−": "-", "·": r"\cdot", "<=": r"\le", ">=": r"\ge", "←": r"\leftarrow", ">": ">", "<": "<",
    "⊙": r"\odot", "×": r"\times",
}  # fmt: skip
_SPECIAL = {c: "\\" + c for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$",
}  # fmt: skip
_GREEK = str.maketrans({
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\varepsilon ",
    "ζ": r"\zeta ", "η": r"\eta ", "θ": r"\theta ", "κ": r"\kappa ", "λ": r"\lambda ",
    "μ": r"\mu ", "ν": r"\nu ", "ξ": r"\xi ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ",
    "τ": r"\tau ", "φ": r"\varphi ", "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ",
    "⊤": r"\top ",
})  # fmt: skip


class LatexWriter(Writer):
    """A writer of LaTeX."""

    def number(self, value: float) -> str:
        text = format_number(value, self.notation.digits)
        if "inf" in text:
            return text.replace("inf", r"\infty")
        mantissa, e, exponent = text.partition("e")
        return rf"{mantissa} \times 10^{{{int(exponent)}}}" if e else text

    def plain(self, index: str) -> str:
        return index.translate(_GREEK)

    def letter(self, name: str) -> str:
        return _LETTERS.get(name, name)

    def word(self, text: str) -> str:
        return rf"\text{{ {escape(text)} }}"

    def dots(self) -> str:
        return r"\cdots"

    def comma(self) -> str:
        return ", "

    def symbol(self, letter: str, below: str, above: str) -> str:
        marks = (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")
        return (letter + marks).translate(_GREEK)

    def function(self, above: str, prime: bool) -> str:
        marks = (r"\prime " if prime else "") + above
        return f"g^{{{marks}}}" if marks else "g"

    def function_name(self, name: str) -> str:
        return _NAMES[name]

    def partial(self, of: str, by: str) -> str:
        return (
            rf"\frac{{\partial {of}}}{{\partial {by}}}"
            if of
            else rf"\frac{{\partial}}{{\partial {by}}} "
        )

    def fraction(self, upper: str, lower: str, long_upper: bool, long_lower: bool) -> str:
        return rf"\frac{{{upper}}}{{{lower}}}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def exponential(self, exponent: str) -> str:
        return f"e^{{{exponent}}}"

    def root(self, inside: str) -> str:
        return rf"\sqrt{{{inside}}}"

    def group(self, left: str, inside: str, right: str) -> str:
        return rf"\left{left} {inside} \right{right}"

    def cases(self, then: str, condition: str, otherwise: str) -> str:
        return (
            rf"\begin{{cases}} {then} & \text{{if }} {condition} \\ "
            rf"{otherwise} & \text{{else}} \end{{cases}}"
        )

    def big_sum(self, index: str, first: str, last: str, body: str) -> str:
        return rf"\sum_{{{index.translate(_GREEK)}={first}}}^{{{last}}} {body}"

    def grid(self, rows: Sequence[Sequence[str]]) -> str:
        inside = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{pmatrix}} {inside} \end{{pmatrix}}"

    def operator(self, mark: str) -> str:
        return f" {_OPERATORS.get(mark, mark)} "

    def sign(self, mark: str) -> str:
        return "-"

    def gap(self, closed_before: bool, closed_after: bool) -> str:
        return " "

    def row(self, parts: Sequence[str]) -> str:
        return "".join(parts)


def escape(text: str) -> str:
    """Escape the characters of a text that LaTeX treats as commands."""
    return "".join(_SPECIAL.get(c, c) for c in text)

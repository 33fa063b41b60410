"""Notation: the letters and index positions of a formula, as a choice.

Three presets ship: the default, and those of two widely read lessons, one that writes
∂C₀/∂w₁₂⁽ᴸ⁾ with indices from 0, and one that writes ∂L/∂w₂ with h for the activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chainrule._exports import exported


@exported("chainrule")
@dataclass(frozen=True)
class Notation:
    """The letters and index positions of formulas.

    Make your own with ``dataclasses.replace(Notation(), loss="E")``. Three ship, by name:
    "default", "C-a-L" and "L-h".

    Args:
        name: The name of the notation.
        activation: The letter of an activation.
        loss: The letter of the loss.
        input: The letter of layer 0, or None to write it as an activation.
        first_index: The index of the first unit and sample, 0 or 1.
        to_index: The letter of the unit.
        from_index: The letter of a unit in the layer before.
        next_index: The letter of a unit in the layer after.
        other_index: The letter of another output.
        sample_index: The letter of a sample.
        layer_above: "(l)" writes w_jk^(l), "l" writes w^l_jk.
        layer_names: "number", or "relative" for L, L−1, ...
        single_units: "hide" writes w_2 for w_11^(2) if every layer has one unit.
        residual: "a - y" or "y - a".
        function: "g" keeps g and g' abstract, "name" writes tanh, "both" goes from one to the
            other.
        factors: "( )" or "" around ∂C/∂a where factors stand in a row.
        results: "( )" or "[ ]" around the results of these factors.
        counts: "number" writes the last index of a Σ as a number, "n" with the letter n.
        name_sample: Write the loss of a single sample as C_0, not as C.
        tags: Number the results (1), (2), (3).
        assign: The sign of the update, "←" or "=".
        digits: The significant digits of numbers, 1 to 17.
        max_terms: The most contributions of a sum that are printed.

    Raises:
        ValueError: A field has an impossible value, or two index letters are the same.

    Examples:
        >>> from dataclasses import replace
        >>> import chainrule as cr
        >>> mine = replace(cr.Notation(), loss="E", first_index=1)
        >>> net = cr.Network([1, 1], output="tanh", W=[[[0.5]]], b=[[0.0]])
        >>> print(net.explain("b[1][0]", [[2.0]], [0.0], notation=mine).text().splitlines()[0])
        ∂E/∂b₁⁽¹⁾ = 0.31985
    """

    name: str = "own"
    activation: str = "a"
    loss: str = "C"
    input: str | None = "x"
    first_index: Literal[0, 1] = 0
    to_index: str = "j"
    from_index: str = "k"
    next_index: str = "m"
    other_index: str = "p"
    sample_index: str = "i"
    layer_above: Literal["(l)", "l"] = "(l)"
    layer_names: Literal["number", "relative"] = "number"
    single_units: Literal["show", "hide"] = "show"
    residual: Literal["a - y", "y - a"] = "a - y"
    function: Literal["g", "name", "both"] = "both"
    factors: Literal["( )", ""] = "( )"
    results: Literal["( )", "[ ]"] = "( )"
    counts: Literal["number", "n"] = "number"
    name_sample: bool = True
    tags: bool = False
    assign: Literal["←", "="] = "←"
    digits: int = 6
    max_terms: int = 8

    def __post_init__(self) -> None:
        for field in ("activation", "loss", "to_index", "from_index", "next_index", "other_index",
                      "sample_index"):  # fmt: skip
            if not _is_letter(getattr(self, field)):
                raise ValueError(
                    f"Notation.{field} is {getattr(self, field)!r}; expected one letter"
                )
        if self.input is not None and not _is_letter(self.input):
            raise ValueError(f"Notation.input is {self.input!r}; expected one letter or None")
        indices = [self.to_index, self.from_index, self.next_index, self.other_index]
        indices.append(self.sample_index)
        if len(set(indices)) < 5:
            raise ValueError(
                f"The index letters of Notation are {indices}; expected five different letters"
            )
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if isinstance(value, bool) or value not in choices:
                *others, last = map(repr, choices)
                known = f"{', '.join(others)} or {last}"
                raise ValueError(f"Notation.{field} is {value!r}; expected {known}")
        if not (_is_integer(self.digits) and 1 <= self.digits <= 17):
            raise ValueError(
                f"Notation.digits is {self.digits!r}; expected an integer from 1 to 17"
            )
        if not (_is_integer(self.max_terms) and self.max_terms >= 1):
            raise ValueError(
                f"Notation.max_terms is {self.max_terms!r}; expected an integer from 1 on"
            )


_CHOICES: dict[str, tuple[object, ...]] = {
    "first_index": (0, 1),
    "layer_above": ("(l)", "l"),
    "layer_names": ("number", "relative"),
    "single_units": ("show", "hide"),
    "residual": ("a - y", "y - a"),
    "function": ("g", "name", "both"),
    "factors": ("( )", ""),
    "results": ("( )", "[ ]"),
    "counts": ("number", "n"),
    "assign": ("←", "="),
}


def _is_letter(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isalpha()


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


NOTATIONS: dict[str, Notation] = {
    "default": Notation(name="default"),
    # ∂C₀/∂w₁₂⁽ᴸ⁾ = (∂C₀/∂a₁⁽ᴸ⁾)(∂a₁⁽ᴸ⁾/∂z₁⁽ᴸ⁾)(∂z₁⁽ᴸ⁾/∂w₁₂⁽ᴸ⁾), indices from 0, g abstract
    "C-a-L": Notation(
        name="C-a-L", input=None, layer_names="relative", function="g", counts="n"
    ),
    # ∂L/∂w₂ = ∂L/∂h₂ ∂h₂/∂z₂ ∂z₂/∂w₂, indices from 1, w^l_kj, residual y - h
    "L-h": Notation(
        name="L-h", activation="h", loss="L", input=None, first_index=1, to_index="k",
        from_index="j", layer_above="l", single_units="hide", residual="y - a", function="name",
        factors="", results="[ ]", name_sample=False, tags=True, assign="=",
    ),
}  # fmt: skip


def get(notation: Notation | str) -> Notation:
    """Return the notation of that name, or a `Notation` unchanged.

    Raises TypeError for any other object, and ValueError for an unknown name.
    """
    if isinstance(notation, Notation):
        return notation
    if not isinstance(notation, str):
        raise TypeError(f"notation is {notation!r}; expected a name or a chainrule.Notation")
    if notation not in NOTATIONS:
        raise ValueError(f"unknown notation {notation!r}; known: {', '.join(NOTATIONS)}")
    return NOTATIONS[notation]

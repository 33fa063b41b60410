"""Words: the sentences around the formulas that every rendering shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.equations.formulas import Expr
from chainrule.equations.targets import Bias, PreActivation, UnitOutput, Weight
from chainrule.explain.symbols import LossSymbol, Partial, quantity

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward
    from chainrule.explain.derivative import Derivative, SampleRow
    from chainrule.explain.terms import Term
    from chainrule.explain.writer import Writer


def headline(why: Derivative, writer: Writer) -> str:
    """Return the derivative and its value as the writer writes them: ∂C/∂w₁₂⁽²⁾ = 0.28."""
    derivative = writer.write(Partial(LossSymbol(), why.symbol))
    return writer.row([derivative, writer.operator("="), writer.number(why.value)])


def column(why: Derivative, term: Term) -> Expr:
    """Return the symbol of a term for any sample i, to head a column of all samples."""
    any_sample: dict[Expr, Expr] = {
        LossSymbol(why.focus): LossSymbol("sample"),
        quantity("s", None, why.focus): quantity("s", None, "sample"),
    }
    return term.symbol.replace(any_sample.get)


def shown_samples(why: Derivative, count: int) -> list[SampleRow]:
    """Return the first ``count`` samples; the last makes room for the one in focus."""
    rows = list(why.samples[:count])
    if why.focus >= count:
        rows[-1] = why.samples[why.focus]
    return rows


def what(why: Derivative) -> str:
    """Return what the target is, in words."""
    first, last = why.notation.first_index, len(why.network.sizes) - 1

    def name(layer: int, unit: int) -> str:
        known = why.names.of_unit(layer, unit, last)
        return f" ({known})" if known else ""

    match why.target:
        case Weight(l, j, k):
            start, end = f"unit {k + first} of layer {l - 1}", f"unit {j + first} of layer {l}"
            return f"the weight from {start}{name(l - 1, k)} to {end}{name(l, j)}"
        case Bias(l, j):
            return f"the bias of unit {j + first} of layer {l}{name(l, j)}"
        case PreActivation(l, j):
            return f"the pre-activation of unit {j + first} of layer {l}{name(l, j)}"
        case UnitOutput(0, j):
            return f"input {j + first}{name(0, j)}"
        case UnitOutput(l, j):
            return f"the activation of unit {j + first} of layer {l}{name(l, j)}"


def setting(why: Derivative) -> str:
    """Return the target, network, loss and samples of the numbers, in words."""
    weighted = why.sample_weight is not None
    return setting_of(what(why), why.network, why.n_samples, weighted, why.dropout_step)


def setting_of(
    target: str, network: FeedForward, n: int, weighted: bool, dropout_step: int | None
) -> str:
    """Return a target that is in words already, and its network, loss and samples."""
    sizes = "-".join(map(str, network.sizes))
    functions = [layer.activation.name for layer in network.weighted_layers]
    if len(functions) > 4:
        functions = [*functions[:2], "...", functions[-1]]
    samples = "1 sample" if n == 1 else f"{n} samples"
    if weighted:
        samples += ", weighted"
    made_of = f"network {sizes} ({', '.join(functions)}), loss {network.loss.name}"
    parts = [f"{target}; {made_of}, {samples}"]
    if network.l2:
        parts.append(f"penalty ½ λ Σ w² with λ = {network.l2:g}")
    if dropout_step is not None:
        parts.append(f"dropout masks of step {dropout_step}")
    return ", ".join(parts)

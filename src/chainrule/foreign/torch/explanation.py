"""The explanation of one number of a PyTorch model: its derivative as a sum over calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from chainrule._exports import exported
from chainrule._forks import cached_property
from chainrule.explain import notation as notations
from chainrule.explain.notation import Notation
from chainrule.foreign import document
from chainrule.foreign.certificate import CallCertificate
from chainrule.foreign.explanation import CallExplanation
from chainrule.foreign.terms import (
    CallContribution,
    CallContributions,
    CallTerm,
    sample_axis,
    samples_of,
)
from chainrule.foreign.torch import formulas, reasons
from chainrule.foreign.torch.calls import Value
from chainrule.foreign.torch.certificate import certify
from chainrule.foreign.torch.run import Index, Run, Use
from chainrule.foreign.torch.targets import Labels


@exported("chainrule")
class TorchExplanation(CallExplanation):
    """The derivative of the loss C with respect to one number of a PyTorch model, explained.

    `explain_torch` makes it. It is a sum: over the calls that read the number, and over the
    elements that each of them makes of it. ``str(why)`` is the explanation as text, and a notebook
    shows it with its formulas.

    Attributes:
        target: The number, such as "fc1.weight[3,7]".
        value: Its derivative: exactly the number that PyTorch computes; 0 where it computes none,
            and `reason` says why.
        number: The number itself.
        notation: The notation.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> why = cr.explain_torch(model, loss_fn, x, y, "fc1.weight[3,7]")  # doctest: +SKIP
        >>> why.value == float(model.fc1.weight.grad[3, 7])  # doctest: +SKIP
        True
        >>> abs(sum(s.value for s in why.samples) - why.value) < 1e-6  # doctest: +SKIP
        True
    """

    library = "PyTorch"

    def __init__(
        self,
        run: Run,
        labels: Labels,
        value: Value | None,
        index: Index,
        target: str,
        notation: Notation,
        again: Callable[[str], Any],
    ) -> None:
        self._run, self._labels, self._value, self._index = run, labels, value, index
        self._again = again
        self.target, self.notation = target, notation
        self.value = 0.0 if value is None else run.value_at(value, index)
        if value is not None:
            self.number = float(value.data[index])
        else:  # a parameter that no call reads
            name = target.partition("[")[0]
            self.number = float(run.parameters[name].detach()[index])

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return self._run.n_samples

    @property
    def loss(self) -> float:
        """Return the loss of the run."""
        return self._run.loss

    @cached_property
    def _uses(self) -> list[Use]:
        return [] if self._value is None else self._run.uses(self._value, self._index)

    @cached_property
    def terms(self) -> tuple[CallTerm, ...]:
        """Return one term for each call that reads the number; their sum is `value`."""
        return self._terms(self._value, self._index, self._uses)

    def _terms(
        self, value: Value | None, index: Index, uses: Sequence[Use]
    ) -> tuple[CallTerm, ...]:
        return tuple(self._term(value, index, use) for use in uses)

    def _term(self, value: Value | None, index: Index, use: Use) -> CallTerm:
        call, out = use.call, use.column.out
        shape = tuple(out.data.shape)
        flat = use.column.at.cpu().numpy()
        where = np.stack(np.unravel_index(flat, shape), 1) if shape else flat[:, None][:, :0]
        samples = samples_of(where, shape, self.n_samples)
        entry = formulas.find(call)
        assert value is not None  # a use is one of a value

        def contribution(i: int) -> CallContribution:
            place = tuple(int(k) for k in where[i])
            return CallContribution(
                self._labels.element(out, place),
                None if samples is None else int(samples[i]),
                float(use.adjoint[i]),
                float(use.column.local[i]),
                lambda: self._opened(out, place),
                lambda: formulas.local(call, value, index, out, place),
            )

        axis, rows = sample_axis(shape, self.n_samples)
        return CallTerm(
            call.name, call.module, self._labels.of(out), "" if entry is None else entry.says,
            "" if entry is None else entry.depends,
            use.column.way, CallContributions(use.parts.cpu().numpy(), contribution),
            where, samples, axis, rows,
        )  # fmt: skip

    def _opened(self, value: Value, index: Index) -> tuple[CallTerm, ...]:
        return self._terms(value, index, self._run.uses(value, index))

    @cached_property
    def _why(self) -> tuple[reasons.Kind, str]:
        name = self.target.partition("[")[0]
        if name in self._run.frozen:
            return "frozen", (
                f"{name} is frozen: its requires_grad is False, so PyTorch computes no gradient, "
                "and this is the one that it would have"
            )
        if self._value is None or self._value.grad is None:
            return reasons.of_missing(self._run, name, self._value)
        parts = torch.cat([use.parts for use in self._uses]) if self._uses else torch.zeros(1)
        return reasons.of_zero(self._run, self._value, self._index, parts)

    @property
    def reason(self) -> str:
        """Return why there is no gradient, or why it is 0; "" where there is nothing to say."""
        return self._why[1]

    @property
    def kind(self) -> reasons.Kind:
        """Return the kind of `reason`.

        "frozen", "not used", "cut off" (by detach() and the like), "not on the way" (the loss does
        not depend on what comes of it), "zero", "cancels", or "".
        """
        return self._why[0]

    @cached_property
    def certificate(self) -> CallCertificate:
        """Return the value beside forward mode and a difference quotient."""
        if self._value is None or self._value.grad is None:
            return CallCertificate(0.0, 0.0, None, 0.0, 0.0, "no gradient")
        parts = [float(part) for use in self._uses for part in use.parts]
        parameter = self._run.parameters.get(self.target.partition("[")[0])
        hooked = parameter is not None and bool(parameter._backward_hooks)
        return certify(self._run, self._value, self._index, self.value, parts, hooked)

    def explain(self, target: str) -> Any:
        """Explain another number of the same run.

        Args:
            target: As for `explain_torch`. An input needs a run of its own, if this one was made
                for another target.
        """
        return self._again(target)

    def in_notation(self, notation: Notation | str) -> TorchExplanation:
        """Return the same explanation in another notation.

        Args:
            notation: A `Notation`, or the name of one that ships.
        """
        return TorchExplanation(
            self._run, self._labels, self._value, self._index, self.target,
            notations.get(notation), self._again,
        )  # fmt: skip

    def setting(self) -> str:
        """Return the number, the model, the loss and the samples, in words."""
        model, loss_fn = self._run.model, self._run.loss_fn
        count = sum(p.numel() for p in model.parameters())
        name = getattr(loss_fn, "__name__", None) or type(loss_fn).__name__
        loss = "its own loss" if loss_fn is None else f"loss {name}"
        return document.setting(
            self, f"model {type(model).__name__} ({count:,} parameters), {loss}"
        )

    def __repr__(self) -> str:
        samples = "1 sample" if self.n_samples == 1 else f"{self.n_samples} samples"
        return f"TorchExplanation({self.target}, value={self.value!r}, {samples})"

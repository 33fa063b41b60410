"""Place: the state of a session (network, data, settings, sample), and the frame that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from chainrule import engines
from chainrule.diagnose import health
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.backprop import Gradient
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import LOSSES
from chainrule.equations.targets import resolve
from chainrule.explain import Explanation
from chainrule.explain.derivative import beside
from chainrule.explain.names import Names
from chainrule.explain.notation import NOTATIONS
from chainrule.explain.scribe import is_bare, marks_of_layers, notation
from chainrule.explorer import naming, results, subject, view, work
from chainrule.explorer.protocol import replies, requests
from chainrule.explorer.trainer import OPTIMIZERS, Recording, Trainer
from chainrule.teach import datasets, inputs
from chainrule.teach.datasets import Dataset

_BLOCK = 512  # samples in a mean that is explained; more would make an explanation slow
_MARKED = 64  # samples checked in each frame for dead and saturated units
_MADE = 8  # explanations kept, so that opening contributions and the proof computes none again
_KEPT = ("gradient", "first")  # of what was made: the others have their terms in common with it
_UNDO, _UNDO_BYTES = 100, 16 * 2**20  # changes kept to undo, and the bytes of their parameters


@dataclass(frozen=True)
class Settings:
    """How the network trains, and how formulas and numbers are written."""

    learning_rate: float = 0.1
    optimizer: str = "gradient descent"
    batch_size: int = 32
    scope: str = "sample"
    notation: str = "default"
    digits: int = 4


# With it a network learns the small data sets of the explorer in a few hundred steps.
QUICK = Settings(learning_rate=0.5)


@dataclass
class _Moment:
    """Everything that a change can affect; the network is a copy."""

    network: FeedForward
    data: Dataset
    settings: Settings
    sample: int
    recording: Recording
    record: int
    step: int
    epoch: float
    name: str = ""  # of the change made next


class Place:
    """The state of a session: a network, data, settings and the current sample.

    ``network`` is copied. X is (n, units_0), y as for `Network.fit`. Without data it takes random
    samples; without a network, a small one and a data set of the explorer.
    """

    def __init__(
        self,
        network: FeedForward | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        settings: Settings | None = None,
        name: str = "data",
    ) -> None:
        self._versions = 0
        self._made: dict[str, Any] = {}
        self._made_for = -1
        usual = Settings()
        self.kind = FeedForward if network is None else type(network)
        if X is None or y is None:
            if network is None:
                self._data, usual = datasets.make("circles"), QUICK
                network = subject.suited([2, 4, 2, 1], "tanh", self._data.classes, 0, FeedForward)
            else:
                self._data = subject.random_data(network)
        else:
            assert network is not None, "data need a network"
            self._data = datasets.for_network(network, X, y, validation_data, name)
        self.network = network.copy()
        self.settings = settings or usual
        self.sample, self._version, self._shown_for = 0, 0, (-1, -1)
        self._shown: list[list[int]] = []
        self._undo: list[_Moment] = []
        self._redo: list[_Moment] = []
        self._message, self._speed = "", 0.0
        self._trainer: Trainer | None = None
        with np.errstate(all="ignore"):
            self._restart()

    def copy(self) -> Self:
        """Return an independent session in the same state, with nothing to undo."""
        twin = type(self)(self.network, settings=self.settings)
        twin.begin(self._data, self.sample)
        return twin

    @property
    def data(self) -> Dataset:
        """Return the samples of the session."""
        return self._data

    def begin(self, data: Dataset, sample: int) -> None:
        """Start with other data, which fit the network, at one of their samples."""
        self._data, self.sample = data, sample
        with np.errstate(all="ignore"):
            self._restart()

    # --- the frame ------------------------------------------------------------------------------

    def frame(self, training: bool = False) -> replies.Frame:
        """Return everything that the page draws."""
        network, dataset, s = self.network, self._data, self.settings
        gradient, focus = self._gradient(), self._focus()
        shown = self._units_shown(gradient, focus)
        marks = health.marks(network, network.forward(dataset.X[:_MARKED]))
        y = dataset.y[self.sample]
        z, a = (passed[-1][[focus]] for passed in (gradient.forward.z, gradient.forward.a))
        dC_da = network.loss.derivative_at_output(z, a, y[None])[0]
        chosen = notation(s.notation, s.digits)
        functions = [layer.activation.name for layer in network.weighted_layers]
        return {
            "kind": "frame",
            "version": self._version,
            "network": {
                "sizes": list(network.sizes),
                "activations": functions,
                "loss": network.loss.name,
                "parameters": int(network.parameters.size),
                "biases": network.biases,
                "l2": float(network.l2),
                "engine": engines.choose(network.requested_engine, network).name,
                "seed": int(network.seed) if network.seed <= requests.MAX_SEED else 0,
            },
            "layers": view.layers(network, gradient, dC_da, focus, shown, marks),
            "weights": view.weights(network, gradient, shown),
            "sample": self._sample_view(gradient, focus),
            "training": self._training_view(training),
            "settings": {
                "learning_rate": s.learning_rate,
                "optimizer": s.optimizer,
                "batch_size": s.batch_size,
                "scope": s.scope,
                "notation": s.notation,
                "digits": s.digits,
                "first_index": chosen.first_index,
                "letters": {
                    "a": chosen.activation,
                    "C": chosen.loss,
                    "x": chosen.input or chosen.activation,
                },
                "layers": marks_of_layers(chosen, network.sizes),
                "bare": is_bare(chosen, network.sizes),
            },
            "data": {
                "name": dataset.name,
                "version": dataset.version,
                "train": len(dataset.X),
                "validation": len(dataset.X_val),
                "kind": results.kind_of(network, dataset),
                "columns": list(dataset.columns),
                "labels": list(dataset.labels),
                "scaled": dataset.scaled,
                "share": dataset.share,
                "noise": dataset.noise,
                "seed": dataset.seed,
                "derived": list(dataset.derived),
                "formulas": naming.formulas(dataset, chosen, network.sizes),
                "why_not_derived": inputs.why_not(dataset),
                "outputs": view.outputs(dataset),
            },
            "choices": {
                "datasets": datasets.names(),
                "activations": [n for n in _with(ACTIVATIONS, functions[:-1]) if n != "softmax"],
                "outputs": _with(ACTIVATIONS, functions[-1:]),
                "losses": _with(LOSSES, [network.loss.name]),
                "notations": list(NOTATIONS),
                "optimizers": list(OPTIMIZERS),
                "derived": naming.derivable(dataset, chosen, network.sizes),
            },
            "limits": {
                "units": requests.MAX_UNITS,
                "steps": requests.MAX_STEPS,
                "file": requests.MAX_CSV,
                "name": requests.MAX_NAME,
            },
            "undo": self._undo[-1].name if self._undo else "",
            "redo": self._redo[-1].name if self._redo else "",
        }

    def _sample_view(self, gradient: Gradient, focus: int) -> replies.SampleView:
        x, y = self._data.X[self.sample], self._data.y[self.sample]
        a = gradient.forward.a[-1][focus]
        predicted = expected = ""
        if self._data.classes:
            found = [int(results.classes(v[None])[0]) for v in (a, y)]
            labels = self._data.labels or [str(i) for i in range(self._data.classes)]
            predicted, expected = (labels[i] for i in found)
        return {
            "index": self.sample,
            "count": len(self._data.X),
            "block": len(range(*self._block().indices(len(self._data.X)))),
            "x": view.row(x),
            "y": view.row(y),
            "loss": view.number(float(gradient.sample_losses[focus])),
            "width": self._data.width,
            "predicted": predicted,
            "expected": expected,
        }

    def _training_view(self, training: bool) -> replies.TrainingView:
        curve = self._recording.curve
        loss, val_loss = curve[-1][1:] if training and curve else self._losses()
        accuracy = None if training else results.accuracy(self.network, self._data)
        return {
            "step": self._step,
            "epoch": round(self._epoch, 3),
            "loss": view.number(loss),
            "val_loss": None if val_loss is None else view.number(val_loss),
            "metric": "" if accuracy is None else f"{accuracy:.1%}",
            "curve": [
                [
                    point[0],
                    view.number(point[1]),
                    None if point[2] is None else view.number(point[2]),
                ]
                for point in curve
            ],
            "records": [record[0] for record in self._recording.records],
            "record": self._record,
            "message": self._message,
            "steps_per_second": self._speed,
        }

    def _names(self) -> Names | None:
        """Return what the derived inputs are, to say it in derivations."""
        return naming.names(self._data, NOTATIONS[self.settings.notation].first_index)

    def _losses(self) -> tuple[float, float | None]:
        """Return the loss over the first samples for training and for validation, or None."""
        most = work.LOSS.samples(self.network)
        d = self._data
        loss = self.network.loss_value(d.X[:most], d.y[:most])
        if not len(d.X_val):
            return loss, None
        return loss, self.network.loss_value(d.X_val[:most], d.y_val[:most])

    def _units_shown(self, gradient: Gradient, focus: int) -> list[list[int]]:
        """Return the units to draw: the same ones during training, so that the eye can follow."""
        fit = (self._data.version, self.sample)
        if not self._shown or self._shown_for != fit:
            self._shown = view.important(self.network, gradient, focus)
            self._shown_for = fit
        return self._shown

    # --- the samples ----------------------------------------------------------------------------

    def _rows(self) -> slice:
        """Return the samples that are explained: the current one, or its block."""
        if self.settings.scope == "sample":
            return slice(self.sample, self.sample + 1)
        return self._block()

    def _block(self) -> slice:
        """Return the block of samples around the current one, whose mean can be explained."""
        start = self.sample // _BLOCK * _BLOCK
        return slice(start, min(start + _BLOCK, len(self._data.X)))

    def _focus(self) -> int:
        return self.sample - self._rows().start

    def _gradient(self) -> Gradient:
        """Return the gradient over the samples that are explained."""

        def make() -> Gradient:
            rows = self._rows()
            return self.network.gradient(self._data.X[rows], self._data.y[rows])

        return self._once("gradient", make)

    def _why(self, target: str) -> Explanation:
        """Return an explanation from the current gradient; the same object until a change."""
        resolved = resolve(target, self.network.sizes, self.network.biases)

        def make() -> Explanation:
            s = self.settings
            return Explanation(
                self.network, resolved, self._gradient(), self._data.y[self._rows()],
                sample_weight=None, dropout_step=None, learning_rate=s.learning_rate,
                focus=self._focus(), notation=notation(s.notation, s.digits), names=self._names(),
                first_sample=self._rows().start,
            )  # fmt: skip

        first = self._once("first", make)
        return self._once(str(resolved), lambda: beside(first, resolved))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` makes, made once for each version of the state."""
        if self._made_for != self._version:
            self._made, self._made_for = {}, self._version
        if name not in self._made:
            if len(self._made) > _MADE:
                self._made = {kept: self._made[kept] for kept in _KEPT}
            self._made[name] = make()
        return self._made[name]

    # --- changes --------------------------------------------------------------------------------

    def _moment(self, name: str) -> _Moment:
        return _Moment(
            self.network.copy(), self._data, self.settings, self.sample, self._recording,
            self._record, self._step, self._epoch, name,
        )  # fmt: skip

    def _before(self, name: str) -> None:
        """Keep the state before a change, to undo it."""
        self._undo.append(self._moment(name))
        self._redo.clear()
        most = max(_UNDO_BYTES // max(self.network.parameters.nbytes, 1), 2)
        del self._undo[: -min(_UNDO, most)]

    def _step_back(self, source: list[_Moment], other: list[_Moment]) -> replies.Frame:
        if not source:
            raise ValueError(f"There is nothing to {'undo' if other is self._redo else 'redo'}")
        moment = source.pop()
        other.append(self._moment(moment.name))
        same = moment.network.sizes == self.network.sizes
        self.network, self._data = moment.network, moment.data
        now = self.settings  # undo leaves the notation, digits and scope alone
        self.settings = replace(
            moment.settings, scope=now.scope, notation=now.notation, digits=now.digits
        )
        self.sample, self._recording, self._record = moment.sample, moment.recording, moment.record
        self._step, self._epoch = moment.step, moment.epoch
        if not same:
            self._shown = []
        return self._changed()

    def _changed(self) -> replies.Frame:
        """Drop what a change has made stale, and return the frame."""
        self._version += 1
        self._trainer = None
        self._message = ""
        return self.frame()

    def _restart(self) -> replies.Frame:
        """Start a new recording from the current network."""
        self._recording, self._record, self._step, self._epoch = Recording(), 0, 0, 0.0
        self._shown = []
        self._keep()
        return self._changed()

    def _keep(self) -> None:
        """Record the current parameters."""
        with np.errstate(all="ignore"):
            loss, val_loss = self._losses()
        self._recording = self._recording.add(
            self._step, self._epoch, loss, val_loss, self.network.parameters
        )
        self._record = len(self._recording.records) - 1


def _with(known: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return the names to choose from: those of the library, then custom ones."""
    return list(dict.fromkeys([*known, *own]))

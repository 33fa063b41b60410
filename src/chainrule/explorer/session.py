"""Session: the network, data and state of one user, and the answers to the messages of `protocol`.

A session is independent of screen and transport. Its hosts (web, notebook, offline file) pass
messages to `Session.handle`, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.diagnose import health
from chainrule.equations import data as data_room
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.losses import LOSSES
from chainrule.equations.targets import ArrayTarget, Bias, UnitOutput, Weight, resolve, resolve_any
from chainrule.explain import Explanation, worked_example
from chainrule.explain.array_explanation import ArrayExplanation
from chainrule.explain.notation import NOTATIONS
from chainrule.explain.scribe import notation
from chainrule.explorer import (
    derivation,
    pictures,
    protocol,
    results,
    share,
    subject,
    view,
    work,
    worked,
)
from chainrule.explorer.place import Settings
from chainrule.explorer.protocol import derivations, replies, requests
from chainrule.explorer.supplying import TARGET_OF_SAMPLE, Supplying
from chainrule.explorer.trainer import optimizer
from chainrule.teach import exercises as practice
from chainrule.teach.exercise import Exercise, QuestionView

Array = NDArray[Any]


class Session(Supplying):
    """A network with data, explored by messages."""

    _exercise: Exercise | None = None
    _asked = 0  # exercises so far; also the seed of the next

    # --- messages -------------------------------------------------------------------------------

    def handle(self, message: object) -> dict[str, Any]:
        """Return the reply to a message; a bad message gets an error and changes nothing."""
        try:
            return self.answer(protocol.parse(message))
        except (ValueError, TypeError) as error:
            return {"kind": "error", "message": str(error)}

    def answer(self, request: Any) -> Any:
        """Return the reply to a request; raise ValueError or TypeError for a bad one."""
        answers: dict[type[Any], Callable[[Any], Any]] = {
            requests.Look: self._look,
            requests.Build: self._build,
            requests.Data: self._take_data,
            requests.Upload: self._upload,
            requests.Inputs: self._inputs,
            requests.Split: self._split,
            requests.Outputs: self._outputs,
            requests.Select: self._select,
            requests.Show: self._show,
            requests.Edit: self._edit,
            requests.Configure: self._configure,
            requests.Update: self._update,
            requests.Train: self._train,
            requests.Seek: self._seek,
            requests.Undo: lambda _: self._step_back(self._undo, self._redo),
            requests.Redo: lambda _: self._step_back(self._redo, self._undo),
            requests.Explain: self._explain,
            requests.Open: self._open,
            requests.Array: lambda r: worked.array(self._why_array(r.target), self._version),
            requests.Worked: self._worked,
            requests.Latex: self._latex,
            requests.Prove: self._prove,
            requests.Picture: lambda r: pictures.of_derivative(self._why(r.target)),
            requests.Units: self._units,
            requests.Steps: self._steps,
            requests.Results: lambda r: results.results(self.network, self._data, r.points),
            requests.Health: self._health,
            requests.Ask: self._ask,
            requests.Answer: lambda r: self._exercise_asked().read(r.text),
            requests.Solve: lambda _: self._exercise_asked().solve(),
            requests.Lessons: self._lessons,
            requests.Tour: self._tour,
            requests.Stop: self._stop,
            requests.Respond: self._respond,
            requests.Share: self._share,
            requests.Restore: self._restore,
        }
        with np.errstate(all="ignore"):  # the page shows infinity and NaN as such
            return answers[type(request)](request)

    def choose(self, sample: int | None) -> None:
        """Show a sample; None: the first, or a fuller one if all its inputs are 0."""
        X = self._data.X
        if sample is not None and sample >= len(X):
            raise ValueError(f"sample is {sample}; expected 0 to {len(X) - 1}")
        self.sample = subject.telling_sample(X) if sample is None else sample
        self._version += 1

    # --- what is looked at ------------------------------------------------------------------------

    def _look(self, request: requests.Look) -> replies.Frame:
        if request.refocus:
            self._shown = []
        return self.frame()

    # --- changes ----------------------------------------------------------------------------------

    def _build(self, request: requests.Build) -> replies.Frame:
        network = self.network
        hidden_sizes = list(network.sizes[1:-1])
        hidden = [layer.activation.name for layer in network.weighted_layers[:-1]]
        if request.hidden_sizes is not None:
            hidden_sizes = request.hidden_sizes
            last = hidden[-1] if hidden else "tanh"
            hidden = (hidden + [last] * len(hidden_sizes))[: len(hidden_sizes)]
        if request.hidden is not None:
            hidden = request.hidden
        sizes = [network.sizes[0], *hidden_sizes, network.sizes[-1]]
        if any(not 1 <= units <= requests.MAX_UNITS for units in hidden_sizes):
            raise ValueError(
                f"hidden_sizes is {hidden_sizes}; expected 1 to {requests.MAX_UNITS} units each"
            )
        subject.check_size(sizes)
        output, loss = self._output_and_loss(request)
        seed = network.seed if request.seed is None else request.seed
        own = {layer.activation.name: layer.activation for layer in network.weighted_layers}
        rates = [layer.dropout for layer in network.weighted_layers[:-1]]
        rates = (rates + [0.0] * len(hidden_sizes))[: len(hidden_sizes)]
        same = sizes == list(network.sizes) and request.seed is None
        built = self.kind(
            sizes, hidden=[own.get(name, name) for name in hidden], output=own.get(output, output),
            loss=network.loss if loss == network.loss.name else loss, biases=network.biases,
            dtype="float32" if network.dtype == np.float32 else "float64", seed=seed,
            dropout=rates, l2=network.l2 if request.l2 is None else request.l2,
            engine=network.requested_engine,
        )  # fmt: skip
        data_room.targets(self._data.y, len(self._data.y), sizes[-1], built.loss)
        if same:  # another function, not other weights
            built.parameters[...] = network.parameters
        self._before("change the network")
        self.network = built
        return self._restart()

    def _output_and_loss(self, request: requests.Build) -> tuple[str, str]:
        """Return output and loss; if they do not fit, change the one not asked for."""
        output = request.output or self.network.weighted_layers[-1].activation.name
        loss = request.loss or self.network.loss.name
        if loss not in LOSSES or output not in ACTIVATIONS:
            return output, loss  # the network raises the error
        found = LOSSES[loss]
        needs = found.output
        if needs and needs != output:
            if request.output is None:
                return needs, loss
            if request.loss is None:
                return output, _LOSS_OF.get(output, "half_squared_error")
        if request.loss is None and request.output in _LOSS_OF and self._data.classes:
            return output, _LOSS_OF[output]
        return output, loss

    def _select(self, request: requests.Select) -> replies.Frame:
        if request.sample >= len(self._data.X):
            raise ValueError(f"sample is {request.sample}; expected 0 to {len(self._data.X) - 1}")
        self.sample = request.sample
        self._version += 1
        return self.frame()

    def _show(self, request: requests.Show) -> replies.Frame:
        resolve(UnitOutput(request.layer, request.unit), self.network.sizes)
        self._units_shown(self._gradient(), self._focus())
        shown = self._shown[request.layer]
        if request.unit not in shown:
            kept = shown if len(shown) < view.WHOLE else shown[1:]
            self._shown[request.layer] = sorted([*kept, request.unit])
        return self.frame()

    def _edit(self, request: requests.Edit) -> replies.Frame:
        match = TARGET_OF_SAMPLE.fullmatch(request.target)
        if match:
            return self._edit_target(int(match[1]), request.value)
        target = resolve(request.target, self.network.sizes, self.network.biases)
        if isinstance(target, UnitOutput) and target.layer == 0:
            return self._edit_input(target.j, request.value)
        if not isinstance(target, Weight | Bias):
            raise ValueError(
                f"{request.target} is computed. Set a weight, a bias, x[k] or y[j] instead."
            )
        value = self.network.dtype.type(request.value)
        if not np.isfinite(value):
            raise ValueError(
                f"value is {request.value!r}, which is too large for {self.network.dtype}"
            )
        self._before(f"set {target}")
        layer = self.network.layers[target.layer]
        if isinstance(target, Weight):
            layer.W[target.j, target.k] = value
        elif layer.b is not None:
            layer.b[target.j] = value
        self._put_into_record()
        return self._changed()

    def _configure(self, request: requests.Configure) -> replies.Frame:
        changes = {name: value for name, value in vars(request).items() if value is not None}
        if changes.keys() & {"learning_rate", "optimizer", "batch_size"}:
            self._before("change the training settings")
            self._trainer = None
        self.settings = replace(self.settings, **changes)
        self._version += 1
        return self.frame()

    # --- explanations ---------------------------------------------------------------------------

    def _explain(self, request: requests.Explain) -> derivations.ExplanationView:
        why = self._why(request.target)
        return derivation.explanation(why, self._version)

    def _open(self, request: requests.Open) -> derivations.TermsView:
        why = self._why(request.target)
        terms = why.terms
        for unit in request.units:
            parts = next((t.contributions for t in terms if t.contributions is not None), None)
            if parts is None:
                raise ValueError(
                    f"units is {request.units}; nothing opens below {len(request.units) - 1} units"
                )
            if unit >= len(parts):
                raise ValueError(
                    f"units is {request.units}; expected units 0 to {len(parts) - 1}, got {unit}"
                )
            terms = parts[unit].terms
        return {
            "kind": "terms",
            "target": request.target,
            "units": list(request.units),
            "terms": derivation.terms(why, terms),
        }

    def _why_array(self, target: str) -> ArrayExplanation:
        """Return the explanation of a whole array, as `_why` does that of one number."""
        resolved = resolve_any(target, self.network.sizes, self.network.biases)
        if not isinstance(resolved, ArrayTarget):
            raise ValueError(f"{target} is one number; expected a whole array, 'W[2]' or 'b[1]'")

        def make() -> ArrayExplanation:
            s = self.settings
            return ArrayExplanation(
                self.network.copy(), resolved, self._gradient(), self._data.y[self._rows()],
                sample_weight=None, dropout_step=None, learning_rate=s.learning_rate,
                notation=notation(s.notation, s.digits), first_sample=self._rows().start,
            )  # fmt: skip

        return self._once(str(resolved), make)

    def _why_any(self, target: str) -> Explanation | ArrayExplanation:
        """Return the explanation of a number or of a whole array."""
        resolved = resolve_any(target, self.network.sizes, self.network.biases)
        return self._why_array(target) if isinstance(resolved, ArrayTarget) else self._why(target)

    def _worked(self, request: requests.Worked) -> derivations.WorkedView:
        worked.check_size(self.network, request.steps)
        rows, s = self._rows(), self.settings
        example = worked_example(
            self.network, self._data.X[rows], self._data.y[rows], learning_rate=s.learning_rate,
            steps=request.steps, freeze_biases=request.freeze_biases,
            notation=notation(s.notation, s.digits), first_sample=rows.start, focus=self._focus(),
        )  # fmt: skip
        return worked.worked(example, self._version, request.language)

    def _latex(self, request: requests.Latex) -> replies.LatexView:
        why = self._why_any(request.target)
        return {"kind": "latex", "target": str(why.target), "latex": why.latex()}

    def _prove(self, request: requests.Prove) -> replies.CertificateView:
        certificate = self._why_any(request.target).certificate
        return {
            "kind": "certificate",
            "target": request.target,
            "certificate": certificate.to_dict(),
            "text": certificate.text(),
        }

    def _units(self, request: requests.Units) -> replies.UnitsView:
        shown = self._units_shown(self._gradient(), self._focus())
        return pictures.of_units(self.network, self._data, shown)

    def _steps(self, request: requests.Steps) -> replies.StepsView:
        return {"kind": "steps", "version": self._version, "steps": self._all_steps().views()}

    def _health(self, request: requests.Health) -> health.HealthView:
        most = work.HEALTH.samples(self.network)
        gradient = self.network.gradient(self._data.X[:most], self._data.y[:most])
        first = NOTATIONS[self.settings.notation].first_index
        return health.report(self.network, gradient, first)

    # --- learning by doing ----------------------------------------------------------------------

    def _ask(self, request: requests.Ask) -> QuestionView:
        s = self.settings
        examiner = practice.Examiner(
            self.network, self._data.X, self._data.y, self.sample,
            notation(s.notation, max(s.digits, 4)), s.learning_rate, counted=True,
        )  # fmt: skip
        self._exercise = examiner.ask(request.about, np.random.default_rng(self._asked))
        self._asked += 1
        return self._exercise.view

    def _exercise_asked(self) -> Exercise:
        if self._exercise is None:
            raise ValueError("There is no exercise to answer. Ask for one first.")
        return self._exercise

    # --- sharing --------------------------------------------------------------------------------

    def _share(self, request: requests.Share) -> replies.ShareView:
        d, s = self._data, self.settings
        state, why_not = "", share.why_not(self.network, d)
        if not why_not:
            state = share.pack(share.state_of(self.network, d, vars(s), self.sample))
            if len(state) > requests.MAX_STATE:
                state, why_not = "", f"A link holds at most {requests.MAX_STATE:,} characters."
        rule = optimizer(s.optimizer, s.learning_rate)
        code = share.python(self.network, d, repr(rule), s.batch_size, self.sample)
        return {"kind": "share", "state": state, "why_not": why_not, "python": code}

    def _restore(self, request: requests.Restore) -> replies.Frame:
        state = share.unpack(request.state)
        engine = self.network.requested_engine  # a link brings numbers; who computes stays
        network = share.network_from(state["net"], requests.MAX_PARAMETERS, self.kind, engine)
        dataset = share.dataset_of(state, network)
        asked = protocol.parse({**share.settings_of(state), "kind": "configure"})
        settings = Settings(**{k: v for k, v in vars(asked).items() if v is not None})
        at = state["at"]
        at = at if type(at) is int and 0 <= at < len(dataset.X) else 0
        self._before("open a link")
        self._versions += 1
        self._data = replace(dataset, version=self._versions)
        self.network, self.settings, self.sample = network, settings, at
        return self._restart()


_LOSS_OF = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}

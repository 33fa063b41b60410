"""Network: the public face: a `FeedForward` that trains, explains and proves itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward

if TYPE_CHECKING:
    from datetime import timedelta

    from chainrule.engines import Shortcut
    from chainrule.equations.activations import Activation
    from chainrule.equations.losses import Loss
    from chainrule.equations.optimizers import Optimizer
    from chainrule.equations.targets import Target
    from chainrule.explain import Explanation, Notation
    from chainrule.explain.names import Names
    from chainrule.explorer import Explorer
    from chainrule.training.callbacks import Callback
    from chainrule.training.history import History
    from chainrule.training.metrics import Metric
    from chainrule.verify import GradientReport

Array = NDArray[Any]


class Network(FeedForward):
    """A feed-forward network of fully connected layers.

    ``sizes`` are the units of layers 0 (the input) to L. ``hidden`` is the activation of the hidden
    layers, or a list with one for each; ``output`` that of the last; both may be names or
    `Activation` objects. ``loss`` is a name or a `Loss`.

    ``init`` names the initializer (or one for each layer l = 1..L); ``W`` and ``b`` give the arrays
    instead, one for each layer. ``dropout`` is the rate of the hidden layers, or one for each;
    ``l2`` is λ in the penalty ½ λ Σ w², which is part of the loss. ``dtype`` is that of the
    parameters and of training; gradients and explanations are always computed in float64.
    ``engine`` chooses who computes an epoch: "auto", or an engine's name; ``threads`` is how many
    the native one may use: None for what CHAINRULE_NUM_THREADS says, or as many as there are cores.

    Raises ValueError or TypeError for arguments that do not fit together.

    >>> net = Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    >>> net.layers[2].W.shape
    (1, 2)
    """

    _shortcut: Shortcut | None = None  # a faster predict, once there has been one

    @staticmethod
    def _check_engine(engine: str) -> str:
        from chainrule.engines import check_name

        return check_name(engine)

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy or a pickle holds: all but what only this object can use."""
        return {**self.__dict__, "_shortcut": None}

    @property
    def engine(self) -> str:
        """The name of the engine that computes an epoch of this network."""
        from chainrule.engines import choose

        return choose(self._requested_engine, self).name

    def predict(self, X: ArrayLike) -> Array:
        """Give the outputs a^(L), (n, units_L), in the network's dtype; (units_L,) for one x."""
        if self._shortcut is not None:
            quick = self._shortcut(X, self.parameters)
            if quick is not None:
                return quick
        from chainrule.engines import choose

        self._check_parameters()
        inputs = data.inputs(X, self.sizes[0])
        engine = choose(self._requested_engine, self)
        outputs = engine.predict(self, inputs)
        self._shortcut = engine.shortcut(self)
        return outputs[0] if np.ndim(X) == 1 else outputs

    def predict_classes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Give the class of each sample, (n,): the largest output, or a >= ½ of a single one."""
        outputs = self.predict(X)
        if self.sizes[-1] == 1:
            return np.asarray(outputs[..., 0] >= 0.5, dtype=np.int64)
        return np.asarray(np.argmax(outputs, axis=-1), dtype=np.int64)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        clip_norm: float | None = None,
        metrics: Sequence[str | Metric] | None = None,
        callbacks: Sequence[Callback | Callable[..., None]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | timedelta = 1,
        keep: int = 2,
        resume: bool = False,
        verbose: int = 1,
    ) -> History:
        """Train on X, (n, units_0), and y; see `chainrule.training.fit.fit`."""
        from chainrule.training.fit import fit

        return fit(
            self, X, y, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
            validation_data=validation_data, sample_weight=sample_weight, class_weight=class_weight,
            clip_norm=clip_norm, metrics=metrics, callbacks=callbacks, checkpoint=checkpoint,
            every=every, keep=keep, resume=resume, verbose=verbose,
        )  # fmt: skip

    def explain(
        self,
        target: Target | str,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        dropout_step: int | None = None,
        learning_rate: float | None = None,
        focus: int = 0,
        notation: Notation | str = "default",
        names: Names | None = None,
    ) -> Explanation:
        """Explain the derivative of the loss by one quantity; see `chainrule.explain.explain`."""
        from chainrule.explain import explain

        return explain(
            self, target, X, y, sample_weight=sample_weight, dropout_step=dropout_step,
            learning_rate=learning_rate, focus=focus, notation=notation, names=names,
        )  # fmt: skip

    def explore(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
    ) -> Explorer:
        """Open the network in the explorer, as a widget or a file; see `chainrule.explorer`."""
        from chainrule.explorer import Explorer

        return Explorer(self, X, y, validation_data=validation_data)

    def check_gradient(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, **options: Any
    ) -> GradientReport:
        """Compare the gradient with finite differences; see `chainrule.verify.check_gradient`."""
        from chainrule.verify import check_gradient

        return check_gradient(self, X, y, sample_weight=sample_weight, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, atomically; see `chainrule.storage.models`."""
        from chainrule.storage.models import save

        save(self, path)


def load(path: str | os.PathLike[str], custom: Sequence[Activation | Loss] = ()) -> Network:
    """Read a network from a file; see `chainrule.storage.models.load`."""
    from chainrule.storage import models as files

    return files.load(path, custom, Network)

"""Network: the public face: a `FeedForward` that trains, explains and proves itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule import _forks as forks
from chainrule import training, verify
from chainrule._exports import exported
from chainrule.engines import Shortcut, check_name, choose, predict
from chainrule.equations.activations import Activation
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.losses import Loss
from chainrule.explain import explanation
from chainrule.storage import models

if TYPE_CHECKING:
    from chainrule.explorer import Explorer

Array = NDArray[Any]


@exported("chainrule")
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

    # What the face can do stands in the rooms; each function takes the network first.
    fit = training.fit
    explain = explanation.explain
    check_gradient = verify.check_gradient
    save = models.save

    _shortcut: Shortcut | None = None  # a faster predict, once there has been one

    @staticmethod
    def _check_engine(engine: str) -> str:
        return check_name(engine)

    def __getstate__(self) -> dict[str, Any]:
        """Give what a copy or a pickle holds: all but what only this object can use."""
        return {**super().__getstate__(), "_shortcut": None}

    def _forked(self) -> None:
        """Let go, in a forked child, of what another thread of the parent may have been using."""
        self._shortcut = None

    @property
    def engine(self) -> str:
        """The name of the engine that computes an epoch of this network."""
        return choose(self._requested_engine, self).name

    def predict(self, X: ArrayLike) -> Array:
        """Give the outputs a^(L), (n, units_L), in the network's dtype; (units_L,) for one x.

        Warns (RuntimeWarning) where a number overflows, and says in which sample and layer.
        Raises ValueError or TypeError for data that do not fit, with the place.
        """
        if self._shortcut is not None:
            quick = self._shortcut(X, self._parameters)
            if quick is not None:
                return quick
        outputs = predict(self, X)
        self._shortcut = choose(self._requested_engine, self).shortcut(self)
        forks.register(self)
        return outputs

    def predict_classes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Give the class of each sample, (n,): the largest output, or a >= ½ of a single one."""
        outputs = self.predict(X)
        if self.sizes[-1] == 1:
            return np.asarray(outputs[..., 0] >= 0.5, dtype=np.int64)
        return np.asarray(np.argmax(outputs, axis=-1), dtype=np.int64)

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


def load(path: str | os.PathLike[str], custom: Sequence[Activation | Loss] = ()) -> Network:
    """Read a network from a file; see `chainrule.storage.models.load`."""
    return models.load(path, custom, Network)

"""Ensembles: networks whose mean is the answer, and whose spread says how sure it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule._exports import exported
from chainrule.equations.activations import Activation
from chainrule.equations.losses import Loss
from chainrule.loading import load
from chainrule.network import Network
from chainrule.storage import archive, models

Array = NDArray[Any]


@exported("chainrule")
class Ensemble(Sequence[Network]):
    """Answer with the mean of several networks, and tell how far they are apart.

    Args:
        networks: The networks, at least one, with the same inputs, outputs and loss. They are
            kept, not copied, and are the items of the ensemble.

    Raises:
        TypeError: One of them is not a network.
        ValueError: There is none, or two differ in inputs, outputs or loss.

    Examples:
        >>> import chainrule as cr
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 4.0, 9.0]
        >>> networks = [cr.Network([1, 8, 1], hidden="tanh", seed=seed) for seed in range(5)]
        >>> _ = cr.fit_many(networks, X, y, optimizer=cr.Adam(0.01), epochs=200, batch_size=4)
        >>> ensemble = cr.Ensemble(networks)
        >>> ensemble.predict([1.0]).shape, ensemble.spread([9.0]) > ensemble.spread([1.0])
        ((1,), array([ True]))
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        if not self._networks:
            raise ValueError("an ensemble has at least one network, got none")
        for i, network in enumerate(self._networks):
            if not isinstance(network, Network):
                kind = type(network).__name__
                raise TypeError(f"networks[{i}] must be a Network, got a {kind}")
            for what, own, first in zip(
                ("inputs", "outputs", "loss"), _ends(network), _ends(self._networks[0]), strict=True
            ):
                if own != first:
                    raise ValueError(
                        f"networks[{i}] has {what} {own!r}, and networks[0] {first!r}; in an "
                        "ensemble they are the same"
                    )

    def __len__(self) -> int:
        return len(self._networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __getitem__(self, index: Any) -> Any:
        """Return a network, or for a slice an ensemble of some."""
        return (
            Ensemble(self._networks[index]) if isinstance(index, slice) else self._networks[index]
        )

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} × {self._networks[0]!r})"

    def outputs(self, X: ArrayLike) -> Array:
        """Return what each of M networks predicts, (M, n, units_L), or (M, units_L) for one x.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Raises:
            ValueError: X does not fit the networks.
        """
        return np.stack([network.predict(X) for network in self])

    def predict(self, X: ArrayLike) -> Array:
        """Return the mean of the networks' outputs, (n, units_L), or (units_L,) for one x.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Raises:
            ValueError: X does not fit the networks.
        """
        mean: Array = self.outputs(X).mean(axis=0)
        return mean

    def spread(self, X: ArrayLike) -> Array:
        """Return the standard deviation of the outputs over the networks, shaped as `predict`.

        It says how far the networks disagree, as a rule more where there were few samples to learn
        from. It is not an error bar: what all of them get wrong alike is not in it.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Raises:
            ValueError: X does not fit the networks.
        """
        deviation: Array = self.outputs(X).std(axis=0)
        return deviation

    def predict_classes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the class of the mean output of each sample, as `Network.predict_classes` does.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Raises:
            ValueError: X does not fit the networks.
        """
        mean = self.predict(X)
        if mean.shape[-1] == 1:
            return (mean[..., 0] > 0.5).astype(np.int64)
        return np.asarray(mean.argmax(axis=-1), np.int64)

    def explain(self, target: Any, X: ArrayLike, y: ArrayLike, *, member: int, **more: Any) -> Any:
        """Return the chain rule of one parameter of one member, for that member's own loss.

        Args:
            target: What to explain, as for `Network.explain`.
            X: The inputs.
            y: The targets.
            member: The network's place in the ensemble.
            more: As for `Network.explain`.

        Raises:
            IndexError: There is no such member.
            ValueError: As `Network.explain`.
        """
        return self._networks[member].explain(target, X, y, **more)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the networks into one file: a zip archive of a model file for each.

        The write is atomic: whatever happens, the file is the old one or the new one.

        Args:
            path: The file to write. One that exists is replaced.

        Raises:
            OSError: The file cannot be written.
            ValueError: A parameter is NaN or infinite.
        """
        entries = {}
        for i, network in enumerate(self):
            network.check_parameters()
            entries[archive.name_of(i)] = models.content(network, network.parameters)
        archive.write(path, entries)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], custom: Sequence[Activation | Loss] = ()
    ) -> Ensemble:
        """Return the ensemble that `save` wrote.

        Args:
            path: The file.
            custom: Activations and losses of your own that the networks use.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not such a file, or a network in it is damaged.
        """
        networks = []
        with archive.opened(path, "an ensemble") as file:
            names = file.names
            if not names or names != [archive.name_of(i) for i in range(len(names))]:
                raise ValueError("it is not an ensemble: its entries are not model files")
            for name in names:
                with file.as_file(name) as part:
                    networks.append(load(part, custom))
        return cls(networks)


def _ends(network: Network) -> tuple[int, int, str]:
    return network.sizes[0], network.sizes[-1], network.loss.name

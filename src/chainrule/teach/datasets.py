"""Data sets for the explorer: classic ones in two dimensions, generated here, and the digits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]
_COUNT = 200
_NOISE = 0.1
MOST_HELD = 0.9  # the largest share of the samples held out


@dataclass(frozen=True)
class Dataset:
    """Samples for training, and samples for validation, of which there may be none.

    ``width`` is the width of the image that the inputs form, or 0. ``columns`` has the names of
    the inputs and ``labels`` those of the classes, if they have names. ``scaled`` is true if
    `scaled` computed the inputs. ``derived`` has the formulas of the last inputs, which `inputs`
    computes from the first two. ``held`` is the share that `hold_out` keeps for validation, or None
    if the samples are as they came; ``rows`` then has the place that each came from. ``noise`` and
    ``seed`` are those of `make`, and ``source`` is the text of a file.
    """

    name: str
    X: Array
    y: Array  # (n, units_L), one-hot where there are classes
    X_val: Array
    y_val: Array
    classes: int = 0  # 0 if the targets are numbers
    width: int = 0
    version: int = 0
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    scaled: bool = False
    derived: tuple[str, ...] = ()
    held: float | None = None
    rows: Array | None = None
    noise: float = _NOISE
    seed: int = 0
    source: str = ""

    @property
    def given(self) -> int:
        """Return the number of inputs that are not derived from others."""
        return int(self.X.shape[1]) - len(self.derived)

    @property
    def share(self) -> float:
        """Return the share of the samples that is held out for validation."""
        return len(self.X_val) / (len(self.X) + len(self.X_val))


def names() -> list[str]:
    """Return the names of the data sets that `make` makes."""
    return [*_MAKERS, *(["digits"] if importlib.util.find_spec("sklearn") else [])]


def make(name: str, noise: float = _NOISE, seed: int = 0) -> Dataset:
    """Return the data set of that name; raise ValueError for an unknown one."""
    if name == "digits" and name in names():
        return replace(_digits(seed), seed=seed)
    if name not in _MAKERS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(names())}")
    rng = np.random.default_rng(seed)
    X, y = _MAKERS[name](rng, noise)
    classes = 0 if name == "plane" else 2
    if len(X) < 20:
        return Dataset(name, X, y, X[:0], y[:0], classes)
    return replace(split(name, X, y, classes, rng), noise=noise, seed=seed)


def whole(dataset: Dataset) -> tuple[Array, Array]:
    """Return all samples, for training and for validation, in the order in which they came."""
    X, y = (np.concatenate(p) for p in ((dataset.X, dataset.X_val), (dataset.y, dataset.y_val)))
    if dataset.rows is None:
        return X, y
    back = np.argsort(dataset.rows)
    return X[back], y[back]


def hold_out(dataset: Dataset, share: float) -> Dataset:
    """Return a data set that keeps this share of all its samples for validation.

    Which ones is drawn once: a larger share holds out the same samples, and more. One sample at
    least stays for training. The samples keep their order.

    Raises:
        ValueError: ``share`` is not from 0 to 0.9.
    """
    if not 0 <= share <= MOST_HELD:
        raise ValueError(f"share is {share}; expected 0 to {MOST_HELD}")
    X, y = whole(dataset)
    n = len(X)
    drawn = np.random.default_rng(0).permutation(n)
    held = np.sort(drawn[: min(round(share * n), n - 1)])
    kept = np.setdiff1d(np.arange(n), held)
    return replace(
        dataset, X=X[kept], y=y[kept], X_val=X[held], y_val=y[held], held=share,
        rows=np.concatenate([kept, held]),
    )  # fmt: skip


def with_outputs(dataset: Dataset, units: int) -> Dataset:
    """Return a data set of two classes with one target, the second class, or one for each class.

    Raises:
        ValueError: There are not two classes, or ``units`` is not 1 or 2.
    """
    if dataset.classes != 2 or units not in (1, 2):
        raise ValueError(f"units is {units}; expected 1 or 2, for data of two classes")
    if units == dataset.y.shape[1]:
        return dataset
    y, y_val = (
        y[:, 1:] if units == 1 else np.concatenate([1 - y, y], axis=1)
        for y in (dataset.y, dataset.y_val)
    )
    return replace(dataset, y=y, y_val=y_val)


def split(
    name: str, X: Array, y: Array, classes: int, rng: np.random.Generator, width: int = 0
) -> Dataset:
    """Return a data set that keeps one sample in five for validation."""
    order = rng.permutation(len(X))
    X, y = X[order], y[order]
    n = len(X) - len(X) // 5
    return Dataset(name, X[:n], y[:n], X[n:], y[n:], classes, width)


def scaled(dataset: Dataset) -> Dataset:
    """Scale each input to mean 0 and standard deviation 1 over the samples for training.

    A constant input becomes 0. The samples for validation are scaled with the same numbers. Raises
    ValueError for a column whose numbers there lie too far outside.
    """
    X, X_val = dataset.X, dataset.X_val
    largest = np.abs(X).max(axis=0)
    constant = X.min(axis=0) == X.max(axis=0)
    unit = np.where(constant, 1.0, largest)  # divided first, so that no square overflows
    with np.errstate(over="ignore"):
        X, X_val = X / unit, X_val / unit
        mean = X.mean(axis=0)
        deviation = np.where(constant, 1.0, np.sqrt(np.square(X - mean).mean(axis=0)))
        deviation[deviation == 0] = 1.0
        X, X_val = (np.where(constant, 0.0, (part - mean) / deviation) for part in (X, X_val))
    if not np.isfinite(X_val).all():
        j = int(np.argmin(np.isfinite(X_val).all(axis=0)))
        raise ValueError(
            f"The numbers in column {j + 1} are too far apart to be scaled. Correct or remove it."
        )
    return replace(dataset, X=X, X_val=X_val, scaled=True)


def from_arrays(X: Array, y: Array, name: str = "data", width: int | None = None) -> Dataset:
    """Return samples unchanged, all for training; inputs that fill a square are an image."""
    zero_one = bool(np.isin(y, (0, 1)).all())
    single = y.shape[1] == 1
    one_hot = zero_one and not single and bool((y.sum(axis=1) == 1).all())
    classes = y.shape[1] if one_hot else 2 if zero_one and single else 0
    if width is None:
        side = round(X.shape[1] ** 0.5)
        width = side if side >= 5 and side * side == X.shape[1] else 0
    return Dataset(name, X, y, X[:0], y[:0], classes, width)


def for_network(
    network: FeedForward, X: Any, y: Any, validation_data: tuple[Any, ...] | None, name: str
) -> Dataset:
    """Return samples as a data set, with targets as rows; raise ValueError if they do not fit."""
    units = network.sizes[-1]

    def rows(X: Any, y: Any) -> tuple[Array, Array]:
        samples = data.samples(X, y, network.sizes, network.loss, None)
        return (
            np.array(samples.X, dtype=np.float64),
            np.array(data.one_hot(samples.y, units, np.float64)),
        )

    X, y = rows(X, y)
    dataset = from_arrays(X, y, name)
    if validation_data is not None:
        X_val, y_val = rows(*validation_data[:2])
        dataset = replace(dataset, X_val=X_val, y_val=y_val)
    return dataset


def _column(values: Array) -> Array:
    return np.asarray(values, dtype=np.float64)[:, None]


def _classes(n: int) -> Array:
    return np.arange(n) % 2


def _circles(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    y = _classes(_COUNT)
    radius = np.where(y == 1, 0.4, 1.0) * np.sqrt(rng.uniform(0.7, 1.0, _COUNT))
    angle = rng.uniform(0, 2 * np.pi, _COUNT)
    X = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return X + rng.normal(0, noise * 0.6, X.shape), _column(y)


def _xor(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    X = rng.uniform(-1, 1, (_COUNT, 2))
    X += 0.08 * np.sign(X)
    y = (X[:, 0] * X[:, 1] < 0).astype(float)
    return X + rng.normal(0, noise * 0.6, X.shape), _column(y)


def _gaussians(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    y = _classes(_COUNT)
    centre = np.where(y == 1, 0.5, -0.5)[:, None]
    return centre + rng.normal(0, 0.18 + noise, (_COUNT, 2)), _column(y)


def _spiral(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    y = _classes(_COUNT)
    turn = np.sqrt(rng.uniform(0.01, 1, _COUNT))
    angle = 3.2 * np.pi * turn + np.pi * y
    X = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return X + rng.normal(0, noise * 0.25, X.shape), _column(y)


def _moons(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    y = _classes(_COUNT)
    angle = rng.uniform(0, np.pi, _COUNT)
    upper = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)
    X = np.where(y[:, None] == 1, -upper, upper) * 0.75
    return X + rng.normal(0, noise * 0.75, X.shape), _column(y)


def _xor_table(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    return np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])


def _plane(rng: np.random.Generator, noise: float) -> tuple[Array, Array]:
    """Return numbers as targets, not classes: a saddle."""
    X = rng.uniform(-1, 1, (_COUNT, 2))
    return X, _column(X[:, 0] * X[:, 1] + 0.3 * X[:, 0] + rng.normal(0, noise * 0.5, _COUNT))


_MAKERS: dict[str, Callable[[np.random.Generator, float], tuple[Array, Array]]] = {
    "circles": _circles,
    "xor": _xor,
    "gaussians": _gaussians,
    "spiral": _spiral,
    "moons": _moons,
    "xor table": _xor_table,
    "plane": _plane,
}


def _digits(seed: int) -> Dataset:
    from sklearn.datasets import load_digits

    images = load_digits()
    y = np.eye(10)[images.target]
    rng = np.random.default_rng(seed)
    return split("digits", images.data / 16, y, 10, rng, width=8)

"""TabularClassifier and TabularRegressor: dataframes as they come, and the recipe of tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from chainrule._exports import exported
from chainrule.network import Network
from chainrule.tables import measures, training, tuning
from chainrule.tables.frames import TableModel
from chainrule.tables.memory import Memory, memory
from chainrule.tables.opening import need_packages
from chainrule.tables.profile import Wishes
from chainrule.tables.roles import Roles
from chainrule.tables.schema import Labels, Target
from chainrule.tables.source import missing_texts

Array = NDArray[Any]


class _Tabular(BaseEstimator):  # type: ignore[misc]
    """What both estimators share."""

    _task: Literal["classify", "regress"]

    def _settings(self, target: str, weight: str | None) -> training.Settings:
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31)
        return training.Settings(
            target, task=self._task, hidden=tuple(self.hidden), activation=self.activation,
            epochs=self.epochs, learning_rate=self.learning_rate, l2=self.l2,
            dropout=self.dropout, test=0.0, recipe=self.recipe, seed=int(seed),
            balanced=getattr(self, "class_weight", None) == "balanced",
            loss=getattr(self, "loss", None), max_categories=self.max_categories,
            missing=missing_texts(tuple(self.missing)), roles=Roles(weight=weight),
            wishes=Wishes(
                tuple(self.numeric), tuple(self.categorical), dict(self.dates or {}),
                tuple(self.drop),
            ),
        )  # fmt: skip

    def _learn(self, X: Any, y: Array, sample_weight: Any, called: str) -> TableModel:
        """Train on rows and targets, and return the model of a table."""
        import pyarrow as pa

        need_packages()
        if self.recipe not in ("tuned", "plain"):
            raise ValueError(f"recipe must be 'tuned' or 'plain', got {self.recipe!r}")
        table = self._table(X)
        if table.num_rows != len(y):
            raise ValueError(f"X has {table.num_rows} rows and y {len(y)}; expected as many")
        names = list(table.column_names)
        self._remember(X, names)
        target = _free(called, names)
        table = table.append_column(target, pa.array(y))
        weight = None
        if sample_weight is not None:
            weight = _free("weight", [*names, target])
            values = np.asarray(sample_weight, dtype=np.float64)
            if values.shape != (len(y),):
                raise ValueError(
                    f"sample_weight has shape {values.shape}; expected ({len(y)},), one for each "
                    "row"
                )
            if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
                raise ValueError("sample_weight must hold finite numbers, 0 or more, not all 0")
            table = table.append_column(weight, pa.array(values))
        prepared = training.prepare(Memory(table), self._settings(target, weight))
        if prepared.settings.recipe == "tuned":
            tuned = tuning.tune(prepared)
            prepared, network, history = tuned.prepared, tuned.network, tuned.histories[0]
            facts = tuned.facts
        else:
            network, facts = training.make_network(prepared), {}
            history = training.fit(network, prepared)
            if prepared.is_refit:
                network, _ = training.refit(prepared, history)
        made = training.model(network, prepared, history, {}, {}, len(y))
        self.history_ = history
        schema = made.schema
        if weight is not None:
            left = tuple(c for c in schema.left_out if c.name != weight)
            schema = replace(schema, left_out=left)
        return TableModel(network, schema, made.training | facts, made.measures)

    def _table(self, X: Any) -> Any:
        """Return data as a table of Arrow; the columns of an array are x0, x1, ..."""
        if isinstance(X, np.ndarray):
            if X.ndim != 2:
                raise ValueError(f"X has shape {X.shape}; expected (n, columns)")
            X = [{f"x{j}": value for j, value in enumerate(row)} for row in X.tolist()]
        needed = [c.name for c in self.model_.schema.columns] if "model_" in vars(self) else []
        return memory(X, needed).table

    def _remember(self, X: Any, names: list[str]) -> None:
        self.n_features_in_ = len(names)
        if isinstance(X, np.ndarray):
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = np.array(names, dtype=object)

    @property
    def network_(self) -> Network:
        """The network, whose inputs the columns become."""
        check_is_fitted(self, "model_")
        return self.model_.network

    def _outputs(self, X: Any) -> Array:
        """Return what the network says of rows, (n, units_L)."""
        check_is_fitted(self, "model_")
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        source, start, made = Memory(self._table(X)), 0, []
        self.model_.check_columns(source)
        for batch in source.batches([column.name for column in self.model_.schema.columns]):
            inputs = self.model_.preprocessing.transform(batch, source, start)
            made.append(self.model_.network.predict(inputs))
            start += batch.num_rows
        return np.concatenate(made)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file, which `chainrule.load_table` and the commands read.

        Args:
            path: The file. One that exists is replaced.

        Raises:
            NotFittedError: The estimator is not fitted.
            OSError: The file cannot be written.
        """
        check_is_fitted(self, "model_")
        self.model_.save(path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _free(name: str, taken: Sequence[str]) -> str:
    """Return a name that no column has."""
    while name in taken:
        name += "_"
    return name


def _called(y: Any, otherwise: str) -> str:
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else otherwise


def _parameters(of: Any, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(of, name, value)


@exported("chainrule.sklearn")
class TabularClassifier(ClassifierMixin, _Tabular):  # type: ignore[misc]
    """Learn classes from a dataframe as it comes: numbers, text, dates and missing values.

    Columns are read as `chainrule train` reads those of a file, and the network is found by the
    same recipe. Nothing has to be encoded, scaled or imputed before. Needs
    ``pip install 'chainrule[sklearn,tables]'``.

    Args:
        recipe: "tuned" tries several ways to encode numbers and to train on folds of the rows, and
            averages the networks of the best. "plain" trains one network.
        hidden: The units of the hidden layers.
        activation: The activation of the hidden layers.
        epochs: The maximum number of epochs.
        learning_rate: The learning rate of Adam at the start.
        l2: λ of the L2 penalty. None lets the recipe decide.
        dropout: The rate of the hidden layers.
        class_weight: "balanced" weighs the classes so that all count the same.
        numeric: Columns to read as numbers.
        categorical: Columns to read as categories.
        dates: Columns to read as dates, each with a form as of strptime, or "" for ISO 8601.
        drop: Columns to leave out.
        missing: More texts that stand for no value.
        max_categories: The maximum number of categories of a column that have an input each.
        random_state: The seed of the folds, the weights and the batches.

    Attributes:
        classes_: The classes, sorted.
        model_: The model of the table, as of `chainrule.load_table`, which explains its
            predictions by the names of columns.
        network_: The network, whose inputs the columns become.
        history_: The history of the training; of several members, that of the first.
        n_features_in_: The number of columns.
        feature_names_in_: The names of the columns, unless X was an array.

    Examples:
        >>> import pandas as pd
        >>> from chainrule.sklearn import TabularClassifier
        >>> X = pd.DataFrame({"size": [1.0, 2.0, None, 9.0, 8.0] * 8, "town": list("aabbb") * 8})
        >>> y = ["s", "s", "s", "l", "l"] * 8
        >>> fitted = TabularClassifier(epochs=20, random_state=0).fit(X, y)
        >>> fitted.predict(X[:5]).tolist()
        ['s', 's', 's', 'l', 'l']
    """

    _task = "classify"

    def __init__(
        self,
        *,
        recipe: Literal["tuned", "plain"] = "tuned",
        hidden: Sequence[int] = (64, 32),
        activation: str = "silu",
        epochs: int = 200,
        learning_rate: float = 0.003,
        l2: float | None = None,
        dropout: float = 0.0,
        class_weight: Literal["balanced"] | None = None,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        dates: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        missing: Sequence[str] = (),
        max_categories: int | None = None,
        random_state: Any = None,
    ) -> None:
        _parameters(self, locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows.

        Args:
            X: A dataframe of pandas, Polars or PyArrow, a list of dictionaries, or an array,
                (n, columns).
            y: The classes, (n,): texts, whole numbers or booleans.
            sample_weight: The weight of each row, (n,), 0 or more.

        Returns:
            The estimator.

        Raises:
            TypeError: X is another object.
            ValueError: A parameter or the data are not allowed; the message names the row and the
                column of a cell.
        """
        if self.class_weight not in (None, "balanced"):
            raise ValueError(f"class_weight must be 'balanced' or None, got {self.class_weight!r}")
        labels = column_or_1d(y, warn=True)
        _check_labels(labels)
        check_classification_targets(labels)
        classes, places = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has one class, {classes.tolist()}; expected two or more")
        self.__dict__.pop("model_", None)
        model = self._learn(X, places.astype(np.int64), sample_weight, _called(y, "target"))
        self.classes_ = classes
        target = _of_classes(model.schema.target, classes)
        self.model_ = replace(model, schema=replace(model.schema, target=target))
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, (n, classes), in the order of ``classes_``.

        Args:
            X: The rows, as for `fit`.

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        outputs = self._outputs(X).astype(np.float64)
        return np.asarray(outputs / outputs.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row, (n,).

        Args:
            X: The rows, as for `fit`.

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        places = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[places])


@exported("chainrule.sklearn")
class TabularRegressor(RegressorMixin, _Tabular):  # type: ignore[misc]
    """Learn a number from a dataframe as it comes: numbers, text, dates and missing values.

    See `TabularClassifier`, with which it shares what is not named here.

    Args:
        recipe: As for `TabularClassifier`.
        hidden: As for `TabularClassifier`.
        activation: As for `TabularClassifier`.
        epochs: As for `TabularClassifier`.
        learning_rate: As for `TabularClassifier`.
        l2: As for `TabularClassifier`.
        dropout: As for `TabularClassifier`.
        loss: What an error costs: "squared", "absolute", "huber", or "poisson", which is for
            counts.
        numeric: As for `TabularClassifier`.
        categorical: As for `TabularClassifier`.
        dates: As for `TabularClassifier`.
        drop: As for `TabularClassifier`.
        missing: As for `TabularClassifier`.
        max_categories: As for `TabularClassifier`.
        random_state: As for `TabularClassifier`.

    Attributes:
        model_: As of `TabularClassifier`.
        network_: As of `TabularClassifier`.
        history_: As of `TabularClassifier`.
        n_features_in_: The number of columns.
        feature_names_in_: The names of the columns, unless X was an array.

    Examples:
        >>> import pandas as pd
        >>> from chainrule.sklearn import TabularRegressor
        >>> sizes = [7 * i % 40 for i in range(40)]
        >>> X = pd.DataFrame({"size": sizes, "town": list("abcd") * 10})
        >>> fitted = TabularRegressor(random_state=0).fit(X, [3.0 * size for size in sizes])
        >>> fitted.score(X, [3.0 * size for size in sizes]) > 0.9
        True
    """

    _task = "regress"

    def __init__(
        self,
        *,
        recipe: Literal["tuned", "plain"] = "tuned",
        hidden: Sequence[int] = (64, 32),
        activation: str = "silu",
        epochs: int = 200,
        learning_rate: float = 0.003,
        l2: float | None = None,
        dropout: float = 0.0,
        loss: Literal["squared", "absolute", "huber", "poisson"] = "squared",
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        dates: Mapping[str, str] | None = None,
        drop: Sequence[str] = (),
        missing: Sequence[str] = (),
        max_categories: int | None = None,
        random_state: Any = None,
    ) -> None:
        _parameters(self, locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows.

        Args:
            X: The rows, as for `TabularClassifier.fit`.
            y: The numbers, (n,).
            sample_weight: The weight of each row, (n,), 0 or more.

        Returns:
            The estimator.

        Raises:
            TypeError: X is another object.
            ValueError: A parameter or the data are not allowed; the message names the row and the
                column of a cell.
        """
        if self.loss not in training.LOSSES:
            raise ValueError(
                f"loss must be one of {', '.join(map(repr, training.LOSSES))}, got {self.loss!r}"
            )
        numbers = column_or_1d(y, warn=True)
        if numbers.dtype.kind not in "fiub":
            raise ValueError(f"y has dtype {numbers.dtype}; expected numbers")
        numbers = numbers.astype(np.float64)
        if not np.isfinite(numbers).all():
            row = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise ValueError(f"y is {numbers[row]} in row {row}; expected a finite number")
        self.__dict__.pop("model_", None)
        self.model_ = self._learn(X, numbers, sample_weight, _called(y, "target"))
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted number of each row, (n,).

        Args:
            X: The rows, as for `fit`.

        Raises:
            NotFittedError: The estimator is not fitted.
            ValueError: The data do not fit.
        """
        outputs = self._outputs(X)
        return measures.predicted_numbers(self.model_.schema.target, outputs)


def _check_labels(labels: Array) -> None:
    """Raise ValueError for a class that is missing, or of a type that classes do not have."""
    kinds = {type(label) for label in labels.tolist()}
    if not kinds <= {str} and not kinds <= {int, float, bool}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"y holds values of the types {names}; expected texts, or numbers")
    if kinds == {float} or float in kinds:
        values = labels.astype(np.float64)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"y has no class in row {row}; expected one in every row")


def _of_classes(target: Target, classes: Array) -> Target:
    """Return the target with the user's labels in place of the places that it was trained on."""
    kinds: dict[str, Labels] = {"i": "integer", "u": "integer", "f": "number"}
    kind = kinds.get(classes.dtype.kind, "text")
    written = (
        str
        if kind != "number"
        else lambda value: f"{int(value)}" if value % 1 == 0 else repr(value)
    )
    return replace(target, kind=kind, classes=tuple(written(value) for value in classes.tolist()))

"""Frames: models of tables in Python, on dataframes and on rows that are dictionaries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from warnings import warn

import numpy as np

from chainrule._exports import exported
from chainrule.equations.checks import listed, whole
from chainrule.tables import groups, learned, notation, sensitivity
from chainrule.tables import model as models
from chainrule.tables.grouped_prediction import EMPTY, REFUSE, GroupedPrediction
from chainrule.tables.memory import Memory, alike, memory
from chainrule.tables.naming import by_index, names
from chainrule.tables.opening import need_packages
from chainrule.tables.prediction import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

    from chainrule.explain import Explanation


def typical(model: models.TableModel) -> list[dict[str, Any]]:
    """Return a row that the model takes: means, the first category, the days of the year 2000."""
    row: dict[str, Any] = {}
    for column in model.schema.columns:
        if column.kind == "number":
            row[column.name] = notation.example(column.form) if column.form else column.mean[0]
        elif column.kind == "date":
            day = datetime(2000, 1, 1, 12, 30)
            is_time = column.form == notation.TIME
            row[column.name] = (
                "12:30" if is_time else day.strftime(column.form) if column.form else day
            )
        else:
            row[column.name] = column.categories[0] if column.categories else "other"
    return [row]


@exported("chainrule")
class TableModel(models.TableModel):
    """The model of a table: a network, its columns and their preprocessing; see `load_table`.

    Attributes:
        network: The `Network`, whose inputs the columns become.
        others: More networks, after ``chainrule train --members``; the mean of all is what the
            model predicts.
        schema: The columns, the target, and what stands for no value.
        training: The settings and facts of its training.
        measures: The measures of the model and of the baseline on the rows held out for the test.
        held_out: The calibration of its probabilities, or its intervals, from the same rows.

    Examples:
        >>> import chainrule as cr
        >>> model = cr.load_table("flats.model")  # doctest: +SKIP
        >>> model.predict(frame)  # doctest: +SKIP
    """

    def predict(self, data: Any, *, spread: bool = False, intervals: float | None = None) -> Any:
        """Return the prediction for each row, in a table of the same kind as the data.

        Args:
            data: A dataframe of pandas, Polars or PyArrow; or a list of dictionaries, one for each
                row. Columns are found by their names. A value that is missing is None or NaN.
            spread: Whether to add the standard deviation over the networks of the model: a column
                ``spread``, or for classes ``spread_CLASS``, of its probability.
            intervals: The level of intervals around a number, such as 0.9: that share of new rows
                is inside, if they come from where the training rows came from.

        Returns:
            The predicted target, and for classes a column ``probability_CLASS`` for each; with
            ``intervals`` the columns ``lower`` and ``upper``, of several targets ``lower_TARGET``
            and ``upper_TARGET`` for each. A
            dataframe of pandas keeps its index. After a list, a list of dictionaries.

        Warns:
            UserWarning: The data has what the training rows had not: other columns, new categories,
                values far outside, or missing values.

        Raises:
            TypeError: ``data`` is another object, or ``intervals`` is not a number.
            ValueError: A column is missing, there are no rows, or a cell does not fit its column;
                the message names the row and the column. Or ``spread`` is asked of a model with one
                network, or the model has no intervals of this level: its target has classes, or too
                few rows were held out.
        """
        source = memory(data, [column.name for column in self.schema.columns])
        prediction = Prediction(self, source, spread=spread, level=intervals)
        return _predicted(prediction, data)

    def importance(self, data: Any, *, repeats: int = 5, seed: int = 0) -> Any:
        """Return how much the loss rises if the cells of a column are shuffled among the rows.

        The rows should be new to the model: on those that it has learned from, a column that it
        knows by heart looks important. The loss is the one that the network minimises, without the
        penalty: -ln of the probability of the class, or a loss of the standardised number.

        Args:
            data: The rows, as for `TableModel.predict`, with a column of the target. Rows without a
                target are left out; of more than 10,000, so many are taken at random.
            repeats: How often each column is shuffled.
            seed: The seed of the shuffling.

        Returns:
            A table of the same kind as the data, the most important column first: ``column``, the
            mean rise of the loss as ``importance``, and its standard ``deviation``.

        Raises:
            TypeError: ``data`` is another object, or a number is not whole.
            ValueError: The data do not fit, or a number is too small.
        """
        whole(repeats, "repeats")
        whole(seed, "seed", 0)
        names = [column.name for column in self.schema.columns]
        source = memory(data, [*names, *(target.name for target in self.schema.targets)])
        n = sum(batch.num_rows for batch in source.batches(source.names[:1]))
        _, y, batch, _ = self.samples(source, slice(0, n), leave_out=True)
        if (chosen := learned.some_rows(len(y), seed)) is not None:
            y, batch = y[chosen], batch.take(chosen)
        transform, rng = learned.transform_of(self.schema, Memory), np.random.default_rng(seed)
        found = {
            column.name: learned.rises(
                self.networks, transform, batch, y, column.name, repeats, rng
            )
            for column in self.schema.columns
        }
        return alike(learned.as_importance(found), data, new_rows=True)

    def partial_dependence(self, data: Any, column: str, *, points: int = 20) -> Any:
        """Return the mean prediction if all rows had the same value in a column.

        Args:
            data: The rows, as for `TableModel.predict`; of more than 10,000, so many are taken at
                random.
            column: The name of the column.
            points: The maximum number of values of a number or date: quantiles from 5 % to 95 %.

        Returns:
            A table of the same kind as the data: the values of the column, all categories of the
            model for a category; and the mean prediction for each, named as `predict` names it.

        Raises:
            TypeError: ``data`` is another object, or ``points`` is not a whole number.
            ValueError: The data do not fit, the model has no such column, or ``points`` is below 2.
        """
        whole(points, "points", 2)
        found, batch = learned.find(self.schema, column), self._columns_of(data)
        if (chosen := learned.some_rows(batch.num_rows, 0)) is not None:
            batch = batch.take(chosen)
        transform = learned.transform_of(self.schema, Memory)
        made = learned.partial_dependence(
            self.networks, self.schema, transform, batch, Memory(batch), found, points
        )
        return alike(made, data, new_rows=True)

    def sensitivity(self, data: Any) -> Any:
        """Return what would change each prediction, by column, in the units of the column.

        A number has the derivative of the prediction, exact through the preprocessing, which
        ``change`` calls "per 1". A category has the change that each other category would bring, a
        date those of one day and of 365 days later, a time of day that of one hour later, and a
        missing number that of the mean.

        Args:
            data: The rows, as for `TableModel.predict`.

        Returns:
            A table of the same kind as the data, with a line for each row and change: ``row``
            (from 0), ``column``, ``value``, ``change``, and the change of the prediction, named as
            `predict` names it: of the number in its units, or of each probability.

        Raises:
            TypeError: ``data`` is another object.
            ValueError: The data do not fit.
        """
        batch = self._columns_of(data)
        transform = learned.transform_of(self.schema, Memory)
        made = sensitivity.of_rows(self.networks, self.schema, transform, batch, Memory(batch))
        return alike(made, data, new_rows=True)

    def _columns_of(self, data: Any) -> pa.Table:
        """Return the columns of the model from data, as one table."""
        import pyarrow as pa

        names = [column.name for column in self.schema.columns]
        source = memory(data, names)
        self.check_columns(source)
        return pa.concat_tables(source.batches(names)).combine_chunks()

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, tuple(getattr(self, field.name) for field in fields(self))

    def explain(
        self,
        target: str,
        data: Any,
        *,
        label: str | None = None,
        member: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain the derivative of the loss with respect to one quantity, by the names of columns.

        Args:
            target: The quantity to differentiate with respect to, as for `Network.explain`. A
                column may name an input, "x[age]" or "w[1][2,colour=red]", and a class a unit of
                the last layer.
            data: The rows, as for `TableModel.predict`, with a column of the target unless
                ``label`` says it.
            label: The target of all rows, if the data has none; of several targets, numbers with
                commas between them.
            member: Which network to explain, from 0, if the model has several.
            **options: The options of `Network.explain`.

        Returns:
            The explanation.

        Raises:
            TypeError: ``data`` is another object.
            ValueError: The model has no such quantity or network, or the data do not fit.
        """
        network = self.member(member).network
        needed = [column.name for column in self.schema.columns]
        needed += [] if label is not None else [each.name for each in self.schema.targets]
        source = memory(data, needed)
        n = sum(batch.num_rows for batch in source.batches(source.names[:1]))
        X, y, batch, _ = self.samples(source, slice(0, n), label)
        options.setdefault("names", names(self.schema, source, batch, 0))
        target = by_index(target, self.schema, len(network.sizes) - 1)
        return network.explain(target, X, y, **options)


@exported("chainrule")
class TableGroups(groups.GroupedModel):
    """The models of the groups of a table, one for each value of a column; see `load_groups`.

    It is a mapping: ``model["Bonn"]`` is the `TableModel` of a group.

    Attributes:
        by: The column whose value chooses the model.
        left_out: The groups without a model, and why that is.
        measures: The measures of all models together, and of the baselines, on the rows held out
            for the test.

    Examples:
        >>> import chainrule as cr
        >>> stores = cr.load_groups("stores.model")  # doctest: +SKIP
        >>> list(stores), stores.left_out  # doctest: +SKIP
    """

    models: Mapping[str, TableModel]

    def __getitem__(self, group: str) -> TableModel:
        return self.models[group]

    def predict(
        self,
        data: Any,
        *,
        spread: bool = False,
        new_groups: Literal["refuse", "empty"] = "refuse",
        intervals: float | None = None,
    ) -> Any:
        """Return the prediction for each row, by the model of its group, in the order of the rows.

        Args:
            data: As for `TableModel.predict`, with the column ``by``.
            spread: As for `TableModel.predict`.
            new_groups: Whether a row whose group has no model is an error, or has an empty
                prediction and is named in a warning.
            intervals: As for `TableModel.predict`; each group has its own.

        Returns:
            As `TableModel.predict`. A class that a group never had has the probability 0 there.

        Warns:
            UserWarning: The data has what the training rows had not.

        Raises:
            TypeError: ``data`` is another object.
            ValueError: As `TableModel.predict`, or a row is of a group without a model.
        """
        if new_groups not in (REFUSE, EMPTY):
            raise ValueError(f"new_groups is {new_groups!r}; expected {REFUSE!r} or {EMPTY!r}")
        needed = dict.fromkeys(
            [self.by, *(c.name for model in self.values() for c in model.schema.columns)]
        )
        source = memory(data, list(needed))
        prediction = GroupedPrediction(
            self, source, spread=spread, new_groups=new_groups, level=intervals
        )
        return _predicted(prediction, data)


def _predicted(prediction: Prediction, data: Any) -> Any:
    """Return all predictions, in a table of the same kind as the data; warn of what is new."""
    import pyarrow as pa

    result = pa.concat_tables(prediction.batches())
    if unknown := prediction.unknown:
        warn(f"columns that the model does not know are ignored: {listed(unknown)}", stacklevel=3)
    for line in prediction.words():
        warn(line, stacklevel=3)
    return alike(result, data)


def read(path: str | os.PathLike[str]) -> models.TableModel | groups.GroupedModel:
    """Read a model of a table, or those of its groups; see `load_table` and `load_groups`."""
    need_packages()
    model = groups.load(path)
    if model is None:
        raise ValueError(
            f"{os.fspath(path)} is a network without columns; expected the model of a table, from "
            "chainrule train. cr.load reads a network"
        )
    return model


def read_one(
    model: models.TableModel | groups.GroupedModel, path: str | os.PathLike[str]
) -> TableModel:
    """Return a model for use with dataframes; raise ValueError for the models of groups."""
    if isinstance(model, groups.GroupedModel):
        raise ValueError(
            f"{os.fspath(path)} has a model for each {model.by}; read it with chainrule.load_groups"
        )
    facts = model.training, model.measures, model.version
    return TableModel(model.network, model.schema, *facts, model.others, model.held_out)


def read_groups(
    model: models.TableModel | groups.GroupedModel, path: str | os.PathLike[str]
) -> TableGroups:
    """Return the models of groups for use with dataframes; raise ValueError for one model."""
    if not isinstance(model, groups.GroupedModel):
        raise ValueError(f"{os.fspath(path)} has one model; read it with chainrule.load_table")
    own = {name: read_one(one, path) for name, one in model.items()}
    return TableGroups(model.by, own, model.left_out, model.measures, model.version)


def _made(*of: Any) -> TableModel:
    """Return the model of its fields, for pickle: the class is not found by its public name."""
    return TableModel(*of)

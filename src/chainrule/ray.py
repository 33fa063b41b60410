"""Ray Data: predict the blocks of a dataset with the model of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from chainrule._exports import exported
from chainrule.equations.checks import listed, whole
from chainrule.tables.frames import TableModel
from chainrule.tables.loading import load_table
from chainrule.tables.source import TableError

__all__ = ["Predictor"]


@exported("chainrule.ray")
class Predictor:
    """Predict batches of a dataset of Ray, as ``map_batches`` hands them over.

    Pass the class to ``map_batches``, and its arguments as ``fn_constructor_args`` or
    ``fn_constructor_kwargs``: each actor then loads the model once.

    Args:
        model: The model of a table, or the path of its file, which every node must reach.
        keep: Columns of the dataset to copy beside the predictions.
        threads: How many threads a batch may use: as many as the actor has CPUs.

    Raises:
        OSError: The file cannot be read.
        TypeError: ``model`` is another object.
        ValueError: The file is not the model of a table, or ``threads`` is below 1.

    Examples:
        >>> import ray  # doctest: +SKIP
        >>> from chainrule.ray import Predictor  # doctest: +SKIP
        >>> ray.data.read_parquet("data").map_batches(  # doctest: +SKIP
        ...     Predictor, fn_constructor_args=["wine.model"], batch_format="pyarrow", concurrency=2
        ... ).write_parquet("predictions")
    """

    def __init__(
        self,
        model: TableModel | str | os.PathLike[str],
        keep: Sequence[str] = (),
        threads: int = 1,
    ) -> None:
        if isinstance(model, str | os.PathLike):
            model = load_table(model)
        if not isinstance(model, TableModel):
            raise TypeError(
                f"model is a {type(model).__name__}; expected a model that cr.load_table returned, "
                "or the path of its file"
            )
        self._keep = (keep,) if isinstance(keep, str) else tuple(keep)
        for network in model.networks:
            network.threads = whole(threads, "threads")
        self._model = model

    def __call__(self, batch: Any) -> Any:
        """Return the predictions of a batch, as a batch of the same format.

        Args:
            batch: A table of PyArrow, a dataframe of pandas, or a dictionary with an array for each
                column.

        Returns:
            The columns to keep, the predicted target and, for classes, their probabilities.

        Raises:
            ValueError: A column is missing, or a cell does not fit its column.
        """
        import pyarrow as pa

        arrays = isinstance(batch, Mapping)
        table = pa.table({k: pa.array(v) for k, v in batch.items()}) if arrays else batch
        names = list(table.columns if hasattr(table, "iloc") else table.column_names)
        if missing := [name for name in self._keep if name not in names]:
            raise TableError(f"there is no column {missing[0]!r} to keep; there is {listed(names)}")
        predicted = self._model.predict(table)
        if isinstance(table, pa.Table):
            kept = table.select(list(self._keep))
            for name in predicted.column_names:
                kept = kept.append_column(name, predicted[name])
            if not arrays:
                return kept
            return {k: kept[k].to_numpy() for k in kept.column_names}
        for i, name in enumerate(self._keep):
            predicted.insert(i, name, table[name])
        return predicted

"""Loading models of tables; everything else of the room is imported when it is used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.tables.frames import TableGroups, TableModel


def load_table(path: str | os.PathLike[str]) -> TableModel:
    """Read the model of a table, with its columns and their preprocessing.

    Args:
        path: A file that ``chainrule train`` wrote.

    Returns:
        The model, which predicts from dataframes.

    Raises:
        ImportError: PyArrow or scikit-learn is not installed.
        OSError: The file cannot be read.
        ValueError: The file is foreign, damaged or from a newer version, or holds a network without
            columns.

    Examples:
        >>> import chainrule as cr
        >>> model = cr.load_table("wine.model")  # doctest: +SKIP
        >>> model.predict([{"alcohol": 13.2, "colour": "red"}])  # doctest: +SKIP
        [{'quality': 'good', 'probability_bad': 0.08, 'probability_good': 0.92}]
    """
    from chainrule.tables.frames import read, read_one

    return read_one(read(path), path)


def load_groups(path: str | os.PathLike[str]) -> TableGroups:
    """Read the models of the groups of a table, one for each value of a column.

    Args:
        path: A file that ``chainrule train --by`` wrote.

    Returns:
        The models, which predict from dataframes, each row by the model of its group.

    Raises:
        ImportError: PyArrow is not installed.
        OSError: The file cannot be read.
        ValueError: The file is foreign, damaged or from a newer version, or holds one model.

    Examples:
        >>> import chainrule as cr
        >>> stores = cr.load_groups("stores.model")  # doctest: +SKIP
        >>> stores.predict([{"store": "Bonn", "weekday": 3}])  # doctest: +SKIP
        [{'units': 148.8}]
        >>> why = stores["Bonn"].explain("x[weekday]", frame)  # doctest: +SKIP
    """
    from chainrule.tables.frames import read, read_groups

    return read_groups(read(path), path)

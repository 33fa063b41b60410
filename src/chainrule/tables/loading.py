"""Loading a model of a table; everything else of the room is imported when it is used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.tables.frames import TableModel


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
    from chainrule.tables.frames import TableModel
    from chainrule.tables.model import load
    from chainrule.tables.opening import need_packages

    need_packages()
    model = load(path)
    if model is None:
        raise ValueError(
            f"{os.fspath(path)} is a network without columns; expected the model of a table, from "
            "chainrule train. cr.load reads a network"
        )
    facts = model.training, model.measures, model.version
    return TableModel(model.network, model.schema, *facts, model.others)

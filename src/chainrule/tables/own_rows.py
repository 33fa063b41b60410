"""Own rows: all rows of a validation file, as the network takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.checks import listed
from chainrule.storage.mapped import Rows
from chainrule.tables import target as targets
from chainrule.tables.preprocessing import Preprocessing
from chainrule.tables.profile import Wishes
from chainrule.tables.roles import Roles, collect
from chainrule.tables.schema import Schema
from chainrule.tables.source import Source, TableError, no_rows


def own_rows(
    source: Source, schema: Schema, roles: Roles, wishes: Wishes
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float64] | None]:
    """Return the inputs, targets and weights of all rows of a validation file.

    Raises TableError, with the place, for what does not fit the table.
    """
    names = [target.name for target in schema.targets]
    for name in (*names, roles.weight, *(column.name for column in schema.columns)):
        if name is not None and name not in source.names:
            raise TableError(
                f"{source.path} lacks column {name!r}; a validation file needs the columns of the "
                f"table, and has {listed(source.names)}"
            )
    preprocessing = Preprocessing(schema)
    y: list[NDArray[Any]] = []
    start = 0
    with Rows(preprocessing.units) as kept:
        for batch in source.batches():
            kept.append(preprocessing.transform(batch, source, start))
            each = [
                targets.encode_all(target, batch, source, start, schema.missing)
                for target in schema.targets
            ]
            y.append(np.column_stack(each) if schema.more else each[0])
            start += batch.num_rows
        if not start:
            raise no_rows(source.path)
        X = kept.finish()
    weight = collect(source, replace(roles, group=None, time=None), schema.missing, wishes).weight
    return X, np.concatenate(y), weight

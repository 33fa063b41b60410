"""Watching: the recording of a training on a table, whose rows are those of the table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.training.watching import settings


def recorded(
    options: Mapping[str, Any], numbers: NDArray[np.int64], inside: str = ""
) -> dict[str, Any]:
    """Return options of `Network.fit` whose ``watch``, if they have one, knows the table's rows.

    Args:
        options: The options.
        numbers: The row number in the table of each sample, from 0, without the header.
        inside: The folder inside that of ``watch`` to record into.
    """
    if options.get("watch") is None:
        return dict(options)
    watch = settings.choose(options["watch"])
    folder = os.path.join(watch.folder, inside) if inside else watch.folder
    return {**options, "watch": replace(watch, folder=folder, rows=numbers)}

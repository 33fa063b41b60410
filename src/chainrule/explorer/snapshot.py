"""Snapshots: a session as bytes that another Python reads, with every bit of its numbers.

They are an .npz file of arrays and one JSON text, and hold no code.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from chainrule.equations.feedforward import FeedForward
from chainrule.explorer import share
from chainrule.explorer.place import Settings
from chainrule.explorer.session import Session
from chainrule.explorer.touring import read_lesson
from chainrule.teach.datasets import Dataset

VERSION = 2  # of the format


def pack(session: Session) -> bytes:
    """Return the network with its engine, data, settings, sample and own lesson of a session.

    Raises:
        ValueError: The network has a custom function, which is code of this Python.
    """
    network, data = session.network, session.data
    if own := share.custom(network):
        raise ValueError(
            f"The network has the custom function {own[0]!r}, whose Python code cannot move to "
            "another place. Use one of the library's functions."
        )
    about = {
        "version": VERSION,
        "network": share.structure(network),
        "dropout": [layer.dropout for layer in network.weighted_layers[:-1]],
        "settings": vars(session.settings),
        "engine": _engine_there(network.requested_engine),
        "sample": session.sample,
        "lesson": session.given.text if session.given else "",
        "data": {name: getattr(data, name) for name in _OF_DATA},
    }
    file = io.BytesIO()
    rows = np.empty(0, dtype=np.int64) if data.rows is None else data.rows
    np.savez_compressed(
        file, about=np.array(json.dumps(about)), parameters=network.parameters,
        X=data.X, y=data.y, X_val=data.X_val, y_val=data.y_val, rows=rows,
    )  # fmt: skip
    return file.getvalue()


def unpack(content: bytes) -> Session:
    """Return a session in the state that `pack` was given; raise ValueError for other bytes."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in _ARRAYS}
        about = json.loads(str(file["about"]))
    if about["version"] != VERSION:
        raise ValueError(f"the snapshot has format {about['version']}; expected {VERSION}")
    network = FeedForward(
        **about["network"], dropout=about["dropout"], engine=about.get("engine", "auto")
    )
    network.parameters[...] = arrays.pop("parameters")
    given: dict[str, Any] = about["data"]
    given |= {name: tuple(given[name]) for name in ("columns", "labels", "derived")}
    rows = arrays.pop("rows")
    session = Session(network, settings=Settings(**about["settings"]))
    data = Dataset(**given, **arrays, rows=rows if len(rows) else None)
    session.begin(data, about["sample"])
    if about["lesson"]:
        session.given = read_lesson(about["lesson"], "The lesson")
    return session


def _engine_there(name: str) -> str:
    """Return the engine to ask for in another place: there, the fastest may be another."""
    return name if name == "reference" else "auto"


_OF_DATA = (
    "name", "classes", "width", "columns", "labels", "scaled", "derived", "held", "noise", "seed",
    "source",
)  # fmt: skip
_ARRAYS = ("parameters", "X", "y", "X_val", "y_val", "rows")

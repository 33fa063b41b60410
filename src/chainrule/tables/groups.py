"""Models of the groups of a table, one for each value of a column, in one file.

The file is an archive (see `chainrule.storage.archive`): ``groups.json`` names the column and the
groups, and every group has a model file, as one of a table alone is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule._forks import cached_property
from chainrule._version import __version__
from chainrule.equations.checks import guess, listed
from chainrule.storage import archive
from chainrule.storage.container import as_json, from_json
from chainrule.tables import cells
from chainrule.tables import model as single
from chainrule.tables.measures import Measured
from chainrule.tables.model import TableModel
from chainrule.tables.schema import Labels, Target
from chainrule.tables.source import Source, TableError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[int] | NDArray[np.int64]

VERSION = 1  # increased when an older program would misread the description
_ABOUT = "groups.json"
_LONGEST = 1 << 26  # bytes of the description


class GroupRows(Source):
    """Some rows of another table, in memory, which messages name as that table does."""

    def __init__(self, whole: Source, table: pa.Table, rows: Rows, group: str) -> None:
        self.path, self.names = f"{whole.path} ({group})", list(table.column_names)
        self.unnamed = whole.unnamed
        self._whole, self._table, self._rows = whole, table, rows

    def place(self, row: int, column: str) -> str:
        """Return where a cell is in the whole table; see `Source`."""
        return self._whole.place(int(self._rows[row]), column)

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(list(columns)).to_batches()

    def _check_state(self) -> None:
        """Rows in memory do not change."""


def groups_of(column: pa.ChunkedArray, missing: Sequence[str]) -> pa.DictionaryArray:
    """Return the group of each cell as a text, null where there is none."""
    return cells.texts(column, missing).dictionary_encode()


@dataclass(frozen=True)
class GroupedModel(Mapping[str, TableModel]):
    """The models of the groups of a table; as a mapping, the model of each group by its name.

    ``left_out`` says of groups without a model why that is. ``measures`` are those of all models
    together on all test rows, and those of their baselines.
    """

    by: str
    models: Mapping[str, TableModel]
    left_out: dict[str, str] = field(default_factory=dict)
    measures: dict[str, Measured] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("it has no group; expected at least one")
        firsts = {(m.schema.target.name, m.schema.target.task) for m in self.models.values()}
        if len(firsts) > 1:
            raise ValueError(f"its groups have different targets: {sorted(firsts)}")

    def __getitem__(self, group: str) -> TableModel:
        return self.models[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def one(self, group: str | None) -> TableModel:
        """Return the model of a group; raise ValueError if there is none, or none is named."""
        if group is None:
            raise ValueError(
                f"the file has a model for each {self.by}; choose one with --of, such as --of "
                f"{next(iter(self.models))}"
            )
        if group in self.models:
            return self.models[group]
        raise ValueError(self.no_model(group))

    def no_model(self, group: str | None) -> str:
        """Return why there is no model for a group."""
        if group is None:
            return f"no value of {self.by!r}, which chooses the model"
        if group in self.left_out:
            return f"{group!r} has no model: {self.left_out[group].rstrip('.')}"
        hint = guess(group, list(self.models))
        return f"{group!r} has no model{hint}; the file has {listed(list(self.models))}"

    @cached_property
    def target(self) -> Target:
        """The target of all groups: with the classes of all, in the kind that fits all."""
        targets = [model.schema.target for model in self.models.values()]
        kinds = {target.kind for target in targets}
        kind: Labels = next(iter(kinds))
        if len(kinds) > 1:
            kind = "text" if "text" in kinds else "number"
        if not targets[0].classes:
            return replace(targets[0], kind=kind, mean=0.0, scale=1.0)
        order = float if kind != "text" else str
        classes = sorted({name for target in targets for name in target.classes}, key=order)
        return replace(targets[0], kind=kind, classes=tuple(classes), mean=0.0, scale=1.0)

    def spread_out(self, group: str, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs of a group's networks, (..., n, units), as those of `target`.

        Numbers are in the target's own units; a class that the group does not have gets 0.
        """
        own, target = self.models[group].schema.target, self.target
        if own.task == "regress":
            return outputs.astype(np.float64) * own.scale + own.mean
        wide = np.zeros((*outputs.shape[:-1], len(target.classes)), outputs.dtype)
        places = {name: i for i, name in enumerate(target.classes)}
        wide[..., [places[name] for name in own.classes]] = outputs
        return wide

    def with_missing(self, texts: Sequence[str]) -> GroupedModel:
        """Return the models for data in which more texts stand for no value."""
        more = {name: model.with_missing(texts) for name, model in self.models.items()}
        return replace(self, models=more)

    @property
    def missing(self) -> tuple[str, ...]:
        """The texts that stand for no value."""
        return next(iter(self.models.values())).schema.missing

    def check_columns(self, source: Source) -> list[str]:
        """Return the names of the columns that no model knows.

        Raises TableError if a column that one of the models needs is missing.
        """
        if self.by not in source.names:
            raise TableError(
                f"{source.path} lacks column {self.by!r}, which chooses the model of a row; it has "
                f"{listed(source.names)}"
            )
        unknown = [set(model.check_columns(source)) for model in self.models.values()]
        return [name for name in source.names if name in set.intersection(*unknown)]

    # --- the file -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all models to one file, atomically.

        Args:
            path: The file. One that exists is replaced.

        Raises:
            OSError: The file cannot be written.
            ValueError: A parameter of a network is not finite.
        """
        about = {
            "version": VERSION, "chainrule": self.version, "by": self.by,
            "groups": list(self.models), "left_out": self.left_out, "measures": self.measures,
        }  # fmt: skip
        entries = {_ABOUT: as_json(about).encode()}
        for i, model in enumerate(self.models.values()):
            entries[archive.name_of(i)] = model.content()
        archive.write(path, entries)


def load(path: str | os.PathLike[str]) -> TableModel | GroupedModel | None:
    """Read the model of a table, or those of its groups; None for a network without columns.

    Raises ValueError if the file is foreign, damaged or from a newer version, OSError if it cannot
    be read.
    """
    if not archive.is_archive(path):
        return single.load(path)
    models = {}
    with archive.opened(path, "a file of models") as file:
        if file.names[:1] != [_ABOUT]:
            raise ValueError("it does not begin with a description of groups; expected a file of "
                             "chainrule train --by")  # fmt: skip
        about = _description(file.read(_ABOUT))
        names = [archive.name_of(i) for i in range(len(about["groups"]))]
        if file.names[1:] != names:
            raise ValueError(
                f"it has {len(file.names) - 1} model files; its description has {len(names)} groups"
            )
        for group, name in zip(about["groups"], names, strict=True):
            with file.as_file(name) as part:
                model = single.load(part)
            if model is None:
                raise ValueError(f"{name} is a network without columns")
            models[group] = model
        facts = about["left_out"], about["measures"], about["chainrule"]
        return GroupedModel(about["by"], models, *facts)


def _description(content: bytes) -> dict[str, Any]:
    """Return the checked description of groups."""
    if len(content) > _LONGEST:
        raise ValueError(f"its description is too long: {len(content):,} bytes")
    try:
        about = from_json(content.decode(), "its description")
    except UnicodeDecodeError:
        raise ValueError("its description is not UTF-8") from None
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        raise ValueError("its description has no version; expected a whole number")
    if about["version"] > VERSION:
        raise ValueError(
            f"its groups were written by a newer chainrule, in format {about['version']}; this "
            f"version reads format {VERSION}. Update chainrule."
        )
    kinds = {"chainrule": str, "by": str, "groups": list, "left_out": dict, "measures": dict}
    for key, kind in kinds.items():
        if not isinstance(about.get(key), kind):
            raise ValueError(f"its description lacks {key!r}, of type {kind.__name__}")
    groups, left_out = about["groups"], about["left_out"]
    if not all(isinstance(text, str) for text in (*groups, *left_out.values())):
        raise ValueError("its groups are not texts, or a reason to leave one out is not")
    if not groups or len(set(groups)) < len(groups) or set(groups) & set(left_out):
        raise ValueError("its description has no group, or one twice")
    single.check_measures(about["measures"])
    return about


def about_groups(model: GroupedModel) -> dict[str, Any]:
    """Return what a file of groups is, as plain data."""
    groups = {
        name: {"training": one.training, "measures": one.measures} for name, one in model.items()
    }
    about = {
        "by": model.by, "left_out": model.left_out, "measures": model.measures, "groups": groups,
        "chainrule": model.version,
    }  # fmt: skip
    told: dict[str, Any] = json.loads(as_json(about))
    return told

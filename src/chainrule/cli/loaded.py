"""A model with the samples of a file, for the commands explain and check."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli import samples as tables
from chainrule.cli.shared import note, without_target
from chainrule.loading import load as load_network

if TYPE_CHECKING:
    from chainrule.explain.names import Names
    from chainrule.network import Network
    from chainrule.tables.groups import GroupedModel
    from chainrule.tables.model import TableModel
    from chainrule.tables.source import Source

Taken = tuple[Any, Any, "Names | None"]


@dataclass(frozen=True)
class Loaded:
    """A network, the number of rows in the file, and a function for some: X, y and their names."""

    network: Network
    n_rows: int
    take: Callable[[slice], Taken]
    table: TableModel | None = None


def load(
    model: str,
    data: str,
    reading: dict[str, Any],
    label: str | None = None,
    leave_out: bool = False,
) -> Loaded:
    """Load a model and open a file of samples for it, by columns if the model has them.

    Rows of a table without a target are an error, or left out with ``leave_out``.
    """
    table = load_table(model, reading["missing"], reading["of"])
    if table is not None:
        return _columns(table.member(reading["member"]), data, reading, label, leave_out)
    mine = {
        "--label": (label, None),
        "--delimiter": (reading["delimiter"], None),
        "--decimal": (reading["decimal"], "."),
        "--encoding": (reading["encoding"], "utf-8"),
        "--missing": (reading["missing"], ()),
        "--member": (reading["member"], None),
        "--of": (reading["of"], None),
    }
    for option, (given, unsaid) in mine.items():
        if given != unsaid:
            raise click.UsageError(
                f"{option} is for models of tables, but {model} is a network without columns"
            )
    network = load_network(model)
    samples = tables.read(data, network, reading["header"])
    return Loaded(network, len(samples), lambda rows: (samples.X[rows], samples.y[rows], None))


def load_tables(model: str, missing: Sequence[str] = ()) -> TableModel | GroupedModel | None:
    """Load the model of a table, or those of its groups; None for a network without columns.

    ``missing`` are more texts that stand for no value.
    """
    from chainrule.tables.groups import load

    table = load(model)
    return table.with_missing(missing) if table is not None and missing else table


def load_table(model: str, missing: Sequence[str] = (), of: str | None = None) -> TableModel | None:
    """Load one model of a table: that of the group ``of``, if there is one for each group."""
    from chainrule.tables.groups import GroupedModel

    table = load_tables(model, missing)
    if isinstance(table, GroupedModel):
        return table.one(of)
    if table is not None and of is not None:
        raise click.UsageError(f"--of is for models from train --by, but {model} has one model")
    return table


def open_table(path: str, reading: dict[str, Any]) -> Source:
    """Open a table with the reading options of a command; "-" is the standard input.

    A pattern, such as data/*.parquet, is one table in many files.
    """
    from chainrule.storage import addresses
    from chainrule.tables.opening import open_stream
    from chainrule.tables.opening import open_table as open_source
    from chainrule.tables.source import Reading

    _spare_pandas()
    names = ("header", "delimiter", "decimal", "encoding")
    said = Reading(**{name: reading[name] for name in names})
    if path != "-" and (addresses.is_pattern(path) or addresses.is_remote(path)):
        from chainrule.tables.many_files import Files

        return Files(addresses.found([path]), said)
    if path != "-":
        return open_source(path, said)
    if sys.stdin is None:
        raise click.UsageError("the standard input is closed; pass the path of a file")
    return open_stream(sys.stdin.buffer, said, "the standard input")


@contextmanager
def on_workers(source: Source, address: str | None, trains_there: bool) -> Iterator[None]:
    """Take the statistics of a table in many files on the workers of a place, in this block.

    One file is read here, if the workers have to do with the training.
    """
    if address is None:
        yield
        return
    from chainrule.places import opened
    from chainrule.tables.many_files import Files

    if not isinstance(source, Files):
        if trains_there:
            yield
            return
        raise click.UsageError(
            "--workers shares files out; expected a pattern in quotes as DATA, such as "
            "'data/*.parquet', or --micro-batches M to train there"
        )
    try:
        with opened(address, "--workers") as place, source.on(place):
            yield
    except RuntimeError as error:  # of the workers
        raise click.ClickException(str(error)) from error


def _spare_pandas() -> None:
    """Let PyArrow find no pandas: it would import it with the first array, for half a second.

    Commands pass PyArrow no dataframe. PyArrow looks once, so that others may import pandas later.
    """
    if "pandas" in sys.modules:
        return
    nothing = _NoPandas()
    sys.meta_path.insert(0, nothing)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(nothing)


class _NoPandas(MetaPathFinder):
    """A finder that says that there is no pandas."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Raise ModuleNotFoundError for pandas; leave all else to other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not needed here", name=fullname)


def _columns(
    table: TableModel, data: str, reading: dict[str, Any], label: str | None, leave_out: bool
) -> Loaded:
    from chainrule.tables.naming import names
    from chainrule.tables.source import no_rows

    source = open_table(data, reading)
    table.check_columns(source)
    n_rows = sum(batch.num_rows for batch in source.batches(source.names[:1]))
    if not n_rows:
        raise no_rows(data)

    def take(rows: slice) -> Taken:
        X, y, batch, notes = table.samples(source, rows, label, leave_out)
        if n := rows.stop - rows.start - len(X):
            note(without_target(n))
        for line in notes.words(table.schema, source):
            note(line)
        return X, y, names(table.schema, source, batch, rows.start)

    return Loaded(table.network, n_rows, take, table)

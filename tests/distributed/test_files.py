"""A dataset in files, of which each worker reads its own rows: the bits of one table here."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import chainrule as cr
from chainrule import distributed
from chainrule.distributed.files import Files
from tests.clusters import ENGINES
from tests.distributed.workers import working
from tests.settings import DTYPES

N = 203
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 2))
CLASSES = np.arange(N) % 3
WEIGHTS = RNG.uniform(0, 700, size=N)
WEIGHTS[:60] = 0
INPUTS = ["x0", "x1", "x2", "x3"]
TABLE = pa.table(
    {name: X[:, j] for j, name in enumerate(INPUTS)}
    | {"y0": Y[:, 0], "y1": Y[:, 1], "class": CLASSES.astype(np.int8), "weight": WEIGHTS}
    | {"name": [f"row {i}" for i in range(N)]}
)
CUTS = [0, 0, 7, 90, 90, 150, N]  # two files are empty
HOW: dict[str, Any] = {"epochs": 3, "batch_size": 24, "micro_batches": 6, "verbose": 0}


def write(table: pa.Table, path: Path, rows: int = 20) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=rows)
    else:
        feather.write_feather(table, path, chunksize=rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table in uneven files of both formats."""
    made = tmp_path_factory.mktemp("data")
    for i, (first, last) in enumerate(itertools.pairwise(CUTS)):
        ending = "arrow" if i in (1, 4) else "parquet"
        write(TABLE.slice(first, last - first), made / f"part-{i}.{ending}", 13 + i)
    return made


def numbers(folder: Path, **more: Any) -> Files:
    return Files(folder / "*", **{"x": INPUTS, "y": ["y0", "y1"], **more})


def network(sizes: tuple[int, ...] = (4, 7, 2), **more: Any) -> cr.Network:
    return cr.Network(sizes, hidden="tanh", seed=3, **more)


def classifier() -> cr.Network:
    return network((4, 6, 3), output="softmax", loss="cross_entropy")


def assert_same(net: cr.Network, history: Any, here: cr.Network, alone: Any) -> None:
    np.testing.assert_array_equal(net.parameters, here.parameters)
    for column in alone:
        if column != "seconds":
            assert history[column] == alone[column], column


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_here(dtype: str, folder: Path) -> None:
    here, net = (network(dtype=dtype, dropout=0.2, l2=0.01) for _ in range(2))
    more = {"metrics": ["mean_squared_error"], "validation_data": (X[:50], Y[:50]), **HOW}
    alone = here.fit(X, Y, sample_weight=WEIGHTS, **more)
    history = distributed.fit(net, numbers(folder, weight="weight"), **more)
    assert_same(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES, indirect=True)
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_any_number_of_workers_gives_the_bits_of_one_table(
    workers: int, folder: Path, on: Any
) -> None:
    here, net = (network(dtype="float32", dropout=0.2) for _ in range(2))
    alone = here.fit(X, Y, sample_weight=WEIGHTS, **HOW)
    dataset = numbers(folder, weight="weight")
    history = distributed.fit(net, dataset, on=on, workers=workers, **HOW)
    assert_same(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 2: 0.5}])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_and_their_weights(
    weighted: bool, class_weight: Any, folder: Path, on: Any, capsys: Any
) -> None:
    """Also the metrics of all rows, and what is said of the cost."""
    here, net = classifier(), classifier()
    more = {**HOW, "class_weight": class_weight, "shuffle": weighted}
    alone = here.fit(X, CLASSES, sample_weight=WEIGHTS if weighted else None, **more)
    dataset = numbers(folder, y="class", weight="weight" if weighted else None)
    history = distributed.fit(net, dataset, on=on, workers=3, **{**more, "verbose": 1})
    assert_same(net, history, here, alone)
    assert "accuracy" in history
    assert "4-6-3, batch 24, 3 workers: about" in capsys.readouterr().err


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_a_worker_that_is_killed_while_it_reads_or_trains(folder: Path, on: Any) -> None:
    long = {**HOW, "epochs": 12, "batch_size": 6}
    here, net = network((4, 40, 2)), network((4, 40, 2))
    alone = here.fit(X, Y, **long)
    killed: list[int] = []

    def kill() -> None:
        killed.append(working(on)[-1])
        os.kill(killed[-1], signal.SIGKILL)

    threading.Timer(0.1, kill).start()

    def again(run: Any) -> None:
        if run.epoch == 3:
            threading.Timer(0.02, kill).start()

    history = distributed.fit(
        net, numbers(folder), on=on, workers=(1, 4), callbacks=[again], **long
    )
    assert len(killed) == 2
    assert_same(net, history, here, alone)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_a_run_goes_on_elsewhere(folder: Path, tmp_path: Path, on: Any) -> None:
    here, net = network(), network()
    alone = here.fit(X, Y, **HOW)
    for epochs, where in ((1, on), (2, None), (3, on)):
        more = {**HOW, "epochs": epochs, "on": where, "checkpoint": tmp_path, "resume": True}
        history = distributed.fit(net, numbers(folder), **more)
    assert_same(net, history, here, alone)
    with pytest.raises(ValueError, match="other numbers here"):
        distributed.fit(network(), numbers(folder, y=["y1", "y0"]), **more)


def wrong(folder: Path, name: str, **columns: Any) -> None:
    """A file after all others, with other columns, or without those that are None."""
    table = TABLE.slice(0, 5)
    for column, values in columns.items():
        table = table.drop_columns(column)
        if values is not None:
            table = table.append_column(column, values)
    write(table, folder / name)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x1": pa.array([0.0, None, 2, 3, 4])}, r"z.parquet, row 1, column 'x1' is empty; every"),
        ({"x2": pa.array([0, 1, 2, np.nan, 4])}, "z.parquet, row 3, column 'x2' is nan; every"),
        ({"y1": pa.array([0, 1, 2, 3, np.inf])}, "z.parquet, row 4, column 'y1' is inf; every"),
        ({"x2": pa.array([0, 1, 1e39, 3, 4])}, r"column 'x2' is 1e\+39; too large for float32"),
        ({"weight": pa.array([0, 1.0, -2, 3, 4])}, "row 2, column 'weight' is -2; weights are 0"),
    ],
)
@pytest.mark.parametrize("here", [False, True])
def test_wrong_numbers_are_found_before_training(
    columns: dict[str, Any], words: str, here: bool, tmp_path: Path, on: Any
) -> None:
    write(TABLE.slice(0, 90), tmp_path / "a.parquet")
    wrong(tmp_path, "z.parquet", **columns)
    net, called = network(dtype="float32"), list[Any]()
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=words):
        distributed.fit(
            net, numbers(tmp_path, weight="weight"), on=None if here else on,
            callbacks=[called.append], checkpoint=tmp_path / "run", **HOW,
        )  # fmt: skip
    np.testing.assert_array_equal(net.parameters, before)
    assert not called
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x1": None}, "z.parquet has no column 'x1'; it has 'x0'"),
        ({"x1": pa.array(range(5))}, r"z.parquet: column 'x1' is of type int64; in .*a.parquet it"),
        ({"x1": pa.array(list("abcde"))}, "z.parquet: column 'x1' is of type string; expected num"),
    ],
)
def test_schemas_differ(columns: dict[str, Any], words: str, tmp_path: Path) -> None:
    write(TABLE.slice(0, 90), tmp_path / "a.parquet")
    wrong(tmp_path, "z.parquet", **columns)
    with pytest.raises(ValueError, match=words):
        distributed.fit(network(), numbers(tmp_path), **HOW)


def test_what_does_not_fit(folder: Path, tmp_path: Path) -> None:
    net = network()
    for words, dataset, more in (
        (r"x has 3 columns .*; the network has 4 inputs", numbers(folder, x=INPUTS[:3]), {}),
        (r"y is the column 'y0' of type double", numbers(folder, y="y0"), {}),
        (
            "y has 3 columns; the network has 2 outputs",
            numbers(folder, y=["y0", "y1", "class"]),
            {},
        ),
        (r"row 2: 'class' is class 2; 2 outputs have", numbers(folder, y="class"), {}),
        ("class_weight needs", numbers(folder), {"class_weight": "balanced"}),
        ("class_weight names class 5", numbers(folder), {"class_weight": {5: 1.0}}),
        ("accuracy after the loss", numbers(folder), {"metrics": ["accuracy"]}),
        ("multiple of micro_batches", numbers(folder), {"batch_size": 25}),
    ):
        before = net.parameters.copy()
        with pytest.raises(ValueError, match=words):
            distributed.fit(net, dataset, **{**HOW, **more})
        np.testing.assert_array_equal(net.parameters, before)
    write(TABLE.slice(0, 9).set_column(7, "weight", pa.array([0.0] * 9)), tmp_path / "w.arrow")
    with pytest.raises(ValueError, match="the weight is 0 for every row"):
        distributed.fit(net, numbers(tmp_path, weight="weight"), **HOW)
    write(TABLE.slice(0, 0), tmp_path / "w.arrow")
    with pytest.raises(ValueError, match=r"w.arrow has zero rows; expected one or more"):
        distributed.fit(net, numbers(tmp_path), **HOW)
    (tmp_path / "w.arrow").write_text("x0,y0\n")
    with pytest.raises(ValueError, match=r"w.arrow is neither Parquet nor Arrow"):
        distributed.fit(net, numbers(tmp_path), **HOW)
    for name in ("w.arrow", "w.parquet"):
        write(TABLE, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=f"{name} is damaged or cut short"):
            distributed.fit(net, numbers(tmp_path), **HOW)
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="no file fits"):
        Files(tmp_path / "*.parquet", y="y0")
    with pytest.raises(FileNotFoundError):
        Files(tmp_path / "none.parquet", y="y0")
    with pytest.raises(ValueError, match="the column 'y0' is named twice"):
        Files(folder / "*", y="y0", x=["x0", "y0"])
    with pytest.raises(TypeError, match="y must name columns, got 3"):
        Files(folder / "*", y=[3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="x must be a list of columns, got 'x0'"):
        Files(folder / "*", y="y0", x="x0")


def test_all_other_columns_are_inputs(tmp_path: Path) -> None:
    write(TABLE.drop_columns(["name", "class"]), tmp_path / "a.parquet")
    here, net = network(), network()
    here.fit(X, Y, sample_weight=WEIGHTS, **HOW)
    dataset = Files([tmp_path / "a.parquet"], y=["y0", "y1"], weight="weight")
    distributed.fit(net, dataset, **HOW)
    np.testing.assert_array_equal(net.parameters, here.parameters)


@pytest.mark.parametrize("on", ENGINES[:1], indirect=True)
def test_a_file_that_changes_is_noticed(tmp_path: Path, on: Any) -> None:
    write(TABLE, tmp_path / "a.parquet")
    dataset = numbers(tmp_path)
    table = dataset.described(network())
    write(TABLE.slice(0, 90), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet changed since the training began"):
        distributed.fit(network(), table, on=on, workers=2, **HOW)


def test_only_the_row_groups_of_a_shard_are_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    original = parquet.ParquetFile.iter_batches

    def noted(self: Any, size: int, row_groups: list[int], **more: Any) -> Any:
        asked.append(row_groups)
        return original(self, size, row_groups=row_groups, **more)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", noted)
    table = numbers(folder).described(network())
    assert asked == []
    (found,) = table.read(range(30, 33))  # rows 23 to 25 of the third file, in groups of 15
    np.testing.assert_array_equal(found.X, X[30:33])
    assert asked == [[1]]


@pytest.mark.needs("dask")
def test_files_at_addresses(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for i, ending in enumerate(("arrow", "parquet")):
        write(TABLE.slice(100 * i, 100 + 3 * i), tmp_path / f"{i}.{ending}")
        system.pipe_file(f"/files/{i}.{ending}", (tmp_path / f"{i}.{ending}").read_bytes())
    here, net = network(), network()
    here.fit(X, Y, **HOW)
    dataset = Files("memory://files/*", x=INPUTS, y=["y0", "y1"])
    distributed.fit(net, dataset, **HOW)
    np.testing.assert_array_equal(net.parameters, here.parameters)
    system.rm("/files", recursive=True)


def test_classes_whose_rows_all_weigh_nothing_are_an_error(tmp_path: Path) -> None:
    """The classes that count have rows, but none of weight: as for arrays."""
    weight = np.where(CLASSES == 1, WEIGHTS + 1, 0)
    table = TABLE.set_column(TABLE.schema.get_field_index("weight"), "weight", [weight])
    write(table, tmp_path / "0.parquet")
    files = Files(tmp_path / "*", x=INPUTS, y="class", weight="weight")
    how = {**HOW, "class_weight": {0: 2.0, 1: 0.0, 2: 1.0}}
    for dataset in (files, (X, CLASSES, weight)):
        net = classifier()
        before = net.parameters.copy()
        with pytest.raises(ValueError, match="leaves every sample a weight of 0"):
            distributed.fit(net, dataset, **how)
        np.testing.assert_array_equal(net.parameters, before)


PEAK = """
import sys
import numpy as np
import chainrule as cr
from chainrule import distributed

def peak():  # of this program: that of getrusage begins with its parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

def fit(files, memory):
    net = cr.Network([400, 4, 1], seed=0, dtype="float32")
    distributed.fit(
        net, distributed.Files(files, y="y", memory=memory), epochs=2, batch_size=1600,
        micro_batches=16, verbose=0,
    )

fit(sys.argv[1] + "/0.parquet", 1 << 30)
before = peak()
fit(sys.argv[1] + "/*", int(sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured on Linux")
def test_memory_stays_within_what_is_allowed(tmp_path: Path) -> None:
    """Of 320 MB of rows, 40 MB may be held; with an allowance for all of them, they are."""
    rng = np.random.default_rng(0)
    for i in range(10):
        numbers = rng.normal(size=(20_000, 400)).astype(np.float32)
        columns = {f"x{j}": numbers[:, j] for j in range(400)} | {"y": numbers[:, 0]}
        write(pa.table(columns), tmp_path / f"{i}.parquet", 5_000)
    grown = [
        int(subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path, str(memory)], capture_output=True, text=True,
            check=True,
        ).stdout) for memory in (40 << 20, 1 << 30)
    ]  # fmt: skip
    assert grown[0] < 80 << 20, grown
    assert grown[1] > 120 << 20, grown


@pytest.mark.needs("dask")
def test_nothing_is_left_in_the_folder_of_temporary_files(folder: Path, tmp_path: Path) -> None:
    script, temporary = tmp_path / "script.py", tmp_path / "tmp"
    temporary.mkdir()
    script.write_text(
        "import sys, chainrule as cr\n"
        "from chainrule import distributed\n"
        "if __name__ == '__main__':\n"
        f"    files = distributed.Files({str(folder / '*')!r}, x={INPUTS}, y='class')\n"
        "    net = cr.Network([4, int(sys.argv[1])], output='softmax', loss='cross_entropy')\n"
        "    distributed.fit(net, files, on='dask://local:2', epochs=1, batch_size=16, verbose=0)\n"
    )
    for units in (3, 2):  # the second is an error
        run = subprocess.run(
            [sys.executable, script, str(units)], capture_output=True, text=True,
            env=os.environ | {"TMPDIR": str(temporary)}, timeout=300,
        )  # fmt: skip
        assert run.returncode == (units == 2)
        assert ("is class 2; 2 outputs have classes 0 to 1" in run.stderr) == (units == 2)
        assert list(temporary.iterdir()) == []

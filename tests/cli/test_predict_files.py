"""`chainrule predict` on several files: here, on workers of Dask and Ray, and on S3."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from chainrule.tables import folder as kept
from tests.cli.people import TRAIN, Run, folder, people, run  # noqa: F401
from tests.clusters import ENGINES

COUNT = 4


@pytest.fixture
def parts(run: Run) -> Run:
    """A model, and four files of people in two formats."""
    run(*TRAIN, "--epochs", "2", "--no-plot")
    os.makedirs("data/more")
    for i in range(COUNT):
        part = people(30 + i, seed=i + 1)
        if i % 2:
            part.to_parquet(f"data/part-{i}.parquet")
        else:
            part.to_csv(f"data/part-{i}.csv", index=False)
    return run


def outputs(path: str = "out") -> dict[str, bytes]:
    """What the folder has, without the record."""
    found = (file for file in Path(path).rglob("*") if file.is_file())
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in found
        if file.name != kept.RECORD
    }


def expected(run: Run) -> dict[str, bytes]:
    """The outputs of a command for each file."""
    os.makedirs("single", exist_ok=True)
    for file in sorted(Path("data").glob("part-*")):
        assert run("predict", "model", str(file), "--out", f"single/{file.name}")[0] == 0
    return outputs("single")


def test_each_file_has_the_output_of_its_own_command(parts: Run) -> None:
    code, out, err = parts("predict", "model", "data/part-*", "--out", "out")
    assert (code, out) == (0, "")
    assert "4 files predicted, 126 rows\n" in err
    assert re.search(r"126 rows have the target; on these: accuracy 0\.\d+, log loss \d", err)
    assert outputs() == expected(parts)
    named = sorted(map(str, Path("data").glob("part-*")))
    assert parts("predict", "model", *named, "--out", "again")[0] == 0
    assert outputs("again") == outputs()


def test_the_measures_of_all_files_are_those_of_one(parts: Run) -> None:
    frames = [people(30 + i, seed=i + 1) for i in range(COUNT)]
    pd.concat(frames).to_csv("whole.csv", index=False)
    whole = parts("predict", "model", "whole.csv", "--out", "whole-out.csv")[2]
    err = parts("predict", "model", "data/part-*", "--out", "out")[2]
    for name in ("accuracy", "log loss"):
        pattern = rf"[ ,]{name} (\d\.\d+)"
        one, other = re.search(pattern, whole), re.search(pattern, err)
        assert one is not None
        assert other is not None
        assert one[1] == other[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_on_workers(engine: str, parts: Run) -> None:
    Path("data/part-9.csv").write_text("age,colour\n1,red\n")
    on = ("--workers", f"{engine}://local:2")
    code, _, err = parts("predict", "model", "data/part-*", "--out", "out", *on)
    assert code == 2
    assert "data/part-9.csv lacks column" in err
    assert "1 file of 5 could not be predicted" in err
    os.unlink("data/part-9.csv")
    assert outputs() == expected(parts)


def test_a_second_run_does_what_is_missing_or_has_changed(parts: Run) -> None:
    command = ("predict", "model", "data/part-*", "--out", "out")

    def again(*more: str) -> tuple[set[str], str]:
        """Which outputs are written once more, and what is said."""
        before = {path: os.stat(path).st_ino for path in Path("out").glob("part-*")}
        code, _, err = parts(*command, *more)
        assert code == 0
        now = {path: os.stat(path).st_ino for path in Path("out").glob("part-*")}
        return {path.name for path in now if before.get(path) != now[path]}, err

    assert len(again()[0]) == 4
    done, err = again()
    assert done == set()
    assert "0 files predicted, 0 rows; 4 files done before" in err
    os.unlink("out/part-1.parquet")
    assert again()[0] == {"part-1.parquet"}
    Path("out/part-2.csv").write_text("cut")  # half a file, which is not what was written
    assert again()[0] == {"part-2.csv"}
    people(31, seed=9).to_csv("data/part-0.csv", index=False)
    assert again()[0] == {"part-0.csv"}
    people(5, seed=3).to_csv("data/part-4.csv", index=False)
    assert again()[0] == {"part-4.csv"}
    assert len(again("--keep", "id")[0]) == 5
    assert again("--keep", "id")[0] == set()
    parts(*TRAIN, "--epochs", "3", "--no-plot")
    done, err = again("--keep", "id")
    assert len(done) == 5
    assert "of another model or other options; all are made" in err
    Path("out", kept.RECORD).write_text("{")
    assert len(again("--keep", "id")[0]) == 5


def test_what_is_wrong_with_a_file_leaves_the_others(parts: Run) -> None:
    lines = Path("data/part-0.csv").read_text().splitlines()
    Path("data/part-0.csv").write_text("\n".join([*lines, "1,2"]))
    Path("data/part-1.parquet").write_bytes(b"PAR1PAR1")
    Path("data/part-5.csv").write_text("")
    code, _, err = parts("predict", "model", "data/part-*", "--out", "out")
    assert code == 2
    assert re.search(r"data/part-0\.csv, line 32: found 2 columns; expected 8", err)
    assert "data/part-1.parquet is damaged or cut short" in err
    assert "data/part-5.csv is empty" in err
    assert "2 files predicted" in err
    assert err.endswith(
        "chainrule: 3 files of 5 could not be predicted; repeat the command for them when they are "
        "corrected\n"
    )
    assert set(outputs()) == {"part-2.csv", "part-3.parquet"}
    Path("data/part-0.csv").write_text("\n".join(lines))
    code, _, err = parts("predict", "model", "data/part-[0-3]*", "--out", "out")
    assert "1 file predicted, 30 rows; 2 files done before" in err


def test_a_large_file_becomes_several(parts: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = people(300, seed=5)
    whole.loc[250, "age"] = 1e300
    whole.to_parquet("data/big.parquet", row_group_size=40, index=False)
    assert pq.ParquetFile("data/big.parquet").num_row_groups == 8
    big = ("predict", "model", "data/big.parquet", "--keep", "id")
    code, _, err = parts(*big, "--format", "csv", "--out", "out")
    assert (code, err.count("data/big.parquet, row 250, column 2 (age)")) == (2, 1)
    whole.loc[250, "age"] = 30.0
    whole.to_parquet("data/big.parquet", row_group_size=40, index=False)
    assert parts(*big, "--out", "one.parquet")[0] == 0
    size = pq.ParquetFile("data/big.parquet").metadata.row_group(0).total_byte_size
    monkeypatch.setattr(kept, "LARGE", int(3.5 * size))
    whole.loc[250, "age"] = 1e300
    whole.to_parquet("data/bad.parquet", row_group_size=40, index=False)
    code, _, err = parts(*big, "data/bad.parquet", "--out", "several")
    assert code == 2
    assert "data/bad.parquet, row 250, column 2 (age)" in err
    names = sorted(name for name in outputs("several") if name.startswith("big"))
    assert names == [f"big-0000{i}-of-00003.parquet" for i in range(3)]
    frames = [pd.read_parquet(f"several/{name}") for name in names]
    pd.testing.assert_frame_equal(
        pd.concat(frames, ignore_index=True), pd.read_parquet("one.parquet")
    )
    err = parts(*big, "data/bad.parquet", "--out", "several")[2]
    assert "0 files predicted, 0 rows; 5 files done before" in err


def test_a_kill_leaves_whole_outputs_which_are_not_made_again(
    parts: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept.predict_file
    seen: list[str] = []

    def killed(shared: Any, job: kept.Job, threads: int | None) -> kept.Done:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(job.name)
        return whole(shared, job, threads)

    with monkeypatch.context() as patched:
        patched.setattr(kept, "predict_file", killed)
        assert parts("predict", "model", "data/part-*", "--out", "out")[0] == 130
    assert set(outputs()) == set(seen)
    err = parts("predict", "model", "data/part-*", "--out", "out")[2]
    assert "2 files predicted" in err
    assert "2 files done before" in err


def test_names_of_the_outputs(parts: Run) -> None:
    people(5).to_csv("data/more/part-0.csv", index=False)
    with gzip.open("data/more/packed.csv.gz", "wb") as file:
        file.write(Path("data/more/part-0.csv").read_bytes())
    people(5).to_json("data/more/lines.ndjson", orient="records", lines=True, date_format="iso")
    code, _, err = parts("predict", "model", "data/**/*", "--out", "out")
    assert code == 0, err
    assert set(outputs()) == {
        "part-0.csv", "part-1.parquet", "part-2.csv", "part-3.parquet", "more/part-0.csv",
        "more/packed.csv", "more/lines.jsonl",
    }  # fmt: skip
    assert parts("predict", "model", "data/part-*", "--out", "p", "--format", "parquet")[0] == 0
    assert {Path(name).suffix for name in outputs("p")} == {".parquet"}
    assert next(iter(pd.read_parquet("p/part-0.parquet"))) == "label"
    assert parts("predict", "model", "data/part-*", "--out", "j", "--json")[0] == 0
    assert {Path(name).suffix for name in outputs("j")} == {".jsonl"}
    Path("data/part-0.csv.gz").write_bytes(Path("data/more/packed.csv.gz").read_bytes())
    code, _, err = parts("predict", "model", "data/part-0*", "--out", "q")
    assert code == 2
    assert "data/part-0.csv and data/part-0.csv.gz would both become part-0.csv" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data/part-*",), "--out is missing; expected a folder"),
        (("data/part-*", "--out", "model"), "--out is model, a file; expected a folder"),
        (("data/nothing-*", "--out", "out"), "no file fits data/nothing-*"),
        (("data/part-0.csv", "no.csv", "--out", "out"), "no.csv: No such file"),
        (("data/part-0.csv", "-", "--out", "out"), "the standard input (-) is one table"),
        (("data/part-*", "--out", "data"), "would overwrite data/part-0.csv, which is an input"),
        (
            ("data/part-*", "--out", "out", "--workers", "spark://x"),
            "--workers is 'spark://x'; expected 'dask://local'",
        ),
        (("data/part-*", "--out", "out", "--keep", "nope"), "there is no column 'nope' to keep"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str, parts: Run) -> None:
    code, out, err = parts("predict", "model", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("out").exists() or not outputs()


def test_an_address_of_fsspec(parts: Run) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    try:
        for file in sorted(Path("data").glob("part-*")):
            memory.pipe_file(f"/in/{file.name}", file.read_bytes())
        command = ("predict", "model", "memory://in/part-*", "--out", "memory://out/p")
        code, _, err = parts(*command)
        assert code == 0, err
        found = {Path(name).name: memory.cat_file(name) for name in memory.find("/out/p")}
        record = json.loads(found.pop(kept.RECORD))
        assert set(record["files"]) == set(found)
        assert found == expected(parts)
        assert "4 files done before" in parts(*command)[2]
        memory.pipe_file("/in/part-0.csv", Path("data/part-2.csv").read_bytes())
        assert "1 file predicted, 32 rows; 3 files done before" in parts(*command)[2]
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]


@pytest.mark.needs("s3", "dask")
@pytest.mark.parametrize("workers", [(), ("--workers", "dask://local:2")])
def test_s3(workers: tuple[str, ...], s3: Any, parts: Run) -> None:
    for file in sorted(Path("data").glob("part-*")):
        s3.pipe_file(f"bucket/in/{file.name}", file.read_bytes())
    s3.pipe_file("bucket/in/part-bad.csv", b"age,colour\n1,red\n")
    command = ("predict", "model", "s3://bucket/in/part-*", "--out", "s3://bucket/out", *workers)
    code, _, err = parts(*command)
    assert code == 2
    assert "s3://bucket/in/part-bad.csv lacks column" in err
    s3.invalidate_cache()
    found = {Path(name).name: s3.cat_file(name) for name in s3.find("bucket/out")}
    found.pop(kept.RECORD)
    assert found == expected(parts)
    s3.rm_file("bucket/in/part-bad.csv")
    assert "0 files predicted, 0 rows; 4 files done before" in parts(*command)[2]

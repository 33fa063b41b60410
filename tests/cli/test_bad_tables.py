"""Tables and arguments that `chainrule train` refuses."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chainrule.tables import profile
from tests.cli.people import TRAIN, Run, folder, people, run, start  # noqa: F401

# --- bad tables -----------------------------------------------------------------------------------

BAD: dict[str, tuple[str | bytes, str]] = {
    "no header": ("1.5,a,yes\n2.5,b,no\n", "people.csv seems to have no header"),
    "ragged": ("x,label\n1,yes\n2,no,3\n", "people.csv, line 3: found 3 columns; expected 2, as"),
    "constant target": ("x,label\n" + "1,yes\n" * 20, "the target 'label' is yes in every row"),
    "a row for each class": (
        "x,label\n" + "".join(f"{i % 3},c{i}\n" for i in range(20)),
        "the target 'label' has a different class in each of its 20 rows",
    ),
    "nothing but a column without values": (
        "x,label\n" + ",yes\n,no\n" * 10,
        "no column is left to learn from ('x': it has no value in any row)",
    ),
    "two of a name": ("x,x,label\n1,2,yes\n", "columns 1 and 2 are both named 'x'"),
    "empty": ("", "people.csv is empty"),
    "header alone": ("x,label\n", "people.csv has a header and no rows"),
    "wrong encoding": ("x,label\nM\xfcller,yes\n".encode("latin-1"),
                       "people.csv, line 2 is not text in UTF-8 (byte 0xfc near"),
    "no such column": ("x,y\n1,2\n", "there is no column 'label'; people.csv has 'x', 'y'"),
    "text among numbers": (
        "x,label\n" + "1,yes\n2,no\n" * 20 + "many,no\n",
        ("people.csv, line 42, column 1 (x): 'many' is not a finite number, but 40 of 41 cells of"
        " this column are. Correct it, or say what it is: --missing many (no value) or --catego"),
    ),
    "infinity": ("x,label\n" + "1,yes\n2,no\n" * 20 + "inf,no\n", "'inf' is not a finite number"),
    "too few rows": ("x,label\n" + "1,yes\n2,no\n" * 4, "8 rows have a target; training,"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_tables(name: str, run: Run) -> None:
    content, message = BAD[name]
    Path("people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = run(*TRAIN)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("chainrule: ")
    assert err.count("\n") == 1
    assert os.listdir() == ["people.csv"]


def test_a_column_without_values_is_left_out(run: Run) -> None:
    assert "  left out  empty   it has no value in any row" in run(*TRAIN, "--epochs", "1")[1]


def test_a_text_at_row_a_million(run: Run) -> None:
    rows = 1_000_000
    with Path("people.csv").open("w") as file:
        file.write("x,label\n")
        file.write("1,yes\n2.5,no\n" * (rows // 2))
        file.write("n.a.,yes\n3,no\n")
    code, _, err = run(*TRAIN)
    assert code == 2
    assert (
        "people.csv, line 1000002, column 1 (x): 'n.a.' is not a finite number, but 1,000,001 of"
        in err
    )
    assert "--missing n.a." in err


def test_a_table_that_changes_while_it_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    look = profile.look

    def look_and_write(*arguments: Any) -> Any:
        found = look(*arguments)
        with Path("people.csv").open("a") as file:
            file.write("1,2\n")
        return found

    monkeypatch.setattr(profile, "look", look_and_write)
    code, _, err = run(*TRAIN)
    assert code == 2
    assert "people.csv changed while it was being read. Start again when nothing writes" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "people.csv", "--target", "label"], "Missing option '--out'"),
        (["train", "people.csv", "--out", "model"], "Missing option '--target'"),
        (["train", "none.csv", *TRAIN[2:]], "none.csv: No such file or directory"),
        (["train", ".", *TRAIN[2:]], ".: Is a directory"),
        ([*TRAIN[:-1], "people.csv"], "--out people.csv would overwrite people.csv"),
        ([*TRAIN[:-1], "."], ".: Is a directory"),
        ([*TRAIN[:-1], "none/model"], "none/model: No such file or directory"),
        ([*TRAIN, "--hidden", "64,x"], "'64,x' is not a list of units; expected 64,32 or"),
        ([*TRAIN, "--hidden", "0"], "'0' is not a list of units"),
        ([*TRAIN, "--activation", "softmax"], "softmax is for the output layer"),
        ([*TRAIN, "--activation", "rely"], "unknown activation 'rely'"),
        ([*TRAIN, "--test", "1"], "1.0 is not in the range"),
        ([*TRAIN, "--test", "0.5", "--validation", "0.45"], "leave too few rows to learn from"),
        ([*TRAIN, "--resume"], "--resume needs --checkpoint FOLDER"),
        ([*TRAIN, "--every", "often"],
         "'often' is not an interval; expected epochs, or a time such as 10m"),
        ([*TRAIN, "--date", "joined=%Y"], "line 2, column 4 (joined): '20"),
        ([*TRAIN, "--task", "regress"], "line 2, column 8 (label): '"),
        ([*TRAIN, "--encoding", "klingon"], "unknown encoding 'klingon'"),
        ([*TRAIN, "--encoding", "hex"], "unknown encoding 'hex'"),
        ([*TRAIN, "--encoding", "rot13"], "unknown encoding 'rot13'"),
        ([*TRAIN, "--encoding", "undefined"], "unknown encoding 'undefined'"),
        ([*TRAIN, "--delimiter", "ab"],
         "'--delimiter': 'ab' is not a delimiter; expected one ASCII character, such as ; or \\t"),
        ([*TRAIN, "--delimiter", "é"], "'--delimiter': 'é' is not a delimiter"),
        ([*TRAIN, "--delimiter", '"'], "'--delimiter': '\"' is not a delimiter"),
        ([*TRAIN, "--delimiter", "\\t"], "people.csv has one column, 'id,age,colour,"),
        ([*TRAIN, "--learning-rate", "nan"], "'--learning-rate': 'nan' is not a finite number"),
        ([*TRAIN, "--learning-rate", "inf"], "'--learning-rate': 'inf' is not a finite number"),
        ([*TRAIN, "--test", "nan"], "'--test': 'nan' is not a finite number"),
        ([*TRAIN, "--validation", "nan"], "'--validation': 'nan' is not a finite number"),
        ([*TRAIN, "--dropout", "nan"], "'--dropout': 'nan' is not a finite number"),
        ([*TRAIN, "--l2", "inf"], "'--l2': 'inf' is not a finite number"),
        ([*TRAIN, "--keep", "3"], "--keep needs --checkpoint FOLDER"),
        ([*TRAIN, "--every", "1"], "--every needs --checkpoint FOLDER"),
        (["train", "people.csv", "--target", "lable", "--out", "model"],
         "there is no column 'lable' (did you mean 'label'?); people.csv has 'id', 'age', 'colo"),
        (["predict", "none", "people.csv"], "none: No such file or directory"),
        (["predict", "people.csv", "people.csv"], "people.csv is not a chainrule model file"),
        (["inspect", "people.csv"], "people.csv is not a chainrule model file"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_2(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("chainrule: ")
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir() == ["people.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_no_room_for_temporary_files_is_one_line(folder: Path) -> None:
    import resource

    Path("temporary").mkdir()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # noqa: E731
    process = start(*TRAIN, preexec_fn=limit)
    out, err = process.communicate()
    assert (process.returncode, out.splitlines()[1:]) == (2, [])
    assert re.fullmatch(
        r"chainrule: \S*temporary: File too large; set TMPDIR to a folder .*\n", err
    )


def test_names_that_would_steer_a_terminal(run: Run) -> None:
    frame = people(60).rename(columns={"age": "a\x1b[2Jge", "colour": "line\nfeed"})
    frame.to_csv("people.csv", index=False)
    out = run(*TRAIN, "--epochs", "1")[1] + run("inspect", "model")[1]
    assert "\x1b" not in out
    assert "line\ufffdfeed" in out
    frame["more\x1b[2J"] = 1
    frame.loc[0, "line\nfeed"] = "pur\x9bple"
    frame["label"] = "may\x1bbe"
    frame.to_csv("new.csv", index=False)
    for arguments in (
        ("predict", "model", "new.csv", "--out", "p.csv"),
        ("check", "model", "--data", "new.csv"),
        ("predict", "model", "no\x1b[2Jfile.csv"),
        ("train", "no\x1b[2Jfile.csv", "--target", "x", "--out", "model"),
        ("inspect", "no\x1b[2Jfile"),
        ("train", "people.csv", "--target", "x\x1b[2J", "--out", "model"),
        ("train", "people.csv", "--target", "label", "--out", "no\x1b[2J/model"),
        ("explain", "model", "x[0\x1b]", "--data", "people.csv", "--row", "1"),
        ("explain", "model", "w[1][0,0]", "--data", "people.csv", "--row", "1"),
        ("explain", "model", "x[0]", "--data", "people.csv", "--notation", "\x1b", "--row", "1"),
    ):
        out = "".join(run(*arguments)[1:])
        assert out.replace("\n", "").isprintable(), arguments
        assert "\n" in out


def test_a_network_that_no_machine_holds(run: Run) -> None:
    code, _, err = run(*TRAIN, "--hidden", "999999999,999999999")
    assert code == 2
    assert re.search(
        r"chainrule: a network of \d+-999999999-999999999-2 units has 1,000,000,01\d(,\d{3}){3} "
        r"parameters; training it takes 1.6e\+10 GB, more than this machine has\. Use fewer units",
        err,
    )
    assert sorted(os.listdir()) == ["people.csv"]


def test_a_tab_may_be_written_in_two_characters(run: Run) -> None:
    people().to_csv("people.tsv", sep="\t", index=False)
    assert run("train", "people.tsv", *TRAIN[2:], "--epochs", "1", "--delimiter", r"\t")[0] == 0


def test_training_that_is_not_finite_is_one_line(run: Run) -> None:
    code, _, err = run(*TRAIN, "--learning-rate", "1e30")
    assert code == 2
    assert re.match(r"chainrule: training stopped in epoch 1, step \d+: .* not finite", err)
    assert not Path("model").exists()

"""`chainrule explain`, `check` and `inspect` on models of tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule.tables.opening import open_table
from tests.cli.people import TRAIN, Run, folder, loaded, people, run  # noqa: F401

# --- explain and check ----------------------------------------------------------------------------


def test_explain_speaks_of_columns(run: Run) -> None:
    run(*TRAIN)
    model = loaded()
    k = model.schema.inputs.index("age, standardised")
    row = int(np.flatnonzero(people().age.notna())[2])
    options = ("--data", "people.csv", "--row", str(row))
    code, out, err = run("explain", "model", "w[1][0,age]", *options)
    assert (code, err) == (0, "")
    assert "the weight from unit 0 of layer 0 (age, standardised) to unit 0 of layer 1" in out
    column = model.schema.columns[0]
    age = people().age[row]
    z = (age - column.mean[0]) / column.scale[0]
    assert re.search(
        rf"  age, standardised:\n    x₀ = \({age:g} − [\d.]+\)/[\d.]+ = −?{f'{abs(z):.6f}'[:6]}",
        out,
    )
    assert ": pass\n" in out
    out_of_cells = re.findall(r"= \((\S+) − (\S+)\)/(\S+) = (\S+)\n", out.replace("−(−", "+("))
    assert len(out_of_cells) == 2  # age, and the days of joined
    for cell, mean, scale, value in ([float(n.replace("−", "-")) for n in o] for o in out_of_cells):
        assert (cell - mean) / scale == pytest.approx(value, rel=2e-3)
    assert run("explain", "model", f"w[1][0,{k}]", *options)[1] == out
    assert run("explain", "model", f"w[1][0,{k}]", *options, "--format", "html")[0] == 0
    assert (
        "age, standardised" in run("explain", "model", "x[age]", *options, "--format", "latex")[1]
    )

    out = run("explain", "model", "x[colour=red]", *options)[1]
    assert "(colour=red)" in out
    for target in ("b[3][yes]", "b[3][label=yes]", "b[3][1]"):
        out = run("explain", "model", target, *options)[1]
        assert "the bias of unit 1 of layer 3 (probability of label=yes)" in out
    label = people().label[row]
    assert f"  1 for label=yes, else 0:\n    y₁ = {int(label == 'yes')}\n" in out
    assert re.search(r"  probability of label=yes:\n    a₁⁽³⁾ = [\d.e−]+\n", out)


def test_the_number_explained_is_that_of_training(run: Run) -> None:
    run(*TRAIN, "--epochs", "3")
    model = loaded()
    source = open_table("people.csv")
    X, y, _, _ = model.samples(source, slice(0, 20))
    value = float(model.network.gradient(X, y).dW[1][2, 0])
    out = run("explain", "model", "w[1][2,age]", "--data", "people.csv", "--rows", "0:20",
              "--format", "json")[1]  # fmt: skip
    assert json.loads(out)["value"] == value


def test_explain_without_the_target(run: Run) -> None:
    run(*TRAIN, "--epochs", "3")
    people().drop(columns="label").to_csv("new.csv", index=False)
    explain = ("explain", "model", "b[3][yes]", "--data", "new.csv", "--row", "3")
    code, _, err = run(*explain)
    assert code == 2
    assert "new.csv has no column 'label', the target, which the loss needs. Name its value" in err
    code, out, _ = run(*explain, "--label", "yes")
    assert code == 0
    assert "y₁ = 1" in out
    code, _, err = run(*explain, "--label", "perhaps")
    assert code == 2
    assert "--label: 'perhaps' is not a class of the model; expected one of 'no', 'yes'" in err


def test_explain_refuses(run: Run) -> None:
    run(*TRAIN, "--epochs", "2")
    frame = people()
    frame.loc[0, "label"] = "perhaps"
    frame.loc[1, "label"] = None
    frame.to_csv("new.csv", index=False)
    for arguments, message in (
        (["x[weight]", "--data", "people.csv", "--row", "0"],
         "x[weight]: there is no 'weight'; there are 'age', 'joined (days)'"),
        (["b[3][maybe]", "--data", "people.csv", "--row", "0"],
         "there is no 'maybe'; there are 'no', 'yes'"),
        (["b[1][maybe]", "--data", "people.csv", "--row", "0"], "is not a target"),
        (["x[age]", "--data", "people.csv", "--row", "240"],
         "there is no row 240; people.csv has rows 0 to 239"),
        (["x[age]", "--data", "people.csv"], "choose samples with --row N"),
        (["x[age]", "--data", "new.csv", "--row", "0"],
         "new.csv, line 2, column 8 (label): 'perhaps' is not a class of the model"),
        (["x[age]", "--data", "new.csv", "--rows", "0:3"], "line 2, column 8 (label): 'perhaps'"),
        (["x[age]", "--data", "new.csv", "--row", "1"],
         "new.csv, line 3, column 8 (label): the target is missing"),
    ):  # fmt: skip
        code, out, err = run("explain", "model", *arguments)
        assert (code, out) == (2, "")
        assert message in err
    chainrule.Network([2, 1], seed=0).save("net")
    Path("samples.csv").write_text("1,2,3\n")
    code, _, err = run("explain", "net", "x[0]", "--data", "samples.csv", "--label", "yes")
    assert code == 2
    assert "--label is for models of tables, but net is a network without columns" in err


def test_the_gradient_of_a_table_is_checked(run: Run) -> None:
    run(*TRAIN, "--epochs", "2", "--hidden", "4")
    for options, n in (((), 240), (("--rows", "0:30"), 30)):
        code, out, _ = run("check", "model", "--data", "people.csv", *options)
        assert code == 0
        assert re.search(rf"gradient: pass; all \d+ parameters checked on {n} samples", out)


def test_rows_without_a_target_are_not_checked(run: Run) -> None:
    frame = people()
    frame.loc[3:5, "label"] = None
    frame.to_csv("people.csv", index=False)
    run(*TRAIN, "--epochs", "2", "--hidden", "4")
    check = ("check", "model", "--data", "people.csv")
    code, out, err = run(*check)
    assert (code, err) == (0, "chainrule: 3 rows have no target and are left out\n")
    assert " checked on 237 samples" in out
    assert run(*check, "--rows", "0:4")[2] == "chainrule: 1 row has no target and is left out\n"
    code, _, err = run(*check, "--rows", "3:6")
    assert (code, err) == (
        2,
        "chainrule: people.csv has no target in rows 3:6; choose other rows\n",
    )


def test_data_are_read_as_said(run: Run) -> None:
    frame = people().rename(columns={"colour": "größe"})
    frame.to_csv("people.csv", index=False, sep=";", decimal=",", encoding="latin-1")
    how = ("--delimiter", ";", "--decimal", ",", "--encoding", "latin-1")
    assert run(*TRAIN, "--epochs", "2", *how)[0] == 0
    assert {c.name: c.kind for c in loaded().schema.columns}["age"] == "number"
    for command in (
        ("predict", "model", "people.csv"),
        ("explain", "model", "x[größe=red]", "--data", "people.csv", "--row", "0"),
        ("check", "model", "--data", "people.csv", "--rows", "0:2"),
    ):
        assert "is not text in UTF-8" in run(*command)[2]
        assert run(*command, *how)[0] == 0
    chainrule.Network([2, 1], seed=0).save("net")
    code, _, err = run("check", "net", "--data", "people.csv", "--decimal", ",")
    assert code == 2
    assert "--decimal is for models of tables, but net is a network without columns" in err


@pytest.mark.parametrize("command", ["train", "predict", "inspect"])
def test_help_teaches(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert "Example" in out
    assert f"chainrule {command} " in out
    assert max(map(len, out.splitlines())) <= 100


# --- inspect --------------------------------------------------------------------------------------


def test_inspect_says_what_a_model_is(run: Run) -> None:
    run(*TRAIN)
    code, out, err = run("inspect", "model")
    assert (code, err) == (0, "")
    for words in (
        "model: the model of a table", "network  Network(", "seed 0", "2 classes: no, yes",
        "  category  colour  3 categories: blue, green, red", "  left out  id      it numbers",
        "168 training, 24 validation, 48 test", "learning rate 0.003", "batch size 32",
        "on the 48 test rows", "stopped  by early stopping: val_loss has not", "balanced accuracy",
        f"by chainrule {chainrule.__version__}",
    ):  # fmt: skip
        assert words in out
    about = json.loads(run("inspect", "model", "--json")[1])
    assert about["table"]["target"]["classes"] == ["no", "yes"]
    assert about["table"]["inputs"] == loaded().schema.inputs
    assert about["network"]["parameters"] == loaded().network.parameters.size


def test_inspect_a_network_alone(run: Run) -> None:
    chainrule.Network([2, 3, 1], seed=7, dropout=0.5).save("net")
    code, out, _ = run("inspect", "net")
    assert code == 0
    assert out == (
        "net: a network\n"
        "network  Network(2-3-1: relu, identity; half_squared_error; 13 parameters, float64)\n"
        "         seed 7, l2 0, dropout 0.5\n"
    )
    assert "table" not in json.loads(run("inspect", "net", "--json")[1])

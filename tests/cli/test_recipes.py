"""`chainrule train --recipe`: what is chosen, what it says, and what becomes of the model."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.cli.people import TUNED, Run, folder, loaded, run
from tests.foreign.compiled import compile

__all__ = ["folder", "run"]
QUICK = ("--epochs", "12", "--plain", "--no-plot")


def test_the_recipe_is_tuned_by_default(run: Run) -> None:
    code, out, err = run(*TUNED, *QUICK)
    assert (code, err) == (0, "")
    assert "192 for training, validated on five folds of them, 48 for the test" in out
    assert re.search(r"recipe   (5|10) members of ", out)
    assert ", the best of 8 candidates" in " ".join(out.split())
    assert "the saved model has learned again, from all 240 rows" in " ".join(out.split())
    model = loaded()
    assert model.training["recipe"] == "tuned"
    assert model.training["refit_rows"] == 240
    members = model.training["members"]
    assert members in (5, 10)
    assert model.network.sizes[1:] == (members * 64, members * 32, 2)
    assert model.measures["model"]["accuracy"] > model.measures["baseline"]["accuracy"]
    assert f"recipe tuned, members {members}" in " ".join(run("inspect", "model")[1].split())


@pytest.mark.parametrize("options", [
    ("--recipe", "plain"), ("--patience", "3"), ("--validation", "0.2"), ("--group", "id"),
    ("--checkpoint", "run"), ("--members", "2"), ("--time", "joined"),
])  # fmt: skip
def test_what_the_tuned_recipe_has_not_makes_it_plain(options: tuple[str, str], run: Run) -> None:
    if options[0] != "--recipe":
        code, _, err = run(*TUNED, *QUICK, "--recipe", "tuned", *options)
        assert code == 2
        assert f"--recipe tuned and {options[0]} contradict each other" in err
        assert "Use --recipe plain." in err
    code, out, _ = run(*TUNED, "--plain", "--no-plot", "--epochs", "2", *options)
    assert code == 0
    assert "trained" in out
    assert loaded().network.sizes[1:] == (64, 32, 2)


def test_groups_are_trained_plainly(run: Run) -> None:
    code, _, err = run(*TUNED, *QUICK, "--recipe", "tuned", "--by", "colour")
    assert code == 2
    assert "--recipe tuned and --by contradict each other" in err
    assert run(*TUNED, "--plain", "--epochs", "2", "--by", "colour")[0] == 0


def test_settings_of_the_network_are_heard(run: Run) -> None:
    assert run(*TUNED, *QUICK, "--hidden", "4", "--l2", "0.25", "--no-refit", "--seed", "3")[0] == 0
    model = loaded()
    assert model.network.sizes[1:] == (4 * model.training["members"], 2)
    assert model.training["l2"] == 0.25
    assert model.training["candidates"] == 2
    assert model.training["refit_rows"] == 0


def test_a_table_too_large_is_trained_plainly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.tables import training

    monkeypatch.setattr(training, "MOST_TUNED", 1000)  # cells
    code, out, _ = run(*TUNED, *QUICK)
    assert code == 0
    assert "plain" in out
    assert loaded().network.sizes[1:] == (64, 32, 2)


def test_json_has_what_was_chosen(run: Run) -> None:
    code, out, _ = run(*TUNED, *QUICK, "--json")
    assert code == 0
    told = json.loads(out)["table"]
    assert told["training"]["members"] in (5, 10)
    assert told["training"]["pieces"] in (True, False)
    ages = next(column for column in told["columns"] if column["name"] == "age")
    assert ages["clip"] == 6.0


def test_far_values_predict_what_the_bounds_do(run: Run) -> None:
    """A cell of 1e30 once made a prediction of 1.5e30."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    rows = [f"{a:.4f},{2 * a + b:.4f}" for a, b in zip(x, rng.normal(0, 0.1, 300), strict=True)]
    Path("line.csv").write_text("x,y\n" + "\n".join(rows) + "\n")
    Path("far.csv").write_text("x\n4\n1e6\n1e30\n")
    assert run("train", "line.csv", "--target", "y", "--out", "line", *QUICK)[0] == 0
    code, out, err = run("predict", "line", "far.csv", "--json")
    assert code == 0
    assert "2 values far outside" in err or "far outside" in err
    values = [json.loads(line)["y"] for line in out.splitlines()]
    assert max(map(abs, values)) < 20
    assert values[1] == pytest.approx(values[2], rel=1e-4)


@pytest.mark.needs("cc")
def test_a_tuned_model_in_c_predicts_what_it_predicts(run: Run, tmp_path: Path) -> None:
    assert run(*TUNED, *QUICK)[0] == 0
    assert run("predict", "model", "people.csv", "--out", "own.csv")[0] == 0
    assert run("export", "model", "--to", "c", "--out", "m.c", "--main")[0] == 0
    program = compile(Path("m.c"), tmp_path / "m")
    made = subprocess.run(
        [program], input=Path("people.csv").read_text(), capture_output=True, check=True, text=True
    ).stdout  # fmt: skip
    own = list(csv.DictReader(io.StringIO(Path("own.csv").read_text())))
    other = list(csv.DictReader(io.StringIO(made)))
    assert [row["label"] for row in other] == [row["label"] for row in own]
    for name in ("probability_no", "probability_yes"):
        np.testing.assert_allclose(
            [float(row[name]) for row in other], [float(row[name]) for row in own],
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip

"""Models of tables with several networks: training, file, predictions, and what takes one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule as cr
from chainrule.storage import models as files
from chainrule.storage.container import opened
from chainrule.tables import members, model, training
from chainrule.tables.model import TableModel
from chainrule.tables.opening import open_table
from chainrule.tables.split import TEST
from chainrule.tables.training import Prepared, Settings
from tests.cli.people import TRAIN as COMMAND
from tests.cli.people import Run, folder, loaded, people, run  # noqa: F401

MEMBERS = (
    *COMMAND,
    "--members",
    "3",
    "--epochs",
    "12",
    "--patience",
    "3",
    "--learning-rate",
    "0.1",
)


def prepared(folder: Path, **settings: Any) -> Prepared:
    people().to_csv(folder / "people.csv", index=False)
    wanted = {"epochs": 30, "patience": 3, "hidden": (5,), "learning_rate": 0.1, **settings}
    return training.prepare(open_table(folder / "people.csv"), Settings("label", **wanted))


def trained(folder: Path, count: int = 3, **settings: Any) -> TableModel:
    ready = prepared(folder, members=count, **settings)
    networks = members.make_networks(ready)
    histories = members.fit(networks, ready)
    return members.model(networks, ready, histories, *members.assess(networks, ready))


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"balanced": True, "dropout": 0.2}])
def test_each_member_is_the_training_of_its_seed_to_the_bit(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """Members stop by themselves, and learn again from all rows for as long as is theirs."""
    ready = prepared(tmp_path, members=3, **settings)
    networks = members.make_networks(ready)
    histories = members.fit(networks, ready)
    again, _ = members.refit(ready, histories)
    for i, network in enumerate(networks):
        alone = training.make_network(ready, i)
        assert alone.seed == i
        history = training.fit(alone, ready)
        assert np.array_equal(network.parameters, alone.parameters)
        assert histories[i]["val_loss"] == history["val_loss"]
        own = replace(ready, settings=replace(ready.settings, seed=i))
        refitted, _ = training.refit(own, history)
        assert np.array_equal(again[i].parameters, refitted.parameters)
    assert len({len(history["epoch"]) for history in histories}) > 1


def test_the_mean_is_measured(tmp_path: Path) -> None:
    ready = prepared(tmp_path, members=3, epochs=4)
    networks = members.make_networks(ready)
    members.fit(networks, ready)
    outputs = [network.predict(ready.X[TEST]).astype(float) for network in networks]
    mean: np.ndarray = np.sum(outputs, axis=0) / 3
    measured, _ = members.assess(networks, ready)
    loss = -np.log(mean[np.arange(len(mean)), ready.y[TEST]]).mean()
    assert measured["log_loss"] == pytest.approx(loss, rel=1e-5)


def test_a_member_that_diverges_is_named(tmp_path: Path) -> None:
    ready = prepared(tmp_path, members=2, learning_rate=1e38, patience=20)
    networks = members.make_networks(ready)
    with pytest.raises(FloatingPointError, match=r"member 0: training stopped in epoch 1, not fin"):
        members.fit(networks, ready)


# --- the file -------------------------------------------------------------------------------------


def test_it_comes_back_whole(tmp_path: Path) -> None:
    made = trained(tmp_path)
    made.save(tmp_path / "model")
    again = model.load(tmp_path / "model")
    assert again is not None
    assert [network.seed for network in again.networks] == [0, 1, 2]
    for one, other in zip(again.networks, made.networks, strict=True):
        assert np.array_equal(one.parameters, other.parameters)
        assert str(one) == str(other)
    assert (again.schema, again.training) == (made.schema, made.training)
    assert again.training["members"] == 3
    again.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    assert len(cr.load_table(tmp_path / "model").networks) == 3
    with pytest.raises(ValueError, match=r"model: it is the model of a table with 3 networks"):
        cr.load(tmp_path / "model")


def test_one_network_is_written_as_before(tmp_path: Path) -> None:
    made = trained(tmp_path, 1, epochs=2)
    made.save(tmp_path / "model")
    with opened(tmp_path / "model") as file:
        about, names = files.check(file)
        assert about["table"]["version"] == 2
        assert "members" not in about["table"]
        assert sorted(file.keys()) == sorted(names)
    assert np.array_equal(cr.load(tmp_path / "model").parameters, made.network.parameters)


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ({"members": [0, 1]}, {}, "lacks the tensor 'table.members.1'; its description has 2 mem"),
        ({}, {"table.members.1": 0}, "has a tensor 'table.members.1'; its description has 1 mem"),
        ({"members": [0, 1]}, {"table.members.1": 1}, r"has shape \[47\] and dtype float32; ex"),
        ({"members": [0, 1]}, {"table.members.1": "f8"}, r"dtype float64; expected \[46\] and flo"),
        ({"members": [0, 1]}, {"table.members.1": np.nan}, "is nan; it must be fin"),
        ({"members": [1, 0]}, {"table.members.1": 0}, r"members are \[1, 0\]; expected the seeds"),
        ({"members": [0, -1]}, {"table.members.1": 0}, r"members are \[0, -1\]; expected the see"),
        ({"members": 2}, {"table.members.1": 0}, "members are 2; expected the seeds"),
        ({"members": [0, 1]}, {"table.x": 0}, "lacks the tensor 'table.members.1'"),
    ],
)
def test_files_of_strangers(
    change: dict[str, Any], tensors: dict[str, Any], message: str, tmp_path: Path
) -> None:
    made = trained(tmp_path, 1, epochs=1)
    made.save(tmp_path / "model")
    with opened(tmp_path / "model") as file:
        about = json.loads(json.dumps(files.check(file)[0]["table"])) | change
    own = made.network.parameters
    more = {}
    for name, what in tensors.items():
        if what == "f8":
            more[name] = own.astype(np.float64)
        elif isinstance(what, float):
            more[name] = np.where(np.arange(len(own)) == 1, np.float32(what), own)
        else:
            more[name] = np.concatenate([own, own[:what]])
    content = files.content(made.network, own, {"table": about}, more)
    (tmp_path / "model").write_bytes(content)
    size = re.sub("4[67]", lambda n: str(len(own) + int(n[0]) - 46), message)
    with pytest.raises(ValueError, match=size) as error:
        model.load(tmp_path / "model")
    assert str(error.value).startswith(str(tmp_path / "model"))


def test_networks_of_another_shape(tmp_path: Path) -> None:
    made = trained(tmp_path, 1, epochs=1)
    other = cr.Network([made.network.sizes[0], 4, 2], output="softmax", loss="cross_entropy")
    with pytest.raises(ValueError, match=r"its network 1 is Network.*differ in their parameters"):
        replace(made, others=(other,))


# --- the command line -----------------------------------------------------------------------------


def test_train_says_what_each_took(run: Run) -> None:
    code, out, err = run(*MEMBERS, "--plain", "--no-plot")
    assert (code, err) == (0, "")
    told = " ".join(out.split())
    assert re.search(r"network 3 × Network\(\d+-64-32-2: silu", told)
    assert re.search(r"trained 3 members, \d+( to \d+)? epochs; best val_loss [\d.]+ to", told)
    assert re.search(r"learned again, from all 240 rows, for \d+( to \d+)? epochs", told)
    assert loaded().training["members"] == 3
    out = run("inspect", "model")[1]
    assert "members 3" in out
    assert re.search(r"network\s+3 × Network\(", out)
    about = json.loads(run("inspect", "model", "--json")[1])
    assert about["network"]["members"] == [0, 1, 2]
    about = json.loads(run(*MEMBERS, "--json", "--no-plot")[1])
    assert about["table"]["training"]["members"] == 3


def test_the_loss_curves_of_all_are_drawn(run: Run) -> None:
    pytest.importorskip("matplotlib")
    out = run(*MEMBERS, "--plain")[1]
    assert "and the loss curves in model.png" in out
    assert Path("model.png").stat().st_size > 10_000


def test_predictions_are_the_mean_and_the_spread_is_given_on_request(run: Run) -> None:
    run(*MEMBERS, "--no-plot")
    table = loaded()
    source = open_table("people.csv")
    X, _, _, _ = table.samples(source, slice(0, 240))
    each = np.stack([network.predict(X).astype(float) for network in table.networks])
    code, _, err = run("predict", "model", "people.csv", "--out", "p.csv")
    assert code == 0
    assert "240 rows have the target" in err
    found = pd.read_csv("p.csv")
    assert list(found) == ["label", "probability_no", "probability_yes"]
    mean = each.mean(axis=0)
    np.testing.assert_allclose(found.probability_yes, mean[:, 1], atol=1e-6)
    assert list(found.label) == list(np.where(mean[:, 1] > 0.5, "yes", "no"))
    run("predict", "model", "people.csv", "--spread", "--out", "s.csv")
    spread = pd.read_csv("s.csv")
    assert list(spread) == [*found, "spread_no", "spread_yes"]
    np.testing.assert_allclose(spread.spread_yes, each.std(axis=0)[:, 1], atol=1e-6)
    frame = people()
    own = cr.load_table("model")
    again = own.predict(frame, spread=True)
    np.testing.assert_allclose(again.spread_no, spread.spread_no, atol=1e-6)
    assert "spread_no" not in own.predict(frame)


def test_the_spread_of_a_number_is_in_its_units(run: Run) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    pd.DataFrame({"x": x, "y": 5e4 + 3e4 * x + rng.normal(0, 1e4, 200)}).to_csv(
        "n.csv", index=False
    )
    run("train", "n.csv", "--target", "y", "--out", "m", "--members", "4", "--epochs", "3")
    table = loaded("m")
    X = table.samples(open_table("n.csv"), slice(0, 200))[0]
    each = np.stack([network.predict(X).astype(float)[:, 0] for network in table.networks])
    run("predict", "m", "n.csv", "--spread", "--out", "p.csv")
    found = pd.read_csv("p.csv")
    target = table.schema.target
    np.testing.assert_allclose(found.y, each.mean(0) * target.scale + target.mean, rtol=1e-5)
    np.testing.assert_allclose(found.spread, each.std(0) * target.scale, rtol=1e-4)
    assert found.spread.min() > 1


def test_a_spread_needs_several(run: Run) -> None:
    run(*COMMAND, "--epochs", "1", "--no-plot")
    code, out, err = run("predict", "model", "people.csv", "--spread")
    assert (code, out) == (2, "")
    assert "the model has one network, and the spread is over several. Train it with --mem" in err
    with pytest.raises(ValueError, match="has one network"):
        cr.load_table("model").predict(people(), spread=True)


def test_explanations_are_of_one_network(run: Run) -> None:
    run(*MEMBERS, "--no-plot")
    table = loaded()
    X, y, _, _ = table.samples(open_table("people.csv"), slice(3, 4))
    data = ("--data", "people.csv", "--row", "3")
    code, _, err = run("explain", "model", "w[1][0,age]", *data)
    assert code == 2
    assert "the model has networks 0 to 2, whose mean is its prediction; choose one of the" in err
    for member in range(3):
        out = run("explain", "model", "w[1][0,age]", *data, "--member", str(member),
                  "--format", "json")[1]  # fmt: skip
        assert json.loads(out)["value"] == float(table.networks[member].gradient(X, y).dW[1][0, 0])
    assert (
        "the model has no network 3; it has networks 0 to 2"
        in (run("explain", "model", "x[age]", *data, "--member", "3")[2])
    )
    for command in ("check", "diagnose", "flow"):
        assert "choose one of them" in run(command, "model", "--data", "people.csv")[2]
    assert run("check", "model", "--data", "people.csv", "--member", "1", "--rows", "0:9")[0] == 0
    own, frame = cr.load_table("model"), people().iloc[3:4]
    why = own.explain("w[1][0,age]", frame, member=2)
    assert why.value == float(table.networks[2].gradient(X, y).dW[1][0, 0])
    with pytest.raises(ValueError, match="choose one of them with member"):
        own.explain("w[1][0,age]", frame)
    cr.Network([2, 1], seed=0).save("net")
    Path("samples.csv").write_text("1,2,3\n")
    err = run("explain", "net", "x[0]", "--data", "samples.csv", "--member", "0")[2]
    assert "--member is for models of tables, but net is a network without columns" in err


def test_c_takes_one_network(run: Run) -> None:
    run(*MEMBERS, "--no-plot")
    code, _, err = run("export", "model", "--to", "c", "--out", "m.c")
    assert code == 2
    assert "choose one of them with member (--member N)" in err
    assert not Path("m.c").exists()
    assert run("export", "model", "--to", "c", "--out", "m.c", "--member", "1")[0] == 0


def test_killed_and_resumed_it_ends_in_the_same_bits(run: Run) -> None:
    command = (*COMMAND, "--members", "3", "--no-plot")
    keeping = ("--checkpoint", "kept")
    assert run(*command, "--epochs", "8")[0] == 0
    whole = Path("model").read_bytes()
    assert run(*command, "--epochs", "4", *keeping)[0] == 0
    code, _, err = run(*command, "--epochs", "8", *keeping)
    assert code == 2
    assert "kept holds a run that reached epoch 4. Resume it with --resume" in err
    code, _, err = run(*COMMAND, "--epochs", "8", *keeping, "--resume")
    assert code == 2
    assert "kept holds a run with --members 3; this one has --members 1. Use the same" in err
    for _ in range(2):
        assert run(*command, "--epochs", "8", *keeping, "--resume")[0] == 0
        assert Path("model").read_bytes() == whole

"""The demo: it learns, it explains, it proves, and the command that it prints works."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule import cli
from chainrule.cli import digits as demo
from chainrule.cli import samples as tables
from chainrule.network import Network


@dataclass
class Ran:
    out: str
    folder: Path
    lines: list[str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The demo as a stranger runs it, in a folder of its own, as a program of its own."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "chainrule", "demo"],
        cwd=folder, env=os.environ | {"COLUMNS": "100"}, stdin=subprocess.DEVNULL,
        capture_output=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return Ran(done.stdout, folder, done.stdout.splitlines())


def test_accuracy_is_at_least_97_percent(ran: Ran) -> None:
    found = re.search(r"test accuracy (0\.\d{4}): (\d+) of 360 wrong", ran.out)
    assert found is not None
    accuracy, wrong = float(found[1]), int(found[2])
    assert accuracy >= 0.97
    assert accuracy == pytest.approx(1 - wrong / 360, abs=1e-4)
    network = chainrule.load(ran.folder / "demo-output" / "digits.safetensors")
    test = demo.load_digits()[2]
    assert np.mean(network.predict_classes(test.X) == test.y) == pytest.approx(accuracy, abs=1e-4)


def test_97_percent_is_no_luck() -> None:
    """A quarter of the epochs, from another start, does as well."""
    train, _, test = demo.load_digits()
    network = demo.make_network(seed=1)
    adam = chainrule.Adam(learning_rate=chainrule.Cosine(0.003, 15))
    network.fit(train.X, train.y, optimizer=adam, epochs=15, verbose=0)
    assert np.mean(network.predict_classes(test.X) == test.y) >= 0.97


def test_the_split_is_whole_and_fixed() -> None:
    parts = demo.load_digits()
    assert [len(part.y) for part in parts] == [1257, 180, 360]
    rows = {
        (x.tobytes(), int(digit)) for part in parts for x, digit in zip(part.X, part.y, strict=True)
    }
    assert len(rows) == 1797
    assert parts[2].y[:5].tolist() == demo.load_digits()[2].y[:5].tolist()


def test_the_output_fits_the_screen(ran: Ran) -> None:
    # A path of this machine may be longer than the screen, and is not broken.
    assert max(len(line) for line in ran.lines if sys.prefix not in line) <= 100
    assert "\x1b" not in ran.out


def test_the_hardest_mistake_is_explained_by_its_steepest_weight(ran: Ran) -> None:
    network = chainrule.load(ran.folder / "demo-output" / "digits.safetensors")
    table = tables.read(ran.folder / "demo-output" / "digits-test.csv", network)
    losses = network.gradient(table.X, table.y).sample_losses
    wrong = network.predict_classes(table.X) != table.y
    row = int(np.flatnonzero(wrong)[np.argmax(losses[wrong])])
    assert f"The mistake with the highest loss: test image {row}" in ran.lines
    g = network.gradient(table.X[row : row + 1], table.y[row : row + 1])
    largest = max(np.abs(dW).max() for dW in g.dW)
    target = re.search(r"Why, for one weight: (w\[(\d)\]\[(\d+),(\d+)\])", ran.out)
    assert target is not None
    l, j, k = map(int, target.groups()[1:])
    assert abs(g.dW[l][j, k]) == largest
    why = network.explain(target[1], table.X[row], table.y[row : row + 1], learning_rate=0.01)
    assert why.text().rstrip() in ran.out
    assert why.certificate.verdict == "pass"
    assert f"true digit       {table.y[row]} " in ran.out
    assert f"predicted digit  {network.predict_classes(table.X[row])} " in ran.out


def test_the_worst_pair(ran: Ran) -> None:
    found = re.search(
        r"most confused: (\d) taken for (\d), (once|\d+ times) among (\d+) im", ran.out
    )
    assert found is not None
    network = chainrule.load(ran.folder / "demo-output" / "digits.safetensors")
    test = demo.load_digits()[2]
    predicted = network.predict_classes(test.X)
    counts = {
        (true, taken): int(((test.y == true) & (predicted == taken)).sum())
        for true in range(10)
        for taken in range(10)
        if true != taken
    }
    count = 1 if found[3] == "once" else int(found[3].split()[0])
    assert counts[int(found[1]), int(found[2])] == count == max(counts.values())
    assert int(found[4]) == (test.y == int(found[1])).sum()


def test_the_printed_command_works_and_gives_the_same(ran: Ran) -> None:
    command = "\n".join(ran.lines[-2:])
    assert "explain" in command
    done = subprocess.run(
        command, shell=True, cwd=ran.folder, env=os.environ | {"COLUMNS": "100"},
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    value = re.search(r"^analytic .*$", ran.out, re.MULTILINE)
    assert value is not None
    assert value[0] in done.stdout


def test_the_test_images_survive_the_csv(ran: Ran) -> None:
    network = chainrule.load(ran.folder / "demo-output" / "digits.safetensors")
    table = tables.read(ran.folder / "demo-output" / "digits-test.csv", network)
    test = demo.load_digits()[2]
    assert np.array_equal(table.X, test.X)
    assert np.array_equal(table.y, test.y)


def test_the_update_does_what_is_said(ran: Ran) -> None:
    text = " ".join(ran.out.split()).replace("−", "-")
    said = re.search(
        r"gradient² = (\S+); updating this weight alone changes it from (\S+) to (\S+), "
        r"by (\S+)\. The cert",
        text,
    )
    assert said is not None
    expected, before, after, change = map(float, said.groups())
    assert after - before == pytest.approx(change, abs=2e-4)
    assert change == pytest.approx(expected, rel=0.1)
    assert change < 0


# --- what the demo says in other cases ------------------------------------------------------------


def test_a_network_without_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    network = demo.make_network(0)
    digits = demo.load_digits()[2]
    predicted = network.predict_classes(digits.X)
    right = demo.Digits(digits.X, predicted)
    losses = network.gradient(right.X, right.y).sample_losses
    assert demo.hardest(network, right) == np.argmax(losses)
    assert demo._worst_pair(predicted, predicted) == "no digit is taken for another"


def test_a_picture_is_drawn_whole() -> None:
    network = demo.make_network(0)
    x = np.linspace(0, 1, 64, dtype=np.float32)
    lines = demo.portrait(network, x, 3)
    assert len(lines) == 10
    assert [line[0] for line in lines] == ["┌", *"││││││││", "└"]
    assert lines[1][1:17].strip() == ""  # the darkest row
    assert lines[8][1:17] == "█" * 16


def test_without_scikit_learn_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo", "--plain"]) == 2
    printed = capsys.readouterr()
    assert printed.err == (
        "chainrule: the demo needs scikit-learn, which provides the images: "
        "pip install 'chainrule[demo]'\n"
    )
    assert printed.out == ""
    assert not list(tmp_path.iterdir())  # no empty folder, either


@pytest.mark.parametrize("there", [[], ["a"], ["a/b", "a/b/own.txt"]])
def test_a_failure_takes_away_no_more_than_it_made(
    there: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).touch() if "." in name else (tmp_path / name).mkdir(parents=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Network, "fit", full)
    with pytest.raises(OSError, match="No space"):
        demo.run(tmp_path / "a" / "b", plain=True)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == (["a", *there] if len(there) == 2 else there)


def test_ctrl_c_while_it_learns(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "chainrule", "demo", "--epochs", "100000"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None
    while not process.stdout.readline().startswith("  Network("):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.strip() == "chainrule: interrupted"
    assert "test accuracy" not in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_gets_colour_and_a_bar_unless_plain(plain: bool, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chainrule", "demo", "--epochs", "1", *["--plain"] * plain],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "NO_COLOR": ""},
    )  # fmt: skip
    os.close(theirs)
    received = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        received += part
    os.close(ours)
    assert process.wait() == 0
    text = received.decode()
    assert ("\x1b[1m" in text) is not plain
    assert ("\x1b" in text) is not plain
    assert "1 epoch in " in text  # said by the bar, or in its place


def test_the_command_names_a_program_that_the_shell_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = chainrule.Weight(1, 2, 3)
    beside = Path(sys.executable).with_name("chainrule")
    assert beside.exists(), "install the package into the environment of the tests"
    monkeypatch.setattr(shutil, "which", lambda _: str(beside))
    assert demo.command(Path("my out"), target, 7) == (
        "chainrule explain 'my out/digits.safetensors' 'w[1][2,3]' \\\n"
        "      --data 'my out/digits-test.csv' --row 7"
    )
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert demo._program() == str(beside)
    monkeypatch.chdir(beside.parent.parent)
    assert demo._program() == f"{beside.parent.name}/chainrule"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert demo._program() == f"{tmp_path}/python -m chainrule"


def test_a_wrong_gradient_is_not_called_proven() -> None:
    network = Network([64, 10], output="softmax", loss="cross_entropy", seed=0)
    x = np.ones(64)
    why = network.explain("w[1][2,3]", x[None], [4])
    assert "proves it" in " ".join(demo.meaning(network, why, x, 4, 98))
    why.__dict__["value"] = why.value * 1.01
    why.__dict__.pop("certificate", None)
    assert "FAILED" in " ".join(demo.meaning(network, why, x, 4, 98))

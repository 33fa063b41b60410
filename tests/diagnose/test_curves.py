"""Curves of a run: read as its file grows, against a whole reading of it; peaks stay when drawn."""

from __future__ import annotations

import json
import math
import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.diagnose import drawing, noise
from chainrule.diagnose import folder as folders
from chainrule.diagnose.curves import RECENT, Curves, extremes
from chainrule.diagnose.record import RunRecord

NAMES = ["fc.weight", "fc.bias"]


def line(step: int, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    found: dict[str, Any] = {"step": step, "loss": float(rng.exponential()), "rates": [0.1]}
    if step % 5 == 0:
        squares = float(rng.uniform(2, 3))
        found |= {
            "recorded": True, "samples": 8, "norm": float(rng.exponential()),
            "weights": [2.0, 0.0], "updates": rng.uniform(0, 1, 2).tolist(),
            "gradients": [float(rng.exponential()), None],
            "noise": [squares, squares / float(rng.uniform(2, 6))],
        }  # fmt: skip
    return found | more


def add(path: Path, *lines: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(folders.encoded(each) + "\n" for each in lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    about = {"kind": "torch", "every": 5, "dense": False, "model": "Net", "optimizer": "SGD",
             "rule": "SGD", "parameters": [{"name": n, "shape": [2], "group": 0, "place": i}
                                           for i, n in enumerate(NAMES)]}  # fmt: skip
    return folders.begin(tmp_path / "run", about)


def test_what_is_read_piece_by_piece_is_what_a_whole_reading_gives(folder: Path) -> None:
    path, curves = folder / folders.STEPS, Curves(folder, NAMES)
    assert len(curves.read().steps) == 0
    lines = [line(k) for k in range(137)]
    lines[90] |= {"spike": True, "loss": math.nan}
    text = "".join(folders.encoded(each) + "\n" for each in lines).encode()
    for at in range(0, len(text), 997):  # also in the midst of lines
        with open(path, "ab") as file:
            file.write(text[at : at + 997])
        known = curves.read()
        assert len(known.steps) == text[: at + 997].count(b"\n")
    record = RunRecord(folder, None)
    assert known.steps.tolist() == [each["step"] for each in record.steps]
    assert known.losses[:90].tolist() == [each["loss"] for each in lines[:90]]
    assert math.isnan(known.losses[90])
    assert known.spikes == (90,)
    assert known.recorded.tolist() == list(range(0, 137, 5))
    for k, step in enumerate(known.recorded.tolist()):
        layers = record.layers(step)
        assert known.gradients[k, 0] == pytest.approx(layers[0].gradient, rel=1e-6)
        assert math.isnan(known.gradients[k, 1])
        assert known.ratios[k, 0] == pytest.approx(layers[0].ratio, rel=1e-6)
        assert math.isnan(known.ratios[k, 1])
    assert known.noises[-1] == pytest.approx(record.noise_scale, rel=1e-12)


def test_the_noise_scale_is_that_of_the_last_recorded_steps(folder: Path) -> None:
    lines = [line(k) for k in range(0, 5 * (RECENT + 30), 5)]
    del lines[7]["noise"]
    add(folder / folders.STEPS, *lines)
    known = Curves(folder, NAMES).read()
    for k in (0, 6, 7, 20, RECENT, len(lines) - 1):
        before = [each for each in lines[: k + 1] if "noise" in each][-RECENT:]
        expected = noise.scale((*each["noise"], 8) for each in before)
        assert known.noises[k] == pytest.approx(expected, rel=1e-9)


def test_a_file_that_is_replaced_is_read_anew(folder: Path) -> None:
    path, curves = folder / folders.STEPS, Curves(folder, NAMES)
    add(path, *(line(k) for k in range(40)))
    assert len(curves.read().steps) == 40
    text = "".join(folders.encoded(line(k)) + "\n" for k in range(0, 40, 2))
    folders.rename_over(path, lambda name: Path(name).write_text(text))  # as thinning does
    add(path, *(line(k) for k in range(40, 90)))
    assert curves.read().steps.tolist() == [*range(0, 40, 2), *range(40, 90)]
    os.unlink(path)
    assert len(curves.read().steps) == 0
    add(path, line(3))
    assert curves.read().steps.tolist() == [3]


def test_damaged_lines_are_left_out_and_counted(folder: Path) -> None:
    path = folder / folders.STEPS
    add(path, line(0), line(1))
    with open(path, "ab") as file:
        file.write(b'\x00\x00\n{"loss": 3}\n[1]\n{"step":2,"loss":0.5')
    known = Curves(folder, NAMES).read()
    assert (known.damaged, known.steps.tolist()) == (3, [0, 1])
    with pytest.warns(UserWarning, match=r"3 lines are damaged, from line 3 of .*steps.jsonl on"):
        assert len(RunRecord(folder, None).steps) == 2
    with open(path, "ab") as file:
        file.write(b',"rates":null}\n')
    assert Curves(folder, NAMES).read().steps.tolist() == [0, 1, 2]


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=300),
    st.integers(4, 40),
)
def test_the_points_of_a_curve_keep_its_peaks(values: list[float], most: int) -> None:
    found = np.array(values, dtype=float)
    kept = extremes(found, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    finite = np.flatnonzero(np.isfinite(found))
    assert np.isfinite(found[kept]).all()
    if len(finite):
        assert found[kept].max() == found[finite].max()
        assert found[kept].min() == found[finite].min()
        assert (kept[0], kept[-1]) == (finite[0], finite[-1])


def drawn(figure: str) -> list[list[Any]]:
    match = re.search(r'data-points="([^"]*)"', figure)
    assert match is not None
    found: list[list[Any]] = json.loads(unescape(match[1]))
    return found


def test_a_figure_has_its_points_marks_and_words() -> None:
    steps = np.arange(5000)
    losses = np.exp(-steps / 2000)
    losses[1234], losses[77], losses[4000] = 40.0, np.nan, 0.0
    figure = drawing.figure("Loss <of> each", steps, losses, [1234, 77])
    points = drawn(figure)
    assert len(points) <= drawing.POINTS + 1
    assert [1234, round(1234 / 4999, 5), "40"] in points
    assert points[0] == [0, 0, "1"]
    assert points[-1][:2] == [4999, 1]
    assert "spike in step 1234" in figure
    assert "not finite in step 77" in figure
    assert ", logarithmic" in figure  # though one is 0
    assert "largest 40 in step 1234" in figure
    assert "Loss &lt;of&gt; each" in figure
    heights = [float(p.split(",")[1]) for p in re.findall(r"[-\d.]+,[-\d.]+", figure)]
    assert min(heights) >= 0
    assert max(heights) <= 1000


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1.0, 2.0], ["1", "1.5", "2"]),
        ([0.002, 900.0], ["0.01", "0.1", "1", "10", "100"]),
        ([3.0, 3.0], ["2", "3", "4"]),
        ([-4.0, 900.0], ["0", "200", "400", "600", "800"]),
        ([1e-300, 1e300], ["1e+292", "1e+294", "1e+296", "1e+298", "1e+300"]),
        ([0.0, 0.0], ["−0.4", "−0.2", "0", "0.2", "0.4"]),
    ],
)
def test_an_axis_has_few_round_numbers(values: list[float], ticks: list[str]) -> None:
    figure = drawing.figure("Loss", np.arange(2), np.array(values))
    assert re.findall(r"<text[^>]*>([^<]*)</text>", figure) == ticks


def test_no_finite_number_is_said() -> None:
    found = drawing.figure("Loss", np.arange(3), np.full(3, np.nan))
    assert found == "<p>Loss: there are no finite numbers yet.</p>"
    assert drawing.spark(np.arange(3), np.zeros(3), (1.0, 10.0)) == ""

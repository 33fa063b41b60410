"""Findings about our own networks: each mistake is found, and its healthy twin is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.diagnose import arrays
from chainrule.diagnose.finding import CODES, Finding, grouped

Case = tuple[Any, Any, Any]
R = np.random.default_rng(0)
X = R.normal(size=(64, 3))
Y = X[:, 0] - 2 * X[:, 1]
C = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def network(*hidden: int, **options: Any) -> Any:
    last = 3 if options.get("loss") == "cross_entropy" else 1
    return cr.Network([3, *hidden, last], **{"hidden": "tanh", "seed": 0, **options})


def classifier() -> Any:
    return network(16, output="softmax", loss="cross_entropy")


def not_a_number() -> Case:
    net = network(4)
    net.layers[1].W[2, 1] = np.nan
    return net, X, Y


def overflow() -> Case:
    net = network(4, hidden="relu")
    net.layers[1].W[:] = 1e200
    net.layers[2].W[:] = 1e200
    return net, np.abs(X), Y


def out_of_reach() -> Case:
    return network(4, output="sigmoid"), X, Y


def dead() -> Case:
    net = network(8, hidden="relu")
    net.layers[1].b[[1, 5]] = -100
    return net, X, Y


def saturated() -> Case:
    net = network(8)
    net.layers[1].b[[0, 3]] = 20
    return net, X, Y


def zeros() -> Case:
    return network(5, init="zeros"), X, Y


def deep_sigmoids() -> Case:
    return network(*[8] * 12, hidden="sigmoid"), X, Y


def large_start() -> Case:
    net = network(*[16] * 6, hidden="relu")
    for layer in net.layers[2:]:
        layer.W *= 20
    return net, X, Y


def thousands() -> Case:
    return network(4), X * [1, 1000, 1], Y


def flipped() -> Case:
    net = classifier()
    net.fit(X, C, optimizer=cr.Adam(0.02), epochs=800)
    wrong = C.copy()
    wrong[[7, 30]] = (wrong[[7, 30]] + 1) % 3
    return net, X, wrong


def decimal_mark() -> Case:
    net = network(16)
    net.fit(X, Y, optimizer=cr.Adam(0.02), epochs=200)
    wrong = Y.copy()
    wrong[41] += 100
    return net, X, wrong


MISTAKES: dict[Callable[[], Case], tuple[str, dict[str, Any]]] = {
    not_a_number: ("nan-origin", {"where": "layer 1", "level": "error"}),
    overflow: ("nan-origin", {"where": "layer 2", "rows": (0,)}),
    out_of_reach: ("wrong-target-range", {"level": "warning"}),
    dead: ("dead-units", {"where": "layer 1", "units": (1, 5), "level": "warning"}),
    saturated: ("saturated-units", {"units": (0, 3), "level": "warning"}),
    zeros: ("identical-units", {"units": (0, 1, 2, 3, 4), "level": "error"}),
    deep_sigmoids: ("vanishing", {"level": "warning"}),
    large_start: ("exploding", {"where": "layer 1"}),
    thousands: ("unscaled-input", {"units": (1,)}),
    flipped: ("suspect-labels", {"rows": {7, 30}}),
    decimal_mark: ("suspect-labels", {"rows": (41,)}),
}


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case.__name__)
def test_a_mistake_is_found(case: Callable[[], Case]) -> None:
    code, wanted = MISTAKES[case]
    report = case()[0].diagnose(*case()[1:])
    found = report[code]
    assert found, report.text()
    for name, value in wanted.items():
        given = getattr(found[0], name)
        assert (set(given) if isinstance(value, set) else given) == value, str(found[0])
    assert not report.ok
    json.dumps(report.to_dict(), allow_nan=False)
    assert code in report.text()
    assert code in report.html()


def plain() -> Case:
    return network(8), X, Y


def relu() -> Case:
    return network(32, 32, hidden="relu"), X, Y


def classes() -> Case:
    return classifier(), X, C


def trained() -> Case:
    net = network(16, 16, hidden="relu")
    net.fit(X, Y, optimizer=cr.Adam(0.01), epochs=50)
    return net, X, Y


def trained_classes() -> Case:
    net = classifier()
    net.fit(X, C, optimizer=cr.Adam(0.02), epochs=100)
    return net, X, C


def binary() -> Case:
    net = network(8, output="sigmoid", loss="binary_cross_entropy")
    net.fit(X, C > 0, optimizer=cr.Adam(0.02), epochs=100)
    return net, X, (C > 0).astype(int)


def zeros_at_the_end() -> Case:
    net = network(8)
    net.layers[2].W[:] = 0
    return net, X, Y


def reachable() -> Case:
    return network(8, output="tanh"), X, np.tanh(Y)


def one_sample() -> Case:
    return network(8), X[:1], Y[:1]


def shuffled_labels() -> Case:
    return classifier(), 3 * X, np.random.default_rng(1).permutation(C)


@pytest.mark.parametrize(
    "case",
    [plain, relu, classes, trained, trained_classes, binary, zeros_at_the_end, reachable,
     one_sample, shuffled_labels],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_a_healthy_twin_raises_nothing(case: Callable[[], Case]) -> None:
    net, X, y = case()
    before = net.parameters.copy()
    report = net.diagnose(X, y)
    assert report.ok, report.text()
    assert np.array_equal(net.parameters, before)


def test_errors_stand_before_warnings_and_notes() -> None:
    net, X, y = dead()
    X = X * [1, 1000, 1]
    net.layers[2].W[:] = net.layers[2].W[0, 0]
    net.layers[1].W[:] = net.layers[1].W[0]
    net.layers[1].b[:] = -1
    report = net.diagnose(X, y)
    levels = [f.level for f in report]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert len(report) == len(report.findings) == len(levels)
    assert "identical-units" in report.codes


def deep(dead: Sequence[int], width: int = 10) -> cr.Network:
    """Return a network whose layer l has its first ``dead[l - 1]`` units 0 on any sample."""
    net = cr.Network([3, *[width] * len(dead), 1], hidden="relu", seed=0)
    for l, count in enumerate(dead, start=1):
        net.layers[l].W[:] = np.abs(net.layers[l].W) / 4
        net.layers[l].b[count:], net.layers[l].b[:count] = 1, -1e6
    return net


def test_many_layers_with_one_fault_are_one_finding() -> None:
    dead = [2, 9, 3, 1, 3, 2, 8, 4]
    report = deep(dead).diagnose(np.abs(X), Y)
    (found,) = report["dead-units"]
    assert len(report) == 1
    assert found.numbers == {"places": 8, "units": sum(dead), "of": 80}
    by_share = sorted(range(8), key=lambda k: -dead[k])
    assert [part.where for part in found.parts] == [f"layer {k + 1}" for k in by_share]
    assert [part.units for part in found.parts] == [tuple(range(dead[k])) for k in by_share]
    assert found.words == (
        "8 places, 32 of 80 units in all. 9 of the 10 units of layer 2 (relu) are 0 on all 64 "
        "samples: 0, 1, 2, 3, 4, 5 and 3 more. Then layer 7 (8 of 10 units), layer 8 (4 of 10 "
        "units), layer 3 (3 of 10 units), layer 5 (3 of 10 units), layer 1 (2 of 10 units) and 2 "
        "more (3 of 20 units)."
    )
    assert found.where == "layer 2, layer 7 and 6 more"
    text, page, told = report.text(), report.html(), report.to_dict()["findings"][0]
    assert "The rest: layer 6 (2 of 10 units); layer 4 (1 of 10 units)." in " ".join(text.split())
    for k, count in enumerate(dead, start=1):
        assert f"layer {k} ({count} of 10 units)" in " ".join(text.split()) or k == 2
        assert f"of the 10 units of layer {k} (relu)" in page
        (part,) = (part for part in told["parts"] if part["where"] == f"layer {k}")
        assert part["units"] == list(range(count))


def test_up_to_three_layers_stand_each_for_itself() -> None:
    report = deep([2, 9, 3]).diagnose(np.abs(X), Y)
    assert [f.where for f in report["dead-units"]] == ["layer 1", "layer 2", "layer 3"]
    assert all(f.parts == () for f in report)


def test_findings_of_one_code_with_other_advice_or_level_stay_apart() -> None:
    """Rows of samples are united, each once, and a place without numbers is named alone."""
    alike = [Finding("nan-origin", "error", f"p{k}", f"Words {k}.", "w", "Look.", rows=(k % 3,))
             for k in range(4)]  # fmt: skip
    other = replace(alike[0], advice="Do.")
    note = replace(alike[0], level="note")
    found = grouped([*alike, other, note])
    assert len(found) == 3
    assert found[0].rows == (0, 1, 2)
    assert found[0].words == "4 places. Words 0. Then p1, p2, p3."
    assert found[1:] == [other, note]


def test_rows_name_samples_and_must_fit() -> None:
    net, X, y = decimal_mark()
    (found,) = net.diagnose(X, y, rows=range(100, 164))["suspect-labels"]
    assert found.rows == (141,)
    with pytest.raises(ValueError, match="rows has 3 numbers; expected one for each of the 64"):
        net.diagnose(X, y, rows=[1, 2, 3])
    with pytest.raises(ValueError, match="X has 2 columns"):
        net.diagnose(X[:, :2], y)


def test_the_report_is_read_by_code() -> None:
    report = network(4).diagnose(X, Y)
    assert str(report).startswith("Nothing is wrong. Network 3-4-1 (tanh, identity), loss")
    assert repr(report) == "Diagnosis(ok)"
    with pytest.raises(KeyError, match="'dead' is not a code"):
        report["dead"]
    with pytest.raises(ValueError, match="width is 10; expected at least 40"):
        report.text(10)


def test_outliers_need_a_crowd_a_good_fit_and_a_distance() -> None:
    x = np.linspace(-3, 3, 50)
    noise = np.tile([0.1, -0.1], 25)
    y = x + noise
    y[10] += 8
    assert [i for i, *_ in arrays.suspect_numbers(x, y)] == [10]
    assert arrays.suspect_numbers(x[8:12], y[8:12]) == []  # no crowd
    assert arrays.suspect_numbers(0 * x, y) == []  # no fit
    assert arrays.suspect_numbers(x, x + noise) == []


def test_a_code_has_a_place_in_the_order() -> None:
    assert len(CODES) == 20

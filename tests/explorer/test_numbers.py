"""Numbers read the same wherever they are written: in texts, in data, and on the page."""

from __future__ import annotations

import json
import math
import random
import re
import struct
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.equations.numbers import format_number, plain
from chainrule.explain.mathml import MathmlWriter
from chainrule.explain.notation import Notation
from chainrule.explain.text import TextWriter
from chainrule.explorer import view
from chainrule.explorer.hosts import assets
from chainrule.explorer.session import Session
from chainrule.network import Network

STATIC = Path(view.__file__).with_name("static")
NAN, INF = float("nan"), float("inf")


def every_kind() -> list[float]:
    """Numbers of all sizes, whole ones, halves that tie, the ends of each form, and no numbers."""
    chance = random.Random(0)
    found = [0.0, -0.0, INF, -INF, NAN, 5e-324, -2.5e-323, 1.7976931348623157e308, 2.0**-1022]
    found += [8.610188468325537e-05, 0.1, 1 / 3, -2 / 3, 0.30000000000000004, 123456789012345680.0]
    for power in range(-330, 309):  # around each power of ten
        at = float(f"1e{power}")
        found += [at, -at, math.nextafter(at, 0), math.nextafter(at, INF), 9.9995 * at, 9.5 * at]
    found += [float(n) for n in (*range(-30, 30), 1234, 123456, 10**15 - 1, 10**15, 10**15 + 1)]
    found += [float(2**n) for n in range(70)] + [float(2**n + 1) for n in range(50)]
    for _ in range(1500):  # exact ties: an odd number of halves, quarters, ... at some digit
        whole = chance.randrange(10 ** chance.randint(1, 9))
        found.append((whole + 0.5) / 2 ** chance.randint(0, 6) * chance.choice((1, -1)))
    found += [n + 0.5 for n in range(40)] + [n * 10.0**16 + 5 * 10.0**15 for n in range(1, 40)]
    for _ in range(1500):  # any 64 bits
        found.append(struct.unpack("<d", chance.randbytes(8))[0])
    found += [chance.gauss(0, 1) * 10.0 ** chance.randint(-8, 8) for _ in range(1500)]
    return [x for x in found if abs(x) < INF or x in (INF, -INF) or math.isnan(x)]


@pytest.mark.needs("node")
def test_the_page_writes_numbers_as_python_does(tmp_path: Path) -> None:
    values = every_kind()
    assert len(values) > 8000
    shares = [n / d for d in (1, 2, 3, 7, 16, 40, 400, 1600, 2000) for n in range(d + 1)]
    counts = [*range(20), 999, 1000, 12345, 999_999, 1_000_000, 12_345_678_901]
    script = f"""{assets.joined("numbers")}
    const {{ values, shares, counts }} = JSON.parse(require("fs").readFileSync(process.argv[1]));
    const n = module_numbers, digits = [...Array(17).keys()].map((d) => d + 1);
    console.log(JSON.stringify({{
      number: values.map((v) => digits.map((d) => n.number(v, d))),
      format: values.map((v) => digits.map((d) => n.format(v, d))),
      exact: values.map(n.exact),
      scientific: values.map((v) => [0, 1, 2, 6].map((places) => n.scientific(v, places))),
      typed: values.map((v) => n.typed(v)),
      brief: values.map(n.brief),
      drawn: values.map(n.drawn),
      percent: shares.map(n.percent),
      counted: counts.map(n.counted),
    }}));"""
    data = {"values": [plain(v) for v in values], "shares": shares, "counts": counts}
    (tmp_path / "data.json").write_text(json.dumps(data, allow_nan=False))
    written = subprocess.run(
        ["node", "-e", script, str(tmp_path / "data.json")],
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    page = json.loads(written.stdout)

    texts = [TextWriter(Notation(digits=digits), [1, 1]) for digits in range(1, 18)]
    for value, numbers, formats in zip(values, page["number"], page["format"], strict=True):
        assert numbers == [text.number(value) for text in texts], value
        assert formats == [format_number(value, digits) for digits in range(1, 18)], value
    assert page["exact"] == [repr(v) for v in values]
    assert page["scientific"] == [[f"{v:.{p}e}" for p in (0, 1, 2, 6)] for v in values]
    for value, typed in zip(values, page["typed"], strict=True):
        assert typed == repr(value).removesuffix(".0")
        assert float(typed) == value or math.isnan(value)
    assert [float(v) for v in page["drawn"]] == [v if math.isfinite(v) else 0 for v in values]
    assert page["percent"] == [f"{share:.1%}" for share in shares]
    assert page["counted"] == [f"{count:,}" for count in counts]
    for value, brief in zip(values, page["brief"], strict=True):
        assert len(brief) <= 5 or re.fullmatch(r"−?\de−?\d{1,3}", brief), brief
        read = Decimal(brief.replace("−", "-").replace("∞", "inf"))  # 2e+308 is no float
        near = abs(read - Decimal(value)) <= abs(Decimal(value)) / 2 if abs(value) < INF else False
        assert near or brief == texts[0].number(value), brief


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (8.610188468325537e-05, 16, "8.610188468325537e-05"),
        (0.0001, 3, "0.0001"),
        (0.00001, 3, "1e-05"),
        (1234567.0, 3, "1234567"),
        (1234567.5, 3, "1.23e+06"),
        (1e15, 6, "1e+15"),
        (-0.0, 6, "0"),
        (2.5, 1, "2"),  # of two that are as near the even one
        (0.125, 2, "0.12"),
        (0.375, 2, "0.38"),
        (1e-320, 6, "9.99989e-321"),  # what is stored is not 1e-320
        (-INF, 6, "-inf"),
        (NAN, 6, "nan"),
    ],
)
def test_the_rule(value: float, digits: int, text: str) -> None:
    """By hand."""
    assert format_number(value, digits) == text


def test_no_other_script_writes_numbers() -> None:
    """A number that is written by JavaScript's own rule reads otherwise than Python's."""
    own = r"toPrecision|toExponential|toFixed|toLocaleString|NumberFormat|\bString\((?!i\b|unit)"
    allowed = {  # attributes that nobody reads, texts, and whole numbers
        "app.js": {"this.pending > 0"},
        "controls.js": {"units", "batch_size", "aria-pressed"},
        "sample.js": {"index + first", "count - 1 + first"},
        "dom.js": {"text", "unit + first_index"},
        "drawing.js": {"strokeWidth", "--much"},
        "lessons.js": {"(name)", "i + 1", "Number(index) + first"},
        "live.js": {"of / 1e6"},  # megabytes while Python is loaded
        "worker.js": {"address", "error"},
        "contributions.js": {"Number(index) + first"},
        "results.js": {"count"},
        "share.js": {"width", "height"},
        "worked.js": {"reply.steps", "aria-pressed", "this.at"},
        "training.js": {"records", "t.record"},
        "writing.js": {"digits"},
    }
    for file in STATIC.glob("*.js"):
        if file.name == "numbers.js":
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.search(own, line):
                assert any(words in line for words in allowed.get(file.name, ())), line


# --- the same number in text, data and page -------------------------------------------------------


def test_a_frame_has_the_numbers_whole() -> None:
    """They were cut to 9 digits, of which the page showed up to 12."""
    net = Network([2, 3, 1], hidden="tanh", seed=0)
    X = np.random.default_rng(0).normal(size=(4, 2))
    frame: Any = json.loads(json.dumps(Session(net, X, X[:, 0]).handle({"kind": "look"})))
    gradient = net.gradient(X[:1], X[:1, 0])
    assert frame["layers"][1]["z"] == gradient.forward.z[1][0].tolist()
    assert frame["layers"][1]["db"] == gradient.db[1].tolist()
    assert frame["weights"][0]["w"] == net.layers[1].W.tolist()
    assert frame["weights"][1]["dw"] == gradient.dW[2].tolist()


def test_what_is_not_finite_says_what_it_is() -> None:
    """An infinity below 0 and what is no number were both shown as ∞."""
    assert view.row(np.array([1.5, NAN, INF, -INF])) == [1.5, "nan", "inf", "-inf"]
    assert view.number(-INF) == "-inf"
    assert "−</mo><mn>∞" in MathmlWriter(Notation(), [1, 1]).number(-INF)
    net = Network([1, 1], output="sigmoid", loss="binary_cross_entropy", W=[[[-1.0]]], b=[[0.0]])
    why = net.explain("a[1][0]", [[800.0]], [1.0])  # a = exp(-800) rounds to 0: ∂C/∂a = -1/a
    assert why.value == -INF
    assert "= −∞" in why.text()
    assert why.to_dict()["value"] == "-inf"
    frame = Session(net, [[800.0], [0.5]], [1.0, 1.0]).handle({"kind": "look"})
    assert frame["layers"][1]["dC_da"] == ["-inf"]

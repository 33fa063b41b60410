"""Data of one's own in a session."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from chainrule.explorer import uploads
from chainrule.explorer.session import Session
from tests.explorer.asked import ask, refused, session  # noqa: F401

# --- uploads ------------------------------------------------------------------------------------


def test_csv_of_classes_words_and_numbers(session: Session) -> None:
    text = "width,height,kind\n" + "".join(f"{i},{i * i},{'ab'[i % 2]}\n" for i in range(30))
    frame = ask(session, "upload", text=text, name="mine.csv")
    assert frame["data"] == frame["data"] | {"name": "mine.csv", "train": 24, "validation": 6}
    assert frame["network"]["activations"][-1] == "sigmoid"
    frame = ask(session, "upload", text="1;2;3;0\n2;3;4;1\n3;4;5;2\n")
    assert frame["network"]["sizes"] == [3, 4, 2, 3]
    assert frame["network"]["loss"] == "cross_entropy"
    frame = ask(session, "upload", text="1\t0.5\n2\t1.5\n")
    assert frame["network"]["loss"] == "half_squared_error"


def wine() -> str:
    """The wine data, whose inputs go up to 1680, as a CSV file with names."""
    from sklearn.datasets import load_wine

    found = load_wine()
    rows = (
        f"{','.join(map(str, x))},{found.target_names[c]}"
        for x, c in zip(found.data.tolist(), found.target, strict=True)
    )
    return f"{','.join(found.feature_names)},kind\n" + "\n".join(rows)


def test_inputs_of_any_size_are_learnt(session: Session) -> None:
    frame = ask(session, "upload", text=wine(), name="wine.csv")
    assert frame["data"]["scaled"]
    X = session._data.X
    assert X.mean(axis=0) == pytest.approx(np.zeros(13), abs=1e-12)
    assert X.std(axis=0) == pytest.approx(np.ones(13), rel=1e-12)
    frame = ask(session, "train", steps=500)
    assert float(frame["training"]["metric"].rstrip("%")) > 85
    assert "# Scale each input to mean 0" in ask(session, "share")["python"]


def test_scaling_is_that_of_the_samples_for_training(session: Session) -> None:
    """All rows lie on a line, so that each scaled input is the same function of the first."""
    text = "".join(f"{i},{3e200 * i + 1e200},7,{i % 2}\n" for i in range(30))
    ask(session, "upload", text=text)
    data = session._data
    assert (data.X[:, 2] == 0).all()
    assert (data.X_val[:, 2] == 0).all()
    for part in (data.X, data.X_val):
        assert part[:, 1] == pytest.approx(part[:, 0], rel=1e-12, abs=1e-12)
    steps = np.sort(np.concatenate([data.X, data.X_val])[:, 0])
    assert np.diff(steps) == pytest.approx(np.full(29, np.diff(steps).mean()))
    assert data.X[:, 0].mean() == pytest.approx(0, abs=1e-14)
    values = 1e-300 * np.arange(30)
    values[np.random.default_rng(0).permutation(30)[-1]] = 1e300  # one of those for validation
    far = "".join(f"{v!r},{i % 2}\n" for i, v in enumerate(values.tolist()))
    assert "The numbers in column 1 are too far apart" in refused(
        session, {"kind": "upload", "text": far}
    )


def test_columns_and_classes_keep_their_names(session: Session) -> None:
    frame = ask(session, "upload", text=wine())
    assert frame["data"]["columns"][:2] == ["alcohol", "malic_acid"]
    assert len(frame["data"]["columns"]) == 13
    assert frame["data"]["labels"] == ["class_0", "class_1", "class_2"]
    true = int(np.argmax(session._data.y[0]))
    assert frame["sample"]["expected"] == f"class_{true}"
    assert frame["sample"]["predicted"].startswith("class_")
    frame = ask(session, "upload", text="1,no\n2,yes\n4,yes\n")
    assert (frame["data"]["columns"], frame["data"]["labels"]) == ([], ["no", "yes"])
    assert frame["sample"]["expected"] == "no"
    assert ask(session, "data", name="moons")["data"]["labels"] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "The file is empty"),
        ("1\n2\n", "has 1 column; expected inputs and then a target"),
        ("1,2\n", "The file has 1 sample; expected at least 2"),
        ("1,2\n1,2,3\n", "Line 2 has 3 columns; expected 2, as in the first line"),
        ("1,2\n1\n", "Line 2 has 1 column; expected 2"),
        ("1,2\nx,2\n", "Line 2, column 1 is 'x'; expected a finite number"),
        ("1,2\n2,inf\n", "Line 2, last column is 'inf'; expected a finite number"),
        ("1,nan,0\n1,2,3\n", "has 1 sample;"),  # the first line is taken for names
        ("a,b\n", "has 0 samples;"),
        ("1,0\n2,0\n", "one class"),
        (
            ",".join(["1"] * 2000) + "\n" + ",".join(["1"] * 2000),
            "The file has 1,999 inputs; expected at most 1,024",
        ),
    ],
)
def test_bad_csv_is_refused_with_its_place(session: Session, text: str, complaint: str) -> None:
    assert complaint in refused(session, {"kind": "upload", "text": text})


def test_csv_with_decimal_commas() -> None:
    session = Session()
    ask(session, "upload", text="1,5;7,0;yes\n-2;8,25;no\n3,5;6;yes\n")
    raw = np.array([[1.5, 7.0], [-2.0, 8.25], [3.5, 6.0]])
    assert pytest.approx((raw - raw.mean(axis=0)) / raw.std(axis=0)) == session._data.X
    ask(session, "upload", text="a;b\n1,5;2,5\n2,5;0,5\n")
    assert session._data.y[:, 0].tolist() == [2.5, 0.5]
    mixed = refused(session, {"kind": "upload", "text": "1;2.5;1\n2,5;0.5;0\n"})
    assert "Line 2, column 1 is '2,5'; expected a finite number" in mixed


def test_a_data_set_does_not_begin_with_zeros(session: Session) -> None:
    """At (0, 0) no weight of the first layer has a gradient."""
    frame = ask(session, "data", name="xor table")
    assert frame["sample"]["x"] == [1.0, 1.0]
    assert np.any([w for row in frame["weights"][0]["dw"] for w in row])


@given(st.text(alphabet="0123456789.,;\t\n-e\"'abcx ", max_size=200))
def test_any_text_is_data_or_an_error(text: str) -> None:
    try:
        dataset = uploads.read(text, "any")
    except ValueError:
        return
    assert np.isfinite(dataset.X).all()
    assert np.isfinite(dataset.y).all()

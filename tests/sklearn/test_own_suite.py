"""scikit-learn's own tests of its MLPs, as installed, with the import swapped: all of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

# Tests that can't hold here, by name, each with its reason.
EXCEPTIONS: dict[str, str] = {}

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
OURS = "from chainrule.sklearn import MLPClassifier, MLPRegressor"

# Their suite does not turn warnings into errors, and neither do these tests.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.peer]


@pytest.fixture(params=[42])
def global_random_seed(request: pytest.FixtureRequest) -> int:
    """The seed that scikit-learn's suite takes unless told otherwise."""
    seed: int = request.param
    return seed


def _source() -> tuple[str, str]:
    spec = find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1, "scikit-learn's test_mlp.py imports its estimators otherwise"
    return text.replace(IMPORT, OURS), spec.origin


def _load() -> None:
    mark = pytestmark
    exec(compile(*_source(), "exec"), globals())
    globals()["pytestmark"] = mark
    for name in EXCEPTIONS:
        del globals()[name]


_load()


def test_the_whole_suite_is_here_and_its_estimators_are_ours() -> None:
    names = {
        line.removeprefix("def ").partition("(")[0]
        for line in _source()[0].splitlines()
        if line.startswith("def test_")
    }
    assert len(names) >= 40
    assert names - EXCEPTIONS.keys() <= globals().keys()
    for estimator in ("MLPClassifier", "MLPRegressor"):
        assert globals()[estimator].__module__.startswith("chainrule.sklearn")

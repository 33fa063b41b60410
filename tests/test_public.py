"""The public names, and what `import chainrule` costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chainrule
from tests.tools import uncounted

SOURCE = Path(chainrule.__file__)

PUBLIC = {
    "Activation", "AdaGrad", "Adam", "AdamW", "ArrayExplanation", "Bias", "BiasVector",
    "CSVLogger", "Callback", "CheckpointWarning", "Constant", "Cosine", "Diagnosis",
    "EarlyStopping", "EngineWarning", "Ensemble", "Explanation", "ExponentialDecay", "Finding",
    "Forward", "Gradient", "GradientDescent", "History", "Loss", "MLflowLogger", "Network",
    "NonFiniteError", "Notation", "PreActivation", "RMSProp", "ReduceOnPlateau", "Schedule",
    "StepDecay", "TensorBoardLogger", "UnitOutput", "WarmUp", "Watch", "Weight", "WeightMatrix",
    "WorkedExample", "Worksheet", "__version__", "diagnose", "explain_jax", "explain_sklearn",
    "explain_torch", "explore_run", "explore_torch", "fit_many", "from_keras", "from_onnx",
    "from_safetensors", "from_sklearn", "from_torch", "load", "load_groups", "load_run",
    "load_table", "watch", "worksheet",
}  # fmt: skip


def test_all_is_what_was_agreed() -> None:
    assert set(chainrule.__all__) == PUBLIC
    assert len(chainrule.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_is_there_and_listed(name: str) -> None:
    value = getattr(chainrule, name)
    assert name in dir(chainrule)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__


def test_unknown_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'chainrule' has no attribute 'Nothing'"):
        chainrule.Nothing  # noqa: B018


def test_type_checkers_see_the_names_where_they_are_found() -> None:
    """The imports under TYPE_CHECKING and the table of lazy ones are the same."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: (node.module or "").removeprefix("chainrule.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == chainrule._MODULE_OF
    assert seen.keys() | {"__version__"} == PUBLIC


def loaded(code: str) -> Any:
    """The modules that a fresh Python has loaded after the code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=uncounted(),
    )  # fmt: skip
    return json.loads(ran.stdout)


# What an editable installation and setuptools put into every Python of their environment.
INSTALLERS = {"_distutils_hack", "_editable_skbc_chainrule"}
HEAVY = {
    "scipy", "sklearn", "rich", "mpmath", "safetensors", "narwhals", "click", "pandas", "polars",
    "matplotlib", "torch", "jax", "pyarrow", "pydantic", "fastapi", "anywidget",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import chainrule", 120),
        ("import chainrule as cr; cr.Network([2, 2, 1], seed=0).forward([1, 2])", 300),
        ("from chainrule import *", 360),
    ],
)
def test_import_is_light(code: str, most: int) -> None:
    modules = loaded(code)
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    own = [name for name in modules if name not in INSTALLERS]
    assert len(own) <= most  # a stable stand-in for seconds

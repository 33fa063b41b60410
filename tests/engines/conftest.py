"""Fixtures of the engines' tests."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest

# None in a pure Python installation, where the tests of the core skip themselves.
_CORE: Any = (
    importlib.import_module("chainrule.engines._native")
    if importlib.util.find_spec("chainrule.engines._native")
    else None
)
ISAS = _CORE.available_instruction_sets() if _CORE else ["none"]


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Any:
    """Force each instruction set of this machine in turn; return its name."""
    _CORE.force_instruction_set(request.param)
    yield request.param
    _CORE.force_instruction_set(None)

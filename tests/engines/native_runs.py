"""Runs of the native engine beside the reference, for its tests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.runs import agree_with_reference

_native = pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
from chainrule.engines.native import NativeEngine  # noqa: E402

ISAS = _native.available_instruction_sets()


def agree(sizes: list[int], threads: int = 2, **options: Any) -> None:
    agree_with_reference(NativeEngine(threads), sizes, **options)

"""Twenty kills of `tests/training/torture.py`; `make torture` has two hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_runs_and_saves_that_are_killed() -> None:
    script = Path(__file__).with_name("torture.py")
    ran = subprocess.run(
        [sys.executable, script, "--kills", "20", "--seed", "1"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "10 kills of runs" in ran.stdout
    assert "10 kills of saves" in ran.stdout

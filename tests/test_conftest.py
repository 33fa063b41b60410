"""What is skipped for want of tools is counted and named, and fails where nothing may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.needs("chromium")
def test_one(): pass

@pytest.mark.needs("chromium", "node")
@pytest.mark.parametrize("n", [1, 2])
def test_two(n): pass

@pytest.mark.skip("not for want of a tool")
def test_three(): pass

def test_four(): pass
"""

PEERS = """
import pytest

@pytest.mark.needs("torch")
def test_torch(): pass

@pytest.mark.needs("node", "jax")
def test_jax(): pass

@pytest.mark.needs("node")
def test_node(): pass
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tests above with this project's conftest.py, where no program can be found."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_it.py").write_text(TESTS)
    markers = "\n    ".join(["", "needs(*tools)", "browser", "peer"])
    root = Path(__file__).parents[1]
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers ={markers}\npythonpath = {root}\n")
    keep = {k: v for k, v in os.environ.items() if k != "CHAINRULE_NO_SKIPS"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)],
        env={**keep, "PATH": str(folder), **environment}, capture_output=True, encoding="utf-8",
    )  # fmt: skip


def test_the_last_lines_name_what_is_missing(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert ran.returncode == 0
    summary, last = ran.stdout.splitlines()[-2:]
    assert summary == (
        "skipped 3 tests for want of: chromium (3), node (2): `make test-all` installs them"
    )
    assert "1 passed, 4 skipped" in last


def test_a_file_that_is_skipped_whole_leaves_the_count_alone(tmp_path: Path) -> None:
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.importorskip('no_such_package')\n"
    )
    ran = run(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "skipped 3 tests for want of: chromium (3), node (2)" in ran.stdout


def test_nothing_is_said_where_nothing_is_missing(tmp_path: Path) -> None:
    ran = run(tmp_path, "-k", "three or four")
    assert ran.returncode == 0
    assert "for want of" not in ran.stdout


def test_what_needs_a_browser_is_marked_so(tmp_path: Path) -> None:
    assert "1 passed, 1 skipped, 3 deselected" in run(tmp_path, "-m", "not browser").stdout
    assert "3 skipped, 2 deselected" in run(tmp_path, "-m", "browser").stdout


def test_what_needs_another_library_is_marked_so(tmp_path: Path) -> None:
    (tmp_path / "test_peers.py").write_text(PEERS)
    chosen = run(tmp_path, "-m", "peer", "--collect-only", "-q").stdout
    assert [line.split("::")[1] for line in chosen.splitlines() if "::" in line] == [
        "test_torch", "test_jax",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_skip_fails_where_none_is_allowed(name: str, tmp_path: Path) -> None:
    ran = run(tmp_path, "-k", name, CHAINRULE_NO_SKIPS="1")
    assert ran.returncode == 1
    assert "was skipped, which CI forbids" in ran.stdout

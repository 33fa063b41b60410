"""What several files of the project say alike: the version, the dependencies and their reasons."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import chainrule

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def packages(requirements: list[str]) -> list[str]:
    """The names, in lower case, of what is not chainrule with extras."""
    names = [re.split(r"[\[<>=; ]", line)[0].lower() for line in requirements]
    return [name for name in names if name != "chainrule"]


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [chainrule.__version__]


def test_each_dependency_has_a_reason() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    first, second = section.split("| extra | packages | why |")
    reasons = re.findall(r"^\| (\w+) \| .+ \| .+ \|$", first, re.MULTILINE)[1:]
    assert sorted(name.lower() for name in reasons) == sorted(packages(PROJECT["dependencies"]))
    extras = PROJECT["optional-dependencies"]
    for extra in set(extras) - {
        "test",
        "lint",
        "docs",
        "bench",
        "coverage",
        "package",
        "fuzz",
        "dev",
    }:
        row = next(line for line in second.splitlines() if f"`{extra}`" in line)
        assert len(row.strip("| ").split(" | ")) == 3


@pytest.mark.parametrize("heavy", ["scipy", "scikit-learn", "pandas", "torch"])
def test_what_is_large_is_not_required(heavy: str) -> None:
    assert heavy not in packages(PROJECT["dependencies"])


def test_each_library_that_is_linked_has_a_notice() -> None:
    """The bill of materials and the notices name the same libraries, with the same addresses."""
    notices = (ROOT / "THIRD_PARTY_NOTICES").read_text(encoding="utf-8")
    linked = re.findall(
        r'^    \("(\S+)", "[^"]+", "(\S+)"\),$',
        (ROOT / "tools" / "sbom.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert all(name in notices and address in notices for name, address in linked)
    addresses = re.findall(r"^\S.*(https://[^\s,:]+).*\n-{20}", notices, re.MULTILINE)
    assert len(addresses) >= 4
    assert set(addresses) <= {address for _, address in linked}

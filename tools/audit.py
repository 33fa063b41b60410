"""Audit what chainrule brings with it: known vulnerabilities, licences, and notices.

    python tools/audit.py

Ask PyPI through pip-audit about every distribution of this environment; list the licences of what
`pip install chainrule` installs; compare THIRD_PARTY_NOTICES with the licences of the nanobind that
is installed here. Exit with 1 if one of them is not as it should be. Without a network the first
part says so, and fails in CI alone.
"""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# What may be used without a thought by those who use chainrule, whose own licence is MIT.
FREE = re.compile(r"MIT|BSD|Apache|PSF|Python Software Foundation|MPL|ISC|Zlib|0BSD|CC0")


def vulnerabilities() -> list[str]:
    """Return a line for each vulnerability that PyPI knows of in this environment."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner=off", "--skip-editable"]
    ran = subprocess.run([*command, "--format=json"], capture_output=True, text=True)
    found = json.loads(ran.stdout)["dependencies"] if ran.stdout.startswith("{") else []
    asked = [one for one in found if "vulns" in one]
    print(f"vulnerabilities: asked PyPI about {len(asked)} distributions of {len(found)}")
    if not asked:
        print("  PyPI answered for none of them: nothing was audited")
        return ["vulnerabilities: nothing was audited"] if os.environ.get("CI") else []
    return [
        f"{one['name']} {one['version']}: {bad['id']}, fixed in {', '.join(bad['fix_versions'])}"
        for one in asked
        for bad in one["vulns"]
    ]


def required(name: str, seen: set[str]) -> set[str]:
    """Return the distributions that installing one brings, itself included, as they are here."""
    if name in seen:
        return seen
    seen.add(name)
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required(requirement.name.lower(), seen)
    return seen


def licence(name: str) -> str:
    """Return the licence that a distribution states: an SPDX expression, classifiers or text."""
    about = metadata.metadata(name)
    classifiers = [
        c.rpartition("::")[2] for c in about.get_all("Classifier", ()) if "License ::" in c
    ]
    texts = (about["License-Expression"], *classifiers, about["License"], "none stated")
    return next(text.strip().partition("\n")[0] for text in texts if text)


def licences() -> list[str]:
    """Print the licences of the required distributions; return a line for each that is not free."""
    stated = {name: licence(name) for name in sorted(required("chainrule", set()))}
    print(*(f"licence: {name:18} {text}" for name, text in stated.items()), sep="\n")
    return [f"{name}: licence {text}" for name, text in stated.items() if not FREE.search(text)]


def notices() -> list[str]:
    """Return a line for each library in the core whose licence THIRD_PARTY_NOTICES lacks."""
    shipped = " ".join((ROOT / "THIRD_PARTY_NOTICES").read_text(encoding="utf-8").split())
    spec = importlib.util.find_spec("nanobind")
    if spec is None or spec.origin is None:
        return ["nanobind is not installed here: its licence cannot be compared"]
    header = Path(spec.origin).parent / "ext/robin_map/include/tsl/robin_map.h"
    comment = header.read_text(encoding="utf-8").partition("/**")[2].partition("*/")[0]
    texts = {"robin-map": re.sub(r"^ \* ?", "", comment, flags=re.MULTILINE)}
    for file in metadata.files("nanobind") or ():
        if file.name == "LICENSE":
            texts["nanobind"] = file.read_text(encoding="utf-8")
    print("notices:", ", ".join(sorted(texts)))
    return [
        f"THIRD_PARTY_NOTICES lacks the licence of {name}, as installed here"
        for name, text in texts.items()
        if " ".join(text.split()) not in shipped
    ]


if __name__ == "__main__":
    wrong = [*vulnerabilities(), *licences(), *notices()]
    print(*wrong or ["nothing to complain of"], sep="\n")
    sys.exit(bool(wrong))

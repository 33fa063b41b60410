"""Write build/sbom.cdx.json, the software bill of materials of the wheel in dist/.

    python tools/sbom.py

It is CycloneDX, in JSON: the distributions that the wheel brings into a fresh environment, and the
libraries that are linked into the core.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOLS = ("pip", "setuptools")  # of the environment itself
LINKED = (  # into the core, and into that of live pages, as in THIRD_PARTY_NOTICES
    ("nanobind", "BSD-3-Clause", "https://github.com/wjakob/nanobind"),
    ("robin-map", "MIT", "https://github.com/Tessil/robin-map"),
    ("wasi-libc", "MIT", "https://github.com/WebAssembly/wasi-libc"),
    ("musl", "MIT", "https://musl.libc.org"),
    ("libc++", "Apache-2.0 WITH LLVM-exception", "https://llvm.org"),
    ("libc++abi", "Apache-2.0 WITH LLVM-exception", "https://llvm.org"),
    ("compiler-rt", "Apache-2.0 WITH LLVM-exception", "https://llvm.org"),
)


def installed(folder: Path) -> Path:
    """Install the wheel of dist/ in a fresh environment in a folder; return that one's Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    wheel = [*pip, "--no-index", "--no-deps", f"--find-links={ROOT / 'dist'}", "chainrule"]
    subprocess.run(wheel, check=True)
    subprocess.run([*pip, "chainrule"], check=True)  # is there already: what it needs is installed
    return python


def bill(python: Path) -> dict[str, Any]:
    """Return the bill of an environment, with what is linked into chainrule as parts of it."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--of", "JSON"]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    components = found["components"]
    found["components"] = components = [c for c in components if c["name"] not in TOOLS]
    next(c for c in components if c["name"] == "chainrule")["components"] = [
        {
            "type": "library",
            "name": name,
            "bom-ref": f"linked-{name}",
            "licenses": [
                {"expression": licence} if " " in licence else {"license": {"id": licence}}
            ],
            "externalReferences": [{"type": "vcs", "url": url}],
        }
        for name, licence, url in LINKED
    ]
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = bill(installed(Path(name)))
    file = ROOT / "build" / "sbom.cdx.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(
        f"{file.relative_to(ROOT)}: {len(found['components'])} distributions, {len(LINKED)} linked"
    )

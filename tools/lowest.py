"""An environment with the lowest version of every dependency that pyproject.toml allows.

    python tools/lowest.py FOLDER

Makes FOLDER anew and installs chainrule with the extras of the tests there. The floors (`>=`) of
pyproject.toml, those of the build among them, become the exact versions; what chainrule does not
name itself is as new as they let it be. So a floor that is too low shows: pip finds no solution, or
a test fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# Not torch: its oldest versions come with gigabytes for GPUs only. `make test-all` has a newer one.
EXTRAS = ("test", "jax", "mlflow", "tensorboard")


def requirements(project: dict[str, list[str]], extra: str) -> list[Requirement]:
    """What an extra asks for, with what the extras ask for that it names."""
    found = []
    for line in project[extra]:
        requirement = Requirement(line)
        if requirement.name == "chainrule":
            for other in sorted(requirement.extras):
                found += requirements(project, other)
        else:
            found.append(requirement)
    return found


def floors(wanted: list[Requirement]) -> dict[str, str]:
    """The lowest version of each package; ValueError where it has none, or two."""
    found: dict[str, str] = {}
    for requirement in wanted:
        lowest = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
        if len(lowest) != 1:
            raise ValueError(f"pyproject.toml: {requirement} has no lowest version: write >=")
        name = requirement.name.lower()
        if found.setdefault(name, lowest[0]) != lowest[0]:
            raise ValueError(
                f"pyproject.toml: {name} has the lowest versions {found[name]} and {lowest[0]}, of "
                "which only the higher can be tested: write one"
            )
    return found


def main(folder: Path) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    wanted = [each for extra in ("", *EXTRAS) for each in requirements(extras, extra)]
    run = floors(wanted)
    build = floors([Requirement(line) for line in pyproject["build-system"]["requires"]])
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    constraints = {}
    for use, versions in (("run", run), ("build", build)):
        constraints[use] = folder / f"{use}.txt"
        lines = "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
        constraints[use].write_text(lines, encoding="utf-8")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip>=25.3"], check=True)  # has --build-constraint
    subprocess.run(
        [*pip, "--constraint", str(constraints["run"]),
         "--build-constraint", str(constraints["build"]),
         f"{ROOT}[{','.join(EXTRAS)}]"],
        check=True,
    )  # fmt: skip
    print(f"{folder}: {', '.join(f'{name} {version}' for name, version in sorted(run.items()))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

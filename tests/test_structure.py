"""The house: imports run downwards, without circles, and private names stay in their folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import chainrule

SOURCE = Path(chainrule.__file__).parent

# From the top down, as docs/design.md has them: a folder imports only those that stand below it.
ORDER = [
    ["__main__"],
    ["cli"],
    ["__init__"],
    ["mlflow", "ray"],
    ["sklearn"],
    ["tables"],
    ["distributed"],
    ["ensemble"],
    ["loading"],
    ["network"],
    ["explorer"],
    ["foreign"],
    ["teach"],
    ["explain"],
    ["training"],
    ["diagnose"],
    ["verify"],
    ["engines"],
    ["storage", "places"],
    ["equations"],
    ["random", "_version", "_exports", "_forks"],
]
GROUND = ORDER[-1]
FLOOR = {room: floor for floor, rooms in enumerate(reversed(ORDER)) for room in rooms}


def modules(source: Path) -> dict[str, Path]:
    """Every module by its dotted name below the package; the package itself is ""."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[tuple[str, str, int]]:
    """What a file imports of the package, wherever it does: (module, name or "", line)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "chainrule":
                    yield alias.name.partition(".")[2], "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name"
            package, _, inside = (node.module or "").partition(".")
            if package != "chainrule":
                continue
            for alias in node.names:
                whole = f"{inside}.{alias.name}".lstrip(".")
                if whole in known:
                    yield whole, "", node.lineno
                else:
                    yield inside, alias.name, node.lineno


def room(module: str) -> str:
    return module.split(".")[0] or "__init__"


def private_names(tree: ast.AST) -> tuple[set[str], list[tuple[str, int]]]:
    """The private names that a file defines, and the attributes of others that it uses."""
    defined, used = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            if isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            elif not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                used.append((node.attr, node.lineno))
    return defined, used


def faults(source: Path) -> list[str]:
    """Everything that runs up, round in a circle, or into another folder's private names."""
    known = modules(source)
    found = []
    graph: dict[str, set[str]] = {module: set() for module in known}
    for module, path in known.items():
        here = room(module)
        if here not in FLOOR:
            found.append(f"{here} has no floor: write it into ORDER, and into docs/design.md")
            continue
        for target, name, line in imports(path, known):
            there = room(target)
            place = f"{path.relative_to(source)}:{line}"
            if target != module and target in graph and not module.startswith(f"{target}."):
                graph[module].add(target)
            if there != here and FLOOR[there] >= FLOOR[here]:
                found.append(f"{place} imports {there}, which does not stand below {here}")
            private = [part for part in (*target.split("."), name) if part.startswith("_")]
            if there not in (here, *GROUND) and private and not name.startswith("__"):
                found.append(f"{place} uses {'.'.join(private)}, which is private to {there}")
    names = {m: private_names(ast.parse(p.read_text(encoding="utf-8"))) for m, p in known.items()}
    homes: dict[str, set[str]] = {}
    for module, (defined, _) in names.items():
        for name in defined:
            homes.setdefault(name, set()).add(room(module))
    for module, (_, used) in names.items():
        for name, line in used:
            if name in homes and room(module) not in homes[name]:
                where = " and ".join(sorted(homes[name]))
                place = f"{known[module].relative_to(source)}:{line}"
                found.append(f"{place} uses {name}, which is private to {where}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a circle: {' -> '.join(error.args[1])}")
    return found


def test_imports_run_downwards() -> None:
    assert faults(SOURCE) == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        (
            "equations/low.py",
            "from chainrule.engines import base",
            "low.py:1 imports engines",
        ),
        ("equations/low.py", "def f():\n    import chainrule.network", "low.py:2 imports network"),
        ("equations/low.py", "from chainrule import Network", "imports __init__"),
        ("engines/base.py", "from chainrule.equations.data import _rows", "uses _rows"),
        ("engines/base.py", "def f(x):\n    x._rows()", "base.py:2 uses _rows"),
        ("attic/new.py", "", "attic has no floor"),
        (
            "equations/low.py",
            "if TYPE_CHECKING:\n    from chainrule.equations.high import x",
            "a circle: ",
        ),
    ],
)
def test_a_fault_is_found(file: str, line: str, fault: str, tmp_path: Path) -> None:
    for name, text in {
        "__init__.py": "",
        "network.py": "",
        "equations/__init__.py": "",
        "equations/data.py": "_rows = 1",
        "equations/high.py": "from chainrule.equations import low\nx = low",
        "equations/low.py": "",
        "engines/__init__.py": "",
        "engines/base.py": "",
        file: line,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert any(fault in found for found in faults(tmp_path)), faults(tmp_path)

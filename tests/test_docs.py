"""The examples of README.md and docs/*.md, executed.

Each page is one run, from top to bottom, in an empty folder (with the repository's ``examples``):

- ``python`` blocks run in one namespace; those that start with ``>>>`` are compared with what the
  page shows, where ``...`` stands for any text.
- ``console`` blocks: of the lines that start with ``$``, those that call ``chainrule`` or
  ``python`` run, and so does ``make demo``, as ``chainrule demo``; others (``git``, ``pip``) do
  not. Output that the page shows is compared as above; where it shows none, the command has to
  succeed. A command goes on in the next line after a backslash.
- ``<!-- skip: next -->`` before a block leaves it out.
"""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent.parent
# design.md is a contract: its block lists the interface, with names that stand for any data.
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.exists() and page.name != "design.md"
]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that the page shows."""
    lines = iter(block.splitlines())
    command, shown = "", list[str]()
    for line in lines:
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(shown)
            command, shown = line.removeprefix("$ "), []
            while command.endswith("\\"):
                command = command.removesuffix("\\") + next(lines).strip()
        else:
            shown.append(line)
    if command:
        yield command, "\n".join(shown)


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line with this Python's programs, on a screen of 100 columns."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        command,
        shell=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def lines_of(text: str) -> str:
    """The text with no blanks at the end of its lines, and one line feed at its own end."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


def evaluate_console(example: Example) -> str | None:
    """Run the commands of a block; give what differs, or None."""
    checker = doctest.OutputChecker()
    for command, shown in commands(example.parsed):
        if command == "make demo":
            command = "chainrule demo"
        if command.split()[0] not in ("chainrule", "python"):
            continue
        ran = run(command)
        want, got = lines_of(shown), lines_of(ran.stdout)
        if not shown.strip():
            if ran.returncode:
                return f"$ {command}\nexited with {ran.returncode}:\n{got}"
        elif not checker.check_output(want, got, doctest.ELLIPSIS):
            shown_example = doctest.Example(command, want)
            difference = checker.output_difference(shown_example, got, doctest.REPORT_NDIFF)
            return f"$ {command}\n{difference}"
    return None


PARSE = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF),
        CodeBlockParser("console", evaluate_console),
        SkipParser(),
    ]
).parse


def execute(page: Path) -> None:
    """Run the examples of a page in the current folder."""
    for example in PARSE(page):
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    execute(page)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```python\n>>> 1 + 1\n3\n```\n", r"- 3\n +\+ 2"),
        ("```python\nassert 1 + 1 == 3, 'rotten'\n```\n", "rotten"),
        ("```console\n$ python -c 'print(1)'\n2\n```\n", r"- 2\n +\+ 1"),
        ("```console\n$ python -c 'raise SystemExit(3)'\n```\n", "exited with 3"),
        ("```console\n$ git --none\n$ python \\\n    -c 'print(1)'\n2\n```\n", r"- 2\n +\+ 1"),
    ],
)
def test_a_wrong_page_fails(block: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}", encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        execute(page)


def test_a_right_page_passes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n\n```python\n>>> x + 1\n3\n```\n\n"
        "```console\n$ git --none\n$ python -c 'print(1); print(); print(\"a b \")'\n"
        "1\n\na ...\n\n$ python -c ''\n```\n",
        encoding="utf-8",
    )
    execute(page)

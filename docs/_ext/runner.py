"""Run the examples of a page and compare them with what the page shows.

A page is one run from top to bottom, in an empty folder that links to the repository's
``examples``. Its fenced blocks are examples:

- ``python`` blocks share one namespace. Where they hold ``>>>``, each result is compared with the
  page, in which ``...`` stands for any text.
- ``console`` blocks: of the lines that start with ``$``, those that call ``chainrule`` or
  ``python`` run, and so does ``make demo``, as ``chainrule demo``; others (``git``, ``pip``) do
  not. Output that the page shows is compared as above; where it shows none, the command has to
  succeed. A command continues in the next line after a backslash.
- A ``{rendered}`` block holds an expression whose figure or HTML the page shows in its place; what
  follows the name is the caption.
- ``<!-- skip: next -->`` leaves the next block out, and ``<!-- needs: torch -->`` does so unless
  the package is installed.

`execute` is what the tests call. Run as a program, this file prints the page as the site shows it,
with the results of this run in place of ``...``, and writes its figures into a folder.
"""

from __future__ import annotations

import doctest
import html
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
COLUMNS = 88  # of the terminal in which commands run; wider lines would scroll on the site
_MOST_LINES = 3  # that a "..." within a line may become

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>python|console|\{rendered\})(?P<caption>[^\n]*)\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_CONDITION = re.compile(r"<!-- (?:skip: next|needs: (?P<package>\w+)) -->\s*$")


class ExampleError(AssertionError):
    """An example does something other than the page shows."""


@dataclass
class Block:
    """A fenced block of a page, and where it stands."""

    language: str
    caption: str
    body: str
    indent: str
    line: int
    start: int
    end: int
    runs: bool


def blocks(text: str) -> Iterator[Block]:
    """Find the examples of a page."""
    for match in _BLOCK.finditer(text):
        condition = _CONDITION.search(text, 0, match.start())
        package = condition and condition["package"]
        runs = condition is None or (
            package is not None and importlib.util.find_spec(package) is not None
        )
        yield Block(
            match["language"].strip("{}"), match["caption"].strip(),
            textwrap.dedent(match["body"]), match["indent"],
            text.count("\n", 0, match.start()) + 1, match.start(), match.end(), runs,
        )  # fmt: skip


def execute(page: Path, figures: Path | None = None) -> str:
    """Run the examples of a page in the current folder; return the page with their results.

    Raises ExampleError, which names page and line, for the first that differs.
    """
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown: list[str] = []
    done = 0
    for block in blocks(text):
        if not block.runs:
            continue
        try:
            new = _RUN[block.language](block, namespace, figures)
        except ExampleError as error:
            raise ExampleError(f"{page}, line {block.line}: {error}") from None
        shown += [text[done : block.start], textwrap.indent(new, block.indent)]
        done = block.end
    return "".join([*shown, text[done:]])


# --- Python ---------------------------------------------------------------------------------------


class _Recorder(doctest.DocTestRunner):
    """Keeps what each example printed; stops at the first that differs."""

    def __init__(self) -> None:
        super().__init__(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF, verbose=False)
        self.got: list[str] = []

    def report_success(self, out: Any, test: Any, example: Any, got: str) -> None:
        self.got.append(got)

    def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
        difference = doctest.OutputChecker().output_difference(example, got, self.optionflags)
        raise ExampleError(f"{example.source}{difference}")

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, info: Any) -> None:
        raise ExampleError(f"{example.source}raised {info[0].__name__}: {info[1]}") from info[1]


def _python(block: Block, namespace: dict[str, Any], figures: Path | None) -> str:
    if not re.search(r"^>>> ", block.body, re.MULTILINE):
        code = compile(block.body, f"<line {block.line}>", "exec", dont_inherit=True)
        try:
            exec(code, namespace)
        except Exception as error:
            raise ExampleError(f"{type(error).__name__}: {error}") from error
        return _fence("python", block.body)
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.body, {}, f"line {block.line}", None, None)
    test.globs = namespace
    recorder = _Recorder()
    recorder.run(test, clear_globs=False)
    lines = block.body.splitlines(keepends=True)
    shown: list[str] = []
    line = 0
    for example, got in zip(test.examples, recorder.got, strict=True):
        source_end = example.lineno + example.source.count("\n")
        want_end = source_end + example.want.count("\n")
        shown += lines[line:source_end]
        if example.exc_msg is not None:  # the page shows no stack
            got = "Traceback (most recent call last):\n    ...\n" + re.split(r"\n(?=\w)", got)[-1]
        shown.append(merged("".join(lines[source_end:want_end]), got))
        line = want_end
    return _fence("python", "".join([*shown, *lines[line:]]))


def merged(want: str, got: str) -> str:
    """Fill in each ``...`` that stands within a line or for all; one for some lines is kept."""
    if want.strip() == "...":
        return got
    want = re.sub(r"^<BLANKLINE>$", "", want, flags=re.MULTILINE)
    parts = re.split(r"(\.\.\.)", want)
    for within in (
        r"([^\n]*?)",
        r"(.*?)",
    ):  # the second for one that stands for a line's end and more
        pattern = "".join(
            re.escape(part) if i % 2 == 0 else r"(?:.*?)" if _is_alone(parts, i) else within
            for i, part in enumerate(parts)
        )
        if match := re.fullmatch(pattern, got.rstrip("\n") + "\n", re.DOTALL):
            found = iter(match.groups())
            for i in range(1, len(parts), 2):
                if not _is_alone(parts, i) and (text := next(found)).count("\n") <= _MOST_LINES:
                    parts[i] = text
            return "".join(parts)
    return want


def _is_alone(parts: list[str], i: int) -> bool:
    before = not parts[i - 1] or parts[i - 1].endswith("\n")
    return before and (not parts[i + 1] or parts[i + 1].startswith("\n"))


# --- commands -------------------------------------------------------------------------------------


def commands(body: str) -> Iterator[tuple[str, str, str]]:
    """Find each command of a console block: as written, as run, and what the page shows of it."""
    lines = iter(body.splitlines(keepends=True))
    written = command = shown = ""
    for line in lines:
        if line.startswith("$ "):
            if command:
                yield written, command, shown
            written, command, shown = line, line.removeprefix("$ ").strip(), ""
            while command.endswith("\\"):
                line = next(lines)
                written += line
                command = command.removesuffix("\\") + line.strip()
        else:
            shown += line
    if command:
        yield written, command, shown


def _console(block: Block, namespace: dict[str, Any], figures: Path | None) -> str:
    checker, parts = doctest.OutputChecker(), []
    for written, command, shown in commands(block.body):
        program = "chainrule demo" if command == "make demo" else command
        parts += [written, shown]
        if program.split()[0] not in ("chainrule", "python"):
            continue
        ran = _run(program)
        want, got = _trimmed(shown), _trimmed(ran.stdout)
        if not shown.strip():
            if ran.returncode:
                raise ExampleError(f"$ {command}\nexited with {ran.returncode}:\n{got}")
        elif checker.check_output(want, got, doctest.ELLIPSIS):
            parts[-1] = merged(want, got)
        else:
            example = doctest.Example(command, want)
            difference = checker.output_difference(example, got, doctest.REPORT_NDIFF)
            raise ExampleError(f"$ {command}\n{difference}")
    return _fence("console", "".join(parts))


def _run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line with this Python's programs."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        command, shell=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


# --- figures and HTML -----------------------------------------------------------------------------


def _rendered(block: Block, namespace: dict[str, Any], figures: Path | None) -> str:
    result = eval(block.body.strip(), namespace)
    figure = getattr(result, "figure", result)
    if hasattr(figure, "savefig"):
        if figures is None:
            return ""
        file = figures / f"{block.line}.svg"
        figure.savefig(file, transparent=True, bbox_inches="tight")
        alt = html.escape(re.sub(r"[`$*]", "", block.caption))
        return (
            f":::{{figure}} /{file.relative_to(ROOT / 'docs').as_posix()}\n"
            f":class: plot dark-light\n:alt: {alt}\n\n{block.caption}\n:::"
        )
    if not hasattr(result, "_repr_html_"):
        raise ExampleError(f"{block.body.strip()} is neither a figure nor HTML")
    markup = re.sub(r"\n\s*\n", "\n", result._repr_html_())
    label = html.escape(block.caption, quote=True)
    return (
        f'```{{raw}} html\n<div class="rendered" role="group" aria-label="{label}" tabindex="0">\n'
        f"{markup}\n</div>\n```"
    )


def _fence(language: str, body: str) -> str:
    return f"```{language}\n{body}```"


_RUN: dict[str, Callable[[Block, dict[str, Any], Path | None], str]] = {
    "python": _python,
    "console": _console,
    "rendered": _rendered,
}


def main() -> None:
    """Print a page with its results; the arguments are the page and the folder of its figures."""
    page, figures = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    figures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        os.chdir(folder)
        try:
            shown = execute(page, figures)
        except ExampleError as error:
            sys.exit(str(error))
        os.chdir(ROOT)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(shown)


if __name__ == "__main__":
    main()

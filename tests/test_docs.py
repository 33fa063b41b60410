"""The examples of README.md, of the pages in docs, and of the gallery, executed; the reference."""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
DOCS = ROOT / "docs"

# design.md is a contract: its block lists the interface, with names that stand for any data. The
# reference is generated from docstrings, whose examples pytest runs where they stand.
SKIPPED = {"design.md", "_build", "_ext", "_generated", "gallery", "api"}
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted(DOCS.rglob("*.md")) if not SKIPPED & set(p.relative_to(DOCS).parts)),
]
GALLERY = sorted((ROOT / "examples" / "gallery").glob("*.py"))


def helper(name: str) -> ModuleType:
    """A module of the site's own code."""
    if str(DOCS / "_ext") not in sys.path:
        sys.path.append(str(DOCS / "_ext"))
    return importlib.import_module(name)


runner = helper("runner")
catalogue = helper("catalogue")
docstrings = helper("docstrings")


@pytest.fixture(autouse=True)
def figures_are_not_shown() -> Iterator[None]:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    runner.execute(page)


@pytest.mark.parametrize("script", GALLERY, ids=lambda script: script.stem)
def test_gallery(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))


# --- what the runner notices ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```python\n>>> 1 + 1\n3\n```\n", r"- 3\n +\+ 2"),
        ("```python\nassert 1 + 1 == 3, 'rotten'\n```\n", "line 3: AssertionError: rotten"),
        ("```python\n>>> 1 + 1\n2\n>>> 1 / 0\n```\n", "ZeroDivisionError"),
        (
            (
                "```python\n>>> int('x')\nTraceback (most recent call last):\n    ...\n"
                "ValueError: y\n```\n"
            ),
            r"invalid literal",
        ),
        ("   ```python\n   >>> 1 + 1\n   3\n   ```\n", r"- 3\n +\+ 2"),
        ("```console\n$ python -c 'print(1)'\n2\n```\n", r"- 2\n +\+ 1"),
        ("```console\n$ python -c 'raise SystemExit(3)'\n```\n", "exited with 3"),
        ("```console\n$ git --none\n$ python \\\n    -c 'print(1)'\n2\n```\n", r"- 2\n +\+ 1"),
        ("```{rendered} A caption\n1 + 1\n```\n", "neither a figure nor HTML"),
        ("<!-- needs: json -->\n```python\n>>> 1 + 1\n3\n```\n", r"- 3\n +\+ 2"),
    ],
)  # fmt: skip
def test_a_wrong_page_fails(block: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}", encoding="utf-8")
    with pytest.raises(runner.ExampleError, match=complaint):
        runner.execute(page)


def test_a_right_page_passes_and_shows_its_results(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\n```\n\n```python\n>>> x / 3\n0.66...\n"
        ">>> print('a', '', 'b', sep='\\n')\na\n<BLANKLINE>\nb\n"
        ">>> int('x')\nTraceback (most recent call last):\n    ...\n"
        "ValueError: invalid literal for int() ...\n```\n\n"
        "```console\n$ git --none\n$ python -c 'print(1); print(); print(\"a b \")'\n"
        "1\n\na ...\n\n$ python -c 'print(1); print(2); print(3)'\n...\n3\n```\n\n"
        "<!-- needs: no_such_package -->\n```python\n>>> 1 + 1\n3\n```\n\n"
        "<!-- skip: next -->\n```python\n>>> 1 + 1\n3\n```\n",
        encoding="utf-8",
    )
    shown = runner.execute(page)
    assert "\n0.666666" in shown  # the rest of a line is filled in
    assert "\na\n\nb\n" in shown
    assert "ValueError: invalid literal for int() with base 10: 'x'" in shown
    assert "\na b\n" in shown
    assert "\n...\n3\n" in shown  # lines that were left out stay so
    assert shown.count(">>> 1 + 1\n3\n") == 2  # not run


def test_a_figure_is_drawn_where_it_stands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport matplotlib.pyplot as plt\n_, axes = plt.subplots()\n```\n\n"
        "```{rendered} Nothing, `drawn`\naxes\n```\n",
        encoding="utf-8",
    )
    folder = DOCS / "_generated" / "figures" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        shown = runner.execute(page, folder)
        assert ":::{figure} /_generated/figures/test/6.svg" in shown
        assert ":alt: Nothing, drawn" in shown
        assert (folder / "6.svg").read_text(encoding="utf-8").startswith("<?xml")
    finally:
        (folder / "6.svg").unlink(missing_ok=True)
        folder.rmdir()


# --- the reference --------------------------------------------------------------------------------


def public_names() -> set[str]:
    names = set()
    for module in ("chainrule", "chainrule.sklearn", "chainrule.verify", "chainrule.random"):
        package = importlib.import_module(module)
        found = getattr(package, "__all__", None) or [
            name for name, value in vars(package).items()
            if inspect.isfunction(value) and value.__module__ == module and name[0] != "_"
        ]  # fmt: skip
        names |= {f"{module}.{name}" for name in found if name != "__version__"}
    # one page is enough for a name that two modules have
    return names - {"chainrule.sklearn.explain_sklearn"}


def test_every_public_name_has_a_page() -> None:
    listed = [name for group in catalogue.GROUPS for name in group.names]
    assert len(listed) == len(set(listed))
    assert public_names() <= set(listed)


SHOWN = {name: docstrings.found(name) for group in catalogue.GROUPS for name in group.names}
DOCUMENTED = SHOWN | {
    f"{name}.{member}": value
    for name, obj in SHOWN.items()
    if inspect.isclass(obj)
    for member, value in docstrings.members(name, obj).items()
    if not name.startswith("chainrule.sklearn") or member in vars(obj)
}


def parameters(name: str) -> set[str]:
    obj = DOCUMENTED[name]
    is_warning = inspect.isclass(obj) and issubclass(obj, Warning)
    if not callable(obj) or name in catalogue.NOT_MADE or is_warning:
        return set()
    is_method = inspect.isclass(SHOWN.get(name.rpartition(".")[0]))
    known = [*inspect.signature(obj).parameters][1 if is_method else 0 :]
    return set(known)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_parameter_is_described(name: str) -> None:
    """Each is, by its own name, in the docstring of what takes it; and no other is."""
    _, sections = docstrings.parts_of(inspect.getdoc(DOCUMENTED[name]) or "")
    described = {entry for entry, _ in docstrings.entries(sections.get("Args", ""))}
    if name in catalogue.NOT_MADE:
        return
    if name.startswith("chainrule.Network."):
        described.discard("network")  # which is self
    assert described == parameters(name)


@pytest.mark.parametrize("name", SHOWN)
def test_every_public_name_has_an_example_and_a_summary(name: str) -> None:
    text, sections = docstrings.parts_of(inspect.getdoc(SHOWN[name]) or "")
    assert text
    base_classes = {"chainrule.Optimizer", "chainrule.Schedule"}
    assert ">>>" in sections.get("Example", "") or name in base_classes


# --- the check of the built site ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ('<a href="b.html">', None),
        ('<a href="b.html#here">', None),
        ('<a href="#top"><p id="top">', None),
        ('<a href="https://example.org/gone">', None),  # another site's links are not ours
        ('<img src="data:image/png;base64,AAAA">', None),
        ('<link rel="canonical" href="https://example.org/a.html">', None),
        ('<a href="c.html">', "dead link 'c.html'"),
        ('<a href="b.html#there">', "no such place 'b.html#there'"),
        ('<a href="#there">', "no such place '#there'"),
        ('<img src="gone.png">', "loads 'gone.png', which is not there"),
        ('<script src="https://cdn.example.org/x.js">', "from another server"),
        ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "from another server"),
        ("<style>@import 'https://example.org/x.css';</style>", "from another server"),
    ],
)
def test_a_faulty_site_is_noticed(markup: str, fault: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f"<html>{markup}</html>", encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="here">B</h1>', encoding="utf-8")
    found = helper("check_site").faults(tmp_path)
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fault in found[0]


def test_a_style_sheet_that_loads_a_font_from_elsewhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face {src: url(https://example.org/x.woff2)}")
    (tmp_path / "b.css").write_text("@font-face {src: url('x.woff2')}")
    (tmp_path / "x.woff2").touch()
    (fault,) = helper("check_site").faults(tmp_path)
    assert fault == "a.css: loads 'https://example.org/x.woff2' from another server"

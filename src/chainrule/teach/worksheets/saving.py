"""Saving: the files of a worksheet in each format."""

from __future__ import annotations

import os
from collections.abc import Callable

from chainrule.storage.atomic import write_atomically
from chainrule.teach.worksheets import blocks, grading, html, latex, moodle, nbgrader, pdf, qti
from chainrule.teach.worksheets.deck import Deck

Files = dict[str, bytes]
_PAGES = (
    ("sheets", "Worksheet", blocks.sheets),
    ("keys", "Keys", blocks.keys),
    ("overview", "Overview", blocks.overview),
)


def save(worksheet: Deck, folder: str | os.PathLike[str], format: str) -> list[str]:
    """Write a worksheet into a folder, and return the paths."""
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; expected {', '.join(FORMATS)}")
    files = FORMATS[format](worksheet)  # all of them before the first is written
    files["key.json"] = grading.key_of(worksheet).encode()
    files["answers.csv"] = grading.template(worksheet).encode()
    paths = []
    for name, content in files.items():
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, content)
        paths.append(path)
    return paths


def _pages(worksheet: Deck, suffix: str, page: Callable[..., str | bytes]) -> Files:
    """Return sheets, keys and overview, as ``page`` of a format makes a file of blocks."""
    sizes = worksheet.variants[0].network.sizes
    files = {}
    for name, title, make in _PAGES:
        made = page(title, make(worksheet), worksheet.notation, sizes)
        files[f"{name}.{suffix}"] = made.encode() if isinstance(made, str) else made
    return files


def _html(worksheet: Deck) -> Files:
    return _pages(worksheet, "html", html.page)


def _pdf(worksheet: Deck) -> Files:
    return _pages(worksheet, "pdf", pdf.pdf)


def _latex(worksheet: Deck) -> Files:
    return _pages(worksheet, "tex", latex.page)


def _moodle(worksheet: Deck) -> Files:
    return {"moodle.xml": moodle.quiz(worksheet), **_teachers(worksheet)}


def _qti(worksheet: Deck) -> Files:
    return {"qti.zip": qti.package(worksheet), **_teachers(worksheet)}


def _nbgrader(worksheet: Deck) -> Files:
    return {**nbgrader.notebooks(worksheet), **_teachers(worksheet)}


def _teachers(worksheet: Deck) -> Files:
    """Return the keys and the overview as HTML, which quizzes for a class come with."""
    files = _html(worksheet)
    del files["sheets.html"]
    return files


FORMATS: dict[str, Callable[[Deck], Files]] = {
    "html": _html,
    "pdf": _pdf,
    "latex": _latex,
    "moodle": _moodle,
    "qti": _qti,
    "nbgrader": _nbgrader,
}

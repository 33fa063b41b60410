"""Run every page when the site is built, and show what came out of it.

Each page is a process of its own (see `runner`), a few at a time; a page whose results differ from
what it says is a warning, which `make docs` turns into an error. ``executed_pages = False`` builds
the pages as they are written, for a quick look at a change of text.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import runner
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util import logging

_logger = logging.getLogger(__name__)
_runs: dict[str, Future[subprocess.CompletedProcess[str]]] = {}
FIGURES = Path("_generated", "figures")


def start(app: Sphinx) -> None:
    """Start the runs of all pages with examples; Sphinx goes on meanwhile."""
    shutil.rmtree(app.srcdir / FIGURES, ignore_errors=True)
    _runs.clear()
    if not app.config.executed_pages:
        return
    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    for docname in sorted(app.project.discover(app.config.exclude_patterns)):
        page = Path(app.srcdir, f"{docname}.md")
        if not page.exists() or docname in app.config.executed_except:
            continue
        if any(True for _ in runner.blocks(page.read_text(encoding="utf-8"))):
            _runs[docname] = pool.submit(_run, page, app.srcdir / FIGURES / docname)
    pool.shutdown(wait=False)


def _run(page: Path, figures: Path) -> subprocess.CompletedProcess[str]:
    style = Path(__file__).with_name("matplotlibrc")
    return subprocess.run(
        [sys.executable, runner.__file__, str(page), str(figures)],
        env=os.environ | {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(style)},
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


def put_in_results(app: Sphinx, docname: str, content: list[str]) -> None:
    """Replace the text of a page by the text with the results of its run."""
    if docname not in _runs:
        return
    ran = _runs[docname].result()
    if ran.returncode:
        _logger.warning("an example failed: %s", ran.stderr.strip(), location=docname)
    else:
        content[0] = ran.stdout


class NotRun(Directive):
    """Stand in for a ``{rendered}`` block in a page that has not been run."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the caption."""
        return [nodes.paragraph("", f"[{self.arguments[0]}]")] if self.arguments else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the above."""
    app.add_directive("rendered", NotRun)
    app.add_config_value("executed_pages", True, "env", bool)
    app.add_config_value("executed_except", (), "env", (list, tuple))
    app.connect("builder-inited", start, priority=100)  # before the gallery, which takes a while
    app.connect("source-read", put_in_results)
    return {"parallel_read_safe": False, "parallel_write_safe": True}

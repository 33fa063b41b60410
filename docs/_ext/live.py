"""The explorer as part of the site: live pages that need no Python, made when the site is built.

Where Python for the browser cannot be had, a recording stands in their place.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FILE = Path("_generated", "extra", "live", "explorer.html")
_MAKE = """
import sys
from pathlib import Path
import chainrule as cr
from chainrule.explorer.hosts import site
folder = Path(sys.argv[1])
X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
net = cr.Network([2, 4, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=2)
net.fit(X, y, optimizer=cr.Adam(0.05), epochs=150, batch_size=4, verbose=0)
try:
    site.write(folder)
except OSError as error:
    print(f"the explorer is a recording: {error}", file=sys.stderr)
    net.explore(X, y).save(folder / "explorer.html", steps=20)
"""
_run: list[subprocess.Popen[str]] = []


def start(app: Sphinx) -> None:
    """Begin to write the file; it takes some seconds, in which Sphinx goes on."""
    file = app.srcdir / FILE
    if app.config.executed_pages or not file.exists():
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir(parents=True)
        command = [sys.executable, "-c", _MAKE, str(file.parent)]
        _run[:] = [subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8")]


def wait(app: Sphinx, env: Any) -> None:
    """Wait for the file; the build needs it at its end."""
    for process in _run:
        _, errors = process.communicate()
        if process.returncode:
            raise ExtensionError(f"the explorer's page could not be made:\n{errors}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the above."""
    app.connect("builder-inited", start, priority=100)
    app.connect("env-updated", wait)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

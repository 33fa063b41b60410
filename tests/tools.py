"""Programs and environments that tests need, found in one way."""

from __future__ import annotations

import os
import shutil
import sys

# Programs of this Python's packages are found, too, where its folder is not on PATH.
PROGRAMS = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])


def find_chromium() -> str | None:
    """The browser's path, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def find_firefox() -> str | None:
    """The browser's path, or None."""
    return shutil.which("firefox") or shutil.which("firefox-esr")


def uncounted() -> dict[str, str]:
    """The environment of a child that coverage leaves alone: its modules and files are measured."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}

"""Process: whether the process that writes a run still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def described() -> dict[str, Any]:
    """Return what tells later whether this process still lives."""
    return {"host": socket.gethostname(), "process": os.getpid(), "born": _born(os.getpid())}


def lives(writer: Mapping[str, Any]) -> bool | None:
    """Return whether a described process lives; None where that cannot be told from here."""
    process, born = writer.get("process"), writer.get("born")
    if os.name != "posix" or writer.get("host") != socket.gethostname():
        return None
    if not isinstance(process, int) or process < 1:
        return None
    now = _born(process)
    if now == _DEAD:
        return False
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return born is None or now is None or now == born  # else the number was given out again


_DEAD = "dead"


def _born(process: int) -> str | None:
    """Return when a process began, as Linux writes it; None on other systems."""
    try:
        text = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _DEAD if fields[0] in "ZX" else fields[19]  # a zombie still has its number

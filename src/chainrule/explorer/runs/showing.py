"""What `chainrule.explore_run` returns."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chainrule._exports import exported
from chainrule.explorer import load
from chainrule.explorer.serving import Served

if TYPE_CHECKING:
    from chainrule.diagnose.record import RunRecord


@exported("chainrule")
class RunExplorer(Served):
    """Pages about a watched run, which `explore_run` makes.

    Attributes:
        run: The `RunRecord` that they show.

    Examples:
        >>> import chainrule as cr
        >>> explorer = cr.explore_run("run")  # doctest: +SKIP
        >>> explorer.start()  # doctest: +SKIP
        'http://127.0.0.1:8765/?token=...'
    """

    def __init__(self, run: RunRecord) -> None:
        from chainrule.explorer.runs.desk import Desk  # heavy for those who only import the name

        super().__init__()
        self.run = run
        self._desk = Desk(run)

    def _make_app(self, *known: Any) -> Any:
        return load("runs.host").create_app(self._desk, *known)

    def __repr__(self) -> str:
        return f"RunExplorer({os.fspath(self.run.folder)!r})"

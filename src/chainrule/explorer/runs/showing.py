"""What users call to look at a watched run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chainrule._exports import exported
from chainrule.explorer import load
from chainrule.explorer.serving import Served

if TYPE_CHECKING:
    from chainrule.diagnose.record import RunRecord


def explore_run(run: RunRecord | str | os.PathLike[str]) -> RunExplorer:
    """Look at a watched run in the browser: its curves, each step, its samples and weights.

    The page follows the run while it is recorded, by this process or another one. A run that
    records in this process is read from its folder, so that nothing of it changes.

    Args:
        run: The folder that `watch` writes, or a `RunRecord` of it. One that `load_run` returned
            for a model can take steps again: the pages then say why each weight moved, and open a
            spike. Without a model they do so for a run of a network (``fit(watch=...)``), and for
            one that was watched with ``dense=True``.

    Returns:
        The explorer: `RunExplorer.serve` opens it in a browser.

    Raises:
        TypeError: The run is neither a folder nor a record.
        ValueError: The folder holds no watched run.

    Examples:
        >>> import chainrule as cr
        >>> cr.explore_run("run").serve()  # doctest: +SKIP
    """
    from chainrule.diagnose.record import RunRecord
    from chainrule.foreign.torch.watch import load_run

    if isinstance(run, RunRecord):
        records = hasattr(run, "step")  # a loop may go on while its pages are looked at
        return RunExplorer(load_run(run.folder) if records else run)
    if not isinstance(run, str | os.PathLike):
        raise TypeError(
            f"run is a {type(run).__name__}; expected the folder of a watched run, or what "
            "load_run returns"
        )
    return RunExplorer(load_run(run))


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

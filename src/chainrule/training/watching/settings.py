"""Settings: what `Network.fit` is told about the recording of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from chainrule._exports import exported
from chainrule.diagnose import folder as folders
from chainrule.equations.checks import whole


@exported("chainrule")
@dataclass(frozen=True)
class Watch:
    """Record a run while it trains: ``fit(..., watch=Watch("run", every=1))``.

    A path alone, ``watch="run"``, stands for ``Watch("run")``. `load_run` reads what was recorded.

    Args:
        folder: Where to write. It is made if it does not exist; an earlier run in it is replaced,
            and a run that is resumed goes on.
        every: Record norms of samples and layers in every so many steps. Losses are recorded in
            all.
        keep: How many states of the network and the optimiser stay on file. `RunRecord.why_moved`
            and `RunRecord.replay` reach back so far.
        rows: The number of each sample's row in your data, (n,), from 0. None numbers the samples
            as they stand in X.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of its range.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> folder = os.path.join(tempfile.mkdtemp(), "run")
        >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> net = cr.Network([2, 4, 1], hidden="tanh", output="tanh", seed=0)
        >>> history = net.fit(X, y, epochs=30, watch=cr.Watch(folder, every=5))
        >>> run = cr.load_run(folder)
        >>> len(run.steps), run.samples(25).losses.shape
        (30, (4,))
    """

    folder: str | os.PathLike[str] = "run"
    every: int = 20
    keep: int = 4
    rows: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike):
            raise TypeError(f"folder is {self.folder!r}; expected the path of a folder")
        whole(self.every, "every")
        whole(self.keep, "keep")


def choose(watch: object, checkpoint: str | os.PathLike[str] | None = None) -> Watch:
    """Return what ``watch=`` says; nothing is written yet.

    Raises TypeError for anything else than a path or a `Watch`, ValueError for a folder that cannot
    be taken.
    """
    if isinstance(watch, str | os.PathLike):
        watch = Watch(watch)
    if not isinstance(watch, Watch):
        kind = f"the class {watch.__name__}" if isinstance(watch, type) else repr(watch)
        raise TypeError(f"watch is {kind}; expected the path of a folder, or Watch(folder, ...)")
    folders.check(watch.folder)
    if checkpoint is not None and _same(watch.folder, checkpoint):
        raise ValueError(
            f"watch and checkpoint are both the folder {os.fspath(watch.folder)!r}; expected two "
            "folders. Choose another one for watch"
        )
    return watch


def _same(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)

"""The functions that users call to record a training loop, and to read what was recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.equations.checks import positive, whole
from chainrule.foreign.torch.explaining import needed

if TYPE_CHECKING:
    from chainrule.diagnose.record import RunRecord


def watch(
    model: Any,
    optimizer: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    every: int = 20,
    folder: str | os.PathLike[str] = "run",
    keep: int = 4,
    clip_norm: float | None = None,
    dense: bool = False,
) -> Any:
    """Record a training loop of PyTorch: losses, norms, spikes, and why each weight moves.

    The loop stays as it is; ``with run.step(x, y):`` goes around the body of it. The model, the
    optimiser and the random generators do what they would do without it, and hooks are gone after
    each step.

    Args:
        model: The `torch.nn.Module`.
        optimizer: Its `torch.optim.Optimizer`; None where only losses and norms are wanted.
        loss_fn: The function from (output, y) to one number, such as ``nn.CrossEntropyLoss()``;
            from (output) where the steps have no y. None takes the ``loss`` of the output, and
            knows no losses of samples.
        every: Record norms of samples and layers in every so many steps. Losses are recorded in
            all.
        folder: Where to write. It is made if it does not exist; an earlier run in it is replaced.
        keep: How many states of the model and the optimiser stay on file, with the batches after
            them: one every 20 to 100 steps, seldom where the model is large beside a batch, or
            every ``every`` steps, if that is more. `RunRecord.why_moved` and `RunRecord.replay`
            reach back so far.
        clip_norm: What the loop passes to ``clip_grad_norm_``, if it does, so that steps can be
            taken again.
        dense: Also record each step's parameters and gradients, as the optimiser was given them:
            for loops that cannot be taken again. A step then costs four copies of the parameters.

    Returns:
        The recorder, a `WatchedRun`.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: An argument has the wrong type.
        ValueError: A number is out of its range, or the folder holds something else.

    Warns:
        UserWarning: A gradient cannot be split by sample, the loop changes gradients, or a file
            cannot be written. The training goes on.

    Examples:
        >>> import chainrule as cr
        >>> run = cr.watch(model, optimizer, loss_fn, folder="run")  # doctest: +SKIP
        >>> for rows, x, y in loader:  # doctest: +SKIP
        ...     with run.step(x, y, rows=rows):
        ...         optimizer.zero_grad()
        ...         loss_fn(model(x), y).backward()
        ...         optimizer.step()
        >>> print(run.why_moved("fc1.weight[3,7]"))  # doctest: +SKIP
    """
    torch = needed("watch")
    from chainrule.foreign.torch.targets import unwrapped
    from chainrule.foreign.torch.watching.recorder import WatchedRun

    model = unwrapped(model)
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}; expected a torch.optim.Optimizer or None"
        )
    if loss_fn is not None and not callable(loss_fn):
        raise TypeError(f"loss_fn is a {type(loss_fn).__name__}; expected a function or None")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("the model has no parameter that requires a gradient; nothing would move")
    every, keep = whole(every, "every"), whole(keep, "keep")
    if clip_norm is not None:
        positive(clip_norm, "clip_norm")
    return WatchedRun(
        model, optimizer, loss_fn, every=every, folder=folder, keep=keep, clip_norm=clip_norm,
        dense=bool(dense),
    )  # fmt: skip


def load_run(
    folder: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    clip_norm: float | None = None,
) -> RunRecord:
    """Read the folder of a run, as `chainrule.load_run` does.

    The steps of a run of our own, too, can be taken again, on a `FeedForward`.
    """
    from chainrule.diagnose.record import RunRecord

    path, about = about_of(folder)
    source: Any = None
    if about.get("kind") == "network":
        from chainrule.equations.feedforward import FeedForward
        from chainrule.explain.explanation import explain
        from chainrule.training.watching.again import Source as Own

        source = Own(FeedForward, explain, optimizer)
    if about.get("kind") == "torch" and (about.get("dense") or model is not None):
        needed("load_run")
        from chainrule.foreign.torch.targets import unwrapped
        from chainrule.foreign.torch.watching.again import Source

        model = None if model is None else unwrapped(model)
        source = Source(model, optimizer, loss_fn, clip_norm)
    return RunRecord(path, source)


def about_of(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Return the path of a run's folder, and what was watched.

    Raises ValueError where the folder holds no run, or one that this version does not read.
    """
    from chainrule.diagnose import folder as folders

    path = Path(folder)
    return path, folders.read_about(path)

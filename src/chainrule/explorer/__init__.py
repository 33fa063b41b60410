"""The explorer: an interactive page about one network, in a browser, a notebook or a file.

It needs the packages of ``chainrule[explorer]``. `session` answers the messages that `protocol`
describes; `hosts` carry them: the web server, the notebook and the offline file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from chainrule.equations.feedforward import FeedForward

__all__ = ["Explorer"]


class Explorer:
    """An interactive page about a network and data, which a notebook shows as a widget.

    `Network.explore` makes it.

    Args:
        network: The network, which is copied. None makes a small one for a classic data set.
        X: The inputs, (n, units_0). Without X and y, the page shows a few random samples.
        y: The targets, as for `Network.fit`.
        validation_data: (X, y) of other samples, whose loss the page draws as well.
        name: The name of the data on the page.

    Raises:
        ImportError: The packages of ``chainrule[explorer]`` are not installed.
        TypeError: The data do not hold numbers.
        ValueError: The data do not fit the network, or only one of X and y was given.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=2)
        >>> explorer = net.explore([[0, 1], [1, 1]], [1, 0])
        >>> explorer.network.sizes
        (2, 3, 1)
    """

    def __init__(
        self,
        network: FeedForward | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        name: str = "data",
    ) -> None:
        if (X is None) != (y is None):
            missing = "X" if X is None else "y"
            raise ValueError(f"{missing} is missing; expected both X and y, or neither")
        self.session = load("session").Session(
            network, X, y, validation_data=validation_data, name=name
        )
        self._widget: Any = None

    @property
    def network(self) -> FeedForward:
        """Return a copy of the network in its current state, as changed and trained on the page."""
        network: FeedForward = self.session.network.copy()
        return network

    @property
    def widget(self) -> Any:
        """Return the anywidget, for hosts that ask for one."""
        if self._widget is None:
            self._widget = load("hosts.notebook").Widget(self.session)
        return self._widget

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        live: bool = False,
        runtime: str | os.PathLike[str] | None = None,
        steps: int = 200,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Write one HTML file that shows the explorer without an installed Python, and offline.

        A live file (about 10 MB) carries Python itself: everything works in it. Its parts are
        downloaded once, and kept in the user's cache. Without ``live`` the file is a recording of
        training from the current weights, for the current sample, with the derivation of
        everything in the drawing; it is smaller, and nothing in it can be edited. The session does
        not change.

        Args:
            path: The file to write.
            live: Whether the file carries Python.
            runtime: The folder with the parts of Pyodide for a live file; None takes the folder of
                ``CHAINRULE_RUNTIME``, the cache or the internet.
            steps: How many steps of training to record.
            on_progress: Called after each step with the number of steps done and their total.

        Raises:
            OSError: The file cannot be written, or the parts of Pyodide are missing.
            ValueError: ``steps`` is below 0; a part of ``runtime`` is not that of the release; a
                custom function of the network cannot go into a live file.
        """
        from chainrule.storage.atomic import write_atomically

        text: str
        if live:
            text = load("hosts.live").page(self.session, runtime)
        else:
            text = load("hosts.offline").page(self.session.copy(), steps, on_progress)
        write_atomically(path, text.encode())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def __repr__(self) -> str:
        return f"Explorer({self.session.network!r})"


def load(name: str) -> Any:
    """Return a module of the explorer; raise ImportError naming the package that it lacks."""
    try:
        return importlib.import_module(f"chainrule.explorer.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "chainrule":
            raise
        raise ImportError(
            f"the explorer needs the package {package}: pip install 'chainrule[explorer]'"
        ) from None

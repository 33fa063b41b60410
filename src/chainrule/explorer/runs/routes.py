"""Routes: which page of a run is at which address."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from chainrule import _forks as forks
from chainrule.diagnose.curves import Known
from chainrule.explorer.runs import again, overview, steps, weights
from chainrule.explorer.runs.asked import Asked
from chainrule.explorer.runs.desk import SPARE, Desk

Page = Callable[[Mapping[str, str]], str]
_OFTEN = 1.0  # seconds between two looks at a run, at least


class Routes:
    """The pages about a run.

    Attributes:
        desk: What they are made of.
        pages: What makes each page of the fields of its address, by address.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._one = forks.Lock()
        self._made: tuple[str, str] = ("", "")
        self.pages: dict[str, Page] = {
            "/": self._overview,
            "/find": self._page(steps.find),
            "/layers": self._page(overview.layers),
            "/steps": self._page(steps.listed),
            "/step": self._page(steps.one),
            "/row": self._page(steps.row),
            "/weight": self._page(weights.one),
            "/why": self._page(weights.why),
            "/again": self._page(again.step),
            "/explain": self._page(again.explain),
        }

    def _page(self, make: Callable[[Desk, Known, Asked], str]) -> Page:
        def page(asked: Mapping[str, str]) -> str:
            return make(self.desk, self.desk.read(), Asked(asked))

        return page

    def _overview(self, asked: Mapping[str, str]) -> str:
        """Return the page of the whole run, made once for all browsers that ask for it."""
        version = self.desk.version()
        with self._one:
            known, page = self._made
        if known == version:
            return page
        begun = time.perf_counter()
        page = overview.page(self.desk, self.desk.read())
        wait = max(_OFTEN, SPARE * (time.perf_counter() - begun))
        page = page.replace(overview.WAIT, f'data-wait="{round(1000 * wait)}"', 1)
        with self._one:
            self._made = (version, page)
        return page

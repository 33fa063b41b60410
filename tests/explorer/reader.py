"""A browser, and a person at the explorer's page, for the tests of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import chainrule as cr
from chainrule.explorer.hosts.server import Server
from chainrule.explorer.session import Session
from tests.tools import find_chromium

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = p.chromium.launch(executable_path=find_chromium(), args=flags)
        yield browser
        browser.close()


def shown(value: float, digits: int = 4) -> str:
    """A number as the characters of its formula."""
    text, _, power = f"{value:.{digits}g}".replace("-", "−").partition("e")
    return f"{text}×10{'−' if power[0] == '−' else ''}{int(power[1:])}" if power else text


class Site:
    """A running server whose sessions can be looked at."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.make: Any = Session
        self.server = Server(self._open)
        self.thread = threading.Thread(target=self.server._server.run,
                                       kwargs={"sockets": [self.server.listener]})  # fmt: skip
        self.thread.start()

    def _open(self) -> Session:
        session: Session = self.make()
        self.sessions.append(session)
        return session

    def close(self) -> None:
        self.server.stop()
        self.thread.join(10)
        self.server.listener.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


class Person:
    """A page and what is done in it."""

    def __init__(self, page: Any, site: Site, url: str) -> None:
        self.page, self.site, self.url = page, site, url
        self.errors: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.extend([m.text] * (m.type == "error")))

    def visit(self, make: Any = Session, fragment: str = "") -> Session:
        """Open the page; give its session."""
        self.site.make = make
        count = len(self.site.sessions)
        self.page.goto(self.url + fragment)
        self.page.wait_for_selector(".network .unit")
        self.settled()
        return self.site.sessions[count]

    def settled(self) -> None:
        """Wait until no answer is outstanding."""
        self.page.wait_for_selector('.cr-app[aria-busy="false"]')

    def open(self, target: str) -> None:
        """Open a part of the drawing, by keyboard, for a line is thin."""
        self.page.focus(f'.network [data-target="{target}"]')
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".headline")
        self.settled()

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector)).strip()

    def formulas(self, selector: str) -> str:
        """The characters of all formulas, without spaces."""
        return re.sub(r"\s", "", "".join(self.page.locator(f"{selector} math").all_text_contents()))


@pytest.fixture
def person(browser: Any, site: Site) -> Iterator[Person]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    person = Person(context.new_page(), site, site.server.url)
    yield person
    context.close()
    assert person.errors == []


def small() -> Session:
    net = cr.Network(
        [2, 3, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy", seed=3
    )
    X = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8], [0.1, 0.2]]
    return Session(net, X, [0, 1, 0, 1])

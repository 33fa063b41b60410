"""Take the screenshots of the explorer that README.md and explorer.md show; `make screenshots`."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from chainrule.explorer.hosts.server import Server
from chainrule.explorer.session import Session

HERE = Path(__file__).parent


def settled(page: Any) -> None:
    page.wait_for_selector('.cr-app[aria-busy="false"]')


def light(page: Any) -> None:
    """A trained network, a weight opened, its path to the loss lit up."""
    page.fill("label:has-text('Learning rate') + input", "0.3")
    page.keyboard.press("Enter")
    settled(page)
    page.fill("[aria-label='Number of steps']", "700")
    page.select_option("[aria-label='Speed of training']", "")
    page.click("button:text-is('steps')")
    page.wait_for_selector("text=▶ Train")
    settled(page)
    page.focus('[data-target="w[1][2,1]"]')
    page.keyboard.press("Enter")
    page.wait_for_selector(".headline")
    settled(page)
    page.locator(".way > summary").first.click()
    page.wait_for_selector(".way .inside math")
    page.evaluate("scrollTo(0, 0); document.querySelector('.detail').scrollTop = 0")


def dark(page: Any) -> None:
    """The lesson about a weight of the output layer, at its second term."""
    page.click("text=Lessons")
    page.click(".choice >> text=One weight of the output layer")
    page.wait_for_selector(".lesson progress")
    for _ in range(3):
        page.click(".lesson >> text=Next")
    settled(page)
    page.evaluate("scrollTo(0, 0)")


def main() -> None:
    server = Server(Session)
    thread = threading.Thread(target=server._server.run, kwargs={"sockets": [server.listener]})
    thread.start()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(path for name in names if (path := shutil.which(name)))
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for scheme, act in (("light", light), ("dark", dark)):
            context = browser.new_context(
                viewport={"width": 1280, "height": 860}, color_scheme=scheme,
                reduced_motion="reduce",
            )  # fmt: skip
            page = context.new_page()
            page.goto(server.url)
            page.wait_for_selector(".network .unit")
            settled(page)
            act(page)
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)
            file = HERE / f"explorer-{scheme}.png"
            page.screenshot(path=file)
            print(f"{file.relative_to(HERE.parent)}: {file.stat().st_size / 1000:.0f} kB")
        browser.close()
    server.stop()
    thread.join()
    server.listener.close()


if __name__ == "__main__":
    main()

"""Take the screenshots of the explorer for README.md and the pages; `make screenshots`."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import chainrule as cr
from chainrule import Network
from chainrule.explorer.hosts.server import Server
from chainrule.explorer.place import Settings
from chainrule.explorer.session import Session

HERE = Path(__file__).parent


def settled(page: Any) -> None:
    page.wait_for_selector('.cr-app[aria-busy="false"]')


def light(page: Any) -> None:
    """A trained network, a weight opened, its path to the loss lit up."""
    page.click(".side summary:has-text('Training')")
    page.click(".more > summary")
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


def worked(page: Any) -> None:
    """The published 2-2-2 example, at the first gradient of layer 1."""
    page.click("text=Worked example")
    page.wait_for_selector(".worked .passage")
    settled(page)
    page.select_option("[aria-label='Go to']", index=13)
    page.evaluate("scrollTo(0, 0)")


def published() -> Session:
    """Return the 2-2-2 network of docs/how-to/worked-example.md with its sample."""
    net = Network(
        [2, 2, 2], hidden="sigmoid", output="sigmoid", loss="half_squared_error",
        W=[[[0.15, 0.20], [0.25, 0.30]], [[0.40, 0.45], [0.50, 0.55]]],
        b=[[0.35, 0.35], [0.60, 0.60]],
    )  # fmt: skip
    return Session(net, [[0.05, 0.10]], [[0.01, 0.99]], settings=Settings(learning_rate=0.5))


PICTURES: tuple[tuple[str, str, Any, Any], ...] = (
    ("light", "light", Session, light),
    ("dark", "dark", Session, dark),
    ("worked", "light", published, worked),
)


def watched(folder: str) -> None:
    """Train a network of PyTorch with two wrong labels and one batch of another scale."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    X = torch.randn(1024, 8)
    y = (X[:, :4].sum(1) > 0).long()
    y[[17, 99]] = 1 - y[[17, 99]]
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                          nn.Linear(32, 2))  # fmt: skip
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), 0.05), nn.CrossEntropyLoss()
    with cr.watch(model, optimizer, loss_fn, folder=folder, every=10) as run:
        for step in range(1200):
            rows = torch.randperm(1024)[:64]
            x = X[rows] * (50 if step == 800 else 1)
            with run.step(x, y[rows], rows=rows):
                optimizer.zero_grad()
                loss_fn(model(x), y[rows]).backward()
                optimizer.step()


def of_run(browser: Any) -> None:
    """Take the picture of the page of a watched run."""
    with tempfile.TemporaryDirectory() as folder:
        watched(f"{folder}/run")
        explorer = cr.explore_run(f"{folder}/run")
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(explorer.start())
        page.wait_for_selector("[role=slider]")
        take(page, "run")
        explorer.stop()


def take(page: Any, name: str) -> None:
    """Write a picture."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    file = HERE / f"explorer-{name}.png"
    page.screenshot(path=file)
    print(f"{file.relative_to(HERE.parent)}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    make: list[Any] = []  # of the picture that is taken
    server = Server(lambda: make[0]())
    thread = threading.Thread(target=server._server.run, kwargs={"sockets": [server.listener]})
    thread.start()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(path for name in names if (path := shutil.which(name)))
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name, scheme, session, act in PICTURES:
            make[:] = [session]
            context = browser.new_context(
                viewport={"width": 1280, "height": 860}, color_scheme=scheme,
                reduced_motion="reduce",
            )  # fmt: skip
            page = context.new_page()
            page.goto(server.url)
            page.wait_for_selector(".network .unit")
            settled(page)
            act(page)
            take(page, name)
        if importlib.util.find_spec("torch") is None:
            print("explorer-run.png stays as it is: its run needs PyTorch")
        else:
            of_run(browser)
        browser.close()
    server.stop()
    thread.join()
    server.listener.close()


if __name__ == "__main__":
    main()

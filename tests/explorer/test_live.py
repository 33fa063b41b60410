"""The live page in a real browser, from disk and without a network: Python answers in the page."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.explain import explain
from chainrule.explorer import Explorer, protocol, share, snapshot
from chainrule.explorer.hosts import pack, site
from chainrule.explorer.session import Session
from chainrule.teach.lessons import NAMES

playwright = pytest.importorskip("playwright.sync_api")
from tests.explorer.reader import UNFOLDED, browser  # noqa: E402, F401

pytestmark = pytest.mark.needs("chromium", "pyodide")

MODULES = Path(__file__).parents[2] / "node_modules"
X, Y = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8], [0.1, 0.2]], [0, 1, 0, 1]

# Keeps the page's worker, to send it messages as the page does.
_WORKER = """
const Plain = Worker;
window.Worker = class extends Plain {
  constructor(...given) { super(...given); window.kept = this; }
};
"""
_ASK = """(request) => new Promise((resolve) => {
  const id = Math.random();
  const listen = ({ data }) => {
    if (data.id !== id) return;
    kept.removeEventListener("message", listen);
    resolve(data.reply);
  };
  kept.addEventListener("message", listen);
  kept.postMessage({ id, request });
})"""


def network(engine: str = "reference") -> cr.Network:
    return cr.Network([2, 3, 2, 1], hidden="tanh", output="sigmoid", loss="binary_cross_entropy",
                      seed=3, engine=engine)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "lesson.html"
    Explorer(network(), X, Y).save(path, live=True)
    return path


class Reader:
    """A browser without a network, and a live page in it."""

    def __init__(self, browser: Any, online: bool = False, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1366, "height": 800}, **options)
        self.context.set_offline(not online)
        self.context.set_default_timeout(120_000)
        self.context.add_init_script(_WORKER)
        self.context.add_init_script(UNFOLDED)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.extend([m.text] * (m.type == "error")))

    def visit(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector(".network .unit")
        self.settled()

    def settled(self) -> None:
        self.page.wait_for_selector('.cr-app[aria-busy="false"]')

    def ask(self, **request: Any) -> Any:
        return self.page.evaluate(_ASK, request)

    def open(self, target: str) -> None:
        self.page.focus(f'.network [data-target="{target}"]')
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".headline")
        self.settled()

    def close(self) -> None:
        """Close, after a look whether anything but the file was asked for."""
        self.context.close()
        assert self.errors == []
        assert [url for url in self.asked if not url.startswith(("file:", "blob:", "data:"))] == []
        assert sum(url.startswith("file:") for url in self.asked) >= 1


@pytest.fixture
def reader(browser: Any, file: Path) -> Iterator[Reader]:
    reader = Reader(browser)
    reader.visit(file.as_uri())
    yield reader
    reader.close()


# --- the same answers -----------------------------------------------------------------------------

_CSV = "a,b,kind\n" + "\n".join(f"{i / 7},{(i * i) % 5},{'yn'[i % 2]}" for i in range(24))
MESSAGES: list[dict[str, Any]] = [
    {"kind": "look"},
    {"kind": "look", "refocus": True},
    *({"kind": kind, "target": target}
      for target in ("w[1][0,1]", "w[3][0,1]", "b[2][1]", "z[1][2]", "a[2][0]", "x[1]")
      for kind in ("explain", "latex", "prove", "picture")),
    {"kind": "open", "target": "w[1][0,1]", "units": [1]},
    {"kind": "open", "target": "w[1][0,1]", "units": [1, 0]},
    {"kind": "steps"},
    {"kind": "worked"},
    {"kind": "worked", "steps": 2, "freeze_biases": True, "language": "de"},
    *({"kind": kind, "target": target}
      for target in ("W[2]", "b[1]") for kind in ("array", "latex", "prove")),
    {"kind": "units"},
    {"kind": "results"},
    {"kind": "results", "points": False},
    {"kind": "health"},
    {"kind": "configure", "scope": "all", "notation": "C-a-L", "digits": 6},
    {"kind": "explain", "target": "w[2][1,0]"},
    {"kind": "array", "target": "W[2]"},
    {"kind": "worked"},
    {"kind": "steps"},
    {"kind": "edit", "target": "w[1][0,1]", "value": 0.75},
    {"kind": "edit", "target": "y[0]", "value": 1},
    {"kind": "select", "sample": 2},
    {"kind": "update"},
    {"kind": "train", "steps": 25, "seconds": 5, "results": True},
    {"kind": "train", "epochs": 2, "seconds": 5, "again": True},
    {"kind": "seek", "record": 1},
    {"kind": "undo"},
    {"kind": "redo"},
    {"kind": "ask", "about": "formula"},
    {"kind": "answer", "text": "2*a1_0"},
    *({"kind": "ask", "about": about} for about in ("term", "gradient", "update", "any")),
    {"kind": "answer", "text": "0.5*0.25"},
    {"kind": "solve"},
    {"kind": "share"},
    *({"kind": "build", "hidden_sizes": [3, 2], "hidden": [name, "tanh"]}
      for name in ("relu", "gelu", "elu", "silu", "softplus", "leaky_relu", "sigmoid")),
    {"kind": "explain", "target": "w[1][2,0]"},
    {"kind": "data", "name": "moons"},
    {"kind": "data", "name": "spiral", "noise": 0.2, "seed": 4},
    {"kind": "configure", "optimizer": "adam", "learning_rate": 0.01, "batch_size": 8},
    {"kind": "train", "steps": 10, "seconds": 5},
    {"kind": "build", "hidden_sizes": [20]},
    {"kind": "show", "layer": 1, "unit": 3},
    {"kind": "data", "name": "circles"},
    {"kind": "inputs", "derived": ["u**2", "u*v", "sin(v)"]},
    {"kind": "explain", "target": "w[1][0,3]"},
    {"kind": "split", "share": 0.5},
    {"kind": "outputs", "units": 2},
    {"kind": "build", "hidden": ["step"]},
    {"kind": "prove", "target": "w[1][0,1]"},
    {"kind": "health"},
    {"kind": "train", "steps": 10, "seconds": 5},
    {"kind": "results"},
    {"kind": "share"},
    {"kind": "edit", "target": "x[2]", "value": 1},
    {"kind": "upload", "text": _CSV, "name": "flowers.csv"},
    {"kind": "explain", "target": "w[2][0,4]"},
    {"kind": "lessons"},
    {"kind": "lessons", "language": "de"},
    *({"kind": "tour", "lesson": name} for name in NAMES),
    {"kind": "tour", "lesson": "forward pass", "language": "de"},
    {"kind": "stop", "at": 0},
    {"kind": "respond", "at": 1, "value": 0.5},
    {"kind": "tour", "lesson": "output weight"},
    {"kind": "stop", "at": 1},
    {"kind": "tour", "lesson": "tanh chain"},
    {"kind": "prove", "target": "w[2][0,0]"},
    # refused, in the same words
    {"kind": "edit", "target": "w[7][0,0]", "value": 1},
    {"kind": "upload", "text": "1,2\n3"},
    {"kind": "restore", "state": "nonsense"},
    {"kind": "teach"},
]  # fmt: skip
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def assert_alike(ours: Any, theirs: Any, place: str) -> None:
    """The same structure, words and numbers; numbers to 1e-9, inside of words as well."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            assert_alike(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), place
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(a, b, f"{place}[{i}]")
    elif isinstance(ours, float | int) and not isinstance(ours, bool):
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9), place
    elif isinstance(ours, str) and ours != theirs:
        assert _NUMBER.sub("#", ours) == _NUMBER.sub("#", theirs), place
        for a, b in zip(_NUMBER.findall(ours), _NUMBER.findall(theirs), strict=True):
            assert float(b) == pytest.approx(float(a), rel=1e-9, abs=1e-9), place
    else:
        assert ours == theirs, place


def comparable(reply: Any) -> Any:
    """A reply without what belongs to the machine: its speed, engine and installed packages."""
    for frame in (reply, reply.get("frame", {})):
        if frame.get("kind") == "frame":
            frame["training"]["steps_per_second"] = 0
            frame["network"]["engine"] = ""
            frame["choices"]["datasets"] = [
                d for d in frame["choices"]["datasets"] if d != "digits"
            ]
    if reply.get("state"):  # compressed, so that the last bit of one weight changes all of it
        reply["state"] = share.unpack(reply["state"])
    return reply


def test_every_message_is_answered_as_in_cpython(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainrule.verify.autodiff.importlib.util.find_spec", lambda name: None)
    here = snapshot.unpack(snapshot.pack(Session(network(), X, Y)))
    kinds = {message["kind"] for message in MESSAGES}
    assert kinds >= set(protocol.REQUESTS)
    state = here.copy().handle({"kind": "share"})["state"]
    for message in [*MESSAGES, {"kind": "restore", "state": state}, {"kind": "look"}]:
        ours = comparable(json.loads(json.dumps(here.handle(message))))
        theirs = comparable(reader.ask(**message))
        assert_alike(ours, theirs, json.dumps(message)[:80])


# --- the page, as a person uses it ----------------------------------------------------------------


def test_the_start_is_told_in_words(browser: Any, file: Path) -> None:
    reader = Reader(browser)
    reader.context.add_init_script(
        "window.said = []; new MutationObserver(() => {"
        " const words = document.querySelector('.cr-start [role=status]')?.textContent;"
        " if (words && said.at(-1) !== words) said.push(words);"
        " }).observe(document, { subtree: true, childList: true, characterData: true });"
    )
    reader.visit(file.as_uri())
    said = reader.page.evaluate("said")
    assert said[0] == "Unpacking Python …"
    assert "Starting Python …" in said
    assert said[-1] == "Opening the network …"
    reader.close()


def test_edit_open_prove_undo(reader: Reader) -> None:
    page = reader.page
    reader.open("w[2][1,2]")
    page.click("text=Prove it")
    page.wait_for_selector(".verdict.pass")
    reader.settled()
    before = reader.ask(kind="look")
    page.fill(".editor input[type=number]", "0.25")
    page.keyboard.press("Enter")
    reader.settled()
    after = reader.ask(kind="look")
    assert after["weights"][1]["w"][1][2] == 0.25
    net = network()
    net.layers[2].W[1, 2] = 0.25
    why = explain(net, "w[2][1,2]", X[:1], Y[:1])
    assert reader.ask(kind="explain", target="w[2][1,2]")["value"] == pytest.approx(why.value)
    page.click("[aria-label=Undo]")
    reader.settled()
    assert reader.ask(kind="look")["weights"] == before["weights"]


def test_training_is_live_and_stops(reader: Reader) -> None:
    page = reader.page
    page.select_option("[aria-label='Speed of training']", "")
    page.click("text=▶ Train")
    while int(re.sub(r"\D", "", page.text_content(".at"))) <= 20:
        page.wait_for_timeout(20)
    assert page.locator("text=⏸ Pause").count() == 1  # it goes on while it is shown
    page.click("text=⏸ Pause")
    page.wait_for_selector("text=▶ Train")
    reader.settled()
    step = reader.ask(kind="look")["training"]["step"]
    assert step > 20
    assert reader.ask(kind="look")["training"]["step"] == step
    page.click("button:text-is('Step')")
    reader.settled()
    assert reader.ask(kind="look")["training"]["step"] == step + 1


@pytest.mark.needs("wasm")
@pytest.mark.parametrize("relaxed", [True, False])
def test_the_core_trains_in_the_page(
    browser: Any, tmp_path: Path, relaxed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the reference does here, under its own name; also where a browser lacks relaxed SIMD."""
    if not relaxed:
        core = {**pack._core(), "core-relaxed.wasm": b"\0asm\x01\0\0\0 unknown instructions"}
        monkeypatch.setattr(pack, "_core", lambda: core)
    path = tmp_path / "core.html"
    Explorer(network("auto"), X, Y).save(path, live=True)
    reader = Reader(browser)
    reader.visit(path.as_uri())
    assert reader.ask(kind="look")["network"]["engine"] == "wasm"
    told = reader.page.locator("p", has_text=re.compile("parameters?, .* engine"))
    assert told.first.text_content().endswith("wasm engine")
    here = Session(network(), X, Y)
    setting = {"kind": "configure", "optimizer": "adam", "batch_size": 3, "learning_rate": 0.01}
    for message in (setting, {"kind": "train", "epochs": 40, "seconds": 5}, {"kind": "look"}):
        ours, theirs = here.handle(message), reader.ask(**message)
    assert ours["network"]["engine"] == "reference"
    assert ours["training"]["step"] == 80
    for what in ("step", "epoch", "loss"):
        assert_alike(ours["training"][what], theirs["training"][what], what)
    assert_alike(json.loads(json.dumps(ours["weights"])), theirs["weights"], "weights")
    reader.close()


@pytest.mark.needs("wasm")
def test_the_core_trains_only_where_it_may(browser: Any, tmp_path: Path) -> None:
    """The reference if it was asked for; and in a page without the core, which says so."""
    for engine in ("reference", "auto"):
        path = tmp_path / f"{engine}.html"
        with pytest.MonkeyPatch.context() as patch:
            if engine == "auto":
                patch.setattr("chainrule.explorer.hosts.pack._core", dict)
            Explorer(network(engine), X, Y).save(path, live=True)
        reader = Reader(browser)
        reader.visit(path.as_uri())
        frame = reader.ask(kind="train", steps=3)
        assert (frame["network"]["engine"], frame["training"]["step"]) == ("reference", 3)
        told = reader.page.locator("p", has_text="reference engine").first.text_content()
        assert ("built without the C++ core" in told) is (engine == "auto")
        reader.close()


def test_lessons_and_practice(reader: Reader) -> None:
    page = reader.page
    page.click("text=Lessons")
    page.locator(".choice").first.click()
    page.wait_for_selector(".lesson progress")
    for _ in range(20):
        reader.settled()
        last = page.locator(".lesson >> text=Done").count()
        page.click(".lesson .buttons .main")
        if last:
            break
    page.click("text=Practise")
    page.wait_for_selector(".question math")
    page.fill(".answer input", "123456")
    page.click("text=Check")
    page.wait_for_selector(".practice .verdict.fail")


def test_an_own_csv_file(reader: Reader, tmp_path: Path) -> None:
    csv = tmp_path / "flowers.csv"
    csv.write_text(_CSV)
    reader.page.set_input_files("input.file", csv)
    reader.page.wait_for_selector("text=flowers.csv: 20 samples")


def test_a_link_and_a_saved_page_bring_the_state_back(
    reader: Reader, browser: Any, tmp_path: Path
) -> None:
    page = reader.page
    reader.ask(kind="edit", target="w[1][0,1]", value=0.625)
    page.click("text=Share")
    page.wait_for_selector("dialog[open]")
    assert "somebody else, save the page" in page.text_content("dialog")
    link = page.input_value("[aria-label=Link]")
    assert link.startswith("file:")
    with page.expect_download() as download:
        page.click("text=Save this page")
    saved = tmp_path / "saved.html"
    download.value.save_as(saved)
    page.click("dialog >> text=Licences")
    page.wait_for_selector("dialog[aria-label=Share] h2:text-is('Licences')")
    assert "Mozilla Public License" in page.input_value("[aria-label=Licences]")
    for address in (link, saved.as_uri()):
        other = Reader(browser)
        other.visit(address)
        assert other.ask(kind="look")["weights"][0]["w"][0][1] == 0.625
        other.close()
    state = link.partition("#s=")[2]
    reader.ask(kind="edit", target="w[1][0,1]", value=0.125)
    page.keyboard.press("Escape")
    page.evaluate("location.hash = 's='")
    reader.settled()
    page.evaluate("(state) => { location.hash = `s=${state}`; }", state)  # pasted over the address
    page.wait_for_selector("[aria-label=Undo][title='Undo: open a link']")
    reader.settled()
    assert reader.ask(kind="look")["weights"][0]["w"][0][1] == 0.625


def test_an_address_opens_a_lesson_or_the_list_of_them(browser: Any, file: Path) -> None:
    for name, found in (("tanh+chain", ".lesson progress"), ("none", ".lesson .choice")):
        reader = Reader(browser)
        reader.visit(f"{file.as_uri()}#lesson={name}")
        reader.page.wait_for_selector(found)
        reader.close()


def test_a_damaged_file_says_so(browser: Any, file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    at = text.index('id="pack">') + 400_000
    damaged = tmp_path / "damaged.html"
    damaged.write_text(text[:at] + "AAAA" * 50 + text[at + 200 :], encoding="utf-8")
    reader = Reader(browser)
    reader.page.goto(damaged.as_uri())
    reader.page.wait_for_selector(".cr-start [role=alert]")
    assert "The explorer cannot start" in reader.page.text_content(".cr-start")
    reader.context.close()


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, file: Path, scheme: str) -> None:
    reader = Reader(browser, color_scheme=scheme, bypass_csp=True)
    page = reader.page
    axe = (MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page.goto(file.as_uri())
    page.wait_for_selector(".cr-start progress")
    page.evaluate(axe)
    assert page.evaluate("axe.run('.cr-start').then((r) => r.violations)") == []
    page.wait_for_selector(".network .unit")
    page.click("text=Share")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("axe.run().then((r) => r.violations)") == []
    reader.close()


# --- the site -------------------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A site under a sub path of a plain web server."""
    root = tmp_path / "www"
    site.write(root / "class" / "b", site.Entry("mine.html", "Mine", Session(network(), X, Y)))
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/class/b/"
        server.shutdown()
        thread.join()


def test_a_site_works_below_any_path(browser: Any, address: str, tmp_path: Path) -> None:
    reader = Reader(browser, online=True)
    page = reader.page
    page.goto(address)
    page.click("text=A chain of single units")
    page.wait_for_selector(".lesson progress")
    reader.settled()
    assert reader.ask(kind="look")["network"]["sizes"] == [1, 1, 1]
    reader.visit(f"{address}mine.html")
    reader.ask(kind="edit", target="w[1][0,1]", value=0.625)
    page.click("text=Share")
    page.wait_for_selector("dialog[open]")
    assert "opens for everybody" in page.text_content("dialog")
    assert page.locator("text=Save this page").count() == 0
    link = page.input_value("[aria-label=Link]")
    assert link.startswith(f"{address}mine.html#s=")
    other = Reader(browser, online=True)  # somebody else
    other.visit(link)
    assert other.ask(kind="look")["weights"][0]["w"][0][1] == 0.625
    for each in (reader, other):
        own = [u for u in each.asked if not u.startswith(("blob:", "data:", address))]
        assert [u for u in own if not u.endswith("favicon.ico")] == []
        assert [e for e in each.errors if "favicon" not in e and "404" not in e] == []
        each.context.close()


def test_a_site_opened_from_disk_says_that_it_needs_a_server(browser: Any, tmp_path: Path) -> None:
    site.write(tmp_path / "www")
    reader = Reader(browser)
    reader.page.goto((tmp_path / "www" / "index.html").as_uri())
    reader.page.click("text=Your own network")
    reader.page.wait_for_selector("text=python -m http.server")
    reader.context.close()


def test_a_large_network_comes_whole(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = cr.Network([784, 128, 10], hidden="relu", output="softmax", loss="cross_entropy",
                     dtype="float32", seed=0)  # fmt: skip
    x, y = rng.uniform(size=(20, 784)), rng.integers(10, size=20)
    path = tmp_path / "wide.html"
    Explorer(net, x, y).save(path, live=True)
    reader = Reader(browser)
    reader.visit(path.as_uri())
    shown = [layer["shown"][0] for layer in reader.ask(kind="look")["layers"]]
    target = f"w[1][{shown[1]},{shown[0]}]"
    reader.open(target)
    why = explain(net, target, x[:1], y[:1])
    value = reader.ask(kind="explain", target=target)["value"]
    assert value == pytest.approx(why.value, rel=1e-9)
    assert reader.ask(kind="share")["state"] == ""
    reader.close()


# --- another browser ------------------------------------------------------------------------------


class Firefox:
    """A window of Firefox, driven by WebDriver BiDi, which it speaks by itself."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.count = socket, 0
        self.call("session.new", capabilities={})
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **params: Any) -> Any:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            reply = json.loads(self.socket.recv(timeout=120))
            if reply.get("id") == self.count:
                assert reply["type"] == "success", reply
                return reply["result"]

    def run(self, script: str) -> str:
        """Run the body of an async function in the page; give the text that it returns."""
        found = self.call(
            "script.evaluate", expression=f"(async () => {{{script}}})()",
            target={"context": self.context}, awaitPromise=True,
        )  # fmt: skip
        assert found["type"] == "success", found
        return str(found["result"].get("value"))


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    from websockets.sync.client import connect

    program = shutil.which("firefox") or shutil.which("firefox-esr")
    assert program is not None
    profile = tmp_path / "profile"
    profile.mkdir()
    flags = ["--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with subprocess.Popen([program, *flags], stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            told = (re.search(r"WebDriver BiDi listening on (ws://\S+)", line) for line in lines)
            address = next(match[1] for match in told if match)
            reading = threading.Thread(target=lambda: list(lines))  # so that the pipe is never full
            reading.start()
            with connect(f"{address}/session", max_size=2**26) as socket:
                yield Firefox(socket)
        finally:
            process.terminate()
            process.wait(30)
            reading.join(30)


_PERSON = """
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
const until = async (found) => { while (!found()) await wait(20); return found(); };
const idle = () => until(() => document.querySelector(".cr-app[aria-busy=false]"));
const press = async (words) => {
  await idle();
  const find = (b) => b.textContent === words;
  (await until(() => [...document.querySelectorAll("button")].find(find))).click();
};
"""


@pytest.mark.needs("firefox")
def test_firefox_explains_proves_trains_and_shares(file: Path, firefox: Firefox) -> None:
    firefox.call("browsingContext.navigate", context=firefox.context, url=file.as_uri(),
                 wait="none")  # fmt: skip
    while firefox.run("return document.querySelectorAll('.network .unit').length") == "0":
        time.sleep(0.1)
    headline = firefox.run(
        _PERSON
        + """
        await idle();
        document.querySelector('[data-target="w[2][1,2]"]')
          .dispatchEvent(new MouseEvent("click", { bubbles: true }));
        return (await until(() => document.querySelector(".headline"))).textContent;"""
    )
    value = explain(network(), "w[2][1,2]", X[:1], Y[:1]).value
    shown = headline.replace("−", "-").replace("×10", "e")
    assert f"{value:.4g}".replace("e-0", "e-") in shown
    firefox.run(
        _PERSON
        + """
        await press("Prove it");
        await until(() => document.querySelector(".verdict.pass"));
        await press("▶ Train");
        const at = () => document.querySelector(".at").textContent.replace(/\\D/g, "");
        await until(() => Number(at()) > 5);
        await press("⏸ Pause");
        await until(() => document.querySelector(".main").textContent === "▶ Train");"""
    )
    link = firefox.run(
        _PERSON
        + """
        await press("Share");
        return (await until(() => document.querySelector("[aria-label=Link]"))).value;"""
    )
    assert share.unpack(link.partition("#s=")[2])["net"]["sizes"] == [2, 3, 2, 1]
    asked = firefox.run(
        "return performance.getEntriesByType('resource').map((e) => e.name).join(' ')"
    )
    assert "http" not in asked

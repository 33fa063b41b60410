"""Pages of a watched run: their numbers against the record's, and whether the run goes on."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import chainrule as cr
from chainrule import cli
from chainrule.diagnose import folder as folders
from chainrule.diagnose import life
from chainrule.explorer.runs.routes import Routes
from tests.tools import uncounted

torch = pytest.importorskip("torch")
from tests.explorer import run_of  # noqa: E402
from tests.explorer.pages_of import entered, number, points, rows, said  # noqa: E402
from tests.explorer.run_of import SPIKE, WRONG  # noqa: E402

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("watched") / "run"
    model, optimizer, loss_fn = run_of.parts()
    with cr.watch(model, optimizer, loss_fn, folder=path, every=5) as run:
        run_of.train(run, model, optimizer, loss_fn, 160)
    return path


@pytest.fixture(scope="module")
def run(folder: Path) -> Any:
    model, optimizer, loss_fn = run_of.parts()
    return cr.load_run(folder, model=model, optimizer=optimizer, loss_fn=loss_fn)


@pytest.fixture(scope="module")
def explorer(run: Any) -> Iterator[cr.RunExplorer]:
    explorer = cr.explore_run(run)
    yield explorer
    explorer.stop()


@pytest.fixture
def client(explorer: cr.RunExplorer) -> Iterator[httpx.Client]:
    with entered(explorer) as client:
        yield client


# --- numbers --------------------------------------------------------------------------------------


def test_the_curves_are_those_of_the_record(client: httpx.Client, run: Any) -> None:
    page = client.get("/").text
    steps = run.steps
    losses = points(page, "Loss of each batch")
    assert [(p[0], p[2]) for p in losses] == [(s["step"], number(s["loss"])) for s in steps]
    recorded = [s for s in steps if s.get("recorded")]
    norms = points(page, "Norm of the gradient in recorded steps")
    assert [(p[0], p[2]) for p in norms] == [(s["step"], number(s["norm"])) for s in recorded]
    assert f"spike in step {SPIKE}" in page
    assert run.noise_scale == math.inf  # by hand it is made so by the spike
    assert "The gradient cannot be told from noise" in said(page)
    assert points(page, "Noise scale over the last 50 recorded steps")[-1][0] == SPIKE - 5
    assert "160 steps with SGD; loss " in said(page)


def test_the_page_has_spikes_layers_and_suspects(client: httpx.Client, run: Any) -> None:
    page = client.get("/")
    layers = [[r[0], r[2], r[4]] for r in rows(page, "Norms of the parameters")]
    assert layers == [[x.name, number(x.gradient), number(x.ratio)] for x in run.layers()]
    spike = run.spikes()[0]
    shown = rows(page, "Spikes")[0]
    assert shown[0] == str(SPIKE)
    assert shown[1] == spike.reason
    assert shown[2].startswith(
        f"{spike.worst[0][1]} ( {number(spike.worst[0][2])}".replace("( ", "(")
    )
    suspects = [[r[0], r[1], r[2]] for r in rows(page, "Rows that were hard")]
    assert suspects == [[str(s.row), number(s.loss), f"{s.visits:,}"] for s in run.suspects(20)]
    assert {int(r[0]) for r in suspects} >= set(WRONG)


@pytest.mark.parametrize("by", ["norm", "loss", "row", "sample"])
def test_a_step_has_its_samples_in_order(client: httpx.Client, run: Any, by: str) -> None:
    page = client.get("/step", params={"step": SPIKE, "by": by})
    samples = run.samples(SPIKE)
    key = {"norm": -samples.norms, "loss": -samples.losses, "row": samples.rows,
           "sample": np.arange(64)}[by]  # fmt: skip
    order = np.argsort(key, kind="stable")
    found = rows(page, f"Samples of step {SPIKE}")
    after = client.get("/step", params={"step": SPIKE, "by": by, "first": 50})
    assert "Rows 51 to 64 of 64" in said(after)
    found += rows(after, f"Samples of step {SPIKE}")
    assert [row[:4] for row in found] == [
        [str(i), str(samples.rows[i]), number(samples.losses[i]), number(samples.norms[i])]
        for i in order
    ]
    suspects = {s.row for s in run.suspects(20)}
    assert {int(r[1]) for r in found if r[4] == "suspect"} == suspects & set(samples.rows.tolist())
    layers = [[x.name, *map(number, (x.weight, x.gradient, x.update, x.ratio))]
              for x in run.layers(SPIKE)]  # fmt: skip
    assert rows(page, "Norms of the parameters") == layers
    assert str(run.spikes()[0]) in said(page)


def test_a_row_has_its_loss_history(client: httpx.Client, run: Any) -> None:
    page = client.get("/row", params={"row": 17})
    found = run.row(17)
    assert (found.visits, found.loss) == next(
        (s.visits, s.loss) for s in run.suspects(256) if s.row == 17
    )
    shown = rows(page, "Its last losses")
    assert [r[1] for r in shown] == [number(loss) for loss in found.history]
    assert [int(r[0]) for r in shown] == list(range(found.visits - 15, found.visits + 1))
    visits = {}
    for step in range(0, 160, 5):
        samples = run.samples(step)
        at = np.flatnonzero(samples.rows == 17)
        if len(at):
            visits[step] = [number(samples.losses[at[0]]), number(samples.norms[at[0]])]
    recorded = rows(page, "Recorded steps that had it")
    assert [[int(r[0]), *r[1:]] for r in recorded] == [
        [k, *visits[k]] for k in sorted(visits)[::-1]
    ]
    assert "It is suspect" in said(page)


def test_a_weight_has_its_curves_and_why_it_moved(client: httpx.Client, run: Any) -> None:
    page = client.get("/weight", params={"name": "0.weight"})
    ratios = {p[0]: p[2] for p in points(page.text, "Update / weight of 0.weight")}
    for step in (0, 50, 155):
        assert float(ratios[step]) == pytest.approx(run.layers(step)[0].ratio, rel=1e-3)
    move = run.why_moved("0.weight[1,2]", 90)
    page = client.get("/why", params={"target": "0.weight[1,2]", "step": 90})
    assert move.reason in said(page)
    shares = rows(page, "All shares")
    assert len(shares) == len(move.shares) + 1
    total = sum(float(r[2].replace("−", "-")) for r in shares[:-1])
    assert total == pytest.approx(move.value, rel=1e-3)
    assert float(shares[-1][2].replace("−", "-")) == pytest.approx(move.value, rel=1e-3)


def test_a_spike_is_taken_again_and_explained(client: httpx.Client, run: Any) -> None:
    page = client.get("/again", params={"step": SPIKE})
    again = run.replay(SPIKE)
    assert "The same bits as in the run" in said(page)
    losses = again.sample_losses.tolist()
    order = sorted(range(64), key=lambda i: -losses[i])
    shown = rows(page, "Samples, from the largest")
    assert [int(r[0]) for r in shown] == order[:50]
    assert shown[0][2] == number(max(losses))
    sizes = {r[0]: r[1] for r in rows(page, "Norms of the gradients")}
    for name, gradient in again.gradient.items():
        assert sizes[name] == number(float(gradient.norm()))
    target = "3.weight[1,4]"
    page = client.get("/explain", params={"target": target, "step": SPIKE})
    value = float(again.gradient["3.weight"][1, 4])
    assert f"∂C/∂· is {number(value)}" in said(page)
    assert "Certificate: pass" in said(page)
    onward = re.findall(r'<td><a href="(/explain[^"]*)">', page.text)
    assert onward
    assert client.get(unescape(onward[0])).status_code == 200


def test_all_steps_are_a_table_in_parts(client: httpx.Client, run: Any) -> None:
    found = []
    for first in range(0, 160, 50):
        found += rows(client.get("/steps", params={"first": first}), "Steps")
    assert [r[0] for r in found] == [str(s["step"]) for s in run.steps]
    assert [r[1] for r in found] == [number(s["loss"]) for s in run.steps]
    assert found[SPIKE][5] == "spike"
    assert "Rows 151 to 160 of 160" in said(client.get("/steps", params={"step": 159}))


@pytest.mark.parametrize(
    ("what", "title"),
    [("12", "Step 12"), ("step 1,5", "Step 15"), ("row 17", "Row 17"), ("0.weight", "0.weight"),
     ("3.bias[1]", "Why 3.bias[1] moved in step 159")],
)  # fmt: skip
def test_the_box_opens_what_is_typed(client: httpx.Client, what: str, title: str) -> None:
    assert f"<h1>{title}</h1>" in client.get("/find", params={"what": what}).text


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/step?step=999", "Step is 999; this run has the steps 0 to 159"),
        ("/step?step=-1", "Step is '-1'; expected a whole number from 0 on"),
        ("/step", "Step is ''; expected a whole number"),
        ("/step?step=5&by=size", "By is 'size'; expected 'norm' or 'loss' or 'row' or 'sample'"),
        ("/step?step=" + "9" * 400, "expected a whole number from 0 on"),
        ("/row?row=4000", "Row is 4000, which this run did not see; its rows go up to 255"),
        ("/weight?name=fc", "There is no parameter 'fc' in this run"),
        ("/why?target=0.weight", "expected one element of a parameter"),
        ("/why?target=0.wait[0]", "Did you mean 0.weight"),
        ("/find?what=<script>alert(1)</script>", "is not a step, a row or a weight of this run"),
    ],
)
def test_what_cannot_be_opened_is_said(client: httpx.Client, path: str, words: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert words in said(reply)
    assert "<script>alert" not in reply.text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/why?target=0.weight[1,2]&step=999", "step is 999; this run has the steps 0 to 159"),
        ("/why?target=0.weight[1,2]&step=3", "no longer kept"),
        ("/again?step=3", "no longer kept"),
        ("/explain?step=140&target=0.wait[1]", "Did you mean 0.weight"),
        ("/explain?step=140&target=0", "'0', a module; expected a number such as"),
    ],
)
def test_what_cannot_be_told_is_said(client: httpx.Client, path: str, words: str) -> None:
    assert words.lower() in said(client.get(path)).lower()


def test_without_the_model_it_says_what_to_call(folder: Path) -> None:
    explorer = cr.explore_run(folder)
    with entered(explorer) as client:
        page = said(client.get("/why", params={"target": "0.weight[1,2]", "step": 150}))
        assert "which needs the model" in page
        assert "cr.explore_run(cr.load_run(" in page
        assert "needs the model" in said(client.get("/again", params={"step": SPIKE}))
    explorer.stop()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "none", "which does not exist"),
        (lambda path: path / "file", "which is a file"),
        (lambda path: path, r"holds no watched run \(no run.json\)"),
        (lambda path: path / "half", "run.json is damaged"),
        (lambda path: path / "newer", r"another version of chainrule \(format 99; expected \d\)"),
    ],
)
def test_a_folder_without_a_run_is_refused(
    make: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for name, text in (("half", '{"version":1,"kin'), ("newer", '{"version":99}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    for call in (cr.explore_run, cr.load_run):
        with pytest.raises(ValueError, match=message):
            call(make(tmp_path))
    assert cli.main(["watch", str(make(tmp_path)), "--open", "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_wrong_arguments_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="run is a int; expected the folder of a watched run"):
        cr.explore_run(3)  # type: ignore[arg-type]
    for arguments, message in (
        (["--port", "9000"], "--port needs --open"),
        (["--no-browser"], "--browser needs --open"),
        (["--open", "--json"], "--open and --json exclude each other"),
        (["--open", "--why", "0.bias[0]"], "--open and --why exclude each other"),
    ):
        assert cli.main(["watch", str(folder), *arguments]) == 2
        assert message in capsys.readouterr().err


def test_damaged_files_are_said_and_the_rest_is_shown(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder, path)
    (path / "rows.safetensors").write_bytes(b"\x08\x00\x00\x00")
    with open(path / "steps.jsonl", "ab") as file:
        file.write(b'{"step":160,"lo\x00\n{"step":161')
    explorer = cr.explore_run(path)
    with entered(explorer) as client:
        page = said(client.get("/"))
        assert "1 line is damaged, and left out" in page
        assert "160 steps with SGD" in page
        assert "rows.safetensors is damaged, and cannot be read" in page
        assert "rows.safetensors is damaged" in said(client.get("/row?row=3"))
        shutil.rmtree(path)
        reply = client.get("/")
        assert "No step has been recorded yet" in said(reply) or reply.status_code == 404
    explorer.stop()


# --- the guard ------------------------------------------------------------------------------------


def test_every_page_needs_the_token(explorer: cr.RunExplorer) -> None:
    url = explorer.start()
    base = url.partition("?")[0]
    for path in ("", *(p[1:] for p in Routes(explorer._desk).pages if p != "/")):
        reply = httpx.get(f"{base}{path}?step={SPIKE}&row=1&what=1&name=0.bias&target=0.bias[0]")
        assert reply.status_code == 403
        assert "The token is missing" in reply.text
        assert "etag" not in reply.headers
    assert httpx.get(base + "?token=wrong").status_code == 403
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        assert httpx.get(url, headers=headers).status_code == 403
    policy = httpx.get(base).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert httpx.post(base).status_code == 405


def test_pages_have_no_script_or_style_inside(client: httpx.Client) -> None:
    for path in ("/", f"/step?step={SPIKE}", "/row?row=17", "/weight?name=0.bias", "/steps",
                 f"/again?step={SPIKE}", "/why?target=0.bias[1]"):  # fmt: skip
        page = client.get(path).text
        assert "style=" not in page
        assert "<style" not in page
        assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/run.js">']
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page):
            assert address.startswith("/")
    for name in ("run.js", "style.css"):
        assert client.get(name).status_code == 200


def test_pages_are_asked_for_at_once(client: httpx.Client, run: Any) -> None:
    paths = ["/", "/steps", f"/step?step={SPIKE}", "/row?row=17", "/weight?name=0.weight",
             "/why?target=0.weight[1,2]&step=150", f"/again?step={SPIKE}"]  # fmt: skip
    before = torch.get_rng_state()
    expected = {path: client.get(path).text for path in paths}
    found: dict[tuple[str, int], str] = {}

    def ask(path: str, k: int) -> None:
        found[path, k] = client.get(path).text

    threads = [threading.Thread(target=ask, args=(p, k)) for k in range(3) for p in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (path, _), text in found.items():
        assert re.sub(r'data-wait="\d+"', "", text) == re.sub(
            r'data-wait="\d+"', "", expected[path]
        )
    assert torch.equal(before, torch.get_rng_state())


# --- the life of a run ----------------------------------------------------------------------------


class Training:
    """A run in another process."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, run_of.__file__, str(folder), str(steps)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=uncounted(),
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, words: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(600)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    training = Training(tmp_path / "run", 12)
    with training.process:
        yield training
        training.process.kill()


def test_a_run_is_followed_while_another_process_writes_it(
    training: Training, tmp_path: Path
) -> None:
    explorer = cr.explore_run(tmp_path / "run")
    with entered(explorer) as client:
        first = client.get("/")
        assert explorer.run.state == "running"
        assert "The run goes on." in said(first)
        assert len(points(first.text, "Loss of each batch")) == 12
        headers = {"if-none-match": first.headers["etag"]}
        assert client.get("/", headers=headers).status_code == 304
        training.tell("train 30")
        later = client.get("/", headers=headers)
        assert later.status_code == 200
        assert len(points(later.text, "Loss of each batch")) == 42
        assert "<h1>Step 40</h1>" in client.get("/step?step=40").text
        training.tell("close")
        assert "The run has ended." in said(client.get("/"))
        assert explorer.run.state == "ended"
    explorer.stop()


@pytest.mark.parametrize(
    ("order", "state", "words"),
    [
        (None, "ended", "The run has ended."),
        ("raise", "ended", "The run ended with ValueError: the data are out."),
        ("die", "died", "The run died: its process"),
        (signal.SIGKILL, "died", "is gone, and did not close the recording"),
    ],
)
def test_how_a_run_ended_is_told(
    training: Training, tmp_path: Path, order: Any, state: str, words: str
) -> None:
    explorer = cr.explore_run(tmp_path / "run")
    if isinstance(order, str):
        training.tell(order)
    elif order is not None:
        training.process.send_signal(order)
        os.waitid(os.P_PID, training.process.pid, os.WEXITED | os.WNOWAIT)
        assert explorer.run.state == "died"  # though nobody has asked for its exit status
    training.end()
    assert explorer.run.state == state
    with entered(explorer) as client:
        page = client.get("/")
        assert words in said(page)
        assert len(points(page.text, "Loss of each batch")) == 12
    explorer.stop()


def test_a_new_run_in_the_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    model, optimizer, loss_fn = run_of.parts()
    path = tmp_path / "run"
    with cr.watch(model, optimizer, loss_fn, folder=path) as run:
        run_of.train(run, model, optimizer, loss_fn, 30)
    explorer = cr.explore_run(path)
    with entered(explorer) as client:
        assert "30 steps with SGD" in said(client.get("/"))
        model = torch.nn.Sequential(torch.nn.Linear(8, 2)).double()
        optimizer = torch.optim.Adam(model.parameters())
        run = cr.watch(model, optimizer, loss_fn, folder=path, every=1)
        assert "No step has been recorded yet" in said(client.get("/"))
        run_of.train(run, model, optimizer, loss_fn, 3)
        run.flush()
        page = client.get("/")
        assert "3 steps with Adam" in said(page)
        assert [r[0] for r in rows(page, "Norms of the parameters")] == ["0.weight", "0.bias"]
        run.close()
    explorer.stop()


def test_a_run_of_this_process_is_not_touched(tmp_path: Path) -> None:
    """Taking steps again sets random generators, which a loop beside it would see."""
    model, optimizer, loss_fn = run_of.parts()
    run = cr.watch(model, optimizer, loss_fn, folder=tmp_path / "run", every=5)
    run_of.train(run, model, optimizer, loss_fn, 20)
    run.flush()
    explorer = cr.explore_run(run)
    assert explorer.run is not run
    with entered(explorer) as client:
        assert "The run goes on." in said(client.get("/"))
        assert "needs the model" in said(client.get("/why?target=0.bias[1]&step=19"))
    explorer.stop()
    run.close()
    assert repr(explorer) == f"RunExplorer({str(tmp_path / 'run')!r})"


def test_ages_are_told() -> None:
    running = life.Life(life.RUNNING, "", 1, 1000.0)
    assert running.words(1010.0) == "The run goes on."
    assert running.words(1130.0) == "The run goes on; nothing new for 2 minutes."
    unknown = life.Life(life.UNKNOWN, "", None, 1000.0)
    assert "its process is gone: nothing new for 1 hour" in unknown.words(1000.0 + 3700)
    assert "something new just came" in unknown.words(1001.0)


def test_an_older_folder_and_one_of_another_machine_do_not_tell(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder, path)
    (path / "end.json").unlink()
    about = json.loads((path / "run.json").read_text())
    for writer in (None, {"host": "elsewhere", "process": 1}, {"host": 3}, 7):
        (path / "run.json").write_text(json.dumps({**about, "writer": writer}))
        assert cr.load_run(path).state == "unknown"
    reused = {**about["writer"], "process": os.getpid(), "born": "1"}  # a number given out again
    (path / "run.json").write_text(json.dumps({**about, "writer": reused}))
    if sys.platform == "linux":
        assert cr.load_run(path).state == "died"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_serves_until_ctrl_c_and_leaves_no_trace(folder: Path) -> None:
    def contents() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in folder.parent.rglob("*")
        }

    before = contents()
    process = subprocess.Popen(
        [sys.executable, "-m", "chainrule", "watch", str(folder), "--open", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=uncounted(),
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert process.stdout.readline() == "Press Ctrl-C to stop.\n"
    with httpx.Client(follow_redirects=True, timeout=600) as client:
        assert "160 steps with SGD" in said(client.get(url))
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=600)
    assert (process.returncode, error) == (0, "")
    assert out == "Stopped.\n"
    assert contents() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_line_is_found_without_reading_the_others(folder: Path, run: Any) -> None:
    path = folder / folders.STEPS
    for line in run.steps:
        assert folders.line_of(path, line["step"]) == line
    assert folders.line_of(path, 160) is None
    assert folders.line_of(path, 1) == run.steps[1]
    assert folders.steps_of(folder / folders.SAMPLES) == list(range(0, 160, 5))
    assert folders.line_of(folder / "none", 0) is None
    assert folders.last_of(path, b'"recorded":true') == run.steps[155]


def test_of_many_parameters_the_page_lists_those_that_changed_most(tmp_path: Path) -> None:
    names = [f"layers.{i}.weight" for i in range(130)]
    about = {"kind": "torch", "model": "Deep", "optimizer": "SGD", "rule": "SGD", "every": 1,
             "dense": False, "parameters": [{"name": n, "shape": [2], "group": 0, "place": i}
                                            for i, n in enumerate(names)]}  # fmt: skip
    path = folders.begin(tmp_path / "run", about)
    updates = [float((37 * i) % 130 + 1) for i in range(130)]
    line = {"step": 0, "loss": 1.0, "rates": [0.1], "recorded": True, "samples": 2, "norm": 1.0,
            "weights": [1.0] * 130, "gradients": [1.0] * 130, "updates": updates}  # fmt: skip
    (path / folders.STEPS).write_text(folders.encoded(line) + "\n")
    (path / folders.SAMPLES).write_text('{"step":0,"rows":null,"losses":null,"norms":null}\n')
    explorer = cr.explore_run(path)
    with entered(explorer) as client:
        shown = [r[0] for r in rows(client.get("/"), "Norms of the parameters")]
        largest = sorted(range(130), key=lambda i: -updates[i])[:60]
        assert shown == [names[i] for i in sorted(largest)]
        every = []
        for first in (0, 50, 100):
            every += rows(client.get(f"/layers?first={first}"), "Norms of the parameters")
        assert [r[0] for r in every] == names
        assert [float(r[4]) for r in every] == updates
        assert "Nothing is known of the samples" in said(client.get("/step?step=0"))
        assert "no rows have been recorded" in said(client.get("/")).lower()
    explorer.stop()

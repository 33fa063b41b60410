"""`chainrule explore`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import main
from chainrule.explorer.hosts.server import Server, bind
from chainrule.explorer.session import Session
from tests.explorer.served import server  # noqa: F401

# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_its_address_and_ends_at_an_interrupt() -> None:
    command = [sys.executable, "-m", "chainrule", "explore", "--no-browser", "--sizes", "2,3,1"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        text = ""
        while "token=" not in text:
            text += process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", text)
        assert url is not None
        deadline = time.monotonic() + 300
        while True:
            try:
                page = httpx.get(url[0], follow_redirects=True)
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert page.status_code == 403 or "chainrule explorer" in page.text
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=300)
        assert (process.returncode, complaint) == (0, "")
        assert rest.endswith("Stopped.\n")


def test_another_address_is_warned_of(monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    assert main(["explore", "--no-browser", "--host", "0.0.0.0"]) == 0
    shown = capsys.readouterr()
    assert "Warning: other machines can reach 0.0.0.0." in shown.err
    assert "token=" in shown.out
    assert main(["explore", "--no-browser"]) == 0
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.safetensors"], "none.safetensors: No such file"),
        (["net.safetensors", "--sizes", "2,1"], "exclude each other"),
        (["--sizes", "two"], "--sizes is 'two'; expected units such as 2,4,1"),
        (["--sizes", "2"], "--sizes is 2; expected two layers or more"),
        (["--sizes", "2,0,1"], "at least 1"),
        (["--data", "d.csv"], "--data needs a network"),
        (["--sizes", "2,2,1", "--data", "none.csv"], "none.csv: No such file"),
        (["--dataset", "nothing"], "unknown data set"),
        (["--sizes", "3,1", "--dataset", "moons"], "X has 2 columns, the network expects 3"),
        (["--dataset", "moons", "--data", "d.csv"], "exclude each other"),
        (["--hidden", "none", "--sizes", "2,2,1"], "unknown activation"),
    ],
)
def test_bad_arguments(arguments: list[str], complaint: str,
                       capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                       ) -> None:  # fmt: skip
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    assert main(["explore", "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_two_servers_that_do_not_run_yet_have_ports_of_their_own() -> None:
    """A port that is bound alone can be bound again, and both would take its connections."""
    with closing(bind("127.0.0.1", None)) as one, closing(bind("127.0.0.1", None)) as other:
        assert one.getsockname()[1] != other.getsockname()[1]


def test_a_port_that_is_taken_is_said(server: Server) -> None:
    with pytest.raises(ValueError, match=f"^Cannot listen at 127.0.0.1:{server.port}: "):
        Server(Session, port=server.port)


def test_a_lesson_is_saved(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lesson.html"
    arguments = ["explore", "--sizes", "2,2,1", "--dataset", "xor table", "--steps", "2"]
    assert main([*arguments, "--save", str(file)]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main([*arguments, "--save", str(tmp_path / "none" / "lesson.html")]) == 2


def test_a_model_and_its_data(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = cr.Network([2, 3, 1], output="sigmoid", loss="binary_cross_entropy", seed=5)
    net.save(tmp_path / "net.safetensors")
    (tmp_path / "d.csv").write_text("0,0,0\n0,1,1\n1,0,1\n1,1,0\n", encoding="utf-8")
    made: list[Session] = []
    start = Server.__init__

    def init(self: Server, make: Any, host: str, port: int | None) -> None:
        made.append(make())
        start(self, make, host, port)

    monkeypatch.setattr(Server, "__init__", init)
    monkeypatch.setattr(Server, "run", lambda self: self.listener.close())
    model, data = str(tmp_path / "net.safetensors"), str(tmp_path / "d.csv")
    assert main(["explore", model, "--data", data, "--no-browser"]) == 0
    assert (made[0].network.parameters == net.parameters).all()
    assert made[0]._data.X.shape == (4, 2)

    rows = "".join(f"{i % 7},{'ab'[i % 2]},{'yes' if i % 2 else 'no'}\n" for i in range(60))
    table, model = tmp_path / "t.csv", str(tmp_path / "t.model")
    table.write_text(f"size,kind,bought\n{rows},a,\n", encoding="utf-8")
    assert main(["train", str(table), "--target", "bought", "--epochs", "2", "--hidden", "3",
                 "--out", model, "--no-plot", "--plain"]) == 0  # fmt: skip
    assert main(["explore", model, "--data", str(table), "--no-browser"]) == 0
    X = made[1]._data.X  # the size, standardised, and the kind; without the row of no target
    assert X.shape == (60, made[1].network.sizes[0])
    assert np.abs(X).max() < 3

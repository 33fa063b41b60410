"""Places: what `on=` takes and refuses, what is closed again, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import places
from chainrule.network import Network
from chainrule.places import opening
from chainrule.training.callbacks import Run
from tests.clusters import ENGINES, Clusters
from tests.live import free_port

X = np.random.default_rng(0).normal(size=(30, 3))
Y = np.sin(X[:, :1])


def networks(count: int = 3) -> list[Network]:
    return [Network([3, 4, 1], seed=seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("on", "kind", "message"),
    [
        ("local", ValueError, "on is 'local'; expected 'dask://local'"),
        ("spark://local", ValueError, "on is 'spark://local'; expected"),
        ("dask://", ValueError, "on is 'dask://'; expected"),
        ("dask://auto", ValueError, "on is 'dask://auto'; expected"),
        ("dask://host", ValueError, "on is 'dask://host'; expected"),
        ("dask://local:0", ValueError, "the number of workers in on must be at least 1, got 0"),
        ("ray://local:two", ValueError, "expected a number of workers: ray://local:2"),
        (4, TypeError, "on is a int; expected"),
    ],
)
def test_what_is_not_a_place(on: Any, kind: type[Exception], message: str) -> None:
    given = networks()
    with pytest.raises(kind, match=message):
        cr.fit_many(given, X, Y, on=on)
    assert (given[0].parameters == networks()[0].parameters).all()


@pytest.mark.needs("ray")
def test_a_dead_cluster_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=r"no Ray cluster at .*, which RAY_ADDRESS names"):
        cr.fit_many(networks(), X, Y, on="ray://auto")


@pytest.mark.parametrize(("engine", "name"), [("dask", "Dask"), ("ray", "Ray")])
def test_an_engine_that_is_not_installed(
    engine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"chainrule.places.{engine}", None)
    monkeypatch.delattr(places, engine, raising=False)
    expected = rf"needs {name}, which is not installed: pip install 'chainrule\[{engine}\]'"
    with pytest.raises(ImportError, match=expected):
        cr.fit_many(networks(), X, Y, on=f"{engine}://local:2")


@pytest.mark.needs("dask")
def test_no_scheduler_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.places import dask

    monkeypatch.setattr(dask, "_TIMEOUT", 0.2)
    with pytest.raises(ConnectionError, match=r"there is no Dask scheduler at 127\.0\.0\.1:9"):
        cr.fit_many(networks(), X, Y, on="dask://127.0.0.1:9")


def stop(run: Run) -> None:
    run.stop()


class Unpicklable(cr.Callback):
    def __reduce__(self) -> Any:
        raise ArithmeticError("not this one")


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"callbacks": [stop]}, ValueError, r"callbacks\[0\] is a function; on a cluster"),
        ({"callbacks": [cr.CSVLogger("x.csv")]}, ValueError, r"callbacks\[0\] is a CSVLogger"),
        ({"checkpoint": "here"}, ValueError, "checkpoint= and on= cannot be combined"),
        (
            {"callbacks": [cr.EarlyStopping(monitor="val_loss")]},
            ValueError,
            "EarlyStopping: no column 'val_loss' to monitor",
        ),
        ({"y": Y[:5]}, ValueError, r"networks\[0\]: "),
        ({"seeds": [1]}, ValueError, "got 1 seeds"),
    ],
)
def test_refusals_before_anything_starts(
    how: dict[str, Any], kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "opened", None)  # nothing is opened
    given = networks()
    with pytest.raises(kind, match=message):
        cr.fit_many(given, **{"X": X, "y": Y, "on": "dask://local:2", **how})
    assert (given[0].parameters == networks()[0].parameters).all()


# What is left of a run: every process that was started, sockets, and files in the temporary folder.
LEFT = """
import os, sys, tempfile
import psutil
import chainrule as cr
from tests.places.test_opening import X, Y, Unpicklable, networks

def sockets():
    return [c for c in psutil.Process().net_connections() if c.status == "LISTEN"]

if __name__ == "__main__":
    made, make = [], tempfile.mkdtemp  # others make folders in /tmp, too
    tempfile.mkdtemp = lambda *a, **k: made.append(make(*a, **k)) or made[-1]
    before = set(os.listdir(tempfile.gettempdir()))
    given, here = networks(40), networks(40)
    cr.fit_many(given, X, Y, epochs=2, on=sys.argv[1])
    cr.fit_many(here, X, Y, epochs=2)
    assert all((a.parameters == b.parameters).all() for a, b in zip(given, here))
    try:
        cr.fit_many(given, X, Y, callbacks=[Unpicklable()], on=sys.argv[1])
    except TypeError as error:
        assert "callbacks[0] cannot be sent to the workers" in str(error), error
    else:
        raise AssertionError("it was sent")
    started = psutil.Process().children(recursive=True)
    own = [p for p in started if "resource_tracker" not in " ".join(p.cmdline())]  # of Python
    gone, alive = psutil.wait_procs(own, timeout=20)
    assert not alive, alive
    assert not sockets(), sockets()
    left = [folder for folder in made if os.path.exists(folder)]
    assert made and not left, left
    left = set(os.listdir(tempfile.gettempdir())) - before
    assert not left, left
    assert "CHAINRULE_NUM_THREADS" not in os.environ
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_local_cluster_leaves_nothing_behind(engine: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LEFT)
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": tempfile.mkdtemp(dir=tmp_path)}
    environment.pop("CHAINRULE_NUM_THREADS", None)
    ran = subprocess.run(
        [sys.executable, script, f"{engine}://local:2"],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""


@pytest.mark.needs("dask")
def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LEFT.replace('if __name__ == "__main__":', "if True:"))
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, script, "dask://local:2"], capture_output=True, text=True, timeout=300,
        check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert ran.returncode != 0
    assert "Put the call under `if __name__ == '__main__':`" in ran.stderr


@pytest.mark.needs("ray")
def test_a_closed_connection_to_ray_starts_no_cluster(clusters: Clusters) -> None:
    """Ray itself would start one for whatever is asked of it."""
    import ray

    with places.opened(clusters["ray"]) as place:
        going = place.run(_echo, None, range(100))
        assert next(going).error is None
        clusters.stop()
        with pytest.raises(ConnectionError, match="Ray is not connected"):
            next(going)
        with pytest.raises(ConnectionError, match="Ray is not connected"):
            place.count()
    assert not ray.is_initialized()


def _echo(shared: None, item: int, threads: int | None) -> int:
    return item

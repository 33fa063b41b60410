"""Clusters of processes that are started as users start them: by the commands of Dask and of Ray.

All listen at ports of their own, and are ended by their numbers: `ray stop` would end every Ray of
the machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds, for a machine that has much else to do
PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
ENVIRONMENT = {
    **os.environ,
    "PATH": PROGRAMS,
    "CHAINRULE_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens at."""
    with socket.create_server((host, 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def wait_for(happened: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until something has happened, and return what came of it."""
    until = time.monotonic() + patience
    while not (found := happened()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what} has not happened within {patience:g} s")
        time.sleep(0.05)
    return found


def tree(pid: int) -> list[Any]:
    """Return a process and all that descend from it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


class Command:
    """A command that goes on until it is ended, with a log."""

    def __init__(
        self, words: Sequence[str], log: Path, env: dict[str, str] | None = None, **how: Any
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                words, stdout=file, stderr=file, env=ENVIRONMENT | (env or {}),
                start_new_session=True, **how,
            )  # fmt: skip

    def says(self, words: str) -> None:
        """Wait until it has said something; AssertionError if it ends without."""
        wait_for(lambda: words in self.text() or self.process.poll() is not None, repr(words))
        if words not in self.text():
            self.kill()
            raise AssertionError(self.text())

    def text(self) -> str:
        """What it has said."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        import psutil

        processes = tree(self.process.pid)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(processes, timeout=10)


class _Lock:
    """What one process of the machine has at a time; waits until it is free."""

    def __init__(self, path: Path) -> None:
        import fcntl  # not on Windows

        self._file = path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Leave it to others."""
        self._file.close()


class Live:
    """A cluster: a process that leads, and others that work."""

    engine = ""

    def __init__(self, within: Sequence[str] = (), host: str = "127.0.0.1") -> None:
        """``within``: the beginning of the leader's command; ``host``: its address."""
        # Ray has sockets in its folder, whose paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="crl-", dir="/tmp"))
        self.host, self.port = host, free_port()
        # Ray's processes and its callers know a token; older versions ignore it.
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        self.env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self.nodes: list[Command] = []
        self._started = 0
        try:
            self.leader = self.lead(within)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def address(self) -> str:
        """What `on=` takes."""
        return f"{self.engine}://{self.host}:{self.port}"

    def command(self, words: Sequence[str], **how: Any) -> Command:
        """Start a command."""
        self._started += 1
        how["env"] = self.env | how.get("env", {})
        return Command(words, self.folder / f"{self._started}.log", **how)

    def lead(self, within: Sequence[str] = ()) -> Command:
        """Start the leader, and wait until it listens."""
        raise NotImplementedError

    def work(self, within: Sequence[str] = (), host: str | None = None) -> Command:
        """Start a node of one worker, and wait until it has been taken in."""
        raise NotImplementedError

    def keeper_of(self, node: Command) -> int:
        """Return the process without which a node does not live."""
        return node.process.pid

    def again(self, workers: int) -> None:
        """Start all of it again, at the same address."""
        for command in [*self.nodes, self.leader]:
            command.kill()
        self.nodes.clear()
        self.leader = self.lead()
        for _ in range(workers):
            self.work()

    def stop(self) -> None:
        """End all of it."""
        for command in [*self.nodes, self.leader]:
            command.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class LiveDask(Live):
    """`dask scheduler`, and a `dask worker` for each node."""

    engine = "dask"

    def lead(self, within: Sequence[str] = ()) -> Command:
        """See `Live.lead`."""
        command = self.command(
            [*within, "dask", "scheduler", "--host", self.host, "--port", str(self.port),
             "--no-dashboard"]
        )  # fmt: skip
        command.says("Scheduler at:")
        return command

    def work(self, within: Sequence[str] = (), host: str | None = None) -> Command:
        """See `Live.work`."""
        command = self.command(
            [*within, "dask", "worker", f"tcp://{self.host}:{self.port}", "--nthreads", "1",
             "--host", host or self.host, "--no-dashboard", "--memory-limit", "0",
             "--local-directory", str(self.folder)]
        )  # fmt: skip
        self.nodes.append(command)
        command.says("Registered to:")
        return command


class LiveRay(Live):
    """`ray start --head`, which does no work itself, and a `ray start` for each node.

    One at a time: those who connect through Ray Client have servers at ports from 23000 on, which
    two clusters of a machine take from each other.
    """

    engine = "ray"

    def __init__(self, within: Sequence[str] = (), host: str = "127.0.0.1") -> None:
        self._alone = _Lock(Path(tempfile.gettempdir()) / "chainrule-tests-ray.lock")
        try:
            super().__init__(within, host)
        except BaseException:
            self._alone.release()
            raise

    def stop(self) -> None:
        """See `Live.stop`."""
        super().stop()
        self._alone.release()

    def lead(self, within: Sequence[str] = ()) -> Command:
        """See `Live.lead`."""
        self.gcs = free_port()
        return self._begun(
            [*within, *self._start(self.host, 0), "--head", "--port", str(self.gcs),
             "--ray-client-server-port", str(self.port), "--include-dashboard", "false",
             "--temp-dir", str(self.folder), "--system-config", '{"worker_niceness": 0}']
        )  # fmt: skip

    @property
    def inside(self) -> str:
        """The address for `ray.init()` on a machine of the cluster."""
        return f"{self.host}:{self.gcs}"

    def work(self, within: Sequence[str] = (), host: str | None = None) -> Command:
        """See `Live.work`."""
        words = [*within, *self._start(host or self.host, 1), "--address", self.inside]
        self.nodes.append(self._begun(words))
        return self.nodes[-1]

    def _begun(self, words: Sequence[str]) -> Command:
        """Start a node; once more where the machine was so busy that Ray gave it up after 30 s."""
        for left in (2, 1, 0):
            command = self.command(words)
            try:
                command.says("Ray runtime started.")
                break
            except AssertionError:
                if not left:
                    raise
        return command

    def _start(self, host: str, cpus: int) -> list[str]:
        ports = {
            f"--{name}-port": str(free_port())
            for name in ("dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export")
        }
        return [
            "ray", "start", "--block", "--node-ip-address", host, "--num-cpus", str(cpus),
            "--object-store-memory", str(100 << 20), "--disable-usage-stats",
            *(word for pair in ports.items() for word in pair),
        ]  # fmt: skip

    def keeper_of(self, node: Command) -> int:
        """See `Live.keeper_of`."""
        name = "gcs_server" if node is self.leader else "raylet"
        for process in tree(node.process.pid):
            if _words(process)[:1] and _words(process)[0].endswith(f"/{name}"):
                return int(process.pid)
        raise LookupError(f"{name} does not run")


def _words(process: Any) -> list[str]:
    import psutil

    with contextlib.suppress(psutil.Error):
        words: list[str] = process.cmdline()
        return words
    return []


LIVE: dict[str, type[Live]] = {"dask": LiveDask, "ray": LiveRay}


@contextmanager
def live(engine: str, workers: int) -> Iterator[Any]:
    """Start a cluster of so many nodes, and end it at the end of the block."""
    cluster = LIVE[engine]()
    try:
        for _ in range(workers):
            cluster.work()
        yield cluster
    finally:
        cluster.stop()

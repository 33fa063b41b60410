"""One network on three hosts: network namespaces with cables, or addresses of this machine.

Namespaces need root on Linux. Elsewhere the hosts are 127.0.0.1 to 127.0.0.3, and a cable that is
cut is a host whose processes stand still.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainrule.distributed.messages import hosts as addresses
from tests.distributed.torture import Torture, alone
from tests.live import LiveDask, tree, wait_for

pytestmark = pytest.mark.needs("dask")
COUNT = 3


class Cabled:
    """Hosts in namespaces of the network, on one switch, which is a namespace, too."""

    def __init__(self) -> None:
        self.names = [f"cr{os.getpid()}-{i}" for i in range(COUNT)]
        self.switch = f"cr{os.getpid()}-s"
        self.addresses = [f"10.213.7.{i + 1}" for i in range(COUNT)]

    def start(self) -> bool:
        """Make them; return whether that is possible here."""
        if sys.platform != "linux" or not shutil.which("ip"):
            return False
        try:
            self._make()
        except subprocess.CalledProcessError:
            self.stop()
            return False
        return True

    def _make(self) -> None:
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        for i, (name, address) in enumerate(zip(self.names, self.addresses, strict=True)):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            ends = ("cable", "type", "veth", "peer", "name", f"port{i}", "netns", self.switch)
            ip("-n", name, "link", "add", *ends)
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", self.switch, "link", "set", f"port{i}", "master", "bridge", "up")

    def within(self, i: int) -> list[str]:
        """Return the beginning of a command on a host."""
        return ["ip", "netns", "exec", self.names[i]]

    def cut(self, i: int, cluster: LiveDask) -> None:
        """Cut the cable of a host."""
        ip("-n", self.switch, "link", "set", f"port{i}", "down")

    def mend(self, i: int, cluster: LiveDask) -> None:
        """Mend it."""
        ip("-n", self.switch, "link", "set", f"port{i}", "up")

    def stop(self) -> None:
        """Take them away, with their cables."""
        for name in [*self.names, self.switch]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


class Loopback:
    """Hosts that are addresses of this machine."""

    addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

    def within(self, i: int) -> list[str]:
        """Return nothing: there is nothing around a command."""
        return []

    def cut(self, i: int, cluster: LiveDask) -> None:
        """Have the processes of a host stand still."""
        self._send(i, cluster, signal.SIGSTOP)

    def mend(self, i: int, cluster: LiveDask) -> None:
        """Have them go on."""
        self._send(i, cluster, signal.SIGCONT)

    def _send(self, i: int, cluster: LiveDask, what: signal.Signals) -> None:
        for process in tree(cluster.nodes[i - 1].process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, what)

    def stop(self) -> None:
        """Do nothing."""


def to_head(pid: int, scheduler: int) -> list[str]:
    """Return the connections of a host to the first one, but not those to the scheduler."""
    found = []
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        to, state = line.split()[2:4]
        host, _, port = to.partition(":")
        if host == "0107D50A" and int(port, 16) != scheduler and state in ("01", "04"):
            found.append(to)  # to 10.213.7.1, established or with something under way
    return found


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(params=["cabled", "loopback"])
def hosts(request: pytest.FixtureRequest) -> Iterator[Cabled | Loopback]:
    """Three hosts. Where there can be no namespaces, both are the addresses of this machine."""
    cabled = Cabled()
    found = cabled if request.param == "cabled" and cabled.start() else Loopback()
    yield found
    found.stop()


def test_a_host_is_cut_off_and_comes_back(hosts: Cabled | Loopback, tmp_path: Path) -> None:
    """The other one goes on; after that both do, to the bits of one machine."""
    cluster = LiveDask(hosts.within(0), hosts.addresses[0])
    run = None
    try:
        for i in (1, 2):
            cluster.work(hosts.within(i), hosts.addresses[i])
        run = Torture(cluster, 2, 0, tmp_path, hosts.within(0))
        run.wait_for_workers(2)
        if isinstance(hosts, Cabled):  # else the workers come from the address they connect to
            assert sorted(run.hosts) == [*hosts.addresses[1:]]
        before = run.generation
        hosts.cut(2, cluster)
        run.wait(
            lambda said: said["what"] == "step" and said["new"] and run.generation > before,
            "a step without the host",
        )
        assert len(run.met) == 1
        if isinstance(hosts, Cabled):
            node = cluster.nodes[1].process.pid
            wait_for(lambda: not to_head(node, cluster.port), "the worker leaves its head", 30.0)
        hosts.mend(2, cluster)
        epochs, found = run.end()  # after both have met
        assert found == alone(epochs)
    finally:
        if run is not None:
            run.close()
        cluster.stop()


def test_addresses_of_a_host_without_a_way_out() -> None:
    """The network of a cluster may lead nowhere else."""
    cabled = Cabled()
    if not cabled.start():
        assert addresses()[-1] == "127.0.0.1"
        return
    try:
        code = "from chainrule.distributed.messages import hosts; print(hosts()[0])"
        run = subprocess.run(
            [*cabled.within(1), sys.executable, "-c", code], capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert run.stdout == "10.213.7.2\n"
    finally:
        cabled.stop()

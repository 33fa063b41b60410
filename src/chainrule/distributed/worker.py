"""A worker of a training: holds some shards of the samples, and takes part in every step."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule import engines
from chainrule._forks import Lock
from chainrule.distributed.dataset import Dataset, Kept, Weighing, weigh
from chainrule.distributed.exchange import CalledOffError, Mesh, Peer
from chainrule.distributed.messages import PeerError, listening, receive, send, tuned
from chainrule.engines import Plan, State, local
from chainrule.engines.base import MicroBatch, Sums, mean_loss
from chainrule.engines.micro import Cut, subtrees
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward

Array = NDArray[Any]

_TOLD = 0.05  # seconds between two words on progress
_BEAT = 1.0  # seconds between two signs of life


@dataclass(frozen=True)
class Job:
    """What all workers of a training know from the start.

    ``addresses`` are those at which the coordinator may be reached, ``timeout`` is the time after
    which a silent process is given up, and ``commit`` that after which the state of the run is sent
    to the coordinator, both in seconds. ``dataset`` is what workers read themselves; None where
    the coordinator sends the samples. ``weighed`` says whether its rows get weights.
    """

    network: FeedForward
    plan: Plan
    engine: str
    cut: Cut
    addresses: tuple[tuple[str, int], ...]
    secret: str
    timeout: float
    commit: float
    dataset: Dataset | None = None
    weighed: bool = False


def serve(job: Job, number: int, threads: int | None) -> None:
    """Work for the coordinator until it says that the training has ended.

    Args:
        job: What the training is.
        number: Which worker this is, for messages.
        threads: How many threads a step may use; None is what the environment says.
    """
    sock, host = _reached(job)
    with sock, listening(host) as listener:
        worker = _Worker(job, sock, listener, threads)
        send(sock, "hello", secret=job.secret, number=number, port=listener.getsockname()[1],
             instructions=worker.instructions)  # fmt: skip
        with worker.alive():
            worker.serve()


def _reached(job: Job) -> tuple[socket.socket, str]:
    """Return the connection to the coordinator, and the address of this end of it."""
    errors = []
    for address in job.addresses:
        try:
            sock = socket.create_connection(address, min(job.timeout, 5.0))
        except OSError as error:
            errors.append(f"{address[0]}: {error}")
            continue
        return tuned(sock, job.timeout), sock.getsockname()[0]
    raise ConnectionError(f"the coordinator can't be reached ({'; '.join(errors)})")


class _Worker:
    def __init__(
        self, job: Job, sock: socket.socket, listener: socket.socket, threads: int | None
    ) -> None:
        self._job, self._sock, self._listener = job, sock, listener
        self._network = job.network
        self._network.threads = threads or self._network.threads
        plain = Plan(job.plan.optimizer, job.plan.batch_size, job.plan.clip_norm)
        self._engine = engines.choose(job.engine, job.network, plain)
        self._shards: dict[int, Samples] = {}
        self._kept = Kept(job.dataset.memory if job.dataset else 0)
        self._unweighed = set[int]()
        self._mesh: Mesh | None = None
        self._meeting: tuple[int, int] | None = None
        self._said: list[tuple[str, dict[str, Any], dict[str, Array]]] = []
        self._stop = False
        self._sending = Lock()
        self._ended = threading.Event()

    @property
    def instructions(self) -> str:
        """The instruction set, on which the bits of a sum depend."""
        return self._engine.instructions()

    # --- the coordinator ---------------------------------------------------------------------

    def serve(self) -> None:
        """Do what the coordinator says."""
        try:
            while True:
                kind, fields, arrays = self._said.pop(0) if self._said else self._heard()
                if kind == "end":
                    return
                if kind == "read":
                    self._read(fields["k"], fields["targets"])
                elif kind == "shard":
                    self._shards[fields["k"]] = Samples(
                        arrays["X"], arrays["y"], arrays.get("weights")
                    )
                elif kind == "forget":
                    for k in fields["shards"]:
                        self._shards.pop(k, None)
                        self._kept.forget(k)
                elif kind == "epoch":
                    self._epoch(fields, arrays)
        except PeerError:
            return  # the coordinator is gone, and with it whoever wants to know
        finally:
            if self._mesh is not None:
                self._mesh.close()

    def _heard(self) -> tuple[str, dict[str, Any], dict[str, Array]]:
        while not select.select([self._sock], [], [], self._job.timeout)[0]:
            pass  # callbacks and validation may take their time
        return receive(self._sock)

    def _say(self, kind: str, arrays: dict[str, Array] | None = None, **fields: Any) -> None:
        with self._sending:
            send(self._sock, kind, arrays or {}, **fields)

    def _read(self, k: int, targets: bool) -> None:
        """Read a shard of the dataset, and say what there is to know of it, or what is wrong."""
        dataset, units = self._job.dataset, self._network.sizes[-1]
        assert dataset is not None
        try:
            shard, (facts,) = self._kept.read(
                k, dataset, [self._job.cut.shard(k)], units, self._job.weighed, self._still
            )
        except PeerError:
            raise
        except (ValueError, OSError, ImportError, MemoryError) as error:
            self._say("refused", why=str(error), data=isinstance(error, ValueError))
            return
        self._shards[k] = shard
        if self._job.weighed:
            self._unweighed.add(k)
        arrays = {"y": shard.y} if targets else {}
        if targets and shard.weights is not None:
            arrays["weights"] = shard.weights
        self._say("read", arrays, k=k, **facts.plain())

    def _still(self) -> None:
        """Raise PeerError where the training has ended while a shard is read."""
        if self._called_off() and self._said and self._said[-1][0] == "end":
            raise PeerError("the training has ended")

    def alive(self) -> _Beating:
        """Return what says, while a block runs, that the process lives."""
        return _Beating(self._say, self._ended)

    def _called_off(self) -> bool:
        """Read what the coordinator says in the middle of an epoch; return whether to leave it.

        The next epoch may be told before this one has ended here: the leader may be ahead.
        """
        while select.select([self._sock], [], [], 0)[0]:
            message = receive(self._sock)
            if message[0] == "stop":
                self._stop = True
            elif message[0] == "regroup":
                return True
            else:
                self._said.append(message)
                if message[0] == "end":
                    return True
        return False

    # --- an epoch ----------------------------------------------------------------------------

    def _epoch(self, about: dict[str, Any], arrays: dict[str, Array]) -> None:
        self._stop = False
        try:
            self._meet(about)
            self._steps(about, arrays)
        except CalledOffError:
            self._leave()
        except PeerError as error:
            self._leave()
            self._say("broken", generation=about["generation"], why=str(error))

    def _leave(self) -> None:
        if self._mesh is not None:
            self._mesh.close()
        self._mesh = self._meeting = None

    def _meet(self, about: dict[str, Any]) -> None:
        """Connect to the others, unless this is the same meeting as before."""
        meeting = about["generation"], about["rank"]
        if meeting == self._meeting:
            return
        self._leave()
        peers = [Peer(host, port, range(*mine)) for host, port, *mine in about["peers"]]
        self._mesh = Mesh(
            about["rank"], peers, self._listener, self._job.secret, about["generation"],
            self._job.timeout, local.like(self._network, self._job.plan), self._sock,
            self._called_off,
        )  # fmt: skip
        self._meeting = meeting

    def _steps(self, about: dict[str, Any], arrays: dict[str, Array]) -> None:
        job, cut, network, mesh = self._job, self._job.cut, self._network, self._mesh
        assert mesh is not None
        leader, mine = about["rank"] == 0, mesh.peers[about["rank"]].mine
        network.seed = about["seed"]
        network.parameters[...] = arrays["theta"]
        slots = {name[5:]: array for name, array in arrays.items() if name.startswith("slot.")}
        state, rates = State(about["step"], slots), arrays["rates"]
        for k in self._unweighed.intersection(mine):
            weigh(self._shards[k], Weighing(**about["weighing"]), network.sizes[-1])
            self._unweighed.discard(k)
        orders = {k: self._order(about, k) for k in mine if k in self._shards}
        outputs = {
            k: np.zeros((len(shard.X), network.sizes[-1]), network.dtype)
            for k, shard in self._shards.items()
            if about["outputs"] and k in mine
        }
        loss, weight = about["loss"], about["weight"]
        told = committed = monotonic()
        done, failure = about["first"], None
        like = local.like(network, job.plan)
        blocks = [(block, np.empty_like(like)) for block in subtrees(mine, cut.micro_batches)]

        def batch(k: int, step: int, at: int) -> MicroBatch:
            rows = orders[k][cut.part(k, step)]
            return MicroBatch(self._shards[k], rows, cut.draw(k, at), outputs.get(k))

        for steps in cut.meetings(job.plan, about["first"]):
            if leader:
                if self._called_off():
                    raise CalledOffError
                now = monotonic()
                if now - told > _TOLD:
                    self._say("progress", steps=steps.start, mean=mean_loss(loss, weight))
                    told = now
                if now - committed > job.commit and not about["outputs"]:
                    self._tell("commit", state, first=steps.start, loss=loss, weight=weight)
                    committed = now
            taken, nodes = cut.taken(steps), dict[int, Sums]()
            for block, g in blocks:
                if shards := {k: taken[k] for k in block if k in taken}:
                    nodes[block.start] = local.block(
                        self._engine, network, job.plan, state, shards, rates, cut.most, batch, g
                    )
            total, stop = mesh.sum(nodes, taken, cut.micro_batches, state.step, self._stop)
            failure = local.meet(self._engine, network, job.plan, state, total, steps, rates)
            if failure is not None:
                break
            loss, weight, done = loss + total.loss, weight + total.weight, steps.stop
            if stop:
                break
        if leader:
            fields: dict[str, Any] = {"steps": done, "loss": loss, "weight": weight}
            if failure is not None:
                fields["failure"] = [failure.step, failure.layer, failure.what]
            self._tell("done", state, generation=about["generation"], **fields)
        if about["outputs"]:
            rows = {f"outputs.{k}": a for k, a in outputs.items()}
            self._say("outputs", rows, generation=about["generation"])

    def _tell(self, kind: str, state: State, **fields: Any) -> None:
        """Send the coordinator the state of the run."""
        arrays = {f"slot.{name}": slot for name, slot in state.slots.items()}
        self._say(kind, {"theta": self._network.parameters, **arrays}, step=state.step, **fields)

    def _order(self, about: dict[str, Any], k: int) -> NDArray[np.int64]:
        """Return the order in which the epoch takes the rows of a shard, from 0 within it."""
        cut = self._job.cut
        if not about["shuffle"]:
            return np.arange(len(cut.shard(k)))
        drawn = self._engine.epoch_orders
        return cut.shard_order(about["seed"], about["epoch"], k, drawn) - cut.shard(k).start


class _Beating:
    """Says from time to time that the process lives."""

    def __init__(self, say: Callable[..., None], ended: threading.Event) -> None:
        self._say, self._ended = say, ended
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        with suppress(PeerError):
            while not self._ended.wait(_BEAT):
                self._say("alive")

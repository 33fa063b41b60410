"""The coordinator of a training: who works, on which micro-batches, and from which step on.

It is an engine to `chainrule.training.fit`, so that the loop over epochs, callbacks, validation,
early stopping, checkpoints and errors are those of a fit on one machine, decided once, here. A
place of Dask or Ray starts the workers, and starts those again that die; they connect to this
process. Where one is gone, the others meet again without it, and go on from the last state that
came here.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import Any

from numpy.typing import NDArray

from chainrule.distributed.found import Found, WorkersError, refusal
from chainrule.distributed.messages import (
    PeerError,
    greeted,
    hosts,
    listening,
    receive,
    send,
    tuned,
)
from chainrule.distributed.states import Start, shard_of, state_of
from chainrule.distributed.worker import Job, serve
from chainrule.engines import Engine, Epoch, EpochResult, Failure, State, go_on
from chainrule.engines.base import check_state, mean_loss
from chainrule.engines.through import Through
from chainrule.equations.data import Samples
from chainrule.equations.feedforward import FeedForward
from chainrule.places import Place
from chainrule.places.place import NoWorkersError

Array = NDArray[Any]

TIMEOUT = 30.0  # seconds without a sign of life, after which a worker is given up
COMMIT = 1.0  # seconds between two states that the leader sends
PATIENCE = 120.0  # seconds in which enough workers must have come
_GRACE = 0.5  # seconds to wait for workers that may come at once, too
_FAILED = 3  # tasks that end before they have come here, one after another


@dataclass
class _Worker:
    sock: socket.socket
    host: str
    port: int
    instructions: str
    heard: float
    shards: set[int] = field(default_factory=set)


class Coordinator(Through):
    """Trains on workers, as `chainrule.engines.Engine`."""

    def __init__(self, job: Job, inner: Engine, bounds: range, listener: socket.socket) -> None:
        """``bounds``: from how many workers on there is training, and up to how many."""
        super().__init__(inner)
        self._job, self._bounds, self._listener = job, bounds, listener
        self._workers: list[_Worker] = []
        self._generation = 0
        self._met: list[_Worker] = []
        self.trouble: BaseException | None = None
        self._broken = 0.0  # seconds of meetings that came to no step, since there was one
        self.found = Found(job.cut)

    def load(self) -> None:
        """Have the workers read the dataset, each its own shards."""
        while True:
            self._gather()
            self._meet(None)
            if self.found.is_whole:
                return
            self._call_off()

    def run_epoch(
        self,
        network: FeedForward,
        epoch: Epoch,
        state: State,
        on_progress: Callable[[int, float], bool] = go_on,
    ) -> EpochResult:
        """See `chainrule.engines.base.Engine.run_epoch`."""
        check_state(epoch.plan.optimizer, network.parameters, state)
        slots = {name: slot.copy() for name, slot in state.slots.items()}
        start = Start(0, 0.0, 0.0, state.step, network.parameters.copy(), slots)
        while True:
            self._gather()
            self._meet(epoch.samples)
            try:
                self._begin(network, epoch, start)
                start, result = self._follow(epoch, start, on_progress)
            except PeerError:
                result = None
            if result is not None:
                network.parameters[...] = start.theta
                for name, slot in start.slots.items():
                    state.slots[name][...] = slot
                state.step = start.step
                return result
            self._call_off()

    # --- who works ---------------------------------------------------------------------------

    def _gather(self) -> None:
        """Wait until there are enough workers, and a moment for more."""
        began = last = monotonic()
        while True:
            self._look(0.0 if len(self._workers) >= self._bounds.start else 0.05)
            count, now = len(self._workers), monotonic()
            if count >= self._bounds.stop - 1 or (self._met and count >= self._bounds.start):
                return
            if self.trouble is not None:
                raise self.trouble
            if count < self._bounds.start:
                last = now
                if now - began > PATIENCE:
                    raise WorkersError(
                        f"{count} workers have come within {PATIENCE:g} s; expected at least "
                        f"{self._bounds.start}. Start more, or ask for fewer: workers=1"
                    )
            elif now - last > _GRACE:
                return

    def _look(self, patience: float) -> None:
        """Take in workers that have come, and give up those that are gone or silent."""
        socks = [self._listener, *(worker.sock for worker in self._workers)]
        for ready in select.select(socks, [], [], patience)[0]:
            if ready is self._listener:
                self._take_in()
                continue
            for worker in [w for w in self._workers if w.sock is ready]:
                try:
                    message = receive(worker.sock)
                except PeerError:
                    self._give_up(worker)
                    continue
                worker.heard = monotonic()
                if message[0] in ("read", "refused"):
                    self._note(worker, *message)
                # else a sign of life, or what came of a step called off
        for worker in list(self._workers):
            if monotonic() - worker.heard > self._job.timeout:
                self._give_up(worker)

    def _take_in(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError:
            return
        try:
            kind, fields = greeted(sock)
            tuned(sock, self._job.timeout)
            if kind != "hello" or not secrets.compare_digest(fields["secret"], self._job.secret):
                raise PeerError("not of this training")
            worker = _Worker(
                sock, address[0], int(fields["port"]), str(fields["instructions"]), monotonic()
            )
        except (PeerError, KeyError, ValueError, TypeError):
            sock.close()
            return
        self._workers.append(worker)

    def _give_up(self, worker: _Worker) -> None:
        worker.sock.close()
        self._workers = [w for w in self._workers if w is not worker]

    def _meet(self, samples: Samples | None) -> None:
        """Share the micro-batches out, and send each worker the shards that it lacks."""
        job, cut = self._job, self._job.cut
        most = min(self._bounds.stop - 1, cut.micro_batches)
        working = self._workers[:most]
        if different := {w.instructions for w in working} - {working[0].instructions}:
            names = " and ".join(sorted({working[0].instructions, *different}))
            raise WorkersError(
                f"the workers have different instruction sets, {names}, whose sums differ in the "
                "last bits. Set CHAINRULE_ISA to one that all have, such as avx2, on every worker"
            )
        if working == self._met:
            return
        self._generation += 1
        self._met = working
        for worker, mine in zip(working, self._shares(), strict=True):
            try:
                if extra := sorted(worker.shards - set(mine)):
                    send(worker.sock, "forget", shards=extra)
                worker.shards &= set(mine)
                for k in self._lacking(worker, mine):
                    if job.dataset is not None:
                        send(worker.sock, "read", k=k, targets=self.found.wants(k))
                    elif samples is not None:
                        send(worker.sock, "shard", shard_of(samples, cut.shard(k), job), k=k)
                        worker.shards.add(k)
            except PeerError:
                self._give_up(worker)
        while job.dataset is not None and any(
            worker in self._workers and self._lacking(worker, mine)
            for worker, mine in zip(working, self._shares(), strict=True)
        ):
            if self.trouble is not None:
                raise self.trouble
            self._look(0.2)

    def _lacking(self, worker: _Worker, mine: range) -> list[int]:
        """Return which of its shards a worker does not have yet."""
        return [k for k in mine if k not in worker.shards and len(self._job.cut.shard(k))]

    def _note(
        self, worker: _Worker, kind: str, fields: dict[str, Any], arrays: dict[str, Array]
    ) -> None:
        """Take in what a worker has found in its files."""
        if kind == "refused":
            raise refusal(fields, worker.host)
        worker.shards.add(self.found.take(fields, arrays))

    def _shares(self) -> list[range]:
        count, leaves = len(self._met), self._job.cut.micro_batches
        return [range(r * leaves // count, (r + 1) * leaves // count) for r in range(count)]

    def _call_off(self) -> None:
        """Have all leave the step, and meet again."""
        for worker in [w for w in self._met if w in self._workers]:
            try:
                send(worker.sock, "regroup")
            except PeerError:
                self._give_up(worker)
        self._met = []

    # --- an epoch ----------------------------------------------------------------------------

    def _begin(self, network: FeedForward, epoch: Epoch, start: Start) -> None:
        if any(worker not in self._workers for worker in self._met):
            raise PeerError("a worker is gone")
        peers = [
            [w.host, w.port, mine.start, mine.stop]
            for w, mine in zip(self._met, self._shares(), strict=True)
        ]
        arrays = {f"slot.{name}": slot for name, slot in start.slots.items()}
        arrays |= {"theta": start.theta, "rates": epoch.learning_rates}
        for rank, worker in enumerate(self._met):
            send(
                worker.sock, "epoch", arrays, rank=rank, peers=peers, generation=self._generation,
                epoch=epoch.number, first=start.first, loss=start.loss, weight=start.weight,
                step=start.step, seed=network.seed, shuffle=epoch.order is not None,
                outputs=epoch.outputs is not None, weighing=asdict(self.found.weighing),
            )  # fmt: skip

    def _follow(
        self, epoch: Epoch, start: Start, on_progress: Callable[[int, float], bool]
    ) -> tuple[Start, EpochResult | None]:
        """Follow an epoch to its end, or until a worker is lost: the state then, and what came."""
        asked, began = False, monotonic()
        waiting = set(range(len(self._met))) if epoch.outputs is not None else set[int]()
        done: tuple[Start, EpochResult] | None = None
        while done is None or waiting:
            socks = {w.sock: rank for rank, w in enumerate(self._met)}
            for sock in select.select([*socks, self._listener], [], [], 0.2)[0]:
                if sock is self._listener:
                    self._take_in()
                    continue
                worker = self._met[socks[sock]]
                try:
                    kind, fields, arrays = receive(sock)
                except PeerError:
                    self._give_up(worker)
                    return start, None
                worker.heard = monotonic()
                if fields.get("generation", self._generation) != self._generation:
                    continue
                if kind == "broken":
                    self._broken += monotonic() - began
                    if self._broken > PATIENCE:
                        raise WorkersError(
                            f"the workers have done no step together for {PATIENCE:g} s "
                            f"({fields['why']}). Let them reach each other at all ports"
                        )
                    self._find_dead()
                    return start, None
                if kind in ("progress", "commit", "done"):
                    self._broken, began = 0.0, monotonic()
                if kind == "progress":
                    if on_progress(fields["steps"], fields["mean"]) and not asked:
                        asked = True
                        send(self._met[0].sock, "stop")
                elif kind == "commit":
                    start = state_of(fields, arrays, fields["first"])
                elif kind == "outputs":
                    self._place(epoch, arrays)
                    waiting.discard(socks[sock])
                elif kind == "done":
                    done = state_of(fields, arrays, fields["steps"]), self._result(fields, asked)
            for worker in self._met:
                if monotonic() - worker.heard > self._job.timeout:
                    self._give_up(worker)
                    return start, None
        on_progress(done[1].steps, done[1].loss)
        return done

    def _find_dead(self) -> None:
        """Take in that workers are gone, of which others have heard before this process did."""
        for worker in list(self._workers):
            try:
                worker.sock.setblocking(False)
                gone = not worker.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                self._give_up(worker)
            else:
                worker.sock.settimeout(self._job.timeout)

    def _place(self, epoch: Epoch, arrays: dict[str, Array]) -> None:
        assert epoch.outputs is not None
        for name, outputs in arrays.items():
            shard = self._job.cut.shard(int(name.removeprefix("outputs.")))
            epoch.outputs[shard.start : shard.stop] = outputs

    def _result(self, fields: dict[str, Any], asked: bool) -> EpochResult:
        cut, steps = self._job.cut, fields["steps"]
        samples = sum(min(len(cut.shard(k)), steps * cut.rows) for k in range(cut.micro_batches))
        mean = mean_loss(fields["loss"], fields["weight"])
        failure = Failure(*fields["failure"]) if "failure" in fields else None
        return EpochResult(mean, steps, samples, failure, asked and steps < cut.steps)

    def end(self) -> None:
        """Send the workers away."""
        for worker in self._workers:
            with contextlib.suppress(PeerError):
                send(worker.sock, "end")
            worker.sock.close()
        self._workers, self._met = [], []


@contextmanager
def coordinating(
    place: Place, job: Job, inner: Engine, bounds: range, local: bool
) -> Iterator[Coordinator]:
    """Listen, have a place start the workers, and end all of it at the end of the block.

    Args:
        place: Where the workers run.
        job: What the training is; its addresses and secret are set here.
        inner: The engine for what is computed in this process.
        bounds: From how many workers on there is training, and up to how many.
        local: Whether all workers are on this machine.
    """
    closed = threading.Event()
    with listening("127.0.0.1" if local else "") as listener:
        port = listener.getsockname()[1]
        job = replace(
            job,
            secret=secrets.token_hex(16),
            addresses=tuple((host, port) for host in (["127.0.0.1"] if local else hosts())),
        )
        coordinator = Coordinator(job, inner, bounds, listener)
        threads = [
            threading.Thread(target=_kept, args=(place, job, i, coordinator, closed), daemon=True)
            for i in range(bounds.stop - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            yield coordinator
        finally:
            closed.set()
            coordinator.end()
            for thread in threads:
                thread.join(10.0)


def _kept(
    place: Place, job: Job, number: int, coordinator: Coordinator, closed: threading.Event
) -> None:
    """Keep one worker running, also where the engine no longer starts it again."""
    failed, ran = 0, False
    while not closed.is_set():
        began = monotonic()
        try:
            errors = [o.error for o in place.run(serve, job, [number], stop=closed.is_set)]
            error, ran = errors[0] if errors else None, True
        except NoWorkersError as none:
            if not ran:
                coordinator.trouble = none
                return
            closed.wait(0.2)  # all have died: the coordinator knows how long to wait for others
            continue
        except BaseException as trouble:
            if not closed.is_set():
                coordinator.trouble = trouble
            return
        failed = failed + 1 if error and monotonic() - began < 5.0 else 0
        if failed >= _FAILED:
            coordinator.trouble = WorkersError(f"a worker can't work: {error}")
            return
        closed.wait(0.05)

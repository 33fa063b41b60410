"""Running: training from the current state of a session, and going back to recorded steps."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from chainrule.equations.numbers import format_number
from chainrule.explorer import results, work
from chainrule.explorer.place import Place
from chainrule.explorer.protocol import replies, requests
from chainrule.explorer.trainer import Trainer, optimizer


class Running(Place):
    """A place whose network trains, and whose records can be shown again."""

    def _update(self, request: requests.Update) -> replies.Frame:
        gradient, rate = self._gradient(), self.settings.learning_rate
        moved = self.network.copy()
        for l, layer in enumerate(moved.weighted_layers, start=1):
            layer.W[...] -= rate * gradient.dW[l]
            db = gradient.db[l]
            if layer.b is not None and db is not None:
                layer.b[...] -= rate * db
        if not np.isfinite(moved.parameters).all():
            raise ValueError(
                "The update would make a weight infinite or NaN. Choose a smaller learning rate."
            )
        self._before("update")
        self.network = moved
        self._cut_recording()
        self._step += 1
        self._keep()
        return self._changed()

    def _cut_recording(self) -> None:
        """Drop the records after the current one, from which training continues."""
        if self._record < len(self._recording.records) - 1:
            self._recording = self._recording.until(self._record)

    def _train(self, request: requests.Train) -> replies.Frame:
        if not request.again:
            self._before("train")
        self._cut_recording()
        trainer = self._ready_trainer()
        steps = request.steps
        if request.epochs is not None:
            steps = (steps or 0) + request.epochs * trainer.steps_per_epoch
        if request.pace is not None:
            steps = min(steps or request.pace, request.pace)
        before, begun = trainer.step, perf_counter()
        failure = trainer.run(steps, request.seconds)
        taken = trainer.step - before
        self._speed = float(f"{taken / max(perf_counter() - begun, 1e-6):.3g}")
        self._step += taken
        self._epoch += taken / trainer.steps_per_epoch
        self._message = ""
        if failure is not None:
            where = "the loss" if failure.what == "loss" else f"layer {failure.layer}"
            rate = format_number(self.settings.learning_rate, 12)
            self._message = (
                f"Training stopped: a number in {where} was no longer finite. The learning rate "
                f"{rate} may be too large. The weights are those before that step."
            )
        if taken:
            self._keep_while_training(trainer)
        self._version += 1
        frame = self.frame(training=request.again)
        if request.results:
            frame["results"] = results.results(self.network, self._data, points=False)
        return frame

    @property
    def step(self) -> int:
        """Return the number of training steps taken so far."""
        return self._step

    def steps_asked(self, request: requests.Train) -> int:
        """Return the number of steps that a request asks for in steps and epochs."""
        epochs = request.epochs or 0
        return (request.steps or 0) + epochs * self._ready_trainer().steps_per_epoch

    def _ready_trainer(self) -> Trainer:
        if self._trainer is None:
            s = self.settings
            rule = optimizer(s.optimizer, s.learning_rate)
            self._trainer = Trainer(self.network, self._data, rule, s.batch_size)
        return self._trainer

    def _keep_while_training(self, trainer: Trainer) -> None:
        d = self._data
        most = work.LOSS_IN_TRAINING.samples(self.network)
        val_loss = None
        if len(d.X_val):
            val_loss = self.network.loss_value(d.X_val[:most], d.y_val[:most])
        started = self._step - trainer.step  # steps taken before this trainer
        points = [(at + started, loss) for at, loss in trainer.points]
        self._recording = self._recording.add(
            self._step, self._epoch, trainer.loss, val_loss, self.network.parameters, points
        )
        self._record = len(self._recording.records) - 1

    def _seek(self, request: requests.Seek) -> replies.Frame:
        records = self._recording.records
        if request.record >= len(records):
            raise ValueError(f"record is {request.record}; expected 0 to {len(records) - 1}")
        self._step, self._epoch, parameters = records[request.record]
        self.network.parameters[...] = parameters
        self._record = request.record
        return self._changed()

    def _put_into_record(self) -> None:
        """Write the current parameters into the current record, and drop later records."""
        kept = self._recording.until(self._record)
        self._recording = replace(kept, curve=kept.curve[:-1], records=kept.records[:-1])
        self._keep()

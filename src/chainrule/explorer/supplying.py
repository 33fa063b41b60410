"""Supplying: the data of a session, which of them are held out, its inputs and its outputs."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from chainrule.equations import data as data_room
from chainrule.equations.feedforward import FeedForward
from chainrule.explorer import subject, uploads, view
from chainrule.explorer.protocol import replies, requests
from chainrule.explorer.touring import Touring
from chainrule.teach import datasets, inputs
from chainrule.teach.datasets import Dataset

TARGET_OF_SAMPLE = re.compile(r"y\[(\d+)\]")


class Supplying(Touring):
    """A place whose data can be exchanged and changed."""

    def _take_data(self, request: requests.Data) -> replies.Frame:
        made = datasets.make(request.name, request.noise, request.seed)
        return self._set_data(self._as_before(made), f"take the data set {request.name}")

    def _upload(self, request: requests.Upload) -> replies.Frame:
        read = uploads.read(request.text, request.name)
        return self._set_data(self._as_before(read), f"take the data set {request.name}")

    def _as_before(self, dataset: Dataset) -> Dataset:
        """Return new data with the share held out and the derived inputs of those before."""
        now = self._data
        if now.held is not None and len(dataset.X) + len(dataset.X_val) > 1:
            dataset = datasets.hold_out(dataset, now.held)
        if now.derived and not inputs.why_not(dataset):
            dataset = inputs.derive(dataset, now.derived)
        return dataset

    def _set_data(
        self, dataset: Dataset, what: str, network: FeedForward | None = None
    ) -> replies.Frame:
        """Use a data set, with that network, or with a new one if the current does not fit it."""
        network = network or self.network
        sizes = [dataset.X.shape[1], *network.sizes[1:-1], dataset.y.shape[1]]
        subject.check_size(sizes)
        hidden = [layer.activation for layer in network.weighted_layers[:-1]]
        if sizes != list(network.sizes) or not subject.suits(network, dataset):
            network = subject.suited(
                sizes, hidden, dataset.classes, network.seed, self.kind, network.requested_engine
            )
        self._before(what)
        self._versions += 1
        self._data = replace(dataset, version=self._versions)
        self.network, self.sample = network.copy(), subject.telling_sample(dataset.X)
        return self._restart()

    def _with_inputs(self, units: int) -> FeedForward:
        """Return a network with so many inputs, the same functions and new initial weights."""
        n = self.network
        sizes = [units, *n.sizes[1:]]
        subject.check_size(sizes)
        layers = n.weighted_layers
        return self.kind(
            sizes, hidden=[layer.activation for layer in layers[:-1]],
            output=layers[-1].activation, loss=n.loss, biases=n.biases,
            dtype="float32" if n.dtype == np.float32 else "float64", seed=n.seed,
            dropout=[layer.dropout for layer in layers[:-1]], l2=n.l2, engine=n.requested_engine,
        )  # fmt: skip

    # --- what is made of the data -----------------------------------------------------------------

    def _inputs(self, request: requests.Inputs) -> replies.Frame:
        derived = inputs.derive(self._data, request.derived)
        at = self.sample
        network = self._with_inputs(derived.X.shape[1])
        self._set_data(derived, "change the inputs", network)
        self.sample = at
        return self._changed()

    def _split(self, request: requests.Split) -> replies.Frame:
        before, at = self._data, self.sample
        if len(before.X) + len(before.X_val) < 2:
            raise ValueError("There is one sample; expected at least 2 to hold one out")
        row = at if before.rows is None else int(before.rows[at])
        divided = datasets.hold_out(before, request.share)
        assert divided.rows is not None
        self._set_data(divided, "change the share held out")
        found = np.flatnonzero(divided.rows[: len(divided.X)] == row)
        if len(found):  # it stays the current one where it is still for training
            self.sample = int(found[0])
        return self._changed()

    def _outputs(self, request: requests.Outputs) -> replies.Frame:
        d, units = self._data, request.units
        about = view.outputs(d)
        if not about["least"] <= units <= about["most"]:
            given = f"{about['least']} to {about['most']}"
            raise ValueError(
                f"units is {units}; {about['why'] or f'expected {given} outputs for these data'}"
            )
        if units == d.y.shape[1]:
            return self.frame()
        what = "change the outputs"
        if not d.classes:
            read = uploads.read(d.source, d.name, units)
            return self._set_data(self._as_before(read), what)
        at = self.sample
        self._set_data(datasets.with_outputs(d, units), what)
        self.sample = at
        return self._changed()

    # --- one sample -------------------------------------------------------------------------------

    def _edit_input(self, k: int, value: float) -> replies.Frame:
        d = self._data
        if k >= d.given:
            raise ValueError(
                f"x[{k}] is {inputs.words(d.derived[k - d.given], 0)}. Set x[0] or x[1] instead."
            )
        X = d.X.copy()
        X[self.sample, k] = value
        changed = replace(d, X=X)
        if d.derived:
            changed = inputs.derive(changed, d.derived)
        return self._edited(changed, f"x[{k}]")

    def _edit_target(self, j: int, value: float) -> replies.Frame:
        y = self._data.y.copy()
        if j >= y.shape[1]:
            raise ValueError(f"y[{j}] does not exist; expected y[0] to y[{y.shape[1] - 1}]")
        y[self.sample, j] = value
        row = y[self.sample : self.sample + 1]
        data_room.targets(row, 1, row.shape[1], self.network.loss)
        return self._edited(replace(self._data, y=y), f"y[{j}]")

    def _edited(self, dataset: Dataset, name: str) -> replies.Frame:
        self._before(f"set {name}")
        self._versions += 1
        self._data = replace(dataset, version=self._versions)
        self._shown_for = (self._data.version, self.sample)
        return self._changed()

"""Ensembles: the mean and the spread, and files of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.network import Network

X = np.random.default_rng(0).normal(size=(7, 3))


def networks(**settings: Any) -> list[Network]:
    return [Network([3, 4, 2], hidden="tanh", seed=seed, **settings) for seed in range(5)]


def test_mean_and_spread() -> None:
    ensemble = cr.Ensemble(networks())
    outputs = [network.predict(X) for network in networks()]
    mean: np.ndarray = np.sum(outputs, axis=0) / 5
    np.testing.assert_allclose(ensemble.predict(X), mean, rtol=1e-14)
    deviation = np.sqrt(sum((a - mean) ** 2 for a in outputs) / 5)
    np.testing.assert_allclose(ensemble.spread(X), deviation, rtol=1e-12)
    assert ensemble.predict(X[0]).shape == ensemble.spread(X[0]).shape == (2,)
    np.testing.assert_array_equal(ensemble.predict_classes(X), mean.argmax(axis=1))


def test_classes_of_one_output() -> None:
    ensemble = cr.Ensemble(
        [Network([3, 1], output="sigmoid", loss="binary_cross_entropy", seed=s) for s in range(3)]
    )
    np.testing.assert_array_equal(ensemble.predict_classes(X), ensemble.predict(X)[:, 0] > 0.5)


def test_items() -> None:
    given = networks()
    ensemble = cr.Ensemble(given)
    assert list(ensemble) == given
    assert ensemble[1] is given[1]
    assert list(ensemble[1:3]) == given[1:3]
    assert repr(ensemble).startswith("Ensemble(5 × Network(3-4-2")
    one = ensemble.explain("w[1][0,0]", X[0], [1.0, 2.0], member=2)
    assert one.value == given[2].explain("w[1][0,0]", X[0], [1.0, 2.0]).value


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "five.zip"
    cr.Ensemble(networks()).save(path)
    again = cr.Ensemble.load(path)
    for one, other in zip(again, networks(), strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)
        assert one.seed == other.seed
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        archive.extract("00003.safetensors", tmp_path)
    assert cr.load(tmp_path / "00003.safetensors").seed == 3


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "five.zip"
    cr.Ensemble(networks()).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not an ensemble that chainrule wrote"):
        cr.Ensemble.load(path)
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"five\.zip"):
        cr.Ensemble.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../else", "text")
    with pytest.raises(ValueError, match="its entries are not model files"):
        cr.Ensemble.load(path)
    with pytest.raises(FileNotFoundError):
        cr.Ensemble.load(tmp_path / "nothing.zip")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one network, got none"):
        cr.Ensemble([])
    with pytest.raises(TypeError, match=r"networks\[1\] must be a Network, got a str"):
        cr.Ensemble([*networks()[:1], "net"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"networks\[5\] has inputs 4, and networks\[0\] 3"):
        cr.Ensemble([*networks(), Network([4, 2])])
    with pytest.raises(ValueError, match=r"networks\[5\] has loss 'huber'"):
        cr.Ensemble([*networks(), Network([3, 2], loss="huber")])
    broken = networks()
    broken[2].parameters[0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        cr.Ensemble(broken).save(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())

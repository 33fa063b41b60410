"""Weights in safetensors files of others, and files of ours in other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

import chainrule as cr

NET = cr.Network([4, 6, 3], hidden="silu", output="softmax", loss="cross_entropy", seed=0)
NAMES = [("model.fc1.weight", "model.fc1.bias"), ("model.fc2.weight", "model.fc2.bias")]


def written(path: Path, net: cr.Network = NET, transposed: bool = False, **more: Any) -> Path:
    tensors = {}
    for (weight, bias), layer in zip(NAMES, net.weighted_layers, strict=True):
        tensors[weight] = np.ascontiguousarray(layer.W.T if transposed else layer.W)
        tensors[bias] = np.ascontiguousarray(layer.b)
    save_file({**tensors, **more}, path)
    return path


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_come_by_their_names(dtype: str, transposed: bool, tmp_path: Path) -> None:
    net = cr.Network([4, 6, 3], hidden="silu", output="softmax", loss="cross_entropy", seed=0,
                     dtype=dtype)  # fmt: skip
    path = written(tmp_path / "theirs", net, transposed, other=np.ones(3))
    back = cr.from_safetensors(path, NAMES, hidden="silu", output="softmax", loss="cross_entropy",
                               transposed=transposed)  # fmt: skip
    assert repr(back) == repr(net)
    assert (back.parameters == net.parameters).all()


def test_without_biases_and_in_half_precision(tmp_path: Path) -> None:
    W = [np.arange(6, dtype="float16").reshape(2, 3), np.ones((1, 2), "float16")]
    save_file({"a": W[0], "b": W[1]}, tmp_path / "half")
    net = cr.from_safetensors(tmp_path / "half", ["a", "b"])
    assert net.dtype == "float32"
    assert net.predict([1, 1, 1]).tolist() == [15.0]


@pytest.mark.needs("torch")
def test_a_state_dict_of_pytorch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    save_torch(model.state_dict(), tmp_path / "torch")
    names = [("0.weight", "0.bias"), ("2.weight", "2.bias")]
    net = cr.from_safetensors(tmp_path / "torch", names, hidden="tanh")
    x = torch.randn(5, 4)
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(x.numpy()), model(x).numpy(), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "theirs", ids=np.arange(4).reshape(2, 2), nan=np.full((3, 4), np.nan),
                   cube=np.ones((2, 2, 2)))  # fmt: skip
    first, second = NAMES
    for names, words in (
        (["fc1"], r"no tensor 'fc1'; the file has .*model\.fc1\.weight \(6, 4\)"),
        ([second, first], "model.fc1.weight takes 4 inputs, the layer before has 3. Pass transp"),
        ([(first[0], second[1])], r"model.fc2.bias has shape \(3,\); expected \(6,\)"),
        (["cube"], r"cube has shape \(2, 2, 2\); expected \(outputs, inputs\)"),
        (["ids"], "ids holds I64; expected 'F16', 'F32', 'F64'"),
        (["nan"], "nan"),
        ([first, second[0]], "no bias for 'model.fc2.weight', and one for other layers"),
    ):
        with pytest.raises(ValueError, match=words):
            cr.from_safetensors(path, names)
    for wrong in ("fc1", [], [3], [("a", "b", "c")], [(None, "b")], None):
        with pytest.raises(TypeError, match=r"names (is|has) .*; expected"):
            cr.from_safetensors(path, wrong)
    (tmp_path / "zip").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(ValueError, match="zip is not a safetensors file: it is a zip archive"):
        cr.from_safetensors(tmp_path / "zip", NAMES)
    with pytest.raises(FileNotFoundError):
        cr.from_safetensors(tmp_path / "none", NAMES)


def test_rusts_reader_opens_ours(tmp_path: Path) -> None:
    """The package safetensors binds the reader that is written in Rust."""
    NET.save(tmp_path / "net")
    found = dict(safetensors.deserialize((tmp_path / "net").read_bytes()))
    assert sorted(found) == ["layers.1.W", "layers.1.b", "layers.2.W", "layers.2.b"]
    for l, layer in enumerate(NET.weighted_layers, start=1):
        given = found[f"layers.{l}.W"]
        assert (given["dtype"], given["shape"]) == ("F64", list(layer.W.shape))
        assert bytes(given["data"]) == layer.W.tobytes()

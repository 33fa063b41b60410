"""Model files from strangers: one clear error, no crash, no memory beyond the file's own size."""

from __future__ import annotations

import json
import re
import runpy
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.network import Network
from chainrule.storage import container, models
from chainrule.training import checkpoints

FUZZ = runpy.run_path(str(Path(__file__).with_name("fuzz.py")))
SEEDS = FUZZ["seeds"]()


def model(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, description and numbers of a good file."""
    Network([2, 2, 1], seed=0).save(tmp_path / "good")
    header, about, data = FUZZ["take_apart"]((tmp_path / "good").read_bytes())
    about.pop("digest")
    return header, about, data


def refused(path: Path, header: dict[str, Any], about: object, data: bytes) -> str:
    text = json.dumps(about, separators=(",", ":"))
    header["__metadata__"] = {"chainrule": text}
    path.write_bytes(FUZZ["put_together"](header, data))
    with pytest.raises(
        ValueError, match=f"{re.escape(str(path))}(:| is not a chainrule model)"
    ) as caught:
        models.load(path)
    return str(caught.value)


# --- what comes first to mind ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 8], "damaged"),  # over another tensor
        ([8, 24], "damaged"),  # in the middle of two
        ([56, 72], "damaged"),  # past the end
        ([72, 88], "damaged"),  # a gap before it
        ([64, 64], "damaged"),  # nothing for its shape
        ([64, 10**18], "damaged"),
        ([-8, 8], "damaged"),
        ([72, 64], "damaged"),  # backwards
    ],
)
def test_tensors_that_overlap_are_short_or_lie_elsewhere(
    offsets: list[int], message: str, tmp_path: Path
) -> None:
    header, about, data = model(tmp_path)
    assert len(data) == 72
    header["layers.2.b"]["data_offsets"] = offsets
    assert message in refused(tmp_path / "mine", header, about, data)


@pytest.mark.parametrize("change", [lambda data: data[:-8], lambda data: data + bytes(8)])
def test_numbers_that_are_missing_or_left_over(change: Any, tmp_path: Path) -> None:
    header, about, data = model(tmp_path)
    assert "damaged" in refused(tmp_path / "mine", header, about, change(data))


def test_a_header_over_the_limit(tmp_path: Path) -> None:
    """Neither one that is said to be long nor one that is; and no such file is ever written."""
    path = tmp_path / "mine"
    for content in (
        (1 << 40).to_bytes(8, "little") + b"{}",
        (9 << 20).to_bytes(8, "little") + b'{"x":"' + b" " * (9 << 20),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"its header would be [\d,]+ bytes long\)"):
            models.load(path)
    many = {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(70_000)}
    for separators in ((",", ":"), (" , ", " :\n")):
        text = json.dumps(many, separators=separators).replace("{", "{ ").encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(ValueError, match=r"its header has more than 65,536 objects\)"):
            models.load(path)
    deep = json.dumps({"x": {"y": [{"z": 1}] * 70_000}}, separators=(",", ":"))
    assert container._too_many_objects(deep.encode())
    header = json.dumps({"__metadata__": {"chainrule": deep}})
    assert not container._too_many_objects(header.encode())
    network = Network([1, 1])
    tensors = {f"checkpoint.{i}": np.zeros(1) for i in range(130_000)}
    with pytest.raises(ValueError, match="a model file can't hold 130,002 arrays"):
        models.content(network, network.parameters, {"checkpoint": {}}, tensors)
    with pytest.raises(ValueError, match=r"description .* has 5,000,1.. characters, too many"):
        models.content(network, network.parameters, {"checkpoint": {"x": "y" * 5_000_000}})


@pytest.mark.parametrize("units", [10**9, 2**40, 2**63, 10**30])
def test_absurd_sizes(units: int, tmp_path: Path) -> None:
    header, about, data = model(tmp_path)
    about["sizes"] = [2, units, 1]
    text = refused(tmp_path / "mine", header, about, data)
    assert f"shape [2, 2]; expected [{units}, 2]" in text or "its sizes are not whole num" in text
    header["layers.1.W"]["shape"] = [units, 2]
    assert "it is damaged" in refused(tmp_path / "mine", header, about, data)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "I64", "C64", "F8_E4M3", "F4", "X1", ""])
def test_wrong_dtypes(dtype: str, tmp_path: Path) -> None:
    header, about, data = model(tmp_path)
    header["layers.1.b"]["dtype"] = dtype
    said = refused(tmp_path / "mine", header, about, data)
    known = ("I64", "C64")  # which are as long; safetensors knows complex numbers from 0.7 on
    assert "it is damaged" in said or ("has dtype" in said and dtype in known)


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    """Control sequences are shown, not obeyed; long words are cut."""
    header, about, data = model(tmp_path)
    about["loss"] = "\x1b[2Jnothing\r\nto see \u202e" + "x" * 1000
    text = refused(tmp_path / "mine", header, about, data)
    assert text.isprintable()
    assert r"\x1b[2Jnothing\r\nto see" in text
    assert len(text) < 600
    header["layers.1.b"]["dtype"] = "F\x1b[2J" + "x" * 1000
    text = refused(tmp_path / "mine", header, about, data)
    assert text.isprintable()
    assert len(text) < 600


def test_a_digest_that_does_not_fit(tmp_path: Path) -> None:
    header, about, data = model(tmp_path)
    assert "damaged: its contents are not" in refused(
        tmp_path / "mine", header, {**about, "digest": "0" * 64}, data
    )
    assert "wrong kind" in refused(tmp_path / "mine", header, {**about, "digest": 0}, data)


def test_what_follows_the_digest_is_refused(tmp_path: Path) -> None:
    """Whatever is read was once hashed: the file of another network loaded with the old digest."""
    Network([2, 2, 1], hidden="tanh", seed=0).save(tmp_path / "good")
    header, about, data = FUZZ["take_apart"]((tmp_path / "good").read_bytes())
    text = header["__metadata__"]["chainrule"]
    assert text.endswith(f'"digest":"{about["digest"]}"}}')
    for more, message in (
        (',"activations":["relu","softplus"],"l2":0.5', "has the key 'activations' twice"),
        (',"table":{}', "its digest is not what its description ends"),
        (" ", "its digest is not what"),
        (f',"digest":"{about["digest"]}"', "has the key 'digest' twice"),
        (f',"x":{{"digest":"{about["digest"]}"}}', "'x', which format 1 does not know"),
    ):
        header["__metadata__"] = {"chainrule": f"{text[:-1]}{more}}}"}
        (tmp_path / "mine").write_bytes(FUZZ["put_together"](header, data))
        with pytest.raises(ValueError, match=re.escape(message)):
            models.load(tmp_path / "mine")
    for bad in (text + " ", text.replace(',"digest":', ', "digest":')):
        header["__metadata__"] = {"chainrule": bad}
        (tmp_path / "mine").write_bytes(FUZZ["put_together"](header, data))
        with pytest.raises(ValueError, match="its digest is not what"):
            models.load(tmp_path / "mine")


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_a_key_that_is_there_twice_is_refused(seed: int, tmp_path: Path) -> None:
    """At every level of the header and of the description, signed or not: readers differ."""
    content, path = SEEDS[seed], tmp_path / "mine"
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length].decode(), content[8 + length :]
    path.write_bytes(FUZZ["put_together"](json.loads(header), data))
    models.load(path)

    for bad, _ in with_a_key_twice(header):
        path.write_bytes(len(bad.encode()).to_bytes(8, "little") + bad.encode() + data)
        with pytest.raises(ValueError, match=r"has the key .* twice|is not a chainrule model"):
            models.load(path)

    outer = json.loads(header)
    tensors = {name: entry for name, entry in outer.items() if name != "__metadata__"}
    about = json.loads(outer["__metadata__"]["chainrule"])
    del about["digest"]
    levels = set()
    for bad, depth in with_a_key_twice(json.dumps(about, separators=(",", ":"))):
        for text in (bad, FUZZ["signed"](bad, tensors, data)):
            whole = tensors | {"__metadata__": {"chainrule": text}}
            path.write_bytes(FUZZ["put_together"](whole, data))
            with pytest.raises(ValueError, match=r"its description has the key .* twice"):
                models.load(path)
        levels.add(depth)
    assert levels >= ({0, 1} if len(about) > 9 else {0})  # a checkpoint or table has more below


def with_a_key_twice(text: str) -> Iterator[tuple[str, int]]:
    """A JSON object with one key of one of its objects said once more, with another value."""
    for match in re.finditer(r'\{("(?:[^"\\]|\\.)*"):', text):
        depth = text[: match.start()].count("{") - text[: match.start()].count("}")
        again = f"{{{match[1]}:0,"
        yield text[: match.start()] + again + text[match.start() + 1 :], depth
        escaped = "".join(f"\\u{ord(c):04x}" for c in json.loads(match[1]))
        yield text[: match.start()] + f'{{"{escaped}":0,' + text[match.start() + 1 :], depth


def test_a_file_without_a_digest_is_read(tmp_path: Path) -> None:
    """One that another program wrote."""
    header, about, data = model(tmp_path)
    header["__metadata__"] = {"chainrule": json.dumps(about, indent=1)}
    (tmp_path / "mine").write_bytes(FUZZ["put_together"](header, data))
    network = models.load(tmp_path / "mine")
    assert (network.parameters == Network([2, 2, 1], seed=0).parameters).all()


def test_nan_in_a_checkpoint(tmp_path: Path) -> None:
    network = Network([2, 2, 1], seed=0)
    X = np.ones((4, 2))
    network.fit(X, X[:, :1], epochs=1, checkpoint=tmp_path / "run", verbose=0)
    path = tmp_path / "run/epoch-000001.safetensors"
    found = checkpoints.read(path)
    found.parameters[3] = np.nan
    path.write_bytes(checkpoints.serialize(network, found))
    with pytest.raises(ValueError, match="a parameter is NaN or infinite"):
        checkpoints.read(path)
    with pytest.raises(ValueError, match=r"layers\[1\]\.W\[1, 1\] is nan"):
        models.load(path)


def test_a_checkpoint_that_does_not_fit_together(tmp_path: Path) -> None:
    """Whole, with the right digest, but not written by us."""
    network = Network([2, 2, 1], seed=0)
    X = np.ones((4, 2))
    network.fit(X, X[:, :1], epochs=2, checkpoint=tmp_path / "run", verbose=0)
    path = tmp_path / "run/epoch-000002.safetensors"
    good, (header, about, data) = path.read_bytes(), FUZZ["take_apart"](path.read_bytes())
    run = about.pop("checkpoint")
    about.pop("digest")
    for changes, message in (
        ({"version": None}, "has no version"),
        ({"epoch": 3}, r"history has the shape \(4, 2\)"),
        ({"epoch": "2"}, "epoch is '2', which is of the wrong kind"),
        ({"slots": ["m", "w"]}, "does not fit together"),
        ({"slots": ["m", []]}, "does not fit together"),
        ({"best": [1]}, "does not fit together"),
        ({"callbacks": [{"name": "x"}]}, "does not fit together"),
        ({"settings": {}}, "does not fit together"),
        ({"settings": run["settings"] | {"optimizer": 3}}, "its optimizer is 3"),
    ):
        text = json.dumps(about | {"checkpoint": run | changes}, separators=(",", ":"))
        assert len(data) == len(good) - 8 - int.from_bytes(good[:8], "little")
        numbers = {k: v for k, v in header.items() if k != "__metadata__"}
        signed = FUZZ["signed"](text, numbers, data)
        path.write_bytes(
            FUZZ["put_together"](numbers | {"__metadata__": {"chainrule": signed}}, data)
        )
        with pytest.raises(ValueError, match=message):
            checkpoints.read(path)
        models.load(path)  # the network in it is whole


# --- what does not come to mind -------------------------------------------------------------------


@given(st.sampled_from(SEEDS), st.lists(st.integers(0, 2**32), min_size=1, max_size=3))
def test_whatever_is_changed(content: bytes, changes: list[int]) -> None:
    """`make fuzz` does this for longer, guided by coverage."""
    for change in changes:
        content = FUZZ["mutate"](content, change)
    FUZZ["check"](content)


@given(st.binary(max_size=300))
def test_whatever_is_read(content: bytes) -> None:
    refused = "refused refused refused"
    assert FUZZ["check"](content) == refused
    assert FUZZ["check"](len(content).to_bytes(8, "little") + content) == refused


def test_no_memory_beyond_the_file() -> None:
    became = set()
    for number in range(400):
        content = FUZZ["mutate"](SEEDS[number % len(SEEDS)], number)
        tracemalloc.start()
        try:
            became.add(FUZZ["check"](content))
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()
    assert len(became) > 1  # some are read, some are not

"""Hostile model files: what `load` does with them, guided by coverage: `make fuzz`.

    python tests/storage/fuzz.py [--seconds 60] [--corpus FOLDER]

The seeds are a network, a network of two layers in float32, a checkpoint, and the models of two
tables. A file is changed
byte by byte, or in its structure: the header is taken apart, parts of it are changed, and it is put
together again, with a digest that fits or without one, so that what lies behind the digest is
reached as well.

`check` holds whatever comes out to what a reader of files from strangers must do: give a network
that fits into the file, or one clear ValueError. `test_hostile_files.py` runs it for a moment
without atheris.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import copy
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from chainrule.cli.inspect import tell
from chainrule.cli.shared import Page
from chainrule.network import Network
from chainrule.storage import container
from chainrule.storage import models as networks
from chainrule.tables import model as models
from chainrule.tables import schema as schemas
from chainrule.tables.model import TableModel
from chainrule.tables.schema import Column, LeftOut, Schema, Target
from chainrule.training import checkpoints
from chainrule.training.callbacks import EarlyStopping

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X", "")
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 3, 10**9, 2**31, 2**40, 2**63, 2**64, 10**40, 0.5, 1e400,
    float("nan"), "", "relu", "softmax", "x" * 300, "\ud800", "\n", [], [1], [[]], [2, 3],
    [10**9] * 3, {}, {"own": "relu", "formula": ""}, {"name": "x", "values": {}, "arrays": ["y"]},
)  # fmt: skip
PAGE = Page(plain=True)
PAGE.say = lambda *words: None  # type: ignore[method-assign]


def seeds() -> list[bytes]:
    """Files to begin with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Network([2, 2, 1], seed=0, biases=False).save(folder / "a")
        options: Any = {"output": "softmax", "loss": "cross_entropy", "dropout": 0.5, "l2": 0.1}
        Network([3, 2, 2], dtype="float32", seed=0, **options).save(folder / "b")
        X = np.random.default_rng(0).normal(size=(8, 2))
        Network([2, 2, 1], seed=0).fit(
            X, X[:, :1], epochs=2, callbacks=[EarlyStopping()], checkpoint=folder / "run", verbose=0
        )
        table_model(Target("y", "classify", "integer", ("1", "2"))).save(folder / "c")
        table_model(Target("y", "regress", "number", mean=3.5, scale=0.5)).save(folder / "d")
        return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


def table_model(target: Target) -> TableModel:
    """The model of a table with a column of each kind."""
    one: dict[str, Any] = {"mean": (0.5,), "variance": (4.0,), "scale": (2.0,)}
    schema = Schema(
        (Column("age", "number", True, ("value",), words="0 to 9", **one),
         Column("born", "date", parts=("days",), form="%d/%m/%Y", **one),
         Column("hue", "category", categories=("blue", "red"), rare=True, rares=("teal",))),
        (LeftOut("id", "it counts the rows"),), target, ("", "NA"),
    )  # fmt: skip
    classify = target.task == "classify"
    ends: Any = {"output": "softmax", "loss": "cross_entropy"} if classify else {}
    network = Network([6, 2 if classify else 1], dtype="float32", seed=0, **ends)
    measured: Any = {"accuracy": 0.9, "roc_auc": None} if classify else {"r2": 0.5}
    training = {"rows": {"training": 7, "test": 3}, "epochs": 2, "stopped": "all epochs done"}
    return TableModel(network, schema, training, {"model": measured, "baseline": measured})


# --- what must hold -------------------------------------------------------------------------------


def check(content: bytes) -> str:
    """Read a file as network, checkpoint and table; give what became of it, or raise."""
    path = FOLDER / "file"
    path.write_bytes(content)
    became = []
    for read in (networks.load, checkpoints.read, models.load):
        try:
            found = read(path)
        except ValueError as error:
            text = str(error)
            assert text.startswith(str(path)), text
            assert len(text) < 600, text
            assert text.isprintable(), text
            became.append("refused")
            continue
        if found is None:
            became.append("no table")
            continue
        if isinstance(found, TableModel):
            tell(PAGE, found)
        network: Any = getattr(found, "network", found)
        parameters = network.parameters
        assert np.isfinite(parameters).all()
        assert parameters.nbytes <= len(content)
        became.append("read")
    return " ".join(became)


# --- mutation -------------------------------------------------------------------------------------


def mutate(content: bytes, seed: int) -> bytes:
    """Change a file: some bytes of it, or its structure where it has one."""
    chance = random.Random(seed)
    parts = take_apart(content)
    if parts is None or not parts[0] or chance.random() < 0.15:
        return damage(content, chance)
    header, about, data = parts
    for _ in range(chance.randint(1, 3)):
        changes = [change_tensor, change_description, change_description, change_names]
        change: Callable[[dict[str, Any], Any, random.Random], None] = chance.choice(changes)
        with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError):
            change(header, about, chance)  # what is odd already may not take another change
    if chance.random() < 0.2:
        data = damage(data, chance)
    if isinstance(about, dict) and chance.random() < 0.7:
        about.pop("digest", None)  # else it does not fit, and all else is hidden behind it
    if "__metadata__" in header and about is not None:
        text = json.dumps(about, separators=(",", ":"))
        if chance.random() < 0.3 and isinstance(about, dict):
            text = signed(text, header, data)
        header["__metadata__"] = {"chainrule": text}
    return put_together(header, data)


def take_apart(content: bytes) -> tuple[dict[str, Any], Any, bytes] | None:
    """Give the header, the description and the numbers of a file, or None."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        about = json.loads(header["__metadata__"]["chainrule"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (header, about, content[8 + length :]) if isinstance(header, dict) else None


def put_together(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def signed(text: str, header: dict[str, Any], data: bytes) -> str:
    """Add the digest that fits, as one would who knows the format."""
    dtypes = {"F64": np.float64, "F32": np.float32}
    tensors = []
    for name, entry in sorted(header.items()):
        try:
            first, last = entry["data_offsets"]
            array = np.frombuffer(data[first:last], dtypes[entry["dtype"]])
            tensors.append((name, array.reshape(entry["shape"])))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    body = text.removesuffix("}")
    return f'{body},"digest":"{networks._digest(body, tensors)}"}}'


def damage(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[place : place + chance.randint(1, 16)]
            case 2:
                changed[place:place] = chance.randbytes(chance.randint(1, 16))
            case _:
                changed[place : place + 8] = b"\xff" * 8
    return bytes(changed)


def odd(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(ODD))


def change_tensor(header: dict[str, Any], about: Any, chance: random.Random) -> None:
    """Another dtype, shape or place: overlapping, with gaps, too long, absurd."""
    name = chance.choice([*header])
    entry = header[name]
    if not isinstance(entry, dict) or not isinstance(entry.get("data_offsets"), list):
        return
    match chance.randrange(6):
        case 0:
            entry["dtype"] = chance.choice(DTYPES)
        case 1:
            entry["shape"] = chance.choice(([], [0], [1], [10**9, 10**9], [2**63], [-1], [2, 3]))
        case 2:
            offsets = entry["data_offsets"] = [*entry["data_offsets"]]
            offsets[chance.randrange(2)] += chance.choice((-8, -1, 1, 8, 10**12, 2**63))
        case 3:
            other = header[chance.choice([*header])]
            entry["data_offsets"] = other.get("data_offsets", [0, 0]) if other else [1, 2]
        case 4:
            entry[chance.choice([*entry])] = odd(chance)
        case _:
            header[chance.choice(("layers.3.W", "checkpoint.slots.m", "checkpoint.x", ""))] = entry


def change_description(header: dict[str, Any], about: Any, chance: random.Random) -> None:
    """Another value somewhere in the description, or a key more or less."""
    while isinstance(about, dict | list) and about:
        key = chance.choice([*about]) if isinstance(about, dict) else chance.randrange(len(about))
        if isinstance(about[key], dict | list) and about[key] and chance.random() < 0.7:
            about = about[key]
            continue
        match chance.randrange(4):
            case 0:
                del about[key]
            case 1 if isinstance(about, dict):
                about[chance.choice(("checkpoint", "version", "own", "x"))] = odd(chance)
            case _:
                about[key] = odd(chance)
        return


def change_names(header: dict[str, Any], about: Any, chance: random.Random) -> None:
    """Tensors that are missing, or have each other's names."""
    one, two = chance.choice([*header]), chance.choice([*header])
    if chance.random() < 0.5:
        del header[one]
    else:
        header[one], header[two] = header[two], header[one]


# --- with atheris ---------------------------------------------------------------------------------


def main() -> None:
    import atheris

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=FOLDER / "corpus")
    options = parser.parse_args()
    if child := os.fork():  # atheris ends its process; this one takes the folder away
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    options.corpus.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(seeds()):
        (options.corpus / f"seed-{i}").write_bytes(content)
    for module in (container, networks, checkpoints, models, schemas):
        for value in vars(module).values():
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                atheris.instrument_func(value)

    def mutator(content: bytes, longest: int, seed: int) -> bytes:
        return mutate(content, seed)[:longest]

    arguments = [
        f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=1024",
        "-max_len=20000", "-print_final_stats=1", "-verbosity=0", "-artifact_prefix=fuzz-",
        str(options.corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *arguments], check, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

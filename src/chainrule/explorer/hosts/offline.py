"""The offline file: one HTML page with the recorded answers of a session, for any browser.

It trains once, and records for each step every answer that the page can ask for. The answers of
two steps differ in little but their numbers. So the file stores shapes (text with gaps), which all
steps share, and the different numbers of each step, all compressed.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import isfinite
from typing import Any

from chainrule.explorer import protocol
from chainrule.explorer.hosts import assets
from chainrule.explorer.session import Session

# A group, so that one pass splits a text into what is between the numbers, and the numbers.
_NUMBER = re.compile(r"(-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+))")
_ANSWERS = 12_000  # explanations in a file; larger networks have fewer steps recorded
_WAYS = 40  # paths to the loss that can be opened, for each target
_PROOFS = 6  # steps with recorded certificates, which take longest, and pictures


def page(
    session: Session, steps: int = 200, on_progress: Callable[[int, int], None] | None = None
) -> str:
    """Train for some steps, and return the page with everything recorded."""
    recording = record(session, steps, on_progress)
    packed = gzip.compress(json.dumps(recording, separators=(",", ":")).encode(), 9, mtime=0)
    return assets.whole_page("offline", {"recording": base64.b64encode(packed).decode()})


def record(
    session: Session, steps: int, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Return the answers for each step, as shapes and numbers; raise ValueError if steps < 0."""
    if steps < 0:
        raise ValueError(f"steps is {steps}; expected 0 or more")
    frame = _asked(session, {"kind": "seek", "record": 0})
    for i in range(steps):
        frame = _asked(session, {"kind": "train", "steps": 1, "again": i > 0, "results": False})
        if frame["training"]["message"]:
            break
    targets, arrays = list(_targets(frame)), list(_arrays(frame))
    count = len(frame["training"]["records"])
    chosen = _evenly(count, max(_ANSWERS // max(len(targets) + len(arrays), 1), 2))
    proved = set(_evenly(len(chosen), _PROOFS))
    tape = Tape()
    for place, index in enumerate(chosen):
        _record_step(tape, session, index, chosen, targets, arrays, place in proved)
        if on_progress is not None:
            on_progress(place + 1, len(chosen))
    return tape.data()


def _record_step(
    tape: Tape,
    session: Session,
    index: int,
    chosen: list[int],
    targets: list[str],
    arrays: list[str],
    prove: bool,
) -> None:
    frame = _asked(session, {"kind": "seek", "record": index})
    place = chosen.index(index)
    training = frame["training"]
    training["records"] = [training["records"][i] for i in chosen]
    training["record"] = place
    frame |= {"undo": "", "redo": ""}
    if place:  # the page takes the curve of the first frame
        training["curve"] = []
    tape.begin()
    tape.add("look", frame)
    for kind in ("steps", "health"):
        tape.add(kind, _asked(session, {"kind": kind}))
    tape.add("results", _asked(session, {"kind": "results", "points": place == 0}))
    if prove:
        tape.add("units", _asked(session, {"kind": "units"}))
        for key, frozen in (("worked", False), ("worked frozen", True)):
            reply = session.handle({"kind": "worked", "freeze_biases": frozen})
            if reply["kind"] != "error":  # of a large network there is none
                tape.add(key, reply)
    for target in arrays:
        tape.add(f"array {target}", _asked(session, {"kind": "array", "target": target}))
        if prove:
            for kind in ("prove", "latex"):
                tape.add(f"{kind} {target}", _asked(session, {"kind": kind, "target": target}))
    for target in targets:
        reply = _asked(session, {"kind": "explain", "target": target})
        tape.add(f"explain {target}", reply)
        for way, answer in _ways(session, target, reply):
            tape.add(f"open {target} {','.join(map(str, way))}", answer)
        if prove:
            tape.add(f"prove {target}", _asked(session, {"kind": "prove", "target": target}))
            tape.add(f"latex {target}", _asked(session, {"kind": "latex", "target": target}))
            tape.add(f"picture {target}", _asked(session, {"kind": "picture", "target": target}))


def _asked(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = session.answer(_parsed(json.dumps(request)))
    return reply


@lru_cache(maxsize=4096)
def _parsed(request: str) -> Any:
    """Return a request of the protocol; those of all steps are the same."""
    return protocol.parse(json.loads(request))


def _targets(frame: dict[str, Any]) -> Iterator[str]:
    """Return every target that opens from the drawing."""
    layers = frame["layers"]
    for l, layer in enumerate(layers):
        for j in layer["shown"]:
            yield f"a[{l}][{j}]" if l else f"x[{j}]"
            if l:
                yield f"z[{l}][{j}]"
                if layer["b"]:
                    yield f"b[{l}][{j}]"
                for k in layers[l - 1]["shown"]:
                    yield f"w[{l}][{j},{k}]"


def _arrays(frame: dict[str, Any]) -> Iterator[str]:
    """Return the arrays that open from the drawing: the weights and biases of each layer."""
    for l in range(1, len(frame["layers"])):
        yield f"W[{l}]"
        if frame["network"]["biases"]:
            yield f"b[{l}]"


def _ways(
    session: Session, target: str, reply: dict[str, Any]
) -> list[tuple[list[int], dict[str, Any]]]:
    """Return the paths to the loss that the page can open, with the answers, level by level."""
    found: list[tuple[list[int], dict[str, Any]]] = []
    level: list[tuple[list[int], list[Any]]] = [
        ([], [s for s in reply["sections"] if not s["title"].startswith("The penalty")])
    ]
    while level and len(found) < _WAYS:
        below = []
        for way, terms in level:
            parts = next((t["contributions"] for t in terms if t["contributions"]), None)
            for part in parts["largest"] if parts else []:
                longer = [*way, part["unit"]]
                answer = _asked(session, {"kind": "open", "target": target, "units": longer})
                found.append((longer, answer))
                below.append((longer, answer["terms"]))
        level = below
    return found[:_WAYS]


def _evenly(count: int, most: int) -> list[int]:
    """Return at most so many indices, evenly from 0 to count - 1, with the first and last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


Parts = str | tuple[str, ...]  # text, or text and numbers by turns


def _joined(pieces: list[Parts]) -> Parts:
    parts: list[str] = []
    text: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            text.append(piece)
        else:
            parts += ("".join([*text, piece[0]]), *piece[1:-1])
            text = [piece[-1]]
    end = "".join(text)
    return (*parts, end) if parts else end


class Tape:
    """Recorded answers, stored as shapes with gaps and the numbers for the gaps."""

    def __init__(self) -> None:
        self._chunks: dict[str, int] = {}
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._keys: dict[str, int] = {}
        self._records: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._texts: dict[str, Parts] = {}
        # Of this step and the one before, with the objects, so that ids last.
        self._objects: dict[int, tuple[Any, Parts]] = {}
        self._before = self._objects

    def begin(self) -> None:
        """Start the answers of the next step."""
        self._numbers, self._objects, self._before = {}, {}, self._objects
        self._records.append({"numbers": [], "answers": []})

    def add(self, key: str, reply: dict[str, Any]) -> None:
        """Store an answer."""
        parts, known, numbers = self._split(reply), self._chunks, self._numbers
        if isinstance(parts, str):
            parts = (parts,)
        chunks = tuple([known.setdefault(c, len(known)) for c in parts[::2]])
        gaps = tuple([numbers.setdefault(n, len(numbers)) for n in parts[1::2]])
        shape = self._shapes.setdefault((chunks, gaps), len(self._shapes))
        place = self._keys.setdefault(key, len(self._keys))
        answers = self._records[-1]["answers"]
        answers += [-1] * (place + 1 - len(answers))
        answers[place] = shape
        self._records[-1]["numbers"] = self._numbers

    def _split(self, value: Any) -> Parts:
        """Return JSON, split at its numbers; texts, and objects that answers share, once."""
        kind = type(value)
        if kind is str:
            if value not in self._texts:
                found = _NUMBER.split(json.dumps(value, ensure_ascii=False))
                self._texts[value] = tuple(found) if len(found) > 1 else found[0]
            return self._texts[value]
        if kind is float and isfinite(value):
            return "", repr(value), ""
        if kind is not dict and kind is not list:
            return json.dumps(value)
        if id(value) in self._before:
            self._objects[id(value)] = self._before[id(value)]
        if id(value) not in self._objects:
            inside: list[Parts] = []
            if kind is dict:
                for name, item in value.items():
                    inside += (f'{"," if inside else ""}"{name}":', self._split(item))
            else:
                for item in value:
                    inside += ("," if inside else "", self._split(item))
            marks = "{}" if kind is dict else "[]"
            self._objects[id(value)] = value, _joined([marks[0], *inside, marks[1]])
        return self._objects[id(value)][1]

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "chunks": list(self._chunks),
            "shapes": [[list(chunks), list(gaps)] for chunks, gaps in self._shapes],
            "keys": list(self._keys),
            "records": [
                {"numbers": " ".join(r["numbers"]), "answers": r["answers"]} for r in self._records
            ],
        }

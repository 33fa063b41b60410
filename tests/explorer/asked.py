"""A session of the explorer that is asked, for the tests of it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import chainrule as cr
from chainrule.explorer import protocol
from chainrule.explorer.session import Session

SCHEMAS = protocol.schema()


def ask(session: Session, kind: str, **fields: Any) -> dict[str, Any]:
    """The answer, which must be as its schema says and plain JSON."""
    reply = session.handle({"kind": kind, **fields})
    assert reply["kind"] != "error", reply
    text = json.dumps(reply, allow_nan=False)
    jsonschema.validate(json.loads(text), SCHEMAS[kind]["reply"])
    return reply


def refused(session: Session, message: object) -> str:
    """What an error says; the session is as it was."""
    before = session.handle({"kind": "look"})
    reply = session.handle(message)
    assert reply["kind"] == "error"
    assert session.handle({"kind": "look"}) == before
    return str(reply["message"])


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def lesson() -> tuple[cr.Network, list[list[float]], list[int], Session]:
    """A network with three samples, and a session on them."""
    net = cr.Network([2, 3, 3, 2], hidden="tanh", output="softmax", loss="cross_entropy", seed=3)
    X, y = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]], [0, 1, 0]
    return net, X, y, Session(net, X, y)

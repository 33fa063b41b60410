"""The messages between a page and its `Session`: one class for each request, one for each reply.

A message is a JSON object. A request names itself in ``kind``; its other fields are those of its
class in `requests`. `parse` checks one; `schema` gives the JSON Schema of all of them. Every host
carries the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.explorer.protocol import checks
from chainrule.explorer.protocol.replies import reply_of
from chainrule.explorer.protocol.requests import REQUESTS

__all__ = ["REQUESTS", "parse", "reply_of", "schema"]


def parse(message: object) -> Any:
    """Return the request that a JSON object is; ValueError says what is wrong with it."""
    if not isinstance(message, Mapping):
        raise ValueError(f"a message must be an object, got {type(message).__name__}")
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in REQUESTS:
        raise ValueError(f"unknown kind of message {kind!r}; known: {', '.join(REQUESTS)}")
    try:
        return checks.make(REQUESTS[kind], {k: v for k, v in message.items() if k != "kind"})
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of every request and of its reply."""
    return {
        kind: {"request": checks.schema(cls), "reply": checks.schema(reply_of(kind))}
        for kind, cls in REQUESTS.items()
    }

"""The messages between a page and its `Session`: one class for each request, one for each reply.

A message is a JSON object. A request has its name in ``kind``; its other fields are those of its
class in `requests`. `parse` checks a request, and `schema` returns the JSON Schema of all of them.
All hosts carry the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.explorer.protocol import checks
from chainrule.explorer.protocol.replies import reply_of
from chainrule.explorer.protocol.requests import REQUESTS

__all__ = ["REQUESTS", "parse", "reply_of", "schema"]


def parse(message: object) -> Any:
    """Return a JSON object as a request; raise ValueError for a bad one."""
    if not isinstance(message, Mapping):
        raise ValueError(f"The message is a {type(message).__name__}; expected an object")
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

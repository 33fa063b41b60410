"""The host inside a browser: Python in a worker, which answers the messages of its page.

The worker of a live page imports this module in the Python that it carries.
"""

from __future__ import annotations

import json

from chainrule.explorer import snapshot


class Desk:
    """A session, with the messages as text, as they come and go between worker and Python."""

    def __init__(self, content: bytes) -> None:
        self._session = snapshot.unpack(content)

    def handle(self, request: str) -> str:
        """Return the reply to a request, both as JSON."""
        return json.dumps(self._session.handle(json.loads(request)))

    def save(self) -> bytes:
        """Return the session as a snapshot."""
        return snapshot.pack(self._session)

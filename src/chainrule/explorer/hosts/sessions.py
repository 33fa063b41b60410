"""The sessions of all pages, limited in number and in bytes."""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import chain
from time import monotonic
from typing import Any

import numpy as np

from chainrule._forks import Lock
from chainrule.explorer.session import Session

MAX_SESSIONS = 256
MAX_BYTES = 2 * 2**30  # of all sessions together
OVER = "This session has ended. Reload the page."
NO_ROOM = (
    "This session has ended: it was unused for longest when others needed its memory. "
    "Reload the page."
)
_CORE = 5  # copies of the parameters that the threads of the core hold in training
_REMEMBERED = 4096  # names of ended sessions, to say why they ended


class Hosted:
    """A session and its lock, which lets in one message at a time."""

    def __init__(self, session: Session, make_room: Callable[[Hosted], None]) -> None:
        self.session = session
        self.lock = Lock()
        self.is_over = False
        self._make_room = make_room
        self.used, self.bytes = monotonic(), weight(session)

    def answer(self, request: Any) -> bytes:
        """Return the reply to a request as JSON; raise ValueError or TypeError for a bad one."""
        return self.use(lambda: self.session.answer(request))

    def use(self, work: Callable[[], Any], weigh: bool = True) -> bytes:
        """Run ``work`` with the session locked, and return its result as JSON.

        If ``weigh``, count the bytes of the session afterwards, and end others to make room. Raises
        ValueError if this session was ended to make room.
        """
        with self.lock:
            if self.is_over:
                raise ValueError(NO_ROOM)
            try:
                return as_json(work())
            finally:
                self.used = monotonic()
                if weigh:
                    self.bytes = weight(self.session)
                    self._make_room(self)


class Sessions:
    """The sessions by name; too many end those unused for longest."""

    def __init__(
        self,
        make: Callable[[], Session],
        most: int = MAX_SESSIONS,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        self._make, self._most, self._most_bytes = make, most, most_bytes
        self._hosted: dict[str, Hosted] = {}
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)
        self._lock = Lock()

    def open(self) -> tuple[str, Hosted]:
        """Make a session, and return it with a name that cannot be guessed."""
        hosted, name = Hosted(self._make(), self._make_room), secrets.token_urlsafe(16)
        with self._lock:
            self._hosted[name] = hosted
        self._make_room(hosted)
        return name, hosted

    def get(self, name: str) -> Hosted:
        """Return the session of that name; raise LookupError with the reason if it has ended."""
        with self._lock:
            if name in self._hosted:
                return self._hosted[name]
            raise LookupError(NO_ROOM if name in self._gone else OVER)

    def _make_room(self, kept: Hosted) -> None:
        """End the sessions unused for longest until the others have room; ``kept`` always stays."""
        with self._lock:
            others = {name: each for name, each in self._hosted.items() if each is not kept}
            total = sum(each.bytes for each in self._hosted.values())
            for name in sorted(others, key=lambda name: others[name].used):
                if len(self._hosted) <= self._most and total <= self._most_bytes:
                    return
                gone = self._hosted.pop(name)
                gone.is_over = True
                total -= gone.bytes
                self._gone.append(name)

    def __len__(self) -> int:
        return len(self._hosted)

    @property
    def bytes(self) -> int:
        """Return the bytes of all sessions together."""
        with self._lock:
            return sum(each.bytes for each in self._hosted.values())


def as_json(reply: Any) -> bytes:
    """Return a reply as JSON text."""
    return json.dumps(reply, separators=(",", ":"), allow_nan=False).encode()


def weight(session: Session) -> int:
    """Return the bytes of a session, with an estimate of those of the core."""
    return bytes_of(session) + _CORE * session.network.parameters.nbytes


def bytes_of(root: object) -> int:
    """Return the bytes of all arrays that an object refers to, each counted once."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, np.ndarray):
            if id(item) not in seen:
                total += item.nbytes if item.base is None else 0
                waiting.append(item.base)
        elif id(item) not in seen:
            parts = _parts(item)
            waiting.extend(part for part in parts if type(part) not in _PLAIN)
        seen.add(id(item))
    return total


_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes, type})


def _parts(item: object) -> Iterable[Any]:
    if isinstance(item, list | tuple | set | frozenset | deque):
        return item
    if isinstance(item, Mapping):
        return item.values()
    kind: Any = type(item)
    if not kind.__module__.startswith("chainrule"):
        return ()
    slots = (getattr(item, name, None) for name in _slots(kind))
    return chain(getattr(item, "__dict__", {}).values(), slots)


@cache
def _slots(cls: Any) -> tuple[str, ...]:
    return tuple(name for base in cls.__mro__ for name in getattr(base, "__slots__", ()))

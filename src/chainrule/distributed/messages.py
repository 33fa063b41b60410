"""Messages between processes: a little JSON, and arrays as they lie in memory.

Nothing is unpickled, so that a message can't run code. Whoever opens a connection first sends a
secret that only the processes of one training know.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_HEAD = struct.Struct("<4sI")  # a mark, and the length of the JSON
_MARK = b"crd1"
_LONGEST = 1 << 24  # bytes of JSON
_GREETING = 1 << 12  # bytes of the JSON of a greeting
_PATIENCE = 2.0  # seconds for whoever knocks to say who it is
_DTYPES = ("<f4", "<f8", "<i8")


class PeerError(ConnectionError):
    """A process of the training is gone, hangs, or says what does not belong here."""


def send(
    sock: socket.socket, kind: str, arrays: Mapping[str, Array] | None = None, **fields: Any
) -> None:
    """Send a message; PeerError if the other end is gone or does not take it in time."""
    given = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    about = [[name, array.dtype.str, array.shape] for name, array in given.items()]
    text = json.dumps({"kind": kind, "arrays": about, **fields}).encode()
    try:
        sock.sendall(_HEAD.pack(_MARK, len(text)) + text)
        for array in given.values():
            if array.size:
                sock.sendall(array.data.cast("B"))
    except OSError as error:
        raise PeerError(f"sending failed: {error}") from error


def receive(sock: socket.socket) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Receive a message: its kind, fields and arrays. PeerError where none comes."""
    mark, length = _HEAD.unpack(_exactly(sock, _HEAD.size))
    if mark != _MARK or length > _LONGEST:
        raise PeerError("this is not a process of the training")
    fields = json.loads(_exactly(sock, length))
    arrays = {}
    for name, dtype, shape in fields.pop("arrays"):
        if dtype not in _DTYPES:
            raise PeerError(f"an array of {dtype}; expected {', '.join(_DTYPES)}")
        arrays[name] = np.empty(shape, dtype)
        if arrays[name].size:
            fill(sock, arrays[name].data.cast("B"))
    return fields.pop("kind"), fields, arrays


def greeted(sock: socket.socket) -> tuple[str, dict[str, Any]]:
    """Receive the first message of somebody unknown: short, without arrays, and soon.

    PeerError for everything else, so that a stranger can neither block this process nor fill it.
    """
    until = monotonic() + _PATIENCE
    mark, length = _HEAD.unpack(_exactly(sock, _HEAD.size, until))
    if mark != _MARK or length > _GREETING:
        raise PeerError("this is not a process of the training")
    try:
        fields = json.loads(_exactly(sock, length, until))
        if fields.pop("arrays"):
            raise PeerError("a greeting has no arrays")
        return str(fields.pop("kind")), fields
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PeerError("this is not a process of the training") from error


def _exactly(sock: socket.socket, count: int, until: float | None = None) -> bytes:
    buffer = bytearray(count)
    fill(sock, memoryview(buffer), until)
    return bytes(buffer)


def fill(sock: socket.socket, to: memoryview, until: float | None = None) -> None:
    """Receive as many bytes as there is room for, in time if there is a time."""
    while len(to):
        if until is not None:
            sock.settimeout(max(1e-3, until - monotonic()))
        try:
            count = sock.recv_into(to)
        except OSError as error:
            raise PeerError(f"receiving failed: {error}") from error
        if not count:
            raise PeerError("the connection was closed")
        to = to[count:]


def tuned(sock: socket.socket, timeout: float) -> socket.socket:
    """Return a connection that sends at once, and on which nobody waits for ever."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: else a cut cable is noticed after 15 minutes
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * timeout))
    sock.settimeout(timeout)
    return sock


def listening(host: str) -> socket.socket:
    """Return a socket that listens at a free port, bound before anyone is told of it."""
    sock = socket.create_server((host, 0))
    sock.settimeout(1.0)
    return sock


def hosts() -> list[str]:
    """Return the addresses of this machine, the likeliest first."""
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # of documentation: nothing is sent
        found.append(probe.getsockname()[0])
    found += _of_interfaces()  # the network may lead nowhere else
    with contextlib.suppress(OSError):
        found += [
            info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        ]
    return list(dict.fromkeys([*map(str, found), "127.0.0.1"]))


def _of_interfaces() -> list[str]:
    if sys.platform != "linux":
        return []
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has no address
                # SIOCGIFADDR of netdevice(7): a name of 16 bytes in, a sockaddr_in behind it out
                about = fcntl.ioctl(sock, 0x8915, struct.pack("40s", name.encode()))
                found.append(socket.inet_ntoa(about[20:24]))
    return [host for host in found if not host.startswith("127.")]

"""Workers that are connected as those of a training are, as threads of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from chainrule.distributed.exchange import Mesh, Peer
from chainrule.distributed.messages import listening
from chainrule.engines.base import Sums
from tests.distributed.proxy import Proxy

SECRET = "known to all"


def some(leaves: list[int], size: int, dtype: str = "float32", seed: int = 7) -> dict[int, Sums]:
    def numbers(k: int) -> Any:
        rng = np.random.default_rng((seed, k))
        return rng.normal(size=size) * 10.0 ** rng.integers(-6, 6)

    return {k: Sums(k + 0.1, k * 1.7, numbers(k).astype(dtype)) for k in leaves}


def together(
    count: int,
    leaves: int,
    size: int,
    act: Callable[[Mesh, range, int], Any],
    between: Callable[[Proxy], None] | None = None,
    kind: type[Mesh] = Mesh,
    **more: Any,
) -> list[Any]:
    """Return what each of so many connected workers makes of its mesh.

    ``between`` is told of a proxy, which then stands before worker 0.
    """
    listeners = [listening("127.0.0.1") for _ in range(count)]
    shares = [range(r * leaves // count, (r + 1) * leaves // count) for r in range(count)]
    ports = [sock.getsockname()[1] for sock in listeners]
    proxy = None
    if between is not None:
        proxy = Proxy("127.0.0.1", ports[0])
        between(proxy)
        ports[0] = proxy.port
    peers = [Peer("127.0.0.1", port, mine) for port, mine in zip(ports, shares, strict=True)]
    how = {"timeout": 20.0, "like": np.empty(size, "float32"), **more}

    def work(rank: int) -> Any:
        mesh = kind(rank, peers, listeners[rank], SECRET, 1, **how)
        try:
            return act(mesh, shares[rank], rank)
        finally:
            mesh.close()

    try:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count)))
    finally:
        if proxy is not None:
            proxy.close()
        for sock in listeners:
            sock.close()

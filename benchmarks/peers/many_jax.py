"""Many networks in JAX: one program over all of them, in each layout that people use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

tree_map = jax.tree_util.tree_map
devices = jax.local_device_count


def _adam(p: Any, m: Any, v: Any, t: Any, g: Any) -> tuple[Any, Any, Any]:
    m = tree_map(lambda m, q: 0.9 * m + 0.1 * q, m, g)
    v = tree_map(lambda v, q: 0.999 * v + 0.001 * q * q, v, g)
    a, r = 1e-3 / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
    return tree_map(lambda p, m, v: p - a * m / (jnp.sqrt(v) * r + 1e-8), p, m, v), m, v


def epochs(layout: str, work: Any, count: int) -> Callable[[], object]:
    """Return a call that trains all networks for some epochs."""
    g = {"tanh": jnp.tanh, "relu": jax.nn.relu}[work.hidden]
    X, y = work.samples()
    batches = (
        jnp.asarray(X).reshape(-1, work.batch, X.shape[1]),
        jnp.asarray(y).reshape(-1, work.batch, y.shape[1]),
    )
    last_layer = len(work.sizes) - 2

    def first_loss(p: Any, x: Any, y: Any) -> Any:  # of one network
        a = x
        for l, (W, b) in enumerate(p):
            z = a @ W.T + b
            a = g(z) if l < last_layer else z
        return 0.5 * ((a - y) ** 2).sum(-1).mean()

    def last_loss(p: Any, x: Any, y: Any) -> Any:  # of all; W is (out, in, networks)
        a = jnp.broadcast_to(x[:, :, None], (*x.shape, work.networks))
        for l, (W, b) in enumerate(p):
            if layout == "einsum":
                z = jnp.einsum("bin,oin->bon", a, W) + b
            else:
                z = (a[:, None] * W[None]).sum(2) + b
            a = g(z) if l < last_layer else z
        return 0.5 * ((a - y[:, :, None]) ** 2).sum(1).mean(0).sum()

    def epoch(loss: Any) -> Any:
        def run(state: Any) -> Any:
            def step(carried: Any, batch: Any) -> tuple[Any, None]:
                p, m, v, t = carried
                gradient = jax.grad(loss)(p, *batch)
                t = t + 1.0
                return (*_adam(p, m, v, t, gradient), t), None

            return jax.lax.scan(step, state, batches)[0]

        return run

    rng = np.random.default_rng(0)
    N = work.networks
    shapes = list(zip(work.sizes, work.sizes[1:], strict=False))
    p = [(0.3 * rng.normal(size=(N, o, i)).astype("f4"), np.zeros((N, o), "f4")) for i, o in shapes]
    if layout in ("einsum", "product"):
        p = [(np.moveaxis(W, 0, -1), b.T) for W, b in p]
        program, t = jax.jit(epoch(last_loss), donate_argnums=0), jnp.zeros(())
    elif layout == "vmap":
        program, t = jax.jit(jax.vmap(epoch(first_loss)), donate_argnums=0), jnp.zeros(N)
    else:
        k = devices()
        p = [(W.reshape(k, N // k, *W.shape[1:]), b.reshape(k, N // k, -1)) for W, b in p]
        program, t = jax.pmap(jax.vmap(epoch(first_loss))), jnp.zeros((k, N // k))
    q = tree_map(jnp.asarray, p)
    held = [(q, tree_map(jnp.zeros_like, q), tree_map(jnp.zeros_like, q), t)]

    def run() -> None:
        for _ in range(count):
            held[0] = program(held[0])
        jax.block_until_ready(held[0])

    return run

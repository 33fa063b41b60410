"""Counter-based random numbers: every draw is a function of the seed and of where it is used.

Nothing is drawn from a running generator, so that engines, threads and resumed runs agree.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)


def philox(
    counter: tuple[NDArray[np.uint64], ...], key: tuple[int, int]
) -> tuple[NDArray[np.uint64], ...]:
    """Return four random 32-bit words for each four counter words, by Philox4x32-10.

    Args:
        counter: Four arrays of 32-bit words in uint64, which broadcast.
        key: Two 32-bit words.

    Returns:
        Four arrays of 32-bit words in uint64.

    Source:
        Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.

    Examples:
        >>> import numpy as np
        >>> from chainrule.random import philox
        >>> words = philox(tuple(np.zeros(1, dtype=np.uint64) for _ in range(4)), (0, 0))
        >>> [hex(int(word[0])) for word in words]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def dropout_mask(
    seed: int, step: int, layer: int, n_samples: int, units: int, rate: float, dtype: Any
) -> NDArray[Any]:
    """Return the dropout mask of one layer at one step.

    Unit j of row i is dropped where its random word is below rate · 2³².

    Args:
        seed: The seed of the network.
        step: The step of the run, from 0.
        layer: The layer l.
        n_samples: How many samples the batch has.
        units: How many units the layer has.
        rate: The rate, from 0 to below 1.
        dtype: The dtype of the mask.

    Returns:
        The mask m, (n_samples, units): 0, or 1 / (1 − rate).

    Examples:
        >>> from chainrule.random import dropout_mask
        >>> mask = dropout_mask(0, 17, 1, n_samples=32, units=64, rate=0.5, dtype="float64")
        >>> mask.shape, sorted(set(mask.ravel().tolist()))
        ((32, 64), [0.0, 2.0])
    """
    rows = np.arange(n_samples, dtype=np.uint64)[:, None]
    blocks = np.arange((units + 3) // 4, dtype=np.uint64)[None, :]
    words = philox(
        (blocks, rows, np.uint64(layer), np.uint64(step & 0xFFFFFFFF)),  # type: ignore[arg-type]
        (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF),
    )
    word_of_unit = np.stack(words, axis=-1).reshape(n_samples, -1)[:, :units]
    kept = word_of_unit >= np.uint64(math.floor(rate * 2**32))
    mask: NDArray[Any] = kept.astype(dtype) / np.dtype(dtype).type(1 - rate)
    return mask


def epoch_order(seed: int, epoch: int, n_samples: int, shard: int = 0) -> NDArray[np.int64]:
    """Return the order in which an epoch takes the samples.

    Args:
        seed: The seed of the network.
        epoch: The epoch, from 0.
        n_samples: How many samples there are.
        shard: Which of several parts of the samples these are, each in an order of its own.

    Returns:
        A permutation of 0 to n_samples − 1.

    Examples:
        >>> from chainrule.random import epoch_order
        >>> sorted(epoch_order(seed=0, epoch=3, n_samples=5).tolist())
        [0, 1, 2, 3, 4]
    """
    order: NDArray[np.int64] = epoch_orders(seed, epoch, 1, n_samples, shard)[0]
    return order


def epoch_orders(
    seed: int, epoch: int, count: int, n_samples: int, shard: int = 0
) -> NDArray[np.int64]:
    """Return the orders of so many epochs from one on, as `epoch_order` does, (count, n_samples).

    Args:
        seed: The seed of the network.
        epoch: The first epoch.
        count: How many epochs.
        n_samples: How many samples there are.
        shard: Which of several parts of the samples these are.

    Returns:
        A permutation in each row.

    Examples:
        >>> from chainrule.random import epoch_order, epoch_orders
        >>> (epoch_orders(0, 3, 2, n_samples=5)[1] == epoch_order(0, 4, n_samples=5)).all()
        np.True_
    """
    philox_of_epochs = np.random.Philox(key=seed, counter=[0, 0, shard, epoch])
    generator = np.random.Generator(philox_of_epochs)
    start, orders = philox_of_epochs.state, np.empty((count, n_samples), np.int64)
    orders[...] = np.arange(n_samples)
    counter = start["state"]["counter"]
    for i, order in enumerate(orders):
        if i:  # much quicker than another generator
            counter[3] = epoch + i
            philox_of_epochs.state = start
        generator.shuffle(order)
    return orders

"""Work: how many samples an answer looks at, so that it stays quick for networks of every size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.equations.feedforward import FeedForward


@dataclass(frozen=True)
class Work:
    """A limit on parameters times samples, within the fewest and the most samples."""

    products: float
    least: int
    most: int

    def samples(self, network: FeedForward) -> int:
        """Return the number of samples to look at."""
        return int(np.clip(self.products / network.parameters.size, self.least, self.most))


# Each takes one core at most 1 to 4 ms, up to networks of requests.MAX_PARAMETERS.
LOSS = Work(4e6, 50, 1000)  # of the frame after a change
LOSS_IN_TRAINING = Work(1e6, 20, 400)  # for validation, after each piece of about 45 ms
HEALTH = Work(2e7, 32, 512)  # forward and backward

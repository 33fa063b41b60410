"""What the tests of certificates certify."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import Network

TARGETS = ("w[1][0,1]", "w[3][1,2]", "b[2][3]", "z[1][0]", "z[3][1]", "a[1][2]", "a[3][0]", "x[1]")


def example(**options: Any) -> tuple[Network, Any, Any]:
    """A small network with five samples."""
    settings: dict[str, Any] = {"hidden": "tanh", "output": "sigmoid", "loss": "squared_error"}
    settings |= {"seed": 1} | options
    net = Network([2, 3, 4, 2], **settings)
    rng = np.random.default_rng(0)
    return net, rng.normal(size=(5, 2)), rng.uniform(size=(5, 2))

"""Loading: networks from files, and from models of other libraries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from chainrule.equations.activations import Activation
from chainrule.equations.losses import Loss
from chainrule.network import Network
from chainrule.storage import models

__all__ = ["from_onnx", "from_torch", "load"]


def from_torch(model: Any, loss: Any = None) -> Network:
    """Return the network that a plain PyTorch model is, with copies of its parameters.

    Args:
        model: A ``torch.nn.Sequential`` of Linear layers, activations that chainrule has, and
            Dropout after hidden layers; a Flatten before the first layer is left out, as ``X`` is
            flat. Sequentials may stand inside of each other.
        loss: A loss of PyTorch, such as ``nn.CrossEntropyLoss()`` or ``F.mse_loss``, a name, a
            `Loss`, or None for "half_squared_error". CrossEntropyLoss and BCEWithLogitsLoss bring
            the activation of the output along. MSELoss, L1Loss and HuberLoss average over the
            outputs; with more than one output they become a custom loss that does.

    Returns:
        The network, in the dtype of the model.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: The model is not a module.
        ValueError: A layer or the loss cannot be converted; the message names each of them.

    Examples:
        >>> import torch, chainrule as cr  # doctest: +SKIP
        >>> model = torch.nn.Sequential(  # doctest: +SKIP
        ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        ... )
        >>> cr.from_torch(model, torch.nn.CrossEntropyLoss())  # doctest: +SKIP
        Network(4-8-3: relu, softmax; cross_entropy; 67 parameters, float32)
    """
    from chainrule.foreign.torch.explaining import needed

    needed("from_torch")
    from chainrule.foreign.torch.converting import network

    return network(model, loss, Network)


def load(path: str | os.PathLike[str], custom: Sequence[Activation | Loss] = ()) -> Network:
    """Read a network from a model file, a checkpoint or the model of a table.

    A file holds no code, and nothing is built before the whole file is known to fit together, so it
    is safe to load one from a stranger.

    Args:
        path: The file.
        custom: The activations and losses of your own that the network uses; they are found by
            name.

    Returns:
        The network, with the parameters to the bit.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is foreign, damaged, cut short or from a newer version, or an
            activation or loss of your own is missing from ``custom``.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> cr.Network([2, 3, 1], hidden="tanh", seed=0).save(path)
        >>> cr.load(path)
        Network(2-3-1: tanh, identity; half_squared_error; 13 parameters, float64)
    """
    return models.load(path, custom, Network)


def from_onnx(path: str | os.PathLike[str]) -> Network:
    """Read a network from a model of ONNX, whoever wrote it, if it is one of connected layers.

    The graph may have Gemm, MatMul and Add, batch normalisation and scalers (which are folded into
    the weights) and the activations of chainrule, each as one node or as several that compute the
    same. Dropout has no effect. The class labels of a classifier are not read.

    Args:
        path: The file.

    Returns:
        The network, in float64 if any constant of the graph is, else in float32. The loss is that
        of a file that chainrule wrote; else "cross_entropy" after a softmax,
        "binary_cross_entropy" after a sigmoid, and "half_squared_error" after others.

    Raises:
        ImportError: The package onnx is not installed.
        OSError: The file cannot be read.
        ValueError: The file is not a model of ONNX, or not a network of fully connected layers; the
            message names each node that is not part of one.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> path = os.path.join(tempfile.mkdtemp(), "net.onnx")
        >>> cr.Network([2, 3, 1], hidden="gelu", seed=0).to_onnx(path)
        >>> cr.from_onnx(path)
        Network(2-3-1: gelu, identity; half_squared_error; 13 parameters, float64)
    """
    from chainrule.foreign.onnx.read import from_onnx

    return from_onnx(path, Network)

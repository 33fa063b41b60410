"""Loading: networks from files, and from models of other libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.equations.activations import Activation
from chainrule.equations.losses import Loss
from chainrule.network import Network
from chainrule.storage import models

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from chainrule.diagnose.record import RunRecord

__all__ = [
    "from_keras", "from_onnx", "from_safetensors", "from_sklearn", "from_torch", "load", "load_run",
]  # fmt: skip


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


def load_run(
    folder: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    clip_norm: float | None = None,
    X: ArrayLike | None = None,
    custom: Sequence[Activation | Loss] = (),
) -> RunRecord:
    """Read the folder of a recorded run, also of one that died.

    The run of a `Network` (``fit(watch=...)``) is complete: `RunRecord.why_moved` and
    `RunRecord.replay` take its steps again by themselves. That of a PyTorch model (`watch`) needs
    the model, or tells what was recorded with ``dense=True``.

    Args:
        folder: The folder.
        model: The PyTorch model that was watched, with any parameters; steps are taken again on a
            copy.
        optimizer: Its optimiser, made as for the run; of a network a custom one.
        loss_fn: The loss of a PyTorch run.
        clip_norm: As for `watch`.
        X: The inputs that a network was trained on, if they are more than the 256 MB that a run
            keeps.
        custom: The activations and losses of your own that the network uses.

    Raises:
        OSError: The folder cannot be read.
        ValueError: The folder holds no recorded run.

    Examples:
        >>> import chainrule as cr
        >>> run = cr.load_run("run")  # doctest: +SKIP
        >>> for spike in run.spikes():  # doctest: +SKIP
        ...     print(spike)
    """
    from chainrule.foreign.torch import watch

    path, about = watch.about_of(folder)
    if about.get("kind") != "network":
        return watch.load_run(
            folder, model=model, optimizer=optimizer, loss_fn=loss_fn, clip_norm=clip_norm
        )
    from chainrule.diagnose.record import RunRecord
    from chainrule.training.watching.again import Source

    return RunRecord(path, Source(Network, Network.explain, optimizer, X, custom))


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


def from_sklearn(fitted: Any) -> Network:
    """Return the network that a fitted estimator of scikit-learn is, with copies of its parameters.

    Its outputs are ``predict_proba`` of a classifier (of two classes, the probability of the
    second) or ``predict`` of a regressor. Its loss is that of the estimator as `Network` scales it;
    of a linear model "half_squared_error", whichever loss has found its coefficients. Classes are
    counted in the order of ``fitted.classes_``.

    Args:
        fitted: A fitted `MLPClassifier` or `MLPRegressor`, of scikit-learn or chainrule; or a
            linear model, which is a network of one layer: `LinearRegression`, `Ridge`, `Lasso`,
            `SGDRegressor` and the like, `PoissonRegressor`, `LogisticRegression`, or
            `SGDClassifier` with the log loss and two classes.

    Returns:
        The network, in float32 if all parameters are, else in float64. The penalty is not taken
        along, because it depends on the number of samples; `MLPClassifier` and `MLPRegressor` of
        chainrule keep theirs.

    Raises:
        ImportError: scikit-learn is not installed.
        NotFittedError: The estimator is not fitted.
        TypeError: ``fitted`` is another object, such as a pipeline.
        ValueError: The estimator combines classifiers of which each knows one class.

    Examples:
        >>> import chainrule as cr
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> fitted = LogisticRegression(max_iter=1000).fit(X, y)
        >>> net = cr.from_sklearn(fitted)
        >>> net
        Network(4-3: softmax; cross_entropy; 15 parameters, float64)
        >>> bool(abs(net.predict(X) - fitted.predict_proba(X)).max() < 1e-12)
        True
    """
    from chainrule.foreign.leaving import sklearn_needed

    sklearn_needed("from_sklearn")
    from chainrule.foreign.sklearn.converting import network

    return network(fitted, Network)


def from_keras(model: Any, loss: Any = None) -> Network:
    """Return the network that a plain model of Keras 3 is, with copies of its parameters.

    Batch normalisation is folded into the weights as it predicts, with its moving mean and
    variance; training the network then trains these weights.

    Args:
        model: A Sequential or functional model, or the path of a ``.keras`` file. It may have
            Dense layers one after the other, activations that chainrule has, Dropout after hidden
            layers, BatchNormalization beside a Dense layer, and a Flatten before the first one.
            Models may stand inside of each other.
        loss: A loss of Keras, the name of a loss of chainrule, a `Loss`, or None for the one that
            the model was compiled with. Without that it is "cross_entropy" after a softmax,
            "binary_cross_entropy" after a sigmoid, and else "half_squared_error". Losses that
            average over several outputs become a custom loss that does. ``from_logits=True``
            brings the activation of the output along.

    Returns:
        The network, in the dtype of the model.

    Raises:
        ImportError: Keras is not installed.
        OSError: The file cannot be read.
        TypeError: ``model`` is another object.
        ValueError: A layer or the loss cannot be converted; the message names each layer. A file
            is not one of Keras 3, or holds code.

    Examples:
        >>> import keras, chainrule as cr  # doctest: +SKIP
        >>> model = keras.Sequential([  # doctest: +SKIP
        ...     keras.Input((4,)), keras.layers.Dense(8, activation="relu"),
        ...     keras.layers.BatchNormalization(), keras.layers.Dense(3, activation="softmax"),
        ... ])
        >>> cr.from_keras(model)  # doctest: +SKIP
        Network(4-8-3: relu, softmax; cross_entropy; 67 parameters, float32)
    """
    from chainrule.foreign.leaving import keras_needed

    keras_needed("from_keras")
    from chainrule.foreign.keras.converting import network

    return network(model, loss, Network)


def from_safetensors(
    path: str | os.PathLike[str],
    names: Sequence[str | tuple[str, str]],
    *,
    hidden: Any = "identity",
    output: str | Activation = "identity",
    loss: str | Loss = "half_squared_error",
    transposed: bool = False,
) -> Network:
    """Read a network from a safetensors file of another program, whose tensors have other names.

    Args:
        path: The file.
        names: For each layer 1 to L, the name of its weight, or the names of its weight and its
            bias. Other tensors of the file are not read.
        hidden: The activation of the hidden layers, or a list with one for each, as for `Network`;
            the file does not hold it.
        output: The activation of the output layer.
        loss: The loss.
        transposed: Whether weights are stored as (inputs, outputs), as Keras and JAX do, rather
            than (outputs, inputs), as PyTorch does.

    Returns:
        The network, in float64 if any tensor is, else in float32.

    Raises:
        OSError: The file cannot be read.
        TypeError: ``names`` holds something other than names.
        ValueError: The file is not of this format, a tensor is not in it, has another kind of
            number, or does not fit the others; the message names each.

    Examples:
        >>> import os, tempfile
        >>> import chainrule as cr
        >>> from safetensors.numpy import save_file
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> path = os.path.join(tempfile.mkdtemp(), "theirs.safetensors")
        >>> save_file({"fc1.weight": net.layers[1].W, "fc1.bias": net.layers[1].b,
        ...            "fc2.weight": net.layers[2].W, "fc2.bias": net.layers[2].b}, path)
        >>> names = [("fc1.weight", "fc1.bias"), ("fc2.weight", "fc2.bias")]
        >>> cr.from_safetensors(path, names, hidden="tanh")
        Network(2-3-1: tanh, identity; half_squared_error; 13 parameters, float64)
    """
    from chainrule.foreign.tensors import read

    W, b = read(path, names, transposed)
    single = all(array.dtype != "float64" for array in (*W, *b))
    return Network(
        [W[0].shape[1], *map(len, W)], hidden=hidden, output=output, loss=loss, W=W,
        b=b or None, biases=bool(b), dtype="float32" if single else "float64", seed=0,
    )  # fmt: skip

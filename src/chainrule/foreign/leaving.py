"""The methods of a network that carry it to other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.equations.feedforward import FeedForward


def to_sklearn(network: FeedForward, *, classes: Sequence[Any] | None = None) -> Any:
    """Return the network as a fitted MLP of scikit-learn, with copies of its parameters.

    Its predictions are those of the network. `partial_fit` trains it further, with scikit-learn's
    loss: the gradient is the network's after "cross_entropy", "binary_cross_entropy",
    "half_squared_error" and "poisson". The L2 penalty is not taken along.

    Args:
        network: The network.
        classes: The labels of the classes, sorted. None counts them from 0.

    Returns:
        A fitted `MLPClassifier` if the network ends in softmax with the loss "cross_entropy", or
        in sigmoid with "binary_cross_entropy"; else a fitted `MLPRegressor`.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: scikit-learn lacks an activation, the hidden layers have several, the network
            has dropout, a parameter is not finite, or ``classes`` do not fit.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([4, 8, 2], output="softmax", loss="cross_entropy", seed=0)
        >>> theirs = net.to_sklearn(classes=["no", "yes"])
        >>> theirs.predict([[1.0, 0.0, 0.0, 0.0]]).tolist()
        ['yes']
        >>> bool((theirs.coefs_[0] == net.layers[1].W.T).all())
        True
    """
    sklearn_needed("to_sklearn")
    from chainrule.foreign.sklearn.converting import estimator

    return estimator(network, classes)


def sklearn_needed(what: str) -> None:
    """Raise ImportError, with what to do, where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{what} needs scikit-learn, which is not installed: pip install 'chainrule[sklearn]'"
        ) from error


def to_keras(network: FeedForward) -> Any:
    """Return the network as a Sequential of Keras 3, with copies of its parameters.

    Its predictions are those of `Network.predict`. Dropout is taken along; the loss and the L2
    penalty are not. ``save("model.keras")`` writes the model to a file.

    Args:
        network: The network.

    Returns:
        A ``keras.Sequential`` in the network's dtype, which is not compiled yet.

    Raises:
        ImportError: Keras, or what computes for it (PyTorch, JAX or TensorFlow), is not installed.
        ValueError: An activation is a custom one.

    Examples:
        >>> import chainrule as cr  # doctest: +SKIP
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)  # doctest: +SKIP
        >>> net.to_keras().save("net.keras")  # doctest: +SKIP
        >>> cr.from_keras("net.keras")  # doctest: +SKIP
        Network(2-3-1: tanh, identity; half_squared_error; 13 parameters, float64)
    """
    keras_needed("to_keras")
    from chainrule.foreign.keras.converting import model

    return model(network)


def keras_needed(what: str) -> None:
    """Raise ImportError, with what to do, where Keras 3 is not installed, or nothing computes."""
    try:
        import keras
    except ImportError as error:
        missing = error.name if error.name != "keras" else None
        raise ImportError(
            f"{what} needs Keras 3, which is not installed: pip install 'chainrule[keras]'"
            if missing is None
            else f"{what}: Keras is set to compute with {missing}, which is not installed. Set the "
            "environment variable KERAS_BACKEND to torch or jax"
        ) from error
    if int(keras.__version__.partition(".")[0]) < 3:
        raise ImportError(f"{what} needs Keras 3, not {keras.__version__}: pip install -U keras")

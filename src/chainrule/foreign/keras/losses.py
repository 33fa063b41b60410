"""Losses of Keras as those of a network."""

from __future__ import annotations

from typing import Any

import keras

from chainrule.equations.losses import Loss
from chainrule.foreign.averaged import averaged

_LOSSES = {
    "mean_squared_error": "squared_error", "mean_absolute_error": "absolute_error",
    "huber": "huber", "huber_loss": "huber", "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "binary_crossentropy": "binary_cross_entropy", "poisson": "poisson",
}  # fmt: skip
_SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}
_OUTPUT = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


def loss_of(model: Any, given: Any, output: str, units: int) -> tuple[str, Any]:
    """Return the output activation and the loss that a loss of Keras stands for."""
    if isinstance(given, str | Loss):
        return output, given
    if given is None:
        given = getattr(model, "loss", None)
    if given is None:
        usual = {ends: name for name, ends in _OUTPUT.items()}
        return output, usual.get(output, "half_squared_error")
    name, config = _described(given)
    if name not in _LOSSES:
        raise ValueError(
            f"loss is {name}; expected mean_squared_error, mean_absolute_error, huber, poisson, "
            "categorical_crossentropy, binary_crossentropy, or a loss of chainrule"
        )
    for option, plain in (("label_smoothing", 0), ("delta", 1), ("ignore_class", None),
                          ("reduction", "sum_over_batch_size")):  # fmt: skip
        if config.get(option, plain) != plain:
            raise ValueError(
                f"loss is {name} with {option}={config[option]}; a network has it with "
                f"{option}={plain} alone"
            )
    ours = _LOSSES[name]
    if config.get("from_logits"):
        if output != "identity":
            raise ValueError(
                f"{name} with from_logits=True applies {_OUTPUT[ours]} by itself, and the model "
                f"ends in {output}; expected one of the two"
            )
        output = _OUTPUT[ours]
    if units == 1 or ours == "cross_entropy":
        return output, ours
    if ours in ("binary_cross_entropy", "poisson"):
        raise ValueError(
            f"{name} averages over the {units} outputs, and the loss of a network sums; expected "
            "a model with one output. Pass loss= to take one that sums"
        )
    return output, averaged(ours, units)


def _described(loss: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of a loss of Keras in full, and its options."""
    if isinstance(loss, str):
        return _SHORT.get(loss, loss), {}
    if isinstance(loss, keras.losses.Loss):
        # The config of some losses leaves their options out, such as delta of Huber.
        config = {**getattr(loss, "_fn_kwargs", {}), **loss.get_config()}
        return str(config.get("name", type(loss).__name__)), config
    return str(getattr(loss, "__name__", type(loss).__name__)), {}

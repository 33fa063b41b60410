"""chainrule: train feed-forward networks by backpropagation and explain every gradient.

>>> import chainrule as cr
>>> net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
>>> net.layers[2].W.shape
(1, 2)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.activations import Activation
    from chainrule.backprop import Forward, Gradient
    from chainrule.callbacks import Callback, EarlyStopping
    from chainrule.checkpoints import CheckpointWarning
    from chainrule.engines import EngineWarning
    from chainrule.explain import Explanation, Notation
    from chainrule.history import History
    from chainrule.loggers import CSVLogger, MLflowLogger, TensorBoardLogger
    from chainrule.losses import Loss
    from chainrule.network import Network, load
    from chainrule.optimizers import AdaGrad, Adam, AdamW, GradientDescent, RMSProp
    from chainrule.schedules import (
        Constant,
        Cosine,
        ExponentialDecay,
        ReduceOnPlateau,
        Schedule,
        StepDecay,
        WarmUp,
    )
    from chainrule.sklearn.explaining import explain_sklearn
    from chainrule.targets import Bias, PreActivation, UnitOutput, Weight
    from chainrule.training import NonFiniteError

__version__ = "0.1.0"

# A name is imported when it is first used (PEP 562), so that `import chainrule` is quick.
_MODULES = {
    "activations": ("Activation",),
    "backprop": ("Forward", "Gradient"),
    "callbacks": ("Callback", "EarlyStopping"),
    "checkpoints": ("CheckpointWarning",),
    "engines": ("EngineWarning",),
    "explain": ("Explanation", "Notation"),
    "history": ("History",),
    "loggers": ("CSVLogger", "MLflowLogger", "TensorBoardLogger"),
    "losses": ("Loss",),
    "network": ("Network", "load"),
    "optimizers": ("AdaGrad", "Adam", "AdamW", "GradientDescent", "RMSProp"),
    "schedules": (
        "Constant",
        "Cosine",
        "ExponentialDecay",
        "ReduceOnPlateau",
        "Schedule",
        "StepDecay",
        "WarmUp",
    ),
    "sklearn.explaining": ("explain_sklearn",),
    "targets": ("Bias", "PreActivation", "UnitOutput", "Weight"),
    "training": ("NonFiniteError",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Activation",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Bias",
    "CSVLogger",
    "Callback",
    "CheckpointWarning",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "EngineWarning",
    "Explanation",
    "ExponentialDecay",
    "Forward",
    "Gradient",
    "GradientDescent",
    "History",
    "Loss",
    "MLflowLogger",
    "Network",
    "NonFiniteError",
    "Notation",
    "PreActivation",
    "RMSProp",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "TensorBoardLogger",
    "UnitOutput",
    "WarmUp",
    "Weight",
    "__version__",
    "explain_sklearn",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

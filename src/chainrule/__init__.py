"""chainrule: train feed-forward networks by backpropagation and explain every gradient.

>>> import chainrule as cr
>>> net = cr.Network([2, 2, 1], hidden="tanh", output="tanh", seed=0)
>>> net.layers[2].W.shape
(1, 2)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import chainrule.diagnose  # noqa: F401  # see the end of this file
from chainrule._version import __version__

if TYPE_CHECKING:
    from chainrule.diagnose.finding import Finding
    from chainrule.engines import EngineWarning
    from chainrule.ensemble import Ensemble
    from chainrule.equations.activations import Activation
    from chainrule.equations.backprop import Forward, Gradient
    from chainrule.equations.losses import Loss
    from chainrule.equations.optimizers import AdaGrad, Adam, AdamW, GradientDescent, RMSProp
    from chainrule.equations.schedules import (
        Constant,
        Cosine,
        ExponentialDecay,
        ReduceOnPlateau,
        Schedule,
        StepDecay,
        WarmUp,
    )
    from chainrule.equations.targets import (
        Bias,
        BiasVector,
        PreActivation,
        UnitOutput,
        Weight,
        WeightMatrix,
    )
    from chainrule.explain import Explanation, Notation, WorkedExample
    from chainrule.explain.array_explanation import ArrayExplanation
    from chainrule.explain.findings import Diagnosis
    from chainrule.explorer.runs.showing import explore_run
    from chainrule.explorer.torch.showing import explore_torch
    from chainrule.foreign.jax.explaining import explain_jax
    from chainrule.foreign.torch.diagnosing import diagnose
    from chainrule.foreign.torch.explaining import explain_torch
    from chainrule.foreign.torch.watch import watch
    from chainrule.loading import (
        from_keras,
        from_onnx,
        from_safetensors,
        from_sklearn,
        from_torch,
        load,
        load_run,
    )
    from chainrule.network import Network
    from chainrule.sklearn.explaining import explain_sklearn
    from chainrule.tables.loading import load_groups, load_table
    from chainrule.teach.worksheets.worksheet import Worksheet, worksheet
    from chainrule.training.callbacks import Callback, EarlyStopping
    from chainrule.training.checkpoints import CheckpointWarning
    from chainrule.training.errors import NonFiniteError
    from chainrule.training.history import History
    from chainrule.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger
    from chainrule.training.many import fit_many
    from chainrule.training.watching.settings import Watch

# A name is imported when it is first used (PEP 562), so that `import chainrule` is quick.
_MODULES = {
    "diagnose.finding": ("Finding",),
    "engines": ("EngineWarning",),
    "ensemble": ("Ensemble",),
    "equations.activations": ("Activation",),
    "equations.backprop": ("Forward", "Gradient"),
    "equations.losses": ("Loss",),
    "equations.optimizers": ("AdaGrad", "Adam", "AdamW", "GradientDescent", "RMSProp"),
    "equations.schedules": (
        "Constant",
        "Cosine",
        "ExponentialDecay",
        "ReduceOnPlateau",
        "Schedule",
        "StepDecay",
        "WarmUp",
    ),
    "equations.targets": (
        "Bias",
        "BiasVector",
        "PreActivation",
        "UnitOutput",
        "Weight",
        "WeightMatrix",
    ),
    "explain": ("Explanation", "Notation", "WorkedExample"),
    "explain.array_explanation": ("ArrayExplanation",),
    "explain.findings": ("Diagnosis",),
    "foreign.torch.diagnosing": ("diagnose",),
    "explorer.runs.showing": ("explore_run",),
    "explorer.torch.showing": ("explore_torch",),
    "foreign.jax.explaining": ("explain_jax",),
    "foreign.torch.explaining": ("explain_torch",),
    "foreign.torch.watch": ("watch",),
    "loading": (
        "from_keras",
        "from_onnx",
        "from_safetensors",
        "from_sklearn",
        "from_torch",
        "load",
        "load_run",
    ),
    "network": ("Network",),
    "sklearn.explaining": ("explain_sklearn",),
    "tables.loading": ("load_groups", "load_table"),
    "teach.worksheets.worksheet": ("Worksheet", "worksheet"),
    "training.callbacks": ("Callback", "EarlyStopping"),
    "training.checkpoints": ("CheckpointWarning",),
    "training.errors": ("NonFiniteError",),
    "training.history": ("History",),
    "training.many": ("fit_many",),
    "training.loggers": ("CSVLogger", "MLflowLogger", "TensorBoardLogger"),
    "training.watching.settings": ("Watch",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Activation",
    "AdaGrad",
    "Adam",
    "AdamW",
    "ArrayExplanation",
    "Bias",
    "BiasVector",
    "CSVLogger",
    "Callback",
    "CheckpointWarning",
    "Constant",
    "Cosine",
    "Diagnosis",
    "EarlyStopping",
    "EngineWarning",
    "Ensemble",
    "Explanation",
    "ExponentialDecay",
    "Finding",
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
    "Watch",
    "Weight",
    "WeightMatrix",
    "WorkedExample",
    "Worksheet",
    "__version__",
    "diagnose",
    "explain_jax",
    "explain_sklearn",
    "explain_torch",
    "explore_run",
    "explore_torch",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_safetensors",
    "from_sklearn",
    "from_torch",
    "load",
    "load_groups",
    "load_run",
    "load_table",
    "watch",
    "worksheet",
]

# The folder has the name of a function. It was loaded above, so that no later import sets the
# attribute again; the name is now free for the function.
del globals()["diagnose"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

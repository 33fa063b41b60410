"""What the reference lists, in which order, and where names of other projects lead."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Group:
    """Names that stand together in the reference."""

    title: str
    text: str
    names: tuple[str, ...]


INTRODUCTION = """# Python interface

The public names are those below; everything else may change without notice. Most are attributes of
the package:

```python
import chainrule as cr
```

Six modules have names of their own: `chainrule.sklearn`, `chainrule.verify`,
`chainrule.mlflow`, `chainrule.distributed`, `chainrule.ray` and `chainrule.random`. Shapes use
the letters of the
[design page](../../design.md): n samples, units_l units in layer l, and layer 0 is the input.
Indices start at 0, so `layers[2].W[1, 2]` is $w_{12}^{(2)}$.
"""

GROUPS: tuple[Group, ...] = (
    Group(
        "Networks",
        "Make, train, ask, prove and save a network.",
        ("chainrule.Network", "chainrule.load", "chainrule.from_onnx",
         "chainrule.from_torch", "chainrule.from_sklearn",
         "chainrule.from_keras", "chainrule.from_safetensors",
         "chainrule.Layer", "chainrule.Forward",
         "chainrule.Gradient", "chainrule.ByLayer", "chainrule.Activation", "chainrule.Loss"),
    ),
    Group(
        "Optimisers",
        "How a parameter θ moves, given its gradient g and the learning rate η.",
        ("chainrule.GradientDescent", "chainrule.AdaGrad", "chainrule.RMSProp", "chainrule.Adam",
         "chainrule.AdamW", "chainrule.Optimizer"),
    ),
    Group(
        "Learning-rate schedules",
        "The learning rate as a function of the epochs that have passed.",
        ("chainrule.Constant", "chainrule.StepDecay", "chainrule.ExponentialDecay",
         "chainrule.Cosine", "chainrule.WarmUp", "chainrule.ReduceOnPlateau",
         "chainrule.Schedule"),
    ),
    Group(
        "Training runs",
        "Many networks in one call; what `Network.fit` returns, and what it calls on the way.",
        ("chainrule.fit_many", "chainrule.Ensemble", "chainrule.History",
         "chainrule.Callback", "chainrule.EarlyStopping",
         "chainrule.CSVLogger", "chainrule.TensorBoardLogger", "chainrule.MLflowLogger",
         "chainrule.Run"),
    ),
    Group(
        "Explanations",
        "One derivative taken apart, and what it can be taken with respect to.",
        ("chainrule.Explanation", "chainrule.ArrayExplanation", "chainrule.WorkedExample",
         "chainrule.Notation", "chainrule.Weight", "chainrule.Bias",
         "chainrule.WeightMatrix", "chainrule.BiasVector",
         "chainrule.PreActivation", "chainrule.UnitOutput", "chainrule.explain_sklearn",
         "chainrule.Paths", "chainrule.Path",
         "chainrule.Term", "chainrule.Contribution", "chainrule.Contributions",
         "chainrule.Equation", "chainrule.SampleRow", "chainrule.Explorer"),
    ),
    Group(
        "Models of PyTorch and JAX",
        "Any number of any PyTorch model, or of a function of JAX, explained, and a page to look "
        "through a model.",
        ("chainrule.explain_torch", "chainrule.explain_jax", "chainrule.explore_torch",
         "chainrule.TorchExplanation", "chainrule.JaxExplanation",
         "chainrule.CallTerm", "chainrule.CallContribution", "chainrule.CallContributions",
         "chainrule.TorchGradients", "chainrule.CallCertificate", "chainrule.TorchExplorer"),
    ),
    Group(
        "Diagnosis",
        "What keeps a model from learning, and what makes a gradient grow or vanish.",
        ("chainrule.diagnose", "chainrule.Diagnosis", "chainrule.Finding",
         "chainrule.Flow", "chainrule.LayerFlow"),
    ),
    Group(
        "Watched runs",
        "What a training loop did, step by step, and why each weight moved.",
        ("chainrule.watch", "chainrule.Watch", "chainrule.load_run", "chainrule.explore_run",
         "chainrule.RunRecord", "chainrule.RunExplorer", "chainrule.ReplayedStep",
         "chainrule.Move", "chainrule.Share", "chainrule.Spike",
         "chainrule.SampleNorms", "chainrule.Suspect", "chainrule.LayerNorms"),
    ),
    Group(
        "Tables",
        "Models of tables, which `chainrule train` writes.",
        ("chainrule.load_table", "chainrule.TableModel", "chainrule.load_groups",
         "chainrule.TableGroups"),
    ),
    Group(
        "Worksheets",
        "Exercises for a class, with keys that are proven.",
        ("chainrule.worksheet", "chainrule.Worksheet", "chainrule.Variant"),
    ),
    Group(
        "Proof: chainrule.verify",
        "Compare derivatives with numbers that were found without backpropagation.",
        ("chainrule.verify.certify", "chainrule.verify.certify_array",
         "chainrule.verify.check_gradient", "chainrule.verify.ArrayCertificate",
         "chainrule.verify.Certificate", "chainrule.verify.Evidence",
         "chainrule.verify.GradientReport", "chainrule.verify.Compared"),
    ),
    Group(
        "Estimators: chainrule.sklearn",
        "scikit-learn's multilayer perceptrons, trained by chainrule; estimators of dataframes.",
        ("chainrule.sklearn.MLPClassifier", "chainrule.sklearn.MLPRegressor",
         "chainrule.sklearn.TabularClassifier", "chainrule.sklearn.TabularRegressor",
         "chainrule.sklearn.side_by_side",
         "chainrule.sklearn.trusted_types", "chainrule.sklearn.register_skl2onnx"),
    ),
    Group(
        "MLflow: chainrule.mlflow",
        "Models in MLflow: saved, logged, loaded and served.",
        ("chainrule.mlflow.save_model", "chainrule.mlflow.log_model",
         "chainrule.mlflow.load_model"),
    ),
    Group(
        "Clusters: chainrule.distributed",
        "One network on several machines, to the bits of one.",
        ("chainrule.distributed.fit", "chainrule.distributed.Files"),
    ),
    Group(
        "Ray Data: chainrule.ray",
        "Predictions of a dataset, on a cluster.",
        ("chainrule.ray.Predictor",),
    ),
    Group(
        "Random streams: chainrule.random",
        "Every draw is a function of the seed and of where it is used.",
        ("chainrule.random.epoch_order", "chainrule.random.epoch_orders",
         "chainrule.random.dropout_mask",
         "chainrule.random.philox"),
    ),
    Group(
        "Errors and warnings",
        "What a run can raise or warn of, beside Python's own errors.",
        ("chainrule.NonFiniteError", "chainrule.CheckpointWarning", "chainrule.EngineWarning"),
    ),
)  # fmt: skip

# The members that a page shows, in order, where they are not simply all public ones. An optimiser,
# a schedule or a logger is used by its parameters alone.
MEMBERS = {
    "chainrule.Network": "fit predict predict_classes forward gradient loss_value explain "
    "worked_example flow check_gradient diagnose explore save "
    "hessian_vector_product ggn_diagonal views_of "
    "to_torch to_sklearn to_keras copy penalty masks engine dtype weighted_layers",
    "chainrule.Layer": "units activation W b",
    "chainrule.TableModel": "predict explain importance partial_dependence sensitivity save",
    "chainrule.TableGroups": "predict save",
    "chainrule.GradientDescent": "",
    "chainrule.AdaGrad": "",
    "chainrule.RMSProp": "",
    "chainrule.Adam": "",
    "chainrule.AdamW": "",
    "chainrule.Constant": "",
    "chainrule.StepDecay": "",
    "chainrule.ExponentialDecay": "",
    "chainrule.Cosine": "",
    "chainrule.WarmUp": "",
    "chainrule.ReduceOnPlateau": "",
    "chainrule.EarlyStopping": "",
    "chainrule.CSVLogger": "",
    "chainrule.TensorBoardLogger": "log_run",
    "chainrule.MLflowLogger": "log_run",
    "chainrule.History": "best_epoch to_frame plot summary",
    "chainrule.Explanation": "value terms penalty samples products certificate paths text "
    "latex mathml html plot to_dict in_notation n_samples target_value",
    "chainrule.JaxExplanation": "terms samples certificate loss n_samples explain text latex html "
    "to_dict in_notation",
    "chainrule.TorchExplanation": "terms samples certificate reason kind loss n_samples explain "
    "text latex html to_dict in_notation",
    "chainrule.CallTerm": "value by_position",
    "chainrule.CallContribution": "terms formula",
    "chainrule.CallContributions": "largest",
    "chainrule.TorchGradients": "explain text latex html to_dict",
    "chainrule.CallCertificate": "passed text to_dict",
    "chainrule.TorchExplorer": "serve start stop save explain to_dict",
    "chainrule.WorkedExample": "losses sections setting text latex html to_dict",
    "chainrule.RunRecord": "why_moved replay spikes samples suspects row layers noise_scale "
    "suggested_batch_size steps state text html to_dict",
    "chainrule.RunExplorer": "serve start stop",
    "chainrule.Watch": "",
    "chainrule.ReplayedStep": "same gradient explain",
    "chainrule.Move": "value reason of earlier text html to_dict",
    "chainrule.sklearn.MLPClassifier": "fit partial_fit predict predict_proba explain network_",
    "chainrule.sklearn.MLPRegressor": "fit partial_fit predict explain network_",
    "chainrule.sklearn.TabularClassifier": "fit predict predict_proba save network_",
    "chainrule.sklearn.TabularRegressor": "fit predict save network_",
}

# Classes that users meet but do not make: their pages show no constructor.
NOT_MADE = {
    "chainrule.Layer", "chainrule.Forward", "chainrule.Gradient", "chainrule.ByLayer",
    "chainrule.History", "chainrule.Run", "chainrule.Explanation", "chainrule.WorkedExample",
    "chainrule.Term", "chainrule.Contribution", "chainrule.Contributions", "chainrule.Equation",
    "chainrule.Paths", "chainrule.Path", "chainrule.Flow", "chainrule.LayerFlow",
    "chainrule.SampleRow", "chainrule.verify.Certificate", "chainrule.verify.Evidence",
    "chainrule.verify.ArrayCertificate", "chainrule.verify.GradientReport",
    "chainrule.verify.Compared", "chainrule.NonFiniteError",
    "chainrule.Optimizer", "chainrule.Schedule", "chainrule.Activation", "chainrule.Loss",
    "chainrule.Callback", "chainrule.Diagnosis", "chainrule.Finding",
    "chainrule.TorchExplanation", "chainrule.JaxExplanation", "chainrule.CallTerm",
    "chainrule.CallContribution", "chainrule.CallContributions", "chainrule.TorchGradients",
    "chainrule.CallCertificate", "chainrule.TorchExplorer",
    "chainrule.RunRecord", "chainrule.RunExplorer", "chainrule.ReplayedStep", "chainrule.Move",
    "chainrule.Share",
    "chainrule.Spike", "chainrule.SampleNorms", "chainrule.Suspect", "chainrule.LayerNorms",
    "chainrule.TableGroups", "chainrule.TableModel",
}  # fmt: skip

# Names in annotations that stand for something else.
ALIASES = {
    "Array": "ndarray",
    "NDArray": "ndarray",
    "FeedForward": "Network",
    "HasRate": "Schedule",
}

# Names in annotations that lead nowhere: aliases and private types.
PLAIN = {
    "DTypeName", "T", "Verdict", "Autodiff", "Metric", "Target", "ArrayTarget", "Expr", "Section",
    "By", "Link", "Local", "Quantity", "Sheet", "State", "Through", "CallSample", "Names", "Slots",
    # Those whose pages are there only with PyTorch or JAX.
    "TorchExplanation", "TorchGradients", "JaxExplanation",
}  # fmt: skip

_PYTHON = "https://docs.python.org/3/library"
_NUMPY = "https://numpy.org/doc/stable/reference"
EXTERNAL = {
    **{name: f"{_PYTHON}/functions.html#{name}" for name in (
        "bool", "bytes", "float", "int", "object", "slice", "tuple", "type", "property")},
    **{name: f"{_PYTHON}/stdtypes.html#{name}" for name in ("dict", "list", "str")},
    **{name: f"{_PYTHON}/exceptions.html#{name}" for name in (
        "ArithmeticError", "AttributeError", "Exception", "FloatingPointError", "ImportError",
        "IndexError", "KeyError", "KeyboardInterrupt", "OSError", "TypeError", "UserWarning",
        "ValueError")},
    **{name: f"{_PYTHON}/typing.html#typing.{name}" for name in ("Any", "Literal", "Self")},
    **{name: f"{_PYTHON}/collections.abc.html#collections.abc.{name}" for name in (
        "Callable", "Iterable", "Iterator", "Mapping", "Sequence")},
    "None": f"{_PYTHON}/constants.html#None",
    "os.PathLike": f"{_PYTHON}/os.html#os.PathLike",
    "PathLike": f"{_PYTHON}/os.html#os.PathLike",
    "timedelta": f"{_PYTHON}/datetime.html#datetime.timedelta",
    "ndarray": f"{_NUMPY}/generated/numpy.ndarray.html",
    "ArrayLike": f"{_NUMPY}/typing.html#numpy.typing.ArrayLike",
    "dtype": f"{_NUMPY}/generated/numpy.dtype.html",
    "float32": f"{_NUMPY}/arrays.scalars.html#numpy.float32",
    "float64": f"{_NUMPY}/arrays.scalars.html#numpy.float64",
    "int64": f"{_NUMPY}/arrays.scalars.html#numpy.int64",
    "uint64": f"{_NUMPY}/arrays.scalars.html#numpy.uint64",
    "Axes": "https://matplotlib.org/stable/api/_as_gen/matplotlib.axes.Axes.html",
    "NotFittedError": "https://scikit-learn.org/stable/modules/generated/"
    "sklearn.exceptions.NotFittedError.html",
}  # fmt: skip


def is_there(name: str) -> bool:
    """Return whether a name can be shown: some classes stand in rooms of PyTorch, or of JAX."""
    if name.startswith("chainrule.Jax"):
        return importlib.util.find_spec("jax") is not None
    if name.startswith("chainrule.Torch") and name != "chainrule.TorchExplorer":
        return importlib.util.find_spec("torch") is not None
    return True


GROUPS = tuple(replace(group, names=tuple(filter(is_there, group.names))) for group in GROUPS)


def names() -> set[str]:
    """Return the last part of every name that has a page."""
    return {name.rpartition(".")[2] for group in GROUPS for name in group.names}

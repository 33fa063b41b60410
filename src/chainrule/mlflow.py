"""MLflow: save, log, load and serve networks, models of tables and estimators.

Needs ``pip install 'chainrule[mlflow]' mlflow``. No file of a model holds a pickle.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from chainrule._version import __version__
from chainrule.equations.activations import ACTIVATIONS
from chainrule.equations.checks import listed
from chainrule.equations.losses import LOSSES
from chainrule.network import Network
from chainrule.tables.frames import TableModel, typical

__all__ = ["load_model", "log_model", "save_model"]

FLAVOR = "chainrule"
_DATA = {"network": "model.safetensors", "table": "model.safetensors", "estimator": "model.skops"}
_EXTRAS = {"network": "", "table": "[tables]", "estimator": "[skops]"}


def _needed() -> ModuleType:
    """Return MLflow; raise ImportError, with what to do, where it is not whole."""
    try:
        import mlflow
        import mlflow.models
        import mlflow.pyfunc
    except ImportError as error:
        raise ImportError(
            "chainrule.mlflow needs MLflow with models, which is not installed: pip install mlflow"
        ) from error
    return mlflow


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: list[str] | None = None,
    code_paths: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    mlflow_model: Any = None,
) -> None:
    """Save a model as a folder that MLflow loads and serves.

    Args:
        model: A `Network`, the model of a table (see `load_table`), or a fitted estimator of
            `chainrule.sklearn`, also at the end of a pipeline.
        path: The folder, which must not exist.
        signature: The signature, of ``mlflow.models``. None infers it: of a model of a table, a
            column for each of its columns, else a matrix, or columns if the estimator knows them.
        input_example: A few inputs that MLflow keeps with the model.
        pip_requirements: What a server installs. None is chainrule in this version, with what the
            model needs.
        code_paths: Files of code that a server needs too.
        metadata: What else MLflow keeps with the model.
        mlflow_model: What ``mlflow.models.Model.log`` passes.

    Raises:
        ImportError: MLflow is not installed, or skops for an estimator.
        TypeError: ``model`` is another object.
        ValueError: The model holds a custom activation or loss, or other objects that a server
            cannot rebuild; an estimator is not fitted. Nothing is written then.

    Examples:
        >>> import chainrule as cr, chainrule.mlflow
        >>> net = cr.Network([4, 16, 3], hidden="silu", seed=0)
        >>> chainrule.mlflow.save_model(net, "folder")  # doctest: +SKIP
    """
    mlflow = _needed()
    kind = _kind(model)
    if mlflow_model is None:
        mlflow_model = mlflow.models.Model()
    if signature is None:
        signature = _signature(mlflow, model, kind, input_example)
    if pip_requirements is None:
        pip_requirements = [f"chainrule{_EXTRAS[kind]}=={__version__}", f"numpy=={np.__version__}"]
    mlflow_model.add_flavor(
        FLAVOR, chainrule_version=__version__, kind=kind, data=f"data/{_DATA[kind]}"
    )
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, _DATA[kind])
        if kind == "estimator":
            from chainrule.sklearn.persistence import dumped

            data.write_bytes(dumped(model))
        else:
            model.save(data)
        mlflow.pyfunc.save_model(
            os.fspath(path), loader_module=__name__, data_path=str(data), signature=signature,
            input_example=input_example, pip_requirements=pip_requirements, code_paths=code_paths,
            metadata=metadata, mlflow_model=mlflow_model,
        )  # fmt: skip


def log_model(
    model: Any,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    **options: Any,
) -> Any:
    """Log a model to the active run of MLflow, or to a new one.

    Args:
        model: The model, as for `save_model`.
        name: What the model is called in the run.
        registered_model_name: The name under which the registry gets a new version.
        **options: The options of `save_model`.

    Returns:
        What MLflow knows of it, a ``ModelInfo``; its ``model_uri`` is what `load_model` takes.

    Raises:
        ImportError: MLflow is not installed, or skops for an estimator.
        TypeError: ``model`` is another object.
        ValueError: As `save_model`.

    Examples:
        >>> import mlflow, chainrule as cr, chainrule.mlflow  # doctest: +SKIP
        >>> with mlflow.start_run():  # doctest: +SKIP
        ...     info = chainrule.mlflow.log_model(net)
        >>> chainrule.mlflow.load_model(info.model_uri)  # doctest: +SKIP
        Network(4-16-3: silu, softmax; cross_entropy; 131 parameters, float64)
    """
    from inspect import signature

    mlflow = _needed()
    _kind(model)
    log = mlflow.models.Model.log
    named = "name" if "name" in signature(log).parameters else "artifact_path"  # MLflow 3, or 2
    given: dict[str, Any] = {"artifact_path": None, named: name}
    return log(
        flavor=sys.modules[__name__], model=model, registered_model_name=registered_model_name,
        **given, **options,
    )  # fmt: skip


def load_model(model_uri: str) -> Any:
    """Return the model of an MLflow URI as it was saved: a network, for example.

    ``mlflow.pyfunc.load_model`` returns one that only predicts, as a server does.

    Args:
        model_uri: The URI, such as "runs:/RUN/model" or "models:/NAME/1", or a folder.

    Raises:
        ImportError: MLflow is not installed, or skops for an estimator.
        OSError: There is no such model.
        ValueError: The model is not one of chainrule's, or its file is damaged.

    Examples:
        >>> import chainrule.mlflow
        >>> chainrule.mlflow.load_model("models:/flowers/1")  # doctest: +SKIP
        Network(4-16-3: silu, identity; half_squared_error; 131 parameters, float64)
    """
    mlflow = _needed()
    folder = mlflow.artifacts.download_artifacts(artifact_uri=os.fspath(model_uri))
    flavors = mlflow.models.Model.load(folder).flavors
    if FLAVOR not in flavors:
        raise ValueError(
            f"{model_uri} has the flavours {listed(list(flavors))}; expected one that "
            "chainrule.mlflow saved, with the flavour 'chainrule'"
        )
    return _read(Path(folder, flavors[FLAVOR]["data"]))


def _read(file: Path) -> Any:
    """Return the model that a file holds."""
    if file.suffix == ".skops":
        from chainrule.sklearn.persistence import load as load_estimator

        return load_estimator(file)
    from chainrule.loading import load
    from chainrule.storage import models
    from chainrule.storage.container import opened

    with opened(file) as content:
        has_columns = models.TABLE in models.check(content)[0]
    if not has_columns:
        return load(file)
    from chainrule.tables.loading import load_table

    return load_table(file)


class _Served:
    """What MLflow asks for predictions."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Return the outputs of a network, or the predictions of another model."""
        return _predictions(self._model, model_input)


def _load_pyfunc(path: str) -> _Served:
    """Return what serves a file; MLflow calls it."""
    return _Served(_read(Path(path)))


def _predictions(model: Any, data: Any) -> Any:
    if isinstance(model, TableModel):
        return model.predict(data)
    if isinstance(model, Network):
        return model.predict(np.asarray(data))
    return model.predict(data if hasattr(model, "feature_names_in_") else np.asarray(data))


def _kind(model: Any) -> str:
    """Return what a model is; raise TypeError or ValueError for one that cannot be saved."""
    if isinstance(model, Network | TableModel):
        network = model if isinstance(model, Network) else model.network
        network.check_parameters()
        used = {layer.activation.name for layer in network.weighted_layers} - set(ACTIVATIONS)
        used |= {network.loss.name} - set(LOSSES)
        if used:
            raise ValueError(
                f"the network uses {listed(sorted(used))}, which a server does not know; expected "
                "activations and losses of chainrule alone. Log a custom one as a python_model of "
                "mlflow.pyfunc"
            )
        return "network" if isinstance(model, Network) else "table"
    if hasattr(model, "get_params") and hasattr(model, "predict"):
        from sklearn.utils.validation import check_is_fitted

        from chainrule.sklearn.persistence import dumped

        check_is_fitted(model)
        dumped(model)
        return "estimator"
    raise TypeError(
        f"model is a {type(model).__name__}; expected a Network, the model of a table, or a fitted "
        "estimator"
    )


def _signature(mlflow: ModuleType, model: Any, kind: str, example: Any) -> Any:
    """Return the signature of a model: what its inputs are, and what it returns."""
    infer = mlflow.models.infer_signature
    if kind == "table":
        row = typical(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = infer(model_output=_predictions(model, row))
        return mlflow.models.ModelSignature(_columns(model), outputs.outputs)
    if example is None:
        units = model.sizes[0] if kind == "network" else model.n_features_in_
        example = np.zeros((1, units), getattr(model, "dtype", np.float64))
        if hasattr(model, "feature_names_in_"):
            import pandas as pd

            example = pd.DataFrame(example, columns=model.feature_names_in_)
    elif isinstance(example, list):
        example = np.asarray(example)
    return infer(example, _predictions(model, example))


def _columns(model: TableModel) -> Any:
    """Return the columns of a model of a table as MLflow's schema."""
    from mlflow.types import ColSpec, Schema

    def kind(column: Any) -> str:
        if column.kind == "category" or column.form:
            return "string"
        return "datetime" if column.kind == "date" else "double"

    return Schema([
        ColSpec(kind(column), column.name, required=not column.missing)
        for column in model.schema.columns
    ])  # fmt: skip

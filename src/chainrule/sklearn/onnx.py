"""Estimators in skl2onnx, alone and in pipelines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.base import is_classifier

from chainrule.foreign.onnx import write
from chainrule.foreign.onnx.graph import Graph, Value
from chainrule.sklearn.classifier import MLPClassifier
from chainrule.sklearn.regressor import MLPRegressor

_OPTIONS = {
    "zipmap": [True, False, "columns"], "output_class_labels": [False, True],
    "nocl": [True, False],
}  # fmt: skip


def register_skl2onnx() -> None:
    """Tell skl2onnx how to convert `MLPClassifier` and `MLPRegressor` of chainrule.

    After it, ``skl2onnx.to_onnx`` takes them, also within pipelines, with every activation. What
    skl2onnx makes of labels and probabilities is as for scikit-learn's own classes.

    Raises:
        ImportError: skl2onnx is not installed.

    Examples:
        >>> from chainrule.sklearn import register_skl2onnx
        >>> register_skl2onnx()  # doctest: +SKIP
        >>> skl2onnx.to_onnx(pipeline, X[:1])  # doctest: +SKIP
    """
    try:
        from skl2onnx import update_registered_converter
        from skl2onnx.common._registration import get_shape_calculator
    except ImportError as error:
        raise ImportError(
            "register_skl2onnx needs skl2onnx, which is not installed: pip install skl2onnx"
        ) from error
    for kind, options in ((MLPClassifier, _OPTIONS), (MLPRegressor, None)):
        shapes = get_shape_calculator(f"Sklearn{kind.__name__}")
        update_registered_converter(
            kind, f"Chainrule{kind.__name__}", shapes, _convert, options=options
        )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the network, then what skl2onnx makes of the outputs of scikit-learn's class."""
    from onnx import TensorProto, helper, numpy_helper
    from skl2onnx.common._registration import get_converter
    from skl2onnx.common.data_types import guess_proto_type

    estimator, given = operator.raw_operator, operator.inputs[0]
    double = guess_proto_type(given.type) == TensorProto.DOUBLE
    graph = Graph("float64" if double else "float32")
    x = graph.node("Cast", Value(graph, given.full_name), to_=graph.kind)
    outputs = write.layers(graph, estimator.network_, x).name
    prefix = scope.get_unique_variable_name("network")

    def name(of: str) -> str:
        return of if of == given.full_name else prefix + of

    for constant in graph.constants:
        array = numpy_helper.to_array(constant)
        container.add_initializer(
            name(constant.name), constant.data_type, array.shape, array.ravel()
        )
    for node in graph.nodes:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        container.add_node(
            node.op_type, [name(i) for i in node.input], [name(o) for o in node.output],
            name=prefix + node.name, **attributes,
        )  # fmt: skip
    classifies = is_classifier(estimator)
    kind = neural_network.MLPClassifier if classifies else neural_network.MLPRegressor
    rest = _of_outputs(estimator, kind())
    passed = SimpleNamespace(full_name=name(outputs), type=given.type)
    get_converter(f"Sklearn{kind.__name__}")(
        scope,
        SimpleNamespace(
            raw_operator=rest,
            inputs=[passed],
            outputs=operator.outputs,
            output_full_names=operator.output_full_names,
        ),
        container,
    )


def _of_outputs(estimator: Any, made: Any) -> Any:
    """Return a fitted MLP of scikit-learn that passes the outputs of a network on."""
    units = estimator.n_outputs_
    made.coefs_, made.intercepts_ = [np.eye(units)], [np.zeros(units)]
    made.n_layers_, made.n_outputs_, made.n_features_in_ = 2, units, units
    made.activation = made.out_activation_ = "identity"
    for name in ("classes_", "_label_binarizer"):
        if hasattr(estimator, name):
            setattr(made, name, getattr(estimator, name))
    return made

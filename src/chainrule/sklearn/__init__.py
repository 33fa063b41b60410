"""scikit-learn's `MLPClassifier` and `MLPRegressor`, trained by chainrule's engines.

>>> from chainrule.sklearn import MLPClassifier
>>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes", "no"]
>>> xor = MLPClassifier(8, "tanh", solver="lbfgs", random_state=1).fit(X, y)
>>> xor.predict(X).tolist()
['no', 'yes', 'yes', 'no']
>>> xor.network_
Network(2-8-1: tanh, sigmoid; binary_cross_entropy; 33 parameters, float64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.sklearn.explaining import explain_sklearn

if TYPE_CHECKING:
    from chainrule.sklearn.classifier import MLPClassifier
    from chainrule.sklearn.onnx import register_skl2onnx
    from chainrule.sklearn.persistence import trusted_types
    from chainrule.sklearn.regressor import MLPRegressor
    from chainrule.sklearn.tabular import TabularClassifier, TabularRegressor
    from chainrule.sklearn.together import side_by_side

__all__ = [
    "MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "explain_sklearn",
    "register_skl2onnx", "side_by_side", "trusted_types",
]  # fmt: skip


# The estimators load scikit-learn; `chainrule.explain_sklearn` is found without it (PEP 562).
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from chainrule.sklearn import classifier, onnx, persistence, regressor, tabular, together
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"sklearn", "scipy"}:  # they come together
            raise
        raise ModuleNotFoundError(
            f"{name} needs scikit-learn 1.7 or newer: pip install 'chainrule[sklearn]'",
            name="sklearn",
        ) from error
    modules = {
        "MLPClassifier": classifier, "MLPRegressor": regressor, "TabularClassifier": tabular,
        "TabularRegressor": tabular, "register_skl2onnx": onnx, "side_by_side": together,
    }  # fmt: skip
    module = modules.get(name, persistence)
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Network: the public face: a `FeedForward` that trains, explains and proves itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule import _forks as forks
from chainrule import training, verify
from chainrule._exports import exported
from chainrule.diagnose import curvature
from chainrule.engines import Shortcut, check_name, choose, predict
from chainrule.equations.feedforward import FeedForward
from chainrule.explain import explanation
from chainrule.explain.flow import flow
from chainrule.explain.worked_example import worked_example
from chainrule.foreign.leaving import to_keras, to_sklearn
from chainrule.storage import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.explain.findings import Diagnosis
    from chainrule.explorer import Explorer

Array = NDArray[Any]


@exported("chainrule")
class Network(FeedForward):
    """Train, explain, prove and save a feed-forward network of fully connected layers.

    Args:
        sizes: The number of units in each layer, from layer 0 (the input) to layer L (the output).
        hidden: The activation of the hidden layers, or a list with one for each: a name or an
            `Activation`.
        output: The activation of the output layer, a name or an `Activation`.
        loss: A name or a `Loss`. "cross_entropy" needs the output "softmax", "binary_cross_entropy"
            the output "sigmoid", and "poisson" an output that stays above 0.
        biases: Whether the layers have biases.
        dtype: The dtype of the parameters and of training, "float32" or "float64". Gradients and
            explanations are always computed in float64.
        seed: The seed of the initial weights, the order of samples and dropout. None draws one,
            which is then `net.seed`.
        init: The rule for the initial weights, or a list with one for each layer 1 to L: "auto",
            "zeros", or "glorot", "he" or "lecun" with "_uniform" or "_normal".
        W: The weights, one array (units_l, units_{l-1}) for each layer 1 to L, instead of ``init``.
        b: The biases, one array (units_l,) for each layer 1 to L. By default they are 0.
        dropout: The rate of the hidden layers, from 0 to below 1, or a list with one for each.
        l2: λ in the penalty ½ λ Σ w², which is part of the loss. Biases are not penalised.
        engine: Who computes an epoch: "auto" takes the fastest that can do what is asked, "native"
            is the compiled core, "wasm" the same in a live page, "reference" is NumPy.
        threads: How many threads the native engine may use. None takes what CHAINRULE_NUM_THREADS
            says, else one for each core that the process may use.

    Attributes:
        layers: The layers 0 to L, each a `Layer`. ``layers[2].W[1, 2]`` is w_12^(2).
        parameters: All weights and biases as one vector, of which ``W`` and ``b`` are views.
        sizes: The number of units in each layer.
        loss: The `Loss`.
        seed: The seed.
        l2: λ of the penalty.

    Raises:
        TypeError: An argument has the wrong type, such as a size that is not an integer.
        ValueError: An argument has an impossible value, or two do not fit together: a name that is
            unknown, arrays of the wrong shape, a loss that needs another output.

    Examples:
        >>> import chainrule as cr
        >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
        >>> net = cr.Network([2, 4, 1], hidden="tanh", output="tanh", seed=0)
        >>> net
        Network(2-4-1: tanh, tanh; half_squared_error; 17 parameters, float64)
        >>> net.layers[2].W.shape
        (1, 4)
        >>> net.layers[2].W[0, 1] = 0.5
        >>> history = net.fit(X, y, optimizer=cr.Adam(0.05), epochs=200)
        >>> net.predict_classes(X).tolist()
        [0, 1, 1, 0]
    """

    # What the face can do stands in the rooms; each function takes the network first.
    fit = training.fit
    explain = explanation.explain
    worked_example = worked_example
    flow = flow
    check_gradient = verify.check_gradient
    hessian_vector_product = curvature.hessian_vector_product
    ggn_diagonal = curvature.ggn_diagonal
    save = models.save
    to_keras = to_keras
    to_sklearn = to_sklearn

    _shortcut: Shortcut | None = None  # a faster predict, once there has been one

    @staticmethod
    def _check_engine(engine: str) -> str:
        return check_name(engine)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: all but what only this object can use."""
        return {**super().__getstate__(), "_shortcut": None}

    def _forked(self) -> None:
        """Release, in a forked child, what another thread of the parent may have been using."""
        self._shortcut = None

    @property
    def engine(self) -> str:
        """Return the name of the engine that computes an epoch of this network."""
        return choose(self.requested_engine, self).name

    def predict(self, X: ArrayLike) -> Array:
        """Return the outputs of the network.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Returns:
            The activations a^(L) of the output layer, (n, units_L), in the network's dtype;
            (units_L,) for one sample. Dropout is off.

        Warns:
            RuntimeWarning: A number overflows; the warning names sample and layer.

        Raises:
            TypeError: X does not hold numbers.
            ValueError: X has the wrong shape, or X or a parameter is NaN or infinite.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], b=[[1.0]])
            >>> net.predict([[1, 1], [0, 1]]).tolist()
            [[6.0], [4.0]]
            >>> net.predict([1, 1]).tolist()
            [6.0]
        """
        if self._shortcut is not None:
            quick = self._shortcut(X, self._parameters)
            if quick is not None:
                return quick
        outputs = predict(self, X)
        self._shortcut = choose(self.requested_engine, self).shortcut(self)
        forks.register(self)
        return outputs

    def predict_classes(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the class of each sample.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Returns:
            The index of the largest output, (n,). A network with a single output predicts class 1
            where it is ½ or more; after targets of −1 and 1, compare `Network.predict` with 0
            instead.

        Raises:
            TypeError: X does not hold numbers.
            ValueError: X has the wrong shape, or X or a parameter is NaN or infinite.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([1, 1], output="sigmoid", W=[[[1.0]]])
            >>> net.predict_classes([[-2.0], [3.0]]).tolist()
            [0, 1]
        """
        outputs = self.predict(X)
        if self.sizes[-1] == 1:
            return np.asarray(outputs[..., 0] >= 0.5, dtype=np.int64)
        return np.asarray(np.argmax(outputs, axis=-1), dtype=np.int64)

    def diagnose(
        self, X: ArrayLike, y: ArrayLike, *, rows: Sequence[Any] | None = None
    ) -> Diagnosis:
        """Return what keeps the network from learning, or is wrong with the samples.

        Everything is computed in float64, without dropout.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).
            y: The targets, as for `Network.fit`.
            rows: The row number of each sample, for findings that name samples. None counts from 0.

        Returns:
            The findings. The report is true if there is no error and no warning.

        Raises:
            TypeError: X or y does not hold numbers.
            ValueError: Shapes do not fit, X or y is NaN or infinite, or a target is impossible for
                the loss.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 3, 1], init="zeros", seed=0)
            >>> report = net.diagnose([[0.5, -1.0], [1.0, 0.3]], [1.0, 0.0])
            >>> report.ok, report["identical-units"][0].units
            (False, (0, 1, 2))
        """
        from chainrule.explain.findings import diagnose

        return diagnose(self, X, y, rows)

    def explore(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
    ) -> Explorer:
        """Open the network in the explorer: a notebook shows it, and `Explorer.save` writes a file.

        The network is copied, so what happens on the page does not change it.

        Args:
            X: The inputs, (n, units_0). Without X and y, a few random samples are made.
            y: The targets, as for `Network.fit`.
            validation_data: (X, y), whose loss the page draws as well.

        Returns:
            The explorer.

        Raises:
            ImportError: The packages of ``chainrule[explorer]`` are not installed.
            TypeError: The data do not hold numbers.
            ValueError: The data do not fit the network, or only one of X and y was given.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=2)
            >>> net.explore([[0, 1], [1, 1]], [1, 0])
            Explorer(Network(2-3-1: tanh, identity; half_squared_error; 13 parameters, float64))
        """
        from chainrule.explorer import Explorer

        return Explorer(self, X, y, validation_data=validation_data)

    def to_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        dtype: str | None = None,
        arithmetic: str | None = None,
        quantize: str | None = None,
        main: bool = False,
    ) -> Network:
        """Write the network as C99 that depends on nothing: a file, and a header beside it.

        The file has the parameters as constants and the functions ``NAME_predict`` and
        ``NAME_predict_class``. They allocate nothing and may be called from several threads. A
        custom activation is translated from its formula, and may then need the C library's
        mathematics.

        Args:
            path: The file, whose name ends in .c. The header has the same name with .h. Both are
                replaced if chainrule wrote them.
            name: What the names in the file begin with. None takes that of the file.
            dtype: The type of parameters, inputs and outputs, "float32" (float) or "float64"
                (double). None takes that of the network.
            arithmetic: The type in which sums and activations are computed; None takes ``dtype``.
                With "float64" after float32, outputs are those of float64, rounded once.
            quantize: "int8" stores each weight in one byte, with one scale for each unit; biases
                and arithmetic stay. None keeps the weights.
            main: Whether the file has a ``main``, which reads CSV and prints the outputs.

        Returns:
            A copy of the network with the parameters of the file, so that what rounding them costs
            can be measured, by `Network.loss_value` for example.

        Raises:
            OSError: A file cannot be written.
            TypeError: ``name`` or a type is not a text.
            ValueError: ``path`` does not end in .c, ``name`` is not an identifier of C, a file
                exists that chainrule did not write, a parameter is not finite or too large for
                ``dtype``, or a custom activation does not compute its formula. Nothing is written
                then.

        Examples:
            >>> import os, tempfile
            >>> import chainrule as cr
            >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
            >>> path = os.path.join(tempfile.mkdtemp(), "model.c")
            >>> rounded = net.to_c(path, dtype="float32")
            >>> sorted(os.listdir(os.path.dirname(path)))
            ['model.c', 'model.h']
            >>> float(abs(rounded.parameters - net.parameters).max()) < 1e-7
            True
        """
        from chainrule.foreign.c.export import to_c

        return to_c(
            self, path, name=name, dtype=dtype, arithmetic=arithmetic, quantize=quantize, main=main
        )

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as a model of ONNX, which onnxruntime and others run.

        The input is named "X", (n, units_0), in the dtype of the network. After the losses
        "cross_entropy" and "binary_cross_entropy" the outputs are "label", (n,), the class that
        `Network.predict_classes` returns, and "probabilities", (n, units_L); else there is one
        output, "variable", (n, units_L). A custom activation is translated from its formula.

        Args:
            path: The file. One that exists is replaced.

        Raises:
            ImportError: The package onnx is not installed.
            OSError: The file cannot be written.
            ValueError: A parameter is not finite, or the model is larger than ONNX allows, 2 GB.

        Examples:
            >>> import os, tempfile
            >>> import chainrule as cr
            >>> path = os.path.join(tempfile.mkdtemp(), "net.onnx")
            >>> cr.Network([2, 3, 1], hidden="tanh", dtype="float32", seed=0).to_onnx(path)
            >>> cr.from_onnx(path)
            Network(2-3-1: tanh, identity; half_squared_error; 13 parameters, float32)
        """
        from chainrule.foreign.onnx.write import to_onnx

        to_onnx(self, path)

    def to_torch(self, *, logits: bool = False) -> Any:
        """Return the network as a Sequential of PyTorch, with copies of its parameters.

        Its outputs are those of `Network.predict` in eval mode. Dropout is taken along; the loss
        and the L2 penalty are not.

        Args:
            logits: Leave out the activation of the output layer, as PyTorch's CrossEntropyLoss and
                BCEWithLogitsLoss apply it themselves.

        Returns:
            A `torch.nn.Sequential` in the network's dtype.

        Raises:
            ImportError: PyTorch is not installed.
            ValueError: An activation is a custom one.

        Examples:
            >>> import torch, chainrule as cr  # doctest: +SKIP
            >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)  # doctest: +SKIP
            >>> model = net.to_torch()  # doctest: +SKIP
            >>> model  # doctest: +SKIP
            Sequential(
              (0): Linear(in_features=2, out_features=3, bias=True)
              (1): Tanh()
              (2): Linear(in_features=3, out_features=1, bias=True)
            )
            >>> x = torch.tensor([[0.5, -1.0]], dtype=torch.float64)  # doctest: +SKIP
            >>> bool(abs(model(x).item() - net.predict(x)[0, 0]) < 1e-12)  # doctest: +SKIP
            True
        """
        from chainrule.foreign.torch.explaining import needed

        needed("to_torch")
        from chainrule.foreign.torch.converting import module

        return module(self, logits)

"""FeedForward: a network as the equations see it: layers, loss and parameters, and its gradient."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.equations import activations, backprop, data, initializers, losses, settings
from chainrule.equations.activations import Activation
from chainrule.equations.arrays import all_finite, contiguous, is_mapped
from chainrule.equations.backprop import Forward, Gradient
from chainrule.equations.checks import integer, not_negative, whole
from chainrule.equations.losses import Loss
from chainrule.equations.overflow import Overflow
from chainrule.equations.parameters import Layer, Layers, assign, count_parameters, views
from chainrule.random import dropout_mask

Array = NDArray[Any]
DTypeName = Literal["float32", "float64"]
_MOST_THREADS = 1024


class FeedForward:
    """A feed-forward network of fully connected layers.

    ``sizes`` are the units of layers 0 (the input) to L. ``hidden`` is the activation of the hidden
    layers, or a list with one for each; ``output`` that of the last; both may be names or
    `Activation` objects. ``loss`` is a name or a `Loss`.

    ``init`` names the initializer (or one for each layer l = 1..L); ``W`` and ``b`` give the arrays
    instead, one for each layer. ``dropout`` is the rate of the hidden layers, or one for each;
    ``l2`` is λ in the penalty ½ λ Σ w², which is part of the loss. ``dtype`` is that of the
    parameters and of training; gradients and explanations are always computed in float64.
    ``engine`` chooses who computes an epoch: "auto", or an engine's name; ``threads`` is how many
    the native one may use: None for what CHAINRULE_NUM_THREADS says, or as many as there are cores.

    Raises ValueError or TypeError for arguments that do not fit together.

    >>> net = FeedForward([2, 2, 1], hidden="tanh", output="tanh", seed=0)
    >>> net.layers[2].W.shape
    (1, 2)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        hidden: str | Activation | Sequence[str | Activation] = "relu",
        output: str | Activation = "identity",
        loss: str | Loss = "half_squared_error",
        biases: bool = True,
        dtype: DTypeName = "float64",
        seed: int | None = None,
        init: str | Sequence[str] = "auto",
        W: Sequence[ArrayLike] | None = None,
        b: Sequence[ArrayLike] | None = None,
        dropout: float | Sequence[float] = 0.0,
        l2: float = 0.0,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        self._sizes = settings.check_sizes(sizes)
        L = len(self.sizes) - 1
        functions = [activations.get(g) for g in settings.per_layer(hidden, L - 1, "hidden")]
        if any(isinstance(g, activations.Softmax) for g in functions):
            raise ValueError("softmax is for the output layer, not for hidden ones")
        functions.append(activations.get(output))
        self.loss: Loss = losses.get(loss)
        settings.check_loss_after(self.loss, functions[-1])
        rates = [settings.check_rate(p) for p in settings.per_layer(dropout, L - 1, "dropout")]
        names = [initializers.check(name) for name in settings.per_layer(init, L, "init")]
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        not_negative(l2, "l2")
        self.l2 = float(l2)
        self._biases = bool(biases)
        self.seed_given = seed is not None
        self.seed = secrets.randbits(63) if seed is None else settings.check_seed(seed)
        self.requested_engine = self._check_engine(engine)
        self.threads = threads

        self._parameters: Array = np.zeros(count_parameters(self.sizes, self.biases), dtype=dtype)
        of_layers = [(None, 0.0), *zip(functions, [*rates, 0.0], strict=True)]
        self._layers = Layers.of(self._parameters, self.sizes, self.biases, of_layers)
        self._initialize(names, W, b)

    @property
    def parameters(self) -> Array:
        """All weights and biases as one vector, in the order of the layers, W before b.

        Every ``layers[l].W`` and ``.b`` is a view of it. An assignment copies the numbers into it;
        ValueError or TypeError for another length, NaN, infinity, or what is not numeric.
        """
        return self._parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        assign(self._parameters, values, "parameters")

    @property
    def threads(self) -> int | None:
        """How many threads the native engine may use; None: as many as it finds fit."""
        return self._threads

    @threads.setter
    def threads(self, threads: int | None) -> None:
        if threads is not None and whole(threads, "threads") > _MOST_THREADS:
            raise ValueError(f"threads must be from 1 to {_MOST_THREADS:,}, got {threads:,}")
        self._threads = None if threads is None else int(threads)

    @property
    def layers(self) -> Sequence[Layer]:
        """Layers 0 (the input) to L."""
        return self._layers

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units of layers 0 to L."""
        return self._sizes

    @property
    def biases(self) -> bool:
        """Whether layers 1 to L have biases."""
        return self._biases

    @staticmethod
    def _check_engine(engine: str) -> str:
        """Take any name; `Network` knows the engines."""
        return engine

    @property
    def weighted_layers(self) -> Sequence[Layer]:
        """Return layers 1 to L: those with weights."""
        return self.layers[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of the parameters and of training."""
        return self.parameters.dtype

    def views_of(self, flat: Array) -> list[tuple[Array, Array | None]]:
        """Cut a flat vector into the (W, b) of layers 1 to L, as views.

        Args:
            flat: A vector in the order of `Network.parameters`.

        Returns:
            For each layer W, (units_l, units_{l-1}), and b, (units_l,) or None without biases.
        """
        return views(flat, self.sizes, self.biases)

    def _initialize(
        self, names: list[str], W: Sequence[ArrayLike] | None, b: Sequence[ArrayLike] | None
    ) -> None:
        L = len(self.sizes) - 1
        for name, arrays in (("W", W), ("b", b)):
            if arrays is not None and len(arrays) != L:
                raise ValueError(
                    f"{name} has {len(arrays)} arrays; the network has {L} layers with weights"
                )
        if b is not None and not self.biases:
            raise ValueError("b was given, but biases=False")
        rng = np.random.default_rng(self.seed)
        for i, layer in enumerate(self.weighted_layers):
            if W is not None:
                assign(layer.W, W[i], f"W[{i}]")
            else:
                units, fan_in = layer.W.shape
                name = layer.activation.name
                layer.W[...] = initializers.weights(names[i], name, units, fan_in, rng)
            if b is not None and layer.b is not None:
                assign(layer.b, b[i], f"b[{i}]")

    def check_parameters(self) -> None:
        """Raise ValueError where a parameter that was set in place is NaN or infinite."""
        if all_finite(self._parameters):
            return
        for l, layer in enumerate(self.layers[1:], start=1):
            for name, array in (("W", layer.W), ("b", layer.b)):
                if array is not None and not np.isfinite(array).all():
                    place = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
                    index = ", ".join(str(int(i)) for i in place)
                    raise ValueError(
                        f"layers[{l}].{name}[{index}] is {array[place]}; it must be finite"
                    )

    def forward(self, X: ArrayLike) -> Forward:
        """Carry samples through the layers, in float64 and without dropout.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).

        Returns:
            Every pre-activation ``z[l]`` and activation ``a[l]``.

        Warns:
            RuntimeWarning: A number overflows; the warning names sample and layer.

        Raises:
            TypeError: X does not hold numbers.
            ValueError: X has the wrong shape, or X or a parameter is NaN or infinite.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], output="tanh", W=[[[2.0, 3.0]]], b=[[1.0]])
            >>> passed = net.forward([1, -1])
            >>> passed.z[1].tolist(), passed.a[1].tolist()
            ([[0.0]], [[0.0]])
        """
        self.check_parameters()
        X = contiguous(data.inputs(X, self.sizes[0]), np.float64)
        with Overflow() as found:
            passed = backprop.forward(self, X)
            found.look_at(passed)
        return passed

    def gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        dropout_step: int | None = None,
    ) -> Gradient:
        """Compute the gradient of the loss C with respect to every weight and bias, in float64.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).
            y: The targets, (n, units_L). Classes as integers and the targets of a single output may
                be (n,).
            sample_weight: The weight of each sample in the mean, (n,).
            dropout_step: Apply the dropout masks of this training step, counted from 0, to the
                samples as they stood in its batch. None leaves dropout out.

        Returns:
            The gradient, with the loss, the losses of the samples and δ of every layer.

        Warns:
            RuntimeWarning: A number overflows; the warning names sample and layer.

        Raises:
            TypeError: X, y or the weights do not hold numbers, or ``dropout_step`` is not an
                integer.
            ValueError: Shapes do not fit, a number is NaN or infinite, or a target is impossible
                for the loss.

        Source:
            Rumelhart, Hinton and Williams, 1986; the four equations are those of the page of that
            name.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], b=[[1.0]], loss="half_squared_error")
            >>> g = net.gradient([[1, 1]], [4])
            >>> g.loss, g.dW[1].tolist(), g.db[1].tolist()
            (2.0, [[2.0, 2.0]], [2.0])
        """
        self.check_parameters()
        samples = data.samples(X, y, self.sizes, self.loss, sample_weight)
        X, y, weights = samples.rows(slice(None), self.sizes[-1], np.float64)
        with Overflow() as found:
            passed = backprop.forward(self, X, self.masks(dropout_step))
            g = backprop.gradient(self, passed, y, weights)
            found.look_at(passed, g.sample_losses)
            found.look_at_gradient(g)
        return g

    def masks(self, step: int | None) -> Callable[[int, Array], Array | None] | None:
        """Return the dropout masks of a training step, as the equations take them.

        Args:
            step: The number of the step, from 0, or None for no dropout.

        Returns:
            A function of the layer l and its activations, (n, units_l), that returns the mask m of
            that shape, 0 or 1 / (1 − rate), or None where the layer has no dropout. None if no
            layer has.

        Raises:
            TypeError: ``step`` is not an integer.
            ValueError: ``step`` is below 0.
        """
        if step is None:
            return None
        step = integer(step, "dropout_step must be the number of a training step")
        if step < 0:
            raise ValueError(f"dropout_step must be 0 or more, got {step}")
        if not any(layer.dropout for layer in self.layers):
            return None

        def mask(l: int, a: Array) -> Array | None:
            rate = self.layers[l].dropout
            n, units = a.shape
            return dropout_mask(self.seed, step, l, n, units, rate, a.dtype) if rate else None

        return mask

    def loss_value(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the loss C, penalty included, in float64.

        Args:
            X: The inputs, (n, units_0), or one sample, (units_0,).
            y: The targets, as for `Network.gradient`.
            sample_weight: The weight of each sample in the mean, (n,).

        Returns:
            The weighted mean of the samples' losses plus ½ λ Σ w².

        Warns:
            RuntimeWarning: A number overflows; the warning names sample and layer.

        Raises:
            TypeError: X, y or the weights do not hold numbers.
            ValueError: Shapes do not fit, a number is NaN or infinite, or a target is impossible
                for the loss.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], W=[[[2.0, 3.0]]], loss="half_squared_error", l2=0.1)
            >>> net.loss_value([[1, 1], [0, 1]], [4, 3])
            0.9...
        """
        self.check_parameters()
        samples = data.samples(X, y, self.sizes, self.loss, sample_weight)
        total = 0.0
        with Overflow() as found:
            for rows in data.pieces(len(samples)):
                X_b, y_b, s = samples.rows(rows, self.sizes[-1], np.float64)
                passed = backprop.forward(self, X_b)
                C_i = backprop.sample_losses(self, passed.z[-1], passed.a[-1], y_b)
                found.look_at(passed, C_i, first=rows.start)
                total += float(C_i.sum() if s is None else s @ C_i)
            penalty = self.penalty()
            found.look_at_penalty(penalty)
        return total / samples.weight + penalty

    def penalty(self) -> float:
        """Compute ½ λ Σ w², the part of the loss that depends on the weights alone, in float64.

        It is infinite, without a warning, where it overflows.
        """
        if not self.l2:
            return 0.0
        with np.errstate(over="ignore"):
            squares = (np.square(layer.W, dtype=np.float64).sum() for layer in self.weighted_layers)
            return self.l2 / 2 * float(sum(squares))

    # --- copies: the parameters are one vector, whoever looks at them -----------------------------

    def copy(self) -> Self:
        """Return a network with the same settings and a copy of the parameters.

        Examples:
            >>> import chainrule as cr
            >>> net = cr.Network([2, 1], seed=0)
            >>> twin = net.copy()
            >>> twin.layers[1].W[0, 0] += 1
            >>> bool(twin.layers[1].W[0, 0] == net.layers[1].W[0, 0])
            False
        """
        twin = object.__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "_parameters": self._parameters.copy()})
        return twin

    def __copy__(self) -> Self:
        """Return another object with the same layers and parameters, which both then share."""
        twin = object.__new__(type(self))
        twin.__dict__.update({**self.__getstate__(), "_layers": self._layers})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: the parameters once, and no views of them."""
        return {**self.__dict__, "_layers": self._layers.functions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take that, and cut the parameters into views."""
        flat = state["_parameters"]
        if is_mapped(flat) or not flat.flags.writeable:  # joblib maps large arrays from a file
            flat = np.array(flat)
        layers = Layers.of(flat, state["_sizes"], state["_biases"], state["_layers"])
        self.__dict__.update(state, _parameters=flat, _layers=layers)

    def __repr__(self) -> str:
        shape = "-".join(map(str, self.sizes))
        functions = ", ".join(layer.activation.name for layer in self.weighted_layers[:3])
        if len(self.sizes) > 4:
            functions += f", ..., {self.layers[-1].activation.name}"
        return (
            f"{type(self).__name__}({shape}: {functions}; {self.loss.name}; "
            f"{self.parameters.size:,} parameters, {self.dtype})"
        )

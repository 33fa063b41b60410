"""The same training and prediction, done by each library the way its documentation shows.

Every peer gets the network's parameters and the same data, and gives two functions: ``epoch(order)``
trains for one epoch of shuffled batches and returns the mean loss; ``predict(X)`` returns outputs.
The loss is half the squared error, summed over outputs and averaged over samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr

Array = np.ndarray


@dataclass
class Case:
    """A network, its data and how it is trained."""

    sizes: list[int]
    hidden: str
    batch: int
    steps: int
    optimizer: str = "sgd"
    rate: float = 1e-3

    @property
    def output(self) -> str:
        return "tanh" if self.hidden == "tanh" else "identity"

    @property
    def flops(self) -> float:
        """Multiplications and additions of one step's matrix products."""
        weights = [p * q for p, q in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2.0 * self.batch * (3 * sum(weights) - weights[0])

    def data(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(0)
        n = self.batch * self.steps
        X = rng.normal(size=(n, self.sizes[0])).astype("float32")
        y = rng.uniform(-0.5, 0.5, size=(n, self.sizes[-1])).astype("float32")
        return X, y

    def network(self, engine: str = "auto") -> cr.Network:
        return cr.Network(
            self.sizes, hidden=self.hidden, output=self.output, dtype="float32", seed=0, engine=engine
        )


@dataclass
class Peer:
    """One library's way of doing a case."""

    epoch: Callable[[Array], float] | None
    predict: Callable[[Array], Array] | None


def chainrule(case: Case, X: Array, y: Array) -> Peer:
    from chainrule import engines
    from chainrule.data import Samples
    from chainrule.engines import Plan, State

    net = case.network()
    rule = cr.Adam(case.rate) if case.optimizer == "adam" else cr.GradientDescent(case.rate)
    plan, samples = Plan(rule, case.batch), Samples(X, y)
    state = State(slots=rule.start(net.parameters))
    rates = np.full(case.steps, case.rate)
    engine = engines.choose("auto", net, plan)

    def epoch(order: Array) -> float:
        return engine.run_epoch(
            net, samples, plan, state, order, rates, None, lambda steps, loss: False
        ).loss

    return Peer(epoch, net.predict)


def numpy(case: Case, X: Array, y: Array) -> Peer:
    net = case.network()
    W = [layer.W.copy() for layer in net.weighted_layers]
    b = [layer.b.copy() for layer in net.weighted_layers]
    theta = [*W, *b]
    m, v = [np.zeros_like(p) for p in theta], [np.zeros_like(p) for p in theta]
    L, count = len(W), 0

    def g(z: Array, l: int) -> Array:
        if l == L - 1 and case.output == "identity":
            return z
        return np.tanh(z) if case.hidden == "tanh" else np.maximum(z, 0)

    def slope(a: Array, l: int) -> Array | float:
        if l == L - 1 and case.output == "identity":
            return 1.0
        return 1 - a * a if case.hidden == "tanh" else (a > 0).astype("float32")

    def forward(x: Array) -> list[Array]:
        a = [x]
        for l in range(L):
            a.append(g(a[-1] @ W[l].T + b[l], l))
        return a

    def epoch(order: Array) -> float:
        nonlocal count
        total = 0.0
        for s in range(case.steps):
            rows = order[s * case.batch : (s + 1) * case.batch]
            a, target = forward(X[rows]), y[rows]
            error = a[-1] - target
            total += float(np.vdot(error, error)) / 2 / case.batch
            delta = error * slope(a[-1], L - 1) / case.batch
            dW, db = [W[0]] * L, [b[0]] * L
            for l in range(L - 1, -1, -1):
                dW[l], db[l] = delta.T @ a[l], delta.sum(0)
                if l:
                    delta = (delta @ W[l]) * slope(a[l], l - 1)
            count += 1
            for p, d, m_p, v_p in zip(theta, [*dW, *db], m, v, strict=True):
                if case.optimizer == "adam":
                    m_p *= 0.9
                    m_p += 0.1 * d
                    v_p *= 0.999
                    v_p += 0.001 * d * d
                    root = np.sqrt(v_p / (1 - 0.999**count))
                    p -= case.rate / (1 - 0.9**count) * m_p / (root + 1e-8)
                else:
                    p -= case.rate * d
        return total / case.steps

    return Peer(epoch, lambda rows: forward(rows)[-1])


def _torch_model(case: Case) -> Any:
    import torch

    net, layers = case.network(), []
    for l, layer in enumerate(net.weighted_layers, start=1):
        linear = torch.nn.Linear(layer.W.shape[1], layer.units)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.W.copy()))
            linear.bias.copy_(torch.from_numpy(layer.b.copy()))
        layers.append(linear)
        if l < len(case.sizes) - 1 or case.output != "identity":
            layers.append(torch.nn.Tanh() if case.hidden == "tanh" else torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def torch(case: Case, X: Array, y: Array, compiled: bool = False) -> Peer:
    import torch

    model = _torch_model(case)
    if case.optimizer == "adam":
        optimizer: Any = torch.optim.Adam(model.parameters(), lr=case.rate, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=case.rate)
    X_t, y_t = torch.from_numpy(X), torch.from_numpy(y)

    def loss_of(x: Any, target: Any) -> Any:
        return (model(x) - target).square().sum() / (2 * len(x))

    if compiled:
        loss_of = torch.compile(loss_of)

    def epoch(order: Array) -> float:
        total, rows = 0.0, torch.from_numpy(order)
        for s in range(case.steps):
            index = rows[s * case.batch : (s + 1) * case.batch]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(X_t[index], y_t[index])
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / case.steps

    def predict(rows: Array) -> Array:
        with torch.inference_mode():
            return model(torch.from_numpy(rows)).numpy()

    return Peer(epoch, predict)


def torch_compiled(case: Case, X: Array, y: Array) -> Peer:
    peer = torch(case, X, y, compiled=True)
    return Peer(peer.epoch, None)


def jax(case: Case, X: Array, y: Array) -> Peer:
    import jax
    import jax.numpy as jnp

    net = case.network()
    theta = [(jnp.array(layer.W.T), jnp.array(layer.b)) for layer in net.weighted_layers]
    g = jnp.tanh if case.hidden == "tanh" else jax.nn.relu
    X_j, y_j = jnp.array(X), jnp.array(y)

    def forward(theta: Any, x: Any) -> Any:
        for l, (W, b) in enumerate(theta, start=1):
            x = x @ W + b
            if l < len(theta) or case.output != "identity":
                x = g(x)
        return x

    def loss_of(theta: Any, x: Any, target: Any) -> Any:
        return jnp.square(forward(theta, x) - target).sum() / (2 * case.batch)

    def step(carry: Any, rows: Any) -> Any:
        theta, m, v, t = carry
        loss, d = jax.value_and_grad(loss_of)(theta, X_j[rows], y_j[rows])
        each = jax.tree_util.tree_map
        if case.optimizer == "adam":
            t = t + 1
            m = each(lambda m, d: 0.9 * m + 0.1 * d, m, d)
            v = each(lambda v, d: 0.999 * v + 0.001 * d * d, v, d)
            a, r = case.rate / (1 - 0.9**t), 1 - 0.999**t
            theta = each(lambda p, m, v: p - a * m / (jnp.sqrt(v / r) + 1e-8), theta, m, v)
        else:
            theta = each(lambda p, d: p - case.rate * d, theta, d)
        return (theta, m, v, t), loss

    @jax.jit
    def run(carry: Any, order: Any) -> Any:
        carry, losses = jax.lax.scan(step, carry, order)
        return carry, losses.mean()

    zeros = jax.tree_util.tree_map(jnp.zeros_like, theta)
    carry = (theta, zeros, zeros, jnp.float32(0))

    def epoch(order: Array) -> float:
        nonlocal carry
        carry, loss = run(carry, jnp.array(order.reshape(case.steps, case.batch).astype("int32")))
        return float(loss)

    jitted = jax.jit(forward)
    return Peer(epoch, lambda rows: np.asarray(jitted(carry[0], rows)))


def sklearn(case: Case, X: Array, y: Array) -> Peer:
    from sklearn.neural_network import MLPRegressor

    if case.output != "identity":
        hidden = "tanh"  # it has no output activation: a step costs it a little less
    else:
        hidden = case.hidden
    model = MLPRegressor(
        case.sizes[1:-1], activation=hidden, solver=case.optimizer, alpha=0.0, batch_size=case.batch,
        learning_rate_init=case.rate, momentum=0.0, nesterovs_momentum=False, max_iter=1, shuffle=False,
        tol=0.0,
    )  # fmt: skip

    def epoch(order: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(X[order], y[order] if y.shape[1] > 1 else y[order, 0])
        return float("nan")  # starts from weights of its own

    def predict(rows: Array) -> Array:
        return model.predict(rows)

    epoch(np.arange(len(X)))
    return Peer(epoch, predict)


def onnxruntime(case: Case, X: Array, y: Array) -> Peer:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    net, nodes, constants, name = case.network(), [], [], "x"
    for l, layer in enumerate(net.weighted_layers, start=1):
        constants += [numpy_helper.from_array(layer.W.copy(), f"W{l}"), numpy_helper.from_array(layer.b.copy(), f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{l}", f"b{l}"], [f"z{l}"], transB=1))
        name = f"z{l}"
        if l < len(case.sizes) - 1 or case.output != "identity":
            nodes.append(helper.make_node("Tanh" if case.hidden == "tanh" else "Relu", [name], [f"a{l}"]))
            name = f"a{l}"
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, case.sizes[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, case.sizes[-1]])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Peer(None, lambda rows: session.run(None, {"x": rows})[0])


ALL: dict[str, Callable[[Case, Array, Array], Peer]] = {
    "chainrule": chainrule,
    "JAX": jax,
    "PyTorch": torch,
    "PyTorch compiled": torch_compiled,
    "NumPy": numpy,
    "scikit-learn": sklearn,
    "onnxruntime": onnxruntime,
}

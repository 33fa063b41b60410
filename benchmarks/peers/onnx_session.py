"""ONNX Runtime: the network as a graph of Gemm and activation, outputs bound to one array."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import Subject, Task, UnsupportedError, Ways, thread_words, threads

_OPERATORS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def model(task: Task) -> bytes:
    """Give the network as an ONNX model: x (rows, units_0) to y (rows, units_L)."""
    case = task.case
    if case.activation not in _OPERATORS or case.output != "identity":
        raise UnsupportedError(f"{case.name} is not measured with ONNX Runtime")
    nodes, constants, a = [], [], "x"
    L = len(task.problem.W)
    for l, (W, b) in enumerate(zip(task.problem.W, task.problem.b, strict=True), start=1):
        constants += [numpy_helper.from_array(W, f"W{l}"), numpy_helper.from_array(b, f"b{l}")]
        z = "y" if l == L else f"z{l}"
        nodes.append(helper.make_node("Gemm", [a, f"W{l}", f"b{l}"], [z], transB=1))
        if l < L:
            a = f"a{l}"
            nodes.append(helper.make_node(_OPERATORS[case.activation], [z], [a]))
    shape_x, shape_y = [task.rows, case.sizes[0]], [task.rows, case.sizes[-1]]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_y)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialized: bytes = made.SerializeToString()
    return serialized


class Predict(Subject):
    """A session with the settings for least latency."""

    def __init__(self, task: Task, count: int, bound: bool) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session: Any = ort.InferenceSession(
            model(task), options, providers=["CPUExecutionProvider"]
        )
        self.X, self.bound = task.problem.X[: task.rows].copy(), bound
        self.y = np.empty((task.rows, task.case.sizes[-1]), np.float32)
        self.binding = self.session.io_binding()
        self.keep = [ort.OrtValue.ortvalue_from_numpy(self.X)]
        self.binding.bind_ortvalue_input("x", self.keep[0])
        self.binding.bind_output("y", "cpu", 0, np.float32, list(self.y.shape), self.y.ctypes.data)

    def once(self) -> Any:
        if self.bound:
            return self.session.run_with_iobinding(self.binding)
        return self.session.run(None, {"x": self.X})[0]

    def proof(self) -> Any:
        result = self.once()
        return self.y.copy() if self.bound else result


def predictors(task: Task) -> Ways:
    return {
        f"{words}, {thread_words(count)}": partial(Predict, task, count, bound)
        for count in threads(task.forward_flops)
        for words, bound in (("bound", True), ("run", False))
    }

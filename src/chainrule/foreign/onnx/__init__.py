"""ONNX: networks as graphs, and graphs as networks."""

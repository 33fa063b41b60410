"""Keras 3: models of Dense layers as networks, and networks as models."""

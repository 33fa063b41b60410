"""Watching: a recorder around the training loop of a PyTorch model."""

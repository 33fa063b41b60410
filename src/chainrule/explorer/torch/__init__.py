"""The explorer of a PyTorch model: its modules with their gradients, and any number opened."""

"""PyTorch: explain any number of any model, and carry a plain network there and back.

PyTorch is imported when a function is called, not before.
"""

"""chainrule: train feed-forward networks by backpropagation and explain every gradient."""

from __future__ import annotations

__version__ = "0.1.0"

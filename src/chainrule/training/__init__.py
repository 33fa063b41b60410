"""Training: a run over epochs, and what watches, records and keeps it."""

from chainrule.training.errors import NonFiniteError
from chainrule.training.fit import fit

__all__ = ["NonFiniteError", "fit"]

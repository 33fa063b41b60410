"""Places: where tasks run beyond this process: on workers of Dask or Ray."""

from chainrule.places.opening import opened
from chainrule.places.place import Outcome, Place, processors

__all__ = ["Outcome", "Place", "opened", "processors"]

"""Places: where tasks run beyond this process: on workers of Dask or Ray."""

from chainrule.places.opening import opened
from chainrule.places.place import Outcome, Place

__all__ = ["Outcome", "Place", "opened"]

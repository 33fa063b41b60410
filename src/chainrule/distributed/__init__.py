"""Training one network on the workers of Dask or Ray, to the bits of one machine."""

from chainrule.distributed.files import Files
from chainrule.distributed.fit import fit

__all__ = ["Files", "fit"]

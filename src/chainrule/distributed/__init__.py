"""Training one network on the workers of Dask or Ray, to the bits of one machine."""

from chainrule.distributed.fit import fit

__all__ = ["fit"]

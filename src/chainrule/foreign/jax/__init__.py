"""JAX: the chain rule of any number of a function of JAX."""

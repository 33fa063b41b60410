"""C: a network as one file of C99 that depends on nothing."""

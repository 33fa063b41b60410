"""Storage: files that a kill leaves whole, and models in them."""

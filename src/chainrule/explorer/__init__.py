"""The explorer: an interactive page about one network, in a browser, a notebook or a file."""

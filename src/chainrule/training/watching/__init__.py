"""Watching: a recorder for the runs of our own networks."""

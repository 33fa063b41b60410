"""Diagnose: what keeps a network from learning."""

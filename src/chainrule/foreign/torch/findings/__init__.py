"""Findings about a PyTorch model: each rule reads one recorded run."""

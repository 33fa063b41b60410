"""Equations: networks, their forward and backward pass, losses and update rules: the ground."""

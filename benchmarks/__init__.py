"""Benchmarks: what is measured, beside its bar."""

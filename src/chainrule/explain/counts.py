"""Counts: words for how many samples or items are left out."""

from __future__ import annotations


def more_samples(count: int) -> str:
    """Return the words for samples that a table leaves out."""
    return "and 1 more sample" if count == 1 else f"and {count} more samples"


def the_others(count: int) -> str:
    """Return the words for the items that a sum leaves out."""
    return "the other one" if count == 1 else f"the other {count}"


def sum_of_others(count: int) -> str:
    """Return the words for the sum of the items that a list leaves out."""
    return the_others(count) if count == 1 else f"the sum of {the_others(count)}"

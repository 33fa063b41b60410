"""Worksheets: exercises for a class on paper, with keys that are proven."""

from chainrule.teach.worksheets.worksheet import Worksheet, worksheet

__all__ = ["Worksheet", "worksheet"]

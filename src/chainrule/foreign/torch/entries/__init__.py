"""Entries of the table of formulas, by kind of call."""

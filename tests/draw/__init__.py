"""Randomised tests: networks are drawn, and every number of theirs is held to an error bound.

`make draw` draws a thousand; `python -m tests.draw --help` has the options. docs/proof.md says what
is compared with what ("Drawn at random"), `bounds.py` how far apart two numbers may be, and why.
"""

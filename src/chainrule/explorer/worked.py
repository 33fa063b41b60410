"""Whole derivations for the page: a worked example passage by passage, and arrays as matrices."""

from __future__ import annotations

import math

from chainrule.equations.feedforward import FeedForward
from chainrule.explain.array_explanation import ArrayExplanation
from chainrule.explain.document import Passage
from chainrule.explain.picture import Picture
from chainrule.explain.scribe import Scribe
from chainrule.explain.sheet import Sheet
from chainrule.explain.worked import Worked
from chainrule.explorer.protocol.derivations import (
    ArrayView,
    DrawnView,
    MatrixView,
    PassageView,
    SectionView,
    WorkedView,
)
from chainrule.explorer.view import number
from chainrule.teach import lessons

# Below them an answer takes less than half a second and 5 MB; Python takes more of both.
_MOST_PARAMETERS = 100  # times steps, of a worked example
_MOST_PATHS = 64  # from the loss to layer 1


def check_size(network: FeedForward, steps: int) -> None:
    """Raise ValueError for a network that the page does not write out whole."""
    count, paths = network.parameters.size, math.prod(network.sizes[2:])
    in_python = "Take fewer steps, layers or units; net.worked_example in Python takes more."
    if count * steps > _MOST_PARAMETERS:
        times = f" in {steps} steps" if steps > 1 else ""
        raise ValueError(
            f"The network has {count} weights and biases{times}; the page writes out at most "
            f"{_MOST_PARAMETERS}. {in_python}"
        )
    if paths > _MOST_PATHS:
        raise ValueError(
            f"{paths} paths lead from the loss to layer 1; the page writes out at most "
            f"{_MOST_PATHS}. {in_python}"
        )


def worked(example: Worked, version: int, language: str) -> WorkedView:
    """Return a worked example, with the matrix form of each layer beside its passages."""
    sheet = example.sheet()
    scribe = _scribe(sheet)
    passages = example.passages()
    matrices = [p for p in passages if p.is_matrix]
    places = {_place(p): i for i, p in enumerate(matrices)}
    return {
        "kind": "worked",
        "version": version,
        "setting": sheet.setting,
        "losses": [number(loss) for loss in example.losses],
        "steps": len(example.steps),
        "freeze_biases": example.freeze_biases,
        "biases": example.network.biases,
        "drawn": _drawn(sheet),
        "passages": [
            _passage(p, scribe, places.get(_place(p), -1)) for p in passages if not p.is_matrix
        ],
        "matrices": [_matrix(p, scribe, example.network.biases) for p in matrices],
        "language": language,
        "words": lessons.words(language),
    }


def array(why: ArrayExplanation, version: int) -> ArrayView:
    """Return the derivation of the gradient of a whole array."""
    sheet = why.sheet(certified=False)
    scribe = _scribe(sheet)
    assert sheet.headline is not None
    sections: list[SectionView] = [
        {
            "title": section.title,
            "symbol": "",
            "equations": [scribe.view(e) for e in section.equations],
            "tags": [e.tag for e in section.equations],
            "contributions": None,
            "has_samples": False,
        }
        for section in sheet.sections
    ]
    return {
        "kind": "array",
        "version": version,
        "target": str(why.target),
        "words": sheet.setting,
        "headline": scribe.only_mathml(sheet.headline),
        "text": scribe.view(sheet.headline)["text"],
        "sections": sections,
    }


def _scribe(sheet: Sheet) -> Scribe:
    return Scribe(sheet.notation, sheet.sizes, sheet.n_samples, sheet.first_sample)


def _place(passage: Passage) -> tuple[int, str, int]:
    return passage.step, passage.phase, passage.layer


def _drawn(sheet: Sheet) -> DrawnView:
    if isinstance(sheet.picture, Picture):
        return {"title": "", "words": sheet.picture.words, "svg": sheet.picture.svg()}
    return {"title": "", "words": sheet.picture or "", "svg": ""}


def _passage(passage: Passage, scribe: Scribe, matrix: int) -> PassageView:
    return {
        "title": passage.title,
        "symbol": "" if passage.symbol is None else scribe.mathml(passage.symbol),
        "name": "" if passage.symbol is None else scribe.text(passage.symbol),
        "target": passage.target,
        "phase": passage.phase,
        "layer": passage.layer,
        "step": passage.step,
        "light": list(passage.light),
        "equations": [scribe.view(e) for e in passage.equations],
        "tags": [e.tag for e in passage.equations],
        "matrix": matrix,
    }


def _matrix(passage: Passage, scribe: Scribe, biases: bool) -> MatrixView:
    l = passage.layer
    return {
        "layer": l,
        "equations": [scribe.view(e) for e in passage.equations],
        "arrays": [f"W[{l}]", *([f"b[{l}]"] if biases else [])],
    }

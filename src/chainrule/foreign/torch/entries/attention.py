"""The entry of scaled dot-product attention."""

from __future__ import annotations

import math

import torch

from chainrule.foreign.entries import ZERO, Found, Index
from chainrule.foreign.torch.entries.entry import Bound, Entry, number


def _weights(b: Bound, o: Index) -> tuple[torch.Tensor, float]:
    """Return the weights of one row, and the scale of the scores."""
    q, k = b.data("query").double(), b.data("key").double()
    *s, row, _ = o
    scale = b.option("scale", None)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    scores = scale * (k[tuple(s)] @ q[(*s, row)])
    mask = b.tensor("attn_mask")
    if mask is not None:
        whole = mask.expand(*q.shape[:-1], k.shape[-2])[(*s, row)]
        if mask.dtype == torch.bool:
            scores = scores.masked_fill(~whole, -math.inf)
        else:
            scores = scores + whole.double()
    if b.option("is_causal", False):
        scores = scores.masked_fill(torch.arange(len(scores)) > row, -math.inf)
    return torch.softmax(scores, 0), scale


def _attention(b: Bound, which: str, i: Index, o: Index) -> Found:
    if b.option("dropout_p", 0.0) or b.option("enable_gqa", False):
        return "", {}
    q, k, v = (b.data(name) for name in ("query", "key", "value"))
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
        return "", {}
    *s, row, column = o
    if i[:-2] != tuple(s):
        return ZERO
    weights, scale = _weights(b, o)
    values = v[tuple(s)].double()[:, column]
    if which == "value":
        return ("p", {"p": float(weights[i[-2]])}) if i[-1] == column else ZERO
    if which == "key":
        names = {"c": scale, "p": float(weights[i[-2]]), "q": number(q, (*s, row, i[-1])),
                 "v": float(values[i[-2]]), "a": number(b.out, o)}  # fmt: skip
        return "c * q * p * (v - a)", names
    if which != "query":
        return "", {}
    if i[-2] != row:
        return ZERO
    keys = k[tuple(s)].double()[:, i[-1]]
    names = {"c": scale, "u": float((weights * keys * values).sum()),
             "k": float((weights * keys).sum()), "a": float((weights * values).sum())}  # fmt: skip
    return "c * (u - k * a)", names


ENTRIES = (
    Entry(("scaled_dot_product_attention",),
          ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"),
          "out[s,j] = Σ_t p[s,t] v[t,j] with p = softmax(c Σ_k q[s,k] k[t,k])",
          "row s of the queries, all keys, and column j of the values", _attention),
)  # fmt: skip

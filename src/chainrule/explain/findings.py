"""The report of a diagnosis: its findings as text, HTML and data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule._exports import exported
from chainrule.diagnose import checkup
from chainrule.diagnose.finding import CODES, LISTED, Finding, by_weight, grouped, shown, times
from chainrule.equations import data
from chainrule.equations.feedforward import FeedForward
from chainrule.equations.numbers import plain
from chainrule.explain.words import setting_of

_HEADS = {"error": "Error", "warning": "Warning", "note": "Note"}
_PARTS = (("factor", "Chain rule"), ("advice", "What to do"))


@exported("chainrule")
class Diagnosis:
    """The findings about a model. It is true if nothing is wrong.

    Attributes:
        findings: The findings, errors first, then warnings, then notes. Where more than three
            places have the same fault they are one finding, with `Finding.parts`.
        setting: What was looked at, in words.
        loss: The loss of the samples.
        n_samples: The number of samples.

    Examples:
        >>> import chainrule as cr
        >>> net = cr.Network([2, 3, 1], hidden="tanh", seed=0)
        >>> report = net.diagnose([[0.5, -1.0], [1.0, 0.3]], [1.0, 0.0])
        >>> report.ok, report["dead-units"]
        (True, ())
    """

    def __init__(
        self, findings: Sequence[Finding], setting: str, loss: float, n_samples: int
    ) -> None:
        self.findings = by_weight(grouped(findings))
        self.setting, self.loss, self.n_samples = setting, loss, n_samples

    @property
    def ok(self) -> bool:
        """Return whether there is no error and no warning."""
        return all(finding.level == "note" for finding in self.findings)

    @property
    def codes(self) -> tuple[str, ...]:
        """Return the codes of the findings, each once, in their order."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    def __bool__(self) -> bool:
        return self.ok

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, code: str) -> tuple[Finding, ...]:
        if code not in CODES:
            raise KeyError(f"{code!r} is not a code; expected one of {', '.join(CODES)}")
        return tuple(finding for finding in self.findings if finding.code == code)

    def headline(self) -> str:
        """Return what was found, in one sentence."""
        counts = [
            times(n, level)
            for level in _HEADS
            if (n := sum(finding.level == level for finding in self.findings))
        ]
        return f"{', '.join(counts)} found." if counts else "Nothing is wrong."

    def text(self, width: int = 100) -> str:
        """Return the findings as Unicode text.

        Args:
            width: The most characters in a line; at least 40.
        """
        if width < 40:
            raise ValueError(f"width is {width}; expected at least 40")
        lines = textwrap.wrap(f"{self.headline()} {self.setting}", width)
        for number, finding in enumerate(self.findings, start=1):
            lines += ["", *_wrapped(f"{number}. {_title(finding)}", width, "", "   ")]
            lines += _wrapped(finding.words, width, "   ", "   ")
            if rest := "; ".join(part.brief for part in finding.parts[LISTED:]):
                lines += _wrapped(f"The rest: {rest}.", width, "   ", "     ")
            for name, title in _PARTS:
                if text := getattr(finding, name):
                    lines += _wrapped(f"{title}: {text}", width, "   ", "     ")
        return "\n".join(lines)

    def html(self) -> str:
        """Return an HTML page that needs no other file, script or network."""
        from chainrule.explain import page_html

        return page_html.page_around("diagnosis", self._body())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "ok": self.ok, "setting": self.setting, "loss": plain(self.loss),
            "samples": self.n_samples, "findings": [f.to_dict() for f in self.findings],
        }  # fmt: skip

    def _body(self) -> str:
        lines = [f"<h1>{escape(self.headline())}</h1>", f"<p>{escape(self.setting)}</p>"]
        for finding in self.findings:
            lines.append(f"<h2>{escape(_title(finding))}</h2>\n<p>{escape(finding.words)}</p>")
            for name, title in _PARTS:
                if text := getattr(finding, name):
                    lines.append(f"<p><strong>{title}:</strong> {escape(text)}</p>")
            if finding.parts:
                lines += ["<ul>", *(f"<li>{escape(p.words)}</li>" for p in finding.parts), "</ul>"]
            elif finding.numbers:
                lines += ['<div class="wide" tabindex="0"><table><tbody>']
                lines += [
                    f'<tr><th scope="row">{escape(name)}</th><td>{escape(shown(value))}</td></tr>'
                    for name, value in finding.numbers.items()
                ]
                lines.append("</tbody></table></div>")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from chainrule.explain import page_html

        return page_html.framed(self._body())

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Diagnosis({', '.join(self.codes) or 'ok'})"


def _title(finding: Finding) -> str:
    where = f", {finding.where}" if finding.where else ""
    return f"{_HEADS[finding.level]}: {finding.code}{where}"


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def diagnose(
    network: FeedForward, X: ArrayLike, y: ArrayLike, rows: Sequence[Any] | None = None
) -> Diagnosis:
    """Return the report of a network on its samples; see `Network.diagnose`."""
    samples = data.samples(X, y, network.sizes, network.loss)
    inputs, targets, _ = samples.rows(slice(None), network.sizes[-1], np.float64)
    n = len(inputs)
    if rows is not None and len(rows) != n:
        raise ValueError(
            f"rows has {times(len(rows), 'number')}; expected one for each of the "
            f"{times(n, 'sample')} of X"
        )
    setting = setting_of("The network", network, n, False, None).partition("; network ")[2]
    found = checkup.parameters(network)
    loss = float("nan")
    if not found:
        with np.errstate(all="ignore"):  # the finding says where
            gradient = network.gradient(inputs, targets)
            loss = float(gradient.loss)
            found = checkup.findings(
                network, gradient, inputs, targets, lambda i: i if rows is None else rows[i]
            )
    return Diagnosis(found, f"Network {setting}.", loss, n)

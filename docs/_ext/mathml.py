"""Formulas as MathML, made when the site is built.

Browsers draw MathML by themselves, so that pages need no script, no font and no network. The
library writes its own formulas in the same way.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml import converter
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

_FUNCTION = re.compile(
    r"<m([io])>(cos|exp|ln|max|sign|tanh)</m\1>(?!<mo stretchy=.false.>&#x00028;)"
)
_BAR = re.compile(r"<mo>(&#x0007C;|&#x02016;)</mo>")


def convert(latex: str, display: str = "inline") -> str:
    """Convert a formula; bars keep the size of a letter, and ln z has a space."""
    text: str = converter.convert(latex, display=display)
    text = _FUNCTION.sub(r'<mi>\2</mi><mspace width="0.17em"/>', text)
    return _BAR.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', text)


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(convert(node.astext(), display="block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer; ``html_math_renderer = "mathml"`` chooses it."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

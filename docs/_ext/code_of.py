"""Show the lines of a function of `backprop.py` in a page, between two of them.

    ```{code-of} backward
    :from: "# (1) at the output"
    :to: "deltas = [delta]"
    ```

The last is left out. A mark that is not found is an error, so that a page cannot show old code.
"""

from __future__ import annotations

import ast
import textwrap
from typing import Any, ClassVar

import runner
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SOURCE = next((runner.ROOT / "src" / "chainrule").rglob("backprop.py"))


class CodeOf(SphinxDirective):
    """Include a part of a function."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"from": str, "to": str}

    def run(self) -> list[nodes.Node]:
        """Return a block of code."""
        self.env.note_dependency(str(SOURCE))
        text = SOURCE.read_text(encoding="utf-8")
        function = next(
            node for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name == self.arguments[0]
        )  # fmt: skip
        lines = text.splitlines()[function.lineno : function.end_lineno]
        first, last = (
            next((i for i, line in enumerate(lines) if line.strip().startswith(mark)), None)
            for mark in (self.options["from"].strip('"'), self.options["to"].strip('"'))
        )
        if first is None or last is None or last <= first:
            raise self.error(f"{SOURCE.name}: {self.arguments[0]} has no such lines")
        code = textwrap.dedent("\n".join(lines[first:last])).strip()
        block = nodes.literal_block(code, code, language="python")
        return [nodes.container("", block, classes=["code-of"])]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("code-of", CodeOf)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

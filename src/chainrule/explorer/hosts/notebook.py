"""The notebook host: an anywidget for Jupyter, VS Code, Colab and marimo."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from chainrule.explorer.hosts import assets
from chainrule.explorer.session import Session


class Widget(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget that shows a session in a notebook and carries its messages."""

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, session: Session) -> None:
        script = (
            assets.joined("notebook") + "\nexport default { render: module_notebook.render };\n"
        )
        super().__init__(_esm=script, _css=assets.files()["style.css"][0])
        self._session = session
        self.on_msg(self._receive)

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict) and isinstance(content.get("id"), int):
            reply = self._session.handle(content.get("request"))
            self.send({"id": content["id"], "reply": reply})

"""Live pages: the explorer with a Python of its own, as one HTML file.

The page is that of the other hosts. Its messages go to a worker, in which Pyodide runs this
package.
"""

from __future__ import annotations

import base64
import os
from html import escape

from chainrule.explorer import snapshot
from chainrule.explorer.hosts import assets, pack, runtime
from chainrule.explorer.session import Session


def page(
    session: Session,
    folder: str | os.PathLike[str] | None = None,
    tell: runtime.Tell | None = None,
) -> str:
    """Return one page in which everything works, without an installed Python and offline.

    ``folder`` and ``tell`` are those of `runtime.find`, whose errors it raises.
    """
    content = snapshot.pack(session)
    parts = runtime.find(folder, tell)
    texts = {"program": pack.program(parts), "pack": pack.pack(parts), "session": content}
    inside = {name: text_of(part) for name, part in texts.items()}
    return assets.whole_page("live", inside, notices_element(parts))


def notices_element(parts: runtime.Parts) -> str:
    """Return the notices as an element that the page shows at request."""
    return f'<script type="text/plain" id="notices">\n{escape(pack.notices(parts))}</script>\n'


def text_of(content: bytes) -> str:
    """Return bytes as text of an element."""
    return base64.b64encode(content).decode()


def bytes_of(text: str) -> bytes:
    """Return what `text_of` wrote."""
    return base64.b64decode(text)

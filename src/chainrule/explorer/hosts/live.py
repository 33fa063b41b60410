"""Live pages: the explorer with a Python of its own, as one HTML file.

The page is that of the other hosts. Its messages go to a worker, in which Pyodide runs this package.
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
    notices = f'<script type="text/plain" id="notices">\n{escape(pack.notices(parts))}</script>\n'
    return assets.whole_page("live", {name: _text(part) for name, part in texts.items()}, notices)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()

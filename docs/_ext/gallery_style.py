"""How the gallery looks: its figures are SVG without a background, in the style of all others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
from sphinx_gallery.scrapers import matplotlib_scraper


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures of a block, each described by the title of its program."""
    text: str = matplotlib_scraper(block, block_vars, gallery_conf, format="svg", transparent=True)
    title = Path(block_vars["src_file"]).read_text(encoding="utf-8").splitlines()[1]
    return re.sub(r"(?m)^( +:alt:).*$", rf"\1 {title}", text)


def reset(gallery_conf: dict[str, Any], script: str) -> None:
    """Give every script the same style to begin with."""
    matplotlib.rc_file(Path(__file__).with_name("matplotlibrc"))

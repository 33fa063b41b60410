"""How the gallery looks: its figures are SVG without a background, in the style of all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from sphinx_gallery.scrapers import matplotlib_scraper


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures of a block; the class tells the style sheet to suit them to the theme."""
    text: str = matplotlib_scraper(block, block_vars, gallery_conf, format="svg", transparent=True)
    return text.replace(
        ":class: sphx-glr-single-img", ":class: sphx-glr-single-img plot dark-light"
    )


def reset(gallery_conf: dict[str, Any], script: str) -> None:
    """Give every script the same style to begin with."""
    matplotlib.rc_file(Path(__file__).with_name("matplotlibrc"))

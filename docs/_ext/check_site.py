"""Check the built site: every link inside it leads somewhere, and nothing is loaded from elsewhere.

    python docs/_ext/check_site.py docs/_build/html

Sphinx checks the links that it knows of; this reads what a browser would read. It prints what is
wrong, and exits with 1 if anything is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
          "link": "href"}  # fmt: skip
_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)")
_IMPORT = re.compile(r"@import\s+['\"]([^'\"]+)")


@dataclass
class Page:
    """What a page has and what it asks for."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        is_loaded = tag != "link" or values.get("rel") in ("stylesheet", "icon", "preload")
        if is_loaded and (url := values.get(_LOADS.get(tag, ""))):
            self.page.loads.append(url)
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.page.loads += _URL.findall(data) + _IMPORT.findall(data)


def read(file: Path) -> Page:
    """Read a page."""
    reader = _Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    return reader.page


def faults(site: Path) -> list[str]:
    """Find links that lead nowhere, files that are not there, and files of other servers."""
    pages = {
        file: read(file)
        for file in sorted(site.rglob("*.html"))
        if "_static" not in file.relative_to(site).parts  # the theme's templates
    }
    found = [
        f"{file.relative_to(site)}: {fault}"
        for file, page in pages.items()
        for fault in _faults_of(file, page, pages)
    ]
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8")
        urls = _URL.findall(text) + _IMPORT.findall(text)
        found += [
            f"{sheet.relative_to(site)}: {fault}"
            for url in urls
            if (fault := _fault_of_load(sheet, url))
        ]
    return found


def _faults_of(file: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    found = [fault for url in page.loads if (fault := _fault_of_load(file, url))]
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            found.append(f"dead link {link!r}")
        elif target in pages and parts.fragment and "=" not in parts.fragment:  # for its script
            place = unquote(parts.fragment)
            found += [f"no such place {link!r}"] * (place not in pages[target].anchors)
    return found


def _fault_of_load(file: Path, url: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme == "data" or url.startswith("#"):
        return None
    if parts.scheme or parts.netloc:
        return f"loads {url!r} from another server"
    if not (file.parent / unquote(parts.path)).exists():
        return f"loads {url!r}, which is not there"
    return None


def main() -> None:
    """Check the site that is named on the command line."""
    site = Path(sys.argv[1]).resolve()
    found = faults(site)
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found or not (site / "index.html").exists() else 0)


if __name__ == "__main__":
    main()

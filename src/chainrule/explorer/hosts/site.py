"""Static sites: live pages that share the files of Python, and a page that lists them.

Any web server shows such a folder, under any path. `chainrule-site.json` in it notes what was
written, so that nothing else is ever replaced or removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from chainrule.explorer import snapshot
from chainrule.explorer.hosts import assets, live, pack, runtime
from chainrule.explorer.session import Session
from chainrule.storage.atomic import write_atomically
from chainrule.teach import lessons

MANIFEST = "chainrule-site.json"
START, EXPLORER = "index.html", "explorer.html"
_PAGE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}\.html")


@dataclass(frozen=True)
class Entry:
    """A page of the site: its file, title, and the session that it opens."""

    file: str
    title: str
    session: Session


def write(
    folder: str | os.PathLike[str],
    entry: Entry | None = None,
    runtime_folder: str | os.PathLike[str] | None = None,
    tell: runtime.Tell | None = None,
) -> list[str]:
    """Write the site into a folder, or bring the site in it up to date; return its pages.

    Args:
        folder: Is made if it does not exist. Files in it that this function did not write stay.
        entry: A page to add beside the explorer and the lessons, or to replace.
        runtime_folder: As in `runtime.find`.
        tell: As in `runtime.find`.

    Raises:
        OSError: A file cannot be written, or parts of Pyodide are missing.
        ValueError: A file in the way was not written by this function, or was changed since.
    """
    root = Path(folder)
    if entry is not None and not (_PAGE_NAME.fullmatch(entry.file) and entry.file not in _OURS):
        raise ValueError(
            f"{entry.file!r} cannot be the name of a page; expected one such as lesson-1.html, "
            "of small letters, digits and -"
        )
    old = _read(root)
    files, pages = _content(old, entry, runtime.find(runtime_folder, tell))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    _check(root, files, old["files"])
    root.mkdir(parents=True, exist_ok=True)
    # First a manifest that knows old and new files: after a kill at any moment, both are known.
    known = {name: list(old["files"].get(name, ())) for name in {*old["files"], *files}}
    for name, digest in digests.items():
        known[name] = sorted({*known[name], digest})
    _note(root, known, old["pages"])
    for name in sorted(files, key=lambda name: (name == START, name.endswith(".html"))):
        if not _is(root / name, digests[name]):
            write_atomically(root / name, files[name])
    for name in old["files"].keys() - files.keys() - old["pages"].keys():
        if any(_is(root / name, digest) for digest in old["files"][name]):
            (root / name).unlink()
    kept = {name: old["files"][name] for name in old["pages"] if name in old["files"]}
    _note(root, {**kept, **{name: [digest] for name, digest in digests.items()}}, pages)
    return [START, *pages]


_OURS = (START, EXPLORER)


def _content(
    old: dict[str, Any], entry: Entry | None, parts: runtime.Parts
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files of the site by name, and the titles of its pages."""
    files: dict[str, bytes] = {}

    def shared(stem: str, suffix: str, content: bytes) -> str:
        """Add a file whose name changes with its content, so that caches never hold an old one."""
        name = f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
        files[name] = content
        return name

    style = shared("style", ".css", assets.files()["style.css"][0].encode())
    script = shared("page", ".js", assets.start_of("live").encode())
    large = {"program": pack.program(parts), "pack": pack.pack(parts)}
    body = "".join(
        f'<script type="application/octet-stream" id="{name}" '
        f'data-file="{shared(name, ".bin", content)}" data-size="{len(content)}"></script>\n'
        for name, content in large.items()
    )
    body += live.notices_element(parts)
    files["notices.txt"] = pack.notices(parts).encode()

    def page(content: bytes) -> bytes:
        own = f'<script type="application/octet-stream" id="session">{live.text_of(content)}'
        return assets.page_of_site(style, script, f"{own}</script>\n{body}").encode()

    pages: dict[str, str] = {EXPLORER: "The explorer", **old["pages"]}
    snapshots: dict[str, str] = dict(old["sessions"])
    files[EXPLORER] = page(snapshot.pack(Session()))
    if entry is not None:
        pages[entry.file] = entry.title
        snapshots[entry.file] = live.text_of(snapshot.pack(entry.session))
    for name, text in snapshots.items():  # pages of earlier calls move to the new files, too
        files[name] = page(live.bytes_of(text))
    files[START] = _start(pages).encode()
    return files, pages


def _start(pages: dict[str, str]) -> str:
    """Return the page that lists the others."""
    own = [(name, title) for name, title in pages.items() if name != EXPLORER]
    tours = [(f"{EXPLORER}#lesson={quote_plus(name)}", title) for name, title in _lessons()]
    groups = [
        ("Lessons", [*own, *tours]),
        ("Explore", [(EXPLORER, "Your own network, data and questions")]),
    ]
    body = "".join(
        f"<h2>{title}</h2>\n<ul>\n"
        + "".join(f'<li><a href="{escape(to)}">{escape(words)}</a></li>\n' for to, words in links)
        + "</ul>\n"
        for title, links in groups
    )
    return _START.format(body=body)


def _lessons() -> list[tuple[str, str]]:
    """Return the name and title of each built-in lesson."""
    return [(name, lessons.built_in(name).title) for name in lessons.NAMES]


_START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="content-security-policy"
  content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"/>
<title>chainrule: backpropagation, one number at a time</title>
<style>
:root {{ color-scheme: light dark; }}
body {{
  font: 17px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  max-width: 42rem; margin: 0 auto; padding: 2rem 1.2rem;
}}
h1 {{ font-size: 1.6rem; line-height: 1.2; }}
h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
ul {{ padding: 0; list-style: none; }}
li a {{ display: block; padding: 0.7rem 1rem; margin: 0.4rem 0; }}
li a {{ border: 1px solid; border-radius: 0.6rem; }}
footer {{ margin-top: 3rem; font-size: 0.9rem; }}
</style>
</head>
<body>
<main>
<h1>Backpropagation, one number at a time</h1>
<p>Watch a network learn, and open any weight into its chain rule. Everything runs in this browser:
nothing has to be installed, and nothing is sent anywhere. The first page loads about 8 MB.</p>
{body}</main>
<footer><a href="notices.txt">Licences of the software in these pages</a></footer>
</body>
</html>
"""


# --- the folder -----------------------------------------------------------------------------------


def _read(root: Path) -> dict[str, Any]:
    """Return what the manifest notes: the digests of files, the titles and sessions of pages."""
    empty: dict[str, Any] = {"files": {}, "pages": {}, "sessions": {}}
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected a folder")
    try:
        text = (root / MANIFEST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return empty
    try:
        found = json.loads(text)
        if found["format"] != 1:
            raise ValueError
        files = {str(name): [str(d) for d in digests] for name, digests in found["files"].items()}
        pages = {str(name): str(title) for name, title in found["pages"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{root / MANIFEST} cannot be read: it is damaged, or of a newer chainrule. Choose "
            "another folder, or update chainrule."
        ) from None
    if strange := [name for name in [*files, *pages] if Path(name).name != name]:
        raise ValueError(f"{root / MANIFEST} names {strange[0]!r}, which is not in the folder")
    sessions = {}
    for name in pages.keys() - {EXPLORER}:
        page = root / name
        match = _SESSION.search(page.read_text(encoding="utf-8")) if page.is_file() else None
        if match:
            sessions[name] = match[1]
    pages = {name: title for name, title in pages.items() if name in {EXPLORER, *sessions}}
    return {"files": files, "pages": pages, "sessions": sessions}


_SESSION = re.compile(r'id="session">([A-Za-z0-9+/=]*)<')


def _check(root: Path, files: dict[str, bytes], known: dict[str, list[str]]) -> None:
    """Raise ValueError if a file that would be replaced is not one that was written here."""
    for name in files:
        path = root / name
        if path.exists() and not any(_is(path, digest) for digest in known.get(name, ())):
            why = "was changed after chainrule wrote it" if name in known else "is not chainrule's"
            raise ValueError(
                f"{path} {why}; nothing was written. Move or delete it, or choose another folder."
            )


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _note(root: Path, files: dict[str, list[str]], pages: dict[str, str]) -> None:
    text = json.dumps({"format": 1, "files": files, "pages": pages}, indent=1, sort_keys=True)
    write_atomically(root / MANIFEST, text.encode())

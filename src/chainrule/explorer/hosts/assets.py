"""Assets: the files of the page, and all of them as one script for a notebook or a file.

The browser code is plain ES modules. `joined` writes them one after the other, each in its own
function, in the order of their imports; so the repository holds no bundle.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (async function|function|class|const) (\w+)", re.MULTILINE)


@cache
def files() -> dict[str, tuple[str, str]]:
    """Return the text and the media type of every file that a page may load, by name."""
    found = {}
    for file in resources.files("chainrule.explorer").joinpath("static").iterdir():
        kind = file.name.rpartition(".")[2]
        if kind in _TYPES:
            found[file.name] = (file.read_text(encoding="utf-8"), _TYPES[kind])
    return found


@cache
def page() -> str:
    """Return the page of the web host."""
    return _PAGE.format(
        head='<link rel="stylesheet" href="/static/style.css"/>\n'
        '<script type="module" src="/static/main.js"></script>',
        body="",
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>chainrule explorer</title>
{head}
</head>
<body>
<div id="chainrule"></div>
<noscript>The explorer needs JavaScript. Allow it for this page.</noscript>
{body}</body>
</html>
"""


@cache
def joined(entry: str) -> str:
    """Return a module and all its imports as one script; ``module_NAME`` has its exports."""
    parts: list[str] = []
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        source = files()[f"{name}.js"][0]
        imports = _IMPORT.findall(source)
        for _, other in imports:
            add(other)
        body = _IMPORT.sub("", source)
        names = [match[1] for match in _EXPORT.findall(body)]
        body = _EXPORT.sub(r"\1 \2", body)
        taken = "\n".join(
            f"const {{ {' '.join(wanted.split())} }} = module_{other};" for wanted, other in imports
        )
        parts.append(
            f"const module_{name} = (() => {{\n{taken}\n{body}\n"
            f"return {{ {', '.join(names)} }};\n}})();\n"
        )

    add(entry)
    return "".join(parts)


def whole_page(entry: str, parts: Mapping[str, str], extra: str = "") -> str:
    """Return a page that needs no other file: style, script and data are in it.

    ``parts`` are texts that the script finds by their ids; ``extra`` is HTML after them. A page
    with a program may start it as a worker.
    """
    style, script = files()["style.css"][0], _closed(start_of(entry))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = policy(f"'sha256-{digest}'", "data:" if "program" in parts else "")
    return _PAGE.format(
        head=f"{allowed}\n<style>\n{style}</style>",
        body="".join(
            f'<script type="application/octet-stream" id="{name}">{text}</script>\n'
            for name, text in parts.items()
        )
        + f'{extra}<script type="module">{script}</script>\n',
    )


def page_of_site(style: str, script: str, body: str) -> str:
    """Return a live page of a static site, which loads its style and script from files."""
    allowed = policy("'self'", "'self' data:")
    return _PAGE.format(
        head=f'{allowed}\n<link rel="stylesheet" href="{style}"/>\n'
        f'<script defer src="{script}"></script>',
        body=body,
    )


def policy(script: str, data: str) -> str:
    """Return the policy of a page that runs one script; ``data`` is where a live page's come from.

    Nothing else may be loaded, and no text is run as code. A live page compiles WebAssembly in a
    worker.
    """
    live = f" 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src {data}" if data else ""
    style = "'self' 'unsafe-inline'" if "'self'" in data else "'unsafe-inline'"
    content = (
        f"default-src 'none'; script-src {script}{live}; style-src {style}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="content-security-policy" content="{content}"/>'


def start_of(entry: str) -> str:
    """Return the script that starts a page."""
    return f"\n{joined(entry)}module_{entry}.start();\n"


def _closed(script: str) -> str:
    """Return a script that does not end the element around it."""
    return script.replace("</script", "<\\/script")

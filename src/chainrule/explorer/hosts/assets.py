"""Assets: the files of the page, and all of them as one script for a notebook or a file.

The browser code is plain ES modules. `joined` writes them one after the other, each in its own
function, in the order of their imports; so the repository holds no bundle.
"""

from __future__ import annotations

import re
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


def whole_page(entry: str, data: str) -> str:
    """Return a page that needs no other file: style, script and data are in it."""
    style, script = files()["style.css"][0], joined(entry)
    policy = (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return _PAGE.format(
        head=f'<meta http-equiv="content-security-policy" content="{policy}"/>\n'
        f"<style>\n{style}</style>",
        body=f'<script type="application/octet-stream" id="recording">{data}</script>\n'
        f'<script type="module">\n{_closed(script)}module_{entry}.start();\n</script>\n',
    )


def _closed(script: str) -> str:
    """Return a script that does not end the element around it."""
    return script.replace("</script", "<\\/script")

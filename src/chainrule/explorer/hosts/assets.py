"""The page's files, and the same joined into one for the notebook and the offline file.

The browser code is plain ES modules. `joined` puts them one after the other, each in a function of
its own, in the order of their imports; so nothing is bundled in the repository.
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
    """Return the text and the type of every file that a page may load, by name."""
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
<noscript>The explorer needs JavaScript.</noscript>
{body}</body>
</html>
"""


@cache
def joined(entry: str) -> str:
    """Return a module and all that it imports as one module, which exports what the entry exports."""
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
    """Return a page that needs nothing else: style, script and data inside."""
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
    """Keep a script from ending the element that it stands in."""
    return script.replace("</script", "<\\/script")

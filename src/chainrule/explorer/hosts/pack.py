"""The pack: everything that the worker of a live page needs, in two compressed files.

`program` is JavaScript: Pyodide and the worker. `pack` has the files that it reads: Python, its
library, NumPy, mpmath and chainrule, without what they do not use there.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from chainrule._version import __version__
from chainrule.explorer.hosts import assets, runtime

# Not by importlib.resources, for which an editable installation has two folders of one name.
_SOURCES = Path(__file__).parents[2]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same input makes the same bytes

# Of chainrule: rooms that the page cannot reach, and hosts other than the browser's.
_NOT_OURS = (
    "cli/", "sklearn/", "tables/", "foreign/", "distributed/", "explorer/static/",
    "explorer/torch/", "explorer/hosts/", "__main__.py",
)  # fmt: skip
_OURS = ("explorer/hosts/__init__.py", "explorer/hosts/browser.py")
_KINDS = (".py", ".md", ".json", ".toml", ".yaml", ".txt", ".csv")  # sources, and what they read
# The compiled core, where the package has it: quicker, and for every browser with SIMD; its glue.
CORES = ("core-relaxed.wasm", "core.wasm")
_GLUE = "core.js"
_OF_CORE = """\
The compiled core of chainrule contains parts of LLVM's libc++, libc++abi and
compiler-rt (Apache License 2.0 with LLVM Exceptions, https://llvm.org/LICENSE.txt)
and of wasi-libc (the same or MIT licence, https://github.com/WebAssembly/wasi-libc),
with musl (MIT licence, Copyright (c) 2005-2020 Rich Felker, et al.,
https://musl.libc.org).
"""

# Of Python's library: what needs a terminal, processes, a network or a screen; developers' tools.
_NOT_PYTHON = frozenset((
    "_pyio", "aifc", "antigravity", "argparse", "asynchat", "asyncore", "bdb", "cProfile", "cgi",
    "cgitb", "chunk", "cmd", "code", "codeop", "compileall", "configparser", "crypt", "difflib",
    "doctest", "filecmp", "fileinput", "ftplib", "getpass", "idlelib", "imaplib", "imghdr",
    "lib2to3", "mailbox", "mailcap", "modulefinder", "multiprocessing", "netrc", "nntplib",
    "optparse", "pdb", "pickletools", "pipes", "plistlib", "poplib", "profile", "pstats", "pty",
    "py_compile", "pyclbr", "pydoc", "pydoc_data", "rlcompleter", "sched", "shelve", "smtplib",
    "sndhdr", "socketserver", "sqlite3", "statistics", "sunau", "symtable", "tabnanny",
    "telnetlib", "test", "this", "timeit", "tkinter", "trace", "tracemalloc", "tty",
    "turtle", "unittest", "uu", "venv", "wave", "webbrowser", "wsgiref", "xdrlib", "xml",
    "xmlrpc", "zipapp", "zoneinfo",
))  # fmt: skip
_NOT_IN_PYTHON = frozenset((
    "http/server.py", "http/cookiejar.py", "http/cookies.py", "logging/config.py",
    "logging/handlers.py",
))  # fmt: skip
_ENCODINGS = frozenset((
    "__init__", "aliases", "ascii", "cp437", "idna", "latin_1", "raw_unicode_escape",
    "unicode_escape", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be",
))  # fmt: skip
_NOT_NUMPY = (
    "numpy/f2py/", "numpy/_pyinstaller/", "numpy/distutils/", "numpy/doc/", "numpy/testing/",
    "numpy/polynomial/", "numpy/compat/", "numpy/_core/include/", "numpy/_core/lib/",
    "numpy/random/lib/", "numpy/random/_examples/", "numpy/fft/", "/lapack_lite.cpython-",
    "_tests.cpython-", "/_simd.cpython-", "/tests/",
)  # fmt: skip
# NumPy imports these for docstrings alone: nobody reads them there, and the start is quicker.
_EMPTIED = ("numpy/_core/_add_newdocs.py", "numpy/_core/_add_newdocs_scalars.py")
_LEFT_OUT = (".pyi", ".pxd", ".pyx", ".h", ".a", ".c", ".rst", ".md", ".template", "/RECORD")


def program(parts: runtime.Parts) -> bytes:
    """Return the worker's JavaScript, compressed."""
    core = _core()
    scripts = [
        parts["pyodide.asm.js"].decode(),
        parts["pyodide.js"].decode(),
        *([core[_GLUE].decode()] if core else []),
        assets.files()["worker.js"][0],
    ]
    return _compressed("\n;\n".join(scripts).encode())


def pack(parts: runtime.Parts) -> bytes:
    """Return the files that the worker reads, compressed together.

    Unpacked they are the length of the index (4 bytes), the index (JSON: name, start, length), and
    the files one after the other.
    """
    info = {"arch": "wasm32", "platform": "emscripten_3_1_58", "version": runtime.VERSION}
    info |= {"python": "3.12.7", "abi_version": "2024_0"}
    core = _core()
    files = {
        "pyodide.asm.wasm": parts["pyodide.asm.wasm"],
        "pyodide-lock.json": json.dumps({"info": info, "packages": {}}).encode(),
        "python_stdlib.zip": _stored(_library(parts["python_stdlib.zip"])),
        "packages.zip": _stored({**_numpy(parts[runtime.NUMPY]), **_mpmath(), **_chainrule()}),
        **{name: core[name] for name in CORES if name in core},
    }
    index, start = [], 0
    for name, content in files.items():
        index.append([name, start, len(content)])
        start += len(content)
    head = json.dumps(index).encode()
    return _compressed(struct.pack("<I", len(head)) + head + b"".join(files.values()))


def notices(parts: runtime.Parts) -> str:
    """Return the notices and licences of everything in the pack that is not chainrule's."""
    ours = (resources.files("chainrule.explorer.hosts") / "notices.txt").read_text(encoding="utf-8")
    with zipfile.ZipFile(io.BytesIO(parts[runtime.NUMPY])) as wheel:
        numpy = [
            wheel.read(name).decode()
            for name in wheel.namelist()
            if name.rpartition("/")[2].startswith("LICENSE")
        ]
    texts = [
        ("chainrule", _licence("chainrule")),
        ("NumPy 2.0.2, https://numpy.org", "\n\n".join(numpy)),
        ("mpmath, https://mpmath.org", _licence("mpmath")),
    ]
    if _core():
        texts.append(("The C++ core's libraries", _OF_CORE))
    rule = "-" * 80
    return f"This page was made with chainrule {__version__}.\n\n{ours}" + "".join(
        f"\n{title}\n{rule}\n\n{text.strip()}\n" for title, text in texts
    )


# --- what goes in ---------------------------------------------------------------------------------


def _library(content: bytes) -> dict[str, bytes]:
    """Return the files of Python's library that the page may need."""

    def wanted(name: str) -> bool:
        top, _, below = name.partition("/")
        if top == "encodings":
            return below.removesuffix(".py") in _ENCODINGS
        return top.removesuffix(".py") not in _NOT_PYTHON and name not in _NOT_IN_PYTHON

    return _unzipped(content, wanted)


def _numpy(content: bytes) -> dict[str, bytes]:
    def wanted(name: str) -> bool:
        return not name.endswith(_LEFT_OUT) and not any(part in name for part in _NOT_NUMPY)

    return {**_unzipped(content, wanted), **dict.fromkeys(_EMPTIED, b"")}


def _mpmath() -> dict[str, bytes]:
    root = resources.files("mpmath")
    return {
        f"mpmath/{name}": content
        for name, content in _below(root)
        if name.endswith(".py") and not name.startswith("tests/")
    }


def _chainrule() -> dict[str, bytes]:
    return {
        f"chainrule/{name}": content
        for name, content in _below(_SOURCES)
        if name.endswith(_KINDS) and (name in _OURS or not name.startswith(_NOT_OURS))
    }


def has_core() -> bool:
    """Return whether pages carry the compiled core."""
    return bool(_core())


def _core() -> dict[str, bytes]:
    """Return the compiled core and its glue, or nothing where the package was built without.

    The glue is a classic script. It defines ``startChainruleCore(modules)`` in the worker, which
    the worker awaits before it imports chainrule, and which sets ``chainruleCore`` for the engine.
    """
    folder = resources.files("chainrule.engines")
    names = (*CORES, _GLUE)
    if not all((folder / name).is_file() for name in names):
        return {}
    return {name: (folder / name).read_bytes() for name in names}


def _below(folder: Any, before: str = "") -> Iterator[tuple[str, bytes]]:
    """Return the files of an installed package, by their path in it."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            if item.name != "__pycache__":
                yield from _below(item, f"{before}{item.name}/")
        elif item.name.endswith(_KINDS):
            yield before + item.name, item.read_bytes()


def _licence(package: str) -> str:
    """Return the licence of an installed package."""
    for file in importlib.metadata.files(package) or ():
        if file.name.startswith(("LICENSE", "COPYING")):
            return Path(str(file.locate())).read_text(encoding="utf-8")
    return str(importlib.metadata.metadata(package)["License"] or "see the package's page")


# --- files ----------------------------------------------------------------------------------------


def _unzipped(content: bytes, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and wanted(name)]
        return {name: archive.read(name) for name in names}


def _stored(files: dict[str, bytes]) -> bytes:
    """Return a zip that does not compress, so that one compression packs all of it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return out.getvalue()


@cache
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)

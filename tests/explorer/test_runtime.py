"""The parts of a live page and the site: what is taken, refused, kept; without a browser."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli import main
from chainrule.equations.activations import Activation
from chainrule.explorer import Explorer, snapshot
from chainrule.explorer.hosts import pack, runtime, site
from chainrule.explorer.session import Session
from chainrule.storage.atomic import write_atomically


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


PINNED = dict(runtime.PARTS)

# Small stand-ins of the parts, whose digests stand in place of the release's.
PARTS = {
    "pyodide.js": b"// pyodide",
    "pyodide.asm.js": b"// asm",
    "pyodide.asm.wasm": b"\0asm",
    "python_stdlib.zip": zipped({
        "json/__init__.py": b"", "pdb.py": b"", "encodings/cp874.py": b"",
    }),
    runtime.NUMPY: zipped({
        "numpy/__init__.py": b"", "numpy/f2py/x.py": b"", "numpy.dist-info/LICENSE.txt": b"BSD",
    }),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in PARTS.items()}
    monkeypatch.setattr(runtime, "PARTS", digests)
    monkeypatch.setattr(runtime, "_SOURCES", {})
    monkeypatch.delenv(runtime.FOLDER, raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def folder_of(place: Path, files: dict[str, bytes] = PARTS) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


# --- where parts come from ------------------------------------------------------------------------


def test_parts_come_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "parts")
    assert runtime.find(folder) == PARTS
    monkeypatch.setenv(runtime.FOLDER, str(folder))
    assert runtime.find() == PARTS
    assert runtime.cached()
    assert not runtime.cache().exists()


def test_parts_come_from_archives_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "all.whl").write_bytes(
        zipped({f"deep/{n}": PARTS[n] for n in ("pyodide.js", runtime.NUMPY)})
    )
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with tarfile.open(tmp_path / "pyodide.tgz", "w:gz") as archive:
        for name, content in PARTS.items():
            if name not in ("pyodide.js", runtime.NUMPY):
                info = tarfile.TarInfo(f"package/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert runtime.find(tmp_path) == PARTS


def test_a_part_with_another_digest_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "parts", {**PARTS, "pyodide.asm.wasm": b"\0evil"})
    with pytest.raises(ValueError, match=r"pyodide\.asm\.wasm in .* has the SHA-256 .* Take the"):
        runtime.find(folder)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "parts")
    (folder / runtime.NUMPY).unlink()
    (folder / "pyodide.js").unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks pyodide\.js and {runtime.NUMPY}"):
        runtime.find(folder)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        runtime.find(tmp_path / "none")


def source_of(files: dict[str, bytes], why: str = "") -> Callable[[list[str], Path], str]:
    def source(missing: list[str], place: Path) -> str:
        folder_of(place, files)
        return why

    return source


def test_downloads_are_verified_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {name: content for name, content in PARTS.items() if name != "pyodide.js"}
    sources = {"here": source_of({**rest, "pyodide.js": b"evil"}), "there": source_of(PARTS)}
    monkeypatch.setattr(runtime, "_SOURCES", sources)
    told: list[str] = []
    assert runtime.find(tell=told.append) == PARTS
    assert told == [f"Downloading Pyodide {runtime.VERSION} from {n}" for n in ("here", "there")]
    monkeypatch.setattr(runtime, "_SOURCES", {})
    assert runtime.find() == PARTS  # from the cache
    (runtime.cache() / "pyodide.js").write_bytes(b"damaged")
    assert not runtime.cached()
    monkeypatch.setattr(runtime, "_SOURCES", sources)
    assert runtime.find() == PARTS
    assert (runtime.cache() / "pyodide.js").read_bytes() == PARTS["pyodide.js"]


def test_without_any_source_the_error_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "_SOURCES", {"the moon": source_of({}, "no connection")})
    with pytest.raises(FileNotFoundError) as error:
        runtime.find()
    text = str(error.value)
    for part in (str(runtime.cache()), "the moon: no connection", "--runtime", "python_stdlib.zip"):
        assert part in text


def test_a_failing_command_says_why() -> None:
    script = "import sys; print('one', file=sys.stderr); sys.exit('No module named pip')"
    assert runtime._ran([sys.executable, "-c", script]) == "No module named pip"
    assert runtime._ran([sys.executable, "-c", "raise SystemExit(3)"]) == "exit code 3"
    assert runtime._ran([sys.executable, "-c", ""]) == ""


def test_every_pinned_digest_is_whole() -> None:
    for digest in (runtime.LOCK, *PINNED.values()):
        assert len(digest) == 64
        assert int(digest, 16)


# --- the pack -------------------------------------------------------------------------------------


def unpacked(content: bytes) -> dict[str, bytes]:
    raw = gzip.decompress(content)
    length = int.from_bytes(raw[:4], "little")
    index = json.loads(raw[4 : 4 + length])
    return {name: raw[4 + length + at : 4 + length + at + size] for name, at, size in index}


def test_the_pack_has_what_the_page_needs_and_no_more() -> None:
    files = unpacked(pack.pack(PARTS))
    names = zipfile.ZipFile(io.BytesIO(files["packages.zip"])).namelist()
    assert {"chainrule/explorer/session.py", "chainrule/explorer/hosts/browser.py"} <= {*names}
    assert "mpmath/__init__.py" in names
    assert "numpy/__init__.py" in names
    for part in ("_native", "cli/", "sklearn/", "hosts/web.py", "static/", "f2py", "mpmath/tests"):
        assert not any(part in name for name in names), part
    library = zipfile.ZipFile(io.BytesIO(files["python_stdlib.zip"])).namelist()
    assert library == ["json/__init__.py"]
    assert pack.pack(PARTS) == pack.pack(dict(PARTS))


def test_the_compiled_core_and_its_glue_travel_where_the_package_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pack, "_core", dict)
    plain = pack.program(PARTS)
    assert "wasi-libc" not in pack.notices(PARTS)
    core = {
        "core-relaxed.wasm": b"\0asm relaxed",
        "core.wasm": b"\0asm core",
        "core.js": b"startChainruleCore = async (modules) => {};",
    }
    monkeypatch.setattr(pack, "_core", lambda: core)
    for name in ("core-relaxed.wasm", "core.wasm"):
        assert unpacked(pack.pack(PARTS))[name] == core[name]
    script = gzip.decompress(pack.program(PARTS)).decode()
    assert core["core.js"].decode() in script
    assert script.index("startChainruleCore = ") < script.index("scope.startChainruleCore")
    assert pack.program(PARTS) != plain
    assert "wasi-libc" in pack.notices(PARTS)


@pytest.mark.parametrize("there", [True, False])
def test_the_commands_say_where_pages_have_no_core(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = {"core.wasm": b"\0asm core", "core.js": b"// glue"}
    monkeypatch.setattr(pack, "_core", lambda: core if there else {})
    folder = str(folder_of(tmp_path / "parts"))
    commands = [
        ["explore", "--sizes", "2,1", "--live", str(tmp_path / "x.html"), "--runtime", folder],
        ["site", str(tmp_path / "public"), "--runtime", folder],
    ]
    for command in commands:
        assert main(command) == 0
        said = capsys.readouterr().err
        assert ("this installation has no core.wasm" in said) is not there
        assert there or "make wasm" in said


def test_notices_name_everything_that_travels() -> None:
    text = pack.notices(PARTS)
    for part in ("Mozilla Public License", "https://github.com/pyodide/pyodide/tree/0.27.7",
                 "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2", "BSD", "mpmath"):  # fmt: skip
        assert part in text


# --- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_brings_every_bit_back() -> None:
    net = cr.Network([2, 3, 2], hidden="relu", output="softmax", loss="cross_entropy", l2=0.1,
                     dropout=0.2, dtype="float32", seed=5)  # fmt: skip
    session = Session(net, [[0.1, 1e-300], [0.5, 2.0]], [0, 1], name="mine")
    session.handle({"kind": "configure", "notation": "L-h", "learning_rate": 0.3, "digits": 6})
    session.handle({"kind": "select", "sample": 1})
    twin = snapshot.unpack(snapshot.pack(session))
    assert twin.network.parameters.tobytes() == session.network.parameters.tobytes()
    assert twin.network.dtype == np.float32
    ours, theirs = session.frame(), twin.frame()
    for frame in (ours, theirs):
        frame["version"] = frame["data"]["version"] = 0
        frame["network"]["engine"] = frame["undo"] = ""  # a page begins with nothing to undo
    assert theirs == ours


@pytest.mark.parametrize("asked", ["reference", "auto", "native"])
def test_a_snapshot_asks_for_the_same_engine_where_it_can(asked: str) -> None:
    if asked == "native":
        pytest.importorskip("chainrule.engines._native", reason="a pure Python installation")
    twin = snapshot.unpack(snapshot.pack(Session(cr.Network([2, 3, 1], seed=0, engine=asked))))
    there = "reference" if asked == "reference" else "auto"  # a page has no native engine
    assert twin.network.requested_engine == there
    state = twin.handle({"kind": "share"})["state"]
    wider = "a,b,c,y\n1,2,3,0\n2,1,0,1\n4,2,1,0\n"
    for change in ({"kind": "upload", "text": wider}, {"kind": "build", "hidden_sizes": [4]},
                   {"kind": "restore", "state": state}):  # fmt: skip
        assert twin.handle(change)["kind"] == "frame"
        assert twin.network.requested_engine == there


class Bent(Activation):
    name = "bent"
    formula = "z"
    derivative_formula = "1"

    def value(self, z: Any) -> Any:
        return z

    def derivative(self, z: Any, a: Any) -> Any:
        return np.ones_like(z)


def test_custom_functions_cannot_travel(tmp_path: Path) -> None:
    net = cr.Network([2, 2, 1], hidden=Bent(), seed=0)
    with pytest.raises(ValueError, match="custom function 'bent'"):
        Explorer(net).save(tmp_path / "x.html", live=True)
    assert list(tmp_path.glob("*.html")) == []


# --- the file and the site ------------------------------------------------------------------------


def test_a_live_file_has_a_strict_policy(tmp_path: Path) -> None:
    folder, file = folder_of(tmp_path / "parts"), tmp_path / "x.html"
    Explorer().save(file, live=True, runtime=folder)
    text = file.read_text(encoding="utf-8")
    policy = text.partition('content-security-policy" content="')[2].partition('"')[0]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "data:"
    assert rules["worker-src"] == "blob:"
    assert "'unsafe-eval'" not in policy
    assert "'unsafe-inline'" not in rules["script-src"]
    assert "Mozilla Public License" in text


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "x.html"
    file.write_text("old")
    with pytest.raises(FileNotFoundError):
        Explorer().save(file, live=True, runtime=tmp_path / "none")
    assert file.read_text() == "old"


def test_a_site_is_written_and_brought_up_to_date(tmp_path: Path) -> None:
    folder, root = folder_of(tmp_path / "parts"), tmp_path / "public"
    root.mkdir()
    (root / "CNAME").write_text("example.org")
    assert site.write(root, runtime_folder=folder) == ["index.html", "explorer.html"]
    entry = site.Entry("moons.html", "Two <moons>", Session())
    site.write(root, entry, folder)
    pages = site.write(root, runtime_folder=folder)  # a page that was added stays
    assert pages == ["index.html", "explorer.html", "moons.html"]
    start = (root / "index.html").read_text(encoding="utf-8")
    assert 'href="moons.html">Two &lt;moons&gt;<' in start
    assert "explorer.html#lesson=tanh+chain" in start
    assert (root / "CNAME").read_text() == "example.org"
    assert "Mozilla" in (root / "notices.txt").read_text(encoding="utf-8")
    for name in pages:
        text = (root / name).read_text(encoding="utf-8")
        assert "'unsafe-eval'" not in text
        assert "http" not in text.partition("<body>")[0].replace("http-equiv", "")


def test_new_parts_replace_the_old_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "public"
    site.write(root, site.Entry("moons.html", "Moons", Session()), folder_of(tmp_path / "parts"))
    old = next(root.glob("program-*.bin")).name
    newer = {**PARTS, "pyodide.js": b"// newer"}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in newer.items()}
    monkeypatch.setattr(runtime, "PARTS", digests)
    site.write(root, runtime_folder=folder_of(tmp_path / "newer", newer))
    assert not (root / old).exists()
    new = next(root.glob("program-*.bin")).name
    assert new in (root / "moons.html").read_text(encoding="utf-8")


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    folder, root = folder_of(tmp_path / "parts"), tmp_path / "public"
    root.mkdir()
    (root / "index.html").write_text("mine")
    with pytest.raises(ValueError, match=r"index\.html is not chainrule's; nothing was written"):
        site.write(root, runtime_folder=folder)
    assert [path.name for path in root.iterdir()] == ["index.html"]
    (root / "index.html").unlink()
    site.write(root, runtime_folder=folder)
    (root / "explorer.html").write_text("edited by hand")
    with pytest.raises(ValueError, match=r"explorer\.html was changed after chainrule wrote it"):
        site.write(root, runtime_folder=folder)
    assert (root / "explorer.html").read_text() == "edited by hand"


def test_a_site_cut_off_in_the_middle_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, root = folder_of(tmp_path / "parts"), tmp_path / "public"
    for most in range(1, 8):
        left = [most]

        def failing(path: Any, content: bytes, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device", str(path))
            write_atomically(path, content)

        monkeypatch.setattr(site, "write_atomically", failing)
        with pytest.raises(OSError, match="No space left"):
            site.write(root / str(most), runtime_folder=folder)
        monkeypatch.setattr(site, "write_atomically", write_atomically)
        assert site.write(root / str(most), runtime_folder=folder)[0] == "index.html"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "is damaged"),
        ('{"format": 2}', "newer chainrule"),
        ('{"format": 1, "files": {"../x": []}, "pages": {}}', "not in the folder"),
    ],
)
def test_a_bad_manifest_is_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / site.MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=what):
        site.write(tmp_path, runtime_folder=folder_of(tmp_path / "parts"))


def test_a_page_cannot_take_the_name_of_another(tmp_path: Path) -> None:
    for name in ("index.html", "../x.html", "A b.html"):
        with pytest.raises(ValueError, match="cannot be the name of a page"):
            site.write(tmp_path / "public", site.Entry(name, "x", Session()))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="expected a folder"):
        site.write(tmp_path / "file", runtime_folder=folder_of(tmp_path / "parts"))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(folder_of(tmp_path / "parts"))
    file, public = str(tmp_path / "x.html"), str(tmp_path / "public")
    assert main(["explore", "--dataset", "moons", "--live", file, "--runtime", folder]) == 0
    assert os.path.getsize(file) > 1000
    assert main(["site", public, "--runtime", folder]) == 0
    page = ["--sizes", "2,3,1", "--dataset", "moons", "--title", "Moons & more"]
    assert main(["site", public, *page, "--runtime", folder]) == 0
    assert "moons-more.html" in capsys.readouterr().out
    assert main(["explore", "--live", file, "--save", file]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert main(["explore", "--runtime", folder]) == 2
    assert "--runtime needs --live" in capsys.readouterr().err
    assert main(["site", public, "--title", "x"]) == 2
    assert "--title needs a page" in capsys.readouterr().err
    assert main(["site", public, "--runtime", str(tmp_path / "none")]) == 2
    assert "is not a folder" in capsys.readouterr().err

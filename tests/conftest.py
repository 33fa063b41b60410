"""What all tests share: optional tools, kinds of tests, no skips in CI, Hypothesis."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.clusters import Clusters
from tests.tools import PROGRAMS, find_chromium, find_firefox

ROOT = Path(__file__).parent.parent
KATEX = ROOT / "node_modules" / "katex"

os.environ["MPLBACKEND"] = "Agg"  # plots are drawn, never shown

# In CI the same examples are drawn in every run; at hand each run draws new ones, and Hypothesis
# keeps those that failed. No deadlines: they measure how busy the machine is.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


# Tools that only some tests need: @pytest.mark.needs("torch") skips where there is none.
_MISSING = "missing tools"  # under which the report of a test names them


def why_missing(tool: str) -> str | None:
    """Why a test that needs the tool cannot run here, or None if it can."""
    match tool:
        case "torch" | "jax":
            there = importlib.util.find_spec(tool) is not None
            hint = f"pip install '.[{tool}]'"
        case "dask":  # the schedulers and workers, which are a package of their own
            there = importlib.util.find_spec("distributed") is not None
            hint = "pip install '.[dask]'"
        case "ray":
            there = importlib.util.find_spec("ray") is not None
            hint = "pip install '.[ray]'"
        case "ray-client":
            there = all(map(importlib.util.find_spec, ("ray", "grpc")))
            hint = "pip install 'ray[client]'"
        case "s3":  # what reads and writes S3, and a server for tests
            names = ("s3fs", "moto", "flask", "flask_cors")
            there = all(map(importlib.util.find_spec, names))
            hint = "pip install '.[s3]' 'moto[server]'"
        case "spark":
            found = importlib.util.find_spec("pyspark") is not None
            there = found and shutil.which("java") is not None
            hint = "pip install pyspark, with Java"
        case "transformers":
            there = importlib.util.find_spec("transformers") is not None
            hint = "pip install transformers"
        case "vision":  # models of torchvision and timm
            folder = ROOT / "build" / "vision"
            there = all((folder / name).is_dir() for name in ("torchvision", "timm"))
            hint = f"pip install --no-deps --target {folder} torchvision==0.28.0 timm"
        case "tensorboard":  # tensorboardX writes, tensorboard reads
            there = all(map(importlib.util.find_spec, ("tensorboardX", "tensorboard")))
            hint = "pip install '.[tensorboard]' tensorboard"
        case "mlflow":
            there = importlib.util.find_spec("mlflow") is not None
            hint = "pip install '.[mlflow]'"
        case "mlflow-models":  # of the whole package, with what serves models
            there = all(map(importlib.util.find_spec, ("mlflow", "fastapi", "skops")))
            there = there and importlib.util.find_spec("mlflow.pyfunc") is not None
            hint = "pip install mlflow '.[skops]'"
        case "skops" | "keras":
            there = importlib.util.find_spec(tool) is not None
            hint = f"pip install '.[{tool}]'"
        case "typst":
            there = importlib.util.find_spec("typst") is not None
            hint = "pip install '.[worksheets]'"
        case "moodle":
            there = importlib.util.find_spec("moodle_xml_parser") is not None
            hint = "pip install moodle-xml-parser"
        case "qti":
            there = importlib.util.find_spec("qti_convert") is not None
            hint = "pip install citolab-qti-convert"
        case "qti-player":
            packages = ("qti3-item-player", "vue")
            there = all((KATEX.parent / name).is_dir() for name in packages)
            hint = "npm ci"
        case "skl2onnx":
            there = importlib.util.find_spec("skl2onnx") is not None
            hint = "pip install skl2onnx"
        case "nbgrader":  # a program, which may have an environment of its own
            there = shutil.which("nbgrader", path=PROGRAMS) is not None
            hint = "pip install nbgrader"
        case "latex":
            there = shutil.which("pdflatex") is not None
            hint = "apt-get install texlive-latex-base"
        case "arm":
            there = all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm")))
            hint = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
        case "zig":
            there = all((shutil.which("node"), importlib.util.find_spec("ziglang")))
            hint = "pip install ziglang, with Node.js"
        case "cc":
            there = shutil.which("cc") is not None
            hint = "install GCC or Clang"
        case "node":
            there = shutil.which("node") is not None
            hint = "install Node.js"
        case "katex":
            there = shutil.which("node") is not None and KATEX.is_dir()
            hint = "npm ci, with Node.js"
        case "typescript" | "axe-core":
            there = shutil.which("node") is not None and (KATEX.parent / tool).is_dir()
            hint = "npm ci, with Node.js"
        case "chromium":
            there = find_chromium() is not None
            hint = "install Chromium"
        case "firefox":
            there = find_firefox() is not None
            hint = "install Firefox"
        case "pyodide":
            from chainrule.explorer.hosts import runtime

            there = runtime.cached()
            hint = "python -c 'from chainrule.explorer.hosts import runtime; runtime.find()'"
        case "wasm":  # the core of live pages, and what runs it outside a browser
            import chainrule.engines

            folder = Path(chainrule.engines.__file__).parent
            there = all((folder / name).is_file() for name in ("core.wasm", "core-relaxed.wasm"))
            there = there and importlib.util.find_spec("wasmtime") is not None
            hint = "make wasm, pip install wasmtime"
        case _:
            raise ValueError(f"needs({tool!r}): write in tests/conftest.py how to find it")
    return None if there else f"needs {tool} ({hint})"


# What a test needs says what kind it is: `-m "not browser"` and the like choose by it.
_KINDS = {"chromium": "browser", "torch": "peer", "jax": "peer"}


@pytest.hookimpl(tryfirst=True)  # before pytest itself chooses by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tools = {tool for marker in item.iter_markers("needs") for tool in marker.args}
        for kind in {_KINDS[tool] for tool in tools if tool in _KINDS}:
            item.add_marker(kind)


def pytest_runtest_setup(item: pytest.Item) -> None:
    tools = [tool for marker in item.iter_markers("needs") for tool in marker.args]
    missing = {tool: reason for tool in tools if (reason := why_missing(tool))}
    if missing:
        item.user_properties.append((_MISSING, list(missing)))
        pytest.skip("; ".join(missing.values()))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the tools for want of which tests were skipped, with the number of their tests."""
    skipped = [
        dict[str, Any](each.user_properties)
        for each in terminalreporter.stats.get("skipped", ())
        if isinstance(each, pytest.TestReport)  # a file that is skipped whole has none
    ]
    wanted = [found[_MISSING] for found in skipped if _MISSING in found]
    counts = Counter(tool for tools in wanted for tool in tools)
    if counts:
        tools = ", ".join(f"{tool} ({count})" for tool, count in counts.most_common())
        tests = "1 test" if len(wanted) == 1 else f"{len(wanted)} tests"
        terminalreporter.write_line(
            f"skipped {tests} for want of: {tools}: `make test-all` installs them"
        )


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    """The headless browser as the start of a command; with ``@pytest.mark.needs("chromium")``.

    Add ``--dump-dom URL``, or ``--screenshot=FILE URL``.
    """
    path = find_chromium()
    assert path is not None
    return [
        path,
        "--headless",
        "--no-sandbox",  # root, as which containers run, has none
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'chromium'}",
    ]


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    """Clusters of this machine, for all tests of a file."""
    clusters = Clusters()
    yield clusters
    clusters.stop()


@pytest.fixture
def on(clusters: Clusters, request: pytest.FixtureRequest) -> Any:
    """The cluster of an engine; with ``@pytest.mark.parametrize("on", ENGINES, indirect=True)``."""
    return clusters[request.param]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of S3 in this process, with an empty bucket; with ``@pytest.mark.needs("s3")``."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield system
    system.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def katex() -> Path:
    """Folder of the katex package, for Node's require; with ``@pytest.mark.needs("katex")``."""
    return KATEX


# CI has every tool, and sets CHAINRULE_NO_SKIPS: a test that is skipped there tests nothing
# anywhere, so it fails, with its reason.


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure. An expected failure (xfail) is no skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which CI forbids: {reason}"


if os.environ.get("CHAINRULE_NO_SKIPS"):

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        fail_if_skipped(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        fail_if_skipped(report)
        return report

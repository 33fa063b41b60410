"""Model files: what is saved comes back in the same bits; nothing else gets in; nothing is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as serialize

import chainrule as cr
from chainrule.equations.activations import ACTIVATIONS, Activation
from chainrule.equations.losses import Loss
from chainrule.network import Network
from chainrule.storage import models


class Gaussian(Activation):
    name = "gaussian"
    formula = "exp(-z**2)"
    derivative_formula = "-2*z*exp(-z**2)"

    def value(self, z):
        return np.exp(-(z**2))

    def derivative(self, z, a):
        return -2 * z * a


class Wider(Gaussian):
    formula = "exp(-z**2/2)"
    derivative_formula = "-z*exp(-z**2/2)"


class Quartic(Loss):
    name = "quartic"
    formula = "(a - y)**4"
    derivative_formula = "4*(a - y)**3"

    def value(self, a, y):
        return (a - y) ** 4

    def derivative(self, a, y):
        return 4 * (a - y) ** 3


def same(one: Network, two: Network) -> bool:
    return (
        one.parameters.tobytes() == two.parameters.tobytes()
        and one.dtype == two.dtype
        and one.sizes == two.sizes
        and (one.biases, one.seed, one.l2) == (two.biases, two.seed, two.l2)
        and [layer.dropout for layer in one.layers] == [layer.dropout for layer in two.layers]
        and [g.activation.name for g in one.weighted_layers]
        == [g.activation.name for g in two.weighted_layers]
        and type(one.loss) is type(two.loss)
    )


# --- what is saved comes back ---------------------------------------------------------------------

HIDDEN = [name for name in ACTIVATIONS if name != "softmax"]


@given(st.data())
def test_round_trip_keeps_everything(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    output, loss = data.draw(
        st.sampled_from(
            [("identity", "huber"), ("softmax", "cross_entropy"), ("softplus", "poisson")]
        )
    )
    network = Network(
        sizes,
        hidden=[data.draw(st.sampled_from(HIDDEN)) for _ in sizes[2:]],
        output=output,
        loss=loss,
        biases=data.draw(st.booleans()),
        dtype=data.draw(st.sampled_from(["float32", "float64"])),
        seed=data.draw(st.integers(0, 2**63 - 1)),
        init=data.draw(st.sampled_from(["auto", "lecun_uniform", "zeros"])),
        dropout=[data.draw(st.floats(0, 1, exclude_max=True)) for _ in sizes[2:]],
        l2=data.draw(st.floats(0, 1e300)),
    )
    numbers = st.floats(width=32 if network.dtype == "float32" else 64, allow_infinity=False)
    network.parameters[0] = data.draw(numbers.filter(lambda x: x == x))  # -0.0, subnormals
    with temporary_path() as path:
        network.save(path)
        back = cr.load(path)
        assert same(back, network)
        first = path.read_bytes()
        back.save(path)
        assert path.read_bytes() == first  # the same network is the same file


class temporary_path:  # noqa: N801  Hypothesis wants a new folder for each example
    def __enter__(self) -> Path:
        self.folder = tempfile.TemporaryDirectory()
        return Path(self.folder.name) / "net.safetensors"

    def __exit__(self, *error: object) -> None:
        self.folder.cleanup()


def test_own_activation_and_loss_come_back_when_handed_in(tmp_path: Path) -> None:
    network = Network([2, 3, 1], hidden=Gaussian(), loss=Quartic(), seed=1)
    network.save(tmp_path / "net")
    back = cr.load(tmp_path / "net", custom=[Quartic(), Gaussian()])
    assert same(back, network)
    assert back.loss_value([[1, 2]], [[3]]) == network.loss_value([[1, 2]], [[3]])


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ([], r"activation 'gaussian', which is not chainrule's own. Pass it: load\("),
        ([Gaussian()], r"loss 'quartic', which is not chainrule's own"),
        (
            [Wider(), Quartic()],
            r"'gaussian' has the formula 'exp\(-z\*\*2\)'; the one that was passed",
        ),
    ],
)
def test_own_functions_that_are_missing_are_named(
    custom: list[Any], message: str, tmp_path: Path
) -> None:
    Network([2, 3, 1], hidden=Gaussian(), loss=Quartic()).save(tmp_path / "net")
    with pytest.raises(ValueError, match=message):
        cr.load(tmp_path / "net", custom=custom)


def test_custom_takes_objects_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="expected objects of your Activation and Loss classes"):
        cr.load(tmp_path / "net", custom=[Gaussian])  # type: ignore[list-item]


def test_an_own_function_with_a_known_name_is_not_mixed_up(tmp_path: Path) -> None:
    class Tanh(Gaussian):
        name = "tanh"

    Network([2, 3, 1], hidden=Tanh()).save(tmp_path / "net")
    with pytest.raises(ValueError, match="not chainrule's own"):
        cr.load(tmp_path / "net")
    back = cr.load(tmp_path / "net", custom=[Tanh()])
    assert type(back.layers[1].activation) is Tanh


def test_two_own_activations_of_one_name_are_refused(tmp_path: Path) -> None:
    network = Network([2, 3, 3, 1], hidden=[Gaussian(), Wider()])
    with pytest.raises(ValueError, match="two activations are called 'gaussian'"):
        network.save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_deep_networks_fit(tmp_path: Path) -> None:
    network = Network([1] * 10_001, seed=0)
    network.save(tmp_path / "net")
    assert same(cr.load(tmp_path / "net"), network)


# --- nothing else gets in -------------------------------------------------------------------------


def parts(network: Network) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the description of a network's file, to be tampered with."""
    tensors = {f"layers.{l}.W": layer.W for l, layer in enumerate(network.layers) if l}
    tensors |= {f"layers.{l}.b": layer.b for l, layer in enumerate(network.layers) if l}
    return dict(tensors), models.describe(network)


def put(path: Path, tensors: dict[str, np.ndarray], about: Any) -> None:
    text = about if isinstance(about, str) else json.dumps(about)
    path.write_bytes(serialize(tensors, {"chainrule": text}))


def tampered(change: Callable[[dict[str, np.ndarray], dict[str, Any]], None], path: Path) -> None:
    tensors, about = parts(Network([3, 4, 2], seed=0, dropout=0.5, l2=0.1))
    change(tensors, about)
    put(path, tensors, about)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, a: a.update(version=2), "newer chainrule, in format 2; .* update chainrule"),
        (lambda t, a: a.update(version=0), "no version"),
        (lambda t, a: a.update(version=True), "no version"),
        (lambda t, a: a.pop("version"), "no version"),
        (lambda t, a: a.pop("sizes"), "lacks 'sizes'"),
        (lambda t, a: a.update(momentum=1), "has 'momentum', which format 1 does not know"),
        (lambda t, a: a.update(sizes="3,4,2"), "sizes is '3,4,2', which is of the wrong kind"),
        (lambda t, a: a.update(sizes=[3]), "its sizes are not"),
        (lambda t, a: a.update(sizes=[3, 4.0, 2]), "its sizes are not"),
        (lambda t, a: a.update(sizes=[3, True, 2]), "its sizes are not"),
        (lambda t, a: a.update(sizes=[3, -4, 2]), "its sizes are not"),
        (lambda t, a: a.update(sizes=[3, 10**1000, 2]), "its sizes are not"),
        (lambda t, a: a.update(sizes=[3, 10**9, 2]), r"shape \[4, 3\]; expected \[1000000000, 3\]"),
        (lambda t, a: a.update(sizes=[3, 4, 2, 2]), "activations or dropout rates do not fit"),
        (lambda t, a: a.update(activations=["relu"]), "activations or dropout rates do not fit"),
        (lambda t, a: a.update(dropout=[]), "activations or dropout rates do not fit"),
        (
            lambda t, a: a.update(activations=["relu", "swoosh"]),
            "unknown activation 'swoosh'; known",
        ),
        (lambda t, a: a.update(activations=["softmax", "relu"]), "softmax is for the output layer"),
        (lambda t, a: a.update(activations=["relu", 3]), "activation 3 is of the wrong kind"),
        (lambda t, a: a.update(activations=["relu", {"own": []}]), "is of the wrong kind"),
        (
            lambda t, a: a.update(activations=["relu", {"own": [], "formula": ""}]),
            "activation \\[\\]",
        ),
        (lambda t, a: a.update(loss="hinge"), "unknown loss 'hinge'; known"),
        (lambda t, a: a.update(loss="cross_entropy"), "needs output='softmax'"),
        (lambda t, a: a.update(biases=1), "biases is 1, which is of the wrong kind"),
        (lambda t, a: a.update(biases=False), "has a tensor 'layers.1.b'"),
        (lambda t, a: a.update(dtype="float16"), "has dtype F64; expected float16"),
        (lambda t, a: a.update(dtype="float32"), "has dtype F64; expected float32"),
        (lambda t, a: a.update(seed=-1), "seed must be from 0"),
        (lambda t, a: a.update(seed=2**70), "seed must be from 0"),
        (lambda t, a: a.update(seed=False), "seed is False, which is of the wrong kind"),
        (lambda t, a: a.update(dropout=[1.5]), "dropout must be below 1"),
        (lambda t, a: a.update(dropout=["half"]), "dropout must be a number"),
        (lambda t, a: a.update(dropout=[[0.5]]), "dropout must be a number"),
        (lambda t, a: a.update(l2=-1), "l2 must be 0 or more"),
        (lambda t, a: a.update(l2=float("nan")), "l2 must be 0 or more"),
        (lambda t, a: a.update(l2=10**400), "too large"),
        (lambda t, a: t.pop("layers.2.b"), "lacks the tensor 'layers.2.b'"),
        (lambda t, a: t.update({"layers.3.W": np.zeros((2, 2))}), "has a tensor 'layers.3.W'"),
        (
            lambda t, a: t.update({"layers.1.W": np.zeros((3, 4))}),
            r"shape \[3, 4\]; expected \[4, 3\]",
        ),
        (lambda t, a: t.update({"layers.1.W": np.zeros(12)}), r"shape \[12\]; expected \[4, 3\]"),
        (lambda t, a: t.update({"layers.1.W": np.zeros((4, 3), int)}), "has dtype I64"),
        (lambda t, a: t["layers.2.W"].__setitem__((1, 2), np.nan), r"layers\[2\].W\[1, 2\] is nan"),
        (lambda t, a: t["layers.1.b"].__setitem__(3, np.inf), r"layers\[1\].b\[3\] is inf"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    change: Callable[[Any, Any], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    tampered(change, path)
    with pytest.raises(ValueError, match=message) as caught:
        cr.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no version"),
        ("7", "no version"),
        ('{"version": 1, "sizes": ' + "9" * 5000 + "}", "not JSON"),
        (json.dumps({"version": 1, "sizes": [1] * 2_000_000}), "too long"),
    ],
)
def test_descriptions_that_are_none(about: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "net", parts(Network([1, 1]))[0], about)
    with pytest.raises(ValueError, match=message):
        cr.load(tmp_path / "net")


def test_absurd_sizes_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "net"
    tampered(lambda t, a: a.update(sizes=[10**9, 10**9, 10**9]), path)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected"):
            cr.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("archive/data.pkl")  # of 1980: a name of a test tells no time
        archive.writestr(entry, b"x" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "it is a PNG image"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "it is an HTML"),
        (zip_file(), "it is a zip archive, as PyTorch's"),
        (b"\x80\x04\x95" + bytes(50), "a Python pickle, .* never read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"x1,x2,y\n1,2,3\n" * 10, "damaged, cut short, or of another kind"),
        (b"\xff" * 8 + b"{}", "damaged, cut short, or of another kind .*header would be 18,446,7"),
        ((10**15).to_bytes(8, "little") + b"{}", "damaged, cut short, or of another kind"),
    ],
)
def test_foreign_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        cr.load(path)
    assert str(caught.value).startswith(f"{path} is not a chainrule model file: ")


def test_a_safetensors_file_of_others(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(serialize({"weight": np.zeros(3)}, {"format": "pt"}))
    with pytest.raises(ValueError, match="no 'chainrule'"):
        cr.load(tmp_path / "net")
    (tmp_path / "net").write_bytes(serialize({"weight": np.zeros(3)}))
    with pytest.raises(ValueError, match="no 'chainrule'"):
        cr.load(tmp_path / "net")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net"
    Network([2, 2, 1], seed=0).save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a chainrule model file"):
            cr.load(path)


@given(st.data())
def test_a_damaged_file_gives_one_clear_error(data: st.DataObject) -> None:
    with temporary_path() as path:
        Network([2, 2, 1], seed=0).save(path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            i = data.draw(st.integers(0, len(content) - 1))
            content[i] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            network, error = cr.load(path), ""
        except ValueError as caught:
            network, error = None, str(caught)
        assert "\n" not in error
        assert network is None or same(network, Network([2, 2, 1], seed=0))  # nothing was changed


# --- the file system ------------------------------------------------------------------------------


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Path]:
    """A saved network; the folder must hold nothing else at the end of the test."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "net.safetensors"
    Network([4, 4, 1], seed=1).save(path)
    yield path
    assert [p.name for p in folder.iterdir()] == ["net.safetensors"]


def is_old(path: Path) -> bool:
    return same(cr.load(path), Network([4, 4, 1], seed=1))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*none'"):
        cr.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        cr.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        Network([1, 1]).save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/none/net'"):
        Network([1, 1]).save(tmp_path / "none" / "net")
    assert not list(tmp_path.iterdir())


def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ValueError, match="is not a regular file"):
            cr.load(path)
        with pytest.raises(ValueError, match="is not a regular file"):
            Network([1, 1]).save(path)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder to work in without root's powers, if it is root who runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_no_permission(as_nobody: Path) -> None:
    folder = as_nobody / "models"
    net = folder / "net.safetensors"
    folder.mkdir()
    Network([4, 4, 1], seed=1).save(net)
    denied = r"Permission denied: '.*/net\.safetensors'"

    net.chmod(0o444)  # a protected file in a folder that is open
    with pytest.raises(PermissionError, match=denied):
        Network([1, 1]).save(net)
    assert is_old(net)
    net.chmod(0o666)
    folder.chmod(0o555)  # the other way round
    with pytest.raises(PermissionError, match=denied):
        Network([1, 1]).save(net)
    assert is_old(net)
    net.chmod(0o000)
    with pytest.raises(PermissionError, match=denied):
        cr.load(net)
    folder.chmod(0o755)
    assert os.listdir(folder) == ["net.safetensors"]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "net", tmp_path / "link"
    network = Network([2, 1], seed=0)
    network.save(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to(path)
    Network([3, 1], seed=0).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert cr.load(path).sizes == (3, 1)


def test_nan_is_not_saved(net: Path) -> None:
    network = Network([4, 4, 1])
    network.layers[2].W[0, 3] = np.nan
    with pytest.raises(ValueError, match=r"layers\[2\].W\[0, 3\] is nan"):
        network.save(net)
    assert is_old(net)


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_disk_full_leaves_the_old_file(net: Path) -> None:
    ran = run_python(
        """
        import resource, sys
        from chainrule.network import Network
        network = Network([100, 100, 1])
        import safetensors.numpy
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            network.save(sys.argv[1])
        except OSError as error:
            print(error)
        """,
        net,
    )
    assert ran.returncode == 0, ran.stderr
    assert "File too large" in ran.stdout
    assert str(net) in ran.stdout
    assert is_old(net)


def test_a_write_that_fails_late_leaves_the_old_file(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OSError, match=r"No space left on device: '.*/net\.safetensors'"):
                Network([1, 1]).save(net)
        assert is_old(net)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_kill_while_saving_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """Two networks are saved in turn; the writer is killed at many moments."""
    path = tmp_path / "net"
    nets = [Network([300, 300, 10], seed=seed, dtype="float32") for seed in (0, 1)]
    nets[0].save(path)
    code = textwrap.dedent(
        """
        import sys
        from chainrule.network import Network
        nets = [Network([300, 300, 10], seed=seed, dtype="float32") for seed in (0, 1)]
        nets[0].save(sys.argv[1])
        print("ready", flush=True)
        while True:
            for net in nets:
                net.save(sys.argv[1])
        """
    )
    for moment in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.0007 * moment)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert any(same(cr.load(path), network) for network in nets)

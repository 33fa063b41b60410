"""The demo: learn handwritten digits, then explain and prove one gradient."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.equations.optimizers import Adam
from chainrule.equations.schedules import Cosine
from chainrule.equations.targets import Weight
from chainrule.network import Network
from chainrule.storage.atomic import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

    from chainrule.explain import Explanation

Array = NDArray[Any]

EPOCHS = 60
_SIZES = [64, 64, 32, 10]
_STEP = 0.01  # η of the update that is shown
_SHADES = " ░▒▓█"
_WIDEST = 100


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 brightnesses from 0 to 1, and their digits."""

    X: Array
    y: Array


def run(out: Path, *, seed: int = 0, epochs: int | None = None, plain: bool = False) -> int:
    """Run the demo, write the model and the test images to ``out``, and return the exit code.

    Raises ImportError without scikit-learn, OSError if ``out`` cannot be written, and
    KeyboardInterrupt if the training was interrupted.
    """
    digits = load_digits()
    with _folder(out):
        return _run(out, digits, seed, epochs, plain)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder for the files of the block; remove it if the block fails and it is empty."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty
            for folder in made:
                folder.rmdir()
        raise


def _run(out: Path, digits: tuple[Digits, ...], seed: int, epochs: int | None, plain: bool) -> int:
    console = _console(plain)
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    train, validation, test = digits
    network = make_network(seed)

    def say(text: str = "", style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say("Learning handwritten digits", "bold")
    split = f"{len(train.y)} images for training, {len(validation.y)} for validation"
    say(f"  {split}, {len(test.y)} for the test")
    say(f"  {network}")
    epochs = EPOCHS if epochs is None else epochs
    live = not plain and sys.stdout is not None and sys.stdout.isatty()
    history = network.fit(
        train.X, train.y, optimizer=Adam(learning_rate=Cosine(0.003, epochs)), epochs=epochs,
        batch_size=32, validation_data=(validation.X, validation.y), verbose=int(live),
    )  # fmt: skip
    if history.stop_reason == "interrupted":
        raise KeyboardInterrupt
    if not live:  # otherwise the progress bar has shown it
        say(textwrap.indent(textwrap.fill(history.summary(), width - 2), "  "))

    predicted = network.predict_classes(test.X)
    wrong = int((predicted != test.y).sum())
    say(
        f"  test accuracy {np.mean(predicted == test.y):.4f}: {wrong} of {len(test.y)} wrong",
        "bold",
    )
    say(f"  {_worst_pair(test.y, predicted)}")

    row = hardest(network, test)
    x, digit = test.X[row], int(test.y[row])
    target = steepest(network, x, digit)
    why = network.explain(target, x[None], [digit], learning_rate=_STEP)
    say()
    kind = "The mistake with the highest loss" if wrong else "No mistakes; the highest loss"
    say(f"{kind}: test image {row}", "bold")
    for line in portrait(network, x, digit):
        say(f"  {line}")
    say()
    say(f"Why, for one weight: {target}, the one with the largest gradient for this image", "bold")
    say()
    say(why.text(width=width).rstrip())
    say()
    say("What it means", "bold")
    for line in meaning(network, why, x, digit, width - 2):
        say(f"  {line}")

    network.save(out / "digits.safetensors")
    write_atomically(out / "digits-test.csv", as_csv(test).encode())
    say()
    say(f"Saved: the network and the {len(test.y)} test images, in {out}{os.sep}", "bold")
    say("Explain another weight, bias (b[1][0]), unit (a[2][5]), pixel (x[20]) or row with:")
    say(f"  {command(out, target, row)}")
    return 0


def load_digits() -> tuple[Digits, Digits, Digits]:
    """Return scikit-learn's digits in a fixed split: 1,257 to train, 180 to validate, 360 to test.

    Raises ImportError, with what to do, if scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "the demo needs scikit-learn, which provides the images: pip install 'chainrule[demo]'"
        ) from None
    bunch = datasets.load_digits()
    X, y = (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    parts = np.split(order, [1257, 1437])
    train, validation, test = (Digits(X[part], y[part]) for part in parts)
    return train, validation, test


def make_network(seed: int) -> Network:
    """Return the network of the demo before training."""
    return Network(
        _SIZES, hidden=["relu", "tanh"], output="softmax", loss="cross_entropy", dtype="float32",
        seed=seed, dropout=[0.2, 0.0],
    )  # fmt: skip


def hardest(network: Network, digits: Digits) -> int:
    """Return the row with the highest loss, among those that the network gets wrong if any."""
    losses = network.gradient(digits.X, digits.y).sample_losses
    wrong = network.predict_classes(digits.X) != digits.y
    return int(np.argmax(np.where(wrong, losses, -1) if wrong.any() else losses))


def steepest(network: Network, x: Array, digit: int) -> Weight:
    """Return the weight with the largest gradient, in absolute value, for one image."""
    gradients = list(network.gradient(x[None], [digit]).dW)
    layer = int(np.argmax([np.abs(dW).max() for dW in gradients]))
    dW = gradients[layer]
    j, k = np.unravel_index(int(np.argmax(np.abs(dW))), dW.shape)
    return Weight(layer + 1, int(j), int(k))


def _worst_pair(y: Array, predicted: Array) -> str:
    """Return a line on the digit that is most often taken for another."""
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (y, predicted), 1)
    np.fill_diagonal(table, 0)
    if not table.any():
        return "no digit is taken for another"
    true, taken = np.unravel_index(int(np.argmax(table)), table.shape)
    count, of = table[true, taken], int((y == true).sum())
    times = "once" if count == 1 else f"{count} times"
    return f"most confused: {true} taken for {taken}, {times} among {of} images of {true}"


def portrait(network: Network, x: Array, digit: int) -> list[str]:
    """Draw an image in Unicode blocks, with the output of the network beside it."""
    levels = np.rint(x.reshape(8, 8) * (len(_SHADES) - 1)).astype(int)
    image = ["".join(_SHADES[level] * 2 for level in row) for row in levels]
    a = network.forward(x[None]).a[-1][0]
    loss = network.loss_value(x[None], [digit])
    taken = int(np.argmax(a))
    facts = [
        f"true digit       {digit}   probability {_percent(a[digit])}",
        f"predicted digit  {taken}   probability {_percent(a[taken])}",
        f"loss  −ln {a[digit]:.3g} = {loss:.3g}".replace("-", "−"),
        "",
    ]
    for j in np.argsort(-a, kind="stable")[:4]:
        bar = "█" * max(int(np.rint(30 * a[j])), 0) or "▏"
        facts.append(f"{j}  {bar:<30} {_percent(a[j]):>7}")
    return [
        f"┌{'─' * 16}┐",
        *(f"│{pixels}│   {fact}".rstrip() for pixels, fact in zip(image, facts, strict=True)),
        f"└{'─' * 16}┘",
    ]


def _percent(a: float) -> str:
    return f"{100 * a:.1f} %" if 0.001 <= a <= 0.9995 else f"{100 * a:.2g} %"


def meaning(network: Network, why: Explanation, x: Array, digit: int, width: int) -> list[str]:
    """Return what the gradient of a weight does in an update, with a measurement of it."""
    assert isinstance(why.target, Weight)
    l, j, k = why.target.layer, why.target.j, why.target.k
    changed = network.copy()
    changed.layers[l].W[j, k] -= _STEP * why.value
    before, after = (net.loss_value(x[None], [digit]) for net in (network, changed))
    up, move = ("raises", "down") if why.value > 0 else ("lowers", "up")
    proof = {
        "pass": "The certificate above proves it: finite differences and arithmetic in 30 digits, "
        "which do not use backpropagation, find the same number.",
        "kink": "The loss has a kink here, as the certificate says.",
        "not resolved": "The certificate could not resolve this number; it says why.",
        "fail": "The certificate FAILED: this number is wrong. Please report it.",
    }[why.certificate.verdict]
    text = (
        f"The gradient is {why.value:+.4g}: making this weight larger {up} the loss, so gradient "
        f"descent moves it {move}. A step with η = {_STEP} should change the loss of this image by "
        f"about −η · gradient² = {-_STEP * why.value**2:.4g}; updating this weight alone changes "
        f"it from {before:.4f} to {after:.4f}, by {after - before:.4g}. {proof}"
    )
    return textwrap.wrap(text.replace(" -", " −"), width)


def as_csv(digits: Digits) -> str:
    """Return the images as CSV: 64 pixels by row and column, then the digit."""
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    lines = [",".join([*names, "digit"])]
    for x, digit in zip(digits.X, digits.y, strict=True):
        lines.append(",".join([*(f"{brightness:g}" for brightness in x), str(digit)]))
    return "\n".join(lines) + "\n"


def command(out: Path, target: Weight, row: int) -> str:
    """Return the command that explains a target again, for the shell that started the demo."""
    model, data = (
        shlex.quote(str(out / name)) for name in ("digits.safetensors", "digits-test.csv")
    )
    return f"{_program()} explain {model} '{target}' \\\n      --data {data} --row {row}"


def _program() -> str:
    """Return the words that start chainrule: its name alone only if the shell would find it."""
    beside = Path(sys.executable).with_name("chainrule")
    found = shutil.which("chainrule")
    if found and beside.exists() and os.path.samefile(found, beside):
        return "chainrule"
    program = beside if beside.exists() else Path(sys.executable)
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program)) + ("" if beside.exists() else " -m chainrule")


def _console(plain: bool) -> Console:
    from rich.console import Console

    if plain:
        return Console(color_system=None, force_terminal=False)
    return Console()

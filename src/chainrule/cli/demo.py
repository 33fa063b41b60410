"""`chainrule demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Needs scikit-learn, which brings the images: pip install 'chainrule[demo]'.")
@click.option(
    "--out",
    metavar="FOLDER",
    default="demo-output",
    show_default=True,
    help="Where the model and the test images are put.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=None, help="Passes over the data. [60]")
@click.option("--plain", is_flag=True, help="No colour and no progress bar.")
def demo(out: str, seed: int, epochs: int | None, plain: bool) -> int:
    """Learn handwritten digits, then explain and prove one gradient.

    A network learns 1,797 images of handwritten digits. Of those that it gets wrong, the one with
    the highest loss is shown, and the weight with the largest gradient for it is explained: the
    chain rule in symbols, in numbers, and the proof. Takes less than a minute.
    """
    from chainrule.cli.digits import run

    return run(Path(out), seed=seed, epochs=epochs, plain=plain)

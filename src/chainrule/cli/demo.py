"""`chainrule demo`."""

from __future__ import annotations

from pathlib import Path

import click

from chainrule.cli.shared import SEED, plain_option


@click.command(
    epilog="Needs scikit-learn, which provides the images: pip install 'chainrule[demo]'."
)
@click.option(
    "--out",
    metavar="FOLDER",
    default="demo-output",
    show_default=True,
    help="Folder for the model and the test images.",
)
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Seed of the weights and the batches."
)
@click.option("--epochs", type=click.IntRange(1), default=None, help="Number of epochs. [60]")
@plain_option
def demo(out: str, seed: int, epochs: int | None, plain: bool) -> int:
    """Learn handwritten digits, then explain and prove one gradient.

    Trains a network on 1,797 images of handwritten digits. Of the test images that it gets wrong,
    shows the one with the highest loss, and explains the weight with the largest gradient for it:
    the chain rule in symbols, in numbers, and the proof. Takes less than a minute.
    """
    from chainrule.cli.digits import run

    return run(Path(out), seed=seed, epochs=epochs, plain=plain)

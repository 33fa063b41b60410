"""`chainrule explain`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import Loaded, load
from chainrule.cli.shared import ABOVE_0, WIDEST, Rows, choose, data_options, has
from chainrule.storage.atomic import write_atomically

if TYPE_CHECKING:
    from chainrule.explain import Explanation, WorkedExample
    from chainrule.explain.array_explanation import ArrayExplanation
    from chainrule.explain.paths import Paths


@click.command(
    epilog="""\b
    TARGET is the quantity to differentiate with respect to, with indices from 0:
      w[2][1,2]   the weight from unit 2 of layer 1 to unit 1 of layer 2
      b[2][1]     the bias of unit 1 of layer 2
      z[1][0]     the pre-activation of unit 0 of layer 1
      a[1][3]     the activation of unit 3 of layer 1
      x[0]        input 0
      W[2]        all weights of layer 2, in matrix form
      b[1]        all biases of layer 1, in matrix form
    In the model of a table, columns name the inputs: x[age], w[1][0,colour=red].
    Quote TARGET: brackets mean something to a shell.

    \b
    Examples:
      chainrule explain net.safetensors 'w[2][1,2]' --data samples.csv --row 0
      chainrule explain net.safetensors 'b[1][0]' --data samples.csv --rows 0:32
      chainrule explain net.safetensors 'x[3]' --data samples.csv --row 7 \\
          --format html --out why.html
      chainrule explain net.safetensors 'w[1][0,1]' --data samples.csv --row 0 --paths 10
      chainrule explain net.safetensors --whole --data samples.csv --row 0 \\
          --learning-rate 0.5 --out example.pdf
    """
)
@click.argument("model")
@click.argument("target", required=False)
@click.option(
    "--whole",
    is_flag=True,
    help="Work samples through the network: forward pass, loss, every gradient and update.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    metavar="N",
    help="With --whole: so many steps of gradient descent.  [default: 1]",
)
@click.option("--freeze-biases", is_flag=True, help="With --whole: leave the biases as they are.")
@data_options
@click.option(
    "--label", metavar="VALUE", help="The value of the target, for a table without that column."
)
@click.option(
    "--row", type=click.IntRange(0), metavar="N", help="Explain one sample, counted from 0."
)
@click.option(
    "--rows", type=Rows(), help="Explain the mean over some samples: 0:32 is the first 32."
)
@click.option("--all-rows", is_flag=True, help="Explain the mean over all samples.")
@click.option(
    "--learning-rate", type=ABOVE_0, metavar="X", help="Show the update with this learning rate."
)
@click.option(
    "--paths",
    type=click.IntRange(1),
    metavar="N",
    help="Show the N largest paths from TARGET to the loss instead, and the rest as one number.",
)
@click.option(
    "--notation",
    metavar="NAME",
    default="default",
    help="Letters and indices: default, or C-a-L or L-h, as in the two lessons in examples/.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "latex", "html", "mathml", "json", "pdf"]),
    help="Format of the explanation; pdf is for --whole and whole arrays.  "
    "[default: text, or pdf for a --out that ends in .pdf]",
)
@click.option("--out", metavar="FILE", help="Write to a file instead of the screen.")
def explain(
    model: str,
    target: str | None,
    whole: bool,
    steps: int | None,
    freeze_biases: bool,
    data: str,
    label: str | None,
    row: int | None,
    rows: slice | None,
    all_rows: bool,
    learning_rate: float | None,
    paths: int | None,
    notation: str,
    form: str | None,
    out: str | None,
    **reading: Any,
) -> None:
    """Explain the derivative of the loss with respect to one quantity, term by term.

    Shows the chain rule for TARGET in the network of the file MODEL: each term on its own, the
    terms together, the same with the numbers of the sample, and the proof that the result is right.
    With --whole there is no TARGET: the samples are worked through the network.
    """
    form = form or ("pdf" if out is not None and out.lower().endswith(".pdf") else "text")
    _check_kind(target, whole, steps, freeze_biases, learning_rate, form)
    if paths is not None:
        _check_paths(target, whole, form, rows is not None or all_rows, learning_rate)
    if form == "pdf" and out is None:
        raise click.UsageError("a PDF needs a file: --out FILE")
    if (row is not None) + (rows is not None) + all_rows > 1:
        raise click.UsageError("--row, --rows and --all-rows exclude each other; choose one")
    loaded = load(model, data, reading, label)
    n_rows = loaded.n_rows
    if row is not None and row >= n_rows:
        raise click.UsageError(f"there is no row {row}; {has(n_rows, data)}")
    if row is None and rows is None and not all_rows and n_rows > 1:
        raise click.UsageError(
            f"choose samples with --row N, --rows A:B or --all-rows; {has(n_rows, data)}"
        )
    chosen = slice(row, row + 1) if row is not None else choose(rows or slice(None), n_rows, data)
    X, y, names = loaded.take(chosen)
    from chainrule import explain as room
    from chainrule.explain.paths import Paths

    explanation: Explanation | ArrayExplanation | WorkedExample | Paths
    if target is None:
        assert learning_rate is not None
        explanation = room.worked_example(
            loaded.network, X, y, learning_rate=learning_rate, steps=steps or 1,
            freeze_biases=freeze_biases, notation=notation, first_sample=chosen.start or 0,
        )  # fmt: skip
    else:
        explanation = loaded.network.explain(
            _by_index(loaded, target), X, y, learning_rate=learning_rate, notation=notation,
            names=names, first_sample=chosen.start or 0,
        )  # fmt: skip
    if paths is not None:
        if not isinstance(explanation, room.Explanation):
            raise click.UsageError(f"--paths needs a single quantity, not the whole array {target}")
        explanation = explanation.paths(paths)
    if form == "pdf":
        assert not isinstance(explanation, Paths)
        if isinstance(explanation, room.Explanation):
            raise click.UsageError(
                f"a PDF of the single quantity {target} does not exist; choose html or latex, "
                "--whole, or a whole array such as 'W[1]'"
            )
        assert out is not None
        write_atomically(out, explanation.pdf())
        return
    text = _render(explanation, form).rstrip("\n")
    if out is None:
        click.echo(text)
    else:
        write_atomically(out, f"{text}\n".encode())


def _check_kind(
    target: str | None,
    whole: bool,
    steps: int | None,
    freeze_biases: bool,
    learning_rate: float | None,
    form: str,
) -> None:
    """Raise UsageError unless the options ask either for one target or for a whole example."""
    if whole and target is not None:
        raise click.UsageError(f"TARGET {target} and --whole exclude each other; choose one")
    if not whole and target is None:
        raise click.UsageError("pass TARGET, such as 'w[2][1,2]', or --whole for all of them")
    if not whole and (steps is not None or freeze_biases):
        raise click.UsageError("--steps and --freeze-biases need --whole")
    if whole and learning_rate is None:
        raise click.UsageError("--whole needs --learning-rate X for the updates")
    if whole and form == "mathml":
        raise click.UsageError("--whole cannot write mathml; choose text, latex, html or json")


def _check_paths(
    target: str | None, whole: bool, form: str, many: bool, learning_rate: float | None
) -> None:
    """Raise UsageError unless paths are asked for of one sample, in a format that they have."""
    if whole or target is None:
        raise click.UsageError("--paths and --whole exclude each other; choose one")
    if many:
        raise click.UsageError("--paths shows one sample; choose it with --row N")
    if form in ("mathml", "pdf"):
        raise click.UsageError(f"--paths cannot write {form}; choose text, latex, html or json")
    if learning_rate is not None:
        raise click.UsageError("--paths shows no update; leave out --learning-rate")


def _by_index(loaded: Loaded, target: str) -> str:
    """Return a target with indices where it names columns of a table."""
    if loaded.table is None:
        return target
    from chainrule.tables.naming import by_index

    return by_index(target, loaded.table.schema, len(loaded.network.sizes) - 1)


def _render(explanation: Explanation | ArrayExplanation | WorkedExample | Paths, form: str) -> str:
    if form == "json":
        return json.dumps(explanation.to_dict(), indent=2, ensure_ascii=False)
    if form == "text":
        return explanation.text(width=min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
    render: Callable[[], str] = getattr(explanation, form)
    return render()

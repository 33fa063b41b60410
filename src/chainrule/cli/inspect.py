"""`chainrule inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from chainrule.cli.loaded import load_tables
from chainrule.cli.shared import Page, a_number, json_option, of_option, test_rows
from chainrule.cli.told import tell_held_out
from chainrule.storage.models import describe

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.tables.model import TableModel


@click.command(
    epilog="""\b
    Examples:
      chainrule inspect model
      chainrule inspect stores.model --of Bonn
    """
)
@click.argument("model")
@of_option
@json_option
def inspect(model: str, of: str | None, as_json: bool) -> None:
    """Describe the file MODEL: columns, classes, network, training and measures.

    Of a file from train --by, it describes the groups, or with --of the model of one.
    """
    from chainrule.loading import load
    from chainrule.tables.groups import GroupedModel, about_groups

    found = load_tables(model)
    if isinstance(found, GroupedModel):
        if of is None:
            if as_json:
                click.echo(json.dumps(about_groups(found), indent=2, ensure_ascii=False))
            else:
                from chainrule.cli.by import tell_file

                tell_file(Page(plain=False), model, found)
            return
        table: TableModel | None = found.one(of)
    elif of is not None:
        raise click.UsageError(f"--of is for models from train --by, but {model} has one model")
    else:
        table = found
    network = load(model) if table is None else table.network
    if as_json:
        click.echo(json.dumps(data_of(network, table), indent=2, ensure_ascii=False))
        return
    page = Page(plain=False)
    page.say(f"{model}: {'a network' if table is None else 'the model of a table'}", "bold")
    many = 1 if table is None else len(table.networks)
    page.fact("network", f"{f'{many} × ' if many > 1 else ''}{network}")
    page.fact("", _details(network))
    if table is not None:
        tell(page, table)


def data_of(network: Network, table: TableModel | None) -> dict[str, Any]:
    """Return what a model file is, as plain data."""
    about = {**describe(network), "parameters": int(network.parameters.size)}
    if table is None:
        return {"network": about}
    if table.others:
        about["members"] = [member.seed for member in table.networks]
    told = {
        **table.schema.to_dict(),
        "inputs": table.schema.inputs,
        "training": table.training,
        "measures": table.measures,
        "held_out": table.held_out.summary(),
        "chainrule": table.version,
    }
    return {"network": about, "table": told}


def _details(network: Network) -> str:
    rates = [layer.dropout for layer in network.layers[1:-1]]
    parts = [f"seed {network.seed}", f"l2 {network.l2:.4g}"]
    parts += [f"dropout {', '.join(f'{rate:g}' for rate in rates)}"] if any(rates) else []
    return ", ".join(parts)


def tell(page: Page, table: TableModel) -> None:
    """Print a description of the model of a table."""
    schema, target = table.schema, table.schema.target
    if target.task == "classify":
        words = f"{len(target.classes)} classes: {', '.join(target.classes)}"
    else:
        words = a_number(target)
    page.fact("target", f"{target.name}: {words}")
    for other in schema.more:
        page.fact("", f"{other.name}: {a_number(other)}")
    page.fact("columns", f"{len(schema.columns)}, which become {len(schema.inputs)} inputs")
    rows: list[tuple[str, str, str]] = [(c.kind, c.name, c.words) for c in schema.columns]
    rows += [("left out", c.name, c.why) for c in schema.left_out]
    width = min(max(len(name) for _, name, _ in rows), 30)
    for kind, name, words in rows:
        page.say(f"  {kind:<8}  {name:<{width}}  {words}", "dim" if kind == "left out" else None)
    facts = dict(table.training)
    counts = facts.pop("rows", {})
    split = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    page.fact("rows", split)
    stopped = facts.pop("stopped", None)
    shown = ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in facts.items())
    page.fact("training", shown)
    if stopped is not None:
        page.fact("stopped", f"by {stopped}" if str(stopped).startswith("early") else str(stopped))
    if table.measures.get("model"):
        from chainrule.tables.measures import lines

        page.fact("measures", f"on the {test_rows(counts.get('test', 0))}")
        whose = "largest class" if target.task == "classify" else "mean"
        of_one = (
            () if schema.more else (table.measures["model"], table.measures.get("baseline", {}))
        )
        for line in lines(*of_one, whose) if of_one else ():
            page.say(f"  {line}")
        tell_held_out(page, table.held_out)
    if (found := table.held_out.calibration) is not None:
        for line in found.lines():
            page.say(f"    {line}")
    page.fact("written", f"by chainrule {table.version}")


def _plain(value: Any) -> str:
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )

"""The public names and their docstrings, taken apart into the sections of Google's style."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import catalogue

import chainrule

_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns|Source|Note|Examples?):$")
_ENTRY = re.compile(r"^\*{0,2}([\w.]+)(?: \([^)]*\))?: +")


def parts_of(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and its sections, each dedented."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    current = text
    for line in inspect.cleandoc(docstring).splitlines():
        if match := _SECTION.match(line):
            current = sections.setdefault(match[1].replace("Examples", "Example"), [])
        elif line and not line.startswith(" ") and current is not text:
            current = text  # what is not indented under a section belongs to none
            current += ["", line]
        else:
            current.append(line)
    return "\n".join(text).strip(), {
        name: textwrap.dedent("\n".join(lines)).strip() for name, lines in sections.items()
    }


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Find the names of a section such as Args, each with its text."""
    name, lines = "", list[str]()
    for line in section.splitlines():
        if match := _ENTRY.match(line):
            if name:
                yield name, textwrap.dedent("\n".join(lines))
            name, lines = match[1], [" " * 4 + line[match.end() :]]
        else:
            lines.append(line)
    if name:
        yield name, textwrap.dedent("\n".join(lines))


def found(name: str) -> Any:
    """Find a public object, or a class of the package that is met but not imported by users."""
    module, _, attribute = name.rpartition(".")
    package = importlib.import_module(module)
    if attribute in getattr(package, "__all__", ()) or hasattr(package, attribute):
        return getattr(package, attribute)
    for info in sorted(_modules(), key=lambda info: info.name.count(".")):
        try:
            value = getattr(importlib.import_module(info.name), attribute, None)
        except ModuleNotFoundError:  # of a library that is not installed, such as PyTorch
            continue
        if inspect.isclass(value) and value.__module__ in (info.name, module):
            return value
    raise LookupError(f"{name}: no such class")


def _modules() -> Iterator[pkgutil.ModuleInfo]:
    for info in pkgutil.walk_packages(chainrule.__path__, "chainrule."):
        if not info.name.endswith("__main__") and "._" not in info.name:
            yield info


def summary(obj: Any) -> str:
    """Return the first sentence of a docstring."""
    text, _ = parts_of(obj.__doc__ or "")
    return " ".join(re.split(r"(?<=\.)\s|\n\n", text + "\n\n", maxsplit=1)[0].split())


def members(name: str, obj: type) -> dict[str, Any]:
    """Return the members that a page shows, in order: those chosen, or all that are public."""
    if name in catalogue.MEMBERS:
        return {member: getattr(obj, member) for member in catalogue.MEMBERS[name].split()}
    classes = [cls for cls in obj.__mro__ if cls.__module__.startswith("chainrule")]
    return {
        member: value
        for cls in classes
        for member, value in vars(cls).items()
        if member[0] != "_" and kind(value) != "attribute"
    }


def kind(value: Any) -> str:
    """Say what a member is: a property, a method or an attribute."""
    if isinstance(value, property | cached_property):
        return "property"
    return "method" if callable(value) else "attribute"

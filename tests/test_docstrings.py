"""The examples of public classes, which pytest's own search passes by: it looks for them by module.

It also holds what makes that necessary: a public class says that it is chainrule's.
"""

from __future__ import annotations

import doctest
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import chainrule
import chainrule.sklearn
import chainrule.verify

PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in (chainrule, chainrule.sklearn, chainrule.verify)
    for name in package.__all__
    if inspect.isclass(getattr(package, name))
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples() -> Iterator[Any]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name, cls in PUBLIC.items():
        room = sys.modules[_room(cls)]
        for found in finder.find(cls, name, module=False, globs=dict(vars(room))):
            if found.examples:
                yield pytest.param(found, id=found.name)


def _room(cls: type[Any]) -> str:
    """The module where a class was made, whatever it says."""
    for name, module in sorted(sys.modules.items(), key=lambda item: -item[0].count(".")):
        if name.startswith("chainrule.") and vars(module).get(cls.__name__) is cls:
            return name
    raise AssertionError(f"{cls} is in no module")


@pytest.mark.parametrize("example", list(examples()))
def test_example(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_class_says_where_users_find_it(name: str) -> None:
    cls = PUBLIC[name]
    assert f"{cls.__module__}.{cls.__qualname__}" in (name, f"chainrule.{cls.__name__}")

"""The rooms of csrc and winipc: which of them need which others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT


def test_rooms_of_the_core_need_each_other_one_way() -> None:
    """By what their files include; base needs no other."""
    needs: dict[str, set[str]] = {}
    for file in (ROOT / "csrc").glob("*/*.[ch]"):
        room = needs.setdefault(file.parent.name, set())
        room |= set(re.findall(r'^#include "(\w+)/', file.read_text(), re.MULTILINE))
        room.discard(file.parent.name)
    assert needs["base"] == set()
    list(TopologicalSorter(needs).static_order())


def imports(body: list[ast.stmt]) -> Iterator[str]:
    """The subjects of winipc that a module needs while it is imported."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "winipc"
        ):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name.split(".")[1] for name in names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from imports(node.body + node.orelse)


def test_packages_need_each_other_one_way() -> None:
    """At import; what functions import later is named in docs/architecture.md."""
    needs: dict[str, set[str]] = {}
    package = ROOT / "winipc"
    for file in package.rglob("*.py"):
        path = file.relative_to(package)
        if path == Path("__init__.py"):
            continue
        name = path.parts[0].removesuffix(".py")
        body = ast.parse(file.read_text(encoding="utf-8")).body
        needs.setdefault(name, set()).update(set(imports(body)) - {name})
    modules = set(needs)
    list(TopologicalSorter({k: v & modules for k, v in needs.items()}).static_order())

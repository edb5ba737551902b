"""A stand-in for winipc._core, which Linux cannot import: types and docstrings only.

It is the stub file with the docstrings of the built module. With it, the rest of winipc
can be imported and documented; none of its functions works.
"""

import ast
import re
from collections.abc import Iterable, Mapping

# Modules for type checkers only: the package itself imports this module first.
CHECKERS_ONLY = ("_typeshed", "typing_extensions", "winipc.process.types")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def stand_in(stub: str, docstrings: Mapping[str, str]) -> str:
    """The source of the module, from the text of `_core.pyi`."""
    tree = ast.parse(stub)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
            node.body = _without_overloads(node.body)
            # The classes of the package add __weakref__, as to those of C.
            node.body += ast.parse("__slots__ = ()").body
        elif isinstance(node, ast.Call):
            # bound= of a type variable names a class that comes later.
            for keyword in node.keywords:
                keyword.value = ast.Constant(ast.unparse(keyword.value))
    _describe(tree.body, "", docstrings)
    future = ast.parse("from __future__ import annotations").body
    tree.body = [
        node
        for node in [*tree.body[:1], *future, *tree.body[1:]]
        if not (isinstance(node, ast.ImportFrom) and node.module in CHECKERS_ONLY)
    ]
    # Imports of winipc for annotations come last, as winipc imports this module.
    tree.body.sort(key=_is_of_winipc)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _without_overloads(body: list[ast.stmt]) -> list[ast.stmt]:
    """One function for all overloads of a name: Sphinx sees none of another module."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and _is_overload(node):
            found.setdefault(node.name, []).append(node)
    for overloads in found.values():
        whole = max(overloads, key=lambda one: len(_parameters(one)))
        positional = [*whole.args.posonlyargs, *whole.args.args]
        for name, parameter in _parameters(whole).items():
            same = [_parameters(one).get(name) for one in overloads]
            parameter.annotation = _union(one.annotation for one in same if one)
            needed = positional[: len(positional) - len(whole.args.defaults)]
            if None in same and parameter in needed:
                whole.args.defaults.append(ast.Constant(False))
        whole.returns = _union(one.returns for one in overloads)
        whole.decorator_list = []
    return [node for node in body if not _is_overload(node)]


def _is_overload(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(one, ast.Name) and one.id == "overload"
        for one in node.decorator_list
    )


def _parameters(function: ast.FunctionDef) -> dict[str, ast.arg]:
    of = function.args
    return {one.arg: one for one in (*of.posonlyargs, *of.args, *of.kwonlyargs)}


def _union(types: Iterable[ast.expr | None]) -> ast.expr | None:
    """What is one of several types; a private name is a part of a public one."""
    names = dict.fromkeys(ast.unparse(one) for one in types if one)
    public = [name for name in names if not name.startswith("_")] or list(names)
    text = "Any" if "Any" in public else " | ".join(public)
    text = re.sub(r"Literal\[(False|True)\] \| Literal\[(False|True)\]", "bool", text)
    return ast.parse(text, mode="eval").body if text else None


def _is_of_winipc(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("winipc")


def _describe(body: list[ast.stmt], prefix: str, docstrings: Mapping[str, str]) -> None:
    """Insert the docstrings."""
    for place, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            text = docstrings.get(prefix + ast.unparse(node.target))
            if text:
                body[place] = _property(node.target, node.annotation, text)
        if not isinstance(node, ast.ClassDef | Function):
            continue
        path = prefix + node.name
        if isinstance(node, ast.ClassDef):
            _describe(node.body, path + ".", docstrings)
        if path in docstrings:
            node.body.insert(0, ast.Expr(ast.Constant(docstrings[path])))


def _property(name: ast.expr, type: ast.expr, docstring: str) -> ast.stmt:
    """What stands for `name: type` or `name: Final[type]`."""
    if isinstance(type, ast.Subscript) and ast.unparse(type.value) == "Final":
        type = type.slice
    text = f"@property\ndef {ast.unparse(name)}(self): {docstring!r}"
    made = ast.parse(text).body[0]
    assert isinstance(made, ast.FunctionDef)
    made.returns = type
    return made

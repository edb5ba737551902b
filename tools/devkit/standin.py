"""A stand-in for winipc._core, which Linux cannot import: types and docstrings only.

It is the stub file with the docstrings of the built module. With it, the rest of winipc
can be imported and documented; none of its functions works.
"""

import ast
from collections.abc import Mapping

# Modules for type checkers only: the package itself imports this module first.
CHECKERS_ONLY = ("_typeshed", "typing_extensions", "winipc.process.types")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def stand_in(stub: str, docstrings: Mapping[str, str]) -> str:
    """The source of the module, from the text of `_core.pyi`."""
    tree = ast.parse(stub)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.decorator_list = []
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


def _is_of_winipc(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("winipc")


def _describe(body: list[ast.stmt], prefix: str, docstrings: Mapping[str, str]) -> None:
    """Insert the docstrings."""
    for node in body:
        if not isinstance(node, ast.ClassDef | Function):
            continue
        path = prefix + node.name
        if isinstance(node, ast.ClassDef):
            _describe(node.body, path + ".", docstrings)
        if path in docstrings:
            node.body.insert(0, ast.Expr(ast.Constant(docstrings[path])))

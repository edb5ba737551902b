"""The documentation site; `./dev docs` builds it, see tools/devkit/docs.py.

On Windows, with winipc and tools/requirements/docs.in installed,
`python -m sphinx docs build/docs` does as well.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def import_winipc() -> None:
    """Import all of winipc, on Linux over a stand-in for its C extension."""
    for name in (
        *("asyncio", "importlib.resources", "multiprocessing.connection"),
        "subprocess",
    ):
        importlib.import_module(name)
    platform = sys.platform
    if folder := os.environ.get("WINIPC_DOCS"):
        sys.path.insert(0, folder)
        sys.platform = "win32"
    try:
        import winipc

        for module in pkgutil.walk_packages(winipc.__path__, "winipc."):
            if module.name not in LEFT_OUT:
                importlib.import_module(module.name)
    finally:
        sys.platform = platform


#: Runs when it is imported, or needs what is not there.
LEFT_OUT = {
    *("winipc.__main__", "winipc._pyinstaller.hook-winipc"),
    *("winipc.jupyter", "winipc.memory._clang"),
}

import_winipc()

import winipc  # noqa: E402
import winipc.cli  # noqa: E402


class ApiDirective(SphinxDirective):
    """What modules offer: all that `winipc` exports, or with :all: all of it."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"all": directives.flag}

    def run(self) -> list[nodes.Node]:
        text = ""
        names = self.arguments[0].split()
        for name in modules_without_a_page() if names == ["..."] else names:
            module = importlib.import_module(f"winipc.{name}")
            if "all" in self.options:
                text += f".. py:module:: winipc.{name}\n\n"
            text += f"{inspect.getdoc(module)}\n\n"
            for item in module.__all__:
                if item in winipc.__all__:
                    path = f"winipc.{item}"
                elif "all" in self.options:
                    path = f"winipc.{name}.{item}"
                else:
                    continue
                text += f".. auto{kind_of(getattr(module, item))}:: {path}\n\n"
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n{text}```\n")


def modules_without_a_page() -> list[str]:
    """Modules of public names that no page of the reference asks for."""
    pages = Path(__file__).parent.glob("reference/*.md")
    text = "\n".join(page.read_text("utf-8") for page in pages)
    asked = " ".join(re.findall(r"{winipc-api} (.*)", text)).split()
    known: set[str] = set()
    for name in asked:
        if name != "...":
            known.update(importlib.import_module(f"winipc.{name}").__all__)
    return [
        name
        for _, name, _ in pkgutil.iter_modules(winipc.__path__)
        if f"winipc.{name}" in sys.modules
        and (set(getattr(sys.modules[f"winipc.{name}"], "__all__", ())) - known)
        & set(winipc.__all__)
    ]


def kind_of(item: object) -> str:
    """What autodoc calls it."""
    if isinstance(item, type):
        return "exception" if issubclass(item, BaseException) else "class"
    return "function" if inspect.isroutine(item) else "data"


class HelpDirective(SphinxDirective):
    """What `winipc --help` prints, and each command's --help."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"] = "80"
        found: list[nodes.Node] = []
        parser = winipc.cli._parser()
        for name, command in [("", parser), *sorted(commands_of(parser).items())]:
            text = command.format_help()
            block = nodes.literal_block(text, text, language="text")
            if not name:
                found.append(block)
                continue
            section = nodes.section(ids=[f"winipc-{name.replace(' ', '-')}"])
            section += nodes.title("", f"winipc {name}")
            section += block
            found.append(section)
        return found


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """All commands, those of commands too, by their names."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found[name] = command
                for inner, it in commands_of(command).items():
                    found[f"{name} {inner}"] = it
    return found


def keep_whole(
    _app: Sphinx, what: str, _name: str, _item: object, _options: object, lines: Any
) -> None:
    """Hold napoleon from taking `Whether ...: ...` of a property for its type."""
    if what in ("attribute", "property"):
        lines.insert(0, "")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("winipc-api", ApiDirective)
    app.add_directive("winipc-help", HelpDirective)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)


project = "winipc"
author = "the winipc developers"
version = release = winipc.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "py:obj"
# References to winipc have to be right; those to others are text.
nitpick_ignore_regex = [("py:.*", r"(?!winipc\.[A-Z]).*")]
# Two classes may have a field of the same name.
suppress_warnings = ["ref.python"]
toc_object_entries_show_parents = "hide"

autodoc_member_order = "groupwise"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    # Not those of Python itself.
    "inherited-members": "str, int, Flag, OSError, ValueError, EOFError, object",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"winipc {version}"
html_copy_source = False

"""The documentation site; `./dev docs` builds it, see tools/devkit/docs.py.

On Windows, with winipc and tools/requirements/docs.in installed,
`python -m sphinx docs build/docs` builds it, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

LOGGER = logging.getLogger(__name__)


def import_winipc() -> None:
    """Import all of winipc; on Linux, with a stand-in for its C extension."""
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


#: Modules that run when they are imported, or need packages that are not installed.
LEFT_OUT = {
    *("winipc.__main__", "winipc._pyinstaller.hook-winipc"),
    *("winipc.cli.server", "winipc.jupyter"),
    *("winipc.memory._clang", "winipc.scan._x86"),
}

import_winipc()

import winipc  # noqa: E402
import winipc.cli  # noqa: E402


class ApiDirective(SphinxDirective):
    """The public names of modules: those that `winipc` exports or, with :all:, all.

    A table of them comes first; the names in :first: are on top. A module's docstring
    comes before its first item.
    """

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {"all": directives.flag, "first": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        items: dict[str, tuple[str, Any, Any]] = {}
        names = self.arguments[0].split()
        for name in modules_without_a_page() if names == ["..."] else names:
            module = importlib.import_module(f"winipc.{name}")
            for item in module.__all__:
                if item in winipc.__all__:
                    items[item] = f"winipc.{item}", getattr(module, item), module
                elif "all" in self.options:
                    path = f"{module.__name__}.{item}"
                    items[item] = path, getattr(module, item), module
        first = self.options.get("first", "").split()
        ordered = [items.pop(name) for name in first] + list(items.values())
        text = ""
        if len(ordered) > 1:
            text = table_of(
                (path, summary_of(item, path.rpartition(".")[2], module))
                for path, item, module in ordered
            )
        told: set[str] = set()
        for path, item, module in ordered:
            if module.__name__ not in told:
                told.add(module.__name__)
                if "all" in self.options:
                    text += f".. py:module:: {module.__name__}\n\n"
                text += said_of(module)
            hidden = kind_of(item) == "data" and "._" in f"{item}"
            text += f".. auto{kind_of(item)}:: {path}\n"
            text += "   :no-value:\n" if hidden else ""
            if left_out := described_fields(item) + shown_with(item)[1]:
                text += f"   :exclude-members: {', '.join(left_out)}\n"
            text += "\n"
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n{text}```\n")


class NamesDirective(SphinxDirective):
    """A table of all names that `winipc` exports."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        rows = [
            (f"winipc.{name}", summary_of(getattr(winipc, name), name, winipc))
            for name in sorted(winipc.__all__, key=str.lower)
        ]
        return self.parse_text_to_nodes(f"```{{eval-rst}}\n{table_of(rows)}```\n")


def table_of(rows: Iterable[tuple[str, str]]) -> str:
    """A table of paths, as links, and what each is."""
    text = ".. list-table::\n   :widths: auto\n   :width: 100%\n\n"
    for path, summary in rows:
        summary = BACKSLASHED.sub(r"``\1``", summary)
        text += f"   * - :py:obj:`~{path}`\n     - {summary}\n"
    return f"{text}\n"


def home_of(name: str, module: Any) -> Any:
    """The module that defines what a package exports."""
    for path, other in sys.modules.items():
        inside = path.startswith(f"{module.__name__}.")
        names = () if hasattr(other, "__path__") else getattr(other, "__all__", ())
        if inside and name in names:
            return other
    return module


def said_of(module: Any) -> str:
    """The docstring of a module; "" if it is one line, which its class says again."""
    text = with_guides(inspect.getdoc(module) or "")
    return f"{text}\n\n" if "\n\n" in text else ""


def said_before(name: str, module: Any) -> str:
    """The comment `#:` before what a package exports."""
    home = home_of(name, module).__name__
    found = ModuleAnalyzer.for_module(home).find_attr_docs()
    return "\n".join(found.get(("", name), []))


def summary_of(item: object, name: str, module: Any) -> str:
    """The first paragraph of an item's docstring, or of the comment before it."""
    if isinstance(item, type) or inspect.isroutine(item):
        text = inspect.getdoc(item) or ""
    else:
        text = said_before(name, module)
    return text.partition("\n\n")[0].replace("\n", " ")


def modules_without_a_page() -> list[str]:
    """Modules with public names that no page of the reference has."""
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
    """autodoc's word for the kind of an item."""
    if isinstance(item, type):
        return "exception" if issubclass(item, BaseException) else "class"
    return "function" if inspect.isroutine(item) else "data"


class HelpDirective(SphinxDirective):
    """The output of `winipc --help`, and of each command's --help."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"] = "80"
        found: list[nodes.Node] = []
        parser, _ = winipc.cli._parser()
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
    """All commands by name, also the commands of commands."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found[name] = command
                for inner, it in commands_of(command).items():
                    found[f"{name} {inner}"] = it
    return found


#: Code with a backslash, which reStructuredText keeps only in double backquotes.
BACKSLASHED = re.compile(r"(?<!`)`([^`]*\\[^`]*)`(?!`)")


#: What begins a part of a paragraph that is shown with a label, as sections are.
LABELLED = re.compile(r"(?:^|(?<=[.:)]) )(?=Win32: )")

#: Errors in prose. Docstrings have a section `Raises:`, with a line for each class.
RAISES = re.compile(r"\bRaises\b(?!:\n)")

#: A class with so many methods begins with a table of them.
MANY = 6


#: An example of its own paragraph, and for those of each page who had it first.
EXAMPLE = re.compile(r"^::\n\n(?: {4,}.*\n|\n)+", re.MULTILINE)
FIRST: dict[tuple[str, str], str] = {}


def without_repetition(text: str, page: str, name: str) -> str:
    """Leave out an example that another name of the page has: classes inherit them."""
    return EXAMPLE.sub(
        lambda found: (
            found[0] if FIRST.setdefault((page, found[0]), name) == name else ""
        ),
        text,
    )


def shape(
    app: Sphinx, what: str, name: str, item: object, _options: object, lines: Any
) -> None:
    """Give docstrings one form: labels, and a table of the methods of a class."""
    if what == "data":
        # Not the docstring of its class, such as int.
        lines[:] = said_before(name.rpartition(".")[2], winipc).splitlines()
    if lines and lines[0].startswith("Alias for field number"):
        LOGGER.warning("%s has no description", name)
    if RAISES.search("\n".join(lines)):
        LOGGER.warning("%s has errors outside of a section Raises:", name)
    said = without_repetition("\n".join(lines), app.env.docname, name)
    said = without_parameters(with_guides(said), item)
    parts = re.split(r"\n\n+", said)
    text = "\n\n".join(part for whole in parts for part in labelled(whole))
    lines[:] = [BACKSLASHED.sub(r"``\1``", line) for line in text.splitlines()]
    if what in ("attribute", "data", "property"):
        # An empty comment, or napoleon reads `Whether ...: ...` as a type.
        lines[:0] = ["..", ""]
    if isinstance(item, type):
        other, names = shown_with(item)
        if other is not None:
            links = ", ".join(
                f":py:obj:`~winipc.{other.__name__}.{one}`" for one in names
            )
            lines += ["", f"It also has these of `winipc.{other.__name__}`: {links}."]
        rows = list(rows_of(item, name))
        if len(rows) >= MANY:
            lines += ["", *table_of(rows).splitlines()]


def described_fields(item: object) -> list[str]:
    """The fields that a class describes as arguments, and so not once more."""
    if not dataclasses.is_dataclass(item):
        return []
    said = (inspect.getdoc(item) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    names = re.findall(r"^ +([\w, ]+): ", said, re.M)
    known = {field.name for field in dataclasses.fields(item)}
    return [name for text in names for name in text.split(", ") if name in known]


def with_guides(text: str) -> str:
    """Link the guides that a docstring names by their files."""
    return re.sub(
        r"(^|\.\s+|\n\n)?`?docs/([\w-]+)\.md`?",
        lambda found: (
            f":doc:`the guide </{found[2]}>`"
            if found[1] is None
            else f"{found[1]}:doc:`The guide </{found[2]}>`"
        ),
        text,
    )


def without_parameters(text: str, item: object) -> str:
    """Keep Sphinx from linking a parameter to a member with the same name."""
    if not (inspect.isroutine(item) and callable(item)):
        return text
    try:
        names = inspect.signature(item).parameters
    except ValueError:
        return text
    return re.sub(
        r"(?<![`:])`(\w+)`(?!`)",
        lambda found: f"`{found[0]}`" if found[1] in names else found[0],
        text,
    )


def labelled(paragraph: str) -> list[str]:
    """A plain paragraph, and what it says after `Win32:` as a field."""
    if not re.match(r"[\w`]", paragraph) or re.search(r":$|\n\s", paragraph, re.M):
        return [paragraph]
    parts = LABELLED.split(paragraph.replace("\n", " "))
    fields = [re.sub(r"^Win32: ", ":Win32: ", part) for part in parts if part]
    return [paragraph] if len(parts) == 1 else fields


#: Classes of memory that have the accessors of a mapping; and classes with subclasses.
OF_MEMORY = {
    winipc.MappingView: winipc.SharedMapping,
    winipc.GlobalMemory: winipc.SharedMapping,
}
BASES = winipc.SharedMapping, winipc.CopyDataWindow


def shown_with(cls: object) -> tuple[type | None, list[str]]:
    """The class that shows members of this class, too, and their names."""
    if not isinstance(cls, type):
        return None, []
    base = next((one for one in cls.__mro__[1:] if one in BASES), None)
    if (other := OF_MEMORY.get(cls, base)) is None:
        return None, []
    return other, [
        name
        for name in dir(cls)
        if not name.startswith("_")
        and inspect.getdoc(getattr(cls, name))
        == inspect.getdoc(getattr(other, name, None))
    ]


def rows_of(cls: type, path: str) -> Iterator[tuple[str, str]]:
    """What makes objects of a class, then its methods, then its properties."""
    _, left_out = shown_with(cls)
    found = [
        one
        for one in inspect.classify_class_attrs(cls)
        if not (one.name.startswith("_") or NUMBER.fullmatch(one.name))
        and one.defining_class.__module__.startswith("winipc")
        and one.name not in left_out
    ]
    for kinds in ({"class method", "static method"}, {"method"}, {"property"}):
        for one in found:
            if one.kind in kinds:
                item = getattr(cls, one.name)
                text = without_parameters(inspect.getdoc(item) or "", item)
                summary = text.partition("\n\n")[0].replace("\n", " ")
                yield f"{path}.{one.name}", LABELLED.split(summary)[0]


def hide_private(
    _app: Sphinx,
    what: str,
    _name: str,
    item: Any,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str, str | None] | None:
    """Show no private name, and no constructor that is not for users.

    Defaults are shown as values, not as the names of constants.
    """
    if what == "class" and (
        re.search(r"\(_|: \S*\b_", (signature or "").split(",")[0])
        or (item.__init__.__doc__ or "").startswith("See ")
    ):
        return "", returned
    if signature is None:
        return None
    signature = re.sub(r" = _MISSING\b", "", signature)  # it has to be given
    code = inspect.unwrap(item.__init__ if what in ("class", "exception") else item)
    constants = getattr(code, "__globals__", {})
    signature = CONSTANT.sub(lambda one: value_of(one[0], constants), signature)
    found = []
    for text in (signature, returned or ""):
        text = PRIVATE.sub(r"\1", ALIAS.sub(r"\1", text))
        found.append(SELF.sub("Self", text))
    return found[0], found[1] or None


#: A default that is the name of a constant; MACHINE depends on the reader's process.
CONSTANT = re.compile(r"(?<== |.=)(?!MACHINE\b)_?[A-Z][A-Z_]+(?=[,)])")


def value_of(name: str, constants: dict[str, Any]) -> str:
    """The value of a constant as code; many bytes as a shift."""
    value = constants.get(name)
    if not isinstance(value, int | float | str):
        return name
    if isinstance(value, int) and value and value % (1 << 20) == 0:
        return f"{value >> 20} << 20"
    return repr(value)


#: What Sphinx makes of an alias in a union, a private name, and type variables that
#: stand for the class itself.
ALIAS = re.compile(r"~?(?:\w+\.)*TypeAliasForwardRef\('([\w.]+)'\)")
PRIVATE = re.compile(r"~?(?<![\w.'\"])(?:\w+\.)*_([A-Za-z]\w*)(?![\w.])")
SELF = re.compile(r"\b[WL]\b")


#: Twenty methods of each kind of memory; "Numbers" in memory.md describes them.
NUMBER = re.compile("(get|set|read|write)_[iuf](8|16|32|64)")


def leave_out_numbers(
    _app: Sphinx, _what: str, name: str, _item: object, skip: bool, _options: object
) -> bool | None:
    return True if NUMBER.fullmatch(name) else None


def exists(name: str) -> bool:
    """Whether winipc has a name."""
    item: object = winipc
    for part in name.split("."):
        item = getattr(item, part, None)
    return item is not None


class LinkNames(SphinxTransform):
    """Link names of winipc, and of its modules, in guides to their descriptions.

    Names in the changelog that are gone are not linked.
    """

    default_priority = 400

    def apply(self, **_options: Any) -> None:
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext().partition("(")[0]
            name = text.removeprefix("winipc.")
            known = name.partition(".")[0] in winipc.__all__
            is_module = text != name and name[:1].islower()  # or in one
            parents = literal.parent, literal.parent.parent
            links = nodes.reference | addnodes.pending_xref
            if not (known or is_module) or any(isinstance(x, links) for x in parents):
                continue
            if self.env.docname == "changelog" and not exists(name):
                continue
            link = addnodes.pending_xref(
                "",
                literal.deepcopy(),
                refdomain="py",
                reftype="obj",
                reftarget=f"winipc.{name}",
                refdoc=self.env.docname,
                refwarn=False,
            )
            literal.replace_self(link)


def link_results(app: Sphinx, env: Any, node: Any, shown: Any) -> Any:
    """Link what `Cassette.play` and `Cassette.record` return."""
    target = node.get("reftarget", "")
    if (name := target.partition(".")[0]) not in ("Player", "Recorder"):
        return None
    path = f"winipc.cassette.{name.lower()}.{target}"
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, "obj", path, node, shown
    )


class Search(SearchEnglish):
    """Sphinx's search, which would take C# and C++ for a letter."""

    def split(self, input: str) -> list[str]:
        text = re.sub(r"\bC#", "csharp", input, flags=re.I)
        return super().split(re.sub(r"\bC\+\+", "cpp", text, flags=re.I))

    js_splitter_code = r"""
    function splitQuery(query) {
        const text = query.replace(/\bC#/gi, "csharp").replace(/\bC\+\+/gi, "cpp");
        return text.match(/[\p{Letter}\p{Number}_]+/gu) || [];
    }"""


#: Words that people search for, and the page with a title that must have them.
#: tests/browser/test_search.py tries them on the page of the search.
SEARCHED = {
    "how-to": [
        *("pandas", "NumPy", "C#", "C++", "Rust", "thread safety", "access denied"),
        *("service", "PyInstaller", "antivirus", "Proton", "wheel", "compiler"),
        *("notify", "notebook", "csharp", "cpp", "tkinter", "Qt"),
    ],
    "versions": ["versions", "stable"],
    "messages": ["asyncio", "request"],
    "command-line": ["exit code", "completion"],
    "relay": ["MQTT", "machines"],
}


def check_search(app: Sphinx, error: Exception | None) -> None:
    """Fail unless the site's search finds the pages in SEARCHED by their titles."""
    if error is not None or app.builder.name != "html":
        return
    indexer: Any = app.builder.indexer  # type: ignore[attr-defined]
    for page, searched in SEARCHED.items():
        for words in searched:
            for word in indexer.lang.split(words):
                stem = indexer.lang.stem(word)
                if page not in indexer._title_mapping.get(stem, ()):
                    raise ExtensionError(f"no title of {page} has {words!r}")


def check_texts(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of each name that the site shows without a sentence on what it is.

    Warn of each quotation and of each term with a colon, too: they are code without
    `::` and an empty line before it.
    """
    if app.env.docname.startswith("reference/"):
        for node in doctree.findall():
            is_term = isinstance(node, nodes.term) and node.astext().endswith(":")
            if is_term or isinstance(node, nodes.block_quote):
                text = node.parent.astext()
                LOGGER.warning("no code block: %s", text, location=node)
    for shown in doctree.findall(addnodes.desc):
        texts = nodes.comment | nodes.field_list | addnodes.desc | addnodes.index
        said = [one for one in shown[-1].children if not isinstance(one, texts)]
        if not said and (ids := shown[0].get("ids")):
            LOGGER.warning("%s has no description", ids[0], location=shown)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("doctree-read", check_texts)
    app.add_search_language(Search)
    app.connect("build-finished", check_search)
    app.add_transform(LinkNames)
    app.connect("missing-reference", link_results)
    app.connect("autodoc-skip-member", leave_out_numbers)
    app.add_directive("winipc-api", ApiDirective)
    app.add_directive("winipc-names", NamesDirective)
    app.add_directive("winipc-help", HelpDirective)
    app.connect("autodoc-process-docstring", shape, priority=400)
    app.connect("autodoc-process-signature", hide_private)


project = "winipc"
author = "the winipc developers"
version = release = winipc.__version__
copyright = "the winipc developers"
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
    "sphinx_copybutton",
]
# "read" in a description is what people type.
smartquotes_action = "D"
exclude_patterns = ["_build"]
default_role = "py:obj"
# References to winipc must be right; others are plain text.
nitpick_ignore_regex = [("py:.*", r"(?!winipc\.[A-Z]).*")]
# Two classes may have a field with the same name.
suppress_warnings = ["ref.python"]
toc_object_entries_show_parents = "hide"

autodoc_member_order = "groupwise"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    # Not the members of Python's own classes.
    "inherited-members": "str, int, dict, tuple, Flag, OSError, BaseException, object",
}
autodoc_type_aliases = {
    name: f"winipc.{name}" for name in ("Accept", "Address", "Target")
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

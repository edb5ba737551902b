"""What stands for winipc._core where the documentation is built."""

from __future__ import annotations

import inspect
import re

from conftest import ROOT
from standin import stand_in

STUB = '''
"""Types."""
from typing import Any, Final, Literal, TypeVar, overload
from typing_extensions import disjoint_base
_View = TypeVar("_View", bound=View)

@disjoint_base
class Memory:
    @property
    def name(self) -> str | None: ...
    size: Final[int]
    other: Final[int]
    def read(self, size: Unknown, /) -> bytes: ...
    @overload
    def copy(self, type: _Integer, whole: Literal[False]) -> int: ...
    @overload
    def copy(self, type: str, whole: Literal[True]) -> bytes: ...
    @overload
    def copy(self, type: str) -> bytes: ...

class View(Memory): ...

def plain() -> int: ...
'''


def test_types_of_the_stub_and_docstrings_of_the_module() -> None:
    """It can be imported anywhere, and says what the module says."""
    docstrings = {
        "Memory": "Bytes.",
        "Memory.name": "Its name.",
        "Memory.copy": "Copy.",
        "Memory.size": "Its size.",
        "Memory.read": "Read `\\n`.",
    }
    module: dict[str, object] = {}
    exec(stand_in(STUB, docstrings), module)
    memory = module["Memory"]
    assert isinstance(memory, type)
    assert (module["__doc__"], memory.__doc__) == ("Types.", "Bytes.")
    assert memory.name.__doc__ == "Its name."  # type: ignore[attr-defined]
    read = memory.read  # type: ignore[attr-defined]
    assert read.__doc__ == "Read `\\n`."
    assert read.__annotations__ == {"size": "Unknown", "return": "bytes"}
    assert memory.size.__doc__ == "Its size."  # type: ignore[attr-defined]
    assert memory.__annotations__ == {"other": "Final[int]"}
    copy = memory.copy  # type: ignore[attr-defined]
    assert copy.__doc__ == "Copy."
    assert str(inspect.signature(copy)) == (
        "(self, type: 'str', whole: 'bool' = False) -> 'int | bytes'"
    )
    assert module["plain"].__doc__ is None


def test_sections_of_the_stub_are_files_of_the_core() -> None:
    """Each is headed by the file that makes its types and functions."""
    stub = (ROOT / "winipc" / "_core.pyi").read_text(encoding="utf-8")
    sections = re.findall(r"^# -+ (\S+)$", stub, re.MULTILINE)
    missing = [name for name in sections if not (ROOT / "csrc" / name).is_file()]
    assert len(sections) > 10
    assert missing == []

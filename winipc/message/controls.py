"""What windows of other programs show: their texts, and the items of lists.

Set and read a field, and read the list beside it::

    field = winipc.find_window("Settings").children("Edit")[0]
    winipc.set_window_text(field, "new")
    print(winipc.window_text(field))  # new
    choice = field.parent.children("ComboBox")[0]
    texts = [item.text for item in winipc.window_items(choice)]

The window's thread answers each question, so a hung window raises TimeoutError. Windows
passes texts, and the items of list boxes and combo boxes, between processes. For list
views and tree views, winipc writes the question into the other program's memory, and
needs the right to do so.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from winipc.message.lookup import Window
from winipc.message.send import send_message
from winipc.message.target import Target, hwnd_of

if TYPE_CHECKING:
    from winipc.memory import SharedMapping
    from winipc.process import RemoteProcess

__all__ = ["ControlItem", "set_window_text", "window_items", "window_text"]

_WM_SETTEXT = 0x000C
_WM_GETTEXT = 0x000D
_WM_GETTEXTLENGTH = 0x000E
_LB_GETSEL, _LB_GETTEXT, _LB_GETTEXTLEN, _LB_GETCOUNT = 0x0187, 0x0189, 0x018A, 0x018B
_CB_GETCOUNT, _CB_GETCURSEL = 0x0146, 0x0147
_CB_GETLBTEXT, _CB_GETLBTEXTLEN = 0x0148, 0x0149
_LVM_GETITEMCOUNT, _LVM_GETHEADER = 0x1004, 0x101F
_LVM_GETITEMSTATE, _LVM_GETITEMTEXTW = 0x102C, 0x1073
_HDM_GETITEMCOUNT = 0x1200
_TVM_GETCOUNT, _TVM_GETNEXTITEM, _TVM_GETITEMW = 0x1105, 0x110A, 0x113E
_TVGN_ROOT, _TVGN_NEXT, _TVGN_CHILD = 0, 1, 4
_LVIF_TEXT = 0x0001
_TVIF_TEXT_STATE = 0x0001 | 0x0008
_SELECTED = 0x0002  # LVIS_SELECTED and TVIS_SELECTED

#: LVITEMW and TVITEMW up to cchTextMax, by the target's pointer size. The text pointer
#: is the field before the last; zeros follow.
_LVITEM = {4: struct.Struct("<IiiIIIi60x"), 8: struct.Struct("<IiiII4xQi60x")}
_TVITEM = {4: struct.Struct("<IIIIIi60x"), 8: struct.Struct("<I4xQIIQi60x")}

#: The most letters of an item of a list view or a tree view; more are cut off.
_MOST_LETTERS = 4096
_TEXT_AT = 256  # offset of the text in the block, after the structure

Kind: TypeAlias = Literal["listbox", "combobox", "listview", "treeview"]

#: A part of the class name for each kind; toolkits add words around it.
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("syslistview32", "listview"),
    ("systreeview32", "treeview"),
    ("combobox", "combobox"),
    ("combolbox", "listbox"),
    ("listbox", "listbox"),
)


@dataclass(frozen=True, slots=True)
class ControlItem:
    """One item of a list, a combo box, a list view or a tree view."""

    #: The text of the item.
    text: str
    #: Whether the item is selected.
    selected: bool = False
    #: The texts of all columns of a list view; the first is `text`.
    columns: tuple[str, ...] = ()
    #: The depth in a tree view; 0 at the root.
    level: int = 0


def window_text(target: Target, timeout: float | None = 5.0) -> str:
    """Return the text of a window of any process, such as a field or a button.

    `Window.title` needs no answer from the window, but cannot tell the text of a field.
    `timeout` is in seconds, for each of two messages. The field of a password gives
    other processes an empty text.

    Raises:
        TimeoutError: The window hangs.
        FileNotFoundError: The window is gone (winerror 1400).

    Win32: SendMessageTimeout, WM_GETTEXTLENGTH, WM_GETTEXT.
    """
    __tracebackhide__ = True  # pytest shows the test's line
    hwnd = hwnd_of(target)
    letters = send_message(hwnd, _WM_GETTEXTLENGTH, timeout=timeout) + 1
    return _asked(hwnd, _WM_GETTEXT, letters, letters, timeout)


def set_window_text(target: Target, text: str, timeout: float | None = 5.0) -> None:
    """Set the text of a window of any process: a field, a button, or a title.

    `timeout` is in seconds.

    Raises:
        ValueError: The text has a NUL.
        ConnectionRefusedError: The window does not take the text.

    The other errors are those of `window_text`.

    Win32: SendMessageTimeout, WM_SETTEXT.
    """
    __tracebackhide__ = True  # pytest shows the test's line
    if "\0" in text:
        raise ValueError("the text of a window has no NUL in it")
    data = text.encode("utf-16-le") + b"\0\0"
    hwnd = hwnd_of(target)
    with _lent(len(data)) as memory:
        memory.write(data)
        taken = send_message(hwnd, _WM_SETTEXT, 0, memory.address, timeout=timeout)
    if taken <= 0:
        raise ConnectionRefusedError(f"window {hwnd:#x} does not take the text")


def window_items(
    target: Target, kind: Kind | None = None, timeout: float | None = 5.0
) -> list[ControlItem]:
    """Return the items of a list box, combo box, list view or tree view of any process.

    Args:
        target: The window.
        kind: The kind of window. By default the class name decides, also that of a
            toolkit (`WindowsForms10.SysListView32.app...`).
        timeout: Seconds for each answer.

    Texts of list views and tree views are cut after 4,095 letters. If a program draws
    its items itself, their texts may be empty or meaningless.

    Raises:
        ValueError: The window is of another kind; or this process has 32 bits, and the
            window is the tree view of a 64-bit process.
        PermissionError: This process may not write to the other's memory (list and tree
            views).
        TimeoutError: The window hangs.
        FileNotFoundError: The window is gone.
        ConnectionResetError: The window goes during the call.

    Win32: SendMessageTimeout, LB_GETTEXT, CB_GETLBTEXT, LVM_GETITEMTEXT, TVM_GETITEM,
    VirtualAllocEx, ReadProcessMemory, WriteProcessMemory.
    """
    __tracebackhide__ = True  # pytest shows the test's line
    window = Window(hwnd_of(target))
    name = window.class_name
    found = kind or next((k for part, k in _KINDS if part in name.lower()), None)
    if found not in (kinds := {k for _, k in _KINDS}):
        what = f"class {name!r}" if kind is None else f"kind {kind!r}"
        raise ValueError(f"{what} is none of {sorted(kinds)}")
    if found == "listbox":
        return list(_listbox(window.hwnd, timeout))
    if found == "combobox":
        return list(_combobox(window.hwnd, timeout))
    from winipc.process import ProcessAccess, RemoteProcess

    with (
        RemoteProcess.open(window.pid, access=ProcessAccess.WRITE) as process,
        process.alloc(_TEXT_AT + 2 * _MOST_LETTERS) as block,
    ):
        view = _View(window.hwnd, process, block.address, timeout)
        try:
            return list(view.rows() if found == "listview" else view.branches())
        except (TimeoutError, KeyboardInterrupt):
            block.detach()  # the window may still write to it
            raise


# ----------------------------------------------------------- texts and lists

#: Views of memory that a window of this process may still use after a time-out.
_abandoned: list[memoryview] = []


@contextlib.contextmanager
def _lent(size: int) -> Iterator[SharedMapping]:
    """Memory whose address a message carries.

    A write past its end faults and spoils nothing: an item may get a longer text after
    its length was asked for.
    """
    from winipc.memory.mapping import SharedMapping
    from winipc.memory.pages import PAGE_SIZE

    memory = SharedMapping.create(None, size + PAGE_SIZE, reserve=True)
    try:
        memory.commit(size)
        yield memory
    except (TimeoutError, KeyboardInterrupt):
        _abandoned.append(memoryview(memory))
        raise
    finally:
        memory.__exit__(None, None, None)  # like `with`: the memory goes with its views


def _asked(
    hwnd: int, message: int, wparam: int, letters: int, timeout: float | None
) -> str:
    """The text that a window writes to the address in lparam."""
    with _lent(2 * max(letters, 1)) as memory:
        count = send_message(hwnd, message, wparam, memory.address, timeout=timeout)
        data = memory.read(2 * min(max(count, 0), letters))
    return data.decode("utf-16-le", "replace")


def _listbox(hwnd: int, timeout: float | None) -> Iterator[ControlItem]:
    for at in range(send_message(hwnd, _LB_GETCOUNT, timeout=timeout)):
        length = send_message(hwnd, _LB_GETTEXTLEN, at, timeout=timeout)
        if length < 0:
            return  # there are fewer items by now
        text = _asked(hwnd, _LB_GETTEXT, at, length + 1, timeout)
        yield ControlItem(text, send_message(hwnd, _LB_GETSEL, at, timeout=timeout) > 0)


def _combobox(hwnd: int, timeout: float | None) -> Iterator[ControlItem]:
    selected = send_message(hwnd, _CB_GETCURSEL, timeout=timeout)
    for at in range(send_message(hwnd, _CB_GETCOUNT, timeout=timeout)):
        length = send_message(hwnd, _CB_GETLBTEXTLEN, at, timeout=timeout)
        if length < 0:
            return
        text = _asked(hwnd, _CB_GETLBTEXT, at, length + 1, timeout)
        yield ControlItem(text, at == selected)


class _View:
    """A list view or tree view; its questions are structures in its own process."""

    def __init__(
        self, hwnd: int, process: RemoteProcess, address: int, timeout: float | None
    ) -> None:
        self._hwnd = hwnd
        self._process = process
        self._address = address
        self._width = process.pointer_size
        self._timeout = timeout

    def _send(self, message: int, wparam: int = 0, lparam: int = 0) -> int:
        return send_message(self._hwnd, message, wparam, lparam, timeout=self._timeout)

    def _ask(
        self, message: int, wparam: int, form: struct.Struct, *fields: int
    ) -> tuple[str, tuple[int, ...]]:
        """The text of an item, and the fields as the control left them."""
        text = self._address + _TEXT_AT
        self._process.write(text, b"\0\0")
        self._process.write(self._address, form.pack(*fields, text, _MOST_LETTERS))
        self._send(message, wparam, self._address)
        fields = form.unpack(self._process.read(self._address, form.size))
        # The control may have set the pointer to a text of its own, or to none.
        at = fields[-2]
        if at in (0, (1 << 8 * self._width) - 1):
            return "", fields
        most = 2 * _MOST_LETTERS
        return self._process.read_cstr(
            at, "utf-16-le", max_bytes=most, errors="replace"
        ), fields

    def rows(self) -> Iterator[ControlItem]:
        header = self._send(_LVM_GETHEADER)
        columns = 1
        if header:
            count = send_message(header, _HDM_GETITEMCOUNT, timeout=self._timeout)
            columns = max(count, 1)
        form = _LVITEM[self._width]
        for row in range(self._send(_LVM_GETITEMCOUNT)):
            texts = tuple(
                self._ask(_LVM_GETITEMTEXTW, row, form, _LVIF_TEXT, row, column, 0, 0)[
                    0
                ]
                for column in range(columns)
            )
            state = self._send(_LVM_GETITEMSTATE, row, _SELECTED)
            yield ControlItem(texts[0], bool(state & _SELECTED), texts)

    def branches(self) -> Iterator[ControlItem]:
        if self._width > struct.calcsize("P"):
            raise ValueError(
                "a 32-bit process cannot ask the tree view of a 64-bit one: its items "
                "have handles of 64 bits"
            )
        form = _TVITEM[self._width]
        path = [self._next(_TVGN_ROOT)]
        # Bounded by the count: a tree that changes meanwhile could lead in circles.
        for _ in range(self._send(_TVM_GETCOUNT)):
            while path and not path[-1]:
                path.pop()
                if path:
                    path[-1] = self._next(_TVGN_NEXT, path[-1])
            if not path:
                return
            node = path[-1]
            text, fields = self._ask(
                _TVM_GETITEMW, 0, form, _TVIF_TEXT_STATE, node, 0, _SELECTED
            )
            selected = bool(fields[2] & _SELECTED)
            yield ControlItem(text, selected, level=len(path) - 1)
            path.append(self._next(_TVGN_CHILD, node))

    def _next(self, which: int, node: int = 0) -> int:
        found = self._send(_TVM_GETNEXTITEM, which, node)
        return found & ((1 << 8 * self._width) - 1)

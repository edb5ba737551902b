"""Views for notebooks: what they show, what they escape, when they end.

IPython itself is not needed: what displays is replaced where it matters here, and
tests/linux runs the notebooks with a real kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from conftest import DEADLINE

import winipc
import winipc.jupyter as wj
from winipc.base.text import clean
from winipc.jupyter import updating
from winipc.views import picture
from winipc.views.markup import escape
from winipc.views.queues import preview

HOSTILE = "<script>alert('x')</script>\"&\u202e\x1b[31m\ud800"


class Telemetry(ctypes.Structure):
    _fields_ = (
        ("frame", ctypes.c_uint32),
        ("speed", ctypes.c_float),
        ("position", ctypes.c_double * 3),
        ("driver", ctypes.c_char * 16),
    )


class Page(HTMLParser):
    """The tags and the text of a piece of HTML that has to be well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self._open: list[str] = []
        html.encode()  # halves of characters could not be sent
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        self.titles += [value for name, value in attrs if name == "title" and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.words.append(data)


def page(shown: Any) -> Page:
    return Page(shown._repr_html_())


@pytest.fixture
def mapping(unique_name: str) -> Iterator[winipc.SharedMapping]:
    with winipc.SharedMapping.create(unique_name, 8192) as mapping:
        yield mapping


CHILD = "import sys; print('ready', flush=True); sys.stdin.readline()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().split() == [b"ready"]
        yield child
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    if not child.stdin.closed:
        child.stdin.close()
    child.wait(DEADLINE)


# --------------------------------------------------------------------- hex view


@pytest.mark.smoke
def test_mapping_shows_itself_as_hex(mapping: winipc.SharedMapping) -> None:
    """The name, the size, the bytes and their text; and what is not shown."""
    mapping.write(b"Hello <&>", 16)
    shown = page(mapping)
    assert mapping.name is not None
    assert mapping.name in shown.text
    assert "size=8192" in shown.text
    line = "00000010  48 65 6c 6c 6f 20 3c 26 3e 00 00 00 00 00 00 00  Hello <&>······"
    assert line.rstrip("·") in shown.text
    assert "7.75 KiB more" in shown.text


def test_fields_are_named_and_valued(mapping: winipc.SharedMapping) -> None:
    """Each field's bytes have its tooltip, and it is in the list."""
    value = Telemetry(77, 61.5, (1, 2, 3.25), b"Ada <b>")
    mapping.write(bytes(value), 32)
    for layout in (Telemetry, winipc.Layout.from_ctypes(Telemetry)):
        shown = page(wj.hexview(mapping, layout, offset=32))
        assert "frame: u32 at +0x0 = 77" in shown.titles
        assert "position: f64[3] at +0x8 = (1, 2, 3.25)" in shown.titles
        for text in ("speed", "f32", "0x24", "61.5", "'Ada <b>'"):
            assert text in shown.text
        assert "b" not in shown.tags[shown.tags.index("pre") :]


def test_inner_structures_and_arrays_are_flattened(
    mapping: winipc.SharedMapping,
) -> None:
    inner = winipc.Layout.of("Point", {"x": "h", "y": "h"})
    outer = winipc.Layout.of(
        "Outer", {"from": inner, "path": (inner, 2), "raw": ("B", 20), "last": "?"}
    )
    mapping.write(bytes(range(1, outer.size + 1)))
    shown = page(wj.hexview(mapping, outer))
    for name in ("from.x", "path[0].y", "path[1].x", "raw"):
        assert name in shown.text
    assert "u8[20]" in shown.text
    # The bytes count from 1.
    assert "path[0].x: i16 at +0x4 = 1541" in shown.titles
    assert "path[1].y: i16 at +0xa = 3083" in shown.titles
    assert "(13, 14, 15, 16, 17, 18, 19, 20, …)" in shown.text


def test_struct_view_shows_its_fields(mapping: winipc.SharedMapping) -> None:
    view = mapping.struct_view(winipc.Layout.from_ctypes(Telemetry), 64)
    view.frame = 4711
    shown = page(view)
    assert "4711" in shown.text
    assert "00000040" in shown.text


def test_changed_bytes_are_marked(mapping: winipc.SharedMapping) -> None:
    """Those that differ from the time before, in hexadecimal and in the text."""
    view = wj.hexview(mapping, size=32)
    assert "wi-new'" not in view.html()
    mapping[5] = 0x41
    assert view.html().count("class='wi-new'") == 2
    assert view.html().count("class='wi-new'") == 0


def test_hex_view_is_bounded(unique_name: str) -> None:
    """However large the memory, the layout and the request are."""
    big = winipc.Layout.of("Big", {f"field{i}": ("I", 100) for i in range(1000)})
    with winipc.SharedMapping.create(unique_name, 1 << 20) as mapping:
        mapping.write(bytes(range(256)) * 4096)
        shown = wj.hexview(mapping, big, size=1 << 20).html()
        assert len(shown) < 200_000
        text = Page(shown).text
        assert "00000ff0" in text
        assert "00001000" not in text
        assert "only the first 256 fields" in text
        assert "not in view" in text


def test_zero_lines_are_folded(mapping: winipc.SharedMapping) -> None:
    mapping[255] = 1
    text = page(wj.hexview(mapping, size=256)).text
    assert "*  14 more of zeros" in text
    assert "000000f0" in text


@pytest.mark.parametrize("kind", ["section", "memory", "bytes", "snapshot", "view"])
def test_other_memory_has_the_same_view(
    kind: str, mapping: winipc.SharedMapping
) -> None:
    if kind == "section":
        target: Any = winipc.SharedSection.load()
    elif kind == "memory":
        target = winipc.GlobalMemory.allocate(64)
    elif kind == "view":
        target = mapping.view(4096, 64)
    elif kind == "snapshot":
        target = winipc.Snapshot.over(mapping, 64)
    else:
        target = bytearray(64)
    if kind != "bytes":
        target.write(b"witness 123".ljust(64, b"\0"))
        text = page(target).text
        target.close()
        assert "closed" in page(target).text
    else:
        target[:] = b"witness 123".ljust(64, b"\0")
        text = page(wj.hexview(target)).text
    assert "77 69 74 6e 65 73 73" in text
    assert "witness 123" in text


def test_reserved_memory_shows_what_is_committed(unique_name: str) -> None:
    """Bytes that are only reserved are not touched."""
    with winipc.SharedMapping.create(unique_name, 1 << 16, reserve=True) as mapping:
        assert "size=0" in page(mapping).text
        mapping.commit(4096)
        mapping.write(b"abc")
        assert "61 62 63" in page(mapping).text


def test_remote_bytes_that_cannot_be_read_are_question_marks() -> None:
    """Of a process: two pages, the second of which may not be read."""
    with (
        winipc.RemoteProcess.open(
            os.getpid(), access=winipc.ProcessAccess.WRITE
        ) as process,
        process.alloc(8192) as block,
    ):
        process.write(block.address + 4090, b"border")
        with process.protect(
            block.address + 4096, 4096, winipc.MemoryProtection.NOACCESS
        ):
            view = wj.hexview(process, address=block.address, offset=4080, size=32)
            text = page(view).text
            assert str(view).splitlines()[1].count("??") == 16
        assert "62 6f 72 64 65 72" in text
        assert "?? ?? ??" in text
    assert "closed" in page(view).text


def test_a_process_needs_an_address(child: subprocess.Popen[bytes]) -> None:
    with winipc.RemoteProcess.open(child) as process:
        assert "needs an address" in page(wj.hexview(process)).text


def test_wrong_arguments_are_refused(mapping: winipc.SharedMapping) -> None:
    with pytest.raises(ValueError, match="negative"):
        wj.hexview(mapping, offset=-1)
    with pytest.raises(TypeError):
        wj.view_of(object())
    with pytest.raises(TypeError):
        wj.view_of(wj.hexview(mapping), size=4)
    assert wj.view_of(mapping, size=4).size == 4  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- escapes


def test_texts_of_others_are_escaped() -> None:
    """Nothing that a peer can name runs, hides or turns the text around."""
    shown = clean(HOSTILE)
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert "\ud800" not in shown
    assert shown.isprintable()
    assert clean("x" * 10**6, 10) == "x" * 10 + "…"
    assert len(escape("x" * 10**6)) < 300


def test_hostile_title_and_data_are_only_text(unique_name: str) -> None:
    with winipc.CopyDataWindow.create(f"{unique_name}<img src=x>'\"") as window:
        data = "<script>alert(1)</script>\u202eabc".encode()
        assert winipc.send_copydata(window, data, id=7) == 1
        shown = page(window)
        assert "<img src=x>" in shown.text
        assert "<script>alert(1)</script>\\u202eabc" in shown.text
        assert not {"script", "img"} & set(shown.tags)


def test_hostile_field_names_are_only_text(mapping: winipc.SharedMapping) -> None:
    name = "x'><script>alert(1)</script>"
    hostile = type(name, (ctypes.Structure,), {"_fields_": [(name, ctypes.c_uint32)]})
    shown = page(wj.hexview(mapping, hostile))
    assert "script" not in shown.tags
    assert any(name in title for title in shown.titles)


def test_a_layout_shows_its_fields() -> None:
    """With those of inner structures; names of fields are only text."""
    point = winipc.Layout.of("point", "x:f32 y:2i16")
    layout = winipc.Layout.of("car", {"id": "u8", "path": (point, 2)})
    assert repr(layout.table()).splitlines()[1:] == [
        "     0     1  u8        id",
        "     4    16  point[2]  path",
        "     4     4  f32       path[0].x",
        "     8     4  i16[2]    path[0].y",
    ]
    assert "416point[2]path44f32path[0].x" in page(layout).text
    name = "x'><script>alert(1)</script>"
    hostile = type(name, (ctypes.Structure,), {"_fields_": [(name, ctypes.c_uint32)]})
    shown = page(winipc.Layout.from_ctypes(hostile))
    assert name in shown.text
    assert "script" not in shown.tags


# --------------------------------------------------------------------- messages


@pytest.mark.smoke
def test_latest_messages_stay_in_the_queue(unique_name: str) -> None:
    """They are seen newest last, and received afterwards all the same."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        for number in range(20):
            winipc.send_copydata(window, b"number %d" % number, id=number)
        assert [message.id for message in window.latest()] == list(range(4, 20))
        assert [message.id for message in window.latest(2)] == [18, 19]
        assert [bytes(message) for message in window.latest(1)] == [b"number 19"]
        assert window.latest(0) == []
        assert len(window.latest(10**9)) == 20
        assert window.pending == 20
        assert [window.receive(10).id for _ in range(20)] == list(range(20))
        assert window.latest() == []
        winipc.send_copydata(window, b"last", id=5)
    assert [message.id for message in window.latest()] == [5]
    assert window.receive(10).id == 5


def test_latest_checks_its_argument(unique_name: str) -> None:
    with winipc.CopyDataWindow.create(unique_name) as window:
        with pytest.raises(ValueError, match="negative"):
            window.latest(-1)
        with pytest.raises(TypeError):
            window.latest("1")  # type: ignore[arg-type]


def test_latest_while_others_take(unique_name: str) -> None:
    """Looking and receiving at once, each message is received once."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        taken: list[int] = []

        def take() -> None:
            taken.extend(window.receive(DEADLINE).id for _ in range(500))

        thread = threading.Thread(target=take)
        thread.start()
        for number in range(500):
            winipc.send_copydata(window, b"", id=number)
            seen = [message.id for message in window.latest(8)]
            assert seen == sorted(seen)
        thread.join(DEADLINE)
        assert taken == list(range(500))


def test_window_shows_its_messages(unique_name: str) -> None:
    with winipc.CopyDataWindow.create(
        unique_name, messages=[0x8001], max_count=15
    ) as window:
        for number in range(14):
            winipc.send_copydata(window, f"text {number} ü".encode() * 9, id=number)
        winipc.send_message(window, 0x8001, 5, 6)
        assert winipc.send_copydata(window, b"too many", check=False) == 0
        text = page(window).text
        assert "15 waiting" in text
        assert "1 refused" in text
        assert "wparam 0x5" in text
        assert "text 13 ü" in text
        assert "text 4 ü" not in text
        assert text.index("wparam 0x5") < text.index("13 ü") < text.index("12 ü")
        assert "5 older ones" in text
        assert window.pending == 15
        assert "text 0 ü" in page(wj.messages(window, 20)).text
    assert "closed" in page(window).text


def test_preview_is_text_where_the_data_is() -> None:
    """Also where the end of it cuts through a character."""
    assert preview(b"") == ""
    assert preview(("x" + "é" * 40).encode()) == "x" + "é" * 31 + " …"
    assert preview("né".encode() + b"\0") == "né"
    assert preview(b"abc\xc3") == "61 62 63 c3"
    assert preview(bytes(range(128, 148))) == bytes(range(128, 144)).hex(" ") + " …"


def test_receiver_and_message_show_themselves(unique_name: str) -> None:
    with winipc.Receiver(unique_name, mapping=unique_name) as receiver:
        text = page(receiver).text
        assert unique_name in text
        assert hex(receiver.window.hwnd) in text
    assert "closed" in page(receiver).text
    with winipc.CopyDataWindow.create(unique_name) as window:
        winipc.send_copydata(window, b"some data")
        assert "some data" in page(window.receive(10)).text


# ---------------------------------------------------------------- address space


@pytest.mark.smoke
def test_process_shows_its_address_space(child: subprocess.Popen[bytes]) -> None:
    """A picture with tooltips, a legend, and the rows."""
    with winipc.RemoteProcess.open(child) as process:
        html = process._repr_html_()
        assert len(html) < 400_000
        shown = Page(html)
        assert {"svg", "rect", "title", "details"} <= set(shown.tags)
        assert f"pid={child.pid}" in shown.text
        assert "python.exe" in shown.text
        assert "paler: reserved" in shown.text
        module = process.module("ntdll.dll")
        assert f"{module.base:#x} – " in shown.text
        assert re.search(r"COMMIT, IMAGE, READONLY\s+ntdll.dll", shown.text)
        assert "EXECUTE_READ" in shown.text
        svg = wj.address_space(process, width=400).svg()
        assert svg.startswith("<svg xmlns=")
        rights = [
            float(x) + float(w)
            for x, w in re.findall(r"<rect x='([\d.]+)' y='\d+' width='([\d.]+)'", svg)
        ]
        assert max(rights) <= 400.5
        end(child)
        assert "has exited" in page(process).text
        with pytest.raises(ProcessLookupError):
            wj.address_space(process).svg()
    assert "closed" in page(process).text


def test_memory_map_is_rows(child: subprocess.Popen[bytes]) -> None:
    with winipc.RemoteProcess.open(child) as process:
        module = process.module("ntdll.dll")
        text = page(wj.memory_map(process, module.base, module.end)).text
        assert hex(module.base) in text
        assert "ntdll.dll" in text
        text = page(wj.memory_map(process, limit=3)).text
        assert re.search(r"\d+ more: memory_map", text)
        text = page(wj.memory_map(process, limit=2000)).text
        assert "COMMIT" in text
        assert "FREE" not in text
        text = page(wj.address_space(process)).text
        assert "regions as rows" in text
    assert "closed" in page(wj.memory_map(process)).text


def test_process_that_may_only_be_queried(child: subprocess.Popen[bytes]) -> None:
    """Without the right to its memory there is a note, or what can be seen."""
    with winipc.RemoteProcess.open(child, access=winipc.ProcessAccess.QUERY) as process:
        assert f"pid={child.pid}" in page(process).text


def region(base: int, pages: int, allocation: int) -> winipc.Region:
    return winipc.Region(
        base,
        pages * 4096,
        winipc.MemoryState.COMMIT,
        winipc.MemoryProtection.READWRITE,
        winipc.MemoryType.PRIVATE,
        allocation,
        winipc.MemoryProtection.READWRITE,
        "C:\\<b>x</b>.dat",
    )


def test_legend_tells_how_much_there_is() -> None:
    """Of each type what is committed; what is reserved only is apart."""
    committed = region(0, 3, 0)
    reserved = dataclasses.replace(
        region(1 << 20, 5, 1 << 20), state=winipc.MemoryState.RESERVE
    )
    text = Page(picture._legend([committed, committed, reserved])).text
    assert "private 24 KiB" in text
    assert "image 0 bytes" in text
    assert "reserved 20 KiB" in text


def test_picture_of_very_many_regions_is_bounded() -> None:
    """Regions are drawn together by allocation, and then by neighbours."""
    target = types.SimpleNamespace(pid=1)
    regions = [region(i << 16, 1 + i % 9, (i // 2) << 17) for i in range(40_000)]
    regions += [region(1 << 45, 1 << 20, 1 << 45)]
    svg = wj.AddressSpace(target)._draw(regions, {})  # type: ignore[arg-type]
    shown = Page(svg)
    assert shown.tags.count("g") < 2000
    assert len(svg) < 1_000_000
    assert "b" not in shown.tags
    assert hex((1 << 45) + (1 << 32)) in shown.text  # the last one is there
    assert "TiB free" in shown.text


# ------------------------------------------------------------------------- live


class FakeShell:
    """What `live` wants from IPython."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.new = threading.Condition()
        self.hooks: list[Callable[[Any], None]] = []
        self.request: dict[str, Any] = {"metadata": {}, "content": {"code": "first"}}
        self.events = self

    def register(self, event: str, hook: Callable[[Any], None]) -> None:
        assert event == "pre_run_cell"
        if hook not in self.hooks:
            self.hooks.append(hook)

    def get_parent(self) -> dict[str, Any]:
        return self.request

    def run_cell(self, text: str, id: str | None) -> None:
        metadata = {} if id is None else {"cellId": id}
        self.request = {"metadata": metadata, "content": {"code": text}}
        for hook in self.hooks:
            hook(types.SimpleNamespace(raw_cell=text, cell_id=id))

    def display(self, shown: Any, display_id: bool) -> FakeShell:
        assert display_id
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        with self.new:
            self.shown.append(shown)
            self.new.notify_all()

    @property
    def text(self) -> str:
        return page(self.shown[-1]).text

    def wait_for(self, text: str) -> None:
        with self.new:
            assert self.new.wait_for(lambda: text in self.text, DEADLINE), self.text


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeShell]:
    shell = FakeShell()
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = shell.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    yield shell
    wj.stop_all()


@pytest.mark.smoke
def test_live_view_follows_the_memory(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    """It shows at once, updates what changed, and tells when it ended."""
    view = wj.live(mapping, 0.02, size=16)
    assert view.running
    assert "live, every 0.02 s" in shell.text
    mapping.write(b"first")
    shell.wait_for("first")
    mapping.write(b"again")
    shell.wait_for("again")
    view.stop()
    assert not view.running
    assert "not live any more: stopped" in shell.text
    assert "again" in shell.text
    count = len(shell.shown)
    view.stop()
    assert len(shell.shown) == count
    assert view.updates >= 2
    assert view.wait(timeout=0)


def test_wait_for_updates_counts_seconds_and_not_wakes(
    shell: FakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each update wakes the wait, which goes on for as long as was asked."""

    class Woken(wj.LiveView):
        looks = 0

        @property
        def running(self) -> bool:
            self.looks += 1
            self.updates = self.looks // 2000
            return True

    view = Woken(updating._Look(str), None, 1, None)
    monkeypatch.setattr(view._change, "wait", lambda timeout: True)
    assert view.wait(100, updates=1)
    assert not view.wait(0, updates=10)


def test_live_view_sends_only_what_is_new(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    looks = threading.Semaphore(0)

    class Counting(wj.HexView):
        def html(self) -> str:
            looks.release()
            return super().html()

    view = wj.live(Counting(mapping, size=16), 0.001)
    for _ in range(20):
        assert looks.acquire(timeout=DEADLINE)
    assert view.updates == 0
    assert len(shell.shown) == 1


def test_live_view_ends_with_its_object(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    view = wj.live(mapping, 0.01)
    mapping.close()
    assert view.wait(timeout=DEADLINE)
    assert view.reason == "closed"
    assert "not live any more: closed" in shell.text
    dead = wj.live(mapping, 0.01)
    assert dead.wait(timeout=DEADLINE)
    assert "closed" in shell.text


def test_live_view_of_a_record_does_not_wait_for_its_writer(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    """A writer that died in the middle: the view goes on, and close() gets in."""
    size = 8000  # such a record is read without the GIL
    snapshot = winipc.Snapshot.over(mapping, size)
    snapshot.write(b"first".ljust(size, b"\0"))
    looks = threading.Semaphore(0)

    class Counting(wj.HexView):
        def html(self) -> str:
            looks.release()
            return super().html()

    view = wj.live(Counting(snapshot, size=16), 0.02)
    assert "first" in shell.text
    mapping.set(0, "u64", 3)
    shell.wait_for("the writer is in the middle of the record")
    assert "the last whole record" in shell.text
    assert "first" in shell.text
    snapshot.write(b"again".ljust(size, b"\0"))
    shell.wait_for("again")
    assert "in the middle" not in shell.text
    mapping.set(0, "u64", 7)
    shell.wait_for("in the middle")
    # A look that waited for its second would keep close() out nearly all the time.
    began = time.monotonic()
    while looks.acquire(blocking=False):
        pass
    for _ in range(20):
        assert looks.acquire(timeout=DEADLINE)
    assert time.monotonic() - began < 10
    while not snapshot.closed:
        with contextlib.suppress(BufferError):
            snapshot.close()
    assert view.wait(timeout=DEADLINE)
    assert view.reason == "closed"


def test_live_view_of_a_record_that_was_never_whole(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    """It shows at once that there is nothing yet, and the record when it comes."""
    mapping.set(0, "u64", 1)
    with winipc.Snapshot.over(mapping, 64) as snapshot:
        view = wj.live(snapshot, 0.02)
        assert "in the middle" in shell.text
        snapshot.write(b"whole".ljust(64, b"\0"))
        shell.wait_for("whole")
        view.stop()


@pytest.mark.parametrize("show", ["picture", "rows", "hex"])
def test_live_view_of_a_process(
    shell: FakeShell, child: subprocess.Popen[bytes], show: str
) -> None:
    """It ends when the process does, and never keeps it from being closed."""
    with winipc.RemoteProcess.open(child) as process:
        if show == "picture":
            view = wj.live(process, 0.01)
        elif show == "rows":
            view = wj.live(wj.memory_map(process, limit=5), 0.01)
        else:
            base = process.modules()[0].base
            view = wj.live(process, 0.01, address=base, size=64)
            assert "MZ" in shell.text
        end(child)
        assert view.wait(timeout=DEADLINE)
        assert view.reason is not None
        assert "has exited" in view.reason
    with winipc.RemoteProcess.open(os.getpid()) as process:
        view = wj.live(wj.memory_map(process, limit=5), 0.001)
        assert view.wait(DEADLINE, updates=1) or view.running
    assert view.wait(timeout=DEADLINE)
    assert view.reason == "closed"


def test_live_view_of_a_process_keeps_its_options(
    shell: FakeShell, child: subprocess.Popen[bytes]
) -> None:
    """It looks through a handle of its own, but at what it was told to."""
    with winipc.RemoteProcess.open(child) as process:
        module = process.module("ntdll.dll")
        views = [wj.live(wj.memory_map(process, module.base, module.end), 0.05)]
        rows = shell.shown[-1]._repr_html_()
        bases = [int(base, 16) for base in re.findall(r">(0x[0-9a-f]+)</td>", rows)]
        assert module.base in bases
        assert all(module.base <= base < module.end for base in bases)
        views.append(wj.live(wj.address_space(process, width=500), 0.05))
        assert "<svg xmlns='http://www.w3.org/2000/svg' width='500'" in (
            shell.shown[-1]._repr_html_()
        )
        views.append(wj.live(wj.memory_map(process, limit=2), 0.05))
        assert "more: memory_map" in shell.text
        options = {"address": module.base, "offset": 64, "layout": Telemetry}
        views.append(wj.live(process, 0.05, **options))
        assert f"{module.base + 64:x}" in shell.text
        assert "frame" in shell.text
        assert "MZ" not in shell.text
        wj.stop_all()
        assert not any(view.running or view in updating._views for view in views)
        process.close()  # nothing of it is in use any more


def test_live_function_is_displayed_until_it_ends(shell: FakeShell) -> None:
    results: list[Any] = ["one", "two", StopIteration()]

    def step() -> Any:
        result = results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    view = wj.live(step, 0.01)
    assert view.wait(timeout=DEADLINE)
    assert view.reason == "finished"
    assert shell.shown == ["one", "two"]


def test_live_function_that_fails_says_so(shell: FakeShell) -> None:
    results: list[Any] = ["fine"]
    view = wj.live(lambda: results.pop(), 0.01)
    assert view.wait(timeout=DEADLINE)
    assert "not live any more: IndexError: pop from empty list" in shell.text


def test_live_function_may_stop_its_own_view(shell: FakeShell) -> None:
    views: list[wj.LiveView] = []
    ready = threading.Event()

    def step() -> str:
        if threading.current_thread() is not threading.main_thread():
            assert ready.wait(DEADLINE)
            views[0].stop()
        return "x"

    views.append(wj.live(step, 0.01))
    ready.set()
    assert views[0].wait(timeout=DEADLINE)
    assert views[0].reason == "stopped"


def test_running_a_cell_again_ends_its_views(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    """By the id of the cell, whatever its text is now; by its text without one."""
    first = wj.live(mapping, 0.05)  # before the hook saw a cell
    shell.run_cell("live(mapping)", "a")
    by_id = wj.live(mapping, 0.05)
    shell.run_cell("other()", "b")
    other = wj.live(mapping, 0.05)
    shell.run_cell("edited()", "a")
    assert [v.running for v in (first, by_id, other)] == [True, False, True]
    count = len(shell.shown)
    assert by_id.reason == "the cell was run again"
    shell.run_cell("plain()", None)
    by_text = wj.live(mapping, 0.05)
    shell.run_cell("more()", None)
    assert by_text.running
    shell.run_cell("plain()", None)
    assert not by_text.running
    assert len(shell.shown) == count + 1
    wj.stop_all()
    assert not first.running
    assert not other.running


def test_live_checks_its_arguments(
    shell: FakeShell, mapping: winipc.SharedMapping
) -> None:
    for interval in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="interval"):
            wj.live(mapping, interval)
    with pytest.raises(TypeError):
        wj.live(object())
    with pytest.raises(TypeError):
        wj.live(lambda: 1, 1, size=3)
    assert shell.shown == []


def test_live_without_ipython_says_what_to_install(
    mapping: winipc.SharedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(RuntimeError, match=r"pip install winipc\[jupyter\]"):
        wj.live(mapping)


# -------------------------------------------------------------------- receivers


@pytest.mark.smoke
def test_receiver_survives_and_loses_nothing(unique_name: str) -> None:
    """The second run of a cell gets the first one's receiver and its message."""
    first = wj.receiver(unique_name, mapping=unique_name)
    try:
        with winipc.Sender(unique_name, mapping=unique_name) as sender:
            sender.send(b"between the runs")
        again = wj.receiver(unique_name.upper(), mapping=unique_name)
        assert again is first
        assert again.receive(10).data == b"between the runs"
        with pytest.raises(ValueError, match="other options"):
            wj.receiver(unique_name, mapping=unique_name, max_message=5)
        assert not first.closed
    finally:
        first.close()
    with wj.receiver(unique_name, mapping=unique_name, max_message=5) as new:
        assert new is not first


def test_window_gets_the_handler_of_the_last_run(unique_name: str) -> None:
    """Functions are replaced in place; all else has to be the same."""
    window = wj.window(unique_name, handler=lambda message: 5)
    with window:
        assert winipc.send_copydata(unique_name, b"") == 5
        assert wj.window(unique_name, handler=lambda message: 6) is window
        assert winipc.send_copydata(unique_name, b"") == 6
        with pytest.raises(ValueError, match="other options"):
            wj.window(unique_name)
        window.on(1)(lambda message: 7)
        window.on(1)(lambda message: 8)
        assert winipc.send_copydata(unique_name, b"", id=1) == 8
    queue = wj.window(unique_name)
    with queue:
        winipc.send_copydata(unique_name, b"waits")
        assert wj.window(unique_name) is queue
        assert bytes(queue.receive(10)) == b"waits"


def test_a_title_is_a_receiver_or_a_window(unique_name: str) -> None:
    """Beside an open one of the other kind it is an error that names that one."""
    with wj.receiver(unique_name, mapping=unique_name) as receiver:
        with pytest.raises(ValueError, match=re.escape(repr(receiver))):
            wj.window(unique_name.upper())
        assert len(winipc.find_windows(title=unique_name)) == 1
    with wj.window(unique_name) as window:
        with pytest.raises(ValueError, match=re.escape(repr(window))):
            wj.receiver(unique_name, mapping=unique_name)
        assert len(winipc.find_windows(title=unique_name)) == 1
        assert wj.window(unique_name) is window


def test_kernel_that_ends_closes_what_was_kept(unique_name: str) -> None:
    """No warning about unclosed objects, no thread that keeps the process."""
    code = (
        "import sys, winipc, winipc.jupyter as wj; "
        "wj.receiver(sys.argv[1], mapping=sys.argv[1]); wj.window(sys.argv[1] + 'w')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, unique_name],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert winipc.find_window(unique_name) is None
    assert winipc.find_window(f"{unique_name}w") is None


def test_importing_winipc_imports_no_view() -> None:
    """The hooks of the objects cost nothing until a notebook calls them."""
    code = (
        "import sys, winipc; print([name for name in sys.modules "
        "if name.startswith(('winipc.jupyter', 'winipc.views', 'IPython'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_kernel_ends_though_handlers_do_not_return(unique_name: str) -> None:
    """It waits a while for all of them together, and for none of them forever."""
    code = """
import sys, threading, winipc, winipc.jupyter as wj
entered = threading.Semaphore(0)
def stuck(_):
    entered.release()
    threading.Event().wait()
for number in range(3):
    wj.receiver(f"{sys.argv[1]}{number}", transports=["copydata"], handler=stuck)
    send = lambda title: winipc.send_copydata(title, b"", timeout=None)
    threading.Thread(
        target=send, args=[f"{sys.argv[1]}{number}"], daemon=True
    ).start()
    entered.acquire()
print("ready")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, unique_name],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert done.stdout == "ready\n", done.stderr

"""SharedSection: loading, refusing, sharing between processes, and letting go."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, handle_count
from helpers.linux_file import LinuxFile
from hypothesis import given
from hypothesis import strategies as st

import winipc
from winipc import SectionError, SectionFlags, SharedSection
from winipc.pe import MACHINE, build_section_dll

System32 = Path(os.environ["SYSTEMROOT"]) / "system32"


@pytest.fixture
def dll(tmp_path: Path) -> Path:
    """A DLL of this test's own, with three shared variables."""
    path = tmp_path / "shared.dll"
    build_section_dll(
        path, {"MySharedData": 4096, "counter": 8, "greeting": (32, b"hello")}
    )
    return path


@pytest.fixture
def section(dll: Path) -> Any:
    with SharedSection.load(dll) as section:
        yield section


# ------------------------------------------------------------------- load


@pytest.mark.smoke
def test_the_bundled_dll_is_shared_with_another_process(
    start_peer: Callable[..., Any],
) -> None:
    """What one process writes into the DLL that winipc brings, another reads."""
    with SharedSection.load() as section:
        assert section.symbol == "MySharedData"
        assert section.section_name == ".MYSEC"
        assert section.size == len(section) == 4096
        assert section.flags & SectionFlags.MEM_SHARED
        assert section.flags & SectionFlags.MEM_WRITE
        assert not section.readonly
        peer = start_peer("section_peer.py", "-", "MySharedData")
        peer.expect("ready")
        section.write(b"from here", 100)
        peer.say("read 100 9")
        peer.expect(b"from here".hex())
        peer.say(f"write 4090 {b'theirs'.hex()}")
        peer.expect("6")
        assert section[-6:] == b"theirs"


@pytest.mark.smoke
def test_a_dll_by_path_and_symbol_is_shared(
    dll: Path, start_peer: Callable[..., Any]
) -> None:
    """Each exported variable of another DLL can be taken, on both sides."""
    peer = start_peer("section_peer.py", dll, "greeting")
    peer.expect("ready")
    with SharedSection.load(dll, "greeting", size=5) as section:
        assert bytes(section) == b"hello"
        section[0] = ord("j")
        peer.say("read 0 5")
        peer.expect(b"jello".hex())


def test_paths_may_be_relative_and_of_any_kind(
    dll: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is taken from the current folder; forward slashes work."""
    monkeypatch.chdir(dll.parent)
    for path in ("shared.dll", r".\shared.dll", Path("shared.dll"), dll.as_posix()):
        with SharedSection.load(path) as section:
            assert Path(section.path) == dll


def test_a_name_without_a_suffix_is_that_very_file(dll: Path) -> None:
    """LoadLibrary would append .dll, and take the file next to it."""
    plain = dll.with_suffix("")
    build_section_dll(plain, {"MySharedData": b"plain"})
    with SharedSection.load(plain) as section:
        assert section[:5] == b"plain"


def test_names_may_hold_any_letters(tmp_path: Path) -> None:
    """Paths go to Windows as UTF-16."""
    path = tmp_path / "gemeinsam-é-共有-\U0001f600.dll"
    build_section_dll(path, {"MySharedData": b"abc"})
    with SharedSection.load(path) as section:
        assert section[:3] == b"abc"


def test_no_other_folder_is_searched(
    dll: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither PATH nor the system's folder provides a DLL that is not there."""
    monkeypatch.setenv("PATH", str(dll.parent) + os.pathsep + os.environ["PATH"])
    for name in ("shared.dll", "kernel32.dll"):
        with pytest.raises(FileNotFoundError) as caught:
            SharedSection.load(name)
        assert caught.value.filename == os.path.abspath(name)


@pytest.mark.parametrize("path", ["missing.dll", r"missing\folder\x.dll"])
def test_a_missing_file_is_not_found(tmp_path: Path, path: str) -> None:
    """2 for the file, 3 for the folder: both are FileNotFoundError."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedSection.load(tmp_path / path)
    assert caught.value.winerror in (2, 3)
    assert str(tmp_path / path) == caught.value.filename


def test_a_missing_symbol_names_what_there_is(dll: Path) -> None:
    """127 with the DLL, the symbol and the call, and a list of what it shares."""
    with pytest.raises(OSError, match="GetProcAddress") as caught:
        SharedSection.load(dll, "nothing")
    assert caught.value.winerror == 127
    assert caught.value.filename == f"{dll}!nothing"
    assert "greeting" in caught.value.__notes__[0]


def test_a_file_that_is_no_dll_says_why(tmp_path: Path) -> None:
    """193 with the reason found in the file."""
    path = tmp_path / "text.dll"
    path.write_bytes(b"this is no DLL\r\n" * 100)
    with pytest.raises(OSError, match="LoadLibraryExW") as caught:
        SharedSection.load(path)
    assert caught.value.winerror == 193
    assert "MZ" in caught.value.__notes__[0]


@pytest.mark.parametrize("machine", sorted({"amd64", "x86", "arm64"} - {MACHINE}))
def test_a_dll_for_another_machine_is_named(tmp_path: Path, machine: Any) -> None:
    """193 with both machines, also where the loader would take the file."""
    path = tmp_path / "other.dll"
    build_section_dll(path, {"MySharedData": 16}, machine=machine)
    with pytest.raises(OSError, match="LoadLibraryExW") as caught:
        SharedSection.load(path)
    assert caught.value.winerror == 193
    assert machine in caught.value.__notes__[0]
    path.unlink()  # it was let go of again


# ----------------------------------------------------------------- refusal


def test_a_function_is_refused() -> None:
    """Code is no variable."""
    with pytest.raises(SectionError, match="function"):
        SharedSection.load(System32 / "version.dll", "GetFileVersionInfoW")


def test_a_forwarder_is_refused() -> None:
    """What lies in another DLL is not looked for there."""
    with pytest.raises(SectionError, match="forwarder"):
        SharedSection.load(System32 / "kernel32.dll", "HeapAlloc")


def _patched(dll: Path, old: int, new: int) -> Path:
    """A copy of the DLL with other section flags."""
    data = dll.read_bytes()
    was, becomes = old.to_bytes(4, "little"), new.to_bytes(4, "little")
    assert data.count(was) == 1
    path = dll.with_name("patched.dll")
    path.write_bytes(data.replace(was, becomes))
    return path


FLAGS = 0xD0000040  # initialised, read, write, shared


def test_a_section_without_the_shared_flag_is_refused(dll: Path) -> None:
    """Several toolchains lose the flag; then nothing would be shared."""
    path = _patched(dll, FLAGS, FLAGS & ~SectionFlags.MEM_SHARED)
    with pytest.raises(SectionError, match="not shared"):
        SharedSection.load(path)
    path.unlink()


def test_a_variable_in_code_is_refused(dll: Path) -> None:
    """A shared section that can be executed holds functions."""
    path = _patched(dll, FLAGS, FLAGS | SectionFlags.MEM_EXECUTE)
    with pytest.raises(SectionError, match="function"):
        SharedSection.load(path)


def test_a_shared_section_without_write_is_read_only(dll: Path) -> None:
    """It can be read and exported, and no byte of it written."""
    path = _patched(dll, FLAGS, FLAGS & ~SectionFlags.MEM_WRITE & 0xFFFFFFFF)
    with SharedSection.load(path, "greeting") as section:
        assert section.readonly
        assert memoryview(section).readonly
        assert section[:5] == b"hello"
        assert section.atomic(0, "u8").load() == ord("h")
        for change in (
            lambda: section.write(b"x"),
            lambda: section.__setitem__(0, 1),
            lambda: section.__setitem__(slice(0, 1), b"x"),
            lambda: section.atomic().add(1),
            lambda: section.atomic().store(1),
            lambda: section.set(0, "i8", 1),
        ):
            with pytest.raises(TypeError, match=r"read-only$"):
                change()
        assert section[:5] == b"hello"


def test_a_size_may_cover_the_section_and_not_more(dll: Path) -> None:
    """From the symbol on, all of the section may be taken."""
    with SharedSection.load(dll) as section:
        whole = section.section_size
    with SharedSection.load(dll, size=whole) as section:
        assert len(section) == whole
        assert section[4112:4117] == b"hello"
    with pytest.raises(SectionError, match=r"leave.*\.MYSEC"):
        SharedSection.load(dll, size=whole + 1)
    with pytest.raises(SectionError, match="leave"):
        SharedSection.load(dll, "greeting", 33)
    with pytest.raises(SectionError, match="leave"):
        SharedSection.load(dll, size=sys.maxsize)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"size": -1}, ValueError, id="negative"),
        pytest.param({"size": 0}, ValueError, id="empty"),
        pytest.param({"size": 1 << 70}, SectionError, id="huge"),
        pytest.param({"size": 1.5}, TypeError, id="float"),
        pytest.param({"symbol": "a\0b"}, OSError, id="nul-in-symbol"),
        pytest.param({"symbol": 3}, TypeError, id="symbol-no-str"),
        pytest.param({"symbol": "\ud800"}, OSError, id="surrogate-in-symbol"),
        pytest.param({"symbol": ""}, OSError, id="no-symbol"),
    ],
)
def test_odd_arguments_are_refused(
    dll: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """Each by the exception of its kind, and the DLL is let go of again."""
    with pytest.raises(error):
        SharedSection.load(dll, **arguments)
    dll.unlink()


def test_there_is_no_plain_constructor() -> None:
    """An object without a DLL cannot be made."""
    with pytest.raises(TypeError, match="class methods"):
        SharedSection()


CUT = """
import sys
from winipc import SharedSection

with SharedSection.load(sys.argv[1]) as section:
    section.write(b"x")
    print("loaded", flush=True)
    input()
    for touch in (lambda: section.variables, lambda: section.variable("other")):
        try:
            touch()
        except OSError as error:
            print(error.filename2, flush=True)
    assert section[:1] == b"x"
"""


def test_an_image_whose_pages_do_not_come_in_is_an_error(
    linux_file: LinuxFile, start_process: Callable[..., Any]
) -> None:
    """The file behind the DLL is cut short, in a child: OSError, and no crash."""
    build_section_dll(linux_file.path, {"MySharedData": 16, "other": 16})
    peer = start_process([sys.executable, "-c", CUT, str(linux_file.path)])
    peer.expect("loaded")
    linux_file.cut(0)
    peer.say("")
    for _ in range(2):
        peer.expect("ReadProcessMemory")
    assert peer.finish() == 0


# --------------------------------------------------------------- variables


def test_variables_lists_the_shared_exports(section: SharedSection) -> None:
    """By address, with the room up to the next one."""
    found = {v.name: (v.offset, v.size) for v in section.variables.values()}
    assert found == {
        "MySharedData": (0, 4096),
        "counter": (4096, 16),
        "greeting": (4112, 32),
    }
    assert list(section.variables) == list(found)
    assert all(v.section == ".MYSEC" for v in section.variables.values())


def test_variables_of_the_bundled_dll() -> None:
    """The compiler's DLL is read by the same code."""
    with SharedSection.load() as section:
        assert section.variables["MySharedData"].offset == section.offset
        assert section.variables["MySharedData"].size >= 4096


def test_variable_opens_a_sibling(section: SharedSection) -> None:
    """Another export of the same DLL is an object of its own."""
    with section.variable("greeting") as greeting:
        section.close()
        assert greeting[:5] == b"hello"
        assert greeting.offset == 4112


def test_address_and_module_are_those_of_the_loader(section: SharedSection) -> None:
    """ctypes, as an independent witness, finds the same bytes there."""
    import ctypes

    library = ctypes.WinDLL(section.path, handle=section.module)
    variable = ctypes.c_char.in_dll(library, "greeting")
    assert ctypes.addressof(variable) == section.address + 4112
    section.write(b"witness\0", 4088)
    assert ctypes.string_at(section.address + 4088) == b"witness"


# ------------------------------------------------------------------- bytes


@given(data=st.data())
def test_items_and_slices_are_those_of_a_bytearray(data: st.DataObject) -> None:
    """Any sequence of reads and writes gives what a bytearray gives."""
    size = 64
    with SharedSection.load(size=size) as section:
        section[:] = model = bytearray(os.urandom(size))
        index = st.none() | st.integers(-size - 9, size + 9)
        steps = st.none() | st.integers(-9, 9).filter(bool)
        for _ in range(data.draw(st.integers(1, 6))):
            key = slice(data.draw(index), data.draw(index), data.draw(steps))
            assert section[key] == bytes(model[key])
            if data.draw(st.booleans()):
                value = os.urandom(len(model[key]))
                section[key] = model[key] = value
                assert bytes(section) == model
            at = data.draw(st.integers(-size, size - 1))
            section[at] = model[at] = data.draw(st.integers(0, 255))
            assert section[at] == model[at]
        assert section.read() == model


@given(
    offset=st.integers(-5, 80), size=st.none() | st.integers(-5, 80), data=st.binary()
)
def test_read_and_write_stay_within_the_variable(
    offset: int, size: int | None, data: bytes
) -> None:
    """A range that fits is exact; one that does not changes nothing."""
    rest = size is None or size == -1
    with SharedSection.load(size=64) as section:
        before = section.read()
        if 0 <= offset <= 64 and (rest or 0 <= size <= 64 - offset):
            end = None if rest else offset + size
            assert section.read(size, offset) == before[offset:end]
        else:
            with pytest.raises(ValueError, match="not"):
                section.read(size, offset)
        if 0 <= offset <= 64 - len(data):
            assert section.write(data, offset) == len(data)
            assert section[offset : offset + len(data)] == data
        else:
            with pytest.raises(ValueError, match="not"):
                section.write(data, offset)
            assert section.read() == before


def test_read_into_fills_a_buffer(section: SharedSection) -> None:
    """All of it, or it is an error."""
    target = bytearray(10)
    section.write(b"hello", 40)
    assert section.read_into(target, 40) == 10
    assert target == b"hello" + bytes(5)
    with pytest.raises(ValueError, match="fit"):
        section.read_into(bytearray(7), 4090)
    with pytest.raises((TypeError, BufferError)):
        section.read_into(b"read-only", 0)


def test_numbers_are_read_and_written_typed(section: SharedSection) -> None:
    """By the same methods that a mapping has; find() too."""
    section.set(8, "f64", 2.5)
    section.set(16, "u16", 0xBEEF)
    assert section.get(8, "f64") == 2.5
    assert section.get(16, "u8") == 0xEF
    assert section.find(b"\xef\xbe") == 16


def test_wrong_keys_and_values_are_refused(section: SharedSection) -> None:
    """As a bytearray does, except that the length never changes."""
    for key in (len(section), -len(section) - 1, 1 << 80):
        with pytest.raises(IndexError):
            section[key]
        with pytest.raises(IndexError):
            section[key] = 1
    with pytest.raises(TypeError):
        section["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        del section[0]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="range"):
        section[0] = 256
    with pytest.raises(ValueError, match="slice of 3"):
        section[0:3] = b"four"
    with pytest.raises(TypeError):
        section[0:3] = "abc"  # type: ignore[assignment]


def test_a_slice_may_be_set_from_a_view_of_itself(section: SharedSection) -> None:
    """Overlapping source and target are copied as if at once."""
    section[:8] = b"abcdefgh"
    with memoryview(section) as view:
        section[2:8] = view[0:6]
        assert section[:8] == b"ababcdef"
        section[:8:2] = view[0:4]
        assert section[:8] == b"abbbadbf"


# ------------------------------------------------------- closing and pinning


def test_close_is_refused_while_exported(section: SharedSection) -> None:
    """A memoryview keeps the DLL loaded; the error counts them."""
    view = memoryview(section)
    part = view[4:8]
    with pytest.raises(BufferError, match="1 buffer is"):
        section.close()
    with memoryview(section), pytest.raises(BufferError, match="2 buffers are"):
        section.close()
    section[4] = 9
    assert part[0] == 9
    part.release()
    view.release()
    section.close()
    assert section.closed


def test_a_closed_section_refuses_everything(dll: Path) -> None:
    """And closing again is nothing."""
    section = SharedSection.load(dll)
    section.close()
    section.close()
    assert section.size == 0
    assert "closed" in repr(section)
    for use in (
        lambda: len(section),
        lambda: section[0],
        lambda: section[:],
        lambda: section.__setitem__(0, 1),
        lambda: section.__setitem__(slice(0, 1), b"1"),
        lambda: section.read(),
        lambda: section.read_into(bytearray(1)),
        lambda: section.write(b"x"),
        lambda: section.address,
        lambda: section.module,
        lambda: section.attach_count,
        lambda: section.variables,
        lambda: section.get(0, "i8"),
        lambda: section.set(0, "i8", 1),
        lambda: memoryview(section),
        lambda: section.atomic(),
    ):
        with pytest.raises(ValueError, match="SharedSection is closed"):
            use()


class Closer:
    """An integer, or a buffer, that closes a section when it is looked at."""

    def __init__(self, section: SharedSection, value: int = 0) -> None:
        self.section, self.value = section, value

    def __index__(self) -> int:
        self.section.close()
        return self.value


@pytest.mark.parametrize(
    "use",
    [
        lambda s, c: s[c],
        lambda s, c: s[c:],
        lambda s, c: s.__setitem__(c, 1),
        lambda s, c: s.__setitem__(0, c),
        lambda s, c: s.__setitem__(slice(0, c), b""),
        lambda s, c: s.read(c),
        lambda s, c: s.read(1, c),
        lambda s, c: s.write(b"x", c),
        lambda s, c: s.read_into(bytearray(4), c),
        lambda s, c: s.atomic(c),
        lambda s, c: s.get(c, "u8"),
        lambda s, c: s.set(0, "u8", c),
        lambda s, c: s.set(c, "u8", 0),
    ],
)
def test_an_argument_that_closes_the_section_is_harmless(dll: Path, use: Any) -> None:
    """Whether it is open is asked after the arguments were converted."""
    section = SharedSection.load(dll)
    with pytest.raises(ValueError, match="closed"):
        use(section, Closer(section))


def test_a_forgotten_section_warns(dll: Path) -> None:
    """ResourceWarning names it, and the DLL is let go of."""
    sections = [SharedSection.load(dll)]
    gone = weakref.ref(sections[0])
    with pytest.warns(ResourceWarning, match="unclosed <SharedSection 'MySharedData'"):
        sections.clear()
    assert gone() is None
    dll.unlink()


def test_a_view_outlives_its_section(dll: Path) -> None:
    """The buffer holds the object, and with it the memory."""
    view = memoryview(SharedSection.load(dll))
    gc.collect()
    view[0] = 7
    assert view[0] == 7
    with pytest.warns(ResourceWarning, match="unclosed"):
        view.release()


def test_a_closed_section_whose_memory_stays_has_no_module(dll: Path) -> None:
    """Its last view lets go of the DLL at any time."""
    with SharedSection.load(dll) as section:
        view = memoryview(section)
    with pytest.raises(ValueError, match="is closed"):
        _ = section.module
    view.release()


def test_a_dll_that_cannot_be_let_go_of_is_reported(
    dll: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception can be raised when a section is forgotten."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: reported.append(it.exc_value))
    section = SharedSection.load(dll)
    assert ctypes.WinDLL("kernel32").FreeLibrary(ctypes.c_void_p(section.module))
    with pytest.warns(ResourceWarning, match="unclosed"):
        del section
    assert [error.filename2 for error in reported] == ["FreeLibrary"]


def test_two_threads_may_close_at_once(dll: Path) -> None:
    """One lets go, the other finds it closed."""
    for _ in range(50):
        section = SharedSection.load(dll)
        barrier = threading.Barrier(2)

        def close(section: SharedSection = section, b: threading.Barrier = barrier):
            b.wait()
            section.close()

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert section.closed
    dll.unlink()


def test_many_rounds_leave_nothing_behind(dll: Path) -> None:
    """Handles and references are back where they were after many rounds."""

    def rounds(count: int) -> None:
        for _ in range(count):
            with SharedSection.load(dll) as section:
                section.set(0, "i64", 1)
                memoryview(section).release()
                section.atomic().release()
        for _ in range(count // 10):
            with pytest.raises(OSError, match="GetProcAddress"):
                SharedSection.load(dll, "nothing")
            with pytest.raises(SectionError):
                SharedSection.load(dll, size=1 << 20)

    rounds(20)
    gc.collect()
    handles = handle_count()
    references = sys.getrefcount(SharedSection), sys.getrefcount(winipc.Atomic)
    rounds(2000 if FULL else 500)
    gc.collect()
    assert handle_count() <= handles + 2
    assert references == (
        sys.getrefcount(SharedSection),
        sys.getrefcount(winipc.Atomic),
    )
    dll.unlink()


# -------------------------------------------------------- life of the memory


def test_memory_lasts_while_anyone_has_it(
    dll: Path, start_peer: Callable[..., Any]
) -> None:
    """The writer may go first; after the last one it starts anew."""
    peer = start_peer("section_peer.py", dll, "greeting")
    peer.expect("ready")
    with SharedSection.load(dll, "greeting") as section:
        section.write(b"HELLO")
    peer.say("read 0 5")
    peer.expect(b"HELLO".hex())
    with SharedSection.load(dll, "greeting") as section:
        assert section[:5] == b"HELLO"
    peer.say("close")
    peer.expect("closed")
    with SharedSection.load(dll, "greeting") as section:
        assert section[:5] == b"hello"


def test_a_killed_peer_leaves_what_it_wrote(
    dll: Path, start_peer: Callable[..., Any]
) -> None:
    """Its memory stays for the others, and its attachment is taken back."""
    peer = start_peer("section_peer.py", dll, "counter")
    peer.expect("ready")
    with SharedSection.load(dll, "counter") as section:
        peer.say(f"write 0 {(77).to_bytes(8, 'little').hex()}")
        peer.expect("8")
        assert section.attach_count == 2
        peer.kill()
        assert section.get(0, "i64") == 77
        assert section.attach_count == 1


def test_a_copy_of_the_dll_is_other_memory(dll: Path) -> None:
    """Sharing goes by the file, not by its contents or name."""
    copy = dll.with_name("copy.dll")
    shutil.copy(dll, copy)
    with SharedSection.load(dll) as one, SharedSection.load(copy) as other:
        one.write(b"only one")
        assert other[:8] == bytes(8)
        assert other.created
        assert other.attach_count == 1


def test_the_dll_can_be_deleted_after_close(dll: Path) -> None:
    """No handle keeps the file."""
    with SharedSection.load(dll):
        pass
    dll.unlink()
    assert not dll.exists()


def test_what_is_known_of_a_dll_goes_with_it(dll: Path) -> None:
    """A closed object may live on, and another DLL may take the path: no old offset."""
    with SharedSection.load(dll, "counter") as kept:
        assert kept.offset == 4096
        with SharedSection.load(dll, "counter") as again:
            assert (again.address, again.size) == (kept.address, kept.size)
    dll.unlink()
    with pytest.raises(FileNotFoundError):
        SharedSection.load(dll, "counter")
    build_section_dll(dll, {"MySharedData": 16, "before": 64, "counter": (8, b"new")})
    with SharedSection.load(dll, "counter") as other:
        assert other.offset != 4096
        assert other[:3] == b"new"
    del kept, again


def test_the_first_object_may_close_before_the_others(dll: Path) -> None:
    """Those that are loaded after it are counted, and find their variables."""
    first = SharedSection.load(dll)
    with SharedSection.load(dll, "counter") as second:
        first.close()
        with SharedSection.load(dll, "counter") as third:
            assert third.address == second.address
            assert (third.created, third.attach_count) == (False, 2)
        with pytest.raises(OSError, match="no such symbol"):
            SharedSection.load(dll, "missing")
        with SharedSection.load(dll) as fourth:
            assert (fourth.created, fourth.attach_count) == (False, 2)


def test_a_finder_may_be_pinned_after_its_close(dll: Path) -> None:
    """Its memory stays for a view, so does the module, and both keep their count."""
    with SharedSection.load(dll) as first:
        view = memoryview(first)
    with view, SharedSection.load(dll) as second:
        second[:1] = b"x"
        assert view[:1] == b"x"
        assert second.attach_count == 2


def test_attach_count_and_created_tell_who_was_first(
    dll: Path, start_peer: Callable[..., Any]
) -> None:
    """Every SharedSection of every process counts, until it is closed."""
    with SharedSection.load(dll) as first:
        assert first.created
        assert first.attach_count == 1
        with SharedSection.load(dll, "counter") as second:
            assert not second.created
            assert second.attach_count == 2
        peer = start_peer("section_peer.py", dll, "counter")
        peer.expect("ready")
        assert first.attach_count == 2
        peer.say("close")
        peer.expect("closed")
        assert first.attach_count == 1
    with SharedSection.load(dll) as again:
        assert again.created


def test_interlocked_adds_of_three_processes_all_count(
    dll: Path, start_peer: Callable[..., Any]
) -> None:
    """No increment is lost between processes."""
    count = 20000
    peers = [start_peer("section_peer.py", dll, "counter") for _ in range(2)]
    for peer in peers:
        peer.expect("ready")
    with SharedSection.load(dll, "counter") as section:
        for peer in peers:
            peer.say(f"add 0 {count}")
        with section.atomic() as number:
            for _ in range(count):
                number.add(1)
        for peer in peers:
            peer.expect("added")
        assert section.get(0, "i64") == 3 * count


def test_an_open_section_at_exit_is_harmless(dll: Path) -> None:
    """The interpreter ends with status 0 and says nothing."""
    code = (
        "import sys, winipc;"
        "s = winipc.SharedSection.load(sys.argv[1]); m = memoryview(s)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(dll)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_buffer_in_the_same_garbage_keeps_the_dll(dll: Path) -> None:
    """A cycle with a memoryview: finalisers still read it, and then it is unloaded."""
    seen = []

    class Reader:
        """Reads what it holds when it goes."""

        def __init__(self, section: SharedSection) -> None:
            self.cycle, self.view = self, memoryview(section)

        def __del__(self) -> None:
            seen.append(bytes(self.view[:3]))

    with SharedSection.load(dll) as other:
        other.write(b"abc")
        reader = Reader(SharedSection.load(dll))
        assert other.attach_count == 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del reader
            gc.collect()
        assert seen == [b"abc"]
        assert other.attach_count == 1


@pytest.mark.parametrize("close", [True, False])
def test_its_names_go_with_it(dll: Path, close: bool) -> None:
    """Path, symbol and section name are not kept by an object that is gone."""
    section = SharedSection.load(dll)
    path = section.path
    before = sys.getrefcount(path)
    section_name = section.section_name
    held = sys.getrefcount(section_name)
    if close:
        section.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del section
    assert sys.getrefcount(path) < before
    assert sys.getrefcount(section_name) == held - 1


def test_the_end_of_with_leaves_the_section_to_the_last_view(dll: Path) -> None:
    """It raises nothing; the DLL is let go of with the last view."""
    with SharedSection.load(dll) as section:
        view = memoryview(section)
        section.write(b"still")
    assert section.closed
    assert bytes(view[:5]) == b"still"
    with pytest.raises(ValueError, match="closed"):
        section.read()
    view.release()
    dll.unlink()

"""The catalogue of named objects, and who holds them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from conftest import keeps_handles

import winipc
from winipc import (
    Event,
    Mutex,
    ObjectKind,
    Semaphore,
    SharedMapping,
    _core,
    holders,
    holders_of,
    named_objects,
)
from winipc.system.catalog import _held_objects

CREATE: dict[ObjectKind, Callable[..., Any]] = {
    ObjectKind.SECTION: lambda name, **more: SharedMapping.create(name, 10_000, **more),
    ObjectKind.MUTEX: Mutex.create,
    ObjectKind.EVENT: Event.create,
    ObjectKind.SEMAPHORE: Semaphore.create,
}
each_kind = pytest.mark.parametrize("kind", list(ObjectKind))


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """`make(kind, name)` creates an object, closed at the end of the test."""
    with ExitStack() as stack:

        def make(kind: ObjectKind, name: str, **more: Any) -> Any:
            made = CREATE[kind](name, **more)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def peer(start_peer: Callable[..., Any]) -> Any:
    """A second process with winipc imported."""
    peer = start_peer("sync_peer.py")
    peer.expect("ready")
    return peer


@pytest.mark.smoke
@each_kind
def test_objects_are_listed_while_they_live(
    kind: ObjectKind, make: Callable[..., Any], unique_name: str
) -> None:
    """With their kind, their full name, and a section's size."""
    assert named_objects(pattern=unique_name) == []
    made = make(kind, unique_name)
    (row,) = named_objects(pattern=unique_name)
    assert row.kind is kind
    assert row.name == rf"Local\{unique_name}"
    assert row.path.endswith(rf"\BaseNamedObjects\{unique_name}")
    assert row.reason is None
    if kind is ObjectKind.SECTION:
        assert row.size is not None
        assert row.size >= 10_000
    else:
        assert row.size is None
    with pytest.raises(FrozenInstanceError):
        row.name = "x"  # type: ignore[misc]
    made.close()
    assert named_objects(pattern=unique_name) == []


def test_global_names(make: Callable[..., Any], unique_name: str) -> None:
    """The two directories are told apart, and both are searched."""
    make(ObjectKind.MUTEX, rf"Local\{unique_name}")
    try:
        make(ObjectKind.EVENT, rf"Global\{unique_name}")
    except PermissionError:
        pytest.skip("this user may not make global names")
    rows = named_objects(pattern=unique_name)
    assert [(row.name, row.kind) for row in rows] == [
        (rf"Global\{unique_name}", ObjectKind.EVENT),
        (rf"Local\{unique_name}", ObjectKind.MUTEX),
    ]
    assert named_objects(pattern=rf"Global\{unique_name}") == rows[:1]


def test_kind_and_pattern_choose(make: Callable[..., Any], unique_name: str) -> None:
    """By kind, by shell pattern, by case."""
    for kind in ObjectKind:
        make(kind, f"{unique_name}-{kind}")
    every = named_objects(pattern=f"{unique_name}-*")
    assert {row.kind for row in every} == set(ObjectKind)
    assert [row.name for row in every] == sorted(row.name for row in every)
    (mutex,) = named_objects("mutex", f"{unique_name}*")
    assert mutex.kind is ObjectKind.MUTEX
    assert named_objects(pattern=f"{unique_name}-MUTEX") == []
    assert mutex in named_objects(ObjectKind.MUTEX)
    with pytest.raises(ValueError, match="thread"):
        named_objects("thread")


@each_kind
def test_what_may_not_be_opened_is_listed_with_the_reason(
    kind: ObjectKind, make: Callable[..., Any], unique_name: str
) -> None:
    """An empty DACL lets nobody in; the row says so, and holders raises."""
    made = make(kind, unique_name, security="D:")
    (row,) = named_objects(pattern=unique_name)
    assert row.kind is kind
    assert row.size is None
    assert row.reason is not None
    assert "winerror 5" in row.reason
    # Whoever has a handle may still ask by it.
    assert holders(made).pids == ()


def test_a_thousand_objects(unique_name: str) -> None:
    """None is missing, and listing leaves no handle open."""
    with ExitStack() as stack:
        names = [f"{unique_name}-{number}" for number in range(1000)]
        for name in names:
            stack.enter_context(Event.create(name))

        def once() -> None:
            rows = named_objects("event", f"{unique_name}-*")
            found = sorted(row.name for row in rows)
            assert found == sorted(rf"Local\{name}" for name in names)
            for _ in range(7):
                holders(rows[0])

        assert not keeps_handles(once)


def test_long_and_strange_names(make: Callable[..., Any], unique_name: str) -> None:
    """Names that Windows takes come back as they were."""
    for odd in ("x" * 150, "日本 \N{GRINNING FACE}", "a/b:c*?[d]"):
        name = f"{unique_name}{odd}"
        with closing(make(ObjectKind.EVENT, name)):
            rows = [
                row for row in named_objects("event") if row.name == rf"Local\{name}"
            ]
            assert len(rows) == 1
            assert holders(rows[0]).pids == (os.getpid(),)


@pytest.mark.parametrize("length", [1500, 10_000])
def test_names_of_any_length(
    make: Callable[..., Any], unique_name: str, length: int
) -> None:
    """Nothing is cut, and nothing is missing, wherever a name is asked for."""
    name = unique_name.ljust(length, "x")
    make(ObjectKind.SECTION, name)
    (row,) = named_objects(pattern=name)
    assert row.name == rf"Local\{name}"
    own = {path for _, _, path in _core._own_handles()}
    assert row.path in own
    assert holders(row).pids == (os.getpid(),)


# ------------------------------------------------------------------ holders


@pytest.mark.smoke
@each_kind
def test_holders_of_a_name(
    kind: ObjectKind, make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """Both processes are found, by name, by row and by object; then only one."""
    made = make(kind, unique_name)
    cls = "SharedMapping" if kind is ObjectKind.SECTION else type(made).__name__
    peer.say(f"x = winipc.{cls}.open({unique_name!r})")
    peer.expect("ok")
    both = tuple(sorted((os.getpid(), peer.pid)))
    (row,) = named_objects(pattern=unique_name)
    for target in (unique_name, rf"Local\{unique_name}", row):
        found = holders(target)
        assert found.pids == both
        assert found.handles == (1, 1)
    # The object's own handle is not counted.
    if hasattr(made, "handle"):
        assert holders(made).pids == (peer.pid,)
    peer.say("x.close()")
    peer.expect("None")
    assert holders(unique_name).pids == (os.getpid(),)


def test_holders_counts_handles(make: Callable[..., Any], unique_name: str) -> None:
    """Several handles of one process are one process."""
    make(ObjectKind.EVENT, unique_name)
    make(ObjectKind.EVENT, unique_name + "-other")
    with closing(Event.open(unique_name)), closing(Event.open(unique_name)):
        found = holders(unique_name)
    assert found.pids == (os.getpid(),)
    assert found.handles == (3,)


def test_many_holders_come_of_one_look(
    make: Callable[..., Any],
    peer: Any,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As from `holders` one by one; None for what is not there."""
    names = [f"{unique_name}-{kind}" for kind in ObjectKind]
    for kind, name in zip(ObjectKind, names, strict=True):
        make(kind, name)
    peer.say(f"x = winipc.Event.open({unique_name + '-event'!r})")
    peer.expect("ok")
    wanted = [holders(name) for name in names]
    assert peer.pid in wanted[list(ObjectKind).index(ObjectKind.EVENT)].pids

    looks: list[int] = []
    look = _core._holders

    def counted(handles: Any, paths: Any) -> Any:
        looks.append(len(handles))
        return look(handles, paths)

    monkeypatch.setattr(_core, "_holders", counted)
    asked = [*names, names[0], unique_name]
    assert holders_of(asked) == [*wanted, wanted[0], None]
    assert looks == [5]
    assert holders_of([]) == []


def test_holders_of_a_killed_process(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """A dead process holds nothing."""
    event = make(ObjectKind.EVENT, unique_name)
    peer.say(f"x = winipc.Event.open({unique_name!r})")
    peer.expect("ok")
    assert holders(event).pids == (peer.pid,)
    peer.kill()
    assert holders(event).pids == ()


def test_holders_of_unnamed_objects(peer: Any) -> None:
    """An object with a handle needs no name."""
    with Event.create() as event:
        assert holders(event).pids == ()
        event.duplicate_to(peer.pid)
        assert holders(event).pids == (peer.pid,)


def test_holders_refuses_what_is_no_name(unique_name: str) -> None:
    """Free names, other sessions, other directories, dead handles."""
    with pytest.raises(FileNotFoundError) as missing:
        holders(unique_name)
    assert missing.value.winerror == 2
    for bad in ("", "Local\\", r"Elsewhere\x", r"Session\999\x", r"Session\x\y"):
        with pytest.raises(ValueError, match=r"name|session"):
            holders(bad)
    with pytest.raises(OSError, match="handle") as dead:
        _core._holders([0x7FFFFFF0], [None])
    assert dead.value.winerror == 6


def test_an_unknown_word_is_told_which_there_are() -> None:
    """By each enum whose words callers write."""
    for words, wrong, there in (
        (winipc.ObjectKind, "mail", "mapping, mutex, event, semaphore"),
        (winipc.Transport, "mail", "copydata, mapping, section, process"),
    ):
        with pytest.raises(
            ValueError, match=f"^no {words.__name__} '{wrong}': there are {there}$"
        ):
            words(wrong)
    assert winipc.ObjectKind("section") is winipc.ObjectKind.MAPPING


def test_raw_calls_refuse_nonsense() -> None:
    """Paths and types that are none."""
    with pytest.raises(FileNotFoundError):
        _core._list_directory(r"\NoSuchDirectory")
    with pytest.raises(ValueError, match="no path"):
        _core._list_directory("")
    with pytest.raises(ValueError, match="no path"):
        _core._list_directory("x" * 40_000)
    with pytest.raises(ValueError, match="null"):
        _core._list_directory("a\0b")
    with pytest.raises(ValueError, match="type Thread"):
        _core._open_object(r"\x", "Thread", 1)
    assert winipc.named_objects(pattern="") == []


def test_holders_come_with_the_list(
    make: Callable[..., Any],
    peer: Any,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As from two calls; each object is opened once, and no handle is left."""
    for kind in ObjectKind:
        make(kind, f"{unique_name}-{kind}")
    make(ObjectKind.EVENT, f"{unique_name}-shut", security="D:")
    peer.say(f"x = winipc.Event.open({unique_name + '-event'!r})")
    peer.expect("ok")
    rows = named_objects(pattern=f"{unique_name}-*")
    wanted = list(zip(rows, holders_of(rows), strict=True))
    (shut,) = [held for row, held in wanted if row.reason is not None]
    assert shut is not None  # its owner may still read who may open it
    assert shut.pids == (os.getpid(),)

    opened: list[str] = []
    open_object = _core._open_object

    def counted(path: str, kind: str, access: int) -> Any:
        opened.append(path)
        return open_object(path, kind, access)

    monkeypatch.setattr(_core, "_open_object", counted)
    assert _held_objects(None, f"{unique_name}-*") == wanted
    assert [opened.count(row.path) for row in rows if row.reason is None] == [1] * 4
    assert not keeps_handles(lambda: _held_objects(None, f"{unique_name}-*"))
    assert _held_objects("mutex", f"{unique_name}-event") == []


def test_unnamed_objects_are_told_apart(peer: Any) -> None:
    """Those of one kind have no name, or the same one."""
    with ExitStack() as stack:
        events = [stack.enter_context(Event.create()) for _ in range(5)]
        events[3].duplicate_to(peer.pid)
        events[1].duplicate_to(peer.pid)
        events[1].duplicate_to(peer.pid)
        held = holders_of([*events, events[3]])
        assert [one and one.handles for one in held] == [(), (2,), (), (1,), (), (1,)]


def create_timer() -> int:
    """A handle of an object of a kind that is not asked for its name."""
    kernel = ctypes.WinDLL("kernel32")
    kernel.CreateWaitableTimerW.restype = ctypes.c_void_p
    return int(kernel.CreateWaitableTimerW(None, 0, None))


def test_many_of_a_kind_are_told_apart(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """In both directories, with names of any length, and by no path but their own."""
    names = [unique_name, *(f"{unique_name}-{n}" for n in range(4))]
    names += [unique_name + end * 600 for end in "ab"]
    for name in names:
        make(ObjectKind.EVENT, name)
    for number in (0, 2, 5):
        make(ObjectKind.EVENT, rf"Global\{names[number]}")
    for name in (names[1], rf"Global\{names[2]}", names[6], names[6]):
        peer.say(f"x = [winipc.Event.open({name!r}), *globals().get('x', [])]")
        peer.expect("ok")
    rows = named_objects("event", f"{unique_name}*")
    assert len(rows) == 10
    held = holders_of(rows)
    assert held == [holders(row) for row in rows]
    by_peer = {
        row.name: one.handles[one.pids.index(peer.pid)]
        for row, one in zip(rows, held, strict=True)
        if one is not None and peer.pid in one.pids
    }
    assert by_peer == {
        rf"Local\{names[1]}": 1,
        rf"Global\{names[2]}": 1,
        rf"Local\{names[6]}": 2,
    }
    paths: list[str | None] = [row.path for row in rows]
    handles = [_core._open_object(row.path, "Event", 1)[0] for row in rows]
    try:
        wanted = _core._holders(handles, paths)
        elsewhere = [rf"\X{path}" for path in paths]
        for wrong in ([None] * 10, elsewhere, [paths[0], *elsewhere[1:]], ["x"] * 10):
            assert _core._holders(handles, wrong) == wanted
        with pytest.raises(ValueError, match="each handle"):
            _core._holders(handles, paths[1:])
    finally:
        for handle in handles:
            _core._close_handle(handle)


def test_a_name_is_found_without_a_list(
    make: Callable[..., Any], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects of other kinds do not hide it, and each directory has its own."""
    make(ObjectKind.MUTEX, unique_name)
    make(ObjectKind.EVENT, rf"Global\{unique_name}")
    monkeypatch.setattr("winipc.system.catalog._list", lambda path: 1 / 0)
    rows = named_objects(pattern=unique_name)
    assert [(row.name, row.kind) for row in rows] == [
        (rf"Global\{unique_name}", ObjectKind.EVENT),
        (rf"Local\{unique_name}", ObjectKind.MUTEX),
    ]
    assert named_objects(pattern=rows[1].name) == rows[1:]
    assert named_objects("event", rows[1].name) == []
    for none in (f"X\\{unique_name}", "Global\\", "Local\\Global", rows[1].path):
        assert named_objects(pattern=none) == []


def test_some_entries_of_a_directory() -> None:
    """Those at multiples of a step are read alone."""
    every = _core._list_directory(r"\ObjectTypes")
    assert len(every) > 5
    for step in (1, 2, 3, len(every) - 1, len(every), 1 << 31):
        assert _core._list_directory(r"\ObjectTypes", step) == every[::step]
    assert _core._list_directory(r"\ObjectTypes", 0) == every


@pytest.mark.parametrize("count", [7, 3000])
def test_an_entry_that_goes_hides_no_other(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the list is made, which is made again until nothing new is found."""
    entries = [(str(number), "Event") for number in range(count)]
    looks: list[int] = []

    def look(path: str, step: int = 1) -> list[tuple[str, str]]:
        looks.append(step)
        if len(looks) == 1:  # when all but the last have been read, the first goes
            return [*entries[:-2], *entries[-1:]]
        return entries[1::step]

    monkeypatch.setattr(_core, "_list_directory", look)
    assert winipc.system.catalog._list("") == set(entries)
    step = (count - 1) // 500 + 1
    assert looks == [1, *dict.fromkeys((step, 1)), step]
    looks[:] = [0]  # and while nothing changes
    assert winipc.system.catalog._list("") == set(entries[1:])
    assert looks[1:] == [1, step]


def test_objects_of_other_kinds_are_compared(peer: Any) -> None:
    """A handle is enough, whatever it is of."""
    timers = [create_timer() for _ in range(3)]
    try:
        assert _core._holders(timers, [None] * 3) == [[], [], []]
        peer.say(
            "import ctypes; k = ctypes.WinDLL('kernel32'); copy = ctypes.c_size_t()"
        )
        peer.expect("ok")
        me_there = f"k.OpenProcess(0x40, 0, {os.getpid()})"
        peer.say(
            f"k.DuplicateHandle(ctypes.c_size_t({me_there}), ctypes.c_size_t("
            f"{timers[1]}), ctypes.c_void_p(-1), ctypes.byref(copy), 0, 0, 2)"
        )
        assert peer.read_line() == "1"
        assert _core._holders(timers, [None] * 3) == [[], [(peer.pid, 1, 0)], []]
    finally:
        for timer in timers:
            _core._close_handle(timer)


def test_a_process_that_may_not_be_looked_into(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """It is in `unknown` of all objects of the kinds that it has handles of."""
    names = [f"{unique_name}-{number}" for number in range(3)]
    for name in names:
        make(ObjectKind.SEMAPHORE, name)
    assert [one and one.unknown for one in holders_of(names)] == [()] * 3
    peer.say(f"x = [winipc.Semaphore.open({names[0]!r}) for _ in range(3)]")
    peer.expect("ok")
    peer.say(f"y = winipc.Mutex.create({unique_name + '-mutex'!r})")
    peer.expect("ok")
    for line in (
        "import ctypes; empty = ctypes.create_string_buffer(64); "
        "shut = ctypes.create_string_buffer(256); a = ctypes.WinDLL('advapi32')",
        "a.InitializeAcl(empty, 64, 2) and a.InitializeSecurityDescriptor(shut, 1)"
        " and a.SetSecurityDescriptorDacl(shut, 1, empty, 0) and "
        "a.SetKernelObjectSecurity(ctypes.c_void_p(-1), 4, shut)",
    ):
        peer.say(line)
        assert peer.read_line() in ("ok", "1")
    me = os.getpid()
    mutex = named_objects(pattern=unique_name + "-mutex")
    timer = create_timer()
    assert _core._holders([timer], [None]) == [[]]  # the peer has none
    _core._close_handle(timer)

    def once() -> None:
        found = holders_of([*names, *mutex])
        for one in found:
            assert one is not None
            assert peer.pid in one.unknown
            assert peer.pid not in one.pids
        assert [one and one.pids for one in found] == [(me,), (me,), (me,), ()]

    assert not keeps_handles(once)


def test_handles_that_come_and_go_meanwhile(
    make: Callable[..., Any], unique_name: str
) -> None:
    """Other threads close what the list says they have."""
    make(ObjectKind.EVENT, unique_name)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            with ExitStack() as stack:
                for _ in range(50):
                    stack.enter_context(Event.open(unique_name))

    def list_meanwhile() -> None:
        stop.clear()
        threads = [threading.Thread(target=churn) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                found = holders(unique_name)
                assert found.pids == (os.getpid(),)
                assert 1 <= found.handles[0] <= 101
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    list_meanwhile()  # before Python 3.13 a lock, and so a Thread, has a handle
    assert not keeps_handles(list_meanwhile)

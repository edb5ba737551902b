"""SharedMapping: create, open, view, names, sharing and pickles."""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Peer
from helpers import BITS
from helpers.slow_page import runs_beside

from winipc import (
    Event,
    Layout,
    LockedMapping,
    MappingView,
    SharedMapping,
    Snapshot,
    _core,
    large_pages_privilege,
)


@pytest.mark.smoke
def test_two_mappings_of_one_name_share_bytes(unique_name: str) -> None:
    """What one writes, the other reads; `created` tells them apart."""
    with (
        SharedMapping.create(unique_name, 4096) as a,
        SharedMapping.open(unique_name) as b,
    ):
        a.write(b"hello", offset=7)
        assert b.read(5, offset=7) == b"hello"
        assert b.read(5, 7) == b"hello"
        assert a.address != b.address
        assert (a.created, b.created) == (True, False)


def test_size_is_what_was_asked_for(unique_name: str) -> None:
    """The creator knows the exact size; an opener knows whole pages."""
    with SharedMapping.create(unique_name, 1000) as a:
        assert (len(a), a.size, a.mapped_size, a.size_is_exact) == (
            1000,
            1000,
            4096,
            True,
        )
        assert a.name == unique_name
        assert a.access == "readwrite"
        assert (
            repr(a) == f"<SharedMapping {unique_name!r} size=1000 access='readwrite'>"
        )
        with SharedMapping.open(unique_name) as b:
            assert (b.size, b.size_is_exact) == (4096, False)
            assert "(whole pages)" in repr(b)
        with SharedMapping.open(unique_name, size=1000) as b:
            assert (b.size, b.size_is_exact) == (1000, True)


@pytest.mark.smoke
def test_create_is_exclusive(unique_name: str) -> None:
    """A taken name is FileExistsError, unless exist_ok."""
    with SharedMapping.create(unique_name, 4096) as a:
        with pytest.raises(FileExistsError) as caught:
            SharedMapping.create(unique_name, 4096)
        assert caught.value.winerror == 183
        assert caught.value.filename == unique_name
        assert caught.value.filename2 == "CreateFileMappingW"
        assert caught.value.__notes__ == [
            "hint: exist_ok=True opens the one that exists"
        ]
        with SharedMapping.create(unique_name, 4096, exist_ok=True) as b:
            assert not b.created
            b[0] = 7
        assert a[0] == 7
    with pytest.raises(FileNotFoundError):  # those who were refused hold nothing
        SharedMapping.open(unique_name)


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 65536, 65537])
def test_create_knows_what_open_asks(unique_name: str, size: int) -> None:
    """How many pages there are is worked out here, and asked of Windows there."""
    with (
        SharedMapping.create(unique_name, size) as made,
        SharedMapping.open(unique_name) as opened,
    ):
        assert (made.mapped_size, made.reserved) == (opened.size, opened.reserved)
        assert made.mapped_size == opened.mapped_size
        with SharedMapping.create(unique_name, size, exist_ok=True) as again:
            assert (again.size, again.mapped_size) == (size, made.mapped_size)


def committed_behind(address: int) -> int:
    """Committed bytes from an address on, as VirtualQuery says."""

    class Region(ctypes.Structure):
        _fields_ = (
            ("base", ctypes.c_size_t),
            ("allocation", ctypes.c_size_t),
            ("first_protection", ctypes.c_uint64 if BITS == 64 else ctypes.c_uint32),
            ("size", ctypes.c_size_t),
            ("state", ctypes.c_uint32),
            ("protection", ctypes.c_uint32),
            ("type", ctypes.c_uint32),
        )

    region = Region()
    kernel = ctypes.WinDLL("kernel32")
    size = ctypes.c_size_t(ctypes.sizeof(region))
    assert kernel.VirtualQuery(ctypes.c_void_p(address), ctypes.byref(region), size)
    assert region.state == 0x1000
    return region.base + region.size - address


@pytest.mark.parametrize("access", ["read", "readwrite", "copy"])
@pytest.mark.parametrize("size", [1, 4096, 65536, 65537, 200_000])
def test_open_has_the_pages_that_windows_says(
    unique_name: str, size: int, access: Any
) -> None:
    """From any offset to the end of the last page, and not one byte more."""
    whole = -(-size // 4096) * 4096
    edges = {0, 1, 4095, 4096, 65535, 65536, 70_001, whole - 4096, whole - 1}
    with SharedMapping.create(unique_name, size):
        for offset in sorted(edge for edge in edges if edge < whole):
            with SharedMapping.open(unique_name, access=access, offset=offset) as m:
                assert m.size == m.mapped_size == m.reserved == whole - offset
                assert committed_behind(m.address) == m.size
                assert m.read(1, m.size - 1) == b"\0"
            with SharedMapping.open(
                unique_name, access=access, offset=offset, size=1
            ) as m:
                assert m.size == 1
                assert committed_behind(m.address) == m.mapped_size
            with pytest.raises(ValueError, match="do not fit in the"):
                SharedMapping.open(
                    unique_name, access=access, offset=offset, size=whole - offset + 1
                )
        for beyond in (whole, whole + 1, whole + 65536, 2**40):
            with pytest.raises(ValueError, match=r"do not fit in|beyond the"):
                SharedMapping.open(unique_name, access=access, offset=beyond)


@pytest.mark.parametrize("offset", [1, 4096, 65536, 70_001])
def test_create_at_an_offset(unique_name: str, offset: int) -> None:
    """The mapping reaches from 0 to there and on; the first byte is at the offset."""
    with (
        SharedMapping.create(unique_name, 5000, offset=offset) as late,
        SharedMapping.open(unique_name) as whole,
    ):
        assert (late.size, late.offset) == (5000, offset)
        late[4999] = 7
        assert whole[offset + 4999] == 7
        assert late.mapped_size == whole.mapped_size - offset


def test_exist_ok_takes_what_is_there_as_it_is(
    unique_name: str, tmp_path: Path
) -> None:
    """Memory that is only reserved is not touched; a file behind it is noticed."""
    with (
        SharedMapping.create(unique_name, 1 << 16, reserve=True),
        SharedMapping.create(
            unique_name, 1 << 16, exist_ok=True, reserve=True
        ) as again,
    ):
        assert (again.size, again.mapped_size, again.reserved) == (0, 0, 1 << 16)
        assert again.commit(5000) == 5000
        again.write(b"x" * 5000)
    with (
        SharedMapping.create(unique_name, 5000, file=tmp_path / "behind"),
        SharedMapping.create(unique_name, 5000, exist_ok=True) as again,
    ):
        assert runs_beside(again.address, lambda: again[0])


def test_open_never_creates(unique_name: str) -> None:
    """A name that nobody has is FileNotFoundError."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedMapping.open(unique_name)
    assert caught.value.winerror == 2


def test_exist_ok_refuses_a_smaller_mapping(unique_name: str) -> None:
    """Taking an existing mapping never gives fewer bytes than asked for."""
    with SharedMapping.create(unique_name, 4096):
        with pytest.raises(ValueError, match="do not fit in the 4096 of"):
            SharedMapping.create(unique_name, 8192, exist_ok=True)
        with pytest.raises(ValueError, match="do not fit in the 4096 of"):
            SharedMapping.open(unique_name, size=8192)
        with pytest.raises(ValueError, match="do not fit in the 4096 of"):
            SharedMapping.open(unique_name, offset=65536)


def test_unnamed_mapping_has_no_name() -> None:
    """No name, and nobody can open it by one."""
    with SharedMapping.create(None, 100) as m:
        assert m.name is None
        assert "None" in repr(m)
        m[:] = bytes(range(100))
        assert bytes(m) == bytes(range(100))


@pytest.mark.parametrize("size", [0, None, -1])
def test_size_must_be_positive(size: int | None) -> None:
    """Without a file there is no size to take over."""
    with pytest.raises(ValueError, match="size"):
        SharedMapping.create(None, size)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_bad_names_are_refused(name: str) -> None:
    """An empty name would mean none to Windows, a NUL would end it."""
    with pytest.raises(ValueError, match=r"name|null"):
        SharedMapping.create(name, 4096)
    with pytest.raises(ValueError, match=r"name|null"):
        SharedMapping.open(name)


def test_huge_size_is_overflow() -> None:
    """Numbers that no address space holds are told before Windows sees them."""
    with pytest.raises(OverflowError):
        SharedMapping.create(None, 2**63 - 1, offset=1)
    with pytest.raises(OverflowError):
        SharedMapping.create(None, 2**64)


# ------------------------------------------------------------------------------- access


def test_read_access_refuses_every_write(unique_name: str) -> None:
    """access='read' gives a read-only buffer and no way around it."""
    with SharedMapping.create(unique_name, 16) as a:
        a.write(b"abc")
        with SharedMapping.open(unique_name, access="read") as b:
            assert b.access == "read"
            assert b.read(3) == b"abc"
            with memoryview(b) as view:
                assert view.readonly
            writes: list[Callable[[], object]] = [
                lambda: b.write(b"x"),
                lambda: b.__setitem__(0, 1),
                lambda: b.__setitem__(slice(0, 1), b"x"),
                lambda: b.set(0, "i32", 1),
            ]
            for write in writes:
                with pytest.raises(TypeError, match=r"read-only.*access='readwrite'"):
                    write()


def test_copy_access_leaves_the_original_alone(unique_name: str) -> None:
    """What is written to a copy-on-write view stays in it."""
    with SharedMapping.create(unique_name, 8192) as a:
        a.write(b"original")
        with SharedMapping.open(unique_name, access="copy") as b:
            b.write(b"private!")
            assert b.read(8) == b"private!"
            assert a.read(8) == b"original"
            a.write(b"page two", offset=4096)
            assert b.read(8, 4096) == b"page two"


def test_create_with_copy_access(unique_name: str) -> None:
    """PAGE_WRITECOPY from the start: everybody gets copies of zeros."""
    with SharedMapping.create(unique_name, 4096, access="copy") as a:
        a.write(b"mine")
        with SharedMapping.open(unique_name, access="copy") as b:
            assert b.read(4) == bytes(4)


def test_unknown_access_is_refused() -> None:
    """Only three words are known."""
    with pytest.raises(ValueError, match="'read', 'readwrite' or 'copy'"):
        SharedMapping.create(None, 10, access="rw")  # type: ignore[arg-type]


# ----------------------------------------------------------------------- offsets, views


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 65535, 65536, 65537, 100_000])
def test_any_offset_is_aligned_for_the_caller(unique_name: str, offset: int) -> None:
    """Windows maps multiples of 64 KiB; callers need not know."""
    with SharedMapping.create(unique_name, 200_000) as whole:
        whole.write(b"here", offset=offset)
        with SharedMapping.open(unique_name, offset=offset, size=4) as part:
            assert part.read() == b"here"
            assert (part.size, part.offset) == (4, offset)
            part.write(b"mine")
        assert whole.read(4, offset) == b"mine"


def test_views_share_the_mapping(unique_name: str) -> None:
    """A view() is another window on the same bytes, and keeps it from closing."""
    m = SharedMapping.create(unique_name, 200_000)
    with m.view(70_000, 1000) as view:
        assert isinstance(view, MappingView)
        assert view.mapping is m
        assert (view.size, view.offset) == (1000, 70_000)
        view.write(b"through the view")
        assert m.read(16, 70_000) == b"through the view"
        with pytest.raises(BufferError, match="1 buffer is") as caught:
            m.close()
        assert "MappingView at offset 70000" in caught.value.__notes__[0]
    m.close()
    assert view.closed


def test_view_of_a_closed_mapping(unique_name: str) -> None:
    """Closed is closed."""
    m = SharedMapping.create(unique_name, 4096)
    m.close()
    with pytest.raises(ValueError, match="is closed"):
        m.view()


def test_view_range_is_checked() -> None:
    """A view never reaches beyond its mapping."""
    with SharedMapping.create(None, 4096) as m:
        with pytest.raises(ValueError, match="do not fit in the 4096 of"):
            m.view(4000, 97 + 4096)
        with m.view(4000) as view:
            assert view.size == 96


# ------------------------------------------------------------------------------ handles


def test_from_handle_takes_the_handle_over() -> None:
    """A duplicate in this very process maps the same bytes."""
    with SharedMapping.create(None, 4096) as a:
        handle = a.duplicate_to(os.getpid())
        with SharedMapping.from_handle(handle, size=100) as b:
            assert b.handle == handle
            b.write(b"shared")
            assert a.read(6) == b"shared"
        with pytest.raises(OSError, match="MapViewOfFile"):
            SharedMapping.from_handle(handle)
        reader = a.duplicate_to(os.getpid(), access="read")
        with pytest.raises(PermissionError):
            SharedMapping.from_handle(reader)
        for name in (5, "", "a\0b"):
            with pytest.raises((TypeError, ValueError)):
                SharedMapping.from_handle(reader, access="read", name=name)  # type: ignore[arg-type]
        with SharedMapping.from_handle(reader, access="read") as c:
            assert c.read(6) == b"shared"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((4096, "x"), "the name comes first"),
        (("x", Layout.of("s", "a:i32")), "such as LAYOUT.size; SharedMapping takes"),
        (("x", "a:i32"), "such as LAYOUT.size; SharedMapping takes"),
    ],
    ids=["swapped", "layout", "short-layout"],
)
def test_create_says_what_was_meant(arguments: Any, hint: str) -> None:
    for kind in (SharedMapping, LockedMapping):
        with pytest.raises(TypeError) as caught:
            kind.create(*arguments)
        assert any(hint in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        (
            SharedMapping,
            ": use its class methods create, from_handle, open, wait, wait_for",
        ),
        (Snapshot, ": use its class methods foreign, over"),
        (MappingView, ""),
    ],
)
def test_a_constructor_names_the_class_methods(kind: Any, methods: str) -> None:
    with pytest.raises(
        TypeError, match=f"^{kind.__name__} has no plain constructor{methods}$"
    ):
        kind("x", 4096)


def test_wait_finds_and_gives_up(unique_name: str) -> None:
    """wait() opens what is there, and raises TimeoutError for what is not."""
    with pytest.raises(TimeoutError) as caught:
        SharedMapping.wait_for(unique_name, 0.05)
    assert caught.value.winerror == 1460
    with SharedMapping.create(unique_name, 4096) as a:
        with SharedMapping.wait_for(unique_name, 5) as b:
            b[0] = 1
        assert a[0] == 1
        with pytest.warns(DeprecationWarning, match="SharedMapping.wait_for"):
            b = SharedMapping.wait(unique_name, 0, access="read")
        with b:
            assert b[0] == 1


# ------------------------------------------------------------------- names and security


@pytest.mark.parametrize("timeout", [float("nan"), -1, -0.001])
@pytest.mark.parametrize("cls", [SharedMapping, LockedMapping])
def test_nan_and_negative_timeouts_are_refused(
    cls: type[SharedMapping], timeout: float, unique_name: str
) -> None:
    """NaN would never end, and a negative time is a mistake."""
    with pytest.raises(ValueError, match="timeout"):
        cls.wait_for(unique_name, timeout)
    locked = LockedMapping.create(unique_name, 10)
    with locked, pytest.raises(ValueError, match="timeout"):
        locked.wait_for_change(timeout)


def test_name_of_another_kind_is_told(unique_name: str) -> None:
    """An event has the name: error 6, and a hint that says so."""
    with Event.create(unique_name):
        for attempt in (
            lambda: SharedMapping.open(unique_name),
            lambda: SharedMapping.create(unique_name, 16),
            lambda: SharedMapping.create(unique_name, 16, exist_ok=True),
            lambda: SharedMapping.wait_for(unique_name, 1),
        ):
            with pytest.raises(OSError, match=unique_name) as caught:
                attempt()
            assert caught.value.winerror == 6
            assert "another kind of object" in caught.value.__notes__[0]


def test_missing_name_is_looked_for_elsewhere(unique_name: str) -> None:
    """Local and Global are two namespaces; the hint names the other one."""
    with SharedMapping.create(f"Global\\{unique_name}", 16):
        with pytest.raises(FileNotFoundError) as caught:
            SharedMapping.open(unique_name)
        assert f"Global\\{unique_name} exists" in caught.value.__notes__[0]
        with pytest.raises(TimeoutError) as timed_out:
            SharedMapping.wait_for(unique_name, 0)
        assert f"Global\\{unique_name} exists" in timed_out.value.__notes__[0]
    with SharedMapping.create(f"Local\\{unique_name}", 16):
        with pytest.raises(FileNotFoundError) as caught:
            SharedMapping.open(f"Global\\{unique_name}")
        assert "exists in session" in caught.value.__notes__[0]
        with SharedMapping.open(unique_name) as same:
            assert same.size == 4096


def test_backslash_in_a_name_is_explained(unique_name: str) -> None:
    """Only the known namespaces may stand before a backslash."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedMapping.create(f"a\\{unique_name}", 16)
    assert caught.value.winerror == 3
    assert "backslash" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [SharedMapping, LockedMapping])
def test_wait_refuses_a_name_that_cannot_be(
    kind: type[SharedMapping], unique_name: str
) -> None:
    """Nobody will ever create it: an error at once, with the hint of `open`."""
    with pytest.raises(FileNotFoundError) as caught:
        kind.wait_for(f"Other\\{unique_name}", 5)
    assert caught.value.winerror == 3
    assert "backslash" in caught.value.__notes__[0]


def test_owner_security_makes_this_user_the_owner(unique_name: str) -> None:
    """What a Pageant-style server asks: does the mapping belong to my user?"""
    win32security = pytest.importorskip("win32security")
    import win32api
    import win32con

    token = win32security.OpenProcessToken(
        win32api.GetCurrentProcess(), win32con.TOKEN_QUERY
    )
    me, _ = win32security.GetTokenInformation(token, win32security.TokenUser)
    sid = win32security.ConvertSidToStringSid(me)
    for security in ("owner", f"O:{sid}G:{sid}D:P(A;;GA;;;{sid})"):
        with SharedMapping.create(unique_name, 4096, security=security) as m:
            found = win32security.GetSecurityInfo(
                m.handle,
                win32security.SE_KERNEL_OBJECT,
                win32security.OWNER_SECURITY_INFORMATION,
            )
            assert found.GetSecurityDescriptorOwner() == me


def test_server_that_checks_the_owner_takes_the_mapping(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """A C server in the way of Pageant: it answers only to its own user's mapping."""
    with SharedMapping.create(unique_name, 4096, security="owner") as m:
        peer = start_peer("mapping_header.exe", "owner", unique_name)
        peer.expect("taken")
        assert m.read(6) == b"answer"
        assert peer.finish() == 0  # or it still holds the name
    everyone = "O:WDG:WDD:(A;;GA;;;WD)"
    with SharedMapping.create(unique_name, 4096, security=everyone) as m:
        peer = start_peer("mapping_header.exe", "owner", unique_name)
        peer.expect("refused")
        assert m.read(6) == bytes(6)


@pytest.mark.parametrize(
    ("preset", "users"),
    [("service+users", 0xE0000000), ("service+readers", 0xA0000000)],
)
def test_preset_lets_the_users_of_a_service_in(
    unique_name: str, preset: str, users: int
) -> None:
    """All rights for system, administrators and owner; some for who is logged on."""
    win32security = pytest.importorskip("win32security")
    import win32con
    import win32event

    from winipc import Event

    with (
        SharedMapping.create(unique_name, 4096, security=preset) as mapping,
        Event.create(f"{unique_name}.event", security=preset) as event,
    ):
        SharedMapping.open(unique_name).close()
        opened = win32event.OpenEvent(win32con.READ_CONTROL, False, event.name)
        rights = []
        for handle in (mapping.handle, opened):
            found = win32security.GetSecurityInfo(
                handle,
                win32security.SE_KERNEL_OBJECT,
                win32security.DACL_SECURITY_INFORMATION,
            )
            acl = found.GetSecurityDescriptorDacl()
            rights.append(
                {
                    win32security.ConvertSidToStringSid(sid): mask & 0xFFFFFFFF
                    for _, mask, sid in map(acl.GetAce, range(acl.GetAceCount()))
                }
            )
    full = dict.fromkeys(("S-1-5-18", "S-1-5-32-544", "S-1-3-4"), 0x10000000)
    assert rights == [{**full, "S-1-5-4": users}] * 2


def test_bad_security_is_refused() -> None:
    """Neither SDDL nor "owner": an error, and nothing is made."""
    with pytest.raises(ValueError, match=r"'nonsense' is neither .*service\+users"):
        SharedMapping.create(None, 16, security="nonsense")
    with pytest.raises(OSError, match="D:P"):
        SharedMapping.create(None, 16, security="D:P(A;;GA;;;WD")
    with pytest.raises(TypeError, match="SDDL"):
        SharedMapping.create(None, 16, security=5)  # type: ignore[arg-type]


# ----------------------------------------------------------------- reserve, large pages


def test_reserved_memory_grows_by_commit(unique_name: str) -> None:
    """Only what is committed can be used, in every process."""
    with SharedMapping.create(unique_name, 1 << 20, reserve=True) as a:
        assert (len(a), a.reserved, bytes(a)) == (0, 1 << 20, b"")
        with pytest.raises(ValueError, match="fit"):
            a.write(b"x")
        assert a.commit(5000) == 5000
        assert (a.size, a.mapped_size) == (5000, 8192)
        view = memoryview(a)
        a.write(b"kept", 4996)
        with SharedMapping.open(unique_name) as b:
            assert (b.size, b.reserved) == (8192, 1 << 20)
            assert a.commit(100_000) == 100_000
            assert len(view) == 5000
            assert b.commit() == 102_400
            b[99_999] = 3
        assert a[99_999] == 3
        assert a.read(4, 4996) == b"kept"
        assert a.commit(1) == 100_000
        with pytest.raises(ValueError, match="1048576 are reserved"):
            a.commit((1 << 20) + 1)
        with pytest.raises(ValueError, match="size must be >= 0"):
            a.commit(-1)
        view.release()


def test_less_than_asked_for_is_an_error(unique_name: str) -> None:
    """Of a partly committed mapping no caller gets fewer bytes than asked for."""
    with SharedMapping.create(unique_name, 1 << 16, reserve=True) as m:
        m.commit(4096)
        for get in (
            lambda: SharedMapping.open(unique_name, size=5000),
            lambda: SharedMapping.create(unique_name, 5000, exist_ok=True),
            lambda: m.view(0, 5000),
        ):
            with pytest.raises(ValueError, match=r"only 4096 of .*commit"):
                get()
        with SharedMapping.open(unique_name, size=4096) as part:
            assert (part.size, part.reserved) == (4096, 4096)
        with SharedMapping.open(unique_name) as whole:
            assert whole.commit(5000) == 5000
        with SharedMapping.open(unique_name, size=5000) as part:
            assert part.size == 5000


@pytest.mark.skipif(BITS == 32, reason="no 32-bit process has room for 4 GiB")
def test_more_than_4_gib_may_be_reserved(unique_name: str) -> None:
    """Sizes and offsets of more than 32 bits, at no cost."""
    size, offset = 5 << 30, (4 << 30) + 65536
    with (
        SharedMapping.create(unique_name, size, reserve=True) as m,
        SharedMapping.open(unique_name, offset=offset) as end,
    ):
        assert m.reserved == size
        assert end.reserved == size - offset


def test_commit_needs_write_access(unique_name: str) -> None:
    """A reader sees what others commit and cannot commit itself."""
    with (
        SharedMapping.create(unique_name, 1 << 20, reserve=True) as a,
        SharedMapping.open(unique_name, access="read") as b,
    ):
        with pytest.raises(TypeError, match="readwrite"):
            b.commit(10)
        a.commit(4096)
        assert b.commit() == 4096


def test_large_pages_work_or_say_what_is_missing() -> None:
    """Without the privilege the error is 1314 and names it."""
    error = None
    try:
        with SharedMapping.create(None, 10, large_pages=True) as m:
            m[9] = 1
            assert m.size == 10
    except OSError as caught:
        error = caught
    if error is not None:
        assert error.winerror == 1314
        assert "Lock pages in memory" in error.__notes__[0]
        assert "winipc.large_pages_privilege" in error.__notes__[0]
    for options in ({"reserve": True}, {"file": "x"}):
        with pytest.raises(ValueError, match=r"large.pages"):
            SharedMapping.create(None, 10, large_pages=True, **options)  # type: ignore[arg-type]


def test_large_pages_privilege_is_given_back() -> None:
    """It is enabled within the context only, or a clear error."""
    name = "SeLockMemoryPrivilege"
    try:
        before = _core._set_privilege(name, False)
    except PermissionError:
        with pytest.raises(PermissionError) as caught, large_pages_privilege():
            pass
        assert caught.value.winerror == 1300
        return
    with large_pages_privilege():
        assert _core._set_privilege(name, True)
    assert not _core._set_privilege(name, before)


# ------------------------------------------------------------------------ two processes


def test_the_creator_may_end_first(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """Nothing is lost while anyone holds it; after the last one the name is free."""
    peer = start_peer("mapping_peer.py", "create", unique_name, 1000, "kept", "header")
    with SharedMapping.wait_for(unique_name, DEADLINE, header=True) as m:
        peer.expect("ready")
        assert (m.size, m.owner_pid, m.created) == (1000, peer.pid, False)
        peer.kill()
        assert m.read(4) == b"kept"
        with SharedMapping.open(unique_name, header=True) as again:
            assert again.read(4) == b"kept"
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)


def test_handle_travels_to_another_process(start_peer: Callable[..., Peer]) -> None:
    """An unnamed mapping is given by duplicate_to, and outlives its maker's view."""
    peer = start_peer("mapping_peer.py", "handle", 14)
    peer.expect("ready")
    with SharedMapping.create(None, 4096) as m:
        m.write(b"from the maker")
        peer.say(str(m.duplicate_to(peer.pid)))
        peer.expect("from the maker")
        peer.expect("written")
        assert m.read(13) == b"from the peer"
        m.write(b"before the end")
    peer.say("look")
    peer.expect("before the en")
    assert peer.finish() == 0


def test_duplicate_to_nobody_says_so() -> None:
    """A process id that is not in use, and one that is not a process id."""
    with SharedMapping.create(None, 16) as m:
        with pytest.raises(ProcessLookupError) as caught:
            m.duplicate_to(0x7FFFFFF0)
        assert caught.value.filename == "pid 2147483632"
        with pytest.raises(OverflowError):
            m.duplicate_to(-1)
        with pytest.raises(OverflowError):
            m.duplicate_to(2**32)


def test_writer_killed_in_the_middle_leaves_usable_memory(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """Bytes are old or new, and the mapping works on."""
    size = 1 << 22
    with SharedMapping.create(unique_name, size) as m:
        peer = start_peer("mapping_peer.py", "hammer", unique_name)
        peer.expect("ready")
        peer.kill()
        assert m.read() == bytes(range(256)) * (size // 256)
        m.write(b"on")
        assert m.read(2) == b"on"


def test_creator_killed_before_its_header(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """A mapping whose maker died half way: an error in time, then a free name."""
    peer = start_peer("mapping_peer.py", "unmapped", unique_name)
    peer.expect("ready")
    with SharedMapping.open(unique_name) as held:
        peer.kill()
        with pytest.raises(TimeoutError, match="header is still 0"):
            SharedMapping.open(unique_name, header=True)
        assert held.read(64) == bytes(64)
    with SharedMapping.create(unique_name, 100, header=True) as m:
        assert m.created


# ------------------------------------------------------------------------------- pickle


def test_named_mapping_is_pickled_by_name(unique_name: str) -> None:
    """The copy is another view of the same memory, of the same part."""
    with SharedMapping.create(unique_name, 1000, header=True) as m:
        m.write(b"0123456789")
        with pickle.loads(pickle.dumps(m)) as other:
            assert (other.size, other.created, other.owner_pid) == (
                1000,
                False,
                os.getpid(),
            )
            other.write(b"new")
        assert m.read(4) == b"new3"
        with (
            SharedMapping.open(
                unique_name, access="read", header=True, offset=2, size=3
            ) as part,
            pickle.loads(pickle.dumps(part)) as other,
        ):
            assert (bytes(other), other.access) == (b"w34", "read")
        gone = pickle.dumps(m)
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(m)
    with pytest.raises(FileNotFoundError):
        pickle.loads(gone)


def test_unnamed_mapping_is_not_pickled_to_nowhere() -> None:
    """Outside multiprocessing a handle means nothing."""
    with SharedMapping.create(None, 16) as m:
        with pytest.raises(TypeError, match="duplicate_to"):
            pickle.dumps(m)
        with pytest.raises(TypeError), m.view() as view:
            pickle.dumps(view)


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_mapping_travels_through_multiprocessing(
    unique_name: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spawned process, a pool and an executor all see the same memory."""
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("peers")))
    mapping_mp = importlib.import_module("mapping_mp")
    context = multiprocessing.get_context("spawn")
    with SharedMapping.create(unique_name if named else None, 100) as m:
        m.write(b"here", 8)
        process = context.Process(target=mapping_mp.write_pid, args=(m, 0))
        process.start()
        pid = process.pid
        process.join(DEADLINE)
        assert process.exitcode == 0
        assert m.get(0, "u32") == pid
        process.close()
        with context.Pool(1) as pool:
            pid = pool.apply_async(mapping_mp.write_pid, (m, 4)).get(DEADLINE)
            assert m.get(4, "u32") == pid
            pool.close()
            pool.join()
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            told = executor.submit(mapping_mp.describe, m).result(DEADLINE)
        assert told["pid"] != os.getpid()
        assert (told["name"], told["size"]) == (m.name, 100)
        assert (told["exact"], told["created"]) == (True, False)
        assert told["start"] == m.read(4)

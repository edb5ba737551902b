"""The examples ssh_agent.py and everything.py, with each other and with others."""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Peer

import winipc

StartPeer = Callable[..., Peer]

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ssh_agent = load("ssh_agent")
everything = load("everything")


def agent_answer(request: bytes) -> bytes:
    if request == b"\x0b":
        keys = struct.pack(">I", 4) + b"blob" + struct.pack(">I", 3) + b"key"
        return struct.pack(">BI", 12, 1) + keys
    return b"\x05" if len(request) < 1000 else b"x" * 300_000


def test_agent_and_client_understand_each_other(unique_name: str) -> None:
    """Listing keys, a refusal, and an answer that is too large."""
    with ssh_agent.serve(agent_answer, unique_name):
        assert ssh_agent.list_keys(unique_name) == [(b"blob", "key")]
        assert ssh_agent.ask(b"\x0d", unique_name) == b"\x05"
        assert ssh_agent.ask(b"\x0d" * 1000, unique_name) == b"\x05"
    with pytest.raises(FileNotFoundError):
        ssh_agent.list_keys(unique_name)


def test_agent_refuses_mappings_of_others(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapping whose owner is not this user, a missing one, a wrong length."""
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    def send(name: str) -> int:
        return winipc.send_copydata(
            unique_name, name.encode() + b"\0", id=0x804E50BA, check=False
        )

    with ssh_agent.serve(agent_answer, unique_name):
        name = unique_name + "m"
        with winipc.SharedMapping.create(name, 4096, security="O:SYD:(A;;GA;;;WD)"):
            assert send(name) == 0
        with winipc.SharedMapping.create(name, 4096, security="owner") as mapping:
            mapping.write(b"\xff\xff\xff\xff", 0)
            assert send(name) == 0
        assert reports == []
        assert send(name) == 0
        assert reports[0].exc_type is FileNotFoundError
        reports.clear()


def test_agent_answers_a_client_in_ctypes(unique_name: str) -> None:
    """Written from the protocol alone: FindWindowA, mmap, SendMessageA."""

    class CopyData(ctypes.Structure):
        _fields_ = (
            ("id", ctypes.c_size_t),
            ("size", ctypes.c_uint32),
            ("data", ctypes.c_char_p),
        )

    user32 = ctypes.WinDLL("user32")
    user32.FindWindowA.restype = ctypes.c_void_p
    name = (unique_name + "c").encode()
    with (
        winipc.SharedMapping.create(name.decode(), 8192, security="owner"),
        mmap.mmap(-1, 8192, tagname=name.decode()) as view,
        ssh_agent.serve(agent_answer, unique_name),
    ):
        view[:5] = b"\0\0\0\1\x0b"
        title = unique_name.encode()
        hwnd = ctypes.c_void_p(user32.FindWindowA(title, title))
        data = CopyData(0x804E50BA, len(name) + 1, name)
        assert user32.SendMessageA(hwnd, 0x4A, None, ctypes.byref(data)) == 1
        assert view[:9] == b"\0\0\0\x14\x0c\0\0\0\1"


@pytest.mark.parametrize("owner", ["user", "default"])
def test_agent_answers_a_client_in_c(
    start_peer: StartPeer, unique_name: str, owner: str
) -> None:
    """As PuTTY asks; an id that is no request is answered 0, as Pageant does."""
    if owner == "default" and winipc._core._wine_version() is not None:
        pytest.skip("Wine gives a mapping without a descriptor no owner")
    with ssh_agent.serve(agent_answer, unique_name):
        asking = start_peer("asking.exe", "agent", unique_name, 0x804E50BA, owner)
        answer = agent_answer(b"\x0b")
        asking.expect(f"1 {struct.pack('>I', len(answer)).hex()}{answer.hex()}")
        for id in (0x804E50BB, 0, 1):
            asking = start_peer("asking.exe", "agent", unique_name, id, owner)
            asking.expect("0")


def test_everything_server_answers_a_client_in_c(
    start_peer: StartPeer, unique_name: str
) -> None:
    """A query that it does not know is answered 0, so the client does not wait."""
    items = [everything.Found("C:\\x", f"file {n}", False) for n in range(9)]
    with everything.serve(items, unique_name):
        start_peer("asking.exe", "search", unique_name, 2).expect("1 9")
        for id in (1, 18, 0):
            start_peer("asking.exe", "search", unique_name, id).expect("0")
        window = winipc.find_window(class_name=unique_name)
        assert window is not None
        with pytest.raises(ConnectionRefusedError):
            winipc.call(window, b"", id=1, timeout=None)


def test_everything_client_and_server(unique_name: str) -> None:
    """Text, folders, offset and limit; several queries."""
    items = [everything.Found("C:\\x", f"file {n} é.txt", n % 2 == 0) for n in range(9)]
    with everything.serve(items, unique_name):
        assert everything.search("FILE", window_class=unique_name) == items
        assert everything.search("3 é", window_class=unique_name) == [items[3]]
        found = everything.search("file", offset=2, most=3, window_class=unique_name)
        assert found == items[2:5]
        assert everything.search("nothing", window_class=unique_name) == []
    with pytest.raises(FileNotFoundError):
        everything.search("x", window_class=unique_name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda answer: answer[:20],
        lambda answer: answer[:28],
        lambda answer: answer[:32] + b"\xff\xff\xff\xff" + answer[36:],
    ],
    ids=["head", "items", "offset"],
)
def test_everything_answers_are_checked(damage: Callable[[bytes], bytes]) -> None:
    """A hostile server gets an error, not memory."""
    answer = everything.write_list([everything.Found("p", "n", False)], 1, 0)
    assert list(everything.read_list(answer)) == [everything.Found("p", "n", False)]
    with pytest.raises((ValueError, struct.error)):
        list(everything.read_list(damage(answer)))

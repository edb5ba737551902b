"""paramiko's Pageant client, written by others, asks the agent of examples/."""

from __future__ import annotations

import importlib
import importlib.util
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import winipc

EXAMPLES = Path(__file__).parents[2] / "examples"

REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12


@pytest.fixture
def win_pageant(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`paramiko.win_pageant`, without the package's own imports.

    Those load OpenSSL, which Wine 8 has not all functions for; the client of
    Pageant needs none of it.
    """
    before = set(sys.modules)
    spec = importlib.util.find_spec("paramiko")
    assert spec is not None
    package = ModuleType("paramiko")
    package.__path__ = list(spec.submodule_search_locations or [])
    monkeypatch.setitem(sys.modules, "paramiko", package)
    yield importlib.import_module("paramiko.win_pageant")
    for name in set(sys.modules) - before:
        if name.startswith("paramiko."):
            del sys.modules[name]


@pytest.fixture
def ssh_agent(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("ssh_agent")


def answer(request: bytes) -> bytes:
    """An agent with one key."""
    assert request == bytes([REQUEST_IDENTITIES])
    key = struct.pack(">I", 4) + b"blob" + struct.pack(">I", 7) + b"comment"
    return struct.pack(">BI", IDENTITIES_ANSWER, 1) + key


def test_paramiko_lists_the_keys_of_our_agent(
    win_pageant: ModuleType, ssh_agent: ModuleType
) -> None:
    """It finds the window "Pageant", maps its request, and reads the answer."""
    assert winipc.find_window("Pageant") is None, "end the Pageant that runs here"
    assert not win_pageant.can_talk_to_agent()
    with ssh_agent.serve(answer):
        assert win_pageant.can_talk_to_agent()
        connection = win_pageant.PageantConnection()
        connection.send(struct.pack(">IB", 1, REQUEST_IDENTITIES))
        (length,) = struct.unpack(">I", connection.recv(4))
        assert connection.recv(length) == answer(bytes([REQUEST_IDENTITIES]))
        connection.close()

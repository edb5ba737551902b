"""`winipc relay`: what it is told wrongly, and what it takes from others.

With a broker, between two machines, it is run by tests/linux/test_relay.py.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import misuse, run_winipc

pytest.importorskip("paho.mqtt.client")

from winipc import relay
from winipc.relay import Broker
from winipc.relay.link import topic_name
from winipc.relay.mapping import HEAD, RANGE, _ranges


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["host"], "give a --mapping, --copy, --window or --proxy"),
        (["http://host", "--copy", "x"], "is not host[:port]"),
        (["host:port", "--copy", "x"], "is not host[:port]"),
        (["mqtt://me:secret@host", "--copy", "x"], "WINIPC_RELAY_PASSWORD, or a file"),
    ],
    ids=["nothing", "scheme", "port", "password"],
)
def test_wrong_usage_is_told(
    capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    told = misuse(capsys, "relay", *words)
    assert text in told
    assert "secret" not in told


def test_a_broker_that_is_not_there_is_a_failure() -> None:
    with socket.socket() as taken:  # bound, and listening to nobody
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        words = (f"127.0.0.1:{port}", "--copy", "x")
        done = run_winipc("relay", *words, check=False)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert told.startswith("winipc: [WinError 10061]")
    assert f"the broker is 127.0.0.1, port {port}" in told


@pytest.mark.parametrize("by_file", [False, True])
def test_a_password_comes_from_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_file: bool
) -> None:
    """Of a file, as Notepad writes it, too."""
    given: list[Any] = []

    def refuse(broker: Broker, *_: object, **_more: object) -> None:
        given.append(broker)
        raise PermissionError("enough")

    monkeypatch.setattr(relay, "MappingCopy", refuse)
    monkeypatch.setenv("WINIPC_RELAY_PASSWORD", "of the environment")
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbfof the file\r\n")
    words = ["relay", "mqtts://me@host:99", "--copy", "x", "--ca-file", "ca.pem"]
    words += ["--password-file", str(file)] * by_file
    done = run_winipc(*words, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, b"winipc: enough")
    password = "of the file" if by_file else "of the environment"
    assert given == [
        Broker("host", 99, "me", password, tls=True, ca_file="ca.pem"),
    ]
    assert password not in repr(given)


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({"prefix": "a/#"}, "x", "no + and no #"),
        ({"keepalive": 0}, "x", "1 to 65535"),
        ({"keepalive": 1 << 16}, "x", "1 to 65535"),
        ({}, "\xe9" * 20000, "20000 characters is too long"),
    ],
    ids=["prefix", "no keepalive", "keepalive", "name"],
)
def test_what_mqtt_cannot_carry_is_told(
    options: dict[str, Any], name: str, text: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        relay.MappingCopy(Broker("127.0.0.1", 1, **options), name)


def test_names_are_one_level_of_a_topic() -> None:
    assert topic_name("Local\\my-app.state (1)") == "my-app.state (1)"
    assert topic_name("Global\\a/b+c#d%") == "Global%5Ca%2Fb%2Bc%23d%25"
    assert topic_name("\xe9\0") == "%C3%A9%00"


@given(st.binary(max_size=64), st.integers(1, 32))
def test_no_range_is_outside_of_the_mapping(data: bytes, size: int) -> None:
    """Whatever a message of changes has."""
    try:
        found = list(_ranges(memoryview(bytes(HEAD.size) + data), size))
    except ValueError:
        return
    assert all(0 <= at <= at + len(part) <= size for at, part in found)
    again = b"".join(RANGE.pack(at, len(part)) + part for at, part in found)
    assert again == data


@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=10)), max_size=5))
def test_ranges_that_fit_are_taken(ranges: list[tuple[int, bytes]]) -> None:
    data = b"".join(RANGE.pack(at, len(part)) + part for at, part in ranges)
    assert list(_ranges(memoryview(bytes(HEAD.size) + data), 30)) == ranges

"""`winipc relay`: what it is told wrongly, what it takes from others, and its limits.

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

import winipc
from winipc import relay
from winipc.relay import Broker, MappingSource
from winipc.relay.link import properties, topic_name
from winipc.relay.mapping import HEAD, RANGE, _ranges, _Stream
from winipc.relay.window import _time_of_window


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["host"], "give a --mapping, --copy, --window or --proxy"),
        (["http://host", "--copy", "x"], "is not host[:port]"),
        (["host:port", "--copy", "x"], "is not host[:port]"),
        (
            ["mqtt://me:secret@host", "--copy", "x"],
            "WINIPC_RELAY_PASSWORD, or in a file",
        ),
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
    assert "WinError 10061)" in told
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


@pytest.mark.parametrize("rate", [0, 10_001, float("nan")])
def test_a_rate_has_limits(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 10,000"):
        MappingSource(Broker("127.0.0.1", 1), "x", rate=rate)


@pytest.mark.parametrize("patience", [0, 61, float("nan")])
def test_patience_has_limits(patience: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 60"):
        relay.WindowProxy(Broker("127.0.0.1", 1), "x", patience=patience)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [({}, 3), ({"MessageExpiryInterval": 2}, 1.5), ({"MessageExpiryInterval": 61}, 45)],
    ids=["nothing", "2", "61"],
)
def test_a_window_has_three_quarters_of_the_patience(
    told: dict[str, int], seconds: float
) -> None:
    """Of 4 seconds if none is told, and of a minute at most."""
    assert _time_of_window(properties("PUBLISH", **told)) == seconds


class Info:
    """What paho tells of a message that it was given."""

    def __init__(self) -> None:
        self.is_sent = False

    def is_published(self) -> bool:
        return self.is_sent


def test_a_source_waits_for_a_slow_network(unique_name: str) -> None:
    """Eight messages may wait; what changes then comes in one message."""
    sent: list[tuple[bytes, Info]] = []

    class Source(MappingSource):
        """One whose connection takes all, and sends nothing."""

        def __init__(self) -> None:
            self.claim, self._stream, self._asked, self._base = "claim", None, False, ""

        def _publish(self, topic: str, data: bytes, **_: Any) -> Any:
            sent.append((data, Info()))
            return sent[-1][1]

    source = Source()
    with winipc.SharedMapping.create(unique_name, 1000) as mapping:
        for number in range(20):
            mapping[number] = 1
            source._look(mapping)
        assert len(sent) == 8
        sent[0][1].is_sent = True
        source._look(mapping)
    assert len(sent) == 9
    ((at, data),) = _ranges(memoryview(sent[-1][0]), 1000)
    assert (at, data) == (8, b"\1" * 12)


@pytest.mark.parametrize(("size", "most"), [(4096, 8), (8 << 20, 4), (64 << 20, 1)])
def test_large_messages_that_wait_are_fewer(size: int, most: int) -> None:
    """32 MiB of them, or one."""
    assert _Stream("claim", size).flight.maxlen == most


def test_a_message_has_at_most_65536_ranges() -> None:
    """Changes that are nearer than the 65536th part of a mapping come as one range."""
    size = 4 << 20
    stream = _Stream("claim", size)
    stream.changes(0)
    stream.state(0)
    stream.next[::32] = b"\1" * (size // 32)
    message = memoryview(stream.changes(0))
    assert sum(1 for _ in _ranges(message, size)) <= 1 << 16


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

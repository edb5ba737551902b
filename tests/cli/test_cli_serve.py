"""`winipc serve`: who may ask, JSON, streams, messages and writes.

The page itself is looked at by tests/browser/test_serve_page.py.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import http.client
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from conftest import DEADLINE, Peer, handle_count
from helpers.waitables import held_elsewhere
from test_cli import run_winipc

import winipc
from winipc.cli.overlay import Overlay

uvicorn: Any = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from winipc.cli.serve import _listening  # noqa: E402
from winipc.cli.served import (  # noqa: E402
    Heard,
    Named,
    Served,
    _MappingLook,
    _shown,
)
from winipc.cli.server import Application  # noqa: E402
from winipc.cli.targets import changing  # noqa: E402

StartPeer = Callable[..., Peer]

#: Where record_writer.c puts its record: the number of the record, again and again.
RECORD = 65536
STRUCT = "number:I again:I part:2f"
HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'"
LISTEN = f"winipc-test-{uuid.uuid4().hex}.inbox"


@dataclass
class Client:
    """An HTTP client of the server."""

    port: int
    token: str
    #: Of the process that serves.
    pid: int
    open: list[http.client.HTTPConnection] = field(default_factory=list)

    def request(
        self, path: str, body: object = None, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, DEADLINE)
        self.open.append(connection)
        method = "GET" if body is None else "POST"
        own = {"Authorization": f"Bearer {self.token}"}
        connection.request(
            method,
            path,
            None if body is None else json.dumps(body),
            own | {name.replace("_", "-"): text for name, text in headers.items()},
        )
        return connection.getresponse()

    def ask(self, what: str, body: object = None, **options: object) -> Any:
        """The answer, or the error that it tells, with its status in front."""
        answer = self.request(f"/api/{what}?{urlencode(options)}", body)
        found = json.loads(answer.read())
        if answer.status != 200:
            return f"{answer.status} {found['error']}"
        return found

    def events(self, *watch: str, interval: float = 0.02) -> Iterator[dict[str, Any]]:
        """A stream; each of its events."""
        query = urlencode({"watch": watch, "interval": interval}, doseq=True)
        answer = self.request(f"/api/events?{query}")
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        while line := answer.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def close(self) -> None:
        for connection in self.open:
            connection.close()
        self.open.clear()


@pytest.fixture(scope="module")
def served_names() -> list[str]:
    return [f"winipc-test-{uuid.uuid4().hex}{end}" for end in (".state", HOSTILE)]


@pytest.fixture(scope="module")
def server(served_names: list[str]) -> Iterator[Client]:
    """The command as a process; one for all tests of this module."""
    argv = [sys.executable, "-m", "winipc", "serve", *served_names, "--json"]
    argv += ["--struct", STRUCT, "--allow-write", "--listen", LISTEN]
    with Peer(argv, timeout=DEADLINE) as process:
        told = json.loads(process.read_line())
        assert told["url"] == f"http://127.0.0.1:{told['port']}/#{told['token']}"
        yield Client(told["port"], told["token"], process.pid)
        process.kill()


@pytest.fixture
def client(server: Client) -> Iterator[Client]:
    yield server
    server.close()


@pytest.fixture
def state(served_names: list[str]) -> Iterator[winipc.SharedMapping]:
    with winipc.SharedMapping.create(served_names[0], RECORD + 64) as mapping:
        yield mapping


def watching(name: str, **options: object) -> str:
    return f"mapping?{urlencode({'name': name, **options})}"


def test_answers_are_json(client: Client, state: winipc.SharedMapping) -> None:
    assert state.name is not None
    session = client.ask("session")
    assert session["mappings"][0] == state.name
    assert (session["messages"], session["writable"]) == ([LISTEN], True)
    assert f"Local\\{state.name}" in [row["name"] for row in client.ask("objects")]
    assert LISTEN in [row["title"] for row in client.ask("windows")]
    assert client.pid in [row["pid"] for row in client.ask("processes")]
    regions = client.ask("process", pid=client.pid)["regions"]
    assert any("python" in row["label"] for row in regions)
    state.write(b"\1\0\0\0\2\0\0\0" + b"\0\0\xc0\x7f" * 2)
    found = client.ask("mapping", name=state.name)
    full = client.ask("mapping", name=f"Local\\{state.name}")
    assert full["values"] == found["values"]
    assert found["hex"] == "0100000002000000" + "0000c07f" * 2
    # NaN, which JSON lacks, is null.
    assert found["values"] == {"number": 1, "again": 2, "part": [None, None]}
    assert (found["size"], found["offset"]) == (state.mapped_size, 0)
    plain = client.ask("mapping", name=state.name, offset=4, size=4)
    assert (plain["hex"], plain["values"]) == ("02000000", None)


def test_errors_are_sentences(client: Client, unique_name: str) -> None:
    told = client.ask("mapping", name=unique_name)
    assert told.startswith("404 File not found: ")
    assert told.endswith("(OpenFileMappingW, WinError 2)")
    assert client.ask("mapping") == "400 name= is missing"
    assert client.ask("mapping", name="x", size=5000).startswith("400 offset is 0 or")
    assert client.ask("mapping", name="x", offset=-1).startswith("400 offset is 0 or")
    assert client.ask("nothing") == "404 there is no 'nothing' to look at"
    assert client.ask("process", pid=3).startswith("404 ")
    assert client.ask("process", pid=2**40).startswith("400 ")
    assert client.ask("process", pid="x") == "400 pid=x is not a whole number"
    assert client.ask("messages", after="x") == "400 after=x is not a whole number"
    for key in ("offset", "size"):
        wrong = client.ask("mapping", **{"name": "x", key: "foo"})
        assert wrong == f"400 {key}=foo is not a whole number"
    with winipc.SharedMapping.create(unique_name, 4096):
        wrong = client.ask("mapping", name=unique_name, offset=4096)
        assert wrong == "400 offset=4096 is not inside 4096 bytes"
        part = client.ask("mapping", name=unique_name, offset=4095)
        assert part["hex"] == "00"
    assert client.ask("events") == "400 watch= is missing"
    assert client.ask("events", watch="nothing").startswith("404 ")
    assert client.ask("events", watch="objects", interval="x").startswith("400 ")


@pytest.mark.parametrize(
    "path", ["session", "objects", "mapping?name=x", "events?watch=objects", "none"]
)
@pytest.mark.parametrize("token", ["", "wrong", "\xe9", "prefix", "longer"], ids=ascii)
def test_a_wrong_token_gets_nothing(client: Client, path: str, token: str) -> None:
    given = {"prefix": client.token[:-1], "longer": client.token + "A"}.get(
        token, token
    )
    answer = client.request(f"/api/{path}", Authorization=f"Bearer {given}")
    assert answer.status == 401
    mark = "&" if "?" in path else "?"
    address = f"/api/{path}{mark}token={quote(given)}"
    assert client.request(address, Authorization="").status == 401
    said = json.load(client.request(address, {}, Authorization=""))["error"]
    assert "winipc serve printed" in said
    assert said.startswith("the token is not" if token else "give the token")


def test_other_hosts_and_origins_are_refused(client: Client) -> None:
    """A page elsewhere whose name leads here, or that posts here."""
    own = f"127.0.0.1:{client.port}"
    for path in ("/", "/api/session"):
        for host in ("evil.test", f"evil.test:{client.port}", "127.0.0.1", f"{own}0"):
            assert client.request(path, Host=host).status == 403
        for origin in (
            "http://evil.test",
            "null",
            f"https://{own}",
            "http://127.0.0.1",
        ):
            assert client.request(path, Origin=origin).status == 403
        assert client.request(path, Origin=f"http://{own}").status == 200
        assert client.request(path, Host=f"localhost:{client.port}").status == 200


def test_browsers_are_told_to_trust_nothing_else(client: Client) -> None:
    for path in ("/", "/api/session", "/nothing"):
        headers = client.request(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
    assert client.token not in client.request("/").read().decode()


def test_names_are_escaped_in_html(client: Client, served_names: list[str]) -> None:
    with winipc.SharedMapping.create(served_names[1], 64) as mapping:
        mapping.write(b"<b>&")
        shown = client.ask("mapping", name=served_names[1], html=1)["html"]
        objects = client.ask("objects", html=1)
    rows = objects["html"].split("<tr>")[2:]
    assert len(rows) == objects["count"]
    [row] = [row for row in rows if "img" in row]
    assert row.count("&lt;img src=x") == 1
    assert "name=" + served_names[1][:20] in row
    assert "<img" not in row
    assert "&lt;img src=x" in shown
    assert "&lt;b&gt;&amp;" in shown
    assert "<img" not in shown


def test_a_window_that_is_gone_has_no_button(unique_name: str) -> None:
    with winipc.CopyDataWindow.create(unique_name):
        rows = winipc.find_windows(unique_name)
        assert "<button" in _shown(rows)["html"]
    assert "<button" not in _shown(rows)["html"]


def test_a_stream_follows_a_writer_in_c(
    client: Client, state: winipc.SharedMapping, start_peer: StartPeer
) -> None:
    """Each change once; a mapping that goes is told, and so is a new one."""
    assert state.name is not None
    writer = start_peer("record_writer.exe", state.name, "none", 64, 3)
    writer.expect("ready")
    writer.expect("rest")
    events = client.events(watching(state.name, offset=RECORD))
    first = next(events)
    assert first["data"]["values"]["number"] == 3
    for number in range(4, 30):
        writer.say("go on")
        writer.expect("wrote")
        # A look may find half of a record, and the next one the whole.
        while (found := next(events)["data"]["values"])["again"] != number:
            assert found["again"] == number - 1
        assert found["number"] == number
    writer.finish()
    state.close()  # the server keeps no handle, so it goes
    assert "WinError 2" in next(events)["error"]
    with winipc.SharedMapping.create(state.name, RECORD + 64) as again:
        assert next(events)["data"]["values"]["number"] == 0
        again.write(b"\7", RECORD)
        assert next(events)["data"]["values"]["number"] == 7


def test_messages_come_once_each_and_in_order(client: Client) -> None:
    events = client.events("session", "messages")
    assert next(events)["watch"] == "session"  # which is told once: it stays the same
    rows = []
    for number, data in enumerate([b"first", b"\xff\0", b"x" * 5000]):
        assert winipc.send_copydata(LISTEN, data, id=number, timeout=DEADLINE) == 1
        event = next(events)
        assert event["watch"] == "messages"
        [row] = event["data"]
        rows.append(row)
    assert [row["id"] for row in rows] == [0, 1, 2]
    assert [row["text"] for row in rows] == ["first", None, "x" * 4096]
    assert [row["bytes"] for row in rows] == [5, 2, 5000]
    assert rows[1]["hex"] == "ff00"
    assert rows[1]["sender"] is rows[1]["pid"] is None
    assert client.ask("messages", after=rows[1]["number"]) == rows[2:]


def test_writes_change_the_field_alone(
    client: Client, state: winipc.SharedMapping
) -> None:
    state.write(b"\xff" * 64)
    query = {"name": state.name}
    assert client.ask("mapping", {"values": {"again": 7}}, **query) == {}
    assert state.read(12) == b"\xff" * 4 + b"\7\0\0\0" + b"\xff" * 4
    assert client.ask("mapping", {"values": {"part[0]": 1.0}}, **query) == {}
    assert state.read(12, 4) == b"\7\0\0\0\0\0\x80\x3f" + b"\xff" * 4
    assert client.ask("mapping", {"hex": "01 02"}, offset="0x10", **query) == {}
    assert state.read(4, 15) == b"\xff\1\2\xff"
    before = state.read(64)
    for body in (
        *(
            {"values": {"again": 1, "none": 2}},
            {"values": {"again": 1, "part": "x"}},
            {},
            [],
        ),
        *({"hex": "0"}, {"hex": 7}, {"values": 7}, {"values": {"again": 2**40}}),
    ):
        assert client.ask("mapping", body, **query)[:4] == "400 ", body
    assert client.ask("mapping", {"hex": "00"}, offset=2**40, **query)[:4] == "400 "
    assert client.ask("mapping", {"hex": "00" * 40000}, **query)[:4] == "413 "
    assert state.read(64) == before
    name = f"{state.name}-locked"
    with winipc.LockedMapping.create(name, 64) as locked:
        assert client.ask("mapping", {"hex": "01"}, name=name) == {}
        assert locked.wait_for_change(0)


def test_writes_tell_of_a_lock_that_is_held(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 while another program holds it, 409 once if that ended; then it is free."""
    at_once = functools.partial(changing, timeout=0)
    monkeypatch.setattr("winipc.cli.served.changing", at_once)
    with (
        winipc.LockedMapping.create(unique_name, 64) as mapping,
        inside({}, writable=True) as server,
    ):
        write = functools.partial(
            server.client.ask, "mapping", {"hex": "01"}, name=unique_name
        )
        with held_elsewhere(mapping.lock):
            told = write()
        assert told.startswith("503 ")
        assert "(nothing is written: another program holds it)" in told
        told = write()
        assert told.startswith("409 ")
        assert "(nothing is written; the lock is free now: write again)" in told
        assert "repair" not in told  # an argument in Python
        assert mapping.read() == bytes(64)
        assert write() == {}


# ------------------------------------------------ a server in this process


@dataclass
class Inside:
    """A server in a thread of this process, so that the test sees its tasks."""

    client: Client
    application: Application
    heard: Heard
    loop: asyncio.AbstractEventLoop

    def rests(self, tasks: int) -> bool:
        """Whether no stream is left: no task more than so many, and no look."""
        gc.collect()
        return (
            self.application._streams == 0
            and len(asyncio.all_tasks(self.loop)) <= tasks
            and not any(type(one) is _MappingLook for one in gc.get_objects())
        )


@contextmanager
def inside(names: dict[str, Named], writable: bool = False) -> Iterator[Inside]:
    with _listening(0) as listener:
        port, heard = listener.getsockname()[1], Heard()
        application = Application(
            Served(names, heard, writable), "token", port, lambda: server.should_exit
        )
        config = uvicorn.Config(
            application, lifespan="off", ws="none", loop="asyncio", log_level="warning"
        )
        server = uvicorn.Server(config)
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve(sockets=[listener])

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        client = Client(port, "token", os.getpid())
        try:
            client.ask("session")
            yield Inside(client, application, heard, loops[0])
        finally:
            client.close()
            server.should_exit = True
            thread.join(DEADLINE)
            heard.close()
            assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_client_that_goes_leaves_nothing(unique_name: str) -> None:
    """In the middle of a stream, many times: no task, view, handle or mapping."""
    with winipc.SharedMapping.create(unique_name, 64) as mapping, inside({}) as server:

        def visit() -> None:
            events = server.client.events(
                watching(unique_name),
                watching(unique_name, size=1),
                "objects",
                "windows",
            )
            next(events)
            mapping.write(os.urandom(8))
            next(events)
            events.close()
            server.client.close()

        visit()
        until(lambda: server.rests(3))
        tasks, handles = len(asyncio.all_tasks(server.loop)), handle_count()
        for _ in range(20):
            visit()
        until(lambda: server.rests(tasks))
        # The threads of the pool come and go in a small number.
        assert handle_count() <= handles + 30
        mapping.close()
        with pytest.raises(FileNotFoundError):
            winipc.SharedMapping.open(unique_name)


def test_streams_are_bounded(unique_name: str) -> None:
    with inside({}) as server:
        streams = [server.client.events("session") for _ in range(32)]
        for stream in streams:
            next(stream)
        assert server.client.ask("events", watch="session").startswith("503 ")


def test_reading_only_unless_allowed(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 64) as mapping, inside({}) as server:
        answer = server.client.ask("mapping", {"hex": "01"}, name=unique_name)
        assert answer.startswith("403 for reading only")
        assert mapping.read(1) == b"\0"


def test_attached_messages_reach_the_real_window(unique_name: str) -> None:
    """They pass through, with their answer; and directly again at the end."""
    answers = iter((7, 8, 9))
    with winipc.CopyDataWindow.create(
        unique_name, handler=lambda message: next(answers)
    ):
        with inside({}) as server:
            server.heard.attach(unique_name)
            assert winipc.send_copydata(unique_name, b"one", id=1) == 7
            assert winipc.send_copydata(unique_name, b"two", id=2) == 8
            rows = server.client.ask("messages")
        assert winipc.send_copydata(unique_name, b"three") == 9
    assert [(row["title"], row["text"], row["answer"]) for row in rows] == [
        (unique_name, "one", 7),
        (unique_name, "two", 8),
    ]


def test_the_header_of_a_mapping_is_left_out(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 64, header=True) as mapping:
        mapping.write(b"body")
        with inside({unique_name: Named()}) as server:
            found = server.client.ask("mapping", name=unique_name, size=4)
    assert (bytes.fromhex(found["hex"]), found["size"]) == (b"body", 64)


@pytest.mark.parametrize(
    ("how", "begin"), [({"kind": "seqlock"}, 16), ({"sequence": "seq"}, 0)]
)
def test_records_are_whole(unique_name: str, how: dict[str, Any], begin: int) -> None:
    """Values and HTML; a half written one is an error, and nothing is written."""
    overlay = Overlay("seq:u32 gear:i32")
    with (
        winipc.SharedMapping.create(unique_name, 64) as mapping,
        inside({unique_name: Named(overlay, how)}, writable=True) as server,
    ):
        ask = functools.partial(server.client.ask, "mapping", name=unique_name)
        mapping.set(begin + 4, "i32", 3)
        found = ask(html=1)
        assert (found["values"], found["size"]) == ({"seq": 0, "gear": 3}, 8)
        assert "gear" in found["html"]
        part = ask(offset=4, size=4)
        assert (part["hex"], part["values"]) == ("03000000", None)
        assert "is not inside 8 bytes" in ask(offset=8)
        assert ask({"values": {"gear": 5}}).startswith("403 a record of --snapshot")
        mapping.set(0, "u32", 1)
        assert ask().startswith("503 the writer is in the middle of the record")
        assert mapping.get(begin + 4, "i32") == 3


def test_what_is_wrong_is_said_before_it_serves(unique_name: str) -> None:
    attached = run_winipc("serve", unique_name, "--attach", unique_name, check=False)
    lines = attached.stderr.decode().splitlines()
    assert f"'{unique_name}'" in lines[0]
    assert lines[0].endswith("; the page shows it as soon as it can be opened")
    with winipc.CopyDataWindow.create(unique_name):
        taken = run_winipc("serve", "--listen", unique_name, check=False)
    assert f"with this title: '{unique_name}' (WinError" in taken.stderr.decode()
    for arguments, status, expected in (
        (["--attach", unique_name], 1, unique_name),
        (["--struct", "a:b"], 2, "more --struct or --snapshot than names"),
        (["--snapshot", "double"], 2, "more --struct or --snapshot than names"),
        (["x", "--snapshot", "double"], 2, "--snapshot needs the --struct of its"),
        (["x", "--struct=i32", "--snapshot=busy=b"], 2, "is one of --struct"),
        (["x", "--struct=a:i32", "--snapshot=busy=b"], 2, "has no field 'b'"),
        (["x", "--snapshot=non"], 2, "'non' is not seqlock, double or such as"),
        (["x", "y", "--struct=i32", "--snapshot=double"], 2, "each name needs its"),
        ([unique_name, "--struct", "a:nothing"], 2, "a: no type of numbers 'nothing'"),
    ):
        done = run_winipc("serve", *arguments, check=False)
        assert done.returncode == status
        assert expected in done.stderr.decode().splitlines()[-1]


def test_without_the_libraries_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['starlette'] = None; import winipc.cli; "
    code += "sys.exit(winipc.cli.main(['serve']))"
    with Peer([sys.executable, "-c", code], timeout=DEADLINE) as process:
        assert process.wait() == 1
    assert "pip install winipc[serve]" in "".join(process.stderr)

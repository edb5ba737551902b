"""`winipc relay` between two Windows, each in a network of its own, and a real broker.

Two Wine prefixes are two machines: neither sees a name of the other. As root each is in
a network namespace with one cable to the broker's, which can be cut. Elsewhere they
share the network, the test says so, and a cut is a broker that is stopped: as silent.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wine
from conftest import DEADLINE, SLOWNESS, run
from run_python import python_command, python_environ
from winpython import selected

SIZE = 20000
#: As Windows rounds it: all that another program can know of it.
PAGES = 20480
#: Seconds. On a busy machine a program may be silent, and a window slow, for longer.
KEEPALIVE = round(2 * SLOWNESS)
PATIENCE = min(12 * SLOWNESS, 60)
#: Of a proxy of which a test waits until it is over.
SHORT_PATIENCE = min(4 * SLOWNESS, 60)
MOST_PACKET = 2_000_000
SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
HEAD = struct.Struct("<QQ")

PEERS = Path(__file__).parent / "peers"


class Program:
    """A Windows program of one machine: its lines, each waited for."""

    def __init__(self, name: str, machine: Machine, *args: object) -> None:
        command = [*machine.inside, "setpriv", "--pdeathsig", "KILL"]
        command += [*python_command(selected()), *map(str, args)]
        self.process = subprocess.Popen(
            command,
            env=python_environ(machine.prefix, selected()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.name = name
        self.lines: queue.Queue[str] = queue.Queue()
        self.told: list[str] = []
        self.errors: list[str] = []
        pump(name, self.process.stdout, self.lines.put)
        pump(name, self.process.stderr, self.errors.append)

    def line(self) -> str:
        try:
            line = self.lines.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"{self.name} is silent") from None
        assert line, f"{self.name} has ended"
        return line

    def begin(self, function: str, *args: object) -> None:
        assert self.process.stdin is not None
        print(json.dumps([function, *args]), file=self.process.stdin, flush=True)

    def result(self) -> Any:
        return json.loads(self.line())

    def ask(self, function: str, *args: object) -> Any:
        self.begin(function, *args)
        return self.result()

    def event(self, *parts: str) -> str:
        """What a relay tells in which all of this is; others are left for later."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for text in self.told:
                if all(part in text for part in parts):
                    self.told.remove(text)
                    return text
            assert time.monotonic() < deadline, (parts, self.told)
            told = json.loads(self.line())
            self.told.append(f"{told['side']} {told['name']}: {told['event']}")

    def forget(self) -> None:
        """Leave what was told by now."""
        while not self.lines.empty():
            self.line()
        self.told.clear()

    def end(self, signum: int) -> tuple[int, str]:
        """The status after a signal, and what it wrote to standard error."""
        self.process.send_signal(signum)
        status = self.process.wait(DEADLINE)
        while self.lines.get(timeout=DEADLINE):
            pass
        return status, "".join(self.errors)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()


#: What all programs write during a test, which is shown if the test fails.
LOG: list[str] = []


def pump(name: str, stream: Any, take: Callable[[str], object]) -> None:
    """Take each line of a stream, and "" at its end, on a thread.

    Under Wine the end comes when the desktop ends, too.
    """

    def pumping() -> None:
        with stream:
            for line in stream:
                LOG.append(f"{time.monotonic():.3f} {name}: {line[:300].strip()}")
                take(line)
        take("")

    threading.Thread(target=pumping, daemon=True).start()


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    LOG.clear()
    yield
    print("\n".join(LOG))


class Machine:
    """A Windows, and how programs run in its network."""

    def __init__(self, prefix: Path, network: Network, number: int) -> None:
        self.prefix, self._network, self._number = prefix, network, number
        self.inside = network.inside(number)
        self.host = network.host(number)

    def relay(self, name: str, *args: object) -> Program:
        address = f"{self.host}:{self._network.port}"
        words = ("-m", "winipc", "relay", address, "--json", "--keepalive", KEEPALIVE)
        return Program(name, self, *words, *args)

    def cut(self, down: bool = True) -> None:
        self._network.cut(self._number, down)


class Network:
    """The broker, and a cable from each machine to it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"winipc-{uuid.uuid4().hex[:6]}"
        self.folder = folder
        self.apart = os.geteuid() == 0 and self._made_apart()
        self.port = free_port()
        #: With TLS: as another broker's, too, whose certificate has another name.
        self.secure, self.misnamed = free_port(), free_port()
        self.start()

    def _made_apart(self) -> bool:
        ip = shutil.which("ip", path=SBIN)
        try:
            for part in ("hub", "1", "2"):
                run(ip, "netns", "add", f"{self.name}-{part}")
                run(ip, "-n", f"{self.name}-{part}", "link", "set", "lo", "up")
            for number in (1, 2):
                ends = {f"{self.name}-hub": (f"w{number}", 1)}
                ends[f"{self.name}-{number}"] = ("w0", 2)
                (hub, (far, _)), (own, (near, _)) = ends.items()
                cable = ["link", "add", far, "netns", hub, "type", "veth"]
                run(ip, *cable, "peer", "name", near, "netns", own)
                for network, (device, last) in ends.items():
                    address = f"10.9.{number}.{last}/24"
                    run(ip, "-n", network, "address", "add", address, "dev", device)
                    run(ip, "-n", network, "link", "set", device, "up")
        except AssertionError as error:
            self._remove()
            print(f"no network namespaces, so both use one network: {error}")
            return False
        return True

    def inside(self, number: int | str) -> list[str]:
        if not self.apart:
            return []
        return ["ip", "netns", "exec", f"{self.name}-{number}"]

    def host(self, number: int) -> str:
        return f"10.9.{number}.1" if self.apart else "127.0.0.1"

    def start(self) -> None:
        """The broker; it keeps nothing on disk."""
        files = make_certificates(self.folder)
        config = self.folder / "mosquitto.conf"
        address = "0.0.0.0" if self.apart else "127.0.0.1"
        lines = [
            *("per_listener_settings true", "log_dest stderr", "user root"),
            f"max_packet_size {MOST_PACKET}",
            *(f"listener {self.port} {address}", "allow_anonymous true"),
        ]
        for port, name in ((self.secure, "broker"), (self.misnamed, "other")):
            lines += [f"listener {port} {address}", "allow_anonymous false"]
            lines += [f"password_file {files}/passwords"]
            lines += [f"certfile {files}/{name}.pem", f"keyfile {files}/{name}.key"]
        config.write_text("\n".join(lines) + "\n")
        program = shutil.which("mosquitto", path=SBIN)
        assert program is not None
        self.broker = subprocess.Popen(
            [*self.inside("hub"), program, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.broker.stdout is not None
        shown: list[str] = []
        while "running" not in (line := self.broker.stdout.readline()):
            shown.append(line)
            assert line, shown
        pump("broker", self.broker.stdout, lambda line: None)

    def kill(self) -> None:
        self.broker.kill()
        self.broker.wait()

    def cut(self, number: int, down: bool) -> None:
        if self.apart:
            state = "down" if down else "up"
            device = ["link", "set", f"w{number}", state]
            run("ip", "-n", f"{self.name}-hub", *device, env={"PATH": SBIN})
        else:
            self.broker.send_signal(signal.SIGSTOP if down else signal.SIGCONT)

    def client(self, program: str, *args: object) -> list[str]:
        """A command of mosquitto-clients, beside the broker."""
        where = ["-V", "5", "-h", "127.0.0.1", "-p", str(self.port)]
        return [*self.inside("hub"), program, *where, *map(str, args)]

    def close(self) -> None:
        self.kill()
        self._remove()

    def _remove(self) -> None:
        for part in ("hub", "1", "2"):
            command = ["ip", "netns", "del", f"{self.name}-{part}"]
            with contextlib.suppress(OSError):
                subprocess.run(command, check=False, capture_output=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificates(folder: Path) -> Path:
    """Certificates of a broker and of another one, and the password "secret".

    Each certificate is its own authority.
    """
    if not (folder / "broker.pem").exists():
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
        command += ["-subj", "/CN=broker", "-days", "2"]
        for name, named in (
            ("broker", "IP:127.0.0.1,IP:10.9.1.1,IP:10.9.2.1"),
            ("other", "DNS:other"),
        ):
            files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
            run(*command, "-addext", f"subjectAltName={named}", *files)
        run("mosquitto_passwd", "-b", "-c", folder / "passwords", "me", "secret")
    return folder


class World:
    """Both machines with a program each, and relays between them that are running."""

    def __init__(self, network: Network, here: Machine, there: Machine) -> None:
        self.network, self.here, self.there = network, here, there
        self.name = f"winipc-test-{uuid.uuid4().hex[:8]}.state"
        self.title = f"{self.name}.window"
        self.programs: list[Program] = []
        #: A title that no window has.
        self.nowhere = f"{self.name}.nowhere"
        self.missing = ("--window", self.nowhere)
        #: A window like that of `title`; its proxy has less patience.
        self.quick = f"{self.title}.quick"
        words = (self.name, self.title, SIZE)
        program = wine.windows_path(PEERS / "relay_program.py")
        self.source = self.started(Program("source", here, program, *words))
        program = wine.windows_path(PEERS / "relay_user.py")
        words = (*words, there.host, network.port)
        self.user = self.started(Program("user", there, program, *words))
        self.start_here(wait=False)
        self.start_there()
        self.relay_here.event(self.nowhere, "connected")
        assert self.source.result() == self.user.result() == "ready"
        self.user.ask("make_proxy", self.quick, SHORT_PATIENCE)

    def started(self, program: Program) -> Program:
        self.programs.append(program)
        return program

    def close(self) -> None:
        for program in self.programs:
            program.kill()

    def start_here(self, wait: bool = True) -> None:
        words = ("--mapping", self.name, "--window", self.title, *self.missing)
        words += ("--window", self.quick)
        self.relay_here = self.started(self.here.relay("relay here", *words))
        if wait:
            self.relay_here.event(self.nowhere, "connected")

    def start_there(self) -> None:
        words = ("--copy", self.name, "--proxy", self.title, "--patience", PATIENCE)
        more = ("--proxy", self.nowhere)
        relay = self.there.relay("relay there", *words, *more)
        self.relay_there = self.started(relay)
        self.relay_there.event(self.title, "target:")
        self.relay_there.event(self.nowhere, "target:")

    def ended(
        self, kind: str, name: str, ends: bool = True, **broker: object
    ) -> tuple[str, list[str]]:
        """What a side ends by that a program of Python starts there, and its events."""
        text, events = self.user.ask("ended", kind, name, ends, broker)
        return text, events

    def topic(self, *parts: str, kind: str = "mapping") -> str:
        name = self.name if kind == "mapping" else self.title
        return "/".join(("winipc", kind, name, *parts))

    def publish(self, topic: str, data: bytes, *options: object) -> None:
        """As another client, which has acknowledged it by now."""
        how = "-s" if data else "-n"
        command = self.network.client("mosquitto_pub", "-q", "1", "-t", topic, how)
        subprocess.run([*command, *map(str, options)], input=data, check=True)

    def state(self, name: str | None = None) -> bytes:
        """The state that the broker keeps, or gets."""
        topic = f"winipc/mapping/{name or self.name}/state"
        return bytes.fromhex(self.subscribed(topic, "%x"))

    def subscribed(self, topic: str, what: str) -> str:
        """The first message that the broker keeps, or gets, as mosquitto_sub has it."""
        words = ("-t", topic, "-C", "1", "-W", "60", "-F", what)
        return run(*self.network.client("mosquitto_sub", *words))

    def request(self, key: str, data: str, **given: str) -> Any:
        """What the target answers to another client."""
        topic = given.pop("title", self.title)
        base = f"winipc/window/{topic}"
        words = ["-t", f"{base}/request", "-e", f"{base}/answer/test", "-m", data]
        for name, value in {"correlation-data": key, **given}.items():
            kind = [name] if name == "correlation-data" else ["user-property", name]
            words += ["-D", "publish", *kind, value]
        client = self.network.client("mosquitto_rr", "-q", "1", "-W", "20", *words)
        return json.loads(run(*client))

    def kept(self, topic: str, *options: str) -> list[str]:
        """The topics of this kind of which the broker keeps something."""
        words = ("-t", topic, "-W", "1", "-F", "%t", *options)
        client = self.network.client("mosquitto_sub", *words)
        done = subprocess.run(client, capture_output=True, check=False, text=True)
        return done.stdout.split()

    def memory(self) -> bytes:
        """The mapping here."""
        return bytes.fromhex(self.source.ask("memory"))

    def check_mapping(self) -> None:
        assert self.user.ask("equal", self.source.ask("stop")) == PAGES

    def check(self) -> None:
        """All that was acknowledged came, once; and the mappings end equal."""
        acknowledged = self.user.ask("stop_sending")
        self.check_mapping()
        count = Counter(self.source.ask("got"))
        assert acknowledged
        assert {n: count[n] for n in acknowledged if count[n] != 1} == {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        network = Network(tmp_path_factory.mktemp("broker"))
        stack.callback(network.close)
        prefixes = [stack.enter_context(wine.private_prefix()) for _ in range(2)]
        machines = [Machine(at, network, n) for n, at in enumerate(prefixes, 1)]
        world = World(network, *machines)
        stack.callback(world.close)
        yield world


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], world: World) -> None:
    if not world.network.apart:
        with capsys.disabled():
            print("\nwithout network namespaces: a cut is a broker that is stopped")


def kill_broker(world: World) -> None:
    world.network.kill()
    world.relay_there.event("proxy", "connection lost")
    world.network.start()


def cut_here(world: World) -> None:
    world.here.cut()
    if world.network.apart:
        world.relay_there.event("copy", "source is gone")
        world.relay_there.event("proxy", "target is gone")
    else:
        world.relay_here.event("connection lost")
    world.here.cut(False)


def cut_there(world: World) -> None:
    world.there.cut()
    world.relay_there.event("proxy", "connection lost")
    world.there.cut(False)


def cut_for_a_moment(world: World) -> None:
    world.here.cut()
    time.sleep(0.3)  # messages are on their way, and nobody has noticed
    world.here.cut(False)


def kill_here(world: World) -> None:
    world.relay_here.end(signal.SIGKILL)
    world.relay_there.event("source is gone")
    world.start_here()


def kill_there(world: World) -> None:
    world.relay_there.end(signal.SIGKILL)
    world.relay_here.event("proxy is gone")
    world.start_there()


def kill_broker_that_hangs(world: World) -> None:
    """What was sent meanwhile and refused is not delivered later."""
    world.user.ask("stop_sending")
    world.network.broker.send_signal(signal.SIGSTOP)
    assert world.user.ask("send", 70) == 0
    world.relay_there.event("proxy", "refused: no answer in time")
    kill_broker(world)
    world.relay_there.event(world.title, "target:")
    world.user.ask("start_sending", 1)
    assert "70" not in world.source.ask("got")


FAULTS = [
    kill_broker_that_hangs,
    cut_here,
    cut_there,
    cut_for_a_moment,
    kill_here,
    kill_there,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_all_is_equal_after(
    fault: Callable[[World], None], world: World, say: None
) -> None:
    """In the midst of writes and messages."""
    world.source.ask("write")
    world.user.ask("start_sending", 3)
    world.relay_here.forget()
    world.relay_there.forget()
    fault(world)
    world.user.ask("start_sending", 3)
    world.check()


def test_a_second_source_or_target_is_refused(world: World) -> None:
    """It says who has it, and the first one goes on."""
    for kind, side, name, role in (
        ("mapping", "MappingSource", world.name, "source"),
        ("window", "WindowTarget", world.title, "target"),
    ):
        error, _ = world.ended(side, name)
        who = re.search(rf"\S+, process \d+ is the {role} already", error)
        assert who, error
        topic = world.topic(role, "+", kind=kind)
        first = json.loads(world.subscribed(topic, "%p"))
        assert who[0].startswith("{host}, process {pid} ".format_map(first))
        world.relay_there.event(f"{role} is gone")
    world.relay_there.forget()
    # What it asks for is for the first one alone.
    told = dict(world.user.ask("overhear"))
    assert set(told) == {"id", "target"}
    assert told["id"] == "7"
    topic = world.topic("target", told["target"], kind="window")
    assert world.kept(topic, "-C", "1") == [topic]


def test_ctrl_c_tells_the_others(world: World) -> None:
    """It is no failure; a message is refused at once, and the last state is whole."""
    world.relay_there.forget()
    world.source.ask("write")
    world.state()
    world.source.ask("stop")
    status, error = world.relay_here.end(signal.SIGINT)
    assert (status, "Traceback" in error) == (0, False), error
    world.relay_there.event("copy", "source is gone")
    world.relay_there.event(world.title, "target is gone")
    assert world.user.ask("send", 7) == 0
    world.relay_there.event(world.title, "refused: there is no target")
    world.check_mapping()
    assert world.state()[HEAD.size :][:SIZE] == world.memory()
    world.start_here()
    world.relay_there.event(world.nowhere, "target:")


def test_a_side_that_was_not_closed_ends_with_its_program(world: World) -> None:
    """So does one that Ctrl+C meets as it is made. Its last will is published."""
    script = "import sys; from winipc import relay; "
    script += "relay.WindowTarget(relay.Broker(sys.argv[1], int(sys.argv[2])), 'open')"
    words = ("-c", script, world.here.host, world.network.port)
    program = world.started(Program("open", world.here, *words))
    assert program.process.wait(DEADLINE) == 0, program.errors
    deadline = time.monotonic() + DEADLINE
    while world.kept("winipc/window/open/#"):
        assert time.monotonic() < deadline


def test_a_window_that_is_missing_or_hangs_is_a_refusal(world: World) -> None:
    assert world.user.ask("send", 7, world.nowhere) == 0
    assert "1400" in world.relay_there.event(world.nowhere, "refused")
    world.source.ask("hang")
    assert world.user.ask("send", 7, world.quick) == 0
    assert "1460" in world.user.ask("told", "refused")
    world.source.ask("go")
    assert world.user.ask("send", 8) == 1008


def test_a_target_that_dies_ends_a_wait(world: World) -> None:
    """The sender does not wait until its patience is over."""
    world.source.ask("hang")
    before = world.source.ask("got")
    world.user.begin("send", 7)
    while world.source.ask("got") == before:
        pass
    world.relay_here.end(signal.SIGKILL)
    world.relay_there.event(world.title, "refused: the target is gone")
    assert world.user.result() == 0
    world.source.ask("go")
    world.start_here()
    world.relay_there.event(world.nowhere, "target:")


def test_requests_that_wait_have_a_limit(world: World) -> None:
    """One is with the window, 64 wait, and what comes then is refused at once."""
    world.source.ask("hang")
    before = world.source.ask("got")
    world.user.ask("flood", 70)
    refused, answered = '{"error": "too many messages wait"}', '{"answer": 1000}'
    assert world.user.ask("flooded", 5) == {refused: 5}
    world.source.ask("go")
    rest = world.user.ask("flooded", 65)
    # The window may not have had the first one when the next ones came.
    assert rest in ({answered: 65}, {answered: 64, refused: 1})
    got = world.source.ask("got")
    assert got[len(before) :] == ["flood"] * rest[answered]
    world.relay_here.event("refused: too many messages wait")


def test_clients_without_winipc_read_and_send(world: World) -> None:
    """By what docs/relay.md says; the same message again gets the first answer."""
    state = world.state()
    assert len(state) == HEAD.size + PAGES
    before = world.source.ask("got")
    assert world.request("one", "plain", id="0x7") == {"answer": 1007}
    assert world.request("one", "plain", id="8") == {"answer": 1007}
    assert world.request("two", "plain") == {"answer": 1000}
    assert world.source.ask("got")[len(before) :] == ["plain", "plain"]


def test_wrong_requests_are_refused_in_words(world: World) -> None:
    """None of them reaches the window."""
    before = world.source.ask("got")
    known = {
        "id": {"x": "invalid literal", str(1 << 64): "more bits", "-1": "more bits"},
        "target": {"another": "for a target that is gone"},
    }
    number = 0
    for name, cases in known.items():
        for value, text in cases.items():
            number += 1
            assert text in world.request(f"w{number}", "x", **{name: value})["error"]
    assert "1 to 64" in world.request("w" * 65, "x")["error"]
    request = world.topic("request", kind="window")
    world.publish(request, b"no response topic")
    world.relay_here.event("ignored: a request without a response topic")
    stolen = world.topic("copy", "stolen")
    told = ["-D", "publish", "response-topic", stolen]
    told += ["-D", "publish", "correlation-data", "w"]
    world.publish(request, b"x", *told)
    world.relay_here.event("ignored: a request without a response topic")
    large = ["-D", "publish", "response-topic"]
    large += [world.topic("answer", "me", kind="window")]
    large += ["-D", "publish", "correlation-data", "large"]
    world.publish(request, bytes((1 << 20) + 1), *large)
    world.relay_here.event("refused: 1048577 bytes are more than 1048576")
    assert world.source.ask("got") == before
    assert world.user.ask("send", 9) == 1009


def test_wrong_changes_are_ignored(world: World) -> None:
    """No byte outside of the mapping; none at all of a message that is wrong later."""
    digest = world.source.ask("stop")
    assert world.user.ask("equal", digest) == PAGES
    run_number, sequence = HEAD.unpack_from(world.state())
    good = struct.pack("<II", 0, 4) + b"EVIL"
    head = HEAD.pack(run_number, sequence + 1)
    for wrong, text in (
        (struct.pack("<II", PAGES - 3, 4) + b"EVIL", f"4 bytes at {PAGES - 3}"),
        (struct.pack("<II", 0xFFFFFFFF, 4) + b"EVIL", "4 bytes at 4294967295"),
        (struct.pack("<II", 0, 0xFFFFFFFF) + b"EVIL", "4294967295 bytes at 0"),
        (b"EVIL", "in the middle of a range"),
    ):
        world.publish(world.topic("changes"), head + good + wrong)
        world.relay_there.event("ignored", text)
    world.publish(world.topic("changes"), b"short")
    world.relay_there.event("ignored: changes of 5 bytes")
    for size in (0, 5, HEAD.size):
        world.publish(world.topic("state"), bytes(size))
        world.relay_there.event(f"ignored: a state of {size} bytes")
    # After a gap it asks, and what it gets is as good as before.
    world.publish(world.topic("changes"), HEAD.pack(run_number, sequence + 9) + good)
    world.publish(world.topic("answer", "x", kind="window"), b"\xff")
    assert world.user.ask("equal", digest) == PAGES
    world.source.ask("write")
    world.check_mapping()


def test_a_side_that_lies_about_itself_is_shown_without_harm(world: World) -> None:
    evil = json.dumps({"host": "\x1b[2J" + "x" * 5000, "pid": []}).encode()
    for data in (evil, b"\xff\xfe", b"[" * 9999, b"7", b"{}"):
        topic = world.topic("copy", "evil")
        world.publish(topic, data, "-r")
        told = world.relay_here.event("copy: ")
        assert "\x1b" not in told
        assert len(told) < 300
        world.publish(topic, b"", "-r")
        world.relay_here.event("copy is gone")


def test_a_copy_of_another_size_ends_in_words(world: World) -> None:
    """Also a copy of what no relay but another client publishes."""
    name = f"{world.name}.other"
    topic = f"winipc/mapping/{name}/state"
    world.user.ask("create", name, 8192)
    world.publish(topic, HEAD.pack(1, 0) + bytes(4096), "-r")
    error, events = world.ended("MappingCopy", name)
    assert "8192 bytes here and 4096 there" in error
    assert "copying 4096 bytes" in events
    # It has told that it is gone: nothing is kept of it.
    assert world.kept(f"winipc/mapping/{name}/#") == [topic]
    world.publish(topic, b"", "-r")


def test_a_mapping_that_the_broker_does_not_take_ends_in_words(world: World) -> None:
    """It would be sent again and again."""
    name = f"{world.name}.large"
    world.user.ask("create", name, MOST_PACKET)
    error, _ = world.ended("MappingSource", name)
    assert re.fullmatch(r"20\d{5} bytes are more than the broker takes", error)


def test_a_source_waits_for_its_mapping(world: World) -> None:
    name = f"{world.name}.late"
    events = world.user.ask("late", name)
    assert events == ["connected", "waiting for the mapping", "sharing 4096 bytes"]
    assert world.state(name)[HEAD.size :].rstrip(b"\0") == b"late"


def test_events_may_end_a_side(world: World) -> None:
    """By an error, or by close, on whichever thread they come."""
    assert world.user.ask("ended_by_event") == "connected"
    for side in (
        ("MappingSource", "waiting for the mapping"),
        ("MappingCopy", "connected"),
    ):
        assert world.user.ask("closed_by_event", *side) == side[1]


def test_a_response_topic_with_wildcards_is_ignored(world: World) -> None:
    """A target cannot publish there, and goes on."""
    request = world.topic("request", kind="window")
    for last in ("#", "+", "a/b", "", "x" * 65):
        topic = world.topic("answer", last, kind="window")
        told = ["-D", "publish", "response-topic", topic]
        told += ["-D", "publish", "correlation-data", "w"]
        try:
            world.publish(request, b"x", *told)
        except subprocess.CalledProcessError:
            # The client and the broker of Mosquitto 2.0.21 refuse a wildcard.
            assert last in ("#", "+")
            continue
        world.relay_here.event("ignored: a request without a response topic")
    assert world.user.ask("send", 7) == 1007


def test_a_proxy_takes_no_wrong_answer(world: World) -> None:
    """The sender gets 0. An answer to another request is not taken at all."""
    wrong = {
        '{"answer": 1e9}': "a wrong answer",
        '{"answer": 18446744073709551616}': "a wrong answer",
        '{"error": "no\\u001b"}': "no\\x1b",
        **dict.fromkeys(("{}", "[]", "x", "[" * 9999), ""),
    }
    told = world.user.ask("wrong_answers", list(wrong))
    assert told == [f"refused: {text}" for text in wrong.values()]


def test_a_proxy_goes_on_after_messages_that_were_not_acknowledged(
    world: World,
) -> None:
    """As many as paho sends by default without an acknowledgement."""
    assert world.user.ask("unacknowledged", 20)


def test_a_message_that_was_given_up_is_not_delivered_later(world: World) -> None:
    """When the connection comes again, paho sends what is not acknowledged."""
    assert world.user.ask("given_up") == ["1", "2"]


def test_what_is_remembered_of_others_has_a_limit(world: World) -> None:
    known = [f"copy: pc {number}, process 1" for number in range(3)]
    told = world.user.ask("too_many_sides", 3)
    assert told == [*known, known[0].replace("copy:", "copy is gone:")]
    known_one, forgotten = world.user.ask("too_many_answers", 3)
    assert "for a target that is gone" in known_one
    assert "1400" in forgotten


def test_a_prefix_is_a_world_of_its_own(world: World) -> None:
    error, events = world.ended("MappingSource", world.name, ends=False, prefix="a/b")
    assert (error, events[0]) == ("", "connected")


def test_tls_and_passwords(world: World) -> None:
    """The right ones are let in; each wrong one is told."""
    network = world.network

    def end(ca: str, password: str, port: int, ends: bool = True) -> str:
        more = {"port": port, "tls": True, "user": "me", "password": password}
        more["ca_file"] = wine.windows_path(network.folder / ca)
        return world.ended("WindowProxy", f"{world.title}.tls", ends, **more)[0]

    assert end("broker.pem", "secret", network.secure, ends=False) == ""
    assert "the broker refuses" in end("broker.pem", "wrong", network.secure)
    authority = end("other.pem", "secret", network.secure)
    assert "certificate verify failed: self-signed certificate" in authority
    name = end("other.pem", "secret", network.misnamed)
    assert "certificate verify failed: IP address mismatch" in name

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
from conftest import DEADLINE, run
from run_python import python_command, python_environ
from winpython import selected

SIZE = 20000
#: As Windows rounds it: all that another program can know of it.
PAGES = 20480
KEEPALIVE = 2
MOST_PACKET = 2_000_000
SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
HEAD = struct.Struct("<QQ")

#: The program whose mapping and window are shared.
HERE = """
import hashlib, json, random, sys, threading, time, winipc

got, writing, going = [], threading.Event(), threading.Event()
one_step = threading.Lock()
going.set()

def take(message):
    got.append(bytes(message).decode())
    going.wait()
    return message.id + 1000

def write():
    while True:
        writing.wait()
        with one_step:
            if writing.is_set():
                data = random.randbytes(random.randrange(1, 300))
                mapping.write(data, random.randrange(SIZE - len(data)))
        time.sleep(0.002)

SIZE = int(sys.argv[3])
with (
    winipc.SharedMapping.create(sys.argv[1], SIZE) as mapping,
    winipc.CopyDataWindow.create(sys.argv[2], handler=take),
):
    threading.Thread(target=write, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "write":
            writing.set()
        elif word == "stop":
            with one_step:
                writing.clear()
        elif word == "hang":
            going.clear()
        elif word == "go":
            going.set()
        told = [hashlib.md5(mapping).hexdigest(), got]
        told = bytes(mapping).hex() if word == "memory" else told
        print(json.dumps(told), flush=True)
"""

#: The program on the other machine, which knows both by the same names.
THERE = """
import hashlib, json, queue, sys, threading, time, winipc
from collections import Counter
from winipc import relay
from winipc.relay.link import properties

name, title, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
host, port = sys.argv[4], int(sys.argv[5])
heard, plain = queue.Queue(), None
acknowledged, sending, number, mapping = [], threading.Event(), 0, None

def send():
    global number
    while True:
        sending.wait()
        number += 1
        if not one(number):
            time.sleep(0.05)

def one(n, title=title):
    try:
        data = str(n).encode()
        answer = winipc.send_copydata(title, data, id=n, timeout=60, check=False)
    except OSError as error:
        return repr(error)
    if answer == n + 1000:
        acknowledged.append(str(n))
    return answer

def ended(kind, name, ends=True, **more):
    # What a side of Python ends by, and what it told before.
    events = []
    broker = relay.Broker(host, **{"port": port, **more})
    try:
        side = getattr(relay, kind)(broker, name, on_event=events.append)
        try:
            side.wait(20 if ends else 0)
        finally:
            side.close()
    except (OSError, ValueError) as error:
        return str(error), events
    return "", events

def ended_by_event():
    def fail(text):
        raise LookupError(text)

    try:
        broker = relay.Broker(host, port)
        with relay.MappingCopy(broker, "event", on_event=fail) as side:
            side.wait(20)
    except LookupError as error:
        return str(error)

def closed_by_event(kind, *events):
    # Whether a side can be closed by its own threads, and by three at once.
    sides, found = queue.Queue(), []

    def close(text):
        if text.startswith(events):
            side = sides.get(timeout=60)
            sides.put(side)
            side.close()
            found.append(text)

    side = getattr(relay, kind)(relay.Broker(host, port), kind, on_event=close)
    sides.put(side)
    while not found and not side.error:
        time.sleep(0.005)
    threads = [threading.Thread(target=side.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found

def late(name):
    # What a source tells whose mapping is made after it has said that it waits.
    told = queue.Queue()
    broker = relay.Broker(host, port)
    with relay.MappingSource(broker, f"Local\\\\{name}", on_event=told.put):
        seen = [told.get(timeout=60), told.get(timeout=60)]
        with winipc.SharedMapping.create(name, 10) as mapping:
            mapping.write(b"late")
            return [*seen, told.get(timeout=60)]

def listen(topic):
    # A client of MQTT that hears of this topic by now.
    global plain
    plain = relay.Broker(host, port).client(f"plain {topic}")
    plain.on_message = lambda *told: heard.put(told[2])
    plain.on_connect = lambda *told: plain.subscribe(topic)
    plain.on_subscribe = lambda *told: heard.put(None)
    plain.connect(host, port)
    plain.loop_start()
    heard.get()

def flood(count):
    # As many requests, until the first one is refused.
    base = f"winipc/window/{title}"
    listen(f"{base}/answer/flood")
    for number in range(count):
        given = {"ResponseTopic": f"{base}/answer/flood", "MessageExpiryInterval": 60}
        given["CorrelationData"] = number.to_bytes(2, "big")
        told = properties("PUBLISH", **given)
        plain.publish(f"{base}/request", b"flood", 1, properties=told)

threading.Thread(target=send, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    told = None
    if word == "ended":
        told = ended(*rest[:2], **json.loads(" ".join(rest[2:]) or "{}"))
    elif word == "event":
        told = ended_by_event()
    elif word == "closed":
        told = closed_by_event(rest[0], *rest[1:])
    elif word == "another":
        other = winipc.SharedMapping.create(rest[0], int(rest[1]))
    elif word == "late":
        told = late(rest[0])
    elif word == "overhear":
        listen(f"winipc/window/{title}/request")
        one(7)
        told = heard.get(timeout=60).properties.UserProperty
        plain.disconnect()
    elif word == "flood":
        flood(int(rest[0]))
    elif word == "answers":
        came = [heard.get(timeout=60).payload for _ in range(int(rest[0]))]
        told = Counter(map(bytes.decode, came))
    elif word == "one":
        told = one(int(rest[0]), *rest[1:])
    elif word == "send":
        sending.set()
    elif word == "more":  # so many more are acknowledged
        goal = len(acknowledged) + int(rest[0])
        while len(acknowledged) < goal:
            time.sleep(0.005)
    elif word == "stop":
        sending.clear()
        before = None
        while before != number:  # the last one has its answer
            before = number
            one(10**6 + before)
        told = acknowledged
    elif word == "equal":
        mapping = mapping or winipc.SharedMapping.wait_for(name, 60)
        while hashlib.md5(mapping.read(SIZE)).hexdigest() != rest[0]:
            time.sleep(0.005)
        told = mapping.size
    print(json.dumps(told), flush=True)
"""


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

    def ask(self, *words: object) -> Any:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.line())

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
        self.secure = free_port()
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
            *(f"listener {self.secure} {address}", "allow_anonymous false"),
            *(f"password_file {files}/passwords", f"certfile {files}/broker.pem"),
            f"keyfile {files}/broker.key",
        ]
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
    """A broker's certificate that is its own authority, and the password "secret"."""
    if not (folder / "broker.pem").exists():
        names = "subjectAltName=IP:127.0.0.1,IP:10.9.1.1,IP:10.9.2.1"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
        command += ["-subj", "/CN=broker", "-days", "2", "-addext", names]
        for name in ("broker", "other"):
            files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
            run(*command, *files)
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
        words = (self.name, self.title, SIZE)
        self.source = self.started(Program("source", here, "-c", HERE, *words))
        words = (*words, there.host, network.port)
        self.user = self.started(Program("user", there, "-c", THERE, *words))
        self.start_here(wait=False)
        self.start_there()
        self.relay_here.event(self.nowhere, "connected")
        assert self.source.line() == self.user.line() == "ready\n"

    def started(self, program: Program) -> Program:
        self.programs.append(program)
        return program

    def close(self) -> None:
        for program in self.programs:
            program.kill()

    def start_here(self, wait: bool = True) -> None:
        words = ("--mapping", self.name, "--window", self.title, *self.missing)
        self.relay_here = self.started(self.here.relay("relay here", *words))
        if wait:
            self.relay_here.event(self.nowhere, "connected")

    def start_there(self) -> None:
        words = ("--copy", self.name, "--proxy", self.title, "--patience", "3")
        more = ("--proxy", self.nowhere)
        relay = self.there.relay("relay there", *words, *more)
        self.relay_there = self.started(relay)
        self.relay_there.event(self.title, "target:")
        self.relay_there.event(self.nowhere, "target:")

    def ended(self, kind: str, name: str, **more: object) -> tuple[str, list[str]]:
        """What a side ends by that a program of Python starts there, and its events."""
        text, events = self.user.ask("ended", kind, name, json.dumps(more))
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
        digest, _ = self.source.ask("stop")
        assert self.user.ask("equal", digest) == PAGES

    def check(self) -> None:
        """All that was acknowledged came, once; and the mappings end equal."""
        acknowledged = self.user.ask("stop")
        self.check_mapping()
        _, got = self.source.ask("state")
        count = Counter(got)
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
    world.user.ask("stop")
    world.network.broker.send_signal(signal.SIGSTOP)
    assert world.user.ask("one", 70) == 0
    world.relay_there.event("proxy", "refused: no answer in time")
    kill_broker(world)
    world.relay_there.event(world.title, "target:")
    world.user.ask("send")
    world.user.ask("more", 1)
    assert "70" not in world.source.ask("state")[1]


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
    world.user.ask("send")
    world.user.ask("more", 3)
    world.relay_here.forget()
    world.relay_there.forget()
    fault(world)
    world.user.ask("more", 3)
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
    """It is no failure; a message is refused at once."""
    world.relay_there.forget()
    status, error = world.relay_here.end(signal.SIGINT)
    assert (status, "Traceback" in error) == (0, False), error
    world.relay_there.event("copy", "source is gone")
    world.relay_there.event(world.title, "target is gone")
    assert world.user.ask("one", 7) == 0
    world.relay_there.event(world.title, "refused: there is no target")
    digest, _ = world.source.ask("state")
    assert world.user.ask("equal", digest) == PAGES
    assert world.state()[HEAD.size :][:SIZE] == world.memory()
    world.start_here()
    world.relay_there.event(world.nowhere, "target:")


def test_a_window_that_is_missing_or_hangs_is_a_refusal(world: World) -> None:
    assert world.user.ask("one", 7, world.nowhere) == 0
    assert "1400" in world.relay_there.event(world.nowhere, "refused")
    world.source.ask("hang")
    assert world.user.ask("one", 7) == 0
    assert "1460" in world.relay_there.event(world.title, "refused")
    world.source.ask("go")
    assert world.user.ask("one", 8) == 1008


def test_requests_that_wait_have_a_limit(world: World) -> None:
    """One is with the window, 64 wait, and what comes then is refused at once."""
    world.source.ask("hang")
    _, before = world.source.ask("state")
    world.user.ask("flood", 70)
    refused, answered = '{"error": "too many messages wait"}', '{"answer": 1000}'
    assert world.user.ask("answers", 5) == {refused: 5}
    world.source.ask("go")
    rest = world.user.ask("answers", 65)
    # The window may not have had the first one when the next ones came.
    assert rest in ({answered: 65}, {answered: 64, refused: 1})
    _, got = world.source.ask("state")
    assert got[len(before) :] == ["flood"] * rest[answered]
    world.relay_here.event("refused: too many messages wait")


def test_clients_without_winipc_read_and_send(world: World) -> None:
    """By what docs/relay.md says; the same message again gets the first answer."""
    state = world.state()
    assert len(state) == HEAD.size + PAGES
    _, before = world.source.ask("state")
    assert world.request("one", "plain", id="0x7") == {"answer": 1007}
    assert world.request("one", "plain", id="8") == {"answer": 1007}
    assert world.request("two", "plain") == {"answer": 1000}
    _, got = world.source.ask("state")
    assert got[len(before) :] == ["plain", "plain"]


def test_wrong_requests_are_refused_in_words(world: World) -> None:
    """None of them reaches the window."""
    _, before = world.source.ask("state")
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
    assert world.source.ask("state")[1] == before
    assert world.user.ask("one", 9) == 1009


def test_wrong_changes_are_ignored(world: World) -> None:
    """No byte outside of the mapping; none at all of a message that is wrong later."""
    digest, _ = world.source.ask("stop")
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
    world.user.ask("another", name, 8192)
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
    world.user.ask("another", name, MOST_PACKET)
    error, _ = world.ended("MappingSource", name)
    assert re.fullmatch(r"20\d{5} bytes are more than the broker takes", error)


def test_a_source_waits_for_its_mapping(world: World) -> None:
    name = f"{world.name}.late"
    events = world.user.ask("late", name)
    assert events == ["connected", "waiting for the mapping", "sharing 4096 bytes"]
    assert world.state(name)[HEAD.size :].rstrip(b"\0") == b"late"


def test_events_may_end_a_side(world: World) -> None:
    """By an error, or by close, on whichever thread they come."""
    assert world.user.ask("event") == "connected"
    waits = world.user.ask("closed", "MappingSource", "waiting")
    assert waits == ["waiting for the mapping"]
    assert world.user.ask("closed", "MappingCopy", "connected") == ["connected"]


def test_a_response_topic_with_wildcards_is_ignored(world: World) -> None:
    """A target cannot publish there, and goes on."""
    request = world.topic("request", kind="window")
    for last in ("#", "+", "a/b", "", "x" * 65):
        topic = world.topic("answer", last, kind="window")
        told = ["-D", "publish", "response-topic", topic]
        world.publish(request, b"x", *told, "-D", "publish", "correlation-data", "w")
        world.relay_here.event("ignored: a request without a response topic")
    assert world.user.ask("one", 7) == 1007


def test_tls_and_passwords(world: World) -> None:
    """The right ones are let in; each wrong one is told."""
    folder, port = world.network.folder, world.network.secure

    def end(ca: str, password: str, **more: object) -> str:
        file = wine.windows_path(folder / ca)
        more |= {"port": port, "tls": True, "ca_file": file}
        more |= {"user": "me", "password": password}
        return world.ended("WindowProxy", f"{world.title}.tls", **more)[0]

    assert end("broker.pem", "secret", ends=False) == ""
    assert "the broker refuses" in end("broker.pem", "wrong")
    assert "CERTIFICATE_VERIFY_FAILED" in end("other.pem", "secret")

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
import hashlib, json, sys, threading, time, winipc

name, title, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
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

threading.Thread(target=send, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    told = None
    if word == "one":
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

    def __init__(self, machine: Machine, *args: object, **env: str) -> None:
        command = [*machine.inside, "setpriv", "--pdeathsig", "KILL"]
        command += [*python_command(selected()), *map(str, args)]
        self.process = subprocess.Popen(
            command,
            env={**python_environ(machine.prefix, selected()), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self.told: list[str] = []
        self.errors: list[str] = []
        for pumped in (
            (self.process.stdout, self.lines.put),
            (self.process.stderr, self.errors.append),
        ):
            threading.Thread(target=pump, args=pumped, daemon=True).start()

    def line(self) -> str:
        try:
            line = self.lines.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"silent: {self.seen[-9:]} {self.errors}") from None
        assert line, f"it ended: {self.seen[-9:]} {self.errors}"
        self.seen.append(line.strip())
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
        return self.ended()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def ended(self) -> tuple[int, str]:
        status = self.process.wait(DEADLINE)
        while self.lines.get(timeout=DEADLINE):
            pass
        return status, "".join(self.errors)


def pump(stream: Any, take: Callable[[str], object]) -> None:
    """To its end, which under Wine comes when the desktop ends, too."""
    with stream:
        for line in stream:
            take(line)
    take("")


class Machine:
    """A Windows, and how programs run in its network."""

    def __init__(self, prefix: Path, network: Network, number: int) -> None:
        self.prefix, self._network, self._number = prefix, network, number
        self.inside = network.inside(number)
        self.host = network.host(number)

    def relay(self, *args: object, port: int | None = None, **env: str) -> Program:
        address = f"{self.host}:{port or self._network.port}"
        if "--ca-file" in args:
            address = f"mqtts://{address}"
        words = ("-m", "winipc", "relay", address, "--json", "--keepalive", KEEPALIVE)
        return Program(self, *words, *args, **env)

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
        threading.Thread(
            target=pump, args=(self.broker.stdout, lambda line: None), daemon=True
        ).start()

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
        self.source = self.start(here, "-c", HERE, *words)
        self.user = self.start(there, "-c", THERE, *words)
        assert self.source.line() == self.user.line() == "ready\n"
        self.start_here()
        self.start_there()

    def start(self, machine: Machine, *args: object, **env: str) -> Program:
        self.programs.append(Program(machine, *args, **env))
        return self.programs[-1]

    def start_relay(self, machine: Machine, *args: object, **how: Any) -> Program:
        self.programs.append(machine.relay(*args, **how))
        return self.programs[-1]

    def close(self) -> None:
        for program in self.programs:
            program.kill()

    def start_here(self) -> None:
        words = ("--mapping", self.name, "--window", self.title, *self.missing)
        self.relay_here = self.start_relay(self.here, *words)
        self.relay_here.event(self.nowhere, "connected")

    def start_there(self) -> None:
        words = ("--copy", self.name, "--proxy", self.title, "--patience", "3")
        more = ("--proxy", self.nowhere)
        self.relay_there = self.start_relay(self.there, *words, *more)
        self.relay_there.event(self.title, "target:")
        self.relay_there.event(self.nowhere, "target:")

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
        words = ("-t", topic, "-C", "1", "-W", "60", "-F", "%x")
        return bytes.fromhex(run(*self.network.client("mosquitto_sub", *words)))

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


FAULTS = [kill_broker, cut_here, cut_there, cut_for_a_moment, kill_here, kill_there]


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
    for option, name, role in (
        ("--mapping", world.name, "source"),
        ("--window", world.title, "target"),
    ):
        status, error = world.start_relay(world.there, option, name).ended()
        assert status == 1
        who = re.search(rf"\S+, process \d+ is the {role} already", error)
        assert who, error
        assert who[0].split(" is")[0] in str(world.relay_there.seen)
        world.relay_there.event(f"{role} is gone")
    world.relay_there.forget()
    assert world.user.ask("one", 7) == 1007


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
    name = f"{world.name}.other size"
    topic = f"winipc/mapping/{name}/state"
    world.publish(topic, HEAD.pack(1, 0) + bytes(4096), "-r")
    relay = world.start_relay(world.there, "--copy", name)
    relay.event("copying 4096 bytes")
    world.publish(topic, HEAD.pack(2, 0) + bytes(8192), "-r")
    status, error = relay.ended()
    assert (status, "4096 bytes here and 8192 there" in error) == (1, True), error
    # It has told that it is gone: nothing is kept of it.
    words = ("-t", f"winipc/mapping/{name}/copy/+", "-W", "1")
    client = world.network.client("mosquitto_sub", *words)
    assert subprocess.run(client, capture_output=True, check=False).stdout == b""
    world.publish(topic, b"", "-r")


LATE = """
import sys, winipc
with winipc.SharedMapping.create(sys.argv[1], 10) as mapping:
    mapping.write(b"late")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_source_waits_for_its_mapping(world: World) -> None:
    name = f"{world.name}.late"
    relay = world.start_relay(world.here, "--mapping", f"Local\\{name}")
    relay.event("waiting for the mapping")
    late = world.start(world.here, "-c", LATE, name)
    assert late.line() == "ready\n"
    relay.event("sharing 4096 bytes")
    assert world.state(name)[HEAD.size :].rstrip(b"\0") == b"late"


def test_tls_and_passwords(world: World, tmp_path: Path) -> None:
    """The right ones are let in; each wrong one is told."""
    folder, port = world.network.folder, world.network.secure
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    words = ["--proxy", f"{world.title}.tls", "--user", "me"]
    good = ["--ca-file", wine.windows_path(folder / "broker.pem")]
    by_file = ["--password-file", wine.windows_path(secret)]
    sides = [
        world.start_relay(world.there, *words, *good, *by_file, port=port),
        world.start_relay(
            *(world.here, *words, *good), port=port, WINIPC_RELAY_PASSWORD="secret"
        ),
    ]
    for side in sides:
        side.event("connected")
    wrong_ca = ["--ca-file", wine.windows_path(folder / "other.pem")]
    for ca, password, text in (
        (good, "wrong", "the broker refuses"),
        (wrong_ca, "secret", "CERTIFICATE_VERIFY_FAILED"),
    ):
        side = world.start_relay(
            *(world.there, *words, *ca), port=port, WINIPC_RELAY_PASSWORD=password
        )
        status, error = side.ended()
        assert (status, text in error) == (1, True), error
    for side in sides:
        assert side.end(signal.SIGINT)[0] == 0

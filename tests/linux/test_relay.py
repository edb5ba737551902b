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
        print(json.dumps([hashlib.md5(mapping).hexdigest(), got]), flush=True)
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

def one(n):
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
        told = one(int(rest[0]))
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
        self._folder = folder
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
        files = make_certificates(self._folder)
        config = self._folder / "mosquitto.conf"
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
        words = ("--mapping", self.name, "--window", self.title)
        self.relay_here = self.start_relay(self.here, *words)
        self.relay_here.event("window", "connected")

    def start_there(self) -> None:
        words = ("--copy", self.name, "--proxy", self.title, "--patience", "3")
        self.relay_there = self.start_relay(self.there, *words)
        self.relay_there.event("proxy", "target:")

    def topic(self, *parts: str, kind: str = "mapping") -> str:
        name = self.name if kind == "mapping" else self.title
        return "/".join(("winipc", kind, name, *parts))

    def check(self) -> None:
        """All that was acknowledged came, once; and the mappings end equal."""
        digest, got = self.source.ask("stop")
        acknowledged = self.user.ask("stop")
        assert self.user.ask("equal", digest) == PAGES
        digest, got = self.source.ask("state")
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

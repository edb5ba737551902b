"""Mappings, events, mutexes and semaphores: recorded, and played by a double."""

from __future__ import annotations

import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, FULL, handle_count
from hypothesis import given
from hypothesis import strategies as st

import winipc
from winipc import Cassette, CassetteEvent, ChangeEvent, StateEvent, Track, _core
from winipc.cassette.file import Writer
from winipc.process.types import MemoryState, MemoryType


def until(condition: Callable[[], object]) -> None:
    """Wait until another thread or process has come so far."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@given(st.binary(max_size=100), st.data(), st.integers(0, 9), st.integers(0, 5000))
def test_changes_are_those_of_a_byte_by_byte_look(
    old: bytes, data: st.DataObject, join: int, padding: int
) -> None:
    """Also across pages and words; ranges are apart by more than `join`."""
    places = st.integers(0, max(len(old) - 1, 0))
    changes = data.draw(st.dictionaries(places, st.integers(0, 255)))
    new = bytearray(old)
    for at, value in changes.items() if old else ():
        new[at] = value
    frame = bytes(padding)
    found = _core._changes(frame + old + frame, frame + new + frame, join)
    expected: list[list[int]] = []
    for i in (i for i in range(len(old)) if old[i] != new[i]):
        if expected and i - expected[-1][1] <= join:
            expected[-1][1] = i + 1
        else:
            expected.append([i, i + 1])
    assert found == [(padding + a, bytes(new[a:b])) for a, b in expected]


def test_changes_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="one size"):
        _core._changes(b"ab", b"a", 0)
    with pytest.raises(ValueError, match="negative"):
        _core._changes(b"ab", b"ab", -1)


@pytest.fixture
def recorded(unique_name: str, tmp_path: Path) -> Path:
    """A mapping of 3 pages with 20 changes, each of which an event tells."""
    path = tmp_path / "file.wipc"
    source = random.Random(1)
    with (
        winipc.SharedMapping.create(unique_name, 12288) as mapping,
        winipc.Event.create(f"{unique_name}-set", manual=True) as changed,
    ):
        mapping[5000] = 1
        recorder = Cassette.record(
            path, mappings=[unique_name], events=[f"{unique_name}-set"], rate=0.5
        )
        with recorder:
            for n in range(20):
                before = recorder.events
                at = source.randrange(12288 - 64)
                mapping[at : at + 64] = source.randbytes(64)
                mapping[0] = n
                changed.set()
                until(lambda before=before: recorder.events >= before + 2)
                changed.reset()
                until(lambda before=before: recorder.events >= before + 3)
    return path


def test_each_change_is_recorded_before_the_event_that_tells_it(recorded: Path) -> None:
    """However rarely the recorder looks: the event wakes it."""
    cassette = Cassette(recorded)
    assert cassette.complete
    kinds = [
        event.state if isinstance(event, StateEvent) else "change" for event in cassette
    ]
    assert kinds == ["change", 0, *["change", 1, 0] * 20]
    assert [frame[0] for _, frame in cassette.frames()] == [0, *range(20)]
    assert recorded.stat().st_size < 20 * 300 + 500


def test_a_double_steps_through_what_was_recorded(
    recorded: Path, unique_name: str
) -> None:
    """When `step` returns, others see the change, in the same memory and events."""
    cassette = Cassette(recorded)
    frames = [frame for _, frame in cassette.frames()]
    events = list(cassette)[2:]
    with (
        Cassette.play(cassette, speed=None) as player,
        winipc.SharedMapping.open(unique_name, access="read") as mapping,
        winipc.Event.open(f"{unique_name}-set") as changed,
    ):
        assert mapping.read() == frames.pop(0)
        for event in events:
            assert player.step() == event
            if isinstance(event, StateEvent):
                assert changed.is_set() == event.state
            else:
                assert mapping.read() == frames.pop(0)
                assert player.position == event.time_ns / 1e9
        assert player.finished
        assert player.step() is None
        assert not frames
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open(unique_name)


def test_another_process_sees_a_step(recorded: Path, unique_name: str) -> None:
    """Two processes: the other one waits for the event, and reads."""
    script = (
        "import sys, winipc\n"
        "name = sys.argv[1]\n"
        "m = winipc.SharedMapping.open(name, access='read')\n"
        "changed = winipc.Event.open(name + '-set')\n"
        "print('ready', flush=True)\n"
        "for _ in range(20):\n"
        "    assert changed.wait(60)\n"
        "    print(m[0], flush=True)\n"
        "    input()\n"
    )
    command = [sys.executable, "-c", script, unique_name]
    with (
        Cassette.play(recorded, speed=None) as player,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer,
    ):
        assert peer.stdin is not None
        assert peer.stdout is not None
        assert peer.stdout.readline() == "ready\n"
        for n in range(20):
            player.step()
            player.step()
            assert peer.stdout.readline() == f"{n}\n"
            player.step()
            peer.stdin.write("\n")
            peer.stdin.flush()
        assert peer.wait(DEADLINE) == 0


def test_seek_goes_both_ways(recorded: Path, unique_name: str) -> None:
    """Memory and events are as they were at each time, whatever they are before."""
    cassette = Cassette(recorded)
    frames = list(cassette.frames())
    sets = {
        event.time_ns: event.state
        for event in cassette
        if isinstance(event, StateEvent)
    }
    with (
        Cassette.play(cassette, speed=None) as player,
        winipc.SharedMapping.open(unique_name) as mapping,
        winipc.Event.open(f"{unique_name}-set") as changed,
    ):
        source = random.Random(2)
        for _ in range(30):
            time_ns, frame = source.choice(frames)
            mapping[source.randrange(12288)] = 77  # a client's own
            player.seek(time_ns / 1e9)
            assert mapping.read() == frame
            assert player.position == time_ns / 1e9
            assert changed.is_set() == [s for t, s in sets.items() if t <= time_ns][-1]
        player.seek(0)
        assert isinstance(player.step(), ChangeEvent)
        for far in (1e30, math.inf):
            player.seek(far)
            assert player.position == cassette.duration_ns / 1e9
            assert player.step() is None
        for odd in (-1, float("nan")):
            with pytest.raises(ValueError, match="0 or more"):
                player.seek(odd)


def write(path: Path, name: str, times_ms: list[int], end_ms: int) -> Path:
    """A mapping of 4 bytes that has 1, 2, ... at these times."""
    with Writer(path, [Track("mapping", name, size=4)]) as writer:
        for n, at in enumerate(times_ms):
            change = ChangeEvent(at * 1_000_000, 0, ((0, bytes([n + 1])),))
            writer.add(change, stamp=False)
        writer.close(end_ms * 1_000_000)
    return path


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_the_pace_is_kept(unique_name: str, tmp_path: Path, speed: float) -> None:
    """Never before its time, and half of 40 changes within 20 ms: others run too."""
    times = [25 * n for n in range(41)]
    path = write(tmp_path / "file.wipc", unique_name, times, 1000)
    seen: dict[int, float] = {}
    with Cassette.play(path, speed=speed) as player:
        # Both clocks begin with the position.
        offset = time.perf_counter() - player.position / speed
        with winipc.SharedMapping.open(unique_name, access="read") as mapping:
            while not player.finished:
                seen.setdefault(mapping[0], time.perf_counter() - offset)
                time.sleep(0.0005)
            seen.setdefault(mapping[0], time.perf_counter() - offset)
    late = sorted(at - (n - 1) * 0.025 / speed for n, at in seen.items() if n > 1)
    assert len(late) >= 20
    assert late[0] > -0.001
    assert late[len(late) // 2] < 0.02


def test_a_double_freezes_and_goes_on(unique_name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file.wipc", unique_name, [0, 1, 3_600_000], 3_600_001)
    with (
        Cassette.play(path) as player,
        winipc.SharedMapping.open(unique_name, access="read") as mapping,
    ):
        until(lambda: mapping[0] == 2)
        player.freeze()
        player.seek(3599.99)
        assert player.position == 3599.99
        assert not player.wait(0.1)
        assert mapping[0] == 2
        player.resume()
        assert player.wait(DEADLINE)
        assert mapping[0] == 3


def test_seek_goes_to_before_the_first_event(unique_name: str, tmp_path: Path) -> None:
    """What the file says nothing of is 0, whatever came later."""
    path = tmp_path / "file.wipc"
    names = [f"{unique_name}-{n}" for n in range(2)]
    tracks = [Track("mapping", names[0], size=4), Track("event", names[1], manual=True)]
    with Writer(path, tracks) as writer:
        writer.add(ChangeEvent(5, 0, ((0, b"x"),)), stamp=False)
        writer.add(StateEvent(5, 1, 1), stamp=False)
    with (
        Cassette.play(path, speed=None) as player,
        winipc.SharedMapping.open(names[0]) as mapping,
        winipc.Event.open(names[1]) as event,
    ):
        for _ in range(2):
            assert (mapping[0], event.is_set()) == (0, False)
            player.step()
            player.step()
            assert (mapping[0], event.is_set()) == (ord("x"), True)
            player.seek(0)


def test_an_event_may_be_centuries_away(unique_name: str, tmp_path: Path) -> None:
    """In a hostile file, or at a slow speed: the double waits, and goes on."""
    path = write(tmp_path / "file.wipc", unique_name, [0, 9_000_000_000_000], 1)
    Cassette.play(path, speed=1e-9).close()
    with Cassette.play(path) as player:
        assert not player.wait(0)
        player.seek(math.inf)
        assert player.wait(DEADLINE)


def test_a_loop_begins_again_with_what_was_in_the_beginning(
    unique_name: str, tmp_path: Path
) -> None:
    """All states, round after round, and never the zeros of before."""
    path = write(tmp_path / "file.wipc", unique_name, [0, 60, 120], 180)
    seen: list[int] = []
    with (
        Cassette.play(path, loop=True) as player,
        winipc.SharedMapping.open(unique_name, access="read") as mapping,
    ):
        end = time.monotonic() + DEADLINE
        # A look that comes late misses a state, so the rounds are not counted alone.
        while min(map(seen.count, (1, 2, 3))) < 3:
            assert time.monotonic() < end
            if not seen or mapping[0] != seen[-1]:
                seen.append(mapping[0])
            time.sleep(0.0005)
        assert not player.finished
    assert set(seen) == {1, 2, 3}
    with Cassette.play(path, loop=True, speed=None) as player:
        times = [event.time_ns for event in (player.step() for _ in range(5)) if event]
        assert times == [60_000_000, 120_000_000] * 2 + [60_000_000]


def test_on_looks_at_memory_when_its_event_is_set(
    unique_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.wipc"
    with (
        winipc.SharedMapping.create(unique_name, 16) as mapping,
        winipc.Event.create(f"{unique_name}-set", manual=True) as changed,
    ):
        with Cassette.record(path, mappings=[unique_name], on=changed.name) as recorder:
            mapping[0] = 1
            time.sleep(0.3)  # nothing to wait for: it must not look
            assert recorder.events == 2
            mapping[0] = 2
            changed.set()
            until(lambda: recorder.events == 4)
        assert [frame[0] for _, frame in Cassette(path).frames()] == [0, 2]
        with (
            winipc.Event.create(f"{unique_name}-auto") as auto,
            pytest.raises(ValueError, match="auto-reset"),
        ):
            Cassette.record(tmp_path / "x", mappings=[unique_name], on=auto.name)
        assert not (tmp_path / "x").exists()


def test_mutexes_and_semaphores(unique_name: str, tmp_path: Path) -> None:
    """Held and counted as they were; a client's wait for the mutex ends in time."""
    path = tmp_path / "file.wipc"
    name = f"{unique_name}-mutex"
    with (
        closing(winipc.Mutex.create(name, owned=True)) as mutex,
        closing(winipc.Semaphore.create(f"{unique_name}-count", 2, 5)) as semaphore,
    ):
        recorder = Cassette.record(
            path, mutexes=[name], semaphores=[semaphore.name], rate=200
        )
        with recorder:
            mutex.release()
            until(lambda: recorder.events == 3)
            semaphore.release(3)
            until(lambda: recorder.events == 4)
            assert semaphore.acquire(0)
            until(lambda: recorder.events == 5)
            assert mutex.acquire(0)
            until(lambda: recorder.events == 6)
        mutex.release()
        with pytest.raises(FileExistsError) as caught:
            Cassette.play(path)
        [note] = caught.value.__notes__
        assert note.endswith("play under other names (names=)")
    with (
        Cassette.play(path, speed=None) as player,
        closing(winipc.Mutex.open(name)) as mutex,
        closing(winipc.Semaphore.open(f"{unique_name}-count")) as semaphore,
    ):
        assert semaphore.maximum == 5
        for held, count in ((True, 2), (False, 2), (False, 5), (False, 4), (True, 4)):
            assert semaphore.value == count
            assert mutex.acquire(0) != held
            if not held:
                mutex.release()
            player.step()
        assert player.finished
        player.close()
        assert mutex.acquire(0)  # which was released, not abandoned
        mutex.release()


def test_record_says_what_is_not_there(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    for what in ("mappings", "events", "mutexes", "semaphores", "windows"):
        with pytest.raises(FileNotFoundError):
            Cassette.record(path, **{what: [unique_name]})
        with pytest.raises(TimeoutError):
            Cassette.record(path, **{what: [unique_name]}, timeout=0.05)
    assert not path.exists()
    with pytest.raises(ValueError, match="rate"):
        Cassette.record(path, rate=0)
    with winipc.SharedMapping.create(unique_name, 16):
        path.write_text("something else")
        with pytest.raises(FileExistsError):
            Cassette.record(path, mappings=[unique_name])
    assert path.read_text() == "something else"


def test_what_is_given_wrongly_is_refused(unique_name: str, tmp_path: Path) -> None:
    """A text for a list, the same thing twice, a window without a name, a typo."""
    path = tmp_path / "file.wipc"
    for what in ("mappings", "windows", "broadcasts", "events"):
        with pytest.raises(TypeError, match="list"):
            Cassette.record(path, **{what: unique_name})
    for nobody in ("", (None, None), Track("window")):
        with pytest.raises(ValueError, match="title or its class"):
            Cassette.record(path, windows=[nobody])
    with (
        winipc.SharedMapping.create(unique_name, 16),
        winipc.CopyDataWindow.create(unique_name),
    ):
        for twice in (
            {"mappings": [unique_name, f"Local\\{unique_name}"]},
            {"windows": [unique_name], "clients": [unique_name]},
        ):
            with pytest.raises(ValueError, match="twice"):
                Cassette.record(path, **twice)
    assert not path.exists()
    write(path, unique_name, [0], 1)
    with pytest.raises(ValueError, match=r"nothing called \['typo'"):
        Cassette.play(path, names={"typo": "other"})


def test_record_waits_for_a_program_that_starts(
    unique_name: str, tmp_path: Path
) -> None:
    made: list[winipc.SharedMapping] = []
    timer = threading.Timer(
        0.3, lambda: made.append(winipc.SharedMapping.create(unique_name, 16))
    )
    timer.start()
    with Cassette.record(
        tmp_path / "file.wipc", mappings=[unique_name], timeout=DEADLINE
    ):
        pass
    timer.join()
    made[0].close()


def test_secrets_are_filtered(unique_name: str, tmp_path: Path) -> None:
    """What the function returns is kept; None leaves the event out."""
    import dataclasses

    def cover(event: CassetteEvent) -> CassetteEvent | None:
        if isinstance(event, StateEvent):
            return None
        changes = [
            (at, data.replace(b"secret", b"******")) for at, data in event.changes
        ]
        return dataclasses.replace(event, changes=tuple(changes))

    path = tmp_path / "file.wipc"
    with (
        winipc.SharedMapping.create(unique_name, 64) as mapping,
        winipc.Event.create(f"{unique_name}-set", manual=True) as event,
    ):
        mapping.write(b"my secret", 8)
        with Cassette.record(
            path, mappings=[unique_name], events=[event.name], before_record=cover
        ):
            pass
    assert [frame[8:17] for _, frame in Cassette(path).frames()] == [b"my ******"]
    assert len(list(Cassette(path))) == 1


@pytest.mark.parametrize(
    "odd",
    [
        True,
        ChangeEvent(0, 1),
        StateEvent(0, 0),
        ChangeEvent(0, 0, ((1 << 20, b"x"),)),
        ChangeEvent(0, 0, ((8, b"x"), (0, b"y"))),
    ],
    ids=["type", "track", "kind", "range", "order"],
)
def test_what_before_record_makes_has_to_be_readable(
    unique_name: str, tmp_path: Path, odd: Any
) -> None:
    path = tmp_path / "file.wipc"
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        recorder = Cassette.record(
            path,
            mappings=[unique_name],
            before_record=lambda event: odd if mapping[0] else event,
        )
        mapping[0] = 1
        assert recorder.wait(DEADLINE)
        with pytest.raises(ValueError, match=r"before_record|offset"):
            recorder.close()
    assert len(list(Cassette(path))) == 1


def test_a_failure_ends_the_recording_and_is_told(
    unique_name: str, tmp_path: Path
) -> None:
    """When it is closed, unless another exception is on its way."""

    def fail(event: CassetteEvent) -> CassetteEvent:
        if event.track == 0 and recorders:
            raise OSError("the disk is full")
        return event

    recorders: list[Any] = []
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        for number, error in enumerate([OSError, KeyError]):
            recorders.clear()
            path = tmp_path / f"{number}.wipc"

            def change_and_leave(path: Path = path, error: Any = error) -> None:
                with Cassette.record(
                    path, mappings=[unique_name], before_record=fail
                ) as recorder:
                    recorders.append(recorder)
                    mapping[0] += 1
                    until(lambda: recorder._error)
                    if error is KeyError:
                        raise KeyError

            with pytest.raises(error) as caught:
                change_and_leave()
            notes = "".join(getattr(caught.value, "__notes__", []))
            assert ("the disk is full" in notes) == (error is KeyError)
            assert Cassette(path).complete


def test_play_refuses_what_it_cannot_be(unique_name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file.wipc", unique_name, [0], 1)
    with winipc.SharedMapping.create(unique_name, 4):
        with pytest.raises(FileExistsError) as caught:
            Cassette.play(path)
        assert "another player" in caught.value.__notes__[0]
        with (
            Cassette.play(path, names={unique_name: unique_name + "2"}),
            winipc.SharedMapping.open(unique_name + "2") as mapping,
        ):
            assert mapping[0] == 1
    for odd in (0, -1):
        with pytest.raises(ValueError, match="speed"):
            Cassette.play(path, speed=odd)
    with pytest.raises(ValueError, match="match"):
        Cassette.play(path, match="sometimes")
    path.write_bytes(path.read_bytes()[:-30])
    assert not Cassette(path).complete
    with Cassette.play(path, speed=None) as player:
        assert player.finished
    with pytest.raises(ValueError, match="closed"):
        player.step()
    player.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4 if FULL else 1))
def test_rounds_of_play_leave_nothing(
    unique_name: str, tmp_path: Path, part: int
) -> None:
    """Handles, threads, windows and private memory, before and after."""
    from winipc.testing import LeakCheck

    def private() -> int:
        with winipc.RemoteProcess.open(os.getpid()) as process:
            return sum(
                one.size
                for one in process.regions()
                if one.state == MemoryState.COMMIT and one.type == MemoryType.PRIVATE
            )

    path = tmp_path / "file.wipc"
    tracks = [
        Track("mapping", unique_name, size=4),
        Track("event", f"{unique_name}-e", manual=True),
        Track("mutex", f"{unique_name}-m"),
        Track("semaphore", f"{unique_name}-s", maximum=2),
        Track("window", f"{unique_name}-w"),
    ]
    with Writer(path, tracks) as writer:
        writer.add(ChangeEvent(0, 0, ((0, b"x"),)), stamp=False)
        for index in (1, 2, 3):
            writer.add(StateEvent(0, index, 1), stamp=False)
    cassette = Cassette(path)
    for _ in range(10):
        Cassette.play(cassette).close()
    check = LeakCheck()
    # To look takes memory, too.
    handles, most = handle_count(), (4 if FULL else 2) << 20
    for _ in range(3):  # a heap may grow once; what leaks grows each time
        before = max(private() for _ in range(5))
        for _ in range(2500 if FULL else 150):
            Cassette.play(cassette, speed=None).close()
        if (grown := private() - before) < most:
            break
    assert grown < most
    assert check.leaks() == []
    assert handle_count() <= handles + 2


FORGETS = """
import sys, winipc
from winipc import Cassette, SharedMapping
path, name, what = sys.argv[1:]
if what == "record":
    with SharedMapping.create(name, 4) as mapping:
        Cassette.record(path, mappings=[name])
        mapping.write(b"last")
else:
    Cassette.play(path)
print("end")
"""


def test_what_nobody_closed_ends_with_python(unique_name: str, tmp_path: Path) -> None:
    """A recording is whole then: its thread looks a last time."""
    path = tmp_path / "x.wipc"
    for what in ("record", "play"):
        program = [sys.executable, "-W", "default", "-c", FORGETS]
        done = subprocess.run(
            [*program, str(path), unique_name, what],
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        assert (done.returncode, done.stdout) == (0, "end\n")
        assert re.search(r"ResourceWarning: unclosed <\w+ of '.*x\.wipc'", done.stderr)
    assert [frame for _, frame in Cassette(path).frames()][-1][:4] == b"last"

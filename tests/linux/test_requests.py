"""What each operation asks of wineserver: counts, the same on every machine."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

#: The most that winipc asks beyond raw C.
MORE = {
    "create a mapping of 4 KiB": 0,
    "open it": 0,
    "close it": 0,
    "create an Event": 0,
    "Event.set": 0,
    "Event.wait": 0,
    "create a Mutex": 0,
    "Mutex.acquire": 0,
    "Mutex.release": 0,
    "RemoteProcess.open": 0,
    # Wine reads and writes protected pages, so that after a pause it is asked about
    # them first; and once whether it is another process.
    "RemoteProcess.read 8 B": 2,
    "RemoteProcess.read 1 MiB": 1,
    "RemoteProcess.write 8 B": 1,
    "RemoteProcess.write 1 MiB": 1,
    "close a RemoteProcess": 0,
    "find_window": 0,
    "send_copydata 64 B": 0,
    "post_message": 0,
    "Receiver takes a WM_COPYDATA": 0,
    "Sender.send by copydata": 0,
    "Sender.send by mapping": 0,
    "Sender.send by section": 0,
    "Sender.send by process": 0,
}

#: What is done in memory.
NOTHING = {
    "write and read it",
    "Channel.send and recv",
    "SharedLock.acquire and release",
    "CopyDataWindow.receive, asleep before",
}

#: For one more of many objects: open and close; and its name (2), and one comparison.
EACH = {
    "named_objects, {} of them": 2,
    "holders_of {} objects": 5,
    "winipc ls --holders, {} of them": 5,
}


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, int]]:
    import count_requests as requests

    return requests.counts(requests.parse(requests.trace()))


def test_nothing_more_is_asked_than_is_known(
    counted: dict[str, dict[str, int]],
) -> None:
    """Each of these requests is a call that the raw way in C does not make."""
    few = {text.format(10) for text in EACH} | {text.format(20) for text in EACH}
    assert set(counted) == MORE.keys() | NOTHING | few
    more = {
        step: by_whom["winipc"] - by_whom["raw C"]
        for step, by_whom in counted.items()
        if step in MORE
    }
    assert {step: have for step, have in more.items() if have > MORE[step]} == {}


def test_the_page_has_these_counts(counted: dict[str, dict[str, int]]) -> None:
    """docs/performance.md, whose table ./dev bench --write-docs writes."""
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    _, _, rest = text.partition("<!-- bench: requests -->\n\n")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    # What raw C asks is up to the version of Wine.
    assert {step: int(ours) - int(raw or 0) for step, raw, ours in rows} == {
        step: counted[step]["winipc"] - counted[step].get("raw C", 0)
        for step in MORE.keys() | NOTHING
    }


def test_memory_is_shared_without_a_call(counted: dict[str, dict[str, int]]) -> None:
    """While both ends are awake, or one thread wakes another of its process."""
    assert {step: counted[step]["winipc"] for step in NOTHING} == dict.fromkeys(
        NOTHING, 0
    )


@pytest.mark.parametrize("text", EACH)
def test_the_catalogue_grows_with_the_objects(
    counted: dict[str, dict[str, int]], text: str
) -> None:
    """Twice as many objects are not looked for in twice as many handles each."""
    few, many = (counted[text.format(count)]["winipc"] for count in (10, 20))
    assert many - few <= 10 * EACH[text]

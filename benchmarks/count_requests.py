#!/usr/bin/python3
"""Count the requests to wineserver of each operation, and of the same in raw C.

    python3 benchmarks/count_requests.py [--json]

Run it on Linux, where ./dev works. Under Wine, a kernel call is a request to
wineserver. So the counts tell the cost of an operation on any machine: each request
stands for a system call on Windows, though not always for the same one. The operations
are in cases_requests.py. Each runs several times, and the smallest count is shown, as a
wait on a busy machine can take several requests. All requests of a sender until its
answer comes count as one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "devkit"))

import bench  # noqa: E402 - of ./dev
import wine  # noqa: E402
from ready import ready  # noqa: E402
from run_python import python_command, python_environ  # noqa: E402
from winpython import extra_packages, selected  # noqa: E402

RAW, OURS = "raw C", "winipc"

_REQUEST = re.compile(r"^([0-9a-f]{4}): ([a-z]\w*)\((?!\) = )(.*)")
_MARK = re.compile(r'name=L"winipc\|([0-9a-f]{4})\|(.*?)\|"')

#: Requests of a sender until its answer comes: their number depends on scheduling.
_WAITS = ("set_queue_mask", "select", "get_message_reply")
WAIT = "wait for the answer"
#: After this request, the further requests of a receiver do not count.
_LAST = "reply_message"

#: For each operation and way, the requests of each turn.
Turns = dict[tuple[str, str], list[list[str]]]


def trace() -> str:
    """The trace of wineserver while cases_requests.py runs."""
    version = selected()
    ready([version])
    binaries = wine.windows_path(bench.binaries())
    script = wine.windows_path(ROOT / "benchmarks" / "cases_requests.py")
    command = [*python_command(version), script, binaries]
    with wine.private_prefix() as prefix, tempfile.TemporaryFile("w+") as log:
        env = python_environ(prefix, version, extra_packages("bench", version))
        del env["PYTHONSAFEPATH"]  # the script finds its neighbours
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        # wineserver goes to the background once it listens.
        subprocess.run([wine.server(), "--debug=1"], env=env, stderr=log, check=True)
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        wine.stop(prefix)
        if done.returncode:
            raise SystemExit(done.stdout)
        log.seek(0)
        return log.read()


def parse(text: str) -> Turns:
    """The requests between two marks, of the thread that the first mark names."""
    turns: Turns = {}
    thread, requests = "", []
    for line in text.splitlines():
        found = _REQUEST.match(line)
        if found is None:
            continue
        mark = _MARK.search(found[3])
        if mark is not None:
            thread, who, _, step = mark[1], *mark[2].partition("|")
            requests = []
            if step:
                turns.setdefault((step, who), []).append(requests)
        elif found[1] == thread and _LAST not in requests:
            sent = requests[-1:] in (["send_message"], [WAIT])
            if not sent or found[2] not in _WAITS:
                requests.append(found[2])
            elif requests[-1] != WAIT:
                requests.append(WAIT)
    return turns


def counts(turns: Turns) -> dict[str, dict[str, int]]:
    """The number of requests of each operation in each way."""
    found: dict[str, dict[str, int]] = {}
    for (step, who), each in turns.items():
        found.setdefault(step, {})[who] = min(map(len, each))
    return found


def table(turns: Turns) -> str:
    lines = [
        "| operation | raw C | winipc | winipc asks |",
        "| --- | --: | --: | --- |",
    ]
    for step, by_whom in counts(turns).items():
        theirs, ours = by_whom.get(RAW, ""), by_whom[OURS]
        sample = next(each for each in turns[step, OURS] if len(each) == ours)
        names = ", ".join(
            f"`{name}`" if times == 1 else f"{times} `{name}`"
            for name, times in Counter(sample).items()
        )
        lines.append(f"| {step} | {theirs} | {ours} | {names} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the counts as JSON")
    options = parser.parse_args()
    turns = parse(trace())
    print(json.dumps(counts(turns), indent=1) if options.json else table(turns))
    return 0


if __name__ == "__main__":
    sys.exit(main())

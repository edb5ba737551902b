#!/usr/bin/python3
"""Count what each operation asks of wineserver, beside the same in raw C.

    python3 benchmarks/count_requests.py [--json]

On Linux, where ./dev works. Under Wine a kernel call is a request to wineserver, so
these counts say what an operation costs apart from any machine's speed: each request
stands for a system call on Windows, if not always for the same one. The operations
are in cases_requests.py; each is done several times, and the fewest are shown, as a
wait on a busy machine can take several. All that a sender asks until it has its
answer counts as one.
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

#: What a sender asks until the answer is there: how often depends on who runs when.
_WAITS = ("set_queue_mask", "select", "get_message_reply")
WAIT = "wait for the answer"
#: What a receiver asks once it has answered has no end.
_LAST = "reply_message"

#: Of an operation in a way: the requests of each turn.
Turns = dict[tuple[str, str], list[list[str]]]


def trace() -> str:
    """What wineserver was asked while cases_requests.py ran."""
    version = selected()
    ready([version])
    binaries = wine.windows_path(bench.binaries())
    script = wine.windows_path(ROOT / "benchmarks" / "cases_requests.py")
    command = [*python_command(version), script, binaries]
    with wine.private_prefix() as prefix, tempfile.TemporaryFile("w+") as log:
        env = python_environ(prefix, version, extra_packages("bench", version))
        del env["PYTHONSAFEPATH"]  # the script finds its neighbours
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        # It goes on by itself once it listens.
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
    """The requests between one mark and the next, of the thread that it names."""
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
    """Requests of each operation, by who did it."""
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

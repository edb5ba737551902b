"""Jobs: processes that end together, whoever started them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import DEADLINE, keeps_handles

from winipc import RemoteProcess, _core

CREATE_SUSPENDED = 0x4

#: Says the number of a process that outlives it, and waits.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def suspended(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        creationflags=CREATE_SUSPENDED,
    )


@pytest.fixture
def job() -> Iterator[_core.Job]:
    job = _core.Job._create()
    yield job
    job.close()


@pytest.mark.parametrize("how", ["terminate", "close"])
def test_a_job_ends_with_what_its_processes_started(job: _core.Job, how: str) -> None:
    """The process runs from its first instruction on within the job."""
    with suspended(PARENT) as parent:
        assert job.active == 0
        job.start(parent.pid)
        assert parent.stdout is not None
        with RemoteProcess.open(int(parent.stdout.readline())) as child:
            assert job.active == 2
            if how == "terminate":
                job.terminate(42)
                assert child.wait(DEADLINE) == parent.wait(DEADLINE) == 42
                assert job.active == 0
            else:
                job.close()
                child.wait(DEADLINE)
                parent.wait(DEADLINE)


def test_a_job_that_is_forgotten_warns_and_ends(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """No handle is left, so nothing runs on."""

    def once() -> None:
        job = _core.Job._create()
        with suspended("import time; time.sleep(600)") as process:
            job.start(process.pid)
            with pytest.warns(ResourceWarning, match="unclosed <winipc._core.Job"):
                del job
            process.wait(DEADLINE)

    assert not keeps_handles(once)


def test_a_closed_job_says_so(job: _core.Job) -> None:
    job.close()
    job.close()
    assert job.closed
    for call in (lambda: job.start(1), lambda: job.terminate(1), lambda: job.active):
        with pytest.raises(ValueError, match="Job is closed"):
            call()


def test_what_cannot_be_taken_in_is_an_error(job: _core.Job) -> None:
    with suspended("pass") as process:
        job.start(process.pid)
        process.wait(DEADLINE)
        with pytest.raises(OSError, match=f"pid {process.pid}"):
            job.start(process.pid)
    with pytest.raises(ProcessLookupError):
        job.start(0xFFFFFFF0)
    with pytest.raises(OverflowError):
        job.start(-1)
    with pytest.raises(OverflowError):
        job.terminate(1 << 32)
    with pytest.raises(TypeError, match="no plain constructor"):
        _core.Job()

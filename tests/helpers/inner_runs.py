"""Inner runs of pytest, in this process; they find the plugin by its entry point.

Only this one: to look for all takes more than half of a run's time.
"""

from __future__ import annotations

import gc
import warnings

import pytest

import winipc

HEADER = """\
import ctypes, gc, os, re, subprocess, sys, threading
import pytest
import winipc
"""


@pytest.fixture
def inner(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Inner runs as strict as this one, which count nothing that others left.

    They print the same on a machine of a CI, where pytest shortens no line.
    At its end, pytester forgets all modules that came since its beginning. The package
    would keep their classes, so all its names come before.
    """
    for name in winipc.__all__:
        getattr(winipc, name)
    for variable in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(variable, raising=False)
    pytester: pytest.Pytester = request.getfixturevalue("pytester")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    pytester.makeini(
        """
        [pytest]
        addopts = --strict-markers --strict-config -p no:cacheprovider
            --disable-plugin-autoload -p winipc
        filterwarnings = error
        """
    )
    return pytester


def run(
    inner: pytest.Pytester, code: str, *args: str, **outcomes: int
) -> pytest.RunResult:
    """Run this test file; what came of it has to be `outcomes`."""
    inner.makepyfile(HEADER + code)
    result = inner.runpytest_inprocess(*args)
    result.assert_outcomes(**outcomes)
    return result

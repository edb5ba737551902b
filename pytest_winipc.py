"""The pytest plugin of winipc: fixtures for testing Win32 programs.

pytest loads the plugin wherever winipc is installed, also without Windows. So it is
beside the package, and its import is quick. `winipc.testing` does the work; the first
fixture that a test uses imports it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from winipc import Layout, SharedMapping
    from winipc.cassette.player import Player
    from winipc.cassette.recorder import Recorder
    from winipc.pe import Initial
    from winipc.testing import ExpectingWindow, LeakCheck, Peer

__all__ = [
    "winipc_cassette",
    "winipc_cassette_config",
    "winipc_mapping",
    "winipc_name",
    "winipc_no_leaks",
    "winipc_peer",
    "winipc_peer_factory",
    "winipc_section_dll",
    "winipc_window",
    "winipc_window_factory",
]

_NO_LEAKS = "winipc_no_leaks"
_CASSETTE = "winipc_cassette"
_RECORD = "winipc_record"
_RECORD_MODES = ("none", "once", "new", "all")
_PEERS: pytest.StashKey[list[Peer]] = pytest.StashKey()  # in a test, or the session
_CHECK: pytest.StashKey[LeakCheck] = pytest.StashKey()
_FAILED: pytest.StashKey[bool] = pytest.StashKey()
_PASSED: pytest.StashKey[bool] = pytest.StashKey()
_PLAYER: pytest.StashKey[Player] = pytest.StashKey()

MakeWindow: TypeAlias = "Callable[..., ExpectingWindow]"
MakeMapping: TypeAlias = "Callable[..., SharedMapping]"
MakeDLL: TypeAlias = "Callable[..., Path]"
StartPeer: TypeAlias = "Callable[..., Peer]"


# -------------------------------------------------------------------- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _NO_LEAKS,
        "fail every test that leaves handles, windows, threads or mappings behind",
        type="bool",
        default=False,
    )
    parser.addini(
        _RECORD, "the record mode, without --winipc-record (none)", default="none"
    )
    parser.getgroup("winipc").addoption(
        "--winipc-record",
        choices=_RECORD_MODES,
        help="whether to record or play cassettes: none plays; once plays, but records "
        "a missing cassette; new plays, but adds messages that a cassette lacks; all "
        "records",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_NO_LEAKS}(check=True): fail the test if it leaves handles, windows, "
        "threads or mappings of this process behind; False exempts it",
    )
    config.addinivalue_line(
        "markers",
        f"{_CASSETTE}(name=None, **options): play the cassette of this name, or record "
        "it; options are those of winipc.Cassette.record and play",
    )
    if (mode := config.getini(_RECORD)) not in _RECORD_MODES:
        known = ", ".join(_RECORD_MODES)
        raise pytest.UsageError(f"{_RECORD} is {mode!r}, which is none of {known}")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Add the fixture to a test with the marker, after the fixtures that it names."""
    names = getattr(item, "fixturenames", None)
    marked = item.get_closest_marker(_CASSETTE) is not None
    if marked and names is not None and _CASSETTE not in names:
        names.append(_CASSETTE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    shared = [p for p in item.session.stash.get(_PEERS, []) if not p.reaped]
    for peer in shared:
        peer.forget_output()
    item.session.stash[_PEERS] = shared
    item.stash[_FAILED] = item.stash[_PASSED] = False
    with contextlib.suppress(KeyError):
        del item.stash[_CHECK]


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> None:
    """Begin the check before the first fixture of the test itself."""
    if fixturedef.scope == "function":
        _begin_check(request.node)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    _begin_check(item)


@pytest.hookimpl(trylast=True, specname="pytest_runtest_call")
def pytest_winipc_check_cassette(item: pytest.Item) -> None:
    """Fail a test that has passed so far if unexpected messages came."""
    if (player := item.stash.get(_PLAYER, None)) is None:
        return
    del item.stash[_PLAYER]
    try:
        player.check()
    except AssertionError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Check for leaks, after every fixture of the test has cleaned up."""
    check = item.stash.get(_CHECK, None)
    # The traceback of a failed test keeps its variables alive.
    if check is None or item.stash.get(_FAILED, False):
        return
    # pytest keeps the values of fixtures a little longer, such as a process object with
    # its handle.
    getattr(item, "funcargs", {}).clear()
    item.stash[_PEERS] = []
    left = check.leaks()
    if left:
        pytest.fail("the test left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add what the peers printed, before the report is made."""
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None
    if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
        return
    item.stash[_FAILED] = True
    player = item.stash.get(_PLAYER, None)
    if player is not None and player.unexpected:
        title = f"by cassette {player.cassette.path}"
        item.add_report_section(call.when, title, "\n".join(player.unexpected))
    for peer in item.stash.get(_PEERS, []):
        _report(item, call, peer)
    item.stash[_PEERS] = []
    for peer in item.session.stash.get(_PEERS, []):
        if peer.stdout or peer.stderr or peer.process.poll() is not None:
            _report(item, call, peer)
            peer.forget_output()


def _report(item: pytest.Item, call: pytest.CallInfo[None], peer: Peer) -> None:
    """Add what a peer printed, unless the error has it already."""
    report = peer.report()
    if call.excinfo is not None and report not in str(call.excinfo.value):
        item.add_report_section(call.when, f"by {peer}", report)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each cassette that was recorded, or not played as a whole."""
    lines = [
        text
        for report in itertools.chain(*terminalreporter.stats.values())
        if getattr(report, "when", None) == "teardown"
        for name, text in report.user_properties
        if name == _CASSETTE
    ]
    if lines:
        terminalreporter.section("winipc cassettes")
        for line in lines:
            terminalreporter.write_line(line)


def _begin_check(item: Any) -> None:
    if not isinstance(item, pytest.Item) or _CHECK in item.stash:
        return
    marker = item.get_closest_marker(_NO_LEAKS)
    if marker is not None:
        wanted = bool(marker.args[0] if marker.args else True)
    else:
        asked = _NO_LEAKS in getattr(item, "fixturenames", ())
        wanted = asked or bool(item.config.getini(_NO_LEAKS))
    if wanted:
        from winipc.testing import LeakCheck

        item.stash[_CHECK] = LeakCheck()


# ----------------------------------------------------------------- fixtures


@pytest.fixture
def winipc_name() -> str:
    """A name that no other test, run or program uses."""
    return f"winipc-test-{uuid.uuid4().hex}"


def _start_peers(node: pytest.Item | pytest.Session) -> Iterator[StartPeer]:
    """Yield a function that starts peers, which end with the test or the session."""
    from winipc.testing import Peer

    node.stash[_PEERS] = []
    with contextlib.ExitStack() as peers:

        def start(*argv: object, **options: Any) -> Peer:
            __tracebackhide__ = True
            peer = Peer([str(argument) for argument in argv], **options)
            node.stash[_PEERS].append(peer)
            return peers.enter_context(peer)

        yield start


@pytest.fixture
def winipc_peer(request: pytest.FixtureRequest) -> Iterator[StartPeer]:
    """Start a program: `winipc_peer("program.exe", "argument", ..., ready="ready")`.

    ::

        import sys

        def test_it_answers(winipc_peer):
            server = winipc_peer(sys.executable, "server.py", ready="listening")
            server.say("hello")
            server.expect("hello yourself")

    It takes the keywords of `winipc.testing.Peer`, and returns one. The peer and the
    processes that it started end with the test. The report of a failed test has what
    the peer printed.
    """
    yield from _start_peers(request.node)


@pytest.fixture(scope="session")
def winipc_peer_factory(request: pytest.FixtureRequest) -> Iterator[StartPeer]:
    """`winipc_peer` for fixtures of a class, a module or the session.

    A peer ends with the session, or sooner: `with winipc_peer_factory(...) as peer:
    yield peer`. Each test begins without the output of earlier tests.
    """
    yield from _start_peers(request.session)


@pytest.fixture(scope="session")
def winipc_cassette_config() -> dict[str, Any]:
    """Options of cassettes; override the fixture in a conftest.py to return some.

    The marker `winipc_cassette` has the same options, and overrides these.
    """
    return {}


@pytest.fixture
def winipc_cassette(
    request: pytest.FixtureRequest, winipc_cassette_config: Mapping[str, Any]
) -> Iterator[Player | Recorder]:
    """A recorded program's double: the player of a cassette, or its recorder.

    `--winipc-record`, or the ini option `winipc_record`, decides which. The marker of
    the same name takes the name of the file, in a folder `cassettes` beside the test,
    and the options of `winipc.Cassette.record` and `play`.
    """
    node, config = request.node, request.config
    markers = list(node.iter_markers(_CASSETTE))  # the closest comes first
    options = dict(winipc_cassette_config)
    for marker in reversed(markers):
        options.update(marker.kwargs)
    path = _cassette_path(node, [name for marker in markers for name in marker.args])
    near = path.is_relative_to(config.rootpath)
    shown = path.relative_to(config.rootpath) if near else path
    mode = config.getoption(_RECORD) or config.getini(_RECORD)
    from winipc.testing.cassettes import open_cassette, summary

    with contextlib.ExitStack() as stack:
        try:
            cassette = stack.enter_context(
                open_cassette(path, mode, keep=lambda: node.stash[_PASSED], **options)
            )
        except (OSError, TypeError, ValueError) as error:
            if mode == "once" and isinstance(error, FileExistsError):
                how = "use --winipc-record=new, or run only the new test"
                error.add_note(f"hint: to add a test while the program runs, {how}")
            why = "\n".join([f"{type(error).__name__}: {error}", *_notes(error)])
            text = f"cassette {shown}: {why}"
            if mode == "none" and isinstance(error, OSError) and not path.exists():
                how = "record it with --winipc-record=once, while the program runs"
                text = f"no cassette {shown}: {how}"
            raise pytest.fail.Exception(text, pytrace=False) from None
        if hasattr(cassette, "check"):
            node.stash[_PLAYER] = cassette
        yield cassette
    if text := summary(cassette, kept=node.stash[_PASSED]):
        node.user_properties.append((_CASSETTE, f"{shown}: {text}"))


def _cassette_path(node: pytest.Item, names: list[str]) -> Path:
    """The file in the folder `cassettes` beside the test; by default, with its name."""
    folder = node.path.parent / "cassettes"
    if names:
        return folder / names[0]
    test = ".".join(node.nodeid.split("::")[1:])
    return folder / node.path.stem / (re.sub(r"[^\w.\[\]-]", "_", test) + ".wipc")


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


@pytest.fixture
def winipc_window_factory(winipc_name: str) -> Iterator[MakeWindow]:
    """Open windows with `expect`: `winipc_window_factory("title", messages=[...])`.

    It takes the arguments of `winipc.CopyDataWindow.create`; without a title, a window
    gets a unique one. The end of the test closes the windows.
    """
    from winipc.testing import ExpectingWindow

    numbers = itertools.count(1)
    with contextlib.ExitStack() as windows:

        def make(title: str | None = None, **options: Any) -> ExpectingWindow:
            __tracebackhide__ = True
            if title is None:
                title = f"{winipc_name}-window-{next(numbers)}"
            return windows.enter_context(ExpectingWindow.create(title, **options))

        yield make


@pytest.fixture
def winipc_window(winipc_window_factory: MakeWindow) -> ExpectingWindow:
    """A window with a unique title and `expect(id=..., data=...)`."""
    return winipc_window_factory()


@pytest.fixture
def winipc_mapping(
    request: pytest.FixtureRequest, winipc_name: str
) -> Iterator[MakeMapping]:
    """Make a mapping with content: `winipc_mapping(b"...")`.

    The content is bytes or another buffer (a ctypes structure), or a `winipc.Layout`
    and a dict of its fields. Keywords are `name` (default: a unique one), `size`, and
    those of `winipc.SharedMapping.create`. The end of the test closes the mappings.
    """
    import winipc

    made: list[SharedMapping] = []

    def make(
        content: Buffer | Layout,
        fields: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        size: int | None = None,
        **options: Any,
    ) -> SharedMapping:
        __tracebackhide__ = True
        if isinstance(content, winipc.Layout):
            try:
                content = content.pack(fields)
            except Exception as error:
                # pytest shows the test's line
                raise error.with_traceback(None) from None
        elif fields is not None:
            raise TypeError("fields need a winipc.Layout to lie in")
        elif isinstance(content, int):
            raise TypeError("content is bytes or a Layout; its length is size=")
        length = memoryview(content).nbytes
        if size is not None and size < length:
            raise ValueError(f"{length} bytes of content in a mapping of {size}")
        name = name or f"{winipc_name}-mapping-{len(made) + 1}"
        room = max(length, 1) if size is None else size
        mapping = winipc.SharedMapping.create(name, room, **options)
        made.append(mapping)
        if length:
            mapping.write(content)
        return mapping

    yield make
    for mapping in reversed(made):
        try:
            mapping.close()
        except BufferError:
            # The traceback of a failed test keeps its arrays alive.
            if not request.node.stash.get(_FAILED, False):
                raise


@pytest.fixture
def winipc_section_dll(tmp_path: Path) -> MakeDLL:
    """Write a DLL with shared variables: `winipc_section_dll({"counter": 8})`.

    It returns the path of a new file in each call: processes that load the same file
    share the variables. It takes the arguments of `winipc.pe.build_section_dll`.
    """
    from winipc.pe import build_section_dll

    numbers = itertools.count(1)

    def build(
        variables: Mapping[str, Initial], *, name: str | None = None, **options: Any
    ) -> Path:
        __tracebackhide__ = True
        path = tmp_path / (name or f"section{next(numbers)}-{os.getpid()}.dll")
        build_section_dll(path, variables, **options)
        return path

    return build


def _renamed(old: str, new: str) -> Any:
    """The fixture under its former name."""

    def fixture(request: pytest.FixtureRequest) -> Any:
        warnings.warn(f"the fixture {old} is called {new}", DeprecationWarning, 2)
        return request.getfixturevalue(new)

    fixture.__doc__ = f"Deprecated: `{new}`."  # pytest --fixtures shows it
    return pytest.fixture(name=old)(fixture)


_window = _renamed("copydata_window", "winipc_window")
_make_window = _renamed("make_copydata_window", "winipc_window_factory")
_dll = _renamed("section_dll", "winipc_section_dll")


@pytest.fixture
def winipc_no_leaks() -> None:
    """Fail the test if it leaves something of this process behind.

    The marker does the same, and so does the ini option for all tests. The check comes
    after all other fixtures of the test have cleaned up.
    """

"""`winipc.bridge`, seen from Windows; tests/linux/test_bridge.py has the other side."""

from __future__ import annotations

import errno
import sys

import pytest

import winipc
from winipc import _core


def test_windows_itself_has_no_bridge(
    monkeypatch: pytest.MonkeyPatch, unique_name: str
) -> None:
    monkeypatch.setattr(_core, "_wine_version", lambda: None)
    with pytest.raises(OSError, match="needs Wine") as caught:
        winipc.bridge(unique_name)
    assert caught.value.errno == errno.ENOTSUP


@pytest.mark.skipif(_core._wine_version() is None, reason="needs Wine")
@pytest.mark.parametrize("file", ["", ".", "..", "a/b", "a\\b", "a:b"])
def test_files_outside_are_refused(unique_name: str, file: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        winipc.bridge(unique_name, file=file)


@pytest.mark.skipif(_core._wine_version() is None, reason="needs Wine")
def test_close_is_refused_while_used_and_then_final(unique_name: str) -> None:
    bridge = winipc.bridge(unique_name, 100)
    with memoryview(bridge.mapping), pytest.raises(BufferError):
        bridge.close()
    assert (bridge.size, bridge.closed) == (100, False)
    bridge.close()
    bridge.close()
    assert bridge.closed
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open(unique_name)
    winipc.bridge(unique_name).close()  # the file is gone as well


@pytest.mark.skipif(_core._wine_version() is None, reason="needs Wine")
def test_leaving_with_leaves_the_memory_to_an_array(unique_name: str) -> None:
    """The file goes at once, and the mapping with the last view of it."""
    with winipc.bridge(unique_name, 100) as bridge:
        kept = memoryview(bridge.mapping)
    assert bridge.closed
    kept[99] = 1
    kept.release()
    winipc.bridge(unique_name, 100).close()
    with pytest.raises(KeyError), winipc.bridge(unique_name) as bridge:
        raise KeyError(memoryview(bridge.mapping))


@pytest.mark.skipif(_core._wine_version() is None, reason="needs Wine")
def test_a_known_game_gets_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a size: what the game maps, with or without Local; 4096 for others."""
    row = winipc.GameMapping("game", "Local\\winipc-test-game", 5000, "all")
    module = sys.modules["winipc._bridge"]
    monkeypatch.setattr(module, "game_mappings", lambda: [row])
    for name in ("winipc-test-game", "Local\\winipc-test-game"):
        with winipc.bridge(name) as bridge:
            assert bridge.size == 5000
        with winipc.bridge(name, 10) as bridge:
            assert bridge.size == 10
    with winipc.bridge("winipc-test-other") as bridge:
        assert bridge.size == 4096


def test_le_mans_ultimate_is_known() -> None:
    """Its own interface has one structure of 324,820 bytes."""
    sizes = {row.name: row.size for row in winipc.game_mappings()}
    assert sizes["LMU_Data"] >= 324_820


def test_games_have_names_and_sizes() -> None:
    rows = winipc.game_mappings()
    assert len({row.name for row in rows}) == len(rows) >= 5
    assert all(row.size > 0 and row.game and row.content for row in rows)

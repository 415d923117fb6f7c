from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import ResultCache
from linkcodec.exceptions import InputError


def test_nothing_known(tmp_path: Path) -> None:
    assert ResultCache(tmp_path / "none", "x").get("clip", "key") == {}


def test_scores_survive(tmp_path: Path) -> None:
    ResultCache(tmp_path, "x").add("clip", "key", {"stoi": 0.5, "pesq_wb": None})
    again = ResultCache(tmp_path, "x")
    assert again.get("clip", "key") == {"stoi": 0.5, "pesq_wb": None}


def test_another_key_is_stale(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "x")
    cache.add("clip", "weights 1", {"stoi": 0.5})
    assert cache.get("clip", "weights 2") == {}
    cache.add("clip", "weights 2", {"stoi": 0.6})
    again = ResultCache(tmp_path, "x")
    assert again.get("clip", "weights 1") == {"stoi": 0.5}
    assert again.get("clip", "weights 2") == {"stoi": 0.6}


def test_measures_add_up(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "x")
    cache.add("clip", "key", {"stoi": 0.5})
    cache.add("clip", "key", {"estoi": 0.4})
    assert cache.get("clip", "key") == {"stoi": 0.5, "estoi": 0.4}
    assert ResultCache(tmp_path, "x").get("clip", "key") == {"stoi": 0.5, "estoi": 0.4}


def test_systems_are_apart(tmp_path: Path) -> None:
    ResultCache(tmp_path, "x").add("clip", "key", {"stoi": 0.5})
    assert ResultCache(tmp_path, "y").get("clip", "key") == {}


def test_what_get_gives_is_a_copy(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "x")
    cache.add("clip", "key", {"stoi": 0.5})
    cache.get("clip", "key")["stoi"] = 0.9
    assert cache.get("clip", "key") == {"stoi": 0.5}


@pytest.mark.parametrize("kept", range(1, 20, 3))
def test_goes_on_after_an_interruption(tmp_path: Path, kept: int) -> None:
    cache = ResultCache(tmp_path, "x")
    cache.add("one", "key", {"stoi": 0.5})
    whole = cache.path.read_bytes()
    cache.add("two", "key", {"stoi": 0.6})
    cache.path.write_bytes(cache.path.read_bytes()[: len(whole) + kept])
    resumed = ResultCache(tmp_path, "x")
    assert resumed.get("one", "key") == {"stoi": 0.5}
    assert resumed.get("two", "key") == {}
    resumed.add("two", "key", {"stoi": 0.7})
    again = ResultCache(tmp_path, "x")
    assert again.get("one", "key") == {"stoi": 0.5}
    assert again.get("two", "key") == {"stoi": 0.7}


def test_last_line_without_its_newline(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, "x")
    cache.add("one", "key", {"stoi": 0.5})
    cache.path.write_bytes(cache.path.read_bytes().rstrip(b"\n"))
    resumed = ResultCache(tmp_path, "x")
    resumed.add("two", "key", {"stoi": 0.6})
    again = ResultCache(tmp_path, "x")
    assert again.get("one", "key") == {"stoi": 0.5}
    assert again.get("two", "key") == {"stoi": 0.6}


@pytest.mark.parametrize("line", ["{", "[]", '{"clip": "a"}', '{"clip":"a","key":"k","scores":3}'])
def test_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.jsonl:1: damaged"):
        ResultCache(tmp_path, "x")

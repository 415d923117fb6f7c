"""Weights from a model hub, which is a local server here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from localserver import LocalServer, local_server
from qwencheckpoints import write_qwen

from linkcodec.exceptions import CodecError
from linkcodec.mimi.checkpoint import open_checkpoint
from linkcodec.mimi.hub import CONFIG, WEIGHTS, find_cached

_FOLDER = "/some/model/resolve/main"
_WEIGHTS = f"{_FOLDER}/{WEIGHTS}"
_CONFIG = f"{_FOLDER}/{CONFIG}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = write_qwen(tmp_path_factory.mktemp("weights") / "qwen")
    return {f"{_FOLDER}/{name}": (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}


@pytest.fixture
def hub(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalServer]:
    with local_server(files) as server:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # The client waits between its tries.
        monkeypatch.setattr(time, "sleep", lambda _: None)
        yield server
        huggingface_hub.close_session()


def part(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").glob("models--some--model/blobs/*.part")
    return found


def test_a_hub_id_is_downloaded_once(hub: LocalServer, tmp_path: Path) -> None:
    checkpoint = open_checkpoint("some/model")
    assert checkpoint.folder.is_relative_to(tmp_path / "cache")
    assert checkpoint.config["model_type"] == "qwen3_tts_tokenizer_12hz"
    assert (checkpoint.folder / WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    assert open_checkpoint("some/model").folder == find_cached("some/model")
    assert hub.asked == [(_CONFIG, 0), (_WEIGHTS, 0)]


def test_a_break_is_overcome(hub: LocalServer) -> None:
    size = len(hub.files[_WEIGHTS])
    hub.breaks += [len(hub.files[_CONFIG]), 100_000, 30_000]
    folder = open_checkpoint("some/model").folder
    assert (folder / WEIGHTS).read_bytes() == hub.files[_WEIGHTS]
    assert hub.asked[1:] == [(_WEIGHTS, 0), (_WEIGHTS, 100_000), (_WEIGHTS, 130_000)]
    assert sum(hub.sent[1:]) == size


def test_another_process_goes_on_where_one_stopped(hub: LocalServer, tmp_path: Path) -> None:
    hub.breaks += [len(hub.files[_CONFIG]), 100_000, *[0] * 6]
    with pytest.raises(CodecError, match=r"download failed .*it resumes") as caught:
        open_checkpoint("some/model")
    assert "\n" not in str(caught.value)
    assert part(tmp_path).stat().st_size == 100_000
    assert find_cached("some/model") is None
    hub.asked.clear()
    hub.breaks.clear()
    folder = open_checkpoint("some/model").folder
    assert (_WEIGHTS, 100_000) in hub.asked
    assert (_WEIGHTS, 0) not in hub.asked
    assert (folder / WEIGHTS).read_bytes() == hub.files[_WEIGHTS]


def test_a_damaged_download_is_thrown_away(hub: LocalServer, tmp_path: Path) -> None:
    hub.breaks += [len(hub.files[_CONFIG]), 100_000, *[0] * 6]
    with pytest.raises(CodecError, match="download failed"):
        open_checkpoint("some/model")
    hub.breaks.clear()
    damaged = part(tmp_path)
    damaged.write_bytes(bytes(100_000))
    with pytest.raises(CodecError, match="wrong SHA-256"):
        open_checkpoint("some/model")
    assert find_cached("some/model") is None
    assert not damaged.exists()
    assert open_checkpoint("some/model").folder.is_dir()


@pytest.mark.parametrize("lost", [_CONFIG, _WEIGHTS])
def test_what_is_not_there_is_told_in_one_line(hub: LocalServer, lost: str) -> None:
    del hub.files[lost]
    with pytest.raises(CodecError, match=r"'some/model': the download failed \(") as caught:
        open_checkpoint("some/model")
    assert "\n" not in str(caught.value)


def test_a_hub_without_a_hash_is_not_trusted(
    hub: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserver.etag", lambda _: "abc")
    with pytest.raises(CodecError, match="no size and SHA-256"):
        open_checkpoint("some/model")


def test_two_downloads_at_a_time_do_not_mix(hub: LocalServer, tmp_path: Path) -> None:
    import fcntl

    hub.breaks += [len(hub.files[_CONFIG]), 100_000, *[0] * 6]
    with pytest.raises(CodecError, match="download failed"):
        open_checkpoint("some/model")
    with open(part(tmp_path), "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CodecError, match="another process"):
            open_checkpoint("some/model")

"""The model hub: checkpoints by their id, downloaded into its client's usual cache.

The client goes on after a break within one call, but begins again in a new process; so the
large file is fetched here with its functions into a part that stays, and handed to its cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from pathlib import Path
from typing import Any, BinaryIO, Final

from linkcodec.exceptions import CodecError

__all__ = ["CONFIG", "INSTALL", "WEIGHTS", "download", "find_cached"]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"

INSTALL: Final = "pip install 'linkcodec[qwen]'"
"""What brings the packages that checkpoints need."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def find_cached(hub_id: str) -> Path | None:
    """The folder of the hub's cache that holds both files, if it does; never downloads.

    Raises:
        CodecError: the package huggingface_hub is missing.
    """
    hub = _client()
    found = [hub.try_to_load_from_cache(hub_id, name) for name in (CONFIG, WEIGHTS)]
    if all(isinstance(path, str) and Path(path).is_file() for path in found):
        return Path(found[1]).parent
    return None


def download(hub_id: str) -> Path:
    """The folder of the hub's cache with both files, fetched if they are not there yet, with a
    progress bar; after a break, also one of the process, it goes on where it stopped.

    Raises:
        CodecError: huggingface_hub is missing, the download failed, or its SHA-256 is wrong.
    """
    cached = find_cached(hub_id)
    if cached is not None:
        return cached
    hub = _client()
    try:
        hub.hf_hub_download(hub_id, CONFIG)
        _fetch(hub_id)
        return Path(hub.hf_hub_download(hub_id, WEIGHTS)).parent
    except CodecError:
        raise
    # The hub's client raises errors of several HTTP libraries.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CodecError(
            f"weights '{hub_id}': the download failed ({type(error).__name__}: {reason}): try "
            "again (it resumes), or copy the files to a folder and name that"
        ) from error


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise CodecError(
            f"weights from the model hub need huggingface_hub: {INSTALL}, or name a folder"
        ) from None
    return huggingface_hub


def _fetch(hub_id: str) -> None:
    """The weights as a blob of the cache, which is named by its SHA-256."""
    from huggingface_hub import constants, file_download, hf_hub_url

    facts = file_download.get_hf_file_metadata(hf_hub_url(hub_id, WEIGHTS))
    if not facts.etag or not _SHA256.fullmatch(facts.etag) or not facts.size:
        raise CodecError(
            f"weights '{hub_id}': the hub states no size and SHA-256 of {WEIGHTS}: copy the "
            "files to a folder and name that"
        )
    name = file_download.repo_folder_name(repo_id=hub_id, repo_type="model")
    blob = Path(constants.HF_HUB_CACHE) / name / "blobs" / facts.etag
    if blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{facts.etag}.part")
    with open(part, "ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CodecError(
                f"weights '{hub_id}': another process is downloading them: wait for it"
            ) from None
        _go_on(hub_id, file, facts.size)
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() != facts.etag:
            part.unlink()
            raise CodecError(
                f"weights '{hub_id}': damaged in the download (wrong SHA-256): try again"
            )
        part.replace(blob)


def _go_on(hub_id: str, file: BinaryIO, size: int) -> None:
    """Fetch what is missing at the end of `file`."""
    from huggingface_hub import file_download, hf_hub_url

    if file.seek(0, 2) > size:
        file.truncate(0)
    file_download.http_get(
        hf_hub_url(hub_id, WEIGHTS),
        file,
        resume_size=file.seek(0, 2),
        headers=_client().utils.build_hf_headers(),
        expected_size=size,
        displayed_filename=WEIGHTS,
    )
    file.flush()

"""Checkpoints in the hub's layout: a folder with `config.json` and `model.safetensors`.

The folder is a local one, or the model hub's cache, into which a hub id is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from linkcodec.exceptions import CodecError
from linkcodec.mimi.tensors import Tensors

__all__ = ["CONFIG", "WEIGHTS", "Checkpoint", "find_cached", "open_checkpoint"]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
_FINGERPRINT_BYTES: Final = 4096
_INSTALL: Final = "pip install 'linkcodec[qwen]'"
_OTHER_KINDS: Final = {
    "qwen3_tts_tokenizer_25hz": "this is the 25 Hz tokenizer, another codec: "
    "use Qwen/Qwen3-TTS-Tokenizer-12Hz",
    "qwen3_tts": "this is the whole speech model: use Qwen/Qwen3-TTS-Tokenizer-12Hz",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A folder whose two files are there; `config` is what `config.json` holds."""

    folder: Path
    config: dict[str, Any]

    @property
    def source(self) -> str:
        """The weights file, for messages."""
        return str(self.folder / WEIGHTS)

    def check_kind(self, wanted: str) -> None:
        """Refuse the checkpoint of another codec.

        Raises:
            CodecError: `model_type` is not `wanted`.
        """
        kind = self.config.get("model_type")
        if kind != wanted:
            reason = _OTHER_KINDS.get(str(kind), f"model_type is {kind!r}, not {wanted!r}")
            raise CodecError(f"{self.folder / CONFIG}: {reason}")

    def tensors(self) -> Tensors:
        """All tensors; those in the type of the file stay in it, mapped by memory.

        Raises:
            CodecError: no safetensors file, or it is damaged.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError:
            raise CodecError(f"the package safetensors is missing: {_INSTALL}") from None
        try:
            values: Mapping[str, Tensor] = load_file(self.source)
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise CodecError(
                f"{self.source}: not a whole safetensors file ({error}): download it again"
            ) from None
        return Tensors(values, source=self.source)

    def fingerprint(self) -> str:
        """Names the weights on the wire and in token files: 8 hexadecimal digits.

        SHA-256 over the file's header and the first 4 KiB of every tensor, so that loading
        does not have to read the whole file.
        """
        digest = hashlib.sha256()
        with open(self.folder / WEIGHTS, "rb") as file:
            header = file.read(min(int.from_bytes(file.read(8), "little"), _MAX_HEADER_BYTES))
            digest.update(header)
            start = 8 + len(header)
            parsed: dict[str, Any] = json.loads(header)
            for name in sorted(parsed):
                if name != "__metadata__":
                    begin, end = parsed[name]["data_offsets"]
                    file.seek(start + begin)
                    digest.update(file.read(min(end - begin, _FINGERPRINT_BYTES)))
        return digest.hexdigest()[:8]


def open_checkpoint(weights: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in a folder, or of a hub id, which is downloaded if need be.

    Raises:
        CodecError: a file is missing or unreadable, or the download failed.
    """
    name = os.fspath(weights)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.exists() or not _HUB_ID.fullmatch(name):
            raise CodecError(
                f"weights '{name}': no such folder: name one with {CONFIG} and {WEIGHTS}, or a "
                "model hub id such as Qwen/Qwen3-TTS-Tokenizer-12Hz"
            )
        folder = _download(name)
    return _read_folder(folder)


def _read_folder(folder: Path) -> Checkpoint:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            others = sorted(path.name for path in folder.iterdir())[:5]
            raise CodecError(
                f"{folder}: {name} is missing (there: {', '.join(others) or 'nothing'}): get the "
                "original files of the hub, not a converted or sharded checkpoint"
            )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CodecError(f"{folder / CONFIG}: not readable as JSON ({error})") from None
    if not isinstance(config, dict):
        raise CodecError(f"{folder / CONFIG}: not a JSON object")
    return Checkpoint(folder=folder, config=config)


def find_cached(hub_id: str) -> Path | None:
    """The folder of the hub's cache that holds both files, if it does; never downloads.

    Raises:
        CodecError: the package huggingface_hub is missing.
    """
    hub = _hub()
    found = [hub.try_to_load_from_cache(hub_id, name) for name in (CONFIG, WEIGHTS)]
    if all(isinstance(path, str) and Path(path).is_file() for path in found):
        return Path(found[1]).parent
    return None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise CodecError(
            f"weights from the model hub need huggingface_hub: {_INSTALL}, or name a folder"
        ) from None
    return huggingface_hub


def _download(hub_id: str) -> Path:
    """Fetch both files with a progress bar; a broken download goes on where it stopped."""
    cached = find_cached(hub_id)
    if cached is not None:
        return cached
    hub = _hub()
    try:
        hub.hf_hub_download(hub_id, CONFIG)
        path = Path(hub.hf_hub_download(hub_id, WEIGHTS))
    # The hub's client raises errors of several HTTP libraries.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CodecError(
            f"weights '{hub_id}': the download failed ({type(error).__name__}: {reason}): try "
            "again (it resumes), or copy the files to a folder and name that"
        ) from error
    _check_hash(path)
    return path.parent


def _check_hash(path: Path) -> None:
    """Compare a downloaded file with its SHA-256, which names it in the hub's cache."""
    blob = path.resolve()
    if not _SHA256.fullmatch(blob.name):
        return
    with open(blob, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != blob.name:
        blob.unlink()
        raise CodecError(f"{path}: damaged in the download (wrong SHA-256): try again")

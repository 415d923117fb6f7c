"""Checkpoints in the hub's layout: a folder with `config.json` and `model.safetensors`.

The folder is a local one, or one of the model hub's cache (`linkcodec.mimi.hub`).
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
from linkcodec.mimi.hub import CONFIG, INSTALL, WEIGHTS, download
from linkcodec.mimi.tensors import Tensors

__all__ = ["Checkpoint", "open_checkpoint"]

_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
_FINGERPRINT_BYTES: Final = 4096
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
            raise CodecError(f"the package safetensors is missing: {INSTALL}") from None
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
        folder = download(name)
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

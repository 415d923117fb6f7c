"""Weights as the numpy layers want them: the full build's, or the light build's own files.

The light build is two files. The decoder's holds the codebooks too: a machine that only
listens needs no other. Each matrix is int8 with one scale for each output; the small ones,
those of the pitch, those next to the latents and the rest are float16, and the codebooks are
those of the full build to the bit. `card`, a JSON text, names the version and the hash of the
weights that the files were made from, which both builds show on the wire.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from linkcodec.compact.shape import Array
from linkcodec.compact.versions import file_name
from linkcodec.exceptions import CodecError

CODEBOOKS: Final = "quantizer.vectors"
_PARTS: Final = {"encoder": "encoder.", "decoder": "trunk."}
_SCALE: Final = ".scale8"
_EXACT: Final = (".depthwise.", ".intonation.", "encoder.leave.", "trunk.enter.")
"""Matrices that stay float16: the small ones, those of the pitch, of which cents are heard, and
those next to the latents, whose directions differ too much in size for one scale."""
_SHRINKS: Final = np.linspace(0.7, 1.0, 13, dtype=np.float32)

Stored = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Arrays of one half of the codec or both, the version and the hash of the full weights."""

    arrays: Mapping[str, Array]
    version: int
    hash: str


def quantise(weight: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """A matrix (inputs, outputs) as int8, and the scale of each output that leaves the least
    squared error: symmetric, so that zero stays zero."""
    peak = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32)
    best, least = peak / 127, np.full(peak.shape, np.inf)
    for shrink in _SHRINKS:
        scale = peak * shrink / 127
        error = np.square(np.clip(np.round(weight / scale), -127, 127) * scale - weight)
        better = error.sum(axis=0) < least
        best, least = np.where(better, scale, best), np.minimum(least, error.sum(axis=0))
    return np.clip(np.round(weight / best), -127, 127).astype(np.int8), best.astype(np.float32)


def fold(full: Mapping[str, Array]) -> dict[str, Array]:
    """The full build's arrays as the light layers want them: matrices (inputs, outputs), with
    the gains of the normalisation before them and of the block around them in them."""
    gains = {
        name.removesuffix(".norm.weight"): (array, full[f"{name.removesuffix('weight')}bias"])
        for name, array in full.items()
        if name.endswith(".norm.weight")
    }
    folded: dict[str, Array] = {}
    for name, array in full.items():
        owner, _, leaf = name.rpartition(".")
        parent, _, layer = owner.rpartition(".")
        if layer == "norm" or leaf == "scale" or (leaf == "bias" and f"{owner}.weight" in folded):
            continue
        if layer == "depthwise":
            folded[name] = array[:, 0].T if leaf == "weight" else array
            if leaf == "weight":
                folded[f"{owner}.bias"] = full[f"{owner}.bias"]
        elif leaf == "weight":
            weight, bias = array.T, full[f"{owner}.bias"]
            if parent in gains and layer in {"widen", "mix", "leave", "pitch"}:
                gain, shift = (np.resize(part, len(weight)) for part in gains[parent])
                weight, bias = weight * gain[:, None], bias + shift @ weight
            elif owner in gains:
                raise ValueError(owner)
            if layer == "narrow":
                scale = full[f"{parent}.scale"]
                weight, bias = weight * scale, bias * scale
            folded[name], folded[f"{owner}.bias"] = weight, bias
        else:
            folded[name] = array
    return folded


def packed(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays, all in one piece of memory, each row after the other.

    Every frame reads all of it. NumPy asks for huge pages only for large pieces.
    """
    line = 16  # 64 bytes
    memory = np.empty(sum(array.size + line for array in arrays.values()) + line, np.float32)
    memory = memory[-memory.ctypes.data // memory.itemsize % line :]
    result: dict[str, Array] = {}
    start = 0
    for name, array in arrays.items():
        result[name] = memory[start : start + array.size].reshape(array.shape)
        result[name][...] = array
        start += -(-array.size // line) * line
    return result


def export_light(source: Path, folder: Path) -> list[str]:
    """Write the light build of a weights file into a folder; lines that describe its two files.

    Raises:
        CodecError: the source is missing or no weights file.
    """
    full = read_full(source)
    lines: list[str] = []
    for part, prefix in _PARTS.items():
        arrays: dict[str, Stored] = {}
        for name, array in full.arrays.items():
            if not name.startswith(prefix):
                continue
            exact = any(part in name for part in _EXACT)
            if array.ndim == 2 and array.shape[1] > 1 and not exact:
                arrays[name], arrays[f"{name}{_SCALE}"] = quantise(array)
            else:
                arrays[name] = array.astype(np.float16)
        if part == "decoder":
            arrays[CODEBOOKS] = full.arrays[CODEBOOKS].astype(np.float16)
        path = folder / file_name(full.version, f"light-{part}")
        card = json.dumps({"version": full.version, "hash": full.hash, "part": part})
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, card=np.array(card), **arrays)
        lines.append(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return lines


def read_full(path: Path) -> Weights:
    """Both halves of the full build, from the weights that training exports.

    Raises:
        CodecError: the file is missing or damaged.
    """
    card, stored, digest = read_file(path)
    try:
        arrays = fold({name: array.astype(np.float32) for name, array in stored.items()})
        return Weights(arrays=packed(arrays), version=int(card["version"]), hash=digest)
    except (KeyError, TypeError, ValueError) as error:
        raise CodecError(damaged(path, error)) from error


def read_light(path: Path, part: str) -> Weights:
    """One half of the light build.

    Raises:
        CodecError: the file is missing, damaged or another one.
    """
    card, stored, _ = read_file(path)
    try:
        if card["part"] != part:
            raise CodecError(f"{path}: holds the {card['part']}, not the {part}: use that file")
        arrays: dict[str, Array] = {}
        for name, array in stored.items():
            if not name.endswith(_SCALE):
                scale = stored.get(f"{name}{_SCALE}")
                exact = array.astype(np.float32)
                arrays[name] = exact if scale is None else exact * scale
        return Weights(arrays=packed(arrays), version=int(card["version"]), hash=str(card["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CodecError(damaged(path, error)) from error


def damaged(path: Path, error: Exception) -> str:
    """The words for a file that cannot be used."""
    return (
        f"{path}: not a weights file of codec compact ({type(error).__name__}); "
        "install the package again"
    )


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Stored], str]:
    """Card, arrays and hash of a weights file, of either build.

    Raises:
        CodecError: the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodecError(
            f"{path}: the weights of codec compact cannot be read ({error.strerror}); "
            "install the package again"
        ) from error
    try:
        with io.BytesIO(data) as file, np.load(file, allow_pickle=False) as arrays:
            card = json.loads(str(arrays["card"]))
            stored = {name: arrays[name] for name in arrays.files if name != "card"}
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CodecError(damaged(path, error)) from error
    return card, stored, hashlib.sha256(data).hexdigest()[:8]

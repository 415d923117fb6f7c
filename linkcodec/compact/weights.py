"""Weights of the compact codec: one `.npz` of float16 arrays for each released version.

The file is read without pickle; besides the arrays it holds `card`, a JSON text with the
version and the sizes of the network. Its hash names it on the wire and in token files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from linkcodec.compact.model import CompactModel, ModelConfig
from linkcodec.compact.shape import FEATURES
from linkcodec.compact.versions import CURRENT_VERSION
from linkcodec.exceptions import CodecError
from linkcodec.light.weights import damaged, read_file

_ENTER = "encoder.enter.weight"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model ready for use, with the version and the hash of its weights."""

    model: CompactModel
    version: int
    hash: str


def _sizes(card: dict[str, Any]) -> ModelConfig:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in card["sizes"].items()
    }
    # Before `compact-4` the pitch had no way of its own, before `compact-5` no recent view.
    before: dict[str, Any] = {"intonation": (0, 0), "views": 1}
    return ModelConfig(**before | values)


def _with_periods(enter: torch.Tensor) -> torch.Tensor:
    """`compact-1` and `compact-2` did not hear the periods, those up to 4 no recent ones."""
    return F.pad(enter, (0, FEATURES - enter.shape[1]))


def load_weights(path: Path) -> Weights:
    """Read a weights file.

    Raises:
        CodecError: the file is missing, damaged or made for another network.
    """
    card, stored, digest = read_file(path)
    try:
        model = CompactModel(_sizes(card))
        state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in stored.items()}
        state[_ENTER] = _with_periods(state[_ENTER])
        model.load_state_dict(state, strict=True)
        weights = Weights(model=model, version=int(card["version"]), hash=digest)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CodecError(damaged(path, error)) from error
    model.eval().requires_grad_(requires_grad=False)
    return weights


def save_weights(model: CompactModel, path: Path, *, version: int) -> str:
    """Write a model's weights; returns a line that describes the file."""
    card = {"version": version, "sizes": asdict(model.config)}
    arrays = {name: value.numpy().astype(np.float16) for name, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, card=np.array(json.dumps(card)), **arrays)
    return (
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, {sum(a.size for a in arrays.values())} values"
    )


def export_checkpoint(checkpoint: Path, path: Path, *, version: int = CURRENT_VERSION) -> str:
    """Write the averaged weights of a training checkpoint."""
    if not checkpoint.exists():
        raise CodecError(f"{checkpoint}: no such checkpoint; train first")
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    model = CompactModel(ModelConfig())
    model.load_state_dict(saved["average"])
    return save_weights(model, path, version=version)

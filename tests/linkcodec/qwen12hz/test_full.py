"""The real shapes against the reference on 20 s: `make test-full`, minutes long.

LINKCODEC_REFERENCE names the folder that scripts/make_reference_vectors.py --real wrote.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qwencheckpoints import decoded, encoded, noise, tokens

from linkcodec.mimi import NeuralCodec, load_mimi
from linkcodec.mimi.config import FRAME_SIZE
from linkcodec.qwen12hz import load_qwen12hz

FOLDER = Path(os.environ.get("LINKCODEC_REFERENCE", "nowhere"))

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="real shapes: make vectors with scripts/make_reference_vectors.py --real FOLDER and "
    "set LINKCODEC_REFERENCE=FOLDER",
)


@pytest.fixture(scope="module", params=["qwen", "mimi"])
def case(request: pytest.FixtureRequest) -> tuple[NeuralCodec, dict[str, Any]]:
    load = {"qwen": load_qwen12hz, "mimi": load_mimi}[request.param]
    with np.load(FOLDER / f"{request.param}-real.npz") as file:
        return load(weights=FOLDER / request.param, precision="fp32"), dict(file)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_decoder(case: tuple[NeuralCodec, dict[str, Any]], step: int) -> None:
    codec, vectors = case
    expected = torch.from_numpy(vectors["decoded16"])
    indices = tokens(20, entries=codec.info.codebook_size)
    assert (decoded(codec, indices, step=step)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize("step", [1, 3, 4])
def test_encoder(case: tuple[NeuralCodec, dict[str, Any]], step: int) -> None:
    codec, vectors = case
    expected = torch.from_numpy(vectors["encoded"])
    frames = expected.shape[1]
    pcm = noise(frames * FRAME_SIZE // 24_000)
    indices = encoded(codec, pcm, step=step)[0]
    assert (indices == expected).float().mean() >= 0.995

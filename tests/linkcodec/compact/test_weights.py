from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tinymodel import DAMAGES, SIZES, damage_weights, tiny_model

from linkcodec.compact.layers import Context
from linkcodec.compact.model import CompactModel
from linkcodec.compact.shape import FRAME_SIZE, PAST, PERIODS, SPECTRA
from linkcodec.compact.versions import CURRENT_VERSION, weights_path
from linkcodec.compact.weights import export_checkpoint, load_weights, save_weights
from linkcodec.exceptions import CodecError
from linkcodec.light.layers import Context as LightContext
from linkcodec.light.network import SpeechEncoder as LightEncoder
from linkcodec.light.weights import read_full


def test_weights_survive_a_file(tmp_path: Path) -> None:
    model = tiny_model()
    save_weights(model, tmp_path / "w.npz", version=7)
    loaded = load_weights(tmp_path / "w.npz")
    assert loaded.version == 7
    assert len(loaded.hash) == 8
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], value, atol=2e-3, rtol=1e-3)


def test_the_hash_follows_the_weights(tmp_path: Path) -> None:
    save_weights(tiny_model(0), tmp_path / "a.npz", version=1)
    save_weights(tiny_model(1), tmp_path / "b.npz", version=1)
    assert load_weights(tmp_path / "a.npz").hash != load_weights(tmp_path / "b.npz").hash


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_files_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "w.npz"
    save_weights(tiny_model(), path, version=1)
    damage_weights(path, damage, lacking="trunk.lost")
    with pytest.raises(CodecError, match=r"w\.npz.*install the package again"):
        load_weights(path)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(
    ("sizes", "lacking", "heard_features"),
    [
        # compact-1 and compact-2: the encoder did not hear the periods.
        ({"intonation": (0, 0), "views": 1}, ("intonation", "views"), SPECTRA),
        # compact-4: no recent view.
        ({"views": 1}, ("views",), SPECTRA + PERIODS),
    ],
)
def test_weights_of_older_networks(
    tmp_path: Path,
    *,
    sizes: dict[str, Any],
    lacking: tuple[str, ...],
    heard_features: int,
    light: bool,
) -> None:
    model = CompactModel(replace(SIZES, **sizes)).eval()
    torch.nn.init.zeros_(model.encoder.enter.weight[:, heard_features:].detach())
    path = tmp_path / "old.npz"
    save_weights(model, path, version=1)
    with np.load(path) as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    card = json.loads(str(stored["card"]))
    for name in lacking:
        del card["sizes"][name]
    stored["card"] = np.array(json.dumps(card))
    stored["encoder.enter.weight"] = stored["encoder.enter.weight"][:, :heard_features]
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **stored)
    heard = 0.1 * torch.randn(PAST + 2 * FRAME_SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        meant = model.encoder(heard[None], Context())[0].numpy()
        if light:
            encoder = LightEncoder(read_full(path).arrays)
            made = encoder(heard.numpy(), LightContext())
        else:
            made = load_weights(path).model.encoder(heard[None], Context())[0].numpy()
    np.testing.assert_allclose(made, meant, atol=1e-2)


def test_no_checkpoint_to_export(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="train first"):
        export_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "w.npz")


def test_the_package_ships_weights_within_their_limits() -> None:
    loaded = load_weights(weights_path())
    assert loaded.version == CURRENT_VERSION
    assert weights_path().stat().st_size <= 24_000_000
    values = sum(value.numel() for value in loaded.model.state_dict().values())
    assert values <= 12_000_000

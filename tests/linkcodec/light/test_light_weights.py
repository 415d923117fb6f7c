from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinymodel import DAMAGES, damage_weights, tiny_model

from linkcodec.compact.versions import FOLDER, weights_path
from linkcodec.compact.weights import load_weights, save_weights
from linkcodec.exceptions import CodecError
from linkcodec.light.weights import (
    CODEBOOKS,
    export_light,
    packed,
    quantise,
    read_full,
    read_light,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_weights(tiny_model(), tmp_path / "full.npz", version=7)
    export_light(tmp_path / "full.npz", tmp_path)
    return tmp_path


def test_eight_bits_stay_within_half_a_step_or_less_in_all() -> None:
    weight = np.random.default_rng(1).standard_normal((300, 20)).astype(np.float32)
    weight[0] *= 3
    whole, scale = quantise(weight)
    assert whole.dtype == np.int8
    error = np.square(whole * scale - weight).mean()
    plain = np.abs(weight).max(axis=0) / 127
    assert error <= np.square(np.round(weight / plain) * plain - weight).mean()
    assert error < 1e-4 * np.square(weight).mean()


def test_a_column_of_zeros_stays_zero() -> None:
    whole, scale = quantise(np.zeros((4, 2), np.float32))
    assert not (whole * scale).any()


def test_packed_arrays_lie_row_by_row_in_one_piece_of_memory() -> None:
    random = np.random.default_rng(2)
    arrays = {
        "turned": random.standard_normal((5, 33)).astype(np.float32).T,
        "bias": random.standard_normal(7).astype(np.float32),
        "books": random.standard_normal((2, 3, 4)).astype(np.float32),
    }
    result = packed(arrays)
    memory = result["turned"].base
    for name, array in arrays.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].flags.c_contiguous
        assert result[name].base is memory


def test_both_files_know_what_they_were_made_from(folder: Path) -> None:
    full = load_weights(folder / "full.npz")
    for part in ("encoder", "decoder"):
        loaded = read_light(weights_path(7, f"light-{part}", folder=folder), part)
        assert (loaded.version, loaded.hash) == (7, full.hash)


@pytest.mark.parametrize("damage", DAMAGES)
def test_bad_full_weights_are_refused_by_name(folder: Path, damage: str) -> None:
    path = folder / "full.npz"
    damage_weights(path, damage, lacking="trunk.leave.bias")
    with pytest.raises(CodecError, match=r"full\.npz.*install the package again"):
        read_full(path)


def test_codebooks_are_kept_to_the_bit(folder: Path) -> None:
    full = load_weights(folder / "full.npz")
    loaded = read_light(folder / "compact-7-light-decoder.npz", "decoder")
    np.testing.assert_array_equal(
        loaded.arrays[CODEBOOKS], full.model.quantizer.vectors.numpy().astype(np.float32)
    )


@pytest.mark.parametrize("damage", [*DAMAGES, "other", "full"])
def test_bad_files_are_refused_by_name(folder: Path, damage: str) -> None:
    path = folder / "compact-7-light-decoder.npz"
    if damage == "other":
        path.write_bytes((folder / "compact-7-light-encoder.npz").read_bytes())
    elif damage == "full":
        path.write_bytes((folder / "full.npz").read_bytes())
    else:
        damage_weights(path, damage, lacking="card")
    with pytest.raises(CodecError, match=r"compact-7-light-decoder\.npz"):
        read_light(path, "decoder")


def test_only_full_weights_can_be_exported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"none\.npz"):
        export_light(tmp_path / "none.npz", tmp_path)
    lacking = tmp_path / "lacking.npz"
    card = np.array(json.dumps({"version": 1}))
    with open(lacking, "wb") as file:
        arrays: dict[str, Any] = {"card": card, "trunk.enter.weight": np.zeros((2, 2))}
        np.savez(file, allow_pickle=False, **arrays)
    with pytest.raises(CodecError, match=r"lacking\.npz"):
        export_light(lacking, tmp_path)


def test_the_light_decoder_is_small() -> None:
    files = list(FOLDER.glob("compact-*-light-decoder.npz"))
    assert files
    for path in files:
        assert path.stat().st_size <= 12_000_000

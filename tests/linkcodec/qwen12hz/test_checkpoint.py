"""Loading from the hub's layout, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from qwencheckpoints import write_mimi, write_qwen
from safetensors.torch import load_file, save_file

from linkcodec.codec import load_codec
from linkcodec.exceptions import CodecError
from linkcodec.mimi.backend import choose_precision
from linkcodec.mimi.checkpoint import open_checkpoint
from linkcodec.mimi.compare import compare_codebooks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_qwen(tmp_path / "qwen")


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_loads_by_name(folder: Path) -> None:
    info = load_codec("qwen3-12hz", weights=folder, precision="fp32").info
    assert (info.name, info.sample_rate, info.frame_size) == ("qwen3-12hz", 24_000, 1920)
    assert (info.quantizers, info.delay, len(info.weights_hash)) == (16, 0, 8)


def test_fingerprint_tells_weights_apart(folder: Path) -> None:
    first = open_checkpoint(folder).fingerprint()
    values = load_file(folder / "model.safetensors")
    values["decoder.pre_conv.conv.bias"] = values["decoder.pre_conv.conv.bias"] + 1
    save_file(values, folder / "model.safetensors")
    assert open_checkpoint(folder).fingerprint() != first


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("qwen3_tts_tokenizer_25hz", "25 Hz tokenizer"),
        ("mimi", "model_type is 'mimi'"),
        (None, "model_type is None"),
    ],
)
def test_refuses_other_models(folder: Path, kind: str | None, message: str) -> None:
    change_config(folder, model_type=kind)
    with pytest.raises(CodecError, match=message):
        load_codec("qwen3-12hz", weights=folder)


@pytest.mark.parametrize("name", ["encoder.downsample.conv.weight", "decoder.pre_conv.conv.bias"])
def test_refuses_missing_unexpected_and_misshapen_tensors(folder: Path, name: str) -> None:
    path = folder / "model.safetensors"
    values = load_file(path)
    gone = values.pop(name)
    save_file(values, path)
    with pytest.raises(CodecError, match=f"{name} is missing"):
        load_codec("qwen3-12hz", weights=folder)
    save_file({**values, name: gone[:1].clone()}, path)
    with pytest.raises(CodecError, match="of shape"):
        load_codec("qwen3-12hz", weights=folder)
    save_file({**values, name: gone.to(torch.int8)}, path)
    with pytest.raises(CodecError, match="int8"):
        load_codec("qwen3-12hz", weights=folder)
    save_file({**values, name: gone, "extra": torch.zeros(1)}, path)
    with pytest.raises(CodecError, match="1 unexpected tensors"):
        load_codec("qwen3-12hz", weights=folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"encoder_config": {"use_causal_conv": False}},
        {"encoder_config": {"upsampling_ratios": [2, 2]}},
        {"encoder_config": {"num_filters": "many"}},
        {"encoder_config": {"rope_parameters": {"rope_type": "yarn"}}},
        {"decoder_config": {"attention_bias": True}},
        {"decoder_config": {"upsample_rates": [2, 2]}},
        {"output_sample_rate": 48_000},
        {"encoder_valid_num_quantizers": 99},
    ],
)
def test_refuses_what_is_not_implemented(folder: Path, fields: dict[str, object]) -> None:
    change_config(folder, **fields)
    with pytest.raises(CodecError, match=r"config|qwen"):
        load_codec("qwen3-12hz", weights=folder)


def test_refuses_broken_files(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(CodecError, match="not a whole safetensors file"):
        load_codec("qwen3-12hz", weights=folder)
    path.rename(folder / "pytorch_model.bin")
    with pytest.raises(CodecError, match=r"model\.safetensors is missing"):
        load_codec("qwen3-12hz", weights=folder)
    (folder / "config.json").write_text("{")
    (folder / "model.safetensors").touch()
    with pytest.raises(CodecError, match="not readable as JSON"):
        load_codec("qwen3-12hz", weights=folder)
    with pytest.raises(CodecError, match="no such folder"):
        load_codec("qwen3-12hz", weights=folder / "nowhere" / "else")


def test_options_are_for_codecs_that_have_them() -> None:
    with pytest.raises(CodecError, match="codec compact has no weights"):
        load_codec("compact", weights="somewhere")
    with pytest.raises(CodecError, match="precision = 'fp8'"):
        load_codec("mimi", weights="somewhere", precision="fp8")
    with pytest.raises(CodecError, match="x86 CPUs only"):
        choose_precision("int8", "cuda")
    assert choose_precision("auto", "cuda") == "bf16"


def test_compares_encoders_and_codebooks(folder: Path, tmp_path: Path) -> None:
    mimi = write_mimi(tmp_path / "mimi")
    assert "do not exchange" in compare_codebooks(folder, mimi)[-1]
    values = load_file(mimi / "model.safetensors")
    for name, value in load_file(folder / "model.safetensors").items():
        if name.startswith("encoder."):
            values[name.removeprefix("encoder.")] = value
    save_file(values, mimi / "model.safetensors")
    lines = compare_codebooks(folder, mimi)
    assert "codebooks: 32 of 32 equal" in lines[1]
    assert "can decode these tokens" in lines[-1]
    change_config(mimi, model_type="encodec")
    with pytest.raises(CodecError, match="no codebooks"):
        compare_codebooks(folder, mimi)

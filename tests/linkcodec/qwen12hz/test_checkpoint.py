"""Loading from the hub's layout, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from qwencheckpoints import write_mimi, write_qwen
from safetensors.torch import load_file, save_file

from linkcodec.codec import load_codec
from linkcodec.exceptions import CodecError
from linkcodec.mimi import checkpoint as checkpoint_module
from linkcodec.mimi.backend import choose_precision
from linkcodec.mimi.checkpoint import WEIGHTS, open_checkpoint
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


class _Hub(SimpleNamespace):
    """What is used of huggingface_hub, over a folder of blobs as in its cache."""

    def __init__(self, cache: Path, source: Path) -> None:
        super().__init__(cache=cache, source=source, downloads=[], damaged=False)

    def try_to_load_from_cache(self, _hub_id: str, name: str) -> str | None:
        path = self.cache / "snapshot" / name
        return str(path) if path.exists() else None

    def hf_hub_download(self, hub_id: str, name: str) -> str:
        self.downloads.append((hub_id, name))
        content = (self.source / name).read_bytes()
        blob = self.cache / "blobs" / hashlib.sha256(content).hexdigest()
        link = self.cache / "snapshot" / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content[:-1] if self.damaged and name == WEIGHTS else content)
        link.symlink_to(blob)
        return str(link)


def test_a_hub_id_is_downloaded_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = _Hub(tmp_path / "cache", folder)
    monkeypatch.setattr(checkpoint_module, "_hub", lambda: hub)
    assert open_checkpoint("some/model").folder == tmp_path / "cache" / "snapshot"
    assert open_checkpoint("some/model").config["model_type"] == "qwen3_tts_tokenizer_12hz"
    assert hub.downloads == [("some/model", "config.json"), ("some/model", "model.safetensors")]


def test_a_damaged_download_is_thrown_away(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = _Hub(tmp_path / "cache", folder)
    hub.damaged = True
    monkeypatch.setattr(checkpoint_module, "_hub", lambda: hub)
    with pytest.raises(CodecError, match="wrong SHA-256"):
        open_checkpoint("some/model")
    assert checkpoint_module.find_cached("some/model") is None


def test_a_failed_download_is_told_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = _Hub(tmp_path / "cache", folder / "nowhere")
    monkeypatch.setattr(checkpoint_module, "_hub", lambda: hub)
    with pytest.raises(CodecError, match=r"download failed \(FileNotFoundError") as caught:
        open_checkpoint("some/model")
    assert "\n" not in str(caught.value)


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

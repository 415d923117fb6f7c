"""Writes what the reference codecs make of tiny random checkpoints: tests/vectors/*.npz.

Not needed to build or to test; run it where the reference is installed:

    python scripts/make_reference_vectors.py qwen    # qwen-tts 0.1.1, transformers 4.57.3
    python scripts/make_reference_vectors.py mimi    # transformers 5.3
    python scripts/make_reference_vectors.py encoder # the encoder of qwen in transformers 5.3

`--real FOLDER` does the same for the real shape and writes there, for `make test-full`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "linkcodec" / "qwen12hz")]

import qwencheckpoints as checkpoints  # noqa: E402

from benchmarks.qwen_reference import reference_modules  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codec", choices=("qwen", "mimi", "encoder"))
    parser.add_argument("--real", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tiny = args.real is None
    seconds = 2 if tiny else 20
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        checkpoint = {"encoder": "qwen"}.get(args.codec, args.codec)
        folder = Path(scratch) / "checkpoint" if tiny else args.real / checkpoint
        makers = {"qwen": qwen_vectors, "mimi": mimi_vectors, "encoder": encoder_vectors}
        make = makers[args.codec]
        vectors = make(folder, seconds=seconds, tiny=tiny)
    name = f"{args.codec}-{'tiny' if tiny else 'real'}.npz"
    path = (checkpoints.VECTORS if tiny else args.real) / name
    np.savez_compressed(path, **vectors)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def qwen_vectors(folder: Path, *, seconds: int, tiny: bool) -> dict[str, Any]:
    """Codes of the encoder, samples of the decoder for 16 books and for the first 1, 4 and 8."""
    checkpoints.write_qwen(folder, tiny=tiny)
    config, modeling = reference_modules()
    fields = checkpoints.qwen_config(tiny=tiny)
    fields.pop("model_type")
    model = modeling.Qwen3TTSTokenizerV2Model(config.Qwen3TTSTokenizerV2Config(**fields)).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    pcm = checkpoints.noise(min(seconds, 8))
    entries = model.config.decoder_config.codebook_size
    codes = checkpoints.tokens(seconds, entries=entries)
    encoded = model.encoder.encode(pcm[None], return_dict=True).audio_codes[0, :16]
    vectors = {"encoded": encoded.numpy(), "decoded16": model.decoder(codes)[0, 0].numpy()}
    decode = model.decoder.quantizer.decode
    for books in (1, 4, 8):
        # The reference refuses fewer than 16: give it the sum of the first ones only.
        model.decoder.quantizer.decode = lambda all_codes, k=books: decode(all_codes[:, :k])
        vectors[f"decoded{books}"] = model.decoder(codes[:, :, :12])[0, 0].numpy()
    return vectors


def mimi_vectors(folder: Path, *, seconds: int, tiny: bool) -> dict[str, Any]:
    """Codes of the encoder (with its window), samples of the decoder for 1, 8 and 16 books."""
    transformers = importlib.import_module("transformers")

    checkpoints.write_mimi(folder, tiny=tiny)
    fields = checkpoints.mimi_config(tiny=tiny)
    fields.pop("model_type")
    model = transformers.MimiModel(transformers.MimiConfig(**fields)).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    codes = checkpoints.tokens(seconds, entries=model.config.codebook_size)
    vectors = {
        f"decoded{books}": model.decode(codes[:, :books]).audio_values[0, 0].numpy()
        for books in (1, 8, 16)
    }
    encoded = model.encode(checkpoints.noise(seconds)[None], num_quantizers=16).audio_codes
    return {**vectors, "encoded": encoded[0].numpy()}


def encoder_vectors(folder: Path, *, seconds: int, tiny: bool) -> dict[str, Any]:
    """Codes of the Qwen tokenizer's encoder, run by a later transformers with its window."""
    transformers = importlib.import_module("transformers")

    checkpoints.write_qwen(folder, tiny=tiny)
    fields = checkpoints.qwen_config(tiny=tiny)["encoder_config"]
    model = transformers.MimiModel(transformers.MimiConfig(**fields)).eval()
    weights = load_file(folder / "model.safetensors")
    encoder = {
        name.removeprefix("encoder."): value
        for name, value in weights.items()
        if name.startswith("encoder.")
    }
    missing, unexpected = model.load_state_dict(encoder, strict=False)
    others = [name for name in missing if not name.startswith(("decoder", "upsample"))]
    assert not unexpected, unexpected
    assert not others, others
    encoded = model.encode(checkpoints.noise(seconds)[None], num_quantizers=16).audio_codes
    return {"encoded": encoded[0].numpy()}


if __name__ == "__main__":
    main()

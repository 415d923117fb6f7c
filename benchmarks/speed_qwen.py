"""Speed of the codecs with weights of their owners, beside their reference implementations.

    python -m benchmarks.speed_qwen WEIGHTS [--threads 1] [--seconds 8]

WEIGHTS is a folder of Qwen3-TTS-Tokenizer-12Hz in the hub's layout (random weights take the
same time). The reference decodes a stream in its own way, a window of 25 frames of context
for each new frame; it is measured where qwen-tts and transformers are installed, and moshi's
streaming Mimi where moshi is. Times are of one 80 ms frame, all in one run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.qwen_reference import reference_modules
from linkcodec.mimi.config import FRAME_SIZE
from linkcodec.qwen12hz import load_qwen12hz

_CONTEXT = 25
_WARM_UP = 3
_REFERENCE_FRAMES = 6
_CLOCK: list[Callable[[], float]] = [time.perf_counter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precisions", default="fp32,bf16,int8")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the CPU's time, not the wall's: for one thread on a busy machine",
    )
    args = parser.parse_args()
    if args.cpu_time:
        _CLOCK.append(time.process_time)
    torch.set_num_threads(args.threads)
    frames = int(args.seconds * 12.5)
    print(f"{args.threads} threads, {frames} frames, torch {torch.__version__}")
    print("| what | frames a step | ms a frame, median | p95 | times real time |")
    print("|---|---|---|---|---|")
    with torch.inference_mode():
        ours = 0.0
        for number, precision in enumerate(args.precisions.split(",")):
            times = _ours(args.weights, precision, frames, encode=number == 0)
            ours = times if precision == "fp32" else ours
        if importlib.util.find_spec("qwen_tts") is not None:
            reference = _reference(args.weights)
            if ours:
                print(
                    f"\nOur fp32 decoder, one frame a step: {reference / ours:.1f} times cheaper."
                )
        if importlib.util.find_spec("moshi") is not None:
            _moshi(frames)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\nPeak memory of the whole run: {peak:.2f} GB")


def _ours(weights: Path, precision: str, frames: int, *, encode: bool) -> float:
    """Print the rows of one precision; gives the median of the decoder, one frame a step."""
    codec = load_qwen12hz(weights=weights, precision=precision)
    random = np.random.RandomState(1)
    indices = torch.from_numpy(random.randint(0, codec.info.codebook_size, (1, 16, frames)))
    pcm = torch.from_numpy(
        0.1 * random.standard_normal((1, frames * FRAME_SIZE)).astype(np.float32)
    )
    medians = []
    for step in (1, 4):
        state = codec.decoder_network.state()
        parts = [part for part in torch.split(indices, step, dim=2) if part.shape[2] == step]
        decode = [partial(codec.decoder_network, part, state) for part in parts]
        medians.append(_row(f"decode {precision}", decode, step))
        if encode:
            coder = codec.encoder_network.state()
            blocks = [
                b for b in torch.split(pcm, step * FRAME_SIZE, 1) if b.shape[1] == step * FRAME_SIZE
            ]
            calls = [partial(codec.encoder_network, b, coder, quantizers=16) for b in blocks]
            _row("encode fp32", calls, step)
    return medians[0]


def _reference(weights: Path) -> float:
    """The reference's decoder: each frame with 25 frames before it."""
    from safetensors.torch import load_file

    config, modeling = reference_modules()
    fields = config.Qwen3TTSTokenizerV2Config.from_pretrained(weights)
    decoder = modeling.Qwen3TTSTokenizerV2Decoder._from_config(fields.decoder_config).eval()
    values = load_file(weights / "model.safetensors")
    decoder.load_state_dict(
        {k.removeprefix("decoder."): v for k, v in values.items() if k.startswith("decoder.")}
    )
    window = torch.zeros(1, 16, _CONTEXT + 1, dtype=torch.int64)
    return _row(
        "decode fp32, reference, windowed", [lambda: decoder(window)] * _REFERENCE_FRAMES, 1
    )


def _moshi(frames: int) -> None:
    """moshi's streaming Mimi with random weights."""
    loaders = importlib.import_module("moshi.models.loaders")
    model = loaders.get_mimi(None, device="cpu", num_codebooks=16)
    block = torch.zeros(1, 1, FRAME_SIZE)
    with model.streaming(1):
        codes = model.encode(block)
        _row("encode fp32, moshi's Mimi", [lambda: model.encode(block)] * frames, 1)
        _row("decode fp32, moshi's Mimi", [lambda: model.decode(codes)] * frames, 1)


def _row(what: str, calls: Sequence[Callable[[], Any]], step: int) -> float:
    clock = _CLOCK[-1]
    times = []
    for call in calls:
        start = clock()
        call()
        times.append(1000.0 * (clock() - start) / step)
    measured = times[min(_WARM_UP, len(times) - 1) :]
    median, p95 = float(np.median(measured)), float(np.quantile(measured, 0.95))
    print(f"| {what} | {step} | {median:.1f} | {p95:.1f} | {80.0 / median:.2f} |", flush=True)
    return median


if __name__ == "__main__":
    main()

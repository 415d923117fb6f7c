"""Memory and time that long recordings take, each in a process of its own.

    python -m benchmarks.long_file --codec qwen3-12hz --weights FOLDER --minutes 5,10

A recording of noise that comes and goes is written to disk, encoded and decoded through the
API. Memory is what the process holds at most above what it holds with the codec loaded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile  # type: ignore[import-untyped]

from benchmarks.command import add_codec, progress, run_command
from benchmarks.measures import limit_threads
from benchmarks.ours import load_named_codec
from linkcodec.exceptions import InputError

_RATE: Final = 24_000
_MEGABYTE: Final = 1e6


def write_recording(path: Path, seconds: float) -> None:
    """Seeded noise that swells and fades, at 24 kHz with 16 bits, second by second."""
    random = np.random.default_rng(1)
    with soundfile.SoundFile(path, "w", _RATE, 1, subtype="PCM_16") as file:
        for second in range(round(seconds)):
            swell = 0.02 + 0.2 * abs(np.sin(0.7 * second))
            file.write((swell * random.standard_normal(_RATE)).clip(-1, 1).astype(np.float32))


def memory(field: str) -> int:
    """Bytes of this process by a name of Linux's /proc/self/status, such as VmRSS or VmHWM."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise InputError(f"this system does not tell {field}: run this on Linux")


def measure(codec_name: str, weights: Path | None, quantizers: int, path: Path) -> dict[str, Any]:
    """Encode and decode a file; megabytes and seconds of CPU time of each."""
    codec = load_named_codec(codec_name, weights)
    loaded = memory("VmRSS")
    # The codec's own peak while it loads does not count.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    begun = time.process_time()
    tokens = codec.encode(path, num_quantizers=min(quantizers, codec.info.quantizers))
    encoded, between = memory("VmHWM"), time.process_time()
    pcm = codec.decode(tokens)
    return {
        "frames": tokens.shape[1],
        "samples": len(pcm),
        "loaded": loaded / _MEGABYTE,
        "encode": (encoded - loaded) / _MEGABYTE,
        "decode": (memory("VmHWM") - loaded) / _MEGABYTE,
        "encode_seconds": between - begun,
        "decode_seconds": time.process_time() - between,
    }


def _worker(arguments: tuple[Any, ...]) -> str:
    limit_threads(1)
    return json.dumps(measure(*arguments))


def row(minutes: float, found: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {minutes:g} | {found['loaded']:.0f} MB | +{found['encode']:.0f} MB | "
        f"+{found['decode']:.0f} MB | {found['encode_seconds']:.0f} s | "
        f"{found['decode_seconds']:.0f} s |"
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.long_file",
        description="Measure memory and CPU time of long recordings.",
    )
    add_codec(new)
    add = new.add_argument
    add("--minutes", default="5,10,30", help="lengths of the recordings (default %(default)s)")
    add("--books", type=int, default=16, help="at most (default %(default)s)")
    return new


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    del command
    try:
        lengths = [float(part) for part in options.minutes.split(",")]
    except ValueError:
        raise InputError(f"--minutes {options.minutes} is not a list such as 5,10") from None
    print("| minutes | with the codec loaded | encode | and decode | CPU, encode | decode |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for minutes in lengths:
            path = Path(folder) / "recording.wav"
            write_recording(path, 60 * minutes)
            progress(f"{minutes:g} minutes ...")
            arguments = (options.codec, options.weights, options.books, path)
            # A fresh process: memory that was given back once is not counted again.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(row(minutes, json.loads(pool.map(_worker, [arguments])[0])), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())

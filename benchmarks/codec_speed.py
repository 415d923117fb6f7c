"""Speed, memory and start-up time of codecs, each on one core in a process of its own.

    python -m benchmarks.codec_speed --docs

measures all of `CODERS` one after another and rewrites the table of docs/speed.md. Times are
CPU time of the process, so that other work on the machine hardly disturbs them. Frames of
different lengths are made comparable by giving the time per 80 ms of speech.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.command import run_command
from benchmarks.ours import load_named_codec
from benchmarks.packages import need, package_version
from benchmarks.table import write_page
from linkcodec.codec import Codec, Pcm
from linkcodec.exceptions import InputError
from linkcodec.frame import FRAME_SECONDS

_ROOT: Final = Path(__file__).resolve().parents[1]
_WARM_UP: Final = 10
_MEGABYTE: Final = 1 << 20


class Coder(ABC):
    """A codec for one stream, frame by frame; made ready by its constructor."""

    sample_rate: int
    frame_size: int

    @abstractmethod
    def encode(self, pcm: Pcm) -> Any:
        """Code `frame_size` samples."""

    @abstractmethod
    def decode(self, coded: Any) -> Pcm:
        """`frame_size` samples of what `encode` gave."""


class OurCoder(Coder):
    """A codec of this project, 8 books of it."""

    def __init__(self, codec: Codec) -> None:
        self.sample_rate, self.frame_size = codec.info.sample_rate, codec.info.frame_size
        self._encoder = codec.encoder(quantizers=min(8, codec.info.quantizers))
        self._decoder = codec.decoder()

    def encode(self, pcm: Pcm) -> Any:
        return self._encoder.push(pcm)

    def decode(self, coded: Any) -> Pcm:
        return np.concatenate([self._decoder.decode(frame) for frame in coded])


class LibraryCoder(Coder):
    """LPCNet or Codec2 of Debian's libcodec2."""

    def __init__(self, *, mode: int | None) -> None:
        from benchmarks.peers import load_libcodec2, to_int16

        library = load_libcodec2()
        self._to_int16 = to_int16
        prefix = "lpcnet" if mode is None else "codec2"
        if mode is None:
            self._state = library.lpcnet_freedv_create(1)
            self._encode, self._decode = library.lpcnet_enc, library.lpcnet_dec
        else:
            self._state = library.codec2_create(mode)
            self._encode, self._decode = library.codec2_encode, library.codec2_decode
        self._lpcnet = mode is None
        self.sample_rate = 16000 if self._lpcnet else 8000
        self.frame_size = getattr(library, f"{prefix}_samples_per_frame")(self._state)
        self._bits = getattr(library, f"{prefix}_bits_per_frame")(self._state)

    def encode(self, pcm: Pcm) -> Any:
        samples, packet = self._to_int16(pcm), ctypes.create_string_buffer(self._bits)
        pair = (samples.ctypes.data, packet)
        self._encode(self._state, *(pair if self._lpcnet else reversed(pair)))
        return packet

    def decode(self, coded: Any) -> Pcm:
        samples = np.zeros(self.frame_size, np.int16)
        pair = (coded, samples.ctypes.data)
        self._decode(self._state, *(pair if self._lpcnet else reversed(pair)))
        return np.asarray(samples / 32768, dtype=np.float32)


class MoshiMimi(Coder):
    """Mimi as kyutai's package moshi streams it, 8 books, random weights of the real shape."""

    sample_rate = 24000
    frame_size = 1920

    def __init__(self) -> None:
        self._torch = need("torch")
        self._torch.set_num_threads(1)
        self._model = need("moshi.models.loaders", package="moshi").get_mimi(None).eval()
        self._model.set_num_codebooks(8)
        self._model.streaming_forever(1)

    def encode(self, pcm: Pcm) -> Any:
        with self._torch.inference_mode():
            return self._model.encode(self._torch.from_numpy(pcm)[None, None])

    def decode(self, coded: Any) -> Pcm:
        with self._torch.inference_mode():
            samples: Pcm = self._model.decode(coded)[0, 0].numpy()
        return samples


def _torch_compact(weights: Path | None) -> Coder:
    from linkcodec.compact.codec import CompactCodec

    torch = need("torch")
    torch.set_num_threads(1)
    return OurCoder(CompactCodec.load(weights))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table: how to make the coder, of our codec with the weights of a file if one
    is given, and the packages behind it."""

    title: str
    make: Callable[[Path | None], Coder]
    packages: tuple[str, ...] = ()


CODERS: Final[dict[str, Entry]] = {
    "compact": Entry(
        title="**compact**",
        make=lambda weights: OurCoder(load_named_codec("compact", weights)),
        packages=("numpy",),
    ),
    "compact-light": Entry(
        title="**compact, light build**",
        make=lambda weights: OurCoder(load_named_codec("compact-light", weights)),
        packages=("numpy",),
    ),
    "compact-torch": Entry(
        title="**compact** in torch, as in training", make=_torch_compact, packages=("torch",)
    ),
    "codec2-3200": Entry(title="Codec2 3200", make=lambda _: LibraryCoder(mode=0)),
    "lpcnet": Entry(title="LPCNet", make=lambda _: LibraryCoder(mode=None)),
    "mimi": Entry(
        title="Mimi, moshi's streaming code, random weights",
        make=lambda _: MoshiMimi(),
        packages=("moshi", "torch"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """Milliseconds of CPU time per 80 ms of speech: (median, 95th percentile); seconds of CPU
    time from the start of the process to the first decoded frame; megabytes of memory at most."""

    encoder: tuple[float, float]
    decoder: tuple[float, float]
    both: tuple[float, float]
    start: float
    memory: float


def measure(make: Callable[[], Coder], pcm_at: Callable[[int], Pcm], *, frames: int) -> Result:
    """Code `frames` frames of the signal that `pcm_at` gives for a sample rate.

    Raises:
        InputError: the signal is shorter than the frames that warm up.
    """
    coder = make()
    size = coder.frame_size
    signal = pcm_at(coder.sample_rate)
    pieces = [signal[i : i + size] for i in range(0, len(signal) - size + 1, size)]
    if len(pieces) <= _WARM_UP:
        raise InputError(f"the signal is too short: more than {_WARM_UP} frames are needed")
    start = 0.0
    times: list[tuple[float, float]] = []
    for number in range(frames + _WARM_UP):
        begun = time.process_time()
        coded = coder.encode(pieces[number % len(pieces)])
        between = time.process_time()
        decoded = coder.decode(coded)
        done = time.process_time()
        if len(decoded) != size:
            raise InputError(f"the coder gave {len(decoded)} samples for {size}")
        start = start or done
        times.append((between - begun, done - between))
    scale = FRAME_SECONDS * coder.sample_rate / size * 1e3
    table = np.array(times[_WARM_UP:]) * scale

    def both(values: Any) -> tuple[float, float]:
        return float(np.median(values)), float(np.percentile(values, 95))

    return Result(
        encoder=both(table[:, 0]),
        decoder=both(table[:, 1]),
        both=both(table.sum(axis=1)),
        start=start,
        # Linux counts it in kibibytes.
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MEGABYTE,
    )


def example_speech(sample_rate: int) -> Pcm:
    """The example sentence at a rate."""
    from benchmarks.clips import read_clip, resample

    return resample(read_clip(_ROOT / "examples" / "sentence.flac"), 16000, sample_rate)


def run_alone(name: str, *, frames: int, weights: Path | None = None) -> Result:
    """Measure a coder in a process of its own with one thread.

    Raises:
        InputError: the coder cannot be run; the text is its own.
    """
    command = [sys.executable, "-m", "benchmarks.codec_speed", "--one", name]
    if weights is not None:
        command += ["--weights", str(weights.resolve())]
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        [*command, "--frames", str(frames)],
        cwd=_ROOT,
        env=os.environ | threads,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise InputError(f"{name}: {reason[-1] if reason else 'failed without a word'}")
    fields: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    pairs: dict[str, Any] = {name: tuple(fields[name]) for name in ("encoder", "decoder", "both")}
    return Result(**fields | pairs)


def markdown(results: dict[str, Result]) -> str:
    """The table of docs/speed.md."""
    lines = [
        "| codec | encoder | decoder | together | p95 | start-up | memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        parts = (result.encoder[0], result.decoder[0], result.both[0], result.both[1])
        times = " | ".join(f"{value:.2f} ms" for value in parts)
        lines.append(
            f"| {CODERS[name].title} | {times} | {result.start:.2f} s | {result.memory:.0f} MB |"
        )
    return "\n".join(lines)


def processor() -> str:
    """Name of the processor, where Linux tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def document(results: dict[str, Result], command: str) -> str:
    """What stands between the markers of docs/speed.md."""
    packages = sorted({package for name in results for package in CODERS[name].packages})
    versions = ", ".join(f"{package} {package_version(package)}" for package in packages)
    return "\n\n".join(
        [
            f"One core of {processor()}. Measured {date.today().isoformat()} with",
            f"    {command}",
            markdown(results),
            f"Versions: Python {platform.python_version()}, {versions}.",
        ]
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.codec_speed", description="Measure the speed of codecs."
    )
    add = new.add_argument
    add("--coders", default="all", help=f"'all' or some of {','.join(CODERS)}")
    add("--frames", type=int, default=300, help="frames to time (default %(default)s)")
    add("--one", choices=list(CODERS), help="measure one in this process, print JSON")
    add("--weights", type=Path, metavar="FILE", help="other weights for codec compact")
    add("--docs", action="store_true", help="rewrite the table of docs/speed.md")
    return new


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    if options.frames < 1:
        raise InputError(f"--frames {options.frames} is too few: at least 1 is needed")
    if options.one:
        make = partial(CODERS[options.one].make, options.weights)
        result = measure(make, example_speech, frames=options.frames)
        print(json.dumps(asdict(result)))
        return
    names = list(CODERS) if options.coders == "all" else options.coders.split(",")
    for name in names:
        if name not in CODERS:
            raise InputError(f"unknown coder '{name}': use some of {','.join(CODERS)}")
    results: dict[str, Result] = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = run_alone(name, frames=options.frames, weights=options.weights)
    print(markdown(results))
    if options.docs:
        write_page(_ROOT / "docs" / "speed.md", document(results, command), name="codec_speed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())

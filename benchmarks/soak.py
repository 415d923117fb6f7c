"""A long call between two `linkcodec talk` processes over UDP: memory, descriptors, threads.

    python -m benchmarks.soak --hours 4 --clips DIR

Both speak and listen all the time. A line is printed every few minutes; what counts is how
much memory grows after the first ones, in which caches fill.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import IO, Final

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.clips import SAMPLE_RATE, load_clips
from benchmarks.links import ROOT, programme
from benchmarks.realpeers import free_udp_ports

_PIECE_SECONDS: Final = 0.04
_SETTLED_SECONDS: Final = 300.0
_LINE_SECONDS: Final = 150.0
_PROGRAMME_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a process holds: kilobytes of memory, descriptors, threads."""

    kilobytes: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: int) -> Sample:
        """What the kernel says of a process now."""
        status = Path(f"/proc/{process}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return cls(
            kilobytes=int(fields["VmRSS"].split()[0]),
            descriptors=len(os.listdir(f"/proc/{process}/fd")),
            threads=int(fields["Threads"]),
        )

    def __str__(self) -> str:
        return f"{self.kilobytes:7d} kB {self.descriptors:3d} descriptors {self.threads:2d} threads"


def _speak(pcm: Pcm, mouths: Sequence[IO[bytes]], over: threading.Event) -> None:
    """The same words into all, again and again, at the pace of real time."""
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    samples = (np.clip(pcm, -1, 1) * 32767).astype("<i2")
    pieces = [samples[first : first + size].tobytes() for first in range(0, samples.size, size)]
    started = time.monotonic()
    for number, piece in enumerate(cycle(pieces), start=1):
        if over.wait(max(0.0, started + number * _PIECE_SECONDS - time.monotonic())):
            return
        for mouth in mouths:
            mouth.write(piece)
            mouth.flush()


def _talker(folder: Path, name: str, bind: int, peer: int) -> subprocess.Popen[bytes]:
    arguments = f"--bind 127.0.0.1:{bind} --peer 127.0.0.1:{peer} --input - --output -"
    config = ["--config", str(ROOT / "configs" / "udp-lan.toml")]
    with (folder / name).open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "linkcodec", "talk", *config, *arguments.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=ROOT,
        )


def run(pcm: Pcm, seconds: float, folder: Path) -> None:
    """Let two processes talk, and print what they hold."""
    one, other = free_udp_ports()
    talkers = [_talker(folder, "one", one, other), _talker(folder, "other", other, one)]
    over = threading.Event()
    mouths = [talker.stdin for talker in talkers if talker.stdin is not None]
    speaker = threading.Thread(target=_speak, args=(pcm, mouths, over), daemon=True)
    speaker.start()
    started = time.monotonic()
    settled: list[Sample] = []
    samples: list[Sample] = []
    while (passed := time.monotonic() - started) < seconds:
        time.sleep(min(_LINE_SECONDS, seconds - passed))
        if any(talker.poll() is not None for talker in talkers):
            break
        samples = [Sample.of(talker.pid) for talker in talkers]
        passed = time.monotonic() - started
        print(f"{passed / 60:6.1f} min  " + "  |  ".join(map(str, samples)), flush=True)
        if passed >= _SETTLED_SECONDS and not settled:
            settled = samples
    for before, after in zip(settled, samples, strict=True):
        print(
            f"grown by {(after.kilobytes - before.kilobytes) / 1000:.2f} MB, "
            f"{after.descriptors - before.descriptors} descriptors, "
            f"{after.threads - before.threads} threads after the first minutes"
        )
    over.set()
    for talker in talkers:
        talker.send_signal(signal.SIGTERM)
    speaker.join(timeout=2.0)
    for talker in talkers:
        print("exit status", talker.wait(timeout=30.0))
    for name in ("one", "other"):
        said = (folder / name).read_text()
        print(f"{name}: {said.count('Traceback')} tracebacks; at the end: {said[-300:].strip()}")


def main() -> None:
    """Run the call."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--clips", type=Path, required=True, help="folder of speech files")
    arguments = parser.parse_args()
    clips = [clip.path for clip in load_clips(arguments.clips)]
    pcm = programme(clips, _PROGRAMME_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        run(pcm, 3600.0 * arguments.hours, Path(folder))


if __name__ == "__main__":
    main()

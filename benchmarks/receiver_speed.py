"""Processor time of the whole receiver, beside that of the codec alone.

    python -m benchmarks.receiver_speed --seconds 60

Packets of one frame, with pauses, go to `ReceiverCore` as bytes: wire, jitter buffer, decoder,
concealment, comfort noise, time scaling and statistics. In virtual time, so that the share of a
core is the time of the process over that of the sound; other work hardly disturbs it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.clips import load_clips
from benchmarks.command import add_clips, run_command
from benchmarks.links import ROOT, programme
from benchmarks.measures import limit_threads
from benchmarks.receiver import loss_trace
from benchmarks.receiver_delay import jitter
from linkcodec.app.config import load_config
from linkcodec.codec import Codec, Pcm, load_codec
from linkcodec.frame import FRAME_SECONDS, Frame
from receiver import ReceiverCore
from transport.packet import TICKS, SilencePacket, VoicePacket, serialise

__all__ = ["CASES", "Arrival", "Case", "arrivals", "play"]

_SPURT: Final = 50
_PAUSE: Final = 12
_WARM_UP: Final = 10

Arrival = tuple[float, bytes]
"""When a packet comes, and what it holds."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A line: what it loses, how packets jitter (mean in seconds), how far the clocks differ."""

    name: str
    loss: float = 0.0
    jitter: float = 0.0
    drift: float = 0.0


CASES: Final = (
    Case(name="a clear line"),
    Case(
        name="10 % lost in runs of 2, jitter of mean 60 ms, 1000 ppm",
        loss=0.1,
        jitter=0.06,
        drift=1e-3,
    ),
)


def arrivals(frames: Sequence[Frame], case: Case, *, seed: int) -> list[Arrival]:
    """Packets of talk spurts of 4 s with pauses of 1 s between, in the order in which they come."""
    path = jitter(case.jitter, most=0.3, seed=seed) if case.jitter else lambda _: 0.0
    lost = loss_trace(len(frames), loss=case.loss, burst=2.0, seed=seed)
    came = []
    for number, frame in enumerate(frames):
        tick = number + number // _SPURT * _PAUSE
        first = number % _SPURT == 0
        last = number % _SPURT == _SPURT - 1 or number == len(frames) - 1
        departure = FRAME_SECONDS * (tick + 1) / (1 + case.drift)
        delay = path(departure)
        if not lost[number] and delay is not None:
            packet = VoicePacket(tick=tick % TICKS, frames=(frame,), start=first, end=last)
            came.append((departure + delay, serialise(packet)))
        if last:
            silence = SilencePacket(tick=(tick + 1) % TICKS, level_dbfs=-60.0)
            came.append((departure, serialise(silence)))
    return sorted(came)


def play(core: ReceiverCore, packets: Iterable[Arrival], seconds: float) -> float:
    """Processor time in seconds that so many seconds of sound take."""
    waiting = iter(packets)
    following = next(waiting, None)
    playhead = 0.0
    start = time.process_time()
    while playhead < seconds:
        while following is not None and following[0] <= playhead:
            core.receive(following[1], following[0])
            following = next(waiting, None)
        playhead += core.pull(playhead).seconds
    return time.process_time() - start


def _codec_alone(codec: Codec, pcm: Pcm, quantizers: int) -> tuple[list[Frame], float, float]:
    """The frames of some speech, and the processor time to encode and to decode them."""
    encoder, decoder = codec.encoder(quantizers=quantizers), codec.decoder()
    size = codec.info.frame_size
    for frame in encoder.push(pcm[: _WARM_UP * size]):
        decoder.decode(frame)
    encoder.reset()
    decoder.reset()
    start = time.process_time()
    frames = [
        frame
        for first in range(0, pcm.size, size)
        for frame in encoder.push(pcm[first : first + size])
    ]
    encoded = time.process_time()
    for frame in frames:
        decoder.decode(frame)
    return frames, encoded - start, time.process_time() - encoded


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.receiver_speed",
        description="Measure the processor time of the whole receiver.",
    )
    add_clips(new)
    new.add_argument("--seconds", type=float, default=60.0)
    new.add_argument("--codec", default="compact")
    new.add_argument("--quantizers", type=int, default=8)
    return new


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    del command
    limit_threads(1)
    codec = load_codec(options.codec)
    pcm = programme([clip.path for clip in load_clips(options.clips)], options.seconds)
    frames, encode, decode = _codec_alone(codec, pcm, options.quantizers)
    speech = len(frames) * FRAME_SECONDS
    print(f"encoder alone: {100 * encode / speech:.1f} % of a core in speech")
    print(f"decoder alone: {100 * decode / speech:.1f} % of a core in speech")
    config = load_config(ROOT / "configs" / "udp-lan.toml")
    for case in CASES:
        core = ReceiverCore(codec=codec, config=config, datagram=True)
        packets = arrivals(frames, case, seed=1)
        seconds = packets[-1][0]
        spent = play(core, packets, seconds)
        counted = core.statistics
        print(
            f"the whole receiver, {case.name}: {100 * spent / seconds:.1f} % of a core "
            f"({counted.frames_played} frames played, {counted.frames_concealed} concealed, "
            f"{counted.frames_silent} silent; {core.buffer.corrections} corrections)"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    # As the commands do: idle threads that spin cost processor time, too.
    with threadpool_limits(limits=1, user_api="blas"):
        return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Hours of a call in virtual time: what sender and receiver keep in memory.

    python -m benchmarks.long_call --hours 4 --clips DIR

The cores of the two daemons, packets or slots, over a line that loses and is gone for a while
each hour; texts go beside the speech. No codec's network runs: frames hold random indices.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import heapq
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.clips import load_clips
from benchmarks.links import ROOT, programme
from benchmarks.soak import Sample
from linkcodec.app.config import CallConfig, load_config
from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder
from linkcodec.frame import FRAME_SECONDS, Frame, PlayoutItem
from receiver import ReceiverCore
from sender import SenderCore
from transport.channel import SimulatedChannel
from transport.config import ChannelConfig
from transport.linerate import Framing

__all__ = ["Held", "IndexCodec", "LongCall", "grow"]

_RATE: Final = 16_000
_FRAME: Final = 1280
_BOOKS: Final = 12
_SETTLED_SECONDS: Final = 600.0
_TEXT_SECONDS: Final = 60.0
_OUTAGE_EVERY: Final = 3600.0
_OUTAGE_SECONDS: Final = 70.0
_PROGRAMME_SECONDS: Final = 120.0
_CONFIGS: Final = ("udp-lan", "sat-1200-sync")


class _IndexEncoder(Encoder):
    def __init__(self, quantizers: int) -> None:
        self._quantizers = quantizers
        self._waiting = 0
        self._random = np.random.default_rng(1)

    def push(self, pcm: Pcm) -> list[Frame]:
        self._waiting += pcm.size
        complete, self._waiting = divmod(self._waiting, _FRAME)
        indices = self._random.integers(0, 2048, (complete, self._quantizers))
        return [Frame(tuple(row)) for row in indices.tolist()]

    def flush(self) -> list[Frame]:
        frames = self.push(np.zeros(-self._waiting % _FRAME, np.float32))
        self.reset()
        return frames

    def reset(self) -> None:
        self._waiting = 0
        self._random = np.random.default_rng(1)

    def snapshot(self) -> Any:
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        raise NotImplementedError


class _IndexDecoder(Decoder):
    def __init__(self) -> None:
        self._random = np.random.default_rng(1)

    def decode(self, item: PlayoutItem) -> Pcm:
        loudness = 0.1 if isinstance(item, Frame) else 0.001
        return (loudness * self._random.standard_normal(_FRAME)).astype(np.float32)

    def reset(self) -> None:
        self._random = np.random.default_rng(1)

    def snapshot(self) -> Any:
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        raise NotImplementedError


class IndexCodec(Codec):
    """Random indices in, noise out: all of a call but the networks."""

    info = CodecInfo(
        name="indices",
        version=1,
        sample_rate=_RATE,
        frame_size=_FRAME,
        quantizers=_BOOKS,
        codebook_size=2048,
        delay=0,
    )

    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        return _IndexEncoder(self.check_quantizers(quantizers))

    def decoder(self) -> Decoder:
        return _IndexDecoder()


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this process holds: kilobytes of memory, and the interpreter's blocks of it."""

    kilobytes: int
    blocks: int

    @classmethod
    def now(cls) -> Held:
        """After what is not reachable any more has gone."""
        gc.collect()
        return cls(kilobytes=Sample.of(os.getpid()).kilobytes, blocks=sys.getallocatedblocks())


class LongCall:
    """One direction of a call, from the microphone to the ear."""

    def __init__(self, config: CallConfig, *, codec: Codec, seed: int = 1) -> None:
        framing = Framing(config.link.framing)
        self.sender = SenderCore(codec=codec, config=config)
        self.receiver = ReceiverCore(codec=codec, config=config, datagram=not framing.stream)
        line = ChannelConfig(delay_ms=270.0, jitter_ms=20.0, loss=0.03, burst=3.0, seed=seed)
        self._channel = SimulatedChannel(line, rate=config.link.rate, framing=framing)
        self._on_way: list[tuple[float, int, bytes]] = []
        self._order = count()
        self._playhead = 0.0
        self._frames = 0

    @property
    def seconds(self) -> float:
        """How long the call has lasted."""
        return self._frames * FRAME_SECONDS

    def talk(self, pcm: Pcm) -> None:
        """Say one frame, shape (1280,), and let all happen that is due until its end."""
        end = self.seconds + FRAME_SECONDS
        if self.seconds % _TEXT_SECONDS < FRAME_SECONDS:
            self.sender.wire.send_text(f"{self.seconds:.0f} s", self.seconds)
        while (due := self.sender.next_time()) is not None and due < end:
            self._depart(max(due, self.seconds))
        self.sender.push(pcm, end)
        self._depart(end)
        self._frames += 1
        while self._playhead <= end:
            while self._on_way and self._on_way[0][0] <= self._playhead:
                arrival, _, data = heapq.heappop(self._on_way)
                self.receiver.receive(data, arrival)
            self._playhead += self.receiver.pull(self._playhead).seconds

    def _depart(self, now: float) -> None:
        gone = now % _OUTAGE_EVERY > _OUTAGE_EVERY - _OUTAGE_SECONDS
        for departure in self.sender.poll(now):
            for arrival, data in self._channel.transmit(departure.data, now):
                if not gone:
                    heapq.heappush(self._on_way, (arrival, next(self._order), data))


def grow(
    call: LongCall, pcm: Pcm, seconds: float, *, settled: float, tell: Callable[[Held], None]
) -> tuple[Held, Held]:
    """Let a call go on for so long; what is held once it is `settled` (seconds), and at the end.

    tell: called ten times with what is held.
    """
    frames = pcm[: pcm.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    before: Held | None = None
    total = round(seconds / FRAME_SECONDS)
    for number in range(total):
        if before is None and call.seconds >= settled:
            before = Held.now()
        call.talk(frames[number % len(frames)])
        if (number + 1) % max(1, total // 10) == 0:
            tell(Held.now())
    assert before is not None
    return before, Held.now()


def main() -> None:
    """Run the calls."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--clips", type=Path, required=True, help="folder of speech files")
    arguments = parser.parse_args()
    pcm = programme([clip.path for clip in load_clips(arguments.clips)], _PROGRAMME_SECONDS)
    for name in _CONFIGS:
        config = load_config(ROOT / "configs" / f"{name}.toml")
        call = LongCall(config, codec=IndexCodec())

        def tell(held: Held, name: str = name, call: LongCall = call) -> None:
            print(f"{name} {call.seconds / 3600:5.2f} h  {held}", flush=True)

        before, after = grow(
            call, pcm, 3600.0 * arguments.hours, settled=_SETTLED_SECONDS, tell=tell
        )
        counted = dataclasses.asdict(call.receiver.statistics)
        del counted["resync_ms"]
        print(
            f"{name}: grown by {(after.kilobytes - before.kilobytes) / 1000:.2f} MB and "
            f"{after.blocks - before.blocks} blocks after the first "
            f"{_SETTLED_SECONDS / 60:.0f} minutes; {counted}",
            flush=True,
        )


if __name__ == "__main__":
    main()

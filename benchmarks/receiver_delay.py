"""How the jitter buffer handles delay: seeded paths in virtual time, without a codec.

    python -m benchmarks.receiver_delay             all cases; the day of drift takes minutes
    python -m benchmarks.receiver_delay --hours 1   a shorter one
    python -m benchmarks.receiver_delay --plot      delay against jitter: docs/receiver-delay.png

The model of the sender gives packets of numbered frames, the model of the ear plays what the
buffer gives, and scales time as `linkcodec.timescale` does on speech: by whole pitch periods,
so that it falls short of the wish.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from benchmarks.links import ROOT
from benchmarks.packages import need
from linkcodec.frame import FRAME_SECONDS, Frame, Lost
from transport.config import JitterConfig
from transport.jitter import JitterBuffer
from transport.packet import TICKS, Packet, SilencePacket, VoicePacket

__all__ = ["Case", "Heard", "Point", "calm_gaps", "cases", "listen", "point", "speech"]

Path = Callable[[float], float | None]
"""Delay in seconds of a packet that departs at a time; None if it is lost."""

_MOST_JITTER: Final = 0.3

TRAVEL = 0.1
"""Seconds that the fastest packet takes."""

_PITCH = 0.007

_SEEDS: Final = (2, 3, 4)
_MORE_SEEDS: Final = range(20, 32)
_PLOT: Final = ROOT / "docs" / "receiver-delay.png"
_MEANS: Final = (0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.075, 0.1, 0.15)


@dataclass
class Heard:
    """What the model of the ear noticed; times in seconds of the receiver's clock.

    times, delays: for each frame played, when, and how much later than over a path without
    jitter or buffer. gaps: when something else than speech was given inside a talk spurt.
    """

    buffer: JitterBuffer
    times: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    scaled: int = 0

    def mean_delay(self, start: float, end: float = math.inf) -> float:
        """Mean of the delays of frames played from `start` to `end`."""
        chosen = [d for t, d in zip(self.times, self.delays, strict=True) if start <= t < end]
        return sum(chosen) / len(chosen)


def speech(
    seconds: float, *, frames: int = 1, spurt: float = math.inf, pause: float = 1.2
) -> Iterator[tuple[float, Packet]]:
    """Departures of packets of `frames` frames: talk spurts with pauses between, in seconds."""
    tick = 0
    stop = round(seconds / FRAME_SECONDS)
    length = stop if spurt == math.inf else round(spurt / FRAME_SECONDS)
    while tick < stop:
        end = min(tick + length, stop)
        for first in range(tick, end, frames):
            last = min(first + frames, end)
            content = tuple(Frame((t % 2048, t // 2048)) for t in range(first, last))
            packet = VoicePacket(
                tick=first % TICKS, frames=content, start=first == tick, end=last == end
            )
            yield FRAME_SECONDS * last, packet
        yield FRAME_SECONDS * end, SilencePacket(tick=end % TICKS, level_dbfs=-60.0)
        tick = end + round(pause / FRAME_SECONDS)


def listen(
    packets: Iterator[tuple[float, Packet]],
    path: Path,
    *,
    config: JitterConfig | None = None,
    drift: float = 0.0,
) -> Heard:
    """Send packets over a path and play them.

    Args:
        drift: how much faster the sender's clock runs than the receiver's, 0.001 for 1000 ppm.
    """
    heard = Heard(JitterBuffer(config or JitterConfig(), scaling=True))
    waiting: list[tuple[float, int, Packet]] = []
    departure = 0.0
    number = 0
    now = 0.01
    while True:
        # A packet may overtake others, but nothing that departs later arrives before it departs.
        while departure <= now:
            entry = next(packets, None)
            if entry is None:
                departure = math.inf
                break
            departure = entry[0] / (1 + drift)
            delay = path(departure)
            number += 1
            if delay is not None:
                heapq.heappush(waiting, (departure + TRAVEL + delay, number, entry[1]))
        while waiting and waiting[0][0] <= now:
            arrival, _, packet = heapq.heappop(waiting)
            heard.buffer.insert(packet, arrival)
        if departure == math.inf and not waiting and not heard.buffer.buffered:
            return heard
        now += _play(heard, now, drift)


def _play(heard: Heard, now: float, drift: float) -> float:
    """Play one item; gives how long it takes."""
    item = heard.buffer.next(now)
    wish = heard.buffer.stretch.seconds
    if isinstance(item, Lost):
        heard.gaps.append(now)
        return FRAME_SECONDS
    if not isinstance(item, Frame):
        return FRAME_SECONDS + wish
    tick = item.indices[0] + 2048 * item.indices[1]
    heard.times.append(now)
    heard.ticks.append(tick)
    heard.delays.append(now - FRAME_SECONDS * (tick + 1) / (1 + drift) - TRAVEL)
    if heard.buffer.stretch.urgency.name == "PAUSE":
        return FRAME_SECONDS
    heard.scaled += 1
    periods = abs(wish) // _PITCH
    return FRAME_SECONDS + math.copysign(periods * _PITCH, wish)


def jitter(mean: float, *, most: float, seed: int, kind: str = "clipped") -> Path:
    """Exponential delays with a mean before none is longer than `most`.

    kind: "clipped", where longer ones become `most`; "truncated", where they are drawn again;
    "ordered", where they are clipped and none overtakes another.
    """
    rng = random.Random(seed)
    last = 0.0

    def path(departure: float) -> float:
        nonlocal last
        delay = rng.expovariate(1 / mean)
        while kind == "truncated" and delay > most:
            delay = rng.expovariate(1 / mean)
        delay = min(delay, most)
        if kind == "ordered":
            delay = max(delay, last - departure)
            last = departure + delay
        return delay

    return path


def with_spikes(path: Path, *, every: float, height: float, stall: bool) -> Path:
    """One late packet, or with `stall` all of them held up until `height` seconds are over."""
    spiked = 0

    def spiky(departure: float) -> float | None:
        nonlocal spiked
        delay = path(departure)
        phase = departure % every
        if delay is None or departure < every:
            return delay
        if stall:
            return max(delay, height - phase)
        if int(departure / every) > spiked:
            spiked = int(departure / every)
            return delay + height
        return delay

    return spiky


def step(path: Path, *, up: float, down: float, height: float) -> Path:
    """A path that is longer by `height` from the time `up` to the time `down`."""

    def stepped(departure: float) -> float | None:
        delay = path(departure)
        return delay if delay is None or not up <= departure < down else delay + height

    return stepped


def in_order(path: Path) -> Path:
    """The same path, but none overtakes another: what is late holds up what follows."""
    last = -math.inf

    def queued(departure: float) -> float | None:
        nonlocal last
        delay = path(departure)
        if delay is None:
            return None
        last = max(last, departure + delay)
        return last - departure

    return queued


def outage(path: Path, *, start: float, seconds: float, stored: bool) -> Path:
    """Nothing comes through; with `stored`, all of it is let go at the end."""

    def broken(departure: float) -> float | None:
        if not start <= departure < start + seconds:
            return path(departure)
        return start + seconds - departure if stored else None

    return broken


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    figures: str


def cases(*, hours: float, seeds: Sequence[int] = _SEEDS) -> Iterator[Case]:
    """Run everything."""
    for kind in ("clipped", "truncated", "ordered"):
        for mean in (0.06, 0.075, 0.1) if kind == "clipped" else (0.1,):
            for stall in (False, True):
                yield _spikes(mean, kind=kind, stall=stall, seeds=seeds)
    for frames in (1, 7):
        yield _step(frames)
        for stored in (False, True):
            yield _outage(frames, stored=stored)
        for mean in (0.005, 0.02, 0.06):
            for ordered in (False, True):
                yield _returns(mean, frames=frames, ordered=ordered)
        yield _stored_spurts(frames)
    for drift in (1e-3, -1e-3):
        for spurt in (math.inf, 4.0):
            yield _drift(drift, hours=hours, spurt=spurt)


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


_SPIKE_EVERY: Final = 30.0
_SPIKE_SECONDS: Final = 1.5


def calm_gaps(heard: Heard) -> list[float]:
    """Gaps after the first 5 s that lie outside 2 s of a spike."""
    return [
        gap
        for gap in heard.gaps
        if gap > 5.0 and not -0.2 < gap - round((gap - 0.9) / _SPIKE_EVERY) * _SPIKE_EVERY < 2.0
    ]


def _spikes(mean: float, *, kind: str, stall: bool, seeds: Sequence[int]) -> Case:
    source = jitter(mean, most=_MOST_JITTER, seed=1, kind=kind)
    sample = [source(0.08 * i) or 0.0 for i in range(20_000)]
    limit = _quantile(sample, 0.95) + 0.08
    beyond = sum(value > limit for value in sample) / len(sample) * 7500
    gaps, delays, after = [], [], []
    late = 0
    for seed in seeds:
        path = with_spikes(
            jitter(mean, most=_MOST_JITTER, seed=seed, kind=kind),
            every=_SPIKE_EVERY,
            height=_SPIKE_SECONDS,
            stall=stall,
        )
        heard = listen(speech(600.0), path)
        gaps.append(len(calm_gaps(heard)))
        delays.append(heard.mean_delay(5))
        over = [spike + _SPIKE_SECONDS + 5.0 for spike in range(30, 590, 30)]
        after.append(max(heard.mean_delay(time, time + 2.0) for time in over))
        late += heard.buffer.statistics.frames_late + heard.buffer.statistics.frames_skipped
    return Case(
        name=f"jitter of {1000 * mean:.0f} ms, {kind}, "
        f"{'stalls' if stall else 'single packets'} of 1.5 s every 30 s, {len(seeds)} seeds",
        figures=f"gaps outside spikes {sum(gaps)} in {sum(gap > 0 for gap in gaps)} seeds "
        f"({beyond:.1f} a seed are later than the limit), mean delay "
        f"{1000 * sum(delays) / len(delays):.0f} ms, at most {1000 * max(delays):.0f} (limit "
        f"{1000 * limit:.0f}), 5 to 7 s after a spike at most {1000 * max(after):.0f} ms, "
        f"frames late or skipped {late}",
    )


def _step(frames: int) -> Case:
    path = step(jitter(0.02, most=0.1, seed=3), up=30.0, down=60.0, height=1.0)
    heard = listen(speech(100.0, frames=frames), path)
    counted = heard.buffer.statistics
    return Case(
        name=f"step of 1 s from 30 to 60 s, {frames} frames per packet",
        figures=f"delay before {1000 * heard.mean_delay(20, 30):.0f} ms, at 35 s "
        f"{1000 * heard.mean_delay(35, 36):.0f}, at 55 s {1000 * heard.mean_delay(55, 60):.0f}, "
        f"5 s after the step back {1000 * heard.mean_delay(65, 66):.0f} ms; frames lost or late "
        f"{counted.frames_lost + counted.frames_late}, skipped {counted.frames_skipped}",
    )


def _outage(frames: int, *, stored: bool) -> Case:
    path = outage(jitter(0.02, most=0.1, seed=4), start=30.0, seconds=70.0, stored=stored)
    heard = listen(speech(160.0, frames=frames), path)
    first = 30.0 + 70.0 + TRAVEL + frames * FRAME_SECONDS
    back = next(time for time in heard.times if time > 99.0)
    oldest = max(d for t, d in zip(heard.times, heard.delays, strict=True) if t > 99.0)
    return Case(
        name=f"outage of 70 s, {'stored and let go' if stored else 'lost'}, "
        f"{frames} frames per packet",
        figures=f"sound {1000 * (back - first):.0f} ms after the first good frame, oldest speech "
        f"played {1000 * oldest:.0f} ms late, 10 s later {1000 * heard.mean_delay(110, 112):.0f}",
    )


def _returns(mean: float, *, frames: int, ordered: bool) -> Case:
    more, sound = [], []
    for seed in _MORE_SEEDS:
        path = step(jitter(mean, most=_MOST_JITTER, seed=seed), up=30.0, down=60.0, height=1.0)
        heard = listen(speech(100.0, frames=frames), in_order(path) if ordered else path)
        later = max(heard.mean_delay(time, time + 2.0) for time in range(65, 97))
        more.append(later - heard.mean_delay(20, 30))
        source = jitter(mean, most=_MOST_JITTER, seed=seed)
        path = outage(source, start=30.0, seconds=70.0, stored=False)
        heard = listen(speech(120.0, frames=frames), in_order(path) if ordered else path)
        first = 30.0 + 70.0 + TRAVEL + frames * FRAME_SECONDS
        sound.append(next(time for time in heard.times if time > 99.0) - first)
    return Case(
        name=f"the same two, jitter of {1000 * mean:.0f} ms, {'in order, ' if ordered else ''}"
        f"{len(_MORE_SEEDS)} seeds",
        figures=f"from 5 s after the step back at most {1000 * max(more):.0f} ms more than before; "
        f"sound at most {1000 * max(sound):.0f} ms after the first good frame",
    )


def _stored_spurts(frames: int) -> Case:
    oldest, sound = [], []
    for seed in _MORE_SEEDS:
        source = jitter(0.02, most=0.1, seed=seed)
        length = 10.0 + 5.0 * (seed - _MORE_SEEDS[0])
        end = 30.0 + length
        path = in_order(outage(source, start=30.0, seconds=length, stored=True))
        heard = listen(speech(end + 30.0, frames=frames, spurt=3.0, pause=0.8), path)
        late = [d for t, d in zip(heard.times, heard.delays, strict=True) if t > end]
        oldest.append(max(late))
        sound.append(next(time for time in heard.times if time > end) - end - TRAVEL)
    return Case(
        name=f"talk spurts of 3 s, stored for 10 to 65 s and let go in order, {frames} frames per "
        f"packet, {len(_MORE_SEEDS)} seeds",
        figures=f"oldest speech played {1000 * max(oldest):.0f} ms late, sound at most "
        f"{1000 * max(sound):.0f} ms after the outage, pauses of 800 ms included",
    )


def _drift(drift: float, *, hours: float, spurt: float) -> Case:
    seconds = 3600 * hours
    heard = listen(speech(seconds, spurt=spurt), jitter(0.01, most=0.05, seed=5), drift=drift)
    late = heard.delays[len(heard.delays) // 100 :]
    gaps = len([gap for gap in heard.gaps if gap > 5])
    return Case(
        name=f"{hours:g} h at {1e6 * drift:+.0f} ppm, "
        + ("no pauses" if spurt == math.inf else f"spurts of {spurt:.0f} s"),
        figures=f"delay {1000 * min(late):.0f} to {1000 * max(late):.0f} ms, drift seen "
        f"{heard.buffer.drift_ppm:+.0f} ppm, {60 * heard.buffer.corrections / seconds:.2f} "
        f"corrections per minute, {gaps} gaps",
    )


@dataclass(frozen=True, kw_only=True)
class Point:
    """Exponential jitter of a mean, clipped at 0.3 s: its quantile, and what the buffer made of
    it. Seconds; lost: share of the frames that came too late. least: the same share for a buffer
    that has always the delay `mean_delay`."""

    mean: float
    quantile: float
    mean_delay: float
    lost: float
    least: float


def point(mean: float, *, seconds: float, seeds: Sequence[int] = _SEEDS) -> Point:
    """Speech without a pause, but for the first 5 s of each seed."""
    frames = round(seconds / FRAME_SECONDS)
    source = jitter(mean, most=_MOST_JITTER, seed=1)
    sample = sorted(source(0.0) or 0.0 for _ in range(20_000))
    heard = [listen(speech(seconds), jitter(mean, most=_MOST_JITTER, seed=seed)) for seed in seeds]
    delay = sum(one.mean_delay(5.0) for one in heard) / len(heard)
    gaps = sum(len([gap for gap in one.gaps if gap > 5.0]) for one in heard)
    return Point(
        mean=mean,
        quantile=_quantile(sample, 0.95),
        mean_delay=delay,
        lost=gaps / frames / len(heard),
        least=sum(value > delay for value in sample) / len(sample),
    )


def plot(points: Sequence[Point], path: FilePath) -> None:
    """Delay and late frames over the mean of the jitter."""
    need("matplotlib").use("Agg")
    pyplot: Any = need("matplotlib.pyplot", package="matplotlib")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    means = [1000 * one.mean for one in points]
    left.plot(means, [1000 * one.mean_delay for one in points], "o-", label="mean delay")
    left.plot(means, [1000 * one.quantile for one in points], "--", label="95 % of the jitter")
    left.plot(means, [1000 * one.quantile + 80 for one in points], ":", label="and 80 ms")
    left.set_ylabel("ms")
    right.plot(means, [100 * one.lost for one in points], "o-", label="late, %")
    right.plot(means, [100 * one.least for one in points], "--", label="at a fixed delay, %")
    for axis in (left, right):
        axis.set_xlabel("mean of the jitter, ms")
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=float, default=24.0, help="length of the cases of drift")
    parser.add_argument("--seeds", type=int, default=len(_SEEDS), help="of the cases of spikes")
    parser.add_argument("--plot", action="store_true", help="draw delay against jitter instead")
    args = parser.parse_args()
    if args.plot:
        points = [point(mean, seconds=300.0) for mean in _MEANS]
        for one in points:
            print(one, flush=True)
        plot(points, _PLOT)
        return
    for case in cases(hours=args.hours, seeds=range(2, 2 + args.seeds)):
        print(f"{case.name}: {case.figures}", flush=True)


if __name__ == "__main__":
    main()

"""Adaptation: what a receiver reports, and what the sender makes of it.

The sender climbs a ladder: each step spends more of the line on redundancy and less on
quality. A loss above a step's limit is answered at once; a better link must last before the
sender trusts it, and the way back is one step at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from transport.budget import packets_fit
from transport.linerate import Framing
from transport.packet import TICKS
from transport.redundancy import Redundancy
from transport.wire import ReceiverReport

__all__ = ["LOSS_LIMITS", "Controller", "LossMeter", "Step", "packet_steps"]

LOSS_LIMITS: Final = (0.01, 0.04, 0.15)
"""Share of frames lost above which the sender takes the next step."""

_HYSTERESIS: Final = 0.5
"""A step is left again below this part of its limit."""

_REPORTS_STOPPED: Final = 30.0
"""Seconds without a report after which the settings of the file count again."""

_BURSTY: Final = 1.3
"""Mean length of a run of losses above which a copy two packets later does more than parity."""

_COPY: Final = (2,)
_PARITY: Final = (1, 3)
_BOOKS: Final = (0, 1, 2, 3)
"""Books that redundancy covers, by step."""

_LEAST_FRAMES: Final = 12
"""Frames that a report is made of at least: about a second."""


class Controller:
    """Chooses a step from reports.

    limits: share of losses above which the step after it is taken. patience: seconds that a
    better link must last before the step below is taken.
    """

    def __init__(self, *, limits: Sequence[float] = LOSS_LIMITS, patience: float) -> None:
        self._limits = tuple(limits)
        self._patience = patience
        self._level = 0
        self._better_since: float | None = None
        self._reported: float | None = None
        self.bursty = False

    def take(self, report: ReceiverReport, now: float) -> None:
        """Take a report that arrived at `now` (seconds)."""
        self._reported = now
        if report.loss > 0:
            self.bursty = report.burst > _BURSTY
        wanted = sum(report.loss > limit for limit in self._limits)
        if wanted > self._level:
            self._level = wanted
            self._better_since = None
        elif self._level and report.loss < _HYSTERESIS * self._limits[self._level - 1]:
            if self._better_since is None:
                self._better_since = now
            elif now - self._better_since >= self._patience:
                self._level -= 1
                self._better_since = now
        else:
            self._better_since = None

    def level(self, now: float) -> int | None:
        """The step to use, 0 for a good link; None without recent reports."""
        if self._reported is None or now - self._reported > _REPORTS_STOPPED:
            self._level, self._better_since = 0, None
            return None
        return self._level


@dataclass(frozen=True, kw_only=True)
class Step:
    """Settings of packet mode: books per frame, frames per packet, redundancy."""

    quantizers: int
    frames: int
    redundancy: Redundancy | None = None


def packet_steps(
    rate: int,
    framing: Framing,
    *,
    floor: int,
    ceiling: int,
    most_frames: int,
    bursty: bool,
    tag_bytes: int = 0,
) -> tuple[Step, ...]:
    """The ladder of packet mode: for 0, 1, 2 and 3 books covered by redundancy, what fits best.

    At most `most_frames` frames per packet; of those with the most books the shortest packets.
    tag_bytes: that security adds to a packet.
    A step for which less than `floor` books are left is the one before it.
    """
    distances = _COPY if bursty else _PARITY
    steps: list[Step] = []
    for covered in _BOOKS:
        choices = [
            (-quantizers, frames)
            for frames in range(1, most_frames + 1)
            for quantizers in range(max(floor, covered), ceiling + 1)
            if packets_fit(rate, framing, quantizers, frames, covered, tag_bytes=tag_bytes)
        ]
        if not choices and steps:
            steps.append(steps[-1])
        elif choices:
            quantizers, frames = min(choices)
            redundancy = Redundancy(books=covered, distances=distances) if covered else None
            steps.append(Step(quantizers=-quantizers, frames=frames, redundancy=redundancy))
    return tuple(steps)


class LossMeter:
    """Counts what did not come, from the ticks of the packets that did.

    report_seconds: from one due report to the next.
    """

    def __init__(self, *, report_seconds: float = 0.0) -> None:
        self._report_seconds = report_seconds
        self._report_at: float | None = None
        self._expected: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._heard = self._lost = self._repaired = 0
        self._runs = self._lost_packets = 0

    def voice(self, *, tick: int, frames: int, start: bool, end: bool) -> None:
        """A packet (or slot) of `frames` frames from `tick` on came, modulo `TICKS`."""
        expected, self._expected = self._expected, None if end else (tick + frames) % TICKS
        self._heard += frames
        if expected is None:
            if not start:
                self._add_run(frames, frames)
            return
        gap = (tick - expected + TICKS // 2) % TICKS - TICKS // 2
        if gap < 0:  # overtaken by a later one, and counted as lost then
            self._expected = expected
            self._lost = max(0, self._lost - frames)
        elif gap and not start:
            self._add_run(gap, frames)

    def _add_run(self, lost: int, frames: int) -> None:
        self._lost += lost
        self._runs += 1
        self._lost_packets += -(-lost // frames)

    def silence(self, tick: int) -> None:
        """The spurt, if there was one, ended before `tick`."""
        if self._expected is not None:
            gap = (tick - self._expected) % TICKS
            if 0 < gap < TICKS // 2:
                self._add_run(gap, gap)
        self._expected = None

    def repaired(self, frames: int) -> None:
        """So many lost frames were found by redundancy."""
        self._repaired += frames

    def due_report(self, now: float) -> ReceiverReport | None:
        """A report, where one is due and there is something to tell."""
        if self._report_at is None:
            self._report_at = now + self._report_seconds
        if now < self._report_at:
            return None
        report = self.report()
        if report is not None:
            self._report_at = now + self._report_seconds
        return report

    def report(self) -> ReceiverReport | None:
        """What was counted since the last report; None if it was next to nothing."""
        total = self._heard + self._lost
        if total < _LEAST_FRAMES:
            return None
        report = ReceiverReport(
            loss=self._lost / total,
            residual=max(0, self._lost - self._repaired) / total,
            burst=self._lost_packets / self._runs if self._runs else 1.0,
        )
        self._clear()
        return report

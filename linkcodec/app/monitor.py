"""`linkcodec health` and `linkcodec monitor`: how a running call does, from its statistics.

Both read what `--metrics PORT` serves or what `--stats FILE` writes, and never touch the call.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from linkcodec.app.command import StopFlag, finite, port_number, write_line
from linkcodec.app.metrics import snake
from linkcodec.app.status import meter
from linkcodec.exceptions import InputError, LinkError

__all__ = [
    "Watched",
    "add_health_arguments",
    "add_monitor_arguments",
    "health",
    "judge",
    "monitor",
    "read_figures",
]

_SAMPLE: Final = re.compile(r"^linkcodec_[a-z]+_(\w+) (\S+)$", re.MULTILINE)
_TAIL_BYTES: Final = 16_384
_SECONDS: Final = 2.0
_STALE_SECONDS: Final = 10.0
_REFRESH_SECONDS: Final = 0.5
_HISTORY: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"
_FLOOR_DB: Final = -60.0
_COLOURS: Final = {"good": "\x1b[32m", "bad": "\x1b[31m", "faint": "\x1b[2m", "bold": "\x1b[1m"}
_PLAIN: Final = "\x1b[0m"
_STAGES: Final = ("frame", "packet", "codec", "jitter_buffer", "speaker")
_OUTWARD_STAGES: Final = ("microphone", "queue", "line")

Figures = Mapping[str, float]


def read_figures(*, port: int | None, path: str | None) -> Figures:
    """The latest figures, by the names of docs/receiver.md in small letters.

    Raises:
        LinkError: the call does not answer, has no figures yet, or has written none for 10 s.
        InputError: there is no such file, or it holds no statistics.
    """
    if port is not None:
        return _served(port)
    assert path is not None
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError(f"--stats {path}: cannot be read: {error.strerror}") from None
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("time"), float | int):
            age = time.time() - found["time"]
            if age > _STALE_SECONDS:
                raise LinkError(f"--stats {path}: nothing written for {age:.0f} s: is it running?")
            return _numbers((snake(name), value) for name, value in found.items())
    raise InputError(f"--stats {path}: no statistics in it: start the call with --stats {path}")


def _served(port: int) -> Figures:
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise LinkError(f"--metrics {port}: {reason}: is the call running?") from None
    finally:
        connection.close()
    figures = _numbers(_SAMPLE.findall(text))
    if not figures:
        raise LinkError(f"--metrics {port}: no figures of a call there: is it the call's port?")
    return figures


def _numbers(found: Iterable[tuple[str, object]]) -> Figures:
    """What of it is a number; all else a call's statistics do not have."""
    figures: dict[str, float] = {}
    for name, value in found:
        with contextlib.suppress(ValueError):
            number = float(value) if isinstance(value, float | int | str) else math.nan
            if math.isfinite(number):
                figures[name] = number
    return figures


def judge(figures: Figures, *, silent: float, loss: float) -> str:
    """Why a call is not well, in words; empty if it is."""
    quiet = figures.get("silent_seconds")
    receives = "frames_received_total" in figures
    if receives and quiet is None:
        return "nothing has come over the link yet"
    if quiet is not None and quiet > silent:
        return f"nothing has come over the link for {quiet:.0f} s"
    share = _loss(figures)
    if share > loss:
        return f"{100 * share:.1f} % of the frames were lost"
    return ""


def _loss(figures: Figures, since: Figures | None = None) -> float:
    """Share of frames that were lost or late, from `since` on; 0 to 1."""
    old = since or {}

    def grown(name: str) -> float:
        return figures.get(name, 0.0) - old.get(name, 0.0)

    missed = grown("frames_lost_total") + grown("frames_late_total")
    wanted = grown("frames_received_total") + grown("frames_lost_total")
    return missed / wanted if wanted > 0 else 0.0


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--metrics", metavar="PORT", type=port_number, help="the call's --metrics port"
    )
    source.add_argument("--stats", metavar="FILE", help="the call's --stats file")


def add_health_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec health`."""
    parser.description = (
        "Say whether a call that runs with --metrics or --stats is well: exit status 0, or 1\n"
        "and the reason. For scripts, and for monitors such as Nagios."
    )
    _add_source(parser)
    parser.add_argument(
        "--silent",
        metavar="S",
        type=finite,
        default=30.0,
        help="seconds without a packet that are still well (default: 30)",
    )
    parser.add_argument(
        "--loss",
        metavar="P",
        type=finite,
        default=0.5,
        help="share of lost frames that is still well (default: 0.5)",
    )


def health(args: argparse.Namespace) -> int:
    """Run `linkcodec health`."""
    if args.silent < 0:
        raise InputError(f"--silent {args.silent:g} is not possible: use 0 or more seconds")
    if not 0 <= args.loss <= 1:
        raise InputError(f"--loss {args.loss:g} is not possible: use a share from 0 to 1")
    figures = read_figures(port=args.metrics, path=args.stats)
    reason = judge(figures, silent=args.silent, loss=args.loss)
    if reason:
        raise LinkError(reason)
    if "frames_received_total" in figures:
        write_line(f"well: {100 * _loss(figures):.1f} % of the frames lost")
    else:  # who only sends cannot know
        write_line(f"well: {figures.get('frames_sent_total', 0.0):.0f} frames sent")
    return 0


@dataclass(kw_only=True)
class Watched:
    """What a screen shows of a call: the latest figures, and some from before."""

    colours: bool
    figures: Figures = field(default_factory=dict)
    trouble: str = ""
    _before: deque[Figures] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def take(self, figures: Figures) -> None:
        """Newer figures."""
        self.figures = figures
        self._before.append(figures)

    def _paint(self, text: str, colour: str) -> str:
        return f"{_COLOURS[colour]}{text}{_PLAIN}" if self.colours else text

    def lines(self, width: int) -> list[str]:
        """The screen, a line each, at most `width` letters wide (colours left out)."""
        if self.trouble:
            return [self._paint(self.trouble[:width], "bad")]
        figures = self.figures
        lines = [self._paint("linkcodec monitor", "bold"), ""]
        if "send_level_dbfs" in figures or "frames_captured_total" in figures:
            prefix = "send_" if "send_level_dbfs" in figures else ""
            lines += self._outgoing(prefix, width)
        if "frames_received_total" in figures:
            lines += self._incoming(width)
        return [line.rstrip() for line in lines]

    def _history(self, name: str, width: int) -> str:
        levels = [figures.get(name, _FLOOR_DB) for figures in self._before]
        shares = [min(1.0, max(0.0, 1.0 - level / _FLOOR_DB)) for level in levels]
        cells = [_BARS[round(share * (len(_BARS) - 1))] for share in shares]
        return "".join(cells[-max(1, width - 30) :])

    def _outgoing(self, prefix: str, width: int) -> list[str]:
        figures = self.figures
        level = figures.get(f"{prefix}level_dbfs", -100.0)
        on = figures.get(f"{prefix}transmitting", 0.0) > 0
        lamp = self._paint("● on air", "bad") if on else self._paint("○ quiet", "faint")
        return [
            f"out  {meter(level)}  {self._history(f'{prefix}level_dbfs', width)}",
            f"     {lamp}   {figures.get(f'{prefix}wire_bps', 0.0):.0f} bit/s   "
            f"{figures.get(f'{prefix}frames_sent_total', 0.0):.0f} frames sent, "
            f"{figures.get(f'{prefix}frames_dropped_total', 0.0):.0f} dropped",
            f"     delay {self._delays(_OUTWARD_STAGES, prefix)}",
            "",
        ]

    def _delays(self, stages: Sequence[str], prefix: str = "") -> str:
        """The stages' delays and their sum."""
        named = [(stage, f"{prefix}latency_{stage}_seconds") for stage in stages]
        known = [
            (stage.replace("_", " "), 1000 * self.figures[name])
            for stage, name in named
            if name in self.figures
        ]
        if not known:
            return "unknown"
        total = sum(delay for _, delay in known)
        return f"{total:.0f} ms: " + ", ".join(f"{name} {delay:.0f}" for name, delay in known)

    def _incoming(self, width: int) -> list[str]:
        figures = self.figures
        quiet = figures.get("silent_seconds", math.inf)
        lamp = self._paint("● in sync", "good")
        if quiet > _STALE_SECONDS:
            since = "nothing yet" if math.isinf(quiet) else f"nothing for {quiet:.0f} s"
            lamp = self._paint(f"○ {since}", "bad")
        recent = 100 * _loss(figures, self._before[0] if len(self._before) > 1 else None)
        loss = f"{recent:.1f} % lost"
        quality = figures.get("quality_mos")
        return [
            f"in   {meter(figures.get('level_dbfs', -100.0))}  "
            f"{self._history('level_dbfs', width)}",
            f"     {lamp}   {figures.get('wire_bps', 0.0):.0f} bit/s   "
            f"{self._paint(loss, 'bad') if recent > 2.0 else loss}   "
            f"{figures.get('frames_concealed_total', 0.0):.0f} concealed"
            + ("" if quality is None else f"   quality {quality:.1f} of 5"),
            f"     delay here {self._delays(_STAGES)}",
            f"     {figures.get('packets_damaged_total', 0.0):.0f} packets damaged, "
            f"drift {figures.get('drift_ppm', 0.0):.0f} ppm",
        ]


def add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec monitor`."""
    parser.description = (
        "Watch a call that runs with --metrics or --stats: levels and their history, sync,\n"
        "rate, loss, delay by stage. Ctrl-C ends it. Without a terminal, or with NO_COLOR\n"
        "set, there are no colours."
    )
    _add_source(parser)
    parser.add_argument("--once", action="store_true", help="show it once and end")


def monitor(args: argparse.Namespace) -> int:
    """Run `linkcodec monitor`."""
    terminal = sys.stdout.isatty()
    watched = Watched(colours=terminal and "NO_COLOR" not in os.environ)
    with StopFlag() as stop:
        while not stop:
            try:
                watched.take(read_figures(port=args.metrics, path=args.stats))
                watched.trouble = ""
            except LinkError as error:
                if args.once:
                    raise
                watched.trouble = str(error)
            lines = watched.lines(shutil.get_terminal_size().columns)
            if args.once:
                write_line("\n".join(lines))
                return 0
            clear = "\x1b[H\x1b[J" if terminal else ""
            sys.stdout.write(clear + "\n".join(lines) + "\n")
            sys.stdout.flush()
            time.sleep(_REFRESH_SECONDS)
    return 0

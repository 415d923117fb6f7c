"""The live status of a daemon, on standard error.

A terminal gets one line that is rewritten in place; anything else (a log, a journal) gets
a plain line every ten seconds, with time stamps or as JSON if `--log` asks for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import numpy as np

from linkcodec.codec import Pcm

__all__ = ["StatusLine", "add_status_options", "level_dbfs", "meter", "open_status"]

TERMINAL_INTERVAL: Final = 0.25
"""Seconds between two updates on a terminal."""

PLAIN_INTERVAL: Final = 10.0
"""Seconds between two lines elsewhere."""

LOG_FORMS: Final = ("plain", "stamped", "json")

_CLEAR: Final = "\r\x1b[K"
_METER_FLOOR_DB: Final = -60.0
_METER_CELLS: Final = 12


def level_dbfs(pcm: Pcm) -> float:
    """RMS level in dB full scale, at least -100."""
    power = float(np.mean(np.square(pcm, dtype=np.float64))) if pcm.size else 0.0
    return 10.0 * float(np.log10(max(power, 1e-10)))


def meter(level_dbfs: float) -> str:
    """A level of -60 to 0 dB full scale as a bar of twelve cells and a number."""
    share = min(1.0, max(0.0, 1.0 - level_dbfs / _METER_FLOOR_DB))
    cells = round(share * _METER_CELLS)
    return f"[{'#' * cells}{'.' * (_METER_CELLS - cells)}] {max(level_dbfs, -99.0):4.0f} dB"


class StatusLine:
    """Writes the status and, between updates, single messages.

    Args:
        stream: standard error.
        quiet: write nothing but what `warn` is given.
        form: of `LOG_FORMS`; all but "plain" write a log, on a terminal too.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False, form: str = "plain") -> None:
        self._stream = stream
        self._quiet = quiet
        self._form = form
        self._terminal = stream.isatty() and form == "plain"
        self._next = float("-inf")
        self._shown = False

    def hushed(self) -> StatusLine:
        """The same for another thread, which only warns."""
        return _Hushed(self, self._stream)

    def due(self, now: float) -> bool:
        """Whether `update` would write anything at `now` seconds."""
        return not self._quiet and now >= self._next

    def update(self, text: str, now: float) -> None:
        """Show `text` as the present status, if it is time to."""
        if not self.due(now):
            return
        if self._next == float("-inf") and not self._terminal:
            # The first plain line comes when there is something to tell.
            self._next = now + PLAIN_INTERVAL
            return
        if self._terminal:
            self._next = now + TERMINAL_INTERVAL
            self._stream.write(_CLEAR + text)
            self._shown = True
        else:
            self._next = now + PLAIN_INTERVAL
            self._stream.write(self._line("status", text))
        self._stream.flush()

    def _line(self, level: str, text: str) -> str:
        """A line of the log; `level` is "status", "info" or "warning"."""
        if self._form == "plain":
            return text + "\n"
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._form == "stamped":
            return f"{moment} {level:7} {text}\n"
        line = {"time": moment, "level": level, "message": text}
        return json.dumps(line, ensure_ascii=False) + "\n"

    def message(self, text: str) -> None:
        """A line that stays: what was opened, the summary at the end."""
        if not self._quiet:
            self._stay("info", text)

    def warn(self, text: str) -> None:
        """As `message`, quiet or not: what went wrong and why, or is well again."""
        self._stay("warning", text)

    def _stay(self, level: str, text: str) -> None:
        self._stream.write((_CLEAR if self._shown else "") + self._line(level, text))
        self._stream.flush()
        self._shown = False

    def close(self) -> None:
        """Leave the last status on a line of its own."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = False


class _Hushed(StatusLine):
    """Hands on warnings, and keeps all else to itself."""

    def __init__(self, status: StatusLine, stream: TextIO) -> None:
        super().__init__(stream, quiet=True)
        self._status = status

    def warn(self, text: str) -> None:
        self._status.warn(text)


def add_status_options(parser: argparse.ArgumentParser) -> None:
    """The flags `--quiet` and `--log`."""
    parser.add_argument("--quiet", action="store_true", help="no status, only warnings and errors")
    parser.add_argument(
        "--log",
        choices=LOG_FORMS,
        default="plain",
        help="how the status is written: stamped, a log with time and level; json, the same as "
        "JSON lines (default: plain)",
    )


def open_status(args: argparse.Namespace) -> StatusLine:
    """The status on standard error, as these flags say."""
    return StatusLine(sys.stderr, quiet=args.quiet, form=args.log)

"""What the command line and the daemons share: parsing, exit statuses, one-line errors."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from linkcodec.exceptions import InputError, LinkcodecError

__all__ = [
    "AUDIO_SUFFIXES",
    "Parser",
    "SignalFlag",
    "StopFlag",
    "check_output_path",
    "finite",
    "port_number",
    "run_command",
    "whole",
    "write_line",
]

AUDIO_SUFFIXES: Final = (".wav", ".flac")
"""Kinds of audio file that are written."""

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose options are never guessed."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def whole(text: str) -> int:
    """A whole number, as an argparse type."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def port_number(text: str) -> int:
    """A TCP port, as an argparse type."""
    number = whole(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port: use 1 to 65535")
    return number


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a finite number")
    return value


def check_output_path(path: str, *, what: str, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output file that cannot be written before any work is done.

    Raises:
        InputError: its folder is missing, the path is a folder, or the name ends in none of
            the `suffixes`.
    """
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise InputError(f"{path}: name the {what} {' or '.join(suffixes)}")
    if target.is_dir():
        raise InputError(f"{path}: this is a folder: name a file for the {what}")
    if not target.parent.is_dir():
        raise InputError(f"{path}: the folder {target.parent} for the {what} is missing: make it")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise InputError(f"{path}: no permission to write the {what} there")


def write_line(text: str = "") -> None:
    """A line on standard output: the result of a command."""
    sys.stdout.write(text + "\n")


def run_command(prog: str, run: Callable[[], int]) -> int:
    """Run a command and turn what goes wrong into one line and an exit status."""
    # Frames are small: more threads would only wait for each other, and starve the rest of
    # the machine. NumPy is loaded by now, and torch, where a codec needs it, is not.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            status = run()
        sys.stdout.flush()
    except LinkcodecError as error:
        text = " ".join(str(error).split())
        sys.stderr.write(f"{prog}: error: {text}\n")
        return EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILURE
    except KeyboardInterrupt:
        sys.stderr.write(f"{prog}: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read standard output has gone; keep the interpreter from flushing to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{prog}: error: {name}{error.strerror or error}\n")
        return EXIT_FAILURE
    return status


class StopFlag:
    """Turns true on the first SIGINT or SIGTERM, so that a daemon can end its call.

    A second signal does what it would have done anyway. Use as a context manager, in the
    main thread.
    """

    def __init__(self) -> None:
        self._set = False
        self._before: dict[signal.Signals, Any] = {}

    def __bool__(self) -> bool:
        return self._set

    def set(self) -> None:
        """Ask for the end, as a signal does."""
        self._set = True

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._set = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


class SignalFlag:
    """Turns true on each signal of one kind, such as SIGHUP, by which a daemon is asked to read
    its configuration again.

    Use as a context manager, in the main thread.
    """

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._set = False

    def __enter__(self) -> Self:
        self._before: Any = signal.signal(self._number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(self._number, self._before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._set = True

    def take(self) -> bool:
        """Whether one came since the last call."""
        was, self._set = self._set, False
        return was

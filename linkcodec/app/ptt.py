"""Push to talk: where the key of gate.mode "momentary" and "latching" is read from.

`gate.ptt` is "keyboard", the space bar of the terminal, or the path of a named pipe or a file
in which 1 means down and 0 up: what a script, a foot switch or a GPIO line writes.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import termios
import tty
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from linkcodec.exceptions import ConfigError, LinkError
from linkcodec.gate import GateConfig

__all__ = ["KEYBOARD", "TalkKey", "open_key", "refuse_key"]

KEYBOARD: Final = "keyboard"

_HELD: Final = 0.7
"""Seconds after which a space bar that does not repeat is up: terminals tell nobody of a release,
and repeat a held key after 0.25 to 0.66 s."""

_MOST_BYTES: Final = 4096


class TalkKey(ABC):
    """A key that is down or up."""

    @abstractmethod
    def down(self, now: float) -> bool:
        """Whether the key is down at `now` seconds; returns at once.

        Raises:
            LinkError: the key cannot be read any more.
        """


class _Keyboard(TalkKey):
    """The space bar of the terminal `fd`, in a mode that gives characters as they come."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._until = float("-inf")

    def down(self, now: float) -> bool:
        if b" " in _waiting(self._fd):
            self._until = now + _HELD
        return now < self._until


class _Pipe(TalkKey):
    """The last 0 or 1 that came through a named pipe or a device."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._down = False

    def down(self, now: float) -> bool:
        del now
        self._down = _last_state(_waiting(self._fd), self._down)
        return self._down


class _File(TalkKey):
    """What a regular file says, such as a GPIO line's value; an empty one changes nothing."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._down = False

    def down(self, now: float) -> bool:
        del now
        with _readable():
            data = os.pread(self._fd, _MOST_BYTES, 0)
        self._down = _last_state(data, self._down)
        return self._down


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LinkError(f"cannot read the push-to-talk key any more: {error.strerror}") from None


def _waiting(fd: int) -> bytes:
    """The bytes that can be read without waiting."""
    with _readable():
        return os.read(fd, _MOST_BYTES) if select.select([fd], [], [], 0)[0] else b""


def _last_state(data: bytes, before: bool) -> bool:
    up, down = data.rfind(b"0"), data.rfind(b"1")
    return before if up == down else down > up


@contextmanager
def open_key(gate: GateConfig, *, audio_input: str = "") -> Iterator[TalkKey | None]:
    """The key that `gate` asks for; None with mode "vox", where the voice is the key.

    Args:
        audio_input: where the speech comes from; "-" is standard input.

    Raises:
        ConfigError: there is no key, or it cannot be read.
    """
    if not gate.ptt:
        if gate.mode != "vox":
            raise ConfigError(
                f"gate.mode = '{gate.mode}' needs a key: set gate.ptt (--ptt) to 'keyboard' or "
                "to the path of a named pipe"
            )
        yield None
    elif gate.ptt == KEYBOARD:
        with _terminal(audio_input) as fd:
            yield _Keyboard(fd)
    else:
        fd, streams = _open_path(gate.ptt)
        try:
            yield _Pipe(fd) if streams else _File(fd)
        finally:
            os.close(fd)


def refuse_key(gate: GateConfig, *, command: str) -> None:
    """For a command that has no key: with a mode that needs one, nothing would ever be sent.

    Raises:
        ConfigError: `gate` has such a mode.
    """
    if gate.enabled and gate.mode != "vox":
        raise ConfigError(
            f"gate.mode = '{gate.mode}' needs a key, and linkcodec {command} has none: set it to "
            "'vox'"
        )


@contextmanager
def _terminal(audio_input: str) -> Iterator[int]:
    """Standard input without line editing; Ctrl-C still ends the call."""
    if audio_input == "-":
        raise ConfigError(
            "--ptt keyboard: standard input carries the speech: use a named pipe (mkfifo) as key"
        )
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "--ptt keyboard: standard input is no terminal: use a named pipe (mkfifo) as key"
        )
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _open_path(path: str) -> tuple[int, bool]:
    """A descriptor, and whether states come through it one after the other."""
    try:
        mode = os.stat(path).st_mode
        # Open for writing as well, a pipe does not end when its last writer goes.
        access = os.O_RDWR if stat.S_ISFIFO(mode) else os.O_RDONLY
        return os.open(path, access | os.O_NONBLOCK), not stat.S_ISREG(mode)
    except OSError as error:
        raise ConfigError(
            f"--ptt {path}: cannot read the key: {error.strerror}; make one with mkfifo"
        ) from None

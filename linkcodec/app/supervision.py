"""What a service manager asks of a daemon: to say that it lives, and to reload on SIGHUP.

The protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without one
nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Final, Self

from linkcodec.app.command import SignalFlag
from linkcodec.app.config import CallConfig
from linkcodec.app.status import StatusLine
from linkcodec.exceptions import LinkcodecError

__all__ = ["Reloader", "Supervisor"]

_MICROSECONDS: Final = 1e6


class Supervisor:
    """Tells the service manager that every part of a daemon lives, and reloads on SIGHUP.

    Use as a context manager, in the main thread. parts: names of the threads that must give
    signs of life.
    """

    def __init__(self, *parts: str) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        limit = os.environ.get("WATCHDOG_USEC", "")
        self._interval = int(limit) / _MICROSECONDS / 3 if limit.isdecimal() else 0.0
        self._parts = dict.fromkeys(parts, False)
        self._main = parts[0]
        self._next = 0.0
        self._flag = SignalFlag(signal.SIGHUP)
        self._reloader: Reloader | None = None

    def __enter__(self) -> Self:
        self._flag.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._flag.__exit__()
        self.tell("STOPPING=1")

    def ready(self, says: str, reloader: Reloader | None = None) -> None:
        """The daemon does its work from now on, and `says` what; `reloader`: what SIGHUP does."""
        self._reloader = reloader
        self.tell(f"READY=1\nSTATUS={says}")

    def alive(self, part: str, now: float) -> None:
        """A part lives; the manager is told about three times in its limit, if all do."""
        self._parts[part] = True
        if self._interval and now >= self._next and all(self._parts.values()):
            self._next = now + self._interval
            self._parts = dict.fromkeys(self._parts, False)
            self.tell("WATCHDOG=1")
        if part == self._main and self._flag.take() and self._reloader is not None:
            self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._reloader.reload()
            self.tell("READY=1")

    def tell(self, message: str) -> None:
        """Send a message; a manager that is gone is no reason to stop."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out,
        ):
            out.sendto(message.encode(), address)


def _fields(config: CallConfig) -> dict[str, object]:
    """All values of a configuration, by section.name."""
    return {
        f"{section}.{name}": value
        for section, part in vars(config).items()
        for name, value in vars(part).items()
    }


class Reloader:
    """Reads the configuration again after SIGHUP; the call goes on meanwhile.

    read: gives the new configuration. parts: each takes those fields of it that it can change
    during a call, and gives their names; the others wait for the next start, and it is said
    which, at each reload. A configuration that cannot be used changes nothing, and it is said
    why; so it is if one of the parts cannot use what concerns it.
    """

    def __init__(
        self,
        config: CallConfig,
        *,
        read: Callable[[], CallConfig],
        parts: Iterable[Callable[[CallConfig], Iterable[str]]],
        status: StatusLine,
    ) -> None:
        self._in_force = _fields(config)
        self._read = read
        self._parts = tuple(parts)
        self._status = status

    def reload(self) -> None:
        """Read, check and apply."""
        try:
            config = self._read()
        except LinkcodecError as error:
            self._status.warn(f"the configuration stays as it was: {error}")
            return
        wanted = _fields(config)
        applied: set[str] = set()
        for configure in self._parts:
            try:
                applied.update(configure(config))
            except LinkcodecError as error:
                self._status.warn(f"not changed: {error}")
        changed = sorted(name for name in wanted if wanted[name] != self._in_force[name])
        now = [name for name in changed if name in applied]
        later = [name for name in changed if name not in applied]
        self._in_force.update({name: wanted[name] for name in now})
        said = f"changed: {', '.join(now) or 'nothing'}"
        if later:
            said += f"; at the next start: {', '.join(later)}"
        self._status.warn(f"configuration read again; {said}")

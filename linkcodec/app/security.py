"""Keys and sessions on this machine's disk: reading a key with care, remembering sessions."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from linkcodec.exceptions import SecurityError
from transport.config import SecurityConfig
from transport.keys import PresharedKey
from transport.replay import Heard, Ledger
from transport.security import ReceiverSecurity, SecurityMode, SenderSecurity, Suite

__all__ = [
    "KEY_VARIABLE",
    "CallSecurity",
    "SessionFile",
    "load_key",
    "open_security",
    "read_key",
    "simulated_security",
    "write_key",
]

KEY_VARIABLE: Final = "LINKCODEC_KEY"
"""The environment's variable that holds a key where no file is given."""

_MOST_BYTES: Final = 65536
_STATE_VERSION: Final = 1
_LARGEST: Final = 1 << 48


def read_key(path: str) -> PresharedKey:
    """The key in a file that only its owner may read.

    Raises:
        SecurityError: the file is missing, open to others or no key.
    """
    try:
        with Path(path).open("rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise SecurityError(f"{path}: this is no file: name a key file")
            if info.st_uid not in (os.getuid(), 0):
                raise SecurityError(
                    f"{path}: the key belongs to another user: make it your own with 'chown'"
                )
            if info.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SecurityError(
                    f"{path}: others may read or change the key: run 'chmod 600 {path}'"
                )
            text = file.read(_MOST_BYTES).decode("ascii", errors="replace")
    except FileNotFoundError:
        raise SecurityError(
            f"{path}: no such key file: make one with 'linkcodec key new {path}'"
        ) from None
    except OSError as error:
        raise SecurityError(f"{path}: cannot read the key: {error.strerror}") from None
    return PresharedKey.parse(text, source=path)


def write_key(path: str, key: PresharedKey) -> None:
    """Write a key into a new file that only its owner may read.

    Raises:
        SecurityError: the file exists or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(key.text + "\n")
    except FileExistsError:
        raise SecurityError(
            f"{path}: the file exists: a key is never overwritten, give another name"
        ) from None
    except OSError as error:
        raise SecurityError(f"{path}: cannot write the key: {error.strerror}") from None


def load_key(config: SecurityConfig) -> PresharedKey:
    """The key that [security] names.

    Raises:
        SecurityError: there is none, or it cannot be used.
    """
    if config.key_file:
        return read_key(os.path.expanduser(config.key_file))
    text = os.environ.get(KEY_VARIABLE, "")
    if not text:
        raise SecurityError(
            f"security.mode = '{config.mode}' needs a key: set security.key_file to a file that "
            f"'linkcodec key new' made, or {KEY_VARIABLE} in the environment"
        )
    return PresharedKey.parse(text, source=KEY_VARIABLE)


class SessionFile:
    """Sessions used or heard with a key, kept over restarts in a small JSON file.

    The file is replaced as a whole and locked as long as this is open: two programs that share
    it would let a replay through, or use a session twice.

    Raises:
        SecurityError: the file is damaged, in use or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = path.with_suffix(".lock")
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            taken = self._lock is not None and error.errno in (errno.EAGAIN, errno.EACCES)
            self.close()
            if taken:
                raise SecurityError(
                    f"{path}: another linkcodec with this key is running: end it, or give this "
                    "one another security.state_dir"
                ) from None
            raise self._failure("write", error) from None
        try:
            self.ledger = Ledger(self._read(), save=self.save)
        except BaseException:
            self.close()
            raise

    def _read(self) -> dict[int, Heard]:
        try:
            document = json.loads(self._path.read_text(encoding="ascii"))
            if document["version"] != _STATE_VERSION:
                raise ValueError("version")
            heard: dict[int, Heard] = {}
            for station, (session, tick) in document["stations"].items():
                numbers = (int(station), session, tick)
                if not all(type(number) is int and 0 <= number < _LARGEST for number in numbers):
                    raise ValueError("a number")
                heard[int(station)] = Heard(session=session, tick=tick)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failure("read", error) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SecurityError(
                f"{self._path}: this record of sessions is damaged: remove it if it does not "
                "matter that calls recorded before today may be played again"
            ) from None
        return heard

    def save(self, stations: dict[int, Heard]) -> None:
        """Keep this record.

        Raises:
            SecurityError: it cannot be written.
        """
        document = {
            "version": _STATE_VERSION,
            "stations": {str(key): [one.session, one.tick] for key, one in stations.items()},
        }
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("w", encoding="ascii") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise self._failure("write", error) from None

    def _failure(self, what: str, error: OSError) -> SecurityError:
        return SecurityError(
            f"{self._path}: cannot {what} the record of sessions: {error.strerror}: set "
            "security.state_dir to a folder of your own"
        )

    def close(self) -> None:
        """Let other programs have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _state_dir(config: SecurityConfig) -> Path:
    if config.state_dir:
        return Path(config.state_dir).expanduser()
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home else Path.home() / ".local" / "state") / "linkcodec"


def _suite(config: SecurityConfig) -> Suite:
    return Suite(mode=SecurityMode(config.mode), tag_bytes=config.tag_bytes)


@dataclass(kw_only=True)
class CallSecurity:
    """Sessions of a call's two directions; None for a direction without security.

    A context manager: at its end the record of what was heard is brought up to date.
    """

    outgoing: SenderSecurity | None = None
    incoming: ReceiverSecurity | None = None
    files: tuple[SessionFile, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            for file in self.files:
                stack.callback(file.close)
                stack.callback(file.ledger.settle)


def open_security(
    config: SecurityConfig,
    *,
    sends: bool,
    receives: bool,
    hears_itself: bool = False,
    clock: Callable[[], float] = time.time,
) -> CallSecurity:
    """Everything that [security] asks for, from this machine's files and clock.

    hears_itself: True where this end's own speech comes back on purpose, as in a loopback.

    Raises:
        SecurityError: the key or a record of sessions cannot be used.
    """
    if config.mode == SecurityMode.OFF:
        return CallSecurity()
    key, suite, folder = load_key(config), _suite(config), _state_dir(config)
    files: list[SessionFile] = []
    security = CallSecurity()
    try:
        if sends:
            files.append(SessionFile(folder / f"{key.fingerprint}-sent.json"))
            security.outgoing = SenderSecurity(
                key=key,
                suite=suite,
                station=config.station,
                clock=clock(),
                ledger=files[-1].ledger,
                rekey_seconds=60.0 * config.rekey_minutes,
                ahead_seconds=_ahead(config),
            )
        if receives:
            files.append(SessionFile(folder / f"{key.fingerprint}-heard.json"))
            security.incoming = ReceiverSecurity(
                key=key,
                suite=suite,
                ledger=files[-1].ledger,
                own_station=config.station if sends and not hears_itself else None,
            )
    except BaseException:
        for file in files:
            file.close()
        raise
    security.files = tuple(files)
    return security


def _ahead(config: SecurityConfig) -> float:
    """Seconds before its first packet in which a session is told: in three announcements."""
    return 3.0 * max(config.announce_every("slots"), config.announce_every("packets"))


def listening_security(config: SecurityConfig) -> ReceiverSecurity | None:
    """What opens a capture: with the key of [security], and nothing is remembered.

    Raises:
        SecurityError: the key cannot be used.
    """
    if config.mode == SecurityMode.OFF:
        return None
    return ReceiverSecurity(key=load_key(config), suite=_suite(config), ledger=Ledger())


def simulated_security(config: SecurityConfig) -> CallSecurity:
    """Both directions with a key, a clock and random numbers that are always the same."""
    if config.mode == SecurityMode.OFF:
        return CallSecurity()
    key, suite = PresharedKey(b"the key of the simulator, public"), _suite(config)
    return CallSecurity(
        outgoing=SenderSecurity(
            key=key,
            suite=suite,
            station=config.station,
            clock=0.0,
            ledger=Ledger(),
            rekey_seconds=60.0 * config.rekey_minutes,
            ahead_seconds=_ahead(config),
            random_bits=lambda bits: 1 % (1 << bits),
        ),
        incoming=ReceiverSecurity(key=key, suite=suite, ledger=Ledger()),
    )

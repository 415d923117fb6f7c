"""Real peers on one machine: a sound server, radio modems, and serial lines that take time.

Used by the tests of the links and by `python -m benchmarks.links`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
import time
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = [
    "Context",
    "Direwolf",
    "Modem",
    "PacedLine",
    "SoundServer",
    "Terminal",
    "free_udp_ports",
    "hurry",
    "missing",
]

_START_SECONDS: Final = 10.0
_STEP: Final = 0.005
_HURRY: Final = 2


def missing(*programs: str) -> str:
    """What to install for these programs, in one line; empty if all are there."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} missing: `make debian` installs it" if absent else ""


def free_udp_ports() -> tuple[int, int]:
    """Two ports of this machine that nobody uses now."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class _Process:
    """A program that ends with its context."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=3.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def hurry(process: int) -> None:
    """Let all threads of a process come before others' (SCHED_RR), with those they begin later."""
    for thread in os.listdir(f"/proc/{process}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(_HURRY))


class Context:
    """Something that is closed at the end."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SoundServer(Context):
    """PulseAudio with null sinks: what is played into one is recorded from its monitor.

    ALSA knows each as a device of its name, and its monitor as `NAME_in`.

    together: the sinks (at most two) are the channels of one more, "room", whose monitor hears
    all of them at exactly the same time. hurried: it comes before other programs.
    """

    def __init__(
        self,
        folder: Path,
        sinks: Sequence[str],
        *,
        rate: int = 48_000,
        together: bool = False,
        hurried: bool = False,
    ) -> None:
        self._folder = folder
        self._hurried = hurried
        self._loads = [
            f"--load=module-null-sink sink_name={sink} rate={rate}"
            for sink in (["room"] if together else sinks)
        ]
        if together:
            self._loads += [
                f"--load=module-remap-sink sink_name={sink} master=room channels=1 remix=no "
                f"channel_map=mono master_channel_map={place}"
                for sink, place in zip(sinks, ("front-left", "front-right"), strict=True)
            ]
        self._socket = folder / "pulse"
        alsa = ["</usr/share/alsa/alsa.conf>"]
        for name, device in (
            *((sink, sink) for sink in sinks),
            *((f"{sink}_in", f"{sink}.monitor") for sink in sinks),
        ):
            alsa.append(
                f'pcm.{name} {{ type pulse server "unix:{self._socket}" device "{device}" }}'
            )
        alsa.append("pcm.!default { type pulse }\nctl.!default { type pulse }")
        (folder / "asound.conf").write_text("\n".join(alsa) + "\n")
        self.start()

    def environment(self, *, source: str = "", sink: str = "") -> dict[str, str]:
        """For a process whose default devices are the monitor of `source`, and `sink`."""
        chosen = {"PULSE_SOURCE": f"{source}.monitor" if source else "", "PULSE_SINK": sink}
        return {
            **os.environ,
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self._folder),
            "PULSE_RUNTIME_PATH": str(self._folder),
            "PULSE_STATE_PATH": str(self._folder),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": str(self._folder / "asound.conf"),
            **{name: value for name, value in chosen.items() if value},
        }

    def start(self) -> None:
        """Start the server, again after `kill`."""
        self._socket.unlink(missing_ok=True)
        options = "--daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes"
        modules = [
            f"--load=module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
            *self._loads,
        ]
        environment = self.environment()
        self._process = _Process(
            ["pulseaudio", "-n", *options.split(), "--realtime=no", "--high-priority=no", *modules],
            environment,
        )
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            listed = subprocess.run(
                ["pactl", "list", "short", "sinks"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if listed.stdout.count("\n") == len(self._loads):
                if self._hurried:
                    hurry(self._process.process.pid)
                return
            time.sleep(0.1)
        raise RuntimeError("pulseaudio did not start")

    def kill(self) -> None:
        """As in a crash."""
        self._process.kill()

    def close(self) -> None:
        self._process.stop()


class Direwolf(Context):
    """A radio modem with KISS over TCP at `port`, between two devices of a `SoundServer`."""

    def __init__(
        self,
        folder: Path,
        server: SoundServer,
        *,
        hears: str,
        speaks: str,
        port: int,
        baud: int = 1200,
        call: str = "N0CALL",
    ) -> None:
        settings = folder / f"direwolf-{port}.conf"
        settings.write_text(
            f"ADEVICE {hears}_in {speaks}\nARATE 48000\nCHANNEL 0\nMYCALL {call}\n"
            f"MODEM {baud}\nTXDELAY 20\nTXTAIL 3\nSLOTTIME 5\nPERSIST 255\n"
            f"KISSPORT {port}\nAGWPORT 0\n"
        )
        self._process = _Process(
            ["direwolf", "-t", "0", "-q", "hd", "-c", settings], server.environment()
        )
        self.port = port
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.1)
        self.close()
        raise RuntimeError("direwolf did not start")

    def close(self) -> None:
        self._process.stop()


class Terminal:
    """A pseudo-terminal behind a symbolic link, which stands for a port that can vanish.

    master: descriptor of the far side.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug()

    def plug(self) -> None:
        """The port is there."""
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        """The port is gone."""
        self.path.unlink()
        os.close(self._slave)
        os.close(self.master)

    def read(self, most: int) -> bytes:
        """What has come, at most so many bytes."""
        try:
            return os.read(self.master, most)
        except (BlockingIOError, OSError):
            return b""

    def write(self, data: bytes) -> None:
        """What does not fit is lost, as in a full receive buffer."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self.master, data)


class PacedLine(Context):
    """Two serial ports, `near` and `far`, with a line of `baud` (8N1) between them.

    Bytes that the line is not ready for stay in the kernel's buffer of the sending port, as
    they would in a driver. `faults` damages each stretch of bytes in passing.
    """

    def __init__(self, folder: Path, *, baud: int) -> None:
        self.near = Terminal(folder / "near")
        self.far = Terminal(folder / "far")
        self._byte_seconds = 10.0 / baud
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="paced line")
        self._thread.start()

    def replug(self, terminal: Terminal, *, after: float) -> None:
        """Pull one port out, and put it back `after` seconds later."""
        with self._lock:
            terminal.unplug()
            time.sleep(after)
            terminal.plug()

    def _carry(self) -> None:
        free_at = [time.monotonic()] * 2
        while not self._over.wait(_STEP):
            with self._lock:
                now = time.monotonic()
                for way, (source, sink) in enumerate(
                    ((self.near, self.far), (self.far, self.near))
                ):
                    room = int((now - free_at[way]) / self._byte_seconds)
                    data = source.read(room) if room else b""
                    if data:
                        sink.write(data)
                        free_at[way] += len(data) * self._byte_seconds
                    # An idle line saves nothing up but the byte that is just leaving.
                    free_at[way] = max(free_at[way], now - _STEP - self._byte_seconds)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.near.unplug()
        self.far.unplug()


class Modem(Context):
    """A telephone modem with AT commands at `port`; two of them make a line.

    Knows ATZ, ATD, ATA, ATH and the escape +++ (without guard times). `busy` answers the next
    calls with BUSY.
    """

    def __init__(self, path: Path) -> None:
        self.port = Terminal(path)
        self.other: Modem | None = None
        self.connected = False
        self.busy = 0
        self.commands: list[str] = []
        self._command = bytearray()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="modem")
        self._thread.start()

    @classmethod
    def pair(cls, folder: Path) -> tuple[Self, Self]:
        """Two modems on one telephone line."""
        one, two = cls(folder / "modem-a"), cls(folder / "modem-b")
        one.other, two.other = two, one
        return one, two

    def hang_up(self) -> None:
        """The line is cut."""
        for modem in (self, self.other):
            if modem is not None and modem.connected:
                modem.connected = False
                modem.port.write(b"\r\nNO CARRIER\r\n")

    def _serve(self) -> None:
        while not self._over.is_set():
            if not select.select([self.port.master], [], [], 0.05)[0]:
                continue
            data = self.port.read(4096)
            if self.connected and self.other is not None:
                if data == b"+++":
                    self.connected = False
                    self._answer("OK")
                else:
                    self.other.port.write(data)
                continue
            self._command += data
            while b"\r" in self._command:
                command, _, rest = bytes(self._command).partition(b"\r")
                self._command = bytearray(rest)
                self._obey(command.decode("ascii", "replace").strip().upper())
            if not data:
                time.sleep(_STEP)

    def _obey(self, command: str) -> None:
        self.commands.append(command)
        other = self.other
        if command.startswith("ATD") and other is not None:
            if self.busy:
                self.busy -= 1
                self._answer("BUSY")
            else:
                other._answer("RING")
        elif command == "ATA" and other is not None:
            for modem in (self, other):
                modem._answer("CONNECT 1200")
                modem.connected = True
        elif command == "ATH":
            self._answer("OK")
            if other is not None:
                other.hang_up()
        elif command:
            self._answer("OK" if command == "ATZ" else "ERROR")

    def _answer(self, text: str) -> None:
        self.port.write(f"\r\n{text}\r\n".encode("ascii"))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.port.unplug()

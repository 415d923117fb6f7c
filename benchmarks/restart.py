"""`kill -9` of either daemon, which a supervisor starts again: how soon there is voice.

    python -m benchmarks.restart --clips DIR

Somebody speaks without a pause. The supervisor does what `Restart=always` does in a unit of
systemd, without its 2 s of rest; the time counts from the start of the new process.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.clips import SAMPLE_RATE, load_clips
from benchmarks.links import ROOT, programme, without_pauses
from benchmarks.realpeers import Context, PacedLine, free_udp_ports, hurry

_PIECE: Final = SAMPLE_RATE // 50
_LOUD_DBFS: Final = -45.0
_LOUD_PIECES: Final = 10
"""Of 20 ms each: so many make a voice."""

_CALL_SECONDS: Final = 8.0
_PATIENCE_SECONDS: Final = 30.0
_PIPE_BYTES: Final = 4096
_PROGRAMME_SECONDS: Final = 120.0
_REST_SECONDS: Final = 2.0


def _levels(pcm: Pcm) -> Pcm:
    """dB full scale of each 20 ms."""
    pieces = pcm[: pcm.size // _PIECE * _PIECE].reshape(-1, _PIECE).astype(np.float64)
    levels: Pcm = 10.0 * np.log10(np.mean(pieces**2, axis=1) + 1e-12)
    return levels


class Supervised:
    """A daemon that is started again when it has ended, with the same pipes."""

    def __init__(
        self, command: Sequence[str | Path], *, stdin: int, stdout: int, hurried: bool
    ) -> None:
        self._hurried = hurried
        self._command = list(map(str, command))
        self._pipes = (stdin, stdout)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.start()

    def start(self) -> None:
        """Start it again."""
        stdin, stdout = self._pipes
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self._command, stdin=stdin, stdout=stdout, stderr=self._log, cwd=ROOT
        )
        if self._hurried:
            hurry(self.process.pid)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self._log.seek(0)
        said = self._log.read()
        self._log.close()
        if "Traceback" in said:
            print(said, file=sys.stderr)


class Room(Context):
    """Speaks into one pipe all the time, and hears what comes out of another."""

    def __init__(self, pcm: Pcm) -> None:
        self.mouth, self._into = os.pipe()
        self._out, self.ear = os.pipe()
        fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._into, False)
        samples = (np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes()
        self._pieces = [samples[at : at + 2 * _PIECE] for at in range(0, len(samples), 2 * _PIECE)]
        self._over = threading.Event()
        self._voices: list[float] = []
        self._threads = [threading.Thread(target=run) for run in (self._speak, self._hear)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._over.set()
        os.close(self.ear)
        for thread in self._threads:
            thread.join()

    def _speak(self) -> None:
        due = time.monotonic()
        for piece in cycle(self._pieces):
            due += _PIECE / SAMPLE_RATE
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            with suppress(BlockingIOError):  # Nobody listens: it is said all the same.
                os.write(self._into, piece)

    def _hear(self) -> None:
        loud = 0
        rest = b""
        while data := os.read(self._out, 4 * _PIECE):
            now = time.monotonic()
            data = rest + data
            usable = len(data) // (2 * _PIECE) * 2 * _PIECE
            rest = data[usable:]
            pcm = np.frombuffer(data[:usable], "<i2") / np.float32(32768)
            for level in _levels(pcm.astype(np.float32)):
                loud = loud + 1 if level > _LOUD_DBFS else 0
                if loud >= _LOUD_PIECES:
                    self._voices.append(now)

    def voice_after(self, moment: float) -> float:
        """Seconds from `moment` until there was voice for 0.2 s.

        Raises:
            RuntimeError: there was none for 30 s.
        """
        deadline = moment + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            later = next((at for at in reversed(self._voices[-50:]) if at > moment), None)
            if later is not None:
                return next(at for at in self._voices if at > moment) - moment
            time.sleep(0.02)
        raise RuntimeError("no voice for 30 s")


def restarts(
    pcm: Pcm,
    sending: Sequence[str | Path],
    receiving: Sequence[str | Path],
    times: int,
    *,
    hurried: bool,
) -> dict[str, list[float]]:
    """Kill the sender, then the receiver, some times each; seconds from the start to voice."""
    found: dict[str, list[float]] = {"sender": [], "receiver": []}
    with ExitStack() as stack:
        room = stack.enter_context(Room(pcm))
        far = [sys.executable, ROOT / "receiver.py", *receiving, "--output", "-"]
        near = [sys.executable, ROOT / "sender.py", *sending, "--input", "-"]
        receiver = Supervised(far, stdin=subprocess.DEVNULL, stdout=room.ear, hurried=hurried)
        stack.callback(receiver.close)
        sender = Supervised(near, stdin=room.mouth, stdout=subprocess.DEVNULL, hurried=hurried)
        stack.callback(sender.close)
        room.voice_after(sender.started)
        for _ in range(times):
            for name, daemon in (("sender", sender), ("receiver", receiver)):
                time.sleep(_CALL_SECONDS)
                daemon.kill()
                time.sleep(_REST_SECONDS)
                daemon.start()
                found[name].append(room.voice_after(daemon.started))
    return found


def main() -> None:
    """Kill and start."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder of speech files")
    parser.add_argument("--times", type=int, default=5, help="per daemon and link (default: 5)")
    parser.add_argument(
        "--realtime", action="store_true", help="the daemons come before other programs (SCHED_RR)"
    )
    arguments = parser.parse_args()
    clips = [clip.path for clip in load_clips(arguments.clips)]
    pcm = without_pauses(programme(clips, _PROGRAMME_SECONDS))
    configs = ROOT / "configs"
    port, _ = free_udp_ports()
    with tempfile.TemporaryDirectory() as folder, PacedLine(Path(folder), baud=1200) as line:
        udp: list[str | Path] = ["--config", configs / "udp-lan.toml"]
        serial: list[str | Path] = ["--config", configs / "serial-1200-8n1.toml", "--port"]
        ends = {
            "udp": (
                [*udp, "--peer", f"127.0.0.1:{port}"],
                [*udp, "--bind", f"127.0.0.1:{port}"],
            ),
            "serial, 1200 baud": ([*serial, line.near.path], [*serial, line.far.path]),
        }
        for name, (sending, receiving) in ends.items():
            found = restarts(pcm, sending, receiving, arguments.times, hurried=arguments.realtime)
            for daemon, seconds in found.items():
                each = ", ".join(f"{value:.2f}" for value in seconds)
                print(f"{name}: {daemon} killed, voice after {each} s", flush=True)


if __name__ == "__main__":
    main()

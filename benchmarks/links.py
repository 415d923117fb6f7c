"""The two daemons over links with real peers, in real time: delay, gaps, what got lost.

    python -m benchmarks.links serial --minutes 10 --clips DIR
    python -m benchmarks.links kiss --minutes 0.5 --clips DIR
    python -m benchmarks.links sound --minutes 10 --clips DIR
    python -m benchmarks.links channel --minutes 10 --loss 0.02

Speech goes into `sender.py` at the pace of real time, and what `receiver.py` plays comes back
with the time at which it is played. Clips (16-bit, any rate) follow each other with pauses.
Each run prints one line per half minute, and what the daemons say at their end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from benchmarks.alignment import Pcm, estimate_delay
from benchmarks.clips import SAMPLE_RATE
from benchmarks.realpeers import Direwolf, PacedLine, SoundServer, missing
from linkcodec.audiofile import read_audio
from transport.config import LinkConfig
from transport.links import open_link

ROOT: Final = Path(__file__).resolve().parent.parent

_PAUSE_SECONDS: Final = 1.5
_SEGMENT_SECONDS: Final = 30.0
_LONGEST_DELAY: Final = 6.0
_PIECE_SECONDS: Final = 0.02
_ZERO_RUN_SECONDS: Final = 0.02
_SPEECH_DBFS: Final = -45.0
_STALL_SECONDS: Final = 1.5
_UNPLUGGED_SECONDS: Final = 3.0


def programme(clips: Sequence[Path], seconds: float) -> Pcm:
    """Clips one after the other with pauses of faint noise; shape (seconds * 16000,)."""
    random = np.random.default_rng(1)
    wanted = round(seconds * SAMPLE_RATE)
    pieces: list[Pcm] = []
    length = 0
    while length < wanted:
        for clip in clips:
            pause = np.zeros(round(_PAUSE_SECONDS * SAMPLE_RATE), np.float32)
            pieces += [read_audio(clip, SAMPLE_RATE), pause]
            length += pieces[-1].size + pieces[-2].size
            if length >= wanted:
                break
    pcm = np.concatenate(pieces)[:wanted]
    noisy: Pcm = (pcm + 10**-3.5 * random.standard_normal(wanted)).astype(np.float32)
    return noisy


@dataclass(kw_only=True)
class Call:
    """Speech with the time at which it went in, and came out."""

    spoken: Pcm
    started: float
    heard: Pcm
    heard_from: float

    def segment(self, start: float) -> tuple[Pcm, Pcm]:
        """Half a minute of what was said, and what was heard from then on."""
        first = round(start * SAMPLE_RATE)
        size = round(_SEGMENT_SECONDS * SAMPLE_RATE)
        longer = size + round(_LONGEST_DELAY * SAMPLE_RATE)
        offset = first - round((self.heard_from - self.started) * SAMPLE_RATE)
        heard = np.pad(self.heard, (max(0, -offset), longer))
        return self.spoken[first : first + size], heard[max(0, offset) :][:longer]

    def delays(self) -> list[tuple[float, float]]:
        """Seconds into the call, and mouth-to-ear delay in seconds of that half minute."""
        rows = []
        last = self.spoken.size / SAMPLE_RATE - _SEGMENT_SECONDS / 2
        for start in np.arange(0.0, last, _SEGMENT_SECONDS):
            said, heard = self.segment(float(start))
            delay = estimate_delay(said, heard, longest=_LONGEST_DELAY)
            rows.append((float(start), delay / SAMPLE_RATE))
        return rows

    def zero_runs(self, *, longest: float = _ZERO_RUN_SECONDS) -> int:
        """Stretches of digital zeros longer than `longest` seconds inside what was heard."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.heard == 0.0, [0]]).astype(int)))
        lengths = edges[1::2] - edges[::2]
        return int(np.count_nonzero(lengths[1:-1] > longest * SAMPLE_RATE))


def _feed(pcm: Pcm, sink: IO[bytes], started: float) -> None:
    """Write samples when they would have been spoken."""
    samples = (np.clip(pcm, -1, 1) * 32767).astype("<i2")
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    for first in range(0, samples.size, size):
        wait = started + (first + size) / SAMPLE_RATE - time.monotonic()
        time.sleep(max(0.0, wait))
        sink.write(samples[first : first + size].tobytes())
        sink.flush()
    sink.close()


class _Listener:
    """Notes when samples came out."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._pieces: list[tuple[float, Pcm]] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        rest = b""
        while data := os.read(self._source.fileno(), 65536):
            now = time.monotonic()
            data = rest + data
            usable = len(data) // 2 * 2
            rest = data[usable:]
            pcm = np.frombuffer(data[:usable], "<i2").astype(np.float32)
            pcm /= np.float32(32768)
            self._pieces.append((now, pcm))

    def finish(self) -> tuple[float, Pcm]:
        """When the first sample was played, and all samples: they follow without gaps.

        A busy machine reads late, never early: the earliest reading tells the time.
        """
        self._thread.join()
        if not self._pieces:
            return 0.0, np.zeros(0, np.float32)
        ends = np.cumsum([pcm.size for _, pcm in self._pieces]) / SAMPLE_RATE
        starts = np.concatenate([[0.0], ends[:-1]])
        first = min(now - start for (now, _), start in zip(self._pieces, starts, strict=True))
        return float(first), np.concatenate([pcm for _, pcm in self._pieces])

    def during(self, start: float, seconds: float) -> Pcm:
        """What came in a stretch of time.

        A recording program on a busy machine loses samples: the time is told by the earliest
        readings nearby, not by those of the whole call.
        """
        ends = np.cumsum([pcm.size for _, pcm in self._pieces]) / SAMPLE_RATE
        times = np.array([now for now, _ in self._pieces])
        near = np.abs(times - start - seconds / 2) < seconds
        first = start - float(np.min((times - ends)[near]))
        whole = np.concatenate([pcm for _, pcm in self._pieces])
        return whole[max(0, round(first * SAMPLE_RATE)) :][: round(seconds * SAMPLE_RATE)]


def _program(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    errors: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors or subprocess.DEVNULL,
        env=dict(environment or os.environ),
        cwd=ROOT,
    )


class _Daemon:
    """A daemon that has opened its devices and its link.

    What it says goes into a file: ALSA's complaints would fill a pipe that nobody reads.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as errors:
            self._said = Path(errors.name)
            command = [sys.executable, ROOT / f"{name}.py", *arguments]
            self.process = _program(command, environment, errors)
        while not any(word in self.words() for word in ("sending ", "listening ")):
            if self.process.poll() is not None:
                raise RuntimeError(self.words())
            time.sleep(0.1)

    def words(self) -> str:
        """What it has said, ALSA's complaints counted."""
        said = self._said.read_text()
        underruns = said.count("underrun occurred")
        lines = [
            line
            for line in said.splitlines()
            if line.strip() and not line.startswith(("ALSA", "Expression"))
        ]
        if underruns:
            lines.append(f"underruns that ALSA reports: {underruns}")
        return "\n".join(lines)

    def finish(self) -> str:
        """Its last words."""
        self.process.wait()
        words = self.words()
        self._said.unlink()
        return words


def converse(
    pcm: Pcm,
    mouth: IO[bytes],
    ear: IO[bytes],
    *,
    end: Callable[[], None],
    during: Callable[[], None],
) -> Call:
    """Speak into `mouth` and listen to `ear`, until `end` has made it close."""
    listener = _Listener(ear)
    started = time.monotonic()
    feeder = threading.Thread(target=_feed, args=(pcm, mouth, started))
    helper = threading.Thread(target=during)
    feeder.start()
    helper.start()
    feeder.join()
    helper.join()
    end()
    heard_from, heard = listener.finish()
    return Call(spoken=pcm, started=started, heard=heard, heard_from=heard_from)


def call(
    pcm: Pcm,
    *,
    sending: Sequence[str | Path],
    receiving: Sequence[str | Path],
    during: Callable[[int], None] = lambda _: None,
) -> tuple[Call, str]:
    """Speak through the daemons with these flags; the call, and the daemons' last words.

    during: what happens meanwhile, given the sender's process.
    """
    receiver = _Daemon("receiver", [*receiving, "--output", "-"])
    sender = _Daemon("sender", [*sending, "--input", "-"])
    time.sleep(1.0)

    def end() -> None:
        sender.process.wait()
        time.sleep(_LONGEST_DELAY)
        receiver.process.send_signal(signal.SIGTERM)

    assert sender.process.stdin is not None
    assert receiver.process.stdout is not None
    mouth, ear = sender.process.stdin, receiver.process.stdout
    done = converse(pcm, mouth, ear, end=end, during=lambda: during(sender.process.pid))
    return done, f"{sender.finish()}\n{receiver.finish()}"


def serial_line(pcm: Pcm, folder: Path, arguments: argparse.Namespace) -> tuple[Call, str]:
    """1200 baud 8N1; half through the sender stands still, then the far port is unplugged."""
    config = ["--config", arguments.config or ROOT / "configs" / "serial-1200-8n1.toml"]
    with PacedLine(folder, baud=1200) as line:

        def trouble(sender: int) -> None:
            time.sleep(0.5 * pcm.size / SAMPLE_RATE)
            os.kill(sender, signal.SIGSTOP)
            time.sleep(_STALL_SECONDS)
            os.kill(sender, signal.SIGCONT)
            time.sleep(0.25 * pcm.size / SAMPLE_RATE)
            line.replug(line.far, after=_UNPLUGGED_SECONDS)

        return call(
            pcm,
            sending=[*config, "--port", line.near.path],
            receiving=[*config, "--port", line.far.path],
            during=trouble,
        )


def kiss(pcm: Pcm, folder: Path, arguments: argparse.Namespace) -> tuple[Call, str]:
    """Two Direwolf modems at 1200 baud, joined by audio."""
    config = ["--config", arguments.config or ROOT / "configs" / "kiss-1200.toml"]
    with (
        SoundServer(folder, ["there", "back"]) as server,
        Direwolf(folder, server, hears="back", speaks="there", port=8101) as near,
        Direwolf(folder, server, hears="there", speaks="back", port=8102) as far,
    ):
        time.sleep(2.0)
        return call(
            pcm,
            sending=[*config, "--peer", f"127.0.0.1:{near.port}"],
            receiving=[*config, "--peer", f"127.0.0.1:{far.port}"],
        )


def sound(pcm: Pcm, folder: Path, arguments: argparse.Namespace) -> tuple[Call, str]:
    """Microphone and speaker by PortAudio."""
    config = ["--config", arguments.config or ROOT / "configs" / "udp-lan.toml"]
    raw = f"--raw --rate={SAMPLE_RATE} --channels=1 --format=s16le --latency-msec=20".split()
    with SoundServer(folder, ["mouth", "ear"]) as server:

        def playing(sink: str) -> subprocess.Popen[bytes]:
            return _program(["pacat", "--playback", f"--device={sink}", *raw], server.environment())

        def hearing(sink: str) -> subprocess.Popen[bytes]:
            device = f"--device={sink}.monitor"
            return _program(["pacat", "--record", device, *raw], server.environment())

        def through(said: Pcm) -> tuple[_Listener, _Listener, float]:
            """Speak into the mouth's sink, and listen to it and to the ear's."""
            recorders = [hearing("mouth"), hearing("ear")]
            listeners = [_Listener(recorder.stdout) for recorder in recorders if recorder.stdout]
            speaker = playing("mouth")
            assert speaker.stdin is not None
            started = time.monotonic()
            try:
                _feed(said, speaker.stdin, started)
                time.sleep(_LONGEST_DELAY)
            finally:
                for program in (speaker, *recorders):
                    program.terminate()
                    program.wait()
            for listener in listeners:
                listener.finish()
            return listeners[0], listeners[1], started

        def delay(mouth: _Listener, ear: _Listener, start: float) -> float:
            """Mouth to ear in seconds; what the recording programs add is the same for both."""
            longer = _SEGMENT_SECONDS + _LONGEST_DELAY
            said, heard = mouth.during(start, _SEGMENT_SECONDS), ear.during(start, longer)
            return estimate_delay(said, heard, longest=_LONGEST_DELAY) / SAMPLE_RATE

        receiver = _Daemon("receiver", config, server.environment(sink="ear"))
        sender = _Daemon("sender", config, server.environment(source="mouth"))
        mouth, ear, started = through(pcm)
        seconds = pcm.size / SAMPLE_RATE
        words = ""
        for start in np.arange(0.0, seconds - _SEGMENT_SECONDS / 2, _SEGMENT_SECONDS):
            words += (
                f"{start:7.0f} s  mouth to ear {1000 * delay(mouth, ear, started + start):.0f} ms\n"
            )
        if arguments.crash:
            server.kill()
            time.sleep(3.0)
            server.start()
            time.sleep(2.0)
            after = delay(*through(pcm[: round(2 * _SEGMENT_SECONDS * SAMPLE_RATE)]))
            words += f"after a crash of the sound server: mouth to ear {1000 * after:.0f} ms\n"
        for daemon in (sender, receiver):
            daemon.process.send_signal(signal.SIGTERM)
        heard_from, heard = ear.finish()
        done = Call(spoken=pcm[:0], started=started, heard=heard, heard_from=heard_from)
        return done, f"{words}{sender.finish()}\n{receiver.finish()}"


def _lose_datagrams(share: float, seed: int) -> None:
    """Make aiortc, in this process, lose a share of what it sends."""
    from aiortc.rtcdtlstransport import RTCDtlsTransport

    random = np.random.default_rng(seed)
    whole = RTCDtlsTransport._send_data

    async def lossy(self: Any, data: bytes) -> None:
        if random.random() >= share:
            await whole(self, data)

    setattr(RTCDtlsTransport, "_send_data", lossy)  # noqa: B010


def _answer_channel(port: int, seconds: float, loss: float, results: Any) -> None:
    """The far end: when which packet came, as (number, delay) in seconds."""
    _lose_datagrams(loss, 2)
    config = LinkConfig(kind="webrtc", rate=16_000, framing="webrtc", bind=f"127.0.0.1:{port}")
    arrived = []
    with open_link(config, sends=False) as link:
        end = time.monotonic() + seconds + 15.0
        while time.monotonic() < end:
            for packet in link.receive(0.2):
                number, sent = struct.unpack("<Id", packet[:12])
                arrived.append((number, time.monotonic() - sent))
                if number == 0xFFFFFFFF:
                    end = 0.0
    results.put(arrived)


def data_channel(seconds: float, loss: float) -> str:
    """Two processes, packets of 65 bytes every 160 ms, losses in both directions."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    far = context.Process(target=_answer_channel, args=(port, seconds, loss, results))
    far.start()
    _lose_datagrams(loss, 1)
    config = LinkConfig(kind="webrtc", rate=16_000, framing="webrtc", peer=f"127.0.0.1:{port}")
    sent = 0
    with open_link(config) as link:
        while not link.up:
            time.sleep(0.1)
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            link.send(struct.pack("<Id", sent, time.monotonic()) + bytes(53))
            sent += 1
            time.sleep(max(0.0, start + sent * 0.16 - time.monotonic()))
        for _ in range(5):
            link.send(struct.pack("<Id", 0xFFFFFFFF, time.monotonic()))
            time.sleep(0.1)
        refused = link.statistics.sends_dropped
    arrived = [row for row in results.get(timeout=30.0) if row[0] != 0xFFFFFFFF]
    far.join()
    lines = []
    numbers = np.array([number for number, _ in arrived])
    delays = 1000.0 * np.array([delay for _, delay in arrived])
    for first in range(0, sent, round(60 / 0.16)):
        part = delays[(numbers >= first) & (numbers < first + round(60 / 0.16))]
        median, high, most = np.quantile(part, [0.5, 0.99, 1.0])
        lines.append(
            f"{first * 0.16:7.0f} s  delay {median:5.1f} ms, 99 % {high:5.1f}, most {most:5.1f}"
        )
    lines.append(f"{sent} sent, {refused} refused by the link, {len(arrived)} arrived")
    return "\n".join(lines)


_RUNS: Final = {"sound": sound, "serial": serial_line, "kiss": kiss}


def main() -> None:
    """Run one of the links."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("link", choices=[*_RUNS, "channel"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--clips", type=Path, help="folder of speech files")
    parser.add_argument("--loss", type=float, default=0.02, help="of the data channel's datagrams")
    parser.add_argument("--crash", action="store_true", help="kill the sound server at the end")
    parser.add_argument("--config", help="instead of the link's own file in configs/")
    arguments = parser.parse_args()
    programs = {
        "kiss": ("direwolf", "pulseaudio", "pactl"),
        "sound": ("pulseaudio", "pactl", "pacat"),
    }
    needed = programs.get(arguments.link, ())
    if absent := missing(*needed):
        parser.error(absent)
    if arguments.link == "channel":
        print(data_channel(60.0 * arguments.minutes, arguments.loss))
        return
    if arguments.clips is None:
        parser.error("give a folder of speech files with --clips")
    clips = sorted(arguments.clips.glob("*.flac")) or sorted(arguments.clips.glob("*.wav"))
    pcm = programme(clips, 60.0 * arguments.minutes)
    with tempfile.TemporaryDirectory() as folder:
        done, words = _RUNS[arguments.link](pcm, Path(folder), arguments)
    for start, delay in done.delays():
        print(f"{start:7.0f} s  delay {1000 * delay:6.0f} ms")
    print(f"runs of digital zeros over 20 ms: {done.zero_runs()}")
    print(words)


if __name__ == "__main__":
    main()

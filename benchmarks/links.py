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
import dataclasses
import json
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from benchmarks.alignment import Pcm, estimate_delay
from benchmarks.clips import SAMPLE_RATE, load_clips
from benchmarks.realpeers import Direwolf, PacedLine, SoundServer, hurry, missing
from linkcodec.audiofile import read_audio
from linkcodec.exceptions import InputError
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
_QUIET_SECONDS: Final = 2.0
_NOISE_RATE: Final = 48_000
_NOISE_SECONDS: Final = 10
_BAND_HZ: Final = (300, 3000)
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

    def zero_runs(self, *, longest: float = _ZERO_RUN_SECONDS) -> list[tuple[float, float]]:
        """Stretches of digital zeros longer than `longest` seconds inside what was heard: where
        they begin and how long they are, in seconds."""
        sounding = np.flatnonzero(self.heard)
        silent = np.diff(sounding) - 1
        places = np.flatnonzero(silent > longest * SAMPLE_RATE)
        return [
            (float(sounding[place]) / SAMPLE_RATE, float(silent[place]) / SAMPLE_RATE)
            for place in places
        ]


def _listed(runs: Sequence[tuple[float, float]]) -> str:
    each = "".join(f", {1000 * long:.0f} ms at {start:.2f} s" for start, long in runs)
    return f"{len(runs)}{each}"


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


def without_pauses(pcm: Pcm) -> Pcm:
    """The pieces of 20 ms that are loud; shape (samples,)."""
    size = round(_PIECE_SECONDS * SAMPLE_RATE)
    pieces = pcm[: pcm.size // size * size].reshape(-1, size)
    loud = np.mean(pieces.astype(np.float64) ** 2, axis=1) > 10 ** (_SPEECH_DBFS / 10)
    spoken: Pcm = pieces[loud].reshape(-1)
    return spoken


def over(pcm: Pcm, seconds: float) -> Pcm:
    """Speech without a pause between two quiet stretches, as of a radio's over."""
    random = np.random.default_rng(2)
    quiet = (10**-3.5 * random.standard_normal(round(_QUIET_SECONDS * SAMPLE_RATE))).astype(
        np.float32
    )
    said = without_pauses(pcm)[: round(seconds * SAMPLE_RATE)]
    whole: Pcm = np.concatenate([quiet, said, quiet])
    return whole


@contextmanager
def _noise(server: SoundServer, sink: str, dbfs: float) -> Iterator[None]:
    """Noise of a radio's band on the way, besides what is sent there."""
    random = np.random.default_rng(3)
    spectrum = np.fft.rfft(random.standard_normal(_NOISE_RATE * _NOISE_SECONDS))
    bins = np.arange(spectrum.size) / _NOISE_SECONDS
    samples = np.fft.irfft(np.where((bins > _BAND_HZ[0]) & (bins < _BAND_HZ[1]), spectrum, 0.0))
    samples *= 10 ** (dbfs / 20) / np.sqrt(np.mean(samples**2))
    raw = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    options = f"--device={sink} --raw --rate={_NOISE_RATE} --channels=1 --format=s16le"
    player = _program(["pacat", "--playback", *options.split()], server.environment())

    def play() -> None:
        assert player.stdin is not None
        with suppress(OSError):
            while True:
                player.stdin.write(raw)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        player.kill()
        player.wait()
        thread.join()


def kiss(pcm: Pcm, folder: Path, arguments: argparse.Namespace) -> tuple[Call, str]:
    """Two Direwolf modems at 1200 baud, joined by audio, and by noise with --noise."""
    if arguments.over:
        pcm = over(pcm, arguments.over)
    config = ["--config", arguments.config or ROOT / "configs" / "kiss-1200.toml"]
    with (
        SoundServer(folder, ["there", "back"]) as server,
        Direwolf(folder, server, hears="back", speaks="there", port=8101) as near,
        Direwolf(folder, server, hears="there", speaks="back", port=8102) as far,
        ExitStack() as stack,
    ):
        if arguments.noise is not None:
            stack.enter_context(_noise(server, "there", arguments.noise))
        time.sleep(2.0)
        return call(
            pcm,
            sending=[*config, "--peer", f"127.0.0.1:{near.port}"],
            receiving=[*config, "--peer", f"127.0.0.1:{far.port}"],
        )


@dataclass(frozen=True, kw_only=True)
class _Reports:
    """What a daemon has written with --stats: one line a second."""

    lines: list[dict[str, float]]

    @classmethod
    def read(cls, path: Path) -> _Reports:
        """The lines of a file."""
        return cls(lines=[json.loads(line) for line in path.read_text().splitlines()])

    def between(self, start: float, end: float) -> _Reports:
        """Those of a stretch of this machine's time, in seconds."""
        return _Reports(lines=[line for line in self.lines if start <= line["time"] < end])

    def mean(self, stage: str) -> float:
        """Mean delay of a stage, in seconds."""
        return float(np.mean([line.get(f"latency_{stage}_seconds") or 0.0 for line in self.lines]))

    def jitter_buffer(self) -> float:
        """Mean delay in the jitter buffer over the stretch, in seconds."""
        first, last = self.lines[0], self.lines[-1]
        samples = last["jitterBufferEmittedCount"] - first["jitterBufferEmittedCount"]
        return (last["jitterBufferDelay"] - first["jitterBufferDelay"]) / samples


class _SoundCall:
    """The two daemons between virtual sound cards, and all that is heard at both ends.

    Mouth and ear are the two channels of one recording: whatever the recording program adds or
    loses is the same for both.
    """

    def __init__(self, server: SoundServer, folder: Path, config: Sequence[str | Path]) -> None:
        self._server = server
        self._stats = {name: folder / f"{name}.jsonl" for name in ("receiver", "sender")}
        self._daemons = [
            _Daemon(name, [*config, "--stats", self._stats[name]], environment)
            for name, environment in (
                ("receiver", server.environment(sink="ear")),
                ("sender", server.environment(source="mouth")),
            )
        ]
        self.problems: list[str] = []

    def speak(self, pcm: Pcm) -> list[tuple[float, float, dict[str, float]]]:
        """Into the mouth; for each half minute its start, the delay to the ear as it was, and its
        stages as the daemons told them, in seconds."""
        raw = f"--raw --rate={SAMPLE_RATE} --format=s16le --latency-msec=20".split()
        record = ["pacat", "--record", "--device=room.monitor", "--channels=2", *raw]
        play = ["pacat", "--playback", "--device=mouth", "--channels=1", *raw]
        environment = self._server.environment()
        recorder, speaker = _program(record, environment), _program(play, environment)
        assert recorder.stdout is not None
        assert speaker.stdin is not None
        listener = _Listener(recorder.stdout)
        began = time.time()
        try:
            _feed(pcm, speaker.stdin, time.monotonic())
            time.sleep(_LONGEST_DELAY)
        finally:
            for program in (speaker, recorder):
                program.terminate()
                program.wait()
        heard = listener.finish()[1]
        mouth, ear = heard[: heard.size // 2 * 2].reshape(-1, 2).T
        call = Call(spoken=mouth[: pcm.size], started=0.0, heard=ear, heard_from=0.0)
        delays = call.delays()
        self._look_for_gaps(call, delays[0][1])
        told = {name: _Reports.read(path) for name, path in self._stats.items()}
        rows = []
        for start, delay in delays:
            stretch = (began + start + _LONGEST_DELAY, began + start + _SEGMENT_SECONDS)
            received, sent = (told[name].between(*stretch) for name in ("receiver", "sender"))
            stages = {name: sent.mean(name) for name in ("microphone", "queue", "line")}
            stages |= {name: received.mean(name) for name in ("frame", "packet", "codec")}
            stages |= {"jitter buffer": received.jitter_buffer()}
            rows.append((start, delay, {**stages, "speaker": received.mean("speaker")}))
        return rows

    def hurry(self) -> None:
        """Let the daemons come before other programs."""
        for daemon in self._daemons:
            hurry(daemon.process.pid)

    def _look_for_gaps(self, call: Call, delay: float) -> None:
        spoken = np.flatnonzero(np.abs(call.spoken) > 10 ** (_SPEECH_DBFS / 20))
        first, last = spoken[[0, -1]] + round(delay * SAMPLE_RATE)
        inside = dataclasses.replace(call, heard=call.heard[first:last])
        # On a busy machine the program that speaks may stall, which is heard at the other end.
        said = dataclasses.replace(call, heard=call.spoken[spoken[0] : spoken[-1]])
        stalls = said.zero_runs()
        runs = [
            run
            for run in inside.zero_runs()
            if not any(at - 1.0 < run[0] < at + long + 1.0 for at, long in stalls)
        ]
        self.problems.append(
            f"runs of digital zeros over 20 ms in {(last - first) / SAMPLE_RATE:.0f} s: "
            f"{_listed(runs)}; stalls of the speaking program: {_listed(stalls)}"
        )
        for name, path in self._stats.items():
            last = _Reports.read(path).lines[-1]
            counts = {key: value for key, value in last.items() if "_missed_" in key}
            counts |= {key: value for key, value in last.items() if "_xruns_" in key}
            self.problems.append(f"{name}: {counts}")

    def finish(self) -> str:
        """The daemons' last words."""
        for daemon in self._daemons:
            daemon.process.send_signal(signal.SIGTERM)
        return "\n".join(daemon.finish() for daemon in self._daemons)


def sound(pcm: Pcm, folder: Path, arguments: argparse.Namespace) -> str:
    """Microphone and speaker by PortAudio; with --crash the sound server is killed at the end."""
    config = ["--config", arguments.config or ROOT / "configs" / "udp-lan.toml"]
    lines = []
    hurried = arguments.realtime
    with SoundServer(folder, ["mouth", "ear"], together=True, hurried=hurried) as server:
        call = _SoundCall(server, folder, config)
        if hurried:
            call.hurry()
        rows = call.speak(pcm)
        if arguments.crash:
            server.kill()
            time.sleep(3.0)
            server.start()
            time.sleep(2.0)
            call.problems.append("after a crash of the sound server:")
            seconds = pcm.size / SAMPLE_RATE
            again = call.speak(pcm[: round(2 * _SEGMENT_SECONDS * SAMPLE_RATE)])
            rows += [(seconds + start, delay, told) for start, delay, told in again]
        words = call.finish()
    for start, delay, stages in rows:
        told = sum(stages.values())
        each = ", ".join(f"{name} {1000 * stage:.0f}" for name, stage in stages.items())
        lines.append(
            f"{start:7.0f} s  mouth to ear {1000 * delay:4.0f} ms, reported {1000 * told:4.0f} ms, "
            f"difference {1000 * (told - delay):4.0f}: {each}"
        )
    return "\n".join([*lines, *call.problems, words])


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


_RUNS: Final = {"serial": serial_line, "kiss": kiss}


def main() -> None:
    """Run one of the links."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("link", choices=[*_RUNS, "sound", "channel"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--clips", type=Path, help="folder of speech files")
    parser.add_argument("--loss", type=float, default=0.02, help="of the data channel's datagrams")
    parser.add_argument(
        "--over", type=float, metavar="S", help="kiss: one over of so many seconds, without a pause"
    )
    parser.add_argument(
        "--noise", type=float, metavar="DBFS", help="kiss: noise between the modems"
    )
    parser.add_argument("--crash", action="store_true", help="kill the sound server at the end")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="the sound server and the daemons come before other programs (SCHED_RR)",
    )
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
    try:
        clips = [clip.path for clip in load_clips(arguments.clips)]
    except InputError as error:
        parser.error(str(error))
    pcm = programme(clips, 60.0 * arguments.minutes)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.link == "sound":
            print(sound(pcm, Path(folder), arguments))
            return
        done, words = _RUNS[arguments.link](pcm, Path(folder), arguments)
    for start, delay in done.delays():
        print(f"{start:7.0f} s  delay {1000 * delay:6.0f} ms")
    print(f"runs of digital zeros over 20 ms: {_listed(done.zero_runs())}")
    print(words)


if __name__ == "__main__":
    main()

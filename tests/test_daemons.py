"""The two daemons as processes, over UDP and over pseudo-terminals."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import tonecodec
from conftest import ROOT, read_pcm

from linkcodec.codec import Pcm

SIZE = tonecodec.FRAME_SIZE
RATE = tonecodec.SAMPLE_RATE
START = (
    "import sys; sys.path[:0] = {paths!r}; import tonecodec; tonecodec.register(); "
    "import {module}; sys.exit({module}.main(sys.argv[1:]))"
)


def command(module: str) -> list[str]:
    """The command that runs `module.main` with the test codec known."""
    paths = [str(ROOT), str(ROOT / "tests")]
    return [sys.executable, "-c", START.format(paths=paths, module=module)]


def start(module: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Run `module.main` in a process of its own."""
    return subprocess.Popen(
        [*command(module), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, seconds: float = 30.0) -> tuple[int, str]:
    """Wait for the end; gives the exit status and standard error."""
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors


def wait_until_ready(process: subprocess.Popen[str]) -> str:
    """The daemon's first line, which it writes once its link is open."""
    assert process.stderr is not None
    return process.stderr.readline()


def stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    return finish(process)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes put into this list do not outlive the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def udp_config(tmp_path: Path) -> Path:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "udp.toml"
    path.write_text(
        '[codec]\nname = "tone"\n'
        '[link]\nkind = "udp"\nrate = 16000\nframing = "udp"\n'
        f'bind = "127.0.0.1:{port}"\npeer = "127.0.0.1:{port}"\n'
        "[wire]\nframes_per_packet = 2\n"
    )
    return path


@pytest.fixture
def serial_config(tmp_path: Path) -> Path:
    path = tmp_path / "serial.toml"
    path.write_text(
        '[codec]\nname = "tone"\n'
        '[link]\nkind = "serial"\nrate = 2400\nframing = "8n1"\n'
        "[wire]\nframes_per_packet = 4\n"
    )
    return path


@contextmanager
def null_modem() -> Iterator[tuple[str, str]]:
    """Two pseudo-terminals; what goes into one comes out of the other."""
    pairs = [os.openpty() for _ in range(2)]
    masters = [master for master, _ in pairs]
    for _, slave in pairs:
        tty.setraw(slave)
    over = threading.Event()

    def pump() -> None:
        while not over.is_set():
            for ready in select.select(masters, [], [], 0.05)[0]:
                os.write(masters[1 - masters.index(ready)], os.read(ready, 4096))

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    finally:
        over.set()
        thread.join()
        for pair in pairs:
            for descriptor in pair:
                os.close(descriptor)


def write_speech(path: Path, seconds: float) -> Pcm:
    pcm = tonecodec.speech_like(seconds)
    soundfile.write(path, pcm, RATE, subtype="PCM_16")
    return pcm


def loud_frames(path: Path) -> list[bool]:
    """Which 80 ms of a recording are louder than the room."""
    pcm = read_pcm(path)
    frames = pcm[: pcm.size // SIZE * SIZE].reshape(-1, SIZE)
    return [bool(value > 0.01) for value in np.sqrt(np.mean(frames**2, axis=1))]


def assert_same_speech(path: Path, pcm: Pcm) -> None:
    """The recording is as long as `pcm`, and its level follows it."""
    heard = read_pcm(path)
    assert 0 <= heard.size - pcm.size <= SIZE
    pieces = [
        np.sqrt(np.mean(signal[: pcm.size // 320 * 320].reshape(-1, 320) ** 2, axis=1))
        for signal in (pcm, heard)
    ]
    assert np.corrcoef(pieces[0], pieces[1])[0, 1] > 0.9


def test_file_over_udp(
    udp_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    pcm = write_speech(tmp_path / "in.wav", 4.0)
    out = tmp_path / "out.wav"
    processes.append(start("receiver", "--config", udp_config, "--output", out, "--once"))
    assert "listening" in wait_until_ready(processes[0])
    processes.append(start("sender", "--config", udp_config, "--input", tmp_path / "in.wav"))
    assert finish(processes[1])[0] == 0
    status, errors = finish(processes[0])
    assert status == 0
    assert "0 lost, 0 late" in errors
    assert_same_speech(out, pcm)


def test_file_over_a_serial_line(
    serial_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    pcm = write_speech(tmp_path / "in.wav", 4.0)
    out = tmp_path / "out.wav"
    with null_modem() as (near, far):
        processes.append(
            start(
                *("receiver", "--config", serial_config, "--port", far),
                *("--output", out, "--once", "--quiet"),
            )
        )
        time.sleep(1.0)
        processes.append(
            start(
                *("sender", "--config", serial_config, "--port", near),
                *("--input", tmp_path / "in.wav", "--quiet"),
            )
        )
        assert finish(processes[1]) == (0, "")
        assert finish(processes[0]) == (0, "")
    assert_same_speech(out, pcm)


@pytest.mark.parametrize("kind", ["udp", "serial"])
def test_restarted_receiver_hears_within_three_seconds(
    kind: str,
    udp_config: Path,
    serial_config: Path,
    tmp_path: Path,
    processes: list[subprocess.Popen[str]],
) -> None:
    write_speech(tmp_path / "in.wav", 7.0)
    with null_modem() as (near, far):
        near_end: list[str | Path] = ["--config", udp_config]
        far_end: list[str | Path] = ["--config", udp_config]
        if kind == "serial":
            near_end = ["--config", serial_config, "--port", near]
            far_end = ["--config", serial_config, "--port", far]
        first = start("receiver", *far_end, "--output", tmp_path / "first.wav")
        processes.append(first)
        wait_until_ready(first)
        sender = start("sender", *near_end, "--input", tmp_path / "in.wav")
        processes.append(sender)
        wait_until_ready(sender)
        time.sleep(2.5)
        assert stop(first)[0] == 0
        assert any(loud_frames(tmp_path / "first.wav"))
        second = start("receiver", *far_end, "--output", tmp_path / "second.wav")
        processes.append(second)
        wait_until_ready(second)
        time.sleep(3.0)
        assert stop(second)[0] == 0
        assert finish(sender)[0] == 0
    assert sum(loud_frames(tmp_path / "second.wav")) >= 5


@pytest.mark.parametrize("kind", ["udp", "serial"])
def test_restarted_sender_is_heard_within_three_seconds(
    kind: str,
    udp_config: Path,
    serial_config: Path,
    tmp_path: Path,
    processes: list[subprocess.Popen[str]],
) -> None:
    write_speech(tmp_path / "in.wav", 20.0)
    out = tmp_path / "out.wav"
    with null_modem() as (near, far):
        near_end: list[str | Path] = ["--config", udp_config]
        far_end: list[str | Path] = ["--config", udp_config]
        if kind == "serial":
            near_end = ["--config", serial_config, "--port", near]
            far_end = ["--config", serial_config, "--port", far]
        receiver = start("receiver", *far_end, "--output", out)
        processes.append(receiver)
        wait_until_ready(receiver)
        first = start("sender", *near_end, "--input", tmp_path / "in.wav")
        processes.append(first)
        wait_until_ready(first)
        time.sleep(3.5)
        first.kill()
        second = start("sender", *near_end, "--input", tmp_path / "in.wav")
        processes.append(second)
        wait_until_ready(second)
        time.sleep(3.0)
        assert stop(receiver)[0] == 0
    loud = loud_frames(out)
    # Speech, a gap for the start of a process, speech again within 3 s of the sender's start.
    gaps = "".join(".#"[one] for one in loud).strip(".").split("#")
    longest = max(len(gap) for gap in gaps)
    assert longest >= 3
    end = "#".join(gaps).index("." * longest) + longest
    assert sum(loud[loud.index(True) + end :]) >= 5


def test_sigint_ends_the_call_for_both(
    udp_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    write_speech(tmp_path / "in.wav", 20.0)
    out = tmp_path / "out.wav"
    processes.append(start("receiver", "--config", udp_config, "--output", out, "--once"))
    wait_until_ready(processes[0])
    processes.append(start("sender", "--config", udp_config, "--input", tmp_path / "in.wav"))
    wait_until_ready(processes[1])
    time.sleep(2.0)
    processes[1].send_signal(signal.SIGINT)
    status, errors = finish(processes[1], seconds=5.0)
    assert status == 0
    assert "Traceback" not in errors
    assert finish(processes[0], seconds=5.0)[0] == 0
    assert 1.5 < read_pcm(out).size / RATE < 4.0


def test_raw_samples_through_pipes(
    udp_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    samples = (tonecodec.speech_like(2.0) * 32767).astype("<i2")
    raw = tmp_path / "in.raw"
    raw.write_bytes(samples.tobytes())
    with raw.open("rb") as source, (tmp_path / "out.raw").open("wb") as sink:
        listener = subprocess.Popen(
            [*command("receiver"), "--config", str(udp_config), "--output", "-", "--once"],
            stdout=sink,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(listener)
        wait_until_ready(listener)
        speaker = subprocess.run(
            [*command("sender"), "--config", str(udp_config), "--input", "-"],
            stdin=source,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
        )
        assert speaker.returncode == 0
        assert finish(listener, seconds=5.0)[0] == 0
    heard = np.frombuffer((tmp_path / "out.raw").read_bytes(), "<i2")
    assert heard.size >= samples.size
    assert np.sqrt(np.mean((heard / 32768.0) ** 2)) > 0.02


def test_port_in_use_is_one_line(
    udp_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    processes.append(start("receiver", "--config", udp_config, "--output", tmp_path / "a.wav"))
    wait_until_ready(processes[0])
    processes.append(start("receiver", "--config", udp_config, "--output", tmp_path / "b.wav"))
    status, errors = finish(processes[1])
    assert status == 1
    assert errors.count("\n") == 1
    assert "cannot listen" in errors


def test_talk_over_a_loopback_hears_itself(udp_config: Path, tmp_path: Path) -> None:
    pcm = write_speech(tmp_path / "in.wav", 2.0)
    text = udp_config.read_text().replace('kind = "udp"', 'kind = "loopback"')
    udp_config.write_text(text + "[channel]\ndelay_ms = 50\n")
    files = ("--input", str(tmp_path / "in.wav"), "--output", str(tmp_path / "out.wav"))
    talking = subprocess.run(
        [*command("linkcodec.app.cli"), "talk", "--config", str(udp_config), "--quiet", *files],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (talking.returncode, talking.stderr) == (0, "")
    assert_same_speech(tmp_path / "out.wav", pcm)

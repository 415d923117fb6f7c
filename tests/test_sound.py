"""The two daemons with virtual sound cards: PulseAudio's null sinks, through PortAudio."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tonecodec
from conftest import ROOT
from test_daemons import command, processes, udp_config

from benchmarks.realpeers import SoundServer, missing

__all__ = ["processes", "udp_config"]

absent = missing("pulseaudio", "pactl", "pacat")
pytestmark = pytest.mark.skipif(bool(absent), reason=absent)

RATE = tonecodec.SAMPLE_RATE
RAW = f"--raw --rate={RATE} --channels=1 --format=s16le --latency-msec=50".split()
LOUD = 0.01


def hears_speech(server: SoundServer, *, seconds: float = 20.0) -> bool:
    """Speak into the sender's microphone until the receiver's speaker is loud."""
    environment = server.environment()
    samples = (tonecodec.speech_like(2.0) * 32767).astype("<i2").tobytes()
    speaker = subprocess.Popen(
        ["pacat", "--playback", "--device=mouth", *RAW], stdin=subprocess.PIPE, env=environment
    )
    listener = subprocess.Popen(
        ["pacat", "--record", "--device=ear.monitor", *RAW],
        stdout=subprocess.PIPE,
        env=environment,
    )
    over = threading.Event()

    def speak() -> None:
        assert speaker.stdin is not None
        while not over.wait(2.0):
            speaker.stdin.write(samples)
            speaker.stdin.flush()

    thread = threading.Thread(target=speak)
    thread.start()
    assert listener.stdout is not None
    deadline = time.monotonic() + seconds
    loud = 0
    while loud < 10 and time.monotonic() < deadline:
        if select.select([listener.stdout], [], [], 0.5)[0]:
            data = os.read(listener.stdout.fileno(), 2 * RATE // 25)
            pcm = np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 32768
            loud += bool(pcm.size and np.sqrt(np.mean(pcm**2)) > LOUD)
    over.set()
    thread.join()
    for program in (speaker, listener):
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout):
            if pipe is not None:
                pipe.close()
    return loud >= 10


def test_speech_through_virtual_sound_cards(
    udp_config: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    """Speech in is speech out, also after the sound server has crashed and is back."""
    folder = tmp_path / "sound"
    folder.mkdir()
    with SoundServer(folder, ["mouth", "ear"]) as server:
        for module, environment in (
            ("receiver", server.environment(sink="ear")),
            ("sender", server.environment(source="mouth")),
        ):
            # Into a file: ALSA's complaints would fill a pipe that nobody reads.
            with (tmp_path / module).open("w") as errors:
                daemon = subprocess.Popen(
                    [*command(module), "--config", str(udp_config)],
                    stdin=subprocess.DEVNULL,
                    stderr=errors,
                    text=True,
                    env=environment,
                    cwd=ROOT,
                )
            processes.append(daemon)
            deadline = time.monotonic() + 20
            while " udp " not in (tmp_path / module).read_text():
                assert daemon.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert hears_speech(server)
        server.kill()
        time.sleep(2.0)
        server.start()
        assert hears_speech(server)
        for daemon in processes:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=10) == 0
        for module in ("receiver", "sender"):
            said = (tmp_path / module).read_text()
            assert "waiting for it to come back" in said
            assert "is back" in said
            assert "Traceback" not in said

"""What a service manager and an operator ask of a daemon while its call goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_daemons import START, finish, processes, udp_config

from linkcodec.app.config import CallConfig, load_config, override
from linkcodec.app.status import StatusLine
from linkcodec.app.supervision import Reloader, Supervisor
from linkcodec.exceptions import DeviceError

__all__ = ["processes", "udp_config"]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The socket of a service manager with a watchdog of 3 s."""
    path = tmp_path / "notify"
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(str(path))
    inbox.settimeout(20.0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    return inbox


def test_the_watchdog_hears_of_all_parts_or_of_none(manager: socket.socket) -> None:
    with Supervisor("receiver", "sender") as supervisor:
        supervisor.ready("a call")
        assert manager.recv(200) == b"READY=1\nSTATUS=a call"
        supervisor.alive("receiver", 0.0)
        supervisor.alive("sender", 0.1)
        assert manager.recv(200) == b"WATCHDOG=1"
        for tenth in range(100):
            supervisor.alive("receiver", 1.0 + tenth / 10)  # the other one hangs
    assert manager.recv(200) == b"STOPPING=1"
    manager.close()


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with Supervisor("receiver") as supervisor:
        supervisor.ready("a call")
        supervisor.alive("receiver", 0.0)
    monkeypatch.setenv("NOTIFY_SOCKET", "/no such socket")
    with Supervisor("receiver") as supervisor:
        supervisor.ready("a call")


def test_reload_during_a_call(
    udp_config: Path, processes: list[subprocess.Popen[str]], manager: socket.socket
) -> None:
    """A good configuration is used as far as that can be, a bad one changes nothing."""
    paths = [str(ROOT), str(ROOT / "tests")]
    script = START.format(paths=paths, module="receiver")
    receiver = subprocess.Popen(
        [sys.executable, "-c", script, "--config", str(udp_config), "--output", "-"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    processes.append(receiver)
    assert receiver.stderr is not None
    assert receiver.stderr.readline().startswith("listening on udp")
    assert manager.recv(200).startswith(b"READY=1\nSTATUS=listening on udp")
    assert manager.recv(200) == b"WATCHDOG=1"
    good = udp_config.read_text()

    def reload(text: str) -> str:
        udp_config.write_text(text)
        receiver.send_signal(signal.SIGHUP)
        assert receiver.stderr is not None
        return receiver.stderr.readline()

    said = reload(good.replace("rate = 16000", "rate = 1"))
    assert said.startswith("the configuration stays as it was: ")
    assert "link.rate = 1 is not possible" in said
    said = reload(good.replace("rate = 16000", "rate = 9600") + "[jitter_buffer]\nfloor_ms = 60\n")
    assert said == (
        "configuration read again; changed: jitter_buffer.floor_ms; at the next start: link.rate\n"
    )
    messages = {manager.recv(200).split(b"\n")[0] for _ in range(8)}
    assert b"RELOADING=1" in messages
    assert b"READY=1" in messages
    receiver.send_signal(signal.SIGTERM)
    status, errors = finish(receiver)
    assert status == 0
    assert "Traceback" not in errors
    manager.close()


def test_a_part_that_cannot_change_says_so(
    udp_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other parts do, and what nobody can change waits for the next start."""
    config = load_config(udp_config)
    wanted = override(
        config, {"audio.gain_db": 3.0, "audio.input_device": "USB", "codec.quantizers": 4}
    )

    refusal = ["audio.input_device = 'USB' is not used: no such device"]

    def refuse(_: CallConfig) -> list[str]:
        if refusal:
            raise DeviceError(refusal.pop())
        return ["audio.input_device"]

    reloader = Reloader(
        config,
        read=lambda: wanted,
        parts=(refuse, lambda _: ["audio.gain_db", "audio.mute"]),
        status=StatusLine(sys.stderr, quiet=False),
    )

    def reload() -> list[str]:
        reloader.reload()
        return capsys.readouterr().err.splitlines()

    again = "configuration read again; changed: "
    assert reload() == [
        "not changed: audio.input_device = 'USB' is not used: no such device",
        f"{again}audio.gain_db; at the next start: audio.input_device, codec.quantizers",
    ]
    # The device was plugged in; what is not in force yet is named again.
    assert reload() == [f"{again}audio.input_device; at the next start: codec.quantizers"]
    assert reload() == [f"{again}nothing; at the next start: codec.quantizers"]
    wanted = config
    assert reload() == [f"{again}audio.gain_db, audio.input_device"]

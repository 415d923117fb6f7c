from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import free_port
from test_metrics import FIGURES, no_trouble

from linkcodec.app.cli import main
from linkcodec.app.metrics import open_reporter
from linkcodec.app.monitor import Watched, judge, read_figures

WELL = {
    "time": 0.0,
    "level_dbfs": -20.0,
    "wire_bps": 1100.0,
    "silent_seconds": 0.2,
    "frames_received_total": 97.0,
    "frames_lost_total": 3.0,
    "latency_jitter_buffer_seconds": 0.3,
    "latency_speaker_seconds": 0.2,
    "send_latency_microphone_seconds": 0.017,
    "send_latency_queue_seconds": 0.005,
    "send_level_dbfs": -50.0,
    "send_transmitting": 1.0,
    "quality_mos": 3.4,
}


def write_stats(path: Path, *, age: float = 0.0, **values: float) -> Path:
    line = json.dumps({**WELL, **values, "time": time.time() - age})
    path.write_text(f"{line}\n{line[:30]}")  # the last line is being written
    return path


def test_health(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_stats(tmp_path / "stats")
    assert main(["health", "--stats", str(path)]) == 0
    assert capsys.readouterr().out == "well: 3.0 % of the frames lost\n"
    assert main(["health", "--stats", str(path), "--loss", "0.01"]) == 1
    assert "3.0 % of the frames were lost" in capsys.readouterr().err
    write_stats(path, silent_seconds=40.0)
    assert main(["health", "--stats", str(path)]) == 1
    assert "nothing has come over the link for 40 s" in capsys.readouterr().err
    write_stats(path, age=60.0)
    assert main(["health", "--stats", str(path)]) == 1
    assert "nothing written for 60 s: is it running?" in capsys.readouterr().err
    path.write_text("rubbish\n")
    assert main(["health", "--stats", str(path)]) == 2
    assert main(["health", "--stats", "/no such"]) == 2
    assert main(["health", "--metrics", str(free_port())]) == 1
    assert "is the call running?" in capsys.readouterr().err


def test_a_call_that_never_heard_anything_is_not_well() -> None:
    assert judge({"frames_received_total": 0.0}, silent=30, loss=0.5) == (
        "nothing has come over the link yet"
    )
    assert judge({"frames_sent_total": 5.0}, silent=30, loss=0.5) == ""  # a sender


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--silent", "-1"], "--silent -1 is not possible: use 0 or more seconds"),
        (["--loss", "50"], "--loss 50 is not possible: use a share from 0 to 1"),
    ],
)
def test_limits_that_would_always_be_well(
    flags: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_stats(tmp_path / "stats")
    assert main(["health", "--stats", str(path), *flags]) == 2
    assert text in capsys.readouterr().err


def test_a_sender_tells_what_it_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stats"
    path.write_text(json.dumps({"time": time.time(), "frames_sent_total": 7.0}) + "\n")
    assert main(["health", "--stats", str(path)]) == 0
    assert capsys.readouterr().out == "well: 7 frames sent\n"


def test_what_is_no_number_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stats"
    values = {**WELL, "level_dbfs": "loud", "silent_seconds": float("nan"), "quality_mos": [1]}
    path.write_text(json.dumps({**values, "time": time.time()}) + "\n")
    assert main(["monitor", "--stats", str(path), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "nothing yet" in shown
    assert "quality" not in shown
    assert "-99 dB" in shown


def test_a_port_that_is_not_a_calls(capsys: pytest.CaptureFixture[str]) -> None:
    """Another program's answer, or a call that has no figures yet, is not taken for well."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # answers 501
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert main(["health", "--metrics", str(server.server_port)]) == 1
        server.shutdown()
    assert "no figures of a call there: is it the call's port?" in capsys.readouterr().err


def test_figures_of_the_endpoint() -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    with open_reporter(None, port, role="receive", warn=no_trouble) as reporter:
        reporter.update(FIGURES, 0.0)
        figures = read_figures(port=port, path=None)
    assert figures["frames_played_total"] == 100.0
    assert figures["level_dbfs"] == -23.5


def test_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_stats(tmp_path / "stats")
    assert main(["monitor", "--stats", str(path), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "● on air" in shown
    assert "● in sync   1100 bit/s   3.0 % lost" in shown
    assert "delay 22 ms: microphone 17, queue 5\n" in shown
    assert "delay here 500 ms: jitter buffer 300, speaker 200\n" in shown
    assert "quality 3.4 of 5" in shown


def test_colours_tell_what_is_wrong() -> None:
    watched = Watched(colours=True)
    watched.take({**WELL, "silent_seconds": 60.0})
    text = "\n".join(watched.lines(80))
    assert "\x1b[31m○ nothing for 60 s" in text
    watched.trouble = "--metrics 1: no answer"
    assert watched.lines(10) == ["\x1b[31m--metrics \x1b[0m"]


def test_loss_is_that_of_the_last_half_minute() -> None:
    watched = Watched(colours=False)
    watched.take({**WELL, "frames_lost_total": 90.0})
    watched.take({**WELL, "frames_lost_total": 90.0, "frames_received_total": 197.0})
    assert "0.0 % lost" in "\n".join(watched.lines(80))

"""Statistics for machines: JSON lines and the Prometheus endpoint."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest
from conftest import free_port

from linkcodec.app.cli import main
from linkcodec.app.metrics import INTERVAL, Figures, Reporter, open_reporter
from linkcodec.exceptions import ConfigError, InputError

FIGURES = Figures(
    counters={"packetsLost": 3, "frames_played_total": 100},
    gauges={"level_dbfs": -23.5, "quality_mos": None},
)


def no_trouble(text: str) -> None:
    """What a file that can be written never says."""
    raise AssertionError(text)


def test_nobody_listens() -> None:
    with open_reporter(None, None, role="receive", warn=no_trouble) as reporter:
        assert not reporter.due(0.0)
        reporter.update(FIGURES, 0.0)


def test_one_line_of_json_each_second(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    with open_reporter(str(path), None, role="receive", warn=no_trouble) as reporter:
        for now in (10.0, 10.2, 10.9, 10.0 + INTERVAL, 14.0):
            reporter.update(FIGURES, now)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 3
    assert lines[0]["packetsLost"] == 3
    assert lines[0]["quality_mos"] is None
    assert lines[0]["time"] <= lines[-1]["time"]


def test_prometheus_reads_them() -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    with open_reporter(None, port, role="receive", warn=no_trouble) as reporter:
        reporter.update(FIGURES, 0.0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    assert "linkcodec_receive_packets_lost_total 3.0" in text
    assert "linkcodec_receive_frames_played_total 100.0" in text
    assert "linkcodec_receive_level_dbfs -23.5" in text
    assert "quality" not in text


def test_the_port_is_free_again() -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    for _ in range(2):
        with open_reporter(None, port, role="receive", warn=no_trouble) as reporter:
            assert isinstance(reporter, Reporter)


def test_a_port_in_use_is_said() -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"--metrics {port}: cannot listen"),
            open_reporter(None, port, role="receive", warn=no_trouble),
        ):
            pass


@pytest.mark.parametrize("number", ["70000", "0", "-1"])
@pytest.mark.parametrize("command", [["talk", "--config", "x"], ["health"], ["monitor"]])
def test_a_port_that_is_none(
    command: list[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--metrics", number])
    assert f"--metrics: {number} is no port: use 1 to 65535" in capsys.readouterr().err


def test_a_full_disk_does_not_end_a_call(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "stats.jsonl"
    with open_reporter(str(path), None, role="send", warn=said.append) as reporter:
        assert reporter._file is not None
        with reporter._file._file as good, open("/dev/full", "wb", buffering=0) as full:
            for now, file in enumerate((good, full, full, good, good)):
                reporter._file._file = file
                reporter.update(FIGURES, float(now))
    assert said == [
        f"--stats {path}: cannot be written: No space left on device",
        f"--stats {path}: is written again",
    ]
    assert [bool(line) for line in path.read_text().split("\n")] == [1, 0, 1, 1, 0]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="cannot write the file"),
        open_reporter(str(tmp_path / "no" / "stats.jsonl"), None, role="send", warn=no_trouble),
    ):
        pass


def test_figures_of_another_thread_go_along(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    with open_reporter(str(path), None, role="talk", warn=no_trouble) as reporter:
        reporter.beside = FIGURES.renamed("send_")
        reporter.update(Figures(counters={"heard": 3.0}, gauges={}), 0.0)
    line = json.loads(path.read_text())
    assert line["heard"] == 3.0
    assert {f"send_{name}" for name in FIGURES.counters} < set(line)

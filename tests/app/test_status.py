from __future__ import annotations

import io
import json
import re

from linkcodec.app.status import PLAIN_INTERVAL, StatusLine, meter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_meter_spans_sixty_decibels() -> None:
    assert meter(0.0).startswith("[############]")
    assert meter(-30.0).startswith("[######......]")
    assert meter(-120.0).startswith("[............]")


def test_terminal_line_is_rewritten_in_place() -> None:
    stream = Terminal()
    status = StatusLine(stream)
    status.update("one", 0.0)
    status.update("too soon", 0.1)
    status.update("two", 1.0)
    status.message("stays")
    status.update("three", 2.0)
    status.close()
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Kstays\n\r\x1b[Kthree\n"


def test_plain_lines_come_every_ten_seconds() -> None:
    stream = io.StringIO()
    status = StatusLine(stream)
    for tenth in range(250):
        status.update(f"at {tenth / 10:g}", tenth / 10)
    assert stream.getvalue() == "at 10\nat 20\n"
    assert PLAIN_INTERVAL == 10.0


def test_quiet_says_only_warnings() -> None:
    stream = Terminal()
    status = StatusLine(stream, quiet=True)
    status.update("one", 0.0)
    status.message("two")
    status.warn("three")
    status.close()
    assert stream.getvalue() == "three\n"


def test_logs_have_time_level_and_cause() -> None:
    stream = Terminal()
    status = StatusLine(stream, form="stamped")
    status.message("listening")
    status.warn("the device stopped")
    for tenth in range(110):
        status.update("at work", tenth / 10)
    status.close()
    lines = stream.getvalue().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "info    listening",
        "warning the device stopped",
        "status  at work",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[0].split(" ")[0])


def test_json_lines() -> None:
    stream = io.StringIO()
    StatusLine(stream, form="json").warn('a "quoted" cause')
    line = json.loads(stream.getvalue())
    assert line["level"] == "warning"
    assert line["message"] == 'a "quoted" cause'


def test_another_thread_warns_in_the_same_log() -> None:
    stream = Terminal()
    status = StatusLine(stream)
    status.update("at work", 0.0)
    other = status.hushed()
    other.update("not mine", 1.0)
    other.message("nor this")
    other.warn("the microphone is gone")
    status.close()
    assert stream.getvalue() == "\r\x1b[Kat work\r\x1b[Kthe microphone is gone\n"
    log = io.StringIO()
    StatusLine(log, form="json").hushed().warn("gone")
    assert json.loads(log.getvalue())["message"] == "gone"
